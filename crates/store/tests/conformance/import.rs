//! Imports: nothing is taken over before it is decided, and nothing twice.

use crate::contact::{contact, field, group};
use crate::samples::*;
use crate::{Place, for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::contact::{Contact, Details, Type};
use tidings_domain::id::*;
use tidings_domain::import::{Decision, Import, Progress, Row, State};
use tidings_domain::table::{Refused, Report, Window};
use tidings_store::*;

const ID: ImportId = ImportId::from_key(7);

fn import(id: ImportId) -> Import {
    Import {
        id,
        realm: HOME,
        name: "people.csv".to_owned(),
        who: "operator".to_owned(),
        state: State::Reading,
        headings: Vec::new(),
        report: Report::default(),
        progress: Progress::default(),
        created_at: at(0),
        updated_at: at(0),
    }
}

fn row(n: i64, person: u64, name: &str) -> Row {
    let details = Details {
        name: Some(name.to_owned()),
        groups: [group("list")].into(),
        fields: [field("n", &n.to_string(), Type::Number)].into(),
        ..Details::default()
    };
    Row { id: ContactId::from_key(n), number: number(person), details, octets: 20 }
}

fn refused(line: u64, cell: &str) -> Refused {
    Refused {
        line,
        reason: "no_number".to_owned(),
        column: Some("phone".to_owned()),
        cells: vec![cell.to_owned(), "x".to_owned()],
    }
}

fn staged(rows: Vec<Row>, refused: Vec<Refused>, state: State) -> Staged {
    let report = Report {
        rows: rows.len() as u64,
        good: rows.len() as u64,
        countries: [("SE".to_owned(), rows.len() as u64)].into(),
        ..Report::default()
    };
    Staged {
        window: Window { rows, refused },
        headings: vec!["phone".to_owned(), "name".to_owned()],
        report,
        state,
    }
}

/// An import of these rows that waits for its decision.
async fn ready(store: &Arc<dyn Backend>, rows: Vec<Row>) {
    store.begin_import(import(ID)).await.expect("begun");
    let staged = staged(rows, Vec::new(), State::Ready);
    assert!(store.stage_import(HOME, ID, staged, at(1)).await.expect("staged"));
}

async fn commit(store: &Arc<dyn Backend>) -> State {
    let decided = store.decide_import(HOME, ID, Decision::Commit, actor(), at(2)).await.expect("decided");
    decided.expect("it is there").state
}

async fn all(store: &Arc<dyn Backend>) -> Vec<Contact> {
    let page = Page { before: None, limit: 10_000 };
    store.contacts(HOME, ContactFilter::default(), page).await.expect("read").items
}

#[test]
fn rows_are_taken_over_once_and_only_when_it_is_decided() {
    for_each_place(|place| async move {
        let store = place.open();
        let known = contact(1, &[1, 2]);
        store.create_contact(known.clone(), actor()).await.expect("created");
        store.begin_import(import(ID)).await.expect("begun");
        let first = staged(
            vec![row(11, 1, "Åsa"), row(12, 3, "Bo")],
            vec![refused(3, "=1+1"), refused(9, "a\nb")],
            State::Reading,
        );
        assert!(store.stage_import(HOME, ID, first, at(1)).await.expect("staged"));
        assert_eq!(
            store
                .decide_import(HOME, ID, Decision::Commit, actor(), at(1))
                .await
                .expect("asked")
                .expect("there")
                .state,
            State::Reading
        );
        let last = staged(vec![row(13, 2, "Åsa"), row(14, 4, "Ed")], vec![refused(10, "")], State::Ready);
        assert!(store.stage_import(HOME, ID, last.clone(), at(2)).await.expect("staged"));
        assert!(!store.stage_import(HOME, ID, last.clone(), at(2)).await.expect("too late"));
        assert_eq!(store.apply_import(ID, at(2)).await.expect("left").expect("there").state, State::Ready);
        assert_eq!(all(&store).await, std::slice::from_ref(&known));
        assert_eq!(store.next_import().await.expect("asked"), None);

        assert_eq!(commit(&store).await, State::Committing);
        assert_eq!(commit(&store).await, State::Committing);
        assert_eq!(store.next_import().await.expect("asked"), Some(ID));
        let first = store.apply_import(ID, at(3)).await.expect("applied").expect("there");
        let progress = Progress { created: 1, changed: 1, unchanged: 0, over: 0 };
        assert_eq!((first.state, first.progress), (State::Committing, progress));
        store.close().await.expect("closed");

        let store = place.open();
        assert_eq!(store.next_import().await.expect("asked"), Some(ID));
        let done = store.apply_import(ID, at(4)).await.expect("applied").expect("there");
        // The second row of a person found what the first had left.
        assert_eq!(
            (done.state, done.progress),
            (State::Done, Progress { created: 2, changed: 2, ..progress })
        );
        assert_eq!(store.apply_import(ID, at(5)).await.expect("left").as_ref(), Some(&done));
        assert_eq!(store.import(HOME, ID).await.expect("read"), Some(done.clone()));
        assert_eq!((done.report, done.headings), (last.report, last.headings));
        assert_eq!(store.next_import().await.expect("asked"), None);
        assert_eq!(commit(&store).await, State::Done);

        let made = |n, person, name: &str, seconds| Contact {
            details: row(n, person, name).details,
            created_at: at(seconds),
            updated_at: at(seconds),
            ..contact(n, &[person])
        };
        let changed = Contact { details: row(13, 2, "Åsa").details, updated_at: at(4), ..known };
        assert_eq!(all(&store).await, [made(14, 4, "Ed", 4), made(12, 3, "Bo", 3), changed]);
        assert_eq!(store.groups(HOME).await.expect("read"), [(group("list"), 3)]);
        assert_eq!(audited(&store).await, ["contact.create", "import.commit"]);

        let (first, place) = store.refused_rows(HOME, ID, None).await.expect("read").expect("a piece");
        assert_eq!(first, [refused(3, "=1+1"), refused(9, "a\nb")]);
        let (second, place) =
            store.refused_rows(HOME, ID, Some(place)).await.expect("read").expect("a piece");
        assert_eq!(second, [refused(10, "")]);
        assert_eq!(store.refused_rows(HOME, ID, Some(place)).await.expect("read"), None);
    });
}

#[test]
fn many_rows_come_in_many_commits() {
    for_each_backend(|store| async move {
        let rows: Vec<Row> = (0..4_500).map(|n| row(100 + n, n as u64, "one")).collect();
        ready(&store, rows).await;
        commit(&store).await;
        let mut sums = Vec::new();
        while let Some(id) = store.next_import().await.expect("asked") {
            let import = store.apply_import(id, at(3)).await.expect("applied").expect("there");
            sums.push(import.progress.rows());
        }
        assert_eq!(sums, [2_000, 4_000, 4_500]);
        assert_eq!(all(&store).await.len(), 4_500);
    });
}

#[test]
fn rows_that_cannot_be_read_break_their_own_import_and_no_other() {
    for_each_place(|place| async move {
        let store = place.open();
        let rows: Vec<Row> = (0..2_500).map(|n| row(100 + n, n as u64, "one")).collect();
        ready(&store, rows).await;
        commit(&store).await;
        let second = ImportId::from_key(8);
        store.begin_import(import(second)).await.expect("begun");
        let staged = staged(vec![row(1, 3_000, "two")], Vec::new(), State::Ready);
        assert!(store.stage_import(HOME, second, staged, at(1)).await.expect("staged"));
        store.decide_import(HOME, second, Decision::Commit, actor(), at(2)).await.expect("decided");
        store.apply_import(ID, at(3)).await.expect("applied");
        store.close().await.expect("closed");
        let damage = format!("UPDATE import_piece SET rows = 'what is this?' WHERE import = {}", ID.key());
        match &place {
            Place::Sqlite(directory) => {
                let file = directory.path().join(tidings_store::sqlite::FILE_NAME);
                let sql = rusqlite::Connection::open(file).expect("it opens");
                sql.execute(&damage, []).expect("damaged");
            }
            Place::Postgres(database) => drop(database.run(&damage)),
            // It keeps no text that could be damaged.
            Place::Model(_) => return,
        }

        let store = place.open();
        assert_eq!(store.next_import().await.expect("asked"), Some(ID));
        let broken = store.apply_import(ID, at(4)).await.expect("applied").expect("there");
        assert_eq!((broken.state, broken.progress.rows(), broken.updated_at), (State::Broken, 2_000, at(4)));
        assert_eq!(store.import(HOME, ID).await.expect("read").as_ref(), Some(&broken));
        assert_eq!(store.next_import().await.expect("asked"), Some(second));
        let done = store.apply_import(second, at(4)).await.expect("applied").expect("there");
        assert_eq!((done.state, done.progress.rows()), (State::Done, 1));
        assert_eq!(all(&store).await.len(), 2_001);
        assert_eq!(commit(&store).await, State::Broken, "it is not taken up again");
        store.close().await.expect("closed");
    });
}

#[test]
fn an_import_belongs_to_a_realm_and_is_given_up_after_its_time() {
    for_each_backend(|store| async move {
        let test = Realm { environment: Environment::Test, ..HOME };
        ready(&store, vec![row(1, 1, "one")]).await;
        assert_eq!(store.import(test, ID).await.expect("read"), None);
        assert_eq!(
            store.decide_import(test, ID, Decision::Commit, actor(), at(2)).await.expect("read"),
            None
        );
        assert!(
            !store
                .stage_import(test, ID, staged(Vec::new(), Vec::new(), State::Ready), at(2))
                .await
                .expect("no")
        );
        let second = ImportId::from_key(8);
        store.begin_import(import(second)).await.expect("begun");
        let again = store.begin_import(import(second)).await;
        assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
        let some = staged(vec![row(2, 2, "two")], vec![refused(1, "x")], State::Reading);
        assert!(store.stage_import(HOME, second, some, at(1)).await.expect("staged"));
        let found = store.imports(HOME, page(9)).await.expect("read").items;
        assert_eq!(found.iter().map(|import| import.id).collect::<Vec<_>>(), [second, ID]);

        let states = async |now| {
            store.sweep(KEPT_A_DAY, 1_000, now).await.expect("swept");
            let found = store.imports(HOME, page(9)).await.expect("read").items;
            found.iter().map(|import| import.state).collect::<Vec<_>>()
        };
        assert_eq!(states(at(3_000)).await, [State::Reading, State::Ready]);
        assert_eq!(states(at(2 * 3_600)).await, [State::Broken, State::Ready]);
        assert_eq!(store.refused_rows(HOME, second, None).await.expect("read"), None);
        assert_eq!(states(at(8 * 24 * 3_600)).await, [State::Broken, State::Discarded]);
        assert_eq!(
            store
                .decide_import(HOME, ID, Decision::Commit, actor(), at(9))
                .await
                .expect("asked")
                .expect("there")
                .state,
            State::Discarded
        );
        assert_eq!(all(&store).await, []);
    });
}

#[test]
fn who_decides_against_it_takes_nothing_over() {
    for_each_backend(|store| async move {
        ready(&store, vec![row(1, 1, "one")]).await;
        let discarded =
            store.decide_import(HOME, ID, Decision::Discard, actor(), at(2)).await.expect("decided");
        assert_eq!(discarded.expect("there").state, State::Discarded);
        assert_eq!(commit(&store).await, State::Discarded);
        assert_eq!(
            store.apply_import(ID, at(3)).await.expect("left").expect("there").state,
            State::Discarded
        );
        assert_eq!(all(&store).await, []);
        assert_eq!(audited(&store).await, ["import.discard"]);
    });
}

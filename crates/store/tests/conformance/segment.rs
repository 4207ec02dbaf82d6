//! Segments: kept as they are, found by their names, and what is read of the event log for them.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::consent::Channel;
use tidings_domain::contact::{Decimal, FieldName, Group, Value};
use tidings_domain::id::*;
use tidings_domain::purpose::Purpose;
use tidings_domain::segment::{Change, Condition, Deed, Past, Query, Segment, Test, Touch, When, Which};
use tidings_store::*;

/// One of several queries.
pub fn query(n: u32) -> Query {
    let field = |name: &str, test| Query::Is(Condition::Field(FieldName::parse(name).expect("a name"), test));
    Query::All(vec![
        Query::Is(Condition::Group(Group::parse("a \"group\" 😀").expect("a group"))),
        Query::Any(vec![
            field("visits", Test::AtLeast(Decimal::parse("0.0001").expect("a number"))),
            field("since", Test::Is(Value::text("2026-01-31").expect("a date"))),
            Query::Is(Condition::Time(Which::Created, When::From(at(7)))),
        ]),
        Query::Not(Box::new(Query::Is(Condition::Consent(Purpose::Marketing, Channel::Text)))),
        Query::Is(Condition::History(Deed::Sent, Some(Purpose::Alert), Some(n + 1))),
    ])
}

/// The sample segment with this number.
pub fn segment(n: i64, name: &str) -> Segment {
    Segment {
        id: SegmentId::from_key(n),
        realm: HOME,
        name: name.to_owned(),
        description: "whom \"it\" finds".to_owned(),
        query: query(0),
        created_at: at(n),
        updated_at: at(n),
    }
}

fn by_name(name: &str) -> WhichSegment {
    WhichSegment::of(name)
}

#[test]
fn a_segment_is_kept_as_it_was_made() {
    for_each_place(|place| async move {
        let store = place.open();
        for (n, name) in [(1, "regulars"), (2, "Lapsed, since spring")] {
            store.create_segment(segment(n, name), actor()).await.expect("made");
        }
        store.close().await.expect("closed");
        let store = place.open();
        let found = store.segment(HOME, by_name("Lapsed, since spring")).await.expect("read");
        assert_eq!(found, Some(segment(2, "Lapsed, since spring")));
        let found = store.segment(HOME, by_name(&SegmentId::from_key(1).to_string())).await.expect("read");
        assert_eq!(found, Some(segment(1, "regulars")));
        let first = store.segments(HOME, page(1)).await.expect("read");
        assert_eq!(first.items, [segment(2, "Lapsed, since spring")]);
        let rest = store.segments(HOME, Page { before: first.next, limit: 1 }).await.expect("read");
        assert_eq!((rest.items, rest.next), (vec![segment(1, "regulars")], None));
        for realm in [
            Realm { environment: Environment::Test, ..HOME },
            Realm { account: AccountId::from_key(2), ..HOME },
        ] {
            assert_eq!(store.segment(realm, by_name("regulars")).await.expect("read"), None);
            let by_id = WhichSegment::Id(SegmentId::from_key(1));
            assert_eq!(store.segment(realm, by_id).await.expect("read"), None);
            assert_eq!(store.segments(realm, page(9)).await.expect("read").items, []);
        }
    });
}

#[test]
fn a_name_is_one_segments_in_a_realm() {
    for_each_backend(|store| async move {
        store.create_segment(segment(1, "a"), actor()).await.expect("made");
        store.create_segment(segment(2, "b"), actor()).await.expect("made");
        for taken in [segment(3, "a"), segment(1, "c")] {
            let refused = store.create_segment(taken, actor()).await;
            assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        }
        let change = |name: &str| Change { name: Some(name.to_owned()), ..Change::default() };
        let refused = store.change_segment(HOME, SegmentId::from_key(2), change("a"), actor(), at(5)).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        // Its own name it may keep.
        let same = store.change_segment(HOME, SegmentId::from_key(2), change("b"), actor(), at(5)).await;
        assert_eq!(same.expect("it answers"), Some(segment(2, "b")));
        let other = Realm { environment: Environment::Test, ..HOME };
        store.create_segment(Segment { realm: other, ..segment(4, "a") }, actor()).await.expect("made");
        assert!(store.delete_segment(HOME, SegmentId::from_key(1), actor(), at(6)).await.expect("deleted"));
        let free = store.change_segment(HOME, SegmentId::from_key(2), change("a"), actor(), at(7)).await;
        assert_eq!(free.expect("it answers"), Some(Segment { updated_at: at(7), ..segment(2, "a") }));
    });
}

#[test]
fn a_change_leaves_a_line_and_what_it_does_not_name() {
    for_each_backend(|store| async move {
        let id = SegmentId::from_key(1);
        store.create_segment(segment(1, "a"), actor()).await.expect("made");
        let change = Change { query: Some(query(8)), ..Change::default() };
        let expected = Segment { query: query(8), updated_at: at(5), ..segment(1, "a") };
        for now in [5, 6] {
            let changed = store.change_segment(HOME, id, change.clone(), actor(), at(now)).await;
            assert_eq!(changed.expect("it answers"), Some(expected.clone()));
        }
        assert_eq!(store.segment(HOME, WhichSegment::Id(id)).await.expect("read"), Some(expected));
        let other = Realm { environment: Environment::Test, ..HOME };
        let none = store.change_segment(other, id, change, actor(), at(7)).await;
        assert_eq!(none.expect("it answers"), None);
        assert!(!store.delete_segment(other, id, actor(), at(8)).await.expect("it answers"));
        assert!(store.delete_segment(HOME, id, actor(), at(8)).await.expect("it answers"));
        assert!(!store.delete_segment(HOME, id, actor(), at(9)).await.expect("it answers"));
        assert_eq!(store.segment(HOME, WhichSegment::Id(id)).await.expect("read"), None);
        assert_eq!(audited(&store).await, ["segment.create", "segment.change", "segment.delete"]);
    });
}

const SENT: Touch = Touch::Message(Deed::Sent, Purpose::Marketing);

fn read(after: Option<i64>, upto: i64, touches: &[(u64, Touch, i64)]) -> Touched {
    let touches = touches.iter().map(|(person, touch, second)| (number(*person), *touch, at(*second)));
    Touched { after: after.map(EventId::from_key), upto: EventId::from_key(upto), touches: touches.collect() }
}

fn past(touches: &[(Touch, i64)]) -> Past {
    let mut past = Past::default();
    for (touch, second) in touches {
        past.add(*touch, at(*second));
    }
    past
}

#[test]
fn what_happened_last_is_kept_and_read_on_from_one_place() {
    for_each_backend(|store| async move {
        let people = || vec![number(1), number(2), number(3)];
        let nothing = store.touches(HOME, people()).await.expect("read");
        assert_eq!(nothing, [Past::default(); 3]);
        assert_eq!(store.touch_places().await.expect("read"), []);
        let add = async |realm, read| store.add_touches(realm, read).await.expect("answered");
        // Nobody read before.
        assert!(!add(HOME, read(Some(4), 9, &[(1, SENT, 1)])).await);
        assert!(
            add(HOME, read(None, 9, &[(1, SENT, 5), (1, SENT, 3), (1, Touch::Answered, 4), (2, SENT, 6)]))
                .await
        );
        // Somebody read on meanwhile: twice from the start, and from another place.
        assert!(!add(HOME, read(None, 12, &[(3, SENT, 7)])).await);
        assert!(!add(HOME, read(Some(8), 12, &[(3, SENT, 7)])).await);
        // Events tell the time only nearly in their order.
        assert!(add(HOME, read(Some(9), 12, &[(1, SENT, 4), (2, SENT, 8)])).await);
        let expected = [past(&[(SENT, 5), (Touch::Answered, 4)]), past(&[(SENT, 8)]), Past::default()];
        assert_eq!(store.touches(HOME, people()).await.expect("read"), expected);
        let turned = store.touches(HOME, vec![number(2), number(1), number(2)]).await.expect("read");
        assert_eq!(turned, [expected[1], expected[0], expected[1]]);
        let other = Realm { environment: Environment::Test, ..HOME };
        assert_eq!(store.touches(other, people()).await.expect("read"), [Past::default(); 3]);
        assert!(add(other, read(None, 3, &[])).await);
        let mut places = store.touch_places().await.expect("read");
        places.sort();
        assert_eq!(places, [(other, EventId::from_key(3)), (HOME, EventId::from_key(12))]);
    });
}

#[test]
fn what_happened_is_forgotten_with_the_messages() {
    for_each_backend(|store| async move {
        let touches = [(1, SENT, 0), (1, Touch::Answered, 100), (2, SENT, 1)];
        assert!(store.add_touches(HOME, read(None, 9, &touches)).await.expect("answered"));
        let retention = |messages_ms| Retention { messages_ms, ..KEPT_A_DAY };
        let now = at(50).plus_ms(DAY_MS);
        store.sweep(retention(None), 100, now).await.expect("swept");
        let before = store.touches(HOME, vec![number(1), number(2)]).await.expect("read");
        assert_eq!(before, [past(&[(SENT, 0), (Touch::Answered, 100)]), past(&[(SENT, 1)])]);
        // At most so many at once, and it says that there may be more.
        assert!(store.sweep(retention(Some(DAY_MS)), 1, now).await.expect("swept"));
        while store.sweep(retention(Some(DAY_MS)), 1, now).await.expect("swept") {}
        let after = store.touches(HOME, vec![number(1), number(2)]).await.expect("read");
        assert_eq!(after, [past(&[(Touch::Answered, 100)]), Past::default()]);
    });
}

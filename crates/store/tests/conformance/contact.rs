//! Contacts: whose a number is, who is in a group, and what changes.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::collections::BTreeSet;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::contact::{
    Change, Contact, Details, Excess, FIELDS_MAX, FieldName, Group, Language, Type, Value, ZoneName,
};
use tidings_domain::id::*;
use tidings_store::*;

pub fn group(name: &str) -> Group {
    Group::parse(name).expect("a group")
}

pub fn field(name: &str, value: &str, wanted: Type) -> (FieldName, Value) {
    (FieldName::parse(name).expect("a name"), Value::parse(value, wanted).expect("a value"))
}

pub fn contact(n: i64, people: &[u64]) -> Contact {
    Contact {
        id: ContactId::from_key(n),
        realm: HOME,
        numbers: people.iter().map(|person| number(*person)).collect(),
        details: Details::default(),
        created_at: at(n),
        updated_at: at(n),
    }
}

fn full(n: i64, people: &[u64]) -> Contact {
    let details = Details {
        name: Some("Åsa \"A\" 😀".to_owned()),
        language: Language::parse("sv-SE").ok(),
        zone: ZoneName::parse("Europe/Stockholm").ok(),
        owner: Some("Bo".to_owned()),
        groups: [group("gold"), group("a group, of many")].into(),
        fields: [
            field("plan", "pro", Type::Text),
            field("visits", "-12.5", Type::Number),
            field("since", "2024-02-29", Type::Date),
            field("vip", "yes", Type::YesNo),
            field("note", "two\nlines", Type::Text),
        ]
        .into(),
    };
    Contact { details, ..contact(n, people) }
}

async fn create(store: &dyn Backend, contact: &Contact) {
    let saved = store.create_contact(contact.clone(), actor()).await.expect("it answers");
    assert_eq!(saved, Saved::Done(Box::new(contact.clone())));
}

async fn who(store: &dyn Backend, filter: ContactFilter) -> Vec<i64> {
    let found = store.contacts(HOME, filter, page(9)).await.expect("read").items;
    found.iter().map(|contact| contact.id.key()).collect()
}

fn with(person: u64) -> ContactFilter {
    ContactFilter { number: Some(number(person)), ..ContactFilter::default() }
}

fn within(name: &str) -> ContactFilter {
    ContactFilter { group: Some(group(name)), ..ContactFilter::default() }
}

#[test]
fn a_contact_is_kept_as_it_was_saved() {
    for_each_place(|place| async move {
        let store = place.open();
        create(&*store, &full(1, &[1, 2])).await;
        create(&*store, &contact(2, &[3])).await;
        assert_eq!(audited(&store).await, ["contact.create", "contact.create"]);
        store.close().await.expect("closed");

        let store = place.open();
        assert_eq!(store.contact(HOME, ContactId::from_key(1)).await.expect("read"), Some(full(1, &[1, 2])));
        let first = store.contacts(HOME, ContactFilter::default(), page(1)).await.expect("read");
        assert_eq!(first.items, [contact(2, &[3])]);
        let rest = Page { before: first.next, limit: 1 };
        let rest = store.contacts(HOME, ContactFilter::default(), rest).await.expect("read");
        assert_eq!((rest.items, rest.next), (vec![full(1, &[1, 2])], None));
        assert_eq!(who(&*store, with(2)).await, [1]);
        assert_eq!(who(&*store, within("gold")).await, [1]);
        assert_eq!(who(&*store, within("silver")).await, [0_i64; 0]);
        let both = ContactFilter { number: Some(number(3)), ..within("gold") };
        assert_eq!(who(&*store, both).await, [0_i64; 0]);
        let counts = store.groups(HOME).await.expect("read");
        assert_eq!(counts, [(group("a group, of many"), 1), (group("gold"), 1)]);
    });
}

#[test]
fn a_number_is_one_contacts_in_a_realm() {
    for_each_backend(|store| async move {
        create(&*store, &contact(1, &[1, 2])).await;
        let refused = store.create_contact(contact(2, &[3, 2]), actor()).await.expect("it answers");
        assert_eq!(refused, Saved::Taken(number(2), ContactId::from_key(1)));
        assert_eq!(who(&*store, with(3)).await, [0_i64; 0]);
        for realm in [
            Realm { environment: Environment::Test, ..HOME },
            Realm { account: AccountId::from_key(2), ..HOME },
        ] {
            create(&*store, &Contact { realm, ..contact(7, &[1, 2]) }).await;
        }
        let known = store.known_numbers(HOME, [1, 2, 3].map(number).to_vec()).await.expect("counted");
        assert_eq!(known, 2);
        // A number that a contact gave up can be another's.
        let change = Change { numbers: Some(vec![number(2), number(4)]), ..Change::default() };
        let changed = store.change_contact(HOME, ContactId::from_key(1), change, actor(), at(9)).await;
        let Some(Saved::Done(changed)) = changed.expect("it answers") else { panic!("not saved") };
        assert_eq!(*changed, Contact { updated_at: at(9), ..contact(1, &[2, 4]) });
        create(&*store, &contact(3, &[1])).await;
        let back = Change { numbers: Some(vec![number(1)]), ..Change::default() };
        let refused = store.change_contact(HOME, ContactId::from_key(1), back, actor(), at(9)).await;
        assert_eq!(refused.expect("it answers"), Some(Saved::Taken(number(1), ContactId::from_key(3))));
        assert_eq!(who(&*store, with(4)).await, [1]);
    });
}

#[test]
fn a_zone_is_the_one_that_is_stated_for_whoever_has_the_number_now() {
    for_each_backend(|store| async move {
        let zone = |name: &str| Some(ZoneName::parse(name).expect("a zone"));
        create(&*store, &contact(1, &[1])).await;
        create(&*store, &full(2, &[2, 3])).await;
        let elsewhere = Realm { environment: Environment::Test, ..HOME };
        create(&*store, &Contact { realm: elsewhere, ..full(3, &[1]) }).await;
        let asked = || {
            let mut asked: Vec<_> = [3, 1, 4, 2, 3].map(|n| (HOME, number(n))).to_vec();
            asked.push((elsewhere, number(1)));
            asked
        };
        let stated = || zone("Europe/Stockholm");
        let found = store.stated_zones(asked()).await.expect("read");
        assert_eq!(found, [stated(), None, None, stated(), stated(), stated()]);
        let moved = Change {
            zone: Some(zone("Asia/Tokyo")),
            numbers: Some(vec![number(3), number(4)]),
            ..Change::default()
        };
        let changed = store.change_contact(HOME, ContactId::from_key(2), moved, actor(), at(9)).await;
        assert!(matches!(changed.expect("it answers"), Some(Saved::Done(_))));
        let tokyo = || zone("Asia/Tokyo");
        let found = store.stated_zones(asked()).await.expect("read");
        assert_eq!(found, [tokyo(), None, tokyo(), None, tokyo(), stated()]);
        assert!(store.stated_zones(Vec::new()).await.expect("read").is_empty());
    });
}

#[test]
fn a_change_is_made_to_what_is_there_then() {
    for_each_backend(|store| async move {
        create(&*store, &full(1, &[1])).await;
        let id = ContactId::from_key(1);
        let (plan, _) = field("plan", "pro", Type::Text);
        let change = Change {
            name: Some(None),
            groups: Some([group("gold"), group("new")].into()),
            fields: [(plan, None)].into(),
            ..Change::default()
        };
        let changed =
            store.change_contact(HOME, id, change.clone(), actor(), at(5)).await.expect("it answers");
        let Some(Saved::Done(changed)) = changed else { panic!("not saved: {changed:?}") };
        assert_eq!(*changed, full(1, &[1]).changed(&change, at(5)).expect("it may be"));
        assert_eq!(store.contact(HOME, id).await.expect("read"), Some(*changed));
        assert_eq!(store.groups(HOME).await.expect("read"), [(group("gold"), 1), (group("new"), 1)]);
        // The same again changes nothing and leaves no line.
        store.change_contact(HOME, id, change, actor(), at(6)).await.expect("it answers");
        assert_eq!(audited(&store).await, ["contact.create", "contact.change"]);
        let many = (0..=FIELDS_MAX).map(|n| {
            let (name, value) = field(&format!("f{n}"), "x", Type::Text);
            (name, Some(value))
        });
        let many = Change { fields: many.collect(), ..Change::default() };
        let refused = store.change_contact(HOME, id, many, actor(), at(7)).await.expect("it answers");
        assert_eq!(refused, Some(Saved::TooMuch(Excess::Fields)));
        let other = Realm { environment: Environment::Test, ..HOME };
        let none = store.change_contact(other, id, Change::default(), actor(), at(7)).await;
        assert_eq!(none.expect("it answers"), None);
    });
}

#[test]
fn who_is_deleted_is_found_nowhere() {
    for_each_backend(|store| async move {
        create(&*store, &full(1, &[1, 2])).await;
        let id = ContactId::from_key(1);
        assert!(store.delete_contact(HOME, id, actor(), at(5)).await.expect("deleted"));
        assert!(!store.delete_contact(HOME, id, actor(), at(6)).await.expect("nothing to delete"));
        assert_eq!(store.contact(HOME, id).await.expect("read"), None);
        assert_eq!(who(&*store, with(1)).await, [0_i64; 0]);
        assert_eq!(store.groups(HOME).await.expect("read"), []);
        create(&*store, &contact(2, &[2])).await;
        assert_eq!(audited(&store).await, ["contact.create", "contact.delete", "contact.create"]);
        let empty: BTreeSet<Group> = BTreeSet::new();
        assert_eq!(contact(2, &[2]).details.groups, empty);
    });
}

#[test]
fn an_id_is_one_contacts() {
    for_each_backend(|store| async move {
        create(&*store, &contact(1, &[1])).await;
        let refused = store.create_contact(contact(1, &[2]), actor()).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        assert_eq!(who(&*store, ContactFilter::default()).await, [1]);
        assert_eq!(who(&*store, with(2)).await, [0_i64; 0]);
    });
}

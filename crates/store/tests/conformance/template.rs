//! Templates and their versions.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::collections::BTreeMap;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::template::{Content, Kind, Language, Origin, Template, Value, Variable};
use tidings_store::*;

/// What a sample template says in its version `n`.
pub fn content(n: i64) -> Content {
    let language = |tag| Language::parse(tag).expect("a language");
    Content {
        language: language("en"),
        texts: BTreeMap::from([
            (language("en"), format!("Hi {{{{ name }}}}, {n} \"for\" you\n😀")),
            (language("pt-br"), "Oi {{ name }}".to_owned()),
        ]),
        variables: vec![Variable {
            name: "name".to_owned(),
            kind: Kind::Text { most: 20, any_alphabet: true, may_be_empty: false },
            sample: Value::Text("Ana".to_owned()),
        }],
    }
}

/// The sample template with this number, as it is when it was made.
pub fn template(n: i64, name: &str) -> Template {
    Template {
        id: TemplateId::from_key(n),
        realm: HOME,
        name: name.to_owned(),
        description: "what \"it\" is for".to_owned(),
        version: 1,
        newest: 1,
        content: content(1),
        created_at: at(n),
        created_by: actor().who,
    }
}

fn by_name(name: &str) -> WhichTemplate {
    WhichTemplate::Name(name.to_owned())
}

#[test]
fn a_template_is_kept_as_it_was_made_in_every_version() {
    for_each_place(|place| async move {
        let store = place.open();
        let full = Content {
            variables: vec![
                Variable {
                    name: "a".to_owned(),
                    kind: Kind::Text { most: 1_000, any_alphabet: false, may_be_empty: true },
                    sample: Value::Text(String::new()),
                },
                Variable {
                    name: "b".to_owned(),
                    kind: Kind::Number { least: -1_000_000_000_000, most: 1_000_000_000_000 },
                    sample: Value::Number(-7),
                },
                Variable {
                    name: "c".to_owned(),
                    kind: Kind::Amount { least: 0, most: 9 },
                    sample: Value::Amount(899),
                },
                Variable {
                    name: "d".to_owned(),
                    kind: Kind::Date,
                    sample: Value::Date("2026-12-24T15:30".to_owned()),
                },
                Variable { name: "e".to_owned(), kind: Kind::YesNo, sample: Value::YesNo(true) },
            ],
            ..content(2)
        };
        let first = template(1, "hello");
        store.create_template(first.clone(), actor()).await.expect("made");
        let added = store.add_template_version(HOME, first.id, full.clone(), actor(), at(9)).await;
        let second = Template { version: 2, newest: 2, content: full, created_at: at(9), ..first.clone() };
        assert_eq!(added.expect("added"), Some(second.clone()));
        assert_eq!(audited(&store).await, ["template.create", "template.version"]);
        store.close().await.expect("closed");

        let store = place.open();
        let read = async |which, version| store.template(HOME, which, version).await.expect("read");
        let first = Template { newest: 2, ..first };
        assert_eq!(read(by_name("hello"), None).await, Some(second.clone()));
        assert_eq!(read(WhichTemplate::Id(first.id), None).await, Some(second.clone()));
        assert_eq!(read(by_name("hello"), Some(1)).await, Some(first.clone()));
        assert_eq!(read(WhichTemplate::Id(first.id), Some(2)).await, Some(second));
        for version in [0, 3, u32::MAX] {
            assert_eq!(read(by_name("hello"), Some(version)).await, None, "{version}");
        }
        assert_eq!(read(by_name("hell"), None).await, None);
        store.close().await.expect("closed");
    });
}

#[test]
fn a_name_is_one_templates_in_its_realm() {
    for_each_backend(|store| async move {
        let test = Realm { environment: Environment::Test, ..HOME };
        let of = |n, realm| Template { realm, ..template(n, "hello") };
        store.create_template(of(1, HOME), actor()).await.expect("made");
        store.create_template(of(2, test), actor()).await.expect("made, elsewhere");
        for taken in [of(3, HOME), template(1, "other")] {
            let refused = store.create_template(taken, actor()).await;
            assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        }
        assert_eq!(store.template(test, by_name("hello"), None).await.expect("read"), Some(of(2, test)));
        let theirs = store.template(test, WhichTemplate::Id(TemplateId::from_key(1)), None).await;
        assert_eq!(theirs.expect("read"), None);
        let id = TemplateId::from_key(1);
        let theirs = store.add_template_version(test, id, content(2), actor(), at(9)).await;
        assert_eq!(theirs.expect("asked"), None);
        assert_eq!(store.template(HOME, by_name("hello"), None).await.expect("read"), Some(of(1, HOME)));
    });
}

#[test]
fn templates_are_listed_in_their_newest_versions_by_the_beginning_of_their_names() {
    for_each_backend(|store| async move {
        for (n, name) in [(1, "reply.a"), (2, "reply%"), (3, "remind"), (4, "reply.b")] {
            store.create_template(template(n, name), actor()).await.expect("made");
        }
        let id = TemplateId::from_key(1);
        store.add_template_version(HOME, id, content(2), actor(), at(9)).await.expect("added");
        let names = async |prefix: &str, page| {
            let found = store.templates(HOME, prefix.to_owned(), page).await.expect("read");
            let names = found.items.iter().map(|one| format!("{} {}", one.name, one.version));
            (names.collect::<Vec<_>>().join(", "), found.next)
        };
        assert_eq!(names("", page(9)).await, ("reply.b 1, remind 1, reply% 1, reply.a 2".to_owned(), None));
        assert_eq!(names("reply.", page(9)).await, ("reply.b 1, reply.a 2".to_owned(), None));
        assert_eq!(names("reply%", page(9)).await.0, "reply% 1");
        let (first, next) = names("", page(3)).await;
        assert_eq!((first.as_str(), next), ("reply.b 1, remind 1, reply% 1", Some(2)));
        assert_eq!(names("", Page { before: next, limit: 3 }).await, ("reply.a 2".to_owned(), None));
    });
}

#[test]
fn a_message_says_of_which_template_it_was_made() {
    for_each_place(|place| async move {
        let store = place.open();
        let origin = Some(Origin { template: TemplateId::from_key(5), version: 7 });
        let made = Message { template: origin, ..message(1) };
        accept(&store, [made.clone(), message(2)]).await;
        assert_eq!(claim_at(&store, START).await[0].message.template, origin);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(stored(&store, id(1)).await.message, made);
        assert_eq!(stored(&store, id(2)).await.message.template, None);
        let listed = store.messages(HOME, MessageFilter::default(), page(9)).await.expect("read").items;
        assert_eq!(listed.iter().map(|one| one.message.template).collect::<Vec<_>>(), [None, origin]);
        store.close().await.expect("closed");
    });
}

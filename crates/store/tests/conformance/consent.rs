//! The ledger of what people agreed to.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::consent::{Act, Channel, Consent, Evidence, History, Method, OptOut, Wording};
use tidings_domain::id::*;
use tidings_domain::purpose::Purpose;
use tidings_domain::suppression::Reason;
use tidings_store::*;

fn entry(n: i64, person: u64) -> Consent {
    Consent {
        id: ConsentId::from_key(n),
        realm: HOME,
        recipient: number(person),
        purpose: Purpose::Marketing,
        channel: Channel::Text,
        act: Act::Written,
        given_at: at(n),
        recorded_at: at(n + 1),
        expires_at: None,
        method: Method::Form,
        evidence: Evidence {
            wording: Some(Wording { hash: [7; 32], text: "I agree\nto texts".to_owned() }),
            ..Evidence::default()
        },
        source: "api".to_owned(),
    }
}

#[test]
fn what_was_agreed_to_is_kept_as_it_was_recorded() {
    for_each_place(|place| async move {
        let store = place.open();
        let full = Consent {
            purpose: Purpose::Alert,
            channel: Channel::RecordedVoice,
            act: Act::Revoked,
            expires_at: Some(at(900)),
            method: Method::Import,
            evidence: Evidence {
                wording: Some(Wording { hash: [9; 32], text: "Ja \"wohl\" 😀".to_owned() }),
                place: Some("https://shop.example/join".to_owned()),
                seller: Some("Shop".to_owned()),
                programme: Some("Club".to_owned()),
                ip: Some("192.0.2.1".to_owned()),
                user_agent: Some("Browser/1".to_owned()),
                attested_by: Some("the owner of the list".to_owned()),
            },
            ..entry(3, 1)
        };
        let bare = Consent { evidence: Evidence::default(), ..entry(4, 1) };
        let first = vec![entry(1, 1), entry(2, 1), full.clone(), bare.clone()];
        store.record_consents(first, actor(), at(5)).await.expect("recorded");
        store.record_consents(vec![entry(5, 2)], actor(), at(5)).await.expect("recorded");
        assert_eq!(audited(&store).await, ["consent.record", "consent.record"]);

        store.close().await.expect("closed");
        let store = place.open();
        let first = store.consents(HOME, number(1), page(3)).await.expect("read");
        assert_eq!(first.items, [bare, full, entry(2, 1)]);
        let rest = Page { before: first.next, limit: 3 };
        let rest = store.consents(HOME, number(1), rest).await.expect("read");
        assert_eq!((rest.items, rest.next), (vec![entry(1, 1)], None));
    });
}

#[test]
fn a_ledger_belongs_to_a_realm() {
    for_each_backend(|store| async move {
        let test = Realm { environment: Environment::Test, ..HOME };
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let of = |realm, n| Consent { realm, ..entry(n, 1) };
        store.record_consents(vec![of(test, 1), of(other, 2)], actor(), at(1)).await.expect("recorded");
        assert_eq!(store.consents(HOME, number(1), page(9)).await.expect("read").items, []);
        assert_eq!(store.consents(test, number(1), page(9)).await.expect("read").items, [of(test, 1)]);
        assert_eq!(store.consents(other, number(1), page(9)).await.expect("read").items, [of(other, 2)]);
    });
}

#[test]
fn what_decides_how_consent_stands_is_read_at_once() {
    for_each_backend(|store| async move {
        let out = |n, person, reason| Suppression {
            id: SuppressionId::from_key(n),
            realm: HOME,
            recipient: number(person),
            programme: None,
            reason,
            source: "api".to_owned(),
            created_at: at(n),
            expires_at: None,
            lifted: None,
        };
        store
            .record_consents(vec![entry(1, 1), entry(2, 1), entry(3, 2)], actor(), at(1))
            .await
            .expect("recorded");
        let outs = vec![out(1, 1, Reason::OptedOut), out(2, 3, Reason::Manual)];
        store.suppress(outs, actor()).await.expect("added");
        store.lift(HOME, number(1), None, "by phone".to_owned(), actor(), at(5)).await.expect("lifted");
        store.suppress(vec![out(6, 1, Reason::OptedOut)], actor()).await.expect("added again");
        let asked = [1, 2, 3, 1].map(|person| (HOME, number(person))).to_vec();
        let said = store.said(asked).await.expect("read");
        let opt_out = |n| OptOut { at: at(n), started_at: None, programme: None };
        let first =
            History { ledger: vec![entry(2, 1), entry(1, 1)], opt_outs: vec![opt_out(1), opt_out(6)] };
        let second = History { ledger: vec![entry(3, 2)], opt_outs: vec![] };
        assert_eq!(said, [first.clone(), second, History::default(), first]);
    });
}

#[test]
fn an_entry_is_never_replaced_and_a_call_is_taken_whole_or_not_at_all() {
    for_each_backend(|store| async move {
        store.record_consents(vec![entry(1, 1)], actor(), at(1)).await.expect("recorded");
        let again = vec![entry(2, 1), Consent { act: Act::Revoked, ..entry(1, 1) }];
        let refused = store.record_consents(again, actor(), at(2)).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        assert_eq!(store.consents(HOME, number(1), page(9)).await.expect("read").items, [entry(1, 1)]);
        store.record_consents(Vec::new(), actor(), at(2)).await.expect("nothing to do");
    });
}

#[test]
fn what_the_ledger_says_already_is_not_added_again() {
    for_each_backend(|store| async move {
        store.record_consents(vec![entry(1, 1)], actor(), at(1)).await.expect("recorded");
        // The same but for its id and its record; the same twice; and three that say something else.
        let like = |id, n, person| Consent {
            id: ConsentId::from_key(id),
            recorded_at: at(50),
            source: "a list".to_owned(),
            ..entry(n, person)
        };
        let vouched = Evidence { attested_by: Some("Ana".to_owned()), ..entry(1, 1).evidence };
        let list = vec![
            like(11, 1, 1),
            like(12, 2, 1),
            like(13, 2, 1),
            Consent { evidence: vouched, ..like(14, 1, 1) },
            like(15, 1, 2),
        ];
        let added = store.import_consents(list.clone(), actor(), at(50)).await.expect("added");
        assert_eq!(added, 3);
        let of = |person| store.consents(HOME, number(person), page(9));
        let ids = |found: Paged<Consent>| found.items.iter().map(|one| one.id.key()).collect::<Vec<_>>();
        assert_eq!(ids(of(1).await.expect("read")), [14, 12, 1]);
        assert_eq!(ids(of(2).await.expect("read")), [15]);
        assert_eq!(of(2).await.expect("read").items, [list[4].clone()]);
        let again =
            list.iter().zip(21..).map(|(one, id)| Consent { id: ConsentId::from_key(id), ..one.clone() });
        let added = store.import_consents(again.collect(), actor(), at(60)).await.expect("nothing to do");
        assert_eq!((added, ids(of(1).await.expect("read"))), (0, vec![14, 12, 1]));
        // In another realm nobody said it.
        let test = Realm { environment: Environment::Test, ..HOME };
        let other = vec![Consent { realm: test, ..like(31, 1, 1) }];
        assert_eq!(store.import_consents(other, actor(), at(70)).await.expect("added"), 1);
        assert_eq!(audited(&store).await, ["consent.record", "consent.import", "consent.import"]);
        let taken = vec![like(14, 9, 9)];
        let refused = store.import_consents(taken, actor(), at(80)).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    });
}

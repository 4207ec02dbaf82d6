//! Accounts, tokens and clients.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use tidings_domain::account::{Environment, Realm, Scope, Scopes};
use tidings_domain::id::*;
use tidings_store::*;

fn token(n: i64) -> Token {
    Token {
        id: TokenId::from_key(n),
        lookup: format!("look{n}"),
        hash: [n as u8; 32],
        previous: None,
        realm: HOME,
        scopes: [Scope::MessagesSend, Scope::Admin].into_iter().collect(),
        name: format!("token {n}"),
        client: None,
        created_at: START,
        expires_at: Some(at(1_000)),
        revoked_at: None,
        last_used_at: None,
        previous_used_at: None,
        rate_per_minute: Some(60),
    }
}

fn client(n: i64) -> Client {
    Client {
        id: ClientId::from_key(n),
        realm: HOME,
        hash: [9; 32],
        scopes: Scopes::SMS_ONLY,
        name: "shop".to_owned(),
        created_at: START,
        revoked_at: None,
    }
}

#[test]
fn the_default_account_is_made_once() {
    for_each_place(|place| async move {
        for n in 0..2 {
            let store = place.open();
            assert_eq!(store.default_account(at(n)).await.expect("made"), AccountId::from_key(1));
            let accounts = store.accounts().await.expect("read");
            assert_eq!(
                (accounts.len(), accounts[0].name.as_str(), accounts[0].created_at),
                (1, "default", START)
            );
            store.close().await.expect("closed");
        }
    });
}

#[test]
fn a_token_is_found_by_its_public_part_as_it_was_stored() {
    for_each_backend(|store| async move {
        store.create_token(token(1), actor()).await.expect("created");
        assert_eq!(store.token_by_lookup("look1".into()).await.expect("read"), Some(token(1)));
        assert_eq!(store.token_by_lookup("look2".into()).await.expect("read"), None);
        let again = Token { id: TokenId::from_key(2), ..token(1) };
        assert!(matches!(store.create_token(again, actor()).await, Err(Error::Conflict(_))));
        assert_eq!(audited(&store).await, ["token.create"]);
    });
}

#[test]
fn tokens_are_listed_newest_first_for_one_environment_or_both() {
    for_each_backend(|store| async move {
        let test = Realm { environment: Environment::Test, ..HOME };
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        for one in [token(1), Token { realm: test, ..token(2) }, token(3), Token { realm: other, ..token(4) }]
        {
            store.create_token(one, actor()).await.expect("created");
        }
        let keys = |found: Vec<Token>| found.iter().map(|token| token.id.key()).collect::<Vec<_>>();
        assert_eq!(keys(store.tokens(HOME.account, None).await.expect("read")), [3, 2, 1]);
        assert_eq!(keys(store.tokens(HOME.account, Some(Environment::Test)).await.expect("read")), [2]);
        assert_eq!(keys(store.tokens(HOME.account, Some(Environment::Live)).await.expect("read")), [3, 1]);
    });
}

#[test]
fn a_rotated_token_keeps_its_old_secret_until_it_ends_and_both_times_of_use() {
    for_each_backend(|store| async move {
        store.create_token(token(1), actor()).await.expect("created");
        let id = TokenId::from_key(1);
        store.touch_tokens(vec![(id, at(5), false), (id, at(4), false)]).await.expect("noted");
        let rotated = Token { hash: [7; 32], previous: Some(([1; 32], at(60))), ..token(1) };
        assert!(store.update_token(rotated, "token.rotate", actor(), at(10)).await.expect("updated"));
        store.touch_tokens(vec![(id, at(11), true), (id, at(12), false)]).await.expect("noted");
        let found = store.token_by_lookup("look1".into()).await.expect("read").expect("there");
        assert_eq!((found.hash, found.previous), ([7; 32], Some(([1; 32], at(60)))));
        assert_eq!((found.previous_used_at, found.last_used_at), (Some(at(11)), Some(at(12))));
        // A change by somebody with an older copy does not forget the uses.
        let revoked = Token { revoked_at: Some(at(20)), last_used_at: None, ..found };
        assert!(store.update_token(revoked, "token.revoke", actor(), at(20)).await.expect("updated"));
        let found = store.token_by_lookup("look1".into()).await.expect("read").expect("there");
        assert_eq!((found.revoked_at, found.last_used_at), (Some(at(20)), Some(at(12))));
        assert_eq!(audited(&store).await, ["token.create", "token.rotate", "token.revoke"]);
    });
}

#[test]
fn a_token_of_another_realm_is_not_changed() {
    for_each_backend(|store| async move {
        store.create_token(token(1), actor()).await.expect("created");
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let stolen = Token { realm: other, revoked_at: Some(at(1)), ..token(1) };
        assert!(!store.update_token(stolen, "token.revoke", actor(), at(1)).await.expect("asked"));
        assert_eq!(store.token_by_lookup("look1".into()).await.expect("read"), Some(token(1)));
    });
}

#[test]
fn a_revoked_client_takes_its_tokens_along() {
    for_each_backend(|store| async move {
        store.create_client(client(5), actor()).await.expect("created");
        assert_eq!(store.client(ClientId::from_key(5)).await.expect("read"), Some(client(5)));
        let made = Token { client: Some(ClientId::from_key(5)), ..token(1) };
        for one in [made, token(2)] {
            store.create_token(one, actor()).await.expect("created");
        }
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let id = ClientId::from_key(5);
        assert!(!store.revoke_client(other, id, actor(), at(8)).await.expect("asked"));
        assert!(store.revoke_client(HOME, id, actor(), at(9)).await.expect("revoked"));
        let ends: Vec<_> = store.tokens(HOME.account, None).await.expect("read");
        assert_eq!(ends.iter().map(|token| token.revoked_at).collect::<Vec<_>>(), [None, Some(at(9))]);
        assert_eq!(store.clients(HOME).await.expect("read")[0].revoked_at, Some(at(9)));
        assert_eq!(audited(&store).await.last().map(String::as_str), Some("client.revoke"));
    });
}

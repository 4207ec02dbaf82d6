//! Tokens: how they are shown, refused, rotated, revoked, and how fast they may send.

use crate::support::{HELLO, house};
use tidings_domain::account::{Environment, Realm, Scope};

#[tokio::test]
async fn a_token_comes_in_one_header_and_nowhere_else() {
    let house = house().await;
    let token = house.token().await;
    for (path, headers, expected) in [
        (format!("/v1/account?access_token={token}"), String::new(), "401 AUTH_FAILED"),
        (format!("/v1/account?x={token}"), format!("Authorization: Bearer {token}\r\n"), "401 AUTH_FAILED"),
        (
            "/v1/account".into(),
            format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
            "400 INVALID_REQUEST",
        ),
        ("/v1/account".into(), "Authorization: Basic YTpi\r\n".into(), "401 AUTH_FAILED"),
        ("/v1/account".into(), format!("Authorization: Bearer {token}x\r\n"), "401 AUTH_FAILED"),
        ("/v1/account".into(), format!("authorization: bearer {token}\r\n"), "200"),
    ] {
        assert_eq!(house.with("GET", &path, "", &headers, "").await.told(), expected, "{path} {headers}");
    }
    house.close().await;
}

#[tokio::test]
async fn many_bad_tokens_slow_only_bad_tokens() {
    let house = house().await;
    let token = house.token().await;
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(house.get("/v1/account", "tid_test_nonsense").await.status);
    }
    assert_eq!(statuses[..20], [401; 20]);
    assert!(statuses.contains(&429));
    house.get("/v1/account", &token).await.expect(200);
    house.close().await;
}

#[tokio::test]
async fn a_rotated_token_has_two_good_secrets_and_a_revoked_one_none() {
    let house = house().await;
    let admin = house.token().await;
    let made = house.post("/v1/tokens", &admin, r#"{"name":"shop"}"#).await.expect(201);
    let (id, first) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap().to_owned());
    assert_eq!(made["scopes"], serde_json::json!(["messages.send", "messages.read"]));
    house.post("/v1/sms", &first, HELLO).await.expect(202);
    let rotated = house.post(&format!("/v1/tokens/{id}/rotate"), &admin, "").await.expect(200);
    let second = rotated["token"].as_str().unwrap().to_owned();
    assert_eq!(rotated["prefix"], made["prefix"]);
    for token in [&first, &second] {
        house.get("/v1/account", token).await.expect(200);
    }
    house.post(&format!("/v1/tokens/{id}/rotate"), &admin, r#"{"overlap_s":0}"#).await.expect(200);
    assert_eq!(house.get("/v1/account", &second).await.told(), "401 AUTH_FAILED");
    let listed = house.get("/v1/tokens", &admin).await.body;
    assert!(!listed.contains(&first[18..]) && !listed.contains(&second[18..]));
    assert_eq!(house.with("DELETE", &format!("/v1/tokens/{id}"), &admin, "", "").await.status, 204);
    assert_eq!(house.get("/v1/account", &first).await.told(), "401 AUTH_FAILED");
    let audit = house.get("/v1/audit", &admin).await.expect(200);
    let actions: Vec<_> =
        audit["data"].as_array().unwrap().iter().filter_map(|line| line["action"].as_str()).collect();
    assert!(actions.contains(&"token.revoke") && actions.contains(&"token.rotate"), "{actions:?}");
    house.close().await;
}

#[tokio::test]
async fn the_trail_shows_a_test_token_nothing_of_live() {
    let house = house().await;
    let live = Realm { environment: Environment::Live, ..house.test_realm() };
    let admin = house.token().await;
    let live_admin = house.token_in(live, &[Scope::Admin], None).await;
    let made = house.post("/v1/tokens", &live_admin, r#"{"name":"real"}"#).await.expect(201);
    let id = made["id"].as_str().unwrap();
    assert!(house.get("/v1/audit", &live_admin).await.body.contains(id));
    assert!(!house.get("/v1/audit", &admin).await.body.contains(id));
    house.close().await;
}

#[tokio::test]
async fn a_token_sends_as_many_messages_a_minute_as_it_may() {
    let house = house().await;
    let token = house.token_in(house.test_realm(), &[Scope::MessagesSend], Some(3)).await;
    let other = house.token_in(house.test_realm(), &[Scope::MessagesSend], Some(3)).await;
    let batch = format!(r#"{{"messages":[{HELLO},{HELLO},{HELLO},{HELLO}]}}"#);
    house.post("/v1/messages/batch", &token, &batch).await.expect(202);
    let refused = house.post("/v1/sms", &token, HELLO).await;
    assert_eq!(refused.told(), "429 RATE_LIMITED");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    house.post("/v1/sms", &other, HELLO).await.expect(202);
    house.close().await;
}

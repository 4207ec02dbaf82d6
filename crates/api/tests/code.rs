//! One-time codes: asked for, sent again, checked, and refused with a word when to come back.

use crate::support::{House, Reply, house};
use serde_json::{Value, json};
use tidings_domain::account::{Environment, Realm, Scope};

const ASKED: &str = r#"{"from":"+15550001111","to":"+15550002222","brand":"Acme"}"#;

async fn created(house: &House, token: &str) -> String {
    let code = house.post("/v1/codes", token, ASKED).await.expect(201);
    code["id"].as_str().unwrap().to_owned()
}

async fn checked(house: &House, token: &str, id: &str, typed: &str) -> Reply {
    house.post(&format!("/v1/codes/{id}/check"), token, &json!({ "code": typed }).to_string()).await
}

async fn text(house: &House, token: &str, code: &Value) -> String {
    let path = format!("/v1/messages/{}", code["message_id"].as_str().unwrap());
    house.get(&path, token).await.expect(200)["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_code_is_asked_for_and_shown_without_itself() {
    let house = house().await;
    let token = house.token().await;
    let code = house.post("/v1/codes", &token, ASKED).await.expect(201);
    assert_eq!(
        (&code["status"], &code["tries_left"], &code["digits"]),
        (&json!("pending"), &json!(5), &json!(6))
    );
    let text = text(&house, &token, &code).await;
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    assert_eq!((text.starts_with("Acme: your code is "), digits.len()), (true, 6), "{text}");
    let id = code["id"].as_str().unwrap();
    let message = code["message_id"].as_str().unwrap();
    assert_eq!(&id[4..], &message[4..], "they have one number");
    for path in [
        format!("/v1/codes/{id}"),
        format!("/v1/messages/{message}/timeline"),
        "/v1/messages".to_owned(),
        "/v1/events".to_owned(),
        "/v1/audit".to_owned(),
    ] {
        let shown = house.get(&path, &token).await;
        assert!(shown.status == 200 && !shown.body.contains(&digits), "{path}: {}", shown.body);
    }
    let right = checked(&house, &token, id, &digits).await.expect(200);
    assert_eq!((&right["valid"], &right["status"]), (&json!(true), &json!("approved")));
    house.close().await;
}

#[tokio::test]
async fn what_cannot_be_done_with_a_code_says_why() {
    let house = house().await;
    let token = house.token().await;
    for (body, expected) in [
        (r#"{"to":"+15550002222"}"#, "422 INVALID_SENDER"),
        (r#"{"from":"+15550001111"}"#, "422 INVALID_REQUEST"),
        (r#"{"from":"+15550001111","to":"12"}"#, "422 INVALID_NUMBER"),
        (r#"{"from":"+15550001111","to":"+15550002222","text":"Hello"}"#, "422 INVALID_TEXT"),
        (r#"{"from":"+15550001111","to":"+15550002222","text":"{code}\u0081"}"#, "422 INVALID_TEXT"),
        (r#"{"from":"+15550001111","to":"+15550002222","text":"{code} \u0007"}"#, "422 INVALID_TEXT"),
        (r#"{"from":"+15550001111","to":"+15550002222","expires_in_s":3600}"#, "422 INVALID_REQUEST"),
        (r#"{"from":"+15550001111","to":"+15550002222","digits":3}"#, "422 INVALID_REQUEST"),
    ] {
        assert_eq!(house.post("/v1/codes", &token, body).await.told(), expected, "{body}");
    }
    let id = created(&house, &token).await;
    assert_eq!(checked(&house, &token, &id, "").await.told(), "422 INVALID_REQUEST");
    assert_eq!(checked(&house, &token, &id, "no digits").await.expect(200)["tries_left"], 4);
    let early = house.post(&format!("/v1/codes/{id}/resend"), &token, "").await;
    assert_eq!(early.told(), "429 RATE_LIMITED");
    let wait: u32 = early.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    house.post(&format!("/v1/codes/{id}/cancel"), &token, "").await.expect(200);
    assert_eq!(checked(&house, &token, &id, "000000").await.told(), "409 CODE_CLOSED");
    let again = house.post(&format!("/v1/codes/{id}/cancel"), &token, "").await;
    assert_eq!(again.told(), "409 CODE_CLOSED");
    let again = house.post(&format!("/v1/codes/{id}/resend"), &token, "").await;
    assert_eq!(again.told(), "409 CODE_CLOSED");

    let added = r#"{"to":"+15550002222","reason":"opted_out"}"#;
    house.post("/v1/suppressions", &token, added).await.expect(201);
    assert_eq!(house.post("/v1/codes", &token, ASKED).await.told(), "422 OPTED_OUT");
    house.close().await;
}

#[tokio::test]
async fn too_many_codes_are_refused_with_a_reason_and_a_time_and_not_for_the_key() {
    let house = house().await;
    let token = house.token().await;
    let key = "Idempotency-Key: k\r\n";
    let first = house.with("POST", "/v1/codes", &token, key, ASKED).await;
    let again = house.with("POST", "/v1/codes", &token, key, ASKED).await;
    assert_eq!((first.status, &first.body), (201, &again.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    for _ in 0..4 {
        created(&house, &token).await;
    }
    let other = "Idempotency-Key: l\r\n";
    for _ in 0..2 {
        let refused = house.with("POST", "/v1/codes", &token, other, ASKED).await;
        assert_eq!(refused.told(), "429 VELOCITY_EXCEEDED");
        assert_eq!(refused.header("idempotency-replayed"), "", "it is asked anew each time");
        let wait: u32 = refused.header("retry-after").parse().unwrap();
        assert!((1..=641).contains(&wait), "{wait}");
        let reason = &refused.json()["errors"][0]["reason"];
        assert_eq!(reason, "number");
    }
    // A household, however it is written, and a session.
    for (n, address) in (0..30).map(|n| (n, format!("2001:db8::{n:x}"))) {
        let body = json!({
            "from": "+15550001111", "to": format!("+1555{:03}0000", 300 + n), "client_address": address,
        });
        house.post("/v1/codes", &token, &body.to_string()).await.expect(201);
    }
    let body = json!({ "from": "+15550001111", "to": "+15554440000", "client_address": "2001:db8::ffff:1" });
    let refused = house.post("/v1/codes", &token, &body.to_string()).await;
    assert_eq!(
        (refused.told().as_str(), &refused.json()["errors"][0]["reason"]),
        ("429 VELOCITY_EXCEEDED", &json!("client_address"))
    );
    house.close().await;
}

#[tokio::test]
async fn a_code_that_no_carrier_takes_is_refused() {
    let house = house().await;
    let live = Realm { environment: Environment::Live, ..house.test_realm() };
    let token = house.token_in(live, &Scope::ALL, None).await;
    // There is no carrier in this house for live messages: nothing is accepted, and nothing is counted.
    let body = r#"{"from":"+46700000001","to":"+46701740605"}"#;
    assert_eq!(house.post("/v1/codes", &token, body).await.told(), "422 NO_ROUTE");
    house.close().await;
}

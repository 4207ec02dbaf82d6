//! Webhook endpoints and the event feed.

use crate::support::{HELLO, house};

#[tokio::test]
async fn an_endpoint_shows_its_secret_when_it_is_made_and_when_it_is_rotated() {
    let house = house().await;
    let token = house.token().await;
    let made = house
        .post("/v1/webhooks", &token, r#"{"url":"http://127.0.0.1:9/x","events":["message.sent"]}"#)
        .await
        .expect(201);
    let first = made["secret"].as_str().unwrap();
    assert!(first.starts_with("whsec_") && first.len() == 6 + 44);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    assert!(house.get(&path, &token).await.expect(200).get("secret").is_none());
    let rotated = house.post(&format!("{path}/rotate"), &token, "").await.expect(200);
    assert_ne!(rotated["secret"].as_str().unwrap(), first);
    assert!(rotated["previous_secret_until"].is_string());
    let changed =
        house.with("PATCH", &path, &token, "", r#"{"enabled":false,"description":"crm"}"#).await.expect(200);
    assert_eq!((changed["enabled"].as_bool(), changed["description"].as_str()), (Some(false), Some("crm")));
    let tested = house.post(&format!("{path}/test"), &token, "").await.expect(200);
    assert!(tested["status"].is_null(), "nothing listens there: {tested}");
    let log = house.get(&format!("{path}/attempts"), &token).await.expect(200);
    assert!(log["data"].is_array() && log["next_cursor"].is_null());
    assert_eq!(house.with("DELETE", &path, &token, "", "").await.status, 204);
    assert_eq!(house.get(&path, &token).await.told(), "404 NOT_FOUND");
    house.close().await;
}

#[tokio::test]
async fn addresses_inside_are_refused() {
    let house = house().await;
    let token = house.token().await;
    for url in [
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http://user:password@example.com/",
        "nonsense",
        "http://0x0a000001/",
        "http://012.0.0.1/",
    ] {
        let reply = house.post("/v1/webhooks", &token, &format!(r#"{{"url":"{url}"}}"#)).await;
        assert_eq!(reply.told(), "422 INVALID_URL", "{url}");
    }
    house.close().await;
}

#[tokio::test]
async fn the_feed_tells_what_happened_from_where_it_was_left() {
    let house = house().await;
    let token = house.token().await;
    let id = house.post("/v1/sms", &token, HELLO).await.expect(202)["id"].clone();
    let fed = async {
        let mut after = String::new();
        let mut kinds: Vec<String> = Vec::new();
        loop {
            let page = house.get(&format!("/v1/events?limit=1{after}"), &token).await.expect(200);
            for event in page["data"].as_array().unwrap() {
                assert_eq!(event["data"]["message_id"], id);
                kinds.push(event["type"].as_str().unwrap().to_owned());
            }
            if let Some(next) = page["next"].as_str() {
                after = format!("&after={next}");
            }
            if kinds.iter().any(|kind| kind == "message.delivered") {
                return kinds;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let kinds = tokio::time::timeout(std::time::Duration::from_secs(20), fed).await.expect("it is delivered");
    assert_eq!(kinds, ["message.sent", "message.delivered"]);
    assert_eq!(house.get("/v1/events?after=x", &token).await.status, 422);
    house.close().await;
}

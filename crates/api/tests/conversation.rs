//! Conversations: begun, replied to, refused when somebody was quicker, noted, listed and searched.

use crate::support::{House, house};
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_domain::account::Scope;
use tidings_domain::assembly::Bounds;
use tidings_domain::id::{ConnectionId, InboundId};
use tidings_domain::media::{Content, Item};
use tidings_domain::text::{Charset, Segment};
use tidings_store::{Arrival, Hearing, Medium};

/// The person writes.
async fn says(house: &House, text: &str) -> String {
    sends(house, text, Vec::new()).await
}

/// The person sends these with a text.
async fn sends(house: &House, text: &str, media: Vec<Item>) -> String {
    let clock = house.engine.clock();
    let (id, now) = (InboundId::from_key(clock.id()), clock.now());
    let arrival = Arrival {
        id,
        realm: house.test_realm(),
        connection: ConnectionId::from_key(1),
        from: "15550002222".to_owned(),
        to: "15550001111".to_owned(),
        segment: Segment::received(Charset::Latin1, text.as_bytes(), false, None),
        media: Medium::all(media),
        beside: Vec::new(),
        opened: None,
        at: now,
    };
    let hearing = Hearing {
        wait_ms: 1_000,
        bounds: Bounds::default(),
        reply: Arc::new(|_: &_, _, _, _: Option<&_>| None),
        rules: None,
        by_word: None,
    };
    house.engine.store().receive(vec![arrival], hearing, now).await.expect("stored");
    id.to_string()
}

async fn only(house: &House, token: &str, query: &str) -> Value {
    let listed = house.get(&format!("/v1/conversations{query}"), token).await.expect(200);
    let data = listed["data"].as_array().unwrap();
    assert_eq!(data.len(), 1, "{query}: {listed}");
    data[0].clone()
}

#[tokio::test]
async fn a_reply_reaches_the_person_unless_somebody_was_quicker() {
    let house = house().await;
    let token = house.token().await;
    let first = says(&house, "Where is my order?").await;
    let one = only(&house, &token, "?status=needs_reply").await;
    assert_eq!((&one["with"], &one["from"]), (&json!("+15550002222"), &json!("+15550001111")));
    assert_eq!(one["last_id"], json!(first));
    let path = format!("/v1/conversations/{}", one["id"].as_str().unwrap());
    let reply =
        |seen: &str| json!({ "text": "It comes today.", "if_last": seen, "author": "Maya" }).to_string();

    let second = says(&house, "It is here now").await;
    let refused = house.post(&format!("{path}/reply"), &token, &reply(&first)).await;
    assert_eq!(refused.told(), "409 OVERTAKEN");
    assert!(house.get("/v1/messages", &token).await.expect(200)["data"].as_array().unwrap().is_empty());

    let key = "Idempotency-Key: r1\r\n";
    let sent = house.with("POST", &format!("{path}/reply"), &token, key, &reply(&second)).await;
    assert_eq!(sent.status, 202, "{}", sent.body);
    // Repeated, it is the same message, although the conversation has gone on by it.
    let again = house.with("POST", &format!("{path}/reply"), &token, key, &reply(&second)).await;
    assert_eq!((again.status, &again.body), (202, &sent.body));
    let message = sent.json();
    assert_eq!((&message["to"], &message["from"]), (&json!("+15550002222"), &json!("+15550001111")));

    let now = house.get(&path, &token).await.expect(200);
    assert_eq!(
        (&now["status"], &now["last_id"], &now["entries"]),
        (&json!("waiting"), &message["id"], &json!(3))
    );
    let said = house.get(&format!("{path}/messages"), &token).await.expect(200);
    let said = said["data"].as_array().unwrap();
    assert_eq!((&said[0]["kind"], &said[0]["author"]), (&json!("message"), &json!("Maya")));
    assert_eq!(said[0]["message"]["text"], "It comes today.");
    assert_eq!((&said[1]["inbound"]["text"], &said[1]["id"]), (&json!("It is here now"), &json!(second)));
    assert_eq!(said.len(), 3);
    house.close().await;
}

#[tokio::test]
async fn a_conversation_is_begun_by_us_with_the_right_to_send() {
    let house = house().await;
    let token = house.token().await;
    let hello = r#"{"from":"+15550001111","to":"+15550002222","text":"Your table is ready."}"#;
    let talks = house.token_in(house.test_realm(), &[Scope::ConversationsWrite], None).await;
    let refused = house.post("/v1/conversations", &talks, hello).await;
    assert_eq!(refused.told(), "403 FORBIDDEN");
    assert!(refused.body.contains("messages.send"), "{}", refused.body);
    let sent = house.post("/v1/conversations", &token, hello).await.expect(202);
    let one = only(&house, &token, "?with=%2B15550002222").await;
    assert_eq!((&one["status"], &one["last_id"]), (&json!("waiting"), &sent["id"]));
    // What is sent as ever is in no conversation.
    house.post("/v1/messages", &token, hello).await.expect(202);
    assert_eq!(only(&house, &token, "").await["entries"], 1);
    house.close().await;
}

#[tokio::test]
async fn conversations_are_noted_assigned_tagged_put_off_closed_and_found() {
    let house = house().await;
    let token = house.token().await;
    says(&house, "Where is my refund?").await;
    let id = only(&house, &token, "").await["id"].as_str().unwrap().to_owned();
    let post = async |what: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        house.post(&format!("/v1/conversations/{id}/{what}"), &token, &body).await
    };
    let noted =
        post("notes", json!({ "text": "Refund promised by phone", "author": "Ben" })).await.expect(201);
    assert_eq!((&noted["status"], &noted["entries"]), (&json!("needs_reply"), &json!(2)));
    assert_eq!(post("assign", json!({ "assignee": "Maya" })).await.expect(200)["assignee"], "Maya");
    let tagged = post("tags", json!({ "add": ["refund", "vip"], "remove": ["old"] })).await.expect(200);
    assert_eq!(tagged["tags"], json!(["refund", "vip"]));
    let many: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
    assert_eq!(post("tags", json!({ "add": many })).await.told(), "422 LIMIT_EXCEEDED");
    only(&house, &token, "?assignee=Maya&tag=vip&status=needs_reply").await;
    let none = house.get("/v1/conversations?unassigned=true", &token).await.expect(200);
    assert!(none["data"].as_array().unwrap().is_empty());
    assert_eq!(post("snooze", json!({ "until": "2020-01-01T00:00:00Z" })).await.told(), "422 INVALID_TIME");
    assert_eq!(
        post("snooze", json!({ "until": "2100-01-01T00:00:00Z" })).await.expect(200)["status"],
        "snoozed"
    );
    assert_eq!(post("reopen", Value::Null).await.expect(200)["status"], "needs_reply");
    assert_eq!(post("close", Value::Null).await.expect(200)["status"], "closed");
    says(&house, "hello?").await;
    only(&house, &token, "?status=needs_reply").await;

    let found = house.get("/v1/conversations/search?q=REFUND", &token).await.expect(200);
    let found = found["data"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["kind"], &found[1]["kind"]), (2, &json!("note"), &json!("inbound")));
    assert_eq!(found[0]["conversation_id"], json!(id));
    let found = house.get("/v1/conversations/search?q=refund+promised", &token).await.expect(200);
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/v1/conversations/search?q=..", &token).await.told(), "400 INVALID_REQUEST");
    let trail = house.get("/v1/audit", &token).await.expect(200).to_string();
    for line in ["conversation.assign", "conversation.tag", "conversation.close"] {
        assert!(trail.contains(line), "{line}");
    }
    house.close().await;
}

#[tokio::test]
async fn what_a_person_sent_names_the_contact_and_the_conversation() {
    let house = house().await;
    let token = house.token().await;
    let stranger = says(&house, "Who are you?").await;
    let talk = only(&house, &token, "").await["id"].clone();
    let contact = house.post("/v1/contacts", &token, r#"{"numbers":["+15550002222"]}"#).await.expect(201);
    let known = says(&house, "It is me").await;
    let read = async |id: &str| house.get(&format!("/v1/inbound/{id}"), &token).await.expect(200);
    let feed = house.get("/v1/events", &token).await.expect(200);
    let told = |id: &str| {
        let of = |event: &&Value| event["data"]["inbound_id"] == id;
        feed["data"].as_array().unwrap().iter().find(of).expect("it is told")["data"].clone()
    };
    // What is told is as it was then; what is read, as it is.
    assert_eq!((&told(&stranger)["contact_id"], &told(&stranger)["conversation_id"]), (&Value::Null, &talk));
    assert_eq!((&told(&known)["contact_id"], &told(&known)["conversation_id"]), (&contact["id"], &talk));
    for id in [&stranger, &known] {
        let read = read(id).await;
        assert_eq!((&read["contact_id"], &read["conversation_id"]), (&contact["id"], &talk));
    }
    house.close().await;
}

#[tokio::test]
async fn what_a_person_sends_without_a_text_stands_in_the_conversation_and_is_given_out_as_a_file() {
    let house = house().await;
    let token = house.token().await;
    let item = |content_type: &str, name: &str, octets: &[u8]| Item {
        content_type: content_type.to_owned(),
        name: Some(name.to_owned()),
        content: Content::Octets(octets.into()),
    };
    let drawing = item("image/svg+xml", "../Åre\u{202E}.svg", b"<svg/>");
    let large = Item { content: Content::TooLarge(9 << 20), ..item("video/mp4", "film.mp4", b"") };
    let id = sends(&house, "", vec![drawing, large]).await;
    let talk = only(&house, &token, "?status=needs_reply").await["id"].as_str().unwrap().to_owned();
    let said = house.get(&format!("/v1/conversations/{talk}/messages"), &token).await.expect(200);
    let shown = house.get(&format!("/v1/inbound/{id}"), &token).await.expect(200);
    let feed = house.get("/v1/events", &token).await.expect(200);
    let media = &shown["media"];
    assert_eq!((&said["data"][0]["inbound"]["media"], &feed["data"][0]["data"]["media"]), (media, media));
    assert_eq!(
        (&shown["text"], &media[0]["kind"], &media[0]["name"]),
        (&json!(""), &json!("other"), &json!("Åre.svg"))
    );
    assert_eq!(
        (&media[1]["left_out"], &media[1]["bytes"], &media[1]["url"]),
        (&json!("too_large"), &json!(9 << 20), &Value::Null)
    );
    let url = media[0]["url"].as_str().unwrap();
    let fetched = house.get(url, &token).await;
    assert_eq!((fetched.status, fetched.body.as_str()), (200, "<svg/>"));
    let header = |name: &str| fetched.header(name).to_owned();
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename=\"_re.svg\"; filename*=UTF-8''%C3%85re.svg"
    );
    assert_eq!(header("etag"), format!("\"{}\"", media[0]["sha256"].as_str().unwrap()));
    for nothing in ["0", "2", "3", "256", "-1", "x"] {
        let absent = house.get(&format!("/v1/inbound/{id}/media/{nothing}"), &token).await;
        assert_eq!(absent.told(), "404 NOT_FOUND", "{nothing}");
    }
    // A message without any says nothing of them.
    let plain = says(&house, "hello").await;
    assert!(house.get(&format!("/v1/inbound/{plain}"), &token).await.expect(200).get("media").is_none());
    house.close().await;
}

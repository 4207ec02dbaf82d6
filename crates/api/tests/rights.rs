//! Who may do what: every route × every kind of token that must not pass.

use crate::support::{HELLO, House, house};
use std::sync::Arc;
use tidings_api::{Need, ROUTES};
use tidings_domain::account::{Environment, Realm, Scope};
use tidings_domain::assembly::Bounds;
use tidings_domain::id::*;
use tidings_domain::media::{Content, Item};
use tidings_domain::text::{Charset, Segment};
use tidings_domain::time::Timestamp;
use tidings_store::{Arrival, Hearing, Medium};

/// Ids of real objects of the test environment, by the beginning of a path.
async fn objects(house: &House, token: &str) -> Vec<(&'static str, String)> {
    let batch = format!(r#"{{"messages":[{HELLO}]}}"#);
    let batch = house.post("/v1/messages/batch", token, &batch).await.expect(202);
    let id = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let webhook = house.post("/v1/webhooks", token, r#"{"url":"http://127.0.0.1:9/x"}"#).await.expect(201);
    let record = house.post("/v1/tokens", token, r#"{"name":"a"}"#).await.expect(201);
    let client = house.post("/v1/clients", token, r#"{"name":"a"}"#).await.expect(201);
    let code = r#"{"from":"+15550001111","to":"+15550002222"}"#;
    let code = house.post("/v1/codes", token, code).await.expect(201);
    let contact = house.post("/v1/contacts", token, r#"{"numbers":["+15550002222"]}"#).await.expect(201);
    let import = house
        .with("POST", "/v1/imports", token, "Content-Type: text/csv\r\n", "number\n+15550003333\n")
        .await;
    let import = import.expect(201);
    let template = r#"{"name":"hello","texts":{"en":"Hi"}}"#;
    let template = house.post("/v1/templates", token, template).await.expect(201);
    let segment = r#"{"name":"hello","query":{"group":"a"}}"#;
    let segment = house.post("/v1/segments", token, segment).await.expect(201);
    vec![
        ("/v1/contacts/", id(&contact["id"])),
        ("/v1/segments/", id(&segment["id"])),
        ("/v1/imports/", id(&import["id"])),
        ("/v1/conversations/", conversation(house, token).await),
        ("/v1/templates/", id(&template["id"])),
        ("/v1/codes/", id(&code["id"])),
        ("/v1/messages/", id(&batch["results"][0]["id"])),
        ("/v1/batches/", id(&batch["batch_id"])),
        ("/v1/inbound/", inbound(house).await.to_string()),
        ("/v1/webhooks/", id(&webhook["id"])),
        ("/v1/tokens/", id(&record["id"])),
        ("/v1/clients/", id(&client["id"])),
        ("/v1/connections/", "simulator".to_owned()),
    ]
}

/// What was said between two numbers.
async fn conversation(house: &House, token: &str) -> String {
    house.post("/v1/conversations", token, HELLO).await.expect(202);
    let listed = house.get("/v1/conversations", token).await.expect(200);
    listed["data"][0]["id"].as_str().unwrap().to_owned()
}

/// Something that a person sent.
async fn inbound(house: &House) -> InboundId {
    let (id, now) = (InboundId::from_key(77), Timestamp::from_millis(1_767_225_600_000));
    let arrival = Arrival {
        id,
        realm: house.test_realm(),
        connection: ConnectionId::from_key(1),
        from: "+15550002222".to_owned(),
        to: "ACME".to_owned(),
        segment: Segment::received(Charset::Latin1, b"hello", false, None),
        media: Medium::all(vec![Item {
            content_type: "image/png".to_owned(),
            name: None,
            content: Content::Octets((*b"PNG").into()),
        }]),
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
    id
}

fn absent(path: &str) -> String {
    match path.split('/').nth(2).unwrap() {
        "conversations" => ConversationId::from_key(1).to_string(),
        "segments" => SegmentId::from_key(1).to_string(),
        "templates" => TemplateId::from_key(1).to_string(),
        "codes" => CodeId::from_key(1).to_string(),
        "contacts" => ContactId::from_key(1).to_string(),
        "imports" => ImportId::from_key(1).to_string(),
        "messages" => MessageId::from_key(1).to_string(),
        "batches" => BatchId::from_key(1).to_string(),
        "inbound" => InboundId::from_key(1).to_string(),
        "webhooks" => EndpointId::from_key(1).to_string(),
        "tokens" => TokenId::from_key(1).to_string(),
        "clients" => ClientId::from_key(1).to_string(),
        _ => "nowhere".to_owned(),
    }
}

/// A body that passes the form of the route, so that the object is looked for.
fn body(path: &str) -> &'static str {
    match path {
        "/v1/codes/{id}/check" => r#"{"code":"123456"}"#,
        "/v1/conversations/{id}/notes" => r#"{"text":"a"}"#,
        "/v1/conversations/{id}/snooze" => r#"{"until":"2100-01-01T00:00:00Z"}"#,
        "/v1/templates/{id}/versions" => r#"{"texts":{"en":"Hi"}}"#,
        "/v1/connections/{name}/pause" => r#"{"reason":"a"}"#,
        "/v1/webhooks/{id}/replay" => r#"{"since":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z"}"#,
        _ => "{}",
    }
}

#[tokio::test]
async fn no_route_opens_without_its_right() {
    let house = house().await;
    for route in ROUTES.iter().filter(|route| route.need != Need::Nothing) {
        let path = route.path.replace("{id}", "x").replace("{name}", "x").replace("{place}", "1");
        let method = route.method.as_str();
        let nobody = house.with(method, &path, "", "", "{}").await;
        assert_eq!(nobody.told(), "401 AUTH_FAILED", "{method} {path}");
        assert!(nobody.header("www-authenticate").starts_with("Bearer"));
    }
    for scope in Scope::ALL {
        let others: Vec<_> = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        let token = house.token_in(house.test_realm(), &others, None).await;
        for route in ROUTES.iter().filter(|route| route.need == Need::Scope(scope)) {
            let path = route.path.replace("{id}", "x").replace("{name}", "x").replace("{place}", "1");
            let reply = house.with(route.method.as_str(), &path, &token, "", "{}").await;
            assert_eq!(reply.told(), "403 FORBIDDEN", "{} {path}", route.method);
            assert!(reply.body.contains(scope.as_str()));
        }
    }
    house.close().await;
}

#[tokio::test]
async fn objects_of_others_look_as_if_they_were_not_there() {
    let house = house().await;
    let own = house.token().await;
    let objects = objects(&house, &own).await;
    let account = house.test_realm().account;
    let live = Realm { account, environment: Environment::Live };
    let stranger = Realm { account: house.stranger().await, environment: Environment::Test };
    for (realm, shares_connections) in [(live, false), (stranger, true)] {
        let token = house.token_in(realm, &Scope::ALL, Some(1_000_000)).await;
        for route in ROUTES.iter().filter(|route| route.path.contains('{') && route.path.starts_with("/v1/"))
        {
            // Connections belong to the installation: everybody of the environment sees them.
            if shares_connections && route.path.starts_with("/v1/connections") {
                continue;
            }
            let Some((_, id)) = objects.iter().find(|(prefix, _)| route.path.starts_with(prefix)) else {
                panic!("{} has no object in this test", route.path)
            };
            let at = |id: &str| route.path.replace("{id}", id).replace("{name}", id).replace("{place}", "1");
            let method = route.method.as_str();
            let theirs = house.with(method, &at(id), &token, "", body(route.path)).await;
            let nothing = house.with(method, &at(&absent(route.path)), &token, "", body(route.path)).await;
            let nonsense = house.with(method, &at("nonsense"), &token, "", body(route.path)).await;
            assert_eq!(theirs.told(), "404 NOT_FOUND", "{method} {}", route.path);
            assert_eq!(theirs.body, nothing.body, "{method} {}", route.path);
            assert_eq!(theirs.body, nonsense.body, "{method} {}", route.path);
        }
        for list in [
            "/v1/messages",
            "/v1/batches",
            "/v1/events",
            "/v1/webhooks",
            "/v1/clients",
            "/v1/suppressions",
            "/v1/contacts",
            "/v1/groups",
            "/v1/imports",
        ] {
            let listed = house.get(list, &token).await.expect(200);
            assert!(listed["data"].as_array().unwrap().is_empty(), "{list}");
        }
    }
    house.close().await;
}

#[tokio::test]
async fn fictional_numbers_are_refused_in_live() {
    let house = house().await;
    let live = Realm { environment: Environment::Live, ..house.test_realm() };
    let token = house.token_in(live, &Scope::ALL, None).await;
    assert_eq!(house.post("/v1/sms", &token, HELLO).await.status, 422);
    house.close().await;
}

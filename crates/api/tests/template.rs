//! Templates: made, looked at, sent with, and never sent with a hole.

use crate::support::{House, house};
use serde_json::{Value, json};
use tidings_domain::account::Scope;
use tidings_domain::id::TemplateId;
use tidings_domain::template::Template;
use tidings_store::{Actor, WhichTemplate};

const TABLE: &str = r#"{"name":"table-ready","description":"when a table is free",
    "texts":{"en":"Hi {{ name }}, table {{ table }} is ready.","de":"{{ name }}, Tisch {{ table }} ist frei."},
    "variables":[{"name":"name","type":"text","sample":"Ana","max_length":30},
                 {"name":"table","type":"number","sample":7,"min":1,"max":99}]}"#;

async fn text(house: &House, token: &str, message: &Value) -> Value {
    let path = format!("/v1/messages/{}", message["id"].as_str().unwrap());
    house.get(&path, token).await.expect(200)
}

fn message(more: &Value) -> String {
    let mut body = json!({ "from": "+15550001111", "to": "+15550002222" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

/// The fields and reasons of a refusal.
fn reasons(body: &Value) -> String {
    let errors = body["errors"].as_array().unwrap().iter();
    let errors =
        errors.map(|e| format!("{}:{}", e["field"].as_str().unwrap(), e["reason"].as_str().unwrap()));
    errors.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_message_is_made_of_a_template_and_says_of_which() {
    let house = house().await;
    let token = house.token().await;
    let made = house.post("/v1/templates", &token, TABLE).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    for (named, language, expected) in [
        ("table-ready", "en", "Hi Ben, table 4 is ready."),
        (id.as_str(), "de-AT", "Ben, Tisch 4 ist frei."),
        (id.as_str(), "fr", "Hi Ben, table 4 is ready."),
    ] {
        let body = message(&json!({
            "template": named, "language": language, "values": { "name": "Ben", "table": 4 }
        }));
        let sent = house.post("/v1/messages", &token, &body).await.expect(202);
        let shown = text(&house, &token, &sent).await;
        assert_eq!(shown["text"], expected);
        assert_eq!(shown["template"], json!({ "id": id, "version": 1 }));
    }
    let plain = house.post("/v1/messages", &token, &message(&json!({ "text": "a" }))).await.expect(202);
    assert_eq!(text(&house, &token, &plain).await["template"], Value::Null);
    house.close().await;
}

#[tokio::test]
async fn a_text_that_could_not_be_sent_or_read_is_refused_when_it_is_made() {
    let house = house().await;
    let token = house.token().await;
    for (source, expected) in [
        (format!("{{{{ {}1 }}}}", "-".repeat(3_200)), "texts.en:syntax"),
        (format!("{{{{ name{} }}}}", ".a".repeat(1_600)), "texts.en:syntax"),
        (format!("{{{{ name{} }}}}", "()".repeat(1_300)), "texts.en:syntax"),
        (format!("{{{{ 1{} }}}}", "+1".repeat(1_950)), "texts.en:syntax"),
        ("{{ '' ~ name }}".to_owned(), "texts.en:syntax"),
        ("{{ 10.0 ** 400 }}".to_owned(), "texts.en:render"),
        (format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(320)), "texts.en:syntax"),
        ("{% set a = 1 %}{{ a }}".to_owned(), "texts.en:syntax"),
        ("Hi\0 {{ name }}".to_owned(), "texts.en:control_character"),
        ("Hi {{ name }}\u{1b}".to_owned(), "texts.en:control_character"),
    ] {
        let variables = json!([{ "name": "name", "type": "text", "sample": "Ana" }]);
        let body = json!({ "name": "a", "texts": { "en": source }, "variables": variables });
        let refused = house.post("/v1/templates", &token, &body.to_string()).await.expect(422);
        assert_eq!(reasons(&refused), expected, "{source}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_template_that_was_stored_by_other_means_is_refused_when_it_is_read() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/templates", &token, TABLE).await.expect(201);
    let (store, realm) = (house.engine.store(), house.test_realm());
    let good = WhichTemplate::Name("table-ready".to_owned());
    let good = store.template(realm, good, None).await.unwrap().unwrap();
    for (name, source) in [
        ("deep", format!("{{{{ {}1 }}}}", "-".repeat(3_200))),
        ("long", format!("{{{{ name{} }}}}", ".a".repeat(20_000))),
        ("other", "{% set a = 1 %}{{ a }}".to_owned()),
    ] {
        let id = TemplateId::from_key(house.engine.clock().id());
        let mut bad = Template { id, name: name.to_owned(), ..good.clone() };
        bad.content.texts.values_mut().for_each(|text| text.clone_from(&source));
        let actor = Actor { account: realm.account, who: "operator".to_owned() };
        store.create_template(bad, actor).await.unwrap();
        let asked = message(&json!({ "template": name, "values": { "name": "Ben", "table": 4 } }));
        let refused = house.post("/v1/messages", &token, &asked).await;
        assert_eq!(
            (refused.told().as_str(), reasons(&refused.json()).as_str()),
            ("422 TEMPLATE_NOT_FILLED", "template:render")
        );
        for values in ["{}", r#"{"values":{"name":"Ben","table":4}}"#] {
            let refused = house.post(&format!("/v1/templates/{name}/preview"), &token, values).await;
            assert_eq!(refused.told(), "422 TEMPLATE_NOT_FILLED", "{name} {values}");
        }
    }
    house.close().await;
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named_and_nothing_is_sent() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/templates", &token, TABLE).await.expect(201);
    for (more, expected) in [
        (json!({ "template": "table-ready" }), "values.name:missing_value values.table:missing_value"),
        (
            json!({ "template": "table-ready", "values": { "name": " ", "table": 4 } }),
            "values.name:missing_value",
        ),
        (
            json!({ "template": "table-ready", "values": { "name": "B", "table": 100 } }),
            "values.table:out_of_range",
        ),
        (
            json!({ "template": "table-ready", "values": { "name": "B", "table": 4, "tabel": 4 } }),
            "values.tabel:unknown_value",
        ),
        (json!({ "template": "tabel-ready" }), "template:unknown_template"),
        (json!({ "template": "table-ready", "version": 2 }), "template:unknown_template"),
    ] {
        let refused = house.post("/v1/messages", &token, &message(&more)).await;
        assert_eq!(refused.told(), "422 TEMPLATE_NOT_FILLED", "{more}");
        assert_eq!(reasons(&refused.json()), expected, "{more}");
    }
    for (more, expected) in [
        (json!({ "template": "table-ready", "text": "a" }), "text:given_twice"),
        (json!({ "values": {}, "text": "a" }), "values:misplaced"),
        (json!({ "template": "table-ready", "values": { "name": [] } }), "values.name:wrong_type"),
        (json!({ "template": "table-ready", "language": "?" }), "language:language"),
        (json!({}), "message:missing"),
    ] {
        let refused = house.post("/v1/messages", &token, &message(&more)).await.expect(422);
        assert_eq!(reasons(&refused), expected, "{more}");
    }
    assert!(house.get("/v1/messages", &token).await.expect(200)["data"].as_array().unwrap().is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_batch_fills_each_message_and_refuses_those_that_it_cannot_fill() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/templates", &token, TABLE).await.expect(201);
    let one = |values: Value| json!({ "from": "+15550001111", "to": "+15550002222", "template": "table-ready", "values": values });
    let body = json!({ "messages": [
        one(json!({ "name": "Ana", "table": 1 })),
        one(json!({ "name": "Ben" })),
        one(json!({ "name": "Cem", "table": 3 })),
    ] });
    let batch = house.post("/v1/messages/batch", &token, &body.to_string()).await.expect(202);
    assert_eq!((&batch["accepted"], &batch["refused"]), (&json!(2), &json!(1)));
    let error = &batch["results"][1]["error"];
    assert_eq!((&error["code"], &error["field"]), (&json!("TEMPLATE_NOT_FILLED"), &json!("values.table")));
    let last = text(&house, &token, &batch["results"][2]).await;
    assert_eq!(last["text"], "Hi Cem, table 3 is ready.");
    house.close().await;
}

#[tokio::test]
async fn a_preview_tells_what_the_messages_to_a_group_or_a_segment_would_cost() {
    let house = house().await;
    let token = house.token().await;
    let template = json!({
        "name": "note",
        "texts": { "en": "Hi {{ name }}: {{ note }}", "de": "Hallo {{ name }}, dies und jenes: {{ note }}" },
        "variables": [
            { "name": "name", "type": "text", "sample": "Ana" },
            { "name": "note", "type": "text", "sample": "Hello", "max_length": 300 },
        ],
    });
    house.post("/v1/templates", &token, &template.to_string()).await.expect(201);
    let contact = async |n: u32, more: Value| {
        let mut contact =
            json!({ "numbers": [format!("+1555000{n:04}")], "name": "Ana", "groups": ["guests"] });
        contact.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        house.post("/v1/contacts", &token, &contact.to_string()).await.expect(201);
    };
    let note = |length: usize| json!({ "fields": { "note": "x".repeat(length) } });
    for (n, length) in [10, 20, 140, 300].into_iter().enumerate() {
        contact(n as u32, note(length)).await;
    }
    // One in another language and alphabet, one without a note, and one who is no guest.
    contact(10, json!({ "language": "de", "fields": { "note": format!("ż{}", "x".repeat(200)) } })).await;
    contact(11, json!({})).await;
    contact(12, json!({ "groups": [], "fields": { "note": "x" } })).await;
    let preview = async |token: &str, body: Value| {
        house.post("/v1/templates/note/preview", token, &body.to_string()).await
    };
    let costs = |looked_at: u32, filled: u32, median: Value, worst: Value| json!({ "looked_at": looked_at, "filled": filled, "median_segments": median, "worst_segments": worst });
    let told = async |body: Value| preview(&token, body).await.expect(200)["contacts"].clone();
    assert_eq!(told(json!({ "group": "guests" })).await, costs(6, 5, json!(1), json!(4)));
    // A value that is given is everybody's.
    assert_eq!(
        told(json!({ "group": "guests", "values": { "note": "x" } })).await,
        costs(6, 6, json!(1), json!(1))
    );
    // And so do the rows of a table, for who may read templates.
    let table = "number,name,note\n+15550009001,Ana,x\n+15550009002,,x\n";
    let import = async |token: &str, path: &str| {
        house.with("POST", path, token, "Content-Type: text/csv\r\n", table).await
    };
    let read = import(&token, "/v1/imports?template=note").await.expect(201);
    let costs_of_rows = &read["report"]["costs"];
    let sums = ["filled", "unfilled", "segments", "median_segments", "worst_segments"];
    assert_eq!(sums.map(|name| costs_of_rows[name].clone()), [1, 1, 1, 1, 1].map(Value::from), "{read}");
    assert_eq!(costs_of_rows["lacking"], json!({ "name": 1 }), "{read}");
    let unknown = import(&token, "/v1/imports?template=nothing").await.expect(422);
    assert_eq!(unknown["errors"][0]["reason"], "unknown_template", "{unknown}");
    // One that is named by nothing is no import without one.
    let empty = import(&token, "/v1/imports?template=&group=").await;
    assert_eq!(reasons(&empty.json()), "template:empty group:empty");
    assert!((400..500).contains(&empty.status), "{}", empty.status);
    let importer = house.token_in(house.test_realm(), &[Scope::ContactsImport], None).await;
    assert_eq!(import(&importer, "/v1/imports").await.expect(201)["report"]["costs"], Value::Null);
    import(&importer, "/v1/imports?template=note").await.expect(403);
    assert_eq!(told(json!({ "group": "nobody" })).await, costs(0, 0, Value::Null, Value::Null));
    let segment = json!({ "name": "germans", "query": { "language": "de" } });
    house.post("/v1/segments", &token, &segment.to_string()).await.expect(201);
    assert_eq!(told(json!({ "segment": "germans" })).await, costs(1, 1, json!(4), json!(4)));
    let plain = preview(&token, json!({})).await.expect(200);
    assert!(plain.get("contacts").is_none(), "{plain}");

    let wrong = preview(&token, json!({ "group": "guests", "values": { "naem": "x" } })).await;
    assert_eq!(reasons(&wrong.expect(422)), "values.naem:unknown_value");
    let both = preview(&token, json!({ "group": "guests", "segment": "germans" })).await;
    assert_eq!(reasons(&both.expect(422)), "segment:given_twice");
    let unknown = preview(&token, json!({ "segment": "nobodies" })).await.expect(404);
    assert_eq!(reasons(&unknown), "segment:unknown_segment");
    let blind = house.token_in(house.test_realm(), &[Scope::TemplatesRead], None).await;
    for body in [json!({ "group": "guests" }), json!({ "segment": "germans" })] {
        assert_eq!(preview(&blind, body).await.told(), "403 FORBIDDEN");
    }
    house.close().await;
}

#[tokio::test]
async fn a_version_never_changes_and_the_newest_is_taken() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/templates", &token, TABLE).await.expect(201);
    let path = "/v1/templates/table-ready";
    let id = house.get(path, &token).await.expect(200)["id"].as_str().unwrap().to_owned();
    let again = house.post("/v1/templates", &token, TABLE).await;
    assert_eq!(again.told(), "409 CONFLICT");
    let expected = format!("There is a conflict: the template {id} has the name `table-ready` already.");
    assert_eq!(again.json()["detail"], expected);
    let key = "Idempotency-Key: k1\r\n";
    let asked = message(&json!({ "template": "table-ready", "values": { "name": "Ben", "table": 4 } }));
    let first = house.with("POST", "/v1/messages", &token, key, &asked).await;
    let next = r#"{"texts":{"en":"{{ name }}: table {{ table }} until {{ until|date('%H:%M') }}."},
        "variables":[{"name":"name","type":"text","sample":"Ana"},{"name":"table","type":"number","sample":7},
                     {"name":"until","type":"date","sample":"2026-12-24T20:00"}]}"#;
    let added = house.post(&format!("/v1/templates/{id}/versions"), &token, next).await.expect(201);
    assert_eq!((&added["version"], &added["newest_version"]), (&json!(2), &json!(2)));
    // The same call again is answered as the first one was, though there is a value more now.
    let again = house.with("POST", "/v1/messages", &token, key, &asked).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let refused = house.post("/v1/messages", &token, &asked).await;
    assert_eq!(reasons(&refused.json()), "values.until:missing_value");
    let old = json!({ "template": "table-ready", "version": 1, "values": { "name": "Ben", "table": 4 } });
    let sent = house.post("/v1/messages", &token, &message(&old)).await.expect(202);
    assert_eq!(text(&house, &token, &sent).await["template"]["version"], 1);
    let before = house.get(&format!("{path}?version=1"), &token).await.expect(200);
    assert_eq!((&before["version"], &before["newest_version"]), (&json!(1), &json!(2)));
    assert_eq!(before["texts"]["en"], "Hi {{ name }}, table {{ table }} is ready.");
    let listed = house.get("/v1/templates?prefix=table", &token).await.expect(200);
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["version"]), (1, &json!(2)));
    let others = house.get("/v1/templates?prefix=reply.", &token).await.expect(200);
    assert!(others["data"].as_array().unwrap().is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_preview_says_what_a_template_costs() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/templates", &token, TABLE).await.expect(201);
    let path = "/v1/templates/table-ready/preview";
    let shown = house.post(path, &token, "").await.expect(200);
    assert_eq!(shown["text"], Value::Null);
    assert_eq!(
        (&shown["usual"]["text"], &shown["usual"]["segments"]),
        (&json!("Hi Ana, table 7 is ready."), &json!(1))
    );
    // Thirty characters of another alphabet, of two units each.
    assert_eq!((&shown["worst"]["encoding"], &shown["worst"]["segments"]), (&json!("ucs2"), &json!(2)));
    let values = r#"{"language":"de","values":{"name":"Ben","table":"4"}}"#;
    let shown = house.post(path, &token, values).await.expect(200);
    assert_eq!(shown["text"]["text"], "Ben, Tisch 4 ist frei.");
    let refused = house.post(path, &token, r#"{"values":{"table":4}}"#).await;
    assert_eq!(refused.told(), "422 TEMPLATE_NOT_FILLED");
    house.close().await;
}

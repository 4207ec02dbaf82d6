//! Segments: pages that look at some thousands of contacts and no more, counts, and who may ask.
//!
//! `cargo test -p tidings-api --test api -- --ignored --nocapture a_hundred_thousand` says how long counts take.

use crate::support::{House, house};
use serde_json::{Value, json};
use tidings_domain::account::Scope;

/// Contacts in this order, the first row being the oldest or nearly so.
async fn imported(house: &House, token: &str, rows: usize) {
    let mut table = String::from("number,groups,visits:number,since:date\n");
    for n in 0..rows {
        let group = if n % 1_000 == 7 { "rare" } else { "" };
        table.push_str(&format!("+467{:08},{group},{n},2026-01-31\n", n));
    }
    let import =
        house.with("POST", "/v1/imports", token, "Content-Type: text/csv\r\n", &table).await.expect(201);
    let path = format!("/v1/imports/{}", import["id"].as_str().unwrap());
    house.with("POST", &format!("{path}/commit"), token, "", "").await.expect(202);
    for _ in 0..600 {
        let now = house.get(&path, token).await.expect(200);
        if now["state"] == "done" {
            assert_eq!(now["progress"]["created"], json!(rows), "{now}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the import is not taken over");
}

async fn segment(house: &House, token: &str, name: &str, query: Value) {
    let body = json!({ "name": name, "query": query }).to_string();
    house.post("/v1/segments", token, &body).await.expect(201);
}

#[tokio::test]
async fn a_page_looks_at_some_thousands_and_the_next_goes_on() {
    const ROWS: usize = 6_000;
    let house = house().await;
    let token = house.token().await;
    imported(&house, &token, ROWS).await;
    segment(&house, &token, "some", json!({ "field": "visits", "below": 3 })).await;
    segment(
        &house,
        &token,
        "rare",
        json!({ "all": [{ "group": "rare" }, { "field": "visits", "above": 3_000 }] }),
    )
    .await;

    let (mut found, mut scanned, mut pages, mut cursor) = (0, 0, 0, String::new());
    loop {
        let page =
            house.get(&format!("/v1/segments/some/contacts?limit=2{cursor}"), &token).await.expect(200);
        pages += 1;
        found += page["data"].as_array().unwrap().len();
        let looked_at = page["scanned"].as_u64().unwrap();
        assert!(looked_at <= 5_500, "{looked_at}");
        scanned += looked_at;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, 3);
    assert!(pages >= 2 && scanned >= ROWS as u64, "{pages} pages, {scanned} contacts");
    let count = house.get("/v1/segments/some/count", &token).await.expect(200);
    assert_eq!(count, json!({ "count": 3, "scanned": ROWS, "complete": true, "next_cursor": null }));
    // Only who is in the group is looked at.
    let count = house.get("/v1/segments/rare/count", &token).await.expect(200);
    assert_eq!((&count["count"], &count["scanned"]), (&json!(3), &json!(6)), "{count}");
    let table = house.get("/v1/contacts/export?format=ndjson&segment=rare", &token).await;
    assert_eq!(table.body.matches("\"numbers\"").count(), 3, "{}", table.body);
    // A cursor of another list, or one that was cut.
    let others = house.get("/v1/contacts?limit=1", &token).await.expect(200);
    let path = format!("/v1/segments/some/contacts?cursor={}", others["next_cursor"].as_str().unwrap());
    assert_eq!(house.get(&path, &token).await.told(), "400 INVALID_REQUEST");
    house.close().await;
}

#[tokio::test]
async fn who_may_not_read_segments_learns_nothing_by_an_export() {
    let house = house().await;
    let token = house.token().await;
    segment(&house, &token, "out", json!({ "suppressed": true })).await;
    let exporter = house.token_in(house.test_realm(), &[Scope::ContactsExport], None).await;
    let refused = house.get("/v1/contacts/export?segment=out", &exporter).await;
    assert_eq!(refused.told(), "403 FORBIDDEN");
    assert!(refused.body.contains("segments.read"), "{}", refused.body);
    let both = [Scope::ContactsExport, Scope::SegmentsRead];
    let both = house.token_in(house.test_realm(), &both, None).await;
    assert_eq!(house.get("/v1/contacts/export?segment=out", &both).await.status, 200);
    let audit = house.get("/v1/audit?limit=1", &token).await.expect(200);
    let line = &audit["data"][0];
    assert_eq!(line["action"], "contact.export", "{line}");
    assert!(line["subject"].as_str().unwrap().starts_with("seg_"), "{line}");
    house.close().await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn a_hundred_thousand_contacts_are_counted() {
    let rows = std::env::var("TIDINGS_CONTACTS").map_or(100_000, |rows| rows.parse().unwrap());
    let house = house().await;
    let token = house.token().await;
    imported(&house, &token, rows).await;
    for (name, query) in [
        ("a field", json!({ "field": "visits", "at_least": rows / 2 })),
        ("a group", json!({ "all": [{ "group": "rare" }, { "suppressed": false }] })),
        ("suppression", json!({ "suppressed": false })),
        ("consent", json!({ "not": { "consent": "marketing" } })),
        ("history", json!({ "not": { "history": "sent", "in_last_days": 30 } })),
    ] {
        segment(&house, &token, name, query).await;
        let path = format!("/v1/segments/{}", name.replace(' ', "%20"));
        let (watch, mut count, mut cursor) = (house.engine.clock().stopwatch(), 0, String::new());
        loop {
            let part = house.get(&format!("{path}/count{cursor}"), &token).await.expect(200);
            count += part["count"].as_u64().unwrap();
            match part["next_cursor"].as_str() {
                Some(next) => cursor = format!("?cursor={next}"),
                None => break,
            }
        }
        println!("{name}: {count} of {rows} in {} ms", watch.elapsed_ms());
    }
    house.close().await;
}

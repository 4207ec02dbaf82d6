//! Programmes: which one a message is of, and that a consent counts for the one that it names.

use crate::support::{House, house_where};
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_domain::pool::{self, Pool};
use tidings_domain::programme::{Name, Programme, Programmes, Stop};
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;

const CLINIC: &str = "+15550001111";
const SHOP: &str = "+15550001112";
const BOTH: &str = "+15550001113";
const NOBODY: &str = "+15550001114";
const PERSON: &str = "+15550002222";

fn programme(name: &str, senders: &[&str]) -> Programme {
    Programme {
        name: Name::parse(name).unwrap(),
        formerly: Vec::new(),
        seller: "Acme".to_owned(),
        senders: senders.iter().filter_map(|text| Sender::from_stored(text)).collect(),
        pools: Vec::new(),
        join: None,
        stop: Stop::Account,
    }
}

async fn house() -> House {
    house_where(|settings| {
        let all = vec![programme("reminders", &[CLINIC, BOTH]), programme("offers", &[SHOP, BOTH])];
        settings.programmes = Arc::new(Programmes { all });
        settings.gate.consent.purposes = vec![Purpose::Marketing];
    })
    .await
}

fn text(from: &str, purpose: &str, programme: Option<&str>) -> Value {
    let mut body = json!({ "from": from, "to": PERSON, "message": "Hello", "purpose": purpose });
    if let Some(name) = programme {
        body["programme"] = name.into();
    }
    body
}

#[tokio::test]
async fn a_message_is_of_the_programme_that_is_named_or_of_that_of_its_sender() {
    let house = house().await;
    let token = house.token().await;
    for (from, named, expected) in [
        (CLINIC, None, json!("reminders")),
        (SHOP, None, json!("offers")),
        (BOTH, None, Value::Null),
        (BOTH, Some("offers"), json!("offers")),
        (CLINIC, Some("offers"), json!("offers")),
        (NOBODY, None, Value::Null),
    ] {
        let body = text(from, "alert", named).to_string();
        let preview = house.post("/v1/messages/preview", &token, &body).await.expect(200);
        assert_eq!(preview["programme"], expected, "{body}");
        let accepted = house.post("/v1/messages", &token, &body).await.expect(202);
        assert_eq!(accepted["programme"], expected, "{body}");
        let path = format!("/v1/messages/{}", accepted["id"].as_str().unwrap());
        assert_eq!(house.get(&path, &token).await.expect(200)["programme"], expected, "{body}");
    }
    let feed = house.get("/v1/events?limit=100", &token).await.expect(200);
    for event in feed["data"].as_array().unwrap() {
        let (from, told) = (&event["data"]["from"], &event["data"]["programme"]);
        assert!(from != SHOP || told == "offers", "{event}");
        assert!(from != NOBODY || told.is_null(), "{event}");
    }

    let batch = json!({ "recipients": [PERSON], "bodies": ["Hi"], "from": BOTH, "programme": "reminders" });
    let batch = house.post("/v1/messages/batch", &token, &batch.to_string()).await.expect(202);
    assert_eq!(batch["results"][0]["message"]["programme"], "reminders");
    house.close().await;
}

#[tokio::test]
async fn a_programme_that_nobody_configured_is_refused_with_the_one_that_was_meant() {
    let house = house().await;
    let token = house.token().await;
    let check = async |name: &str, expected: &str| {
        let answer = house.post("/v1/messages", &token, &text(SHOP, "alert", Some(name)).to_string()).await;
        let body = answer.expect(422);
        assert_eq!(
            (body["code"].as_str(), body["errors"][0]["field"].as_str()),
            (Some("UNKNOWN_PROGRAMME"), Some("programme"))
        );
        assert!(body["detail"].as_str().unwrap().contains(expected), "{body}");
    };
    check("ofers", "Did you mean `offers`?").await;
    check("nothing-like-it", "no programme").await;
    check("No Name", "a to z").await;
    // What would count for nothing is not taken for a consent that is gone, or asked for.
    let consent = |act: &str, programme: &str| {
        json!({
            "to": PERSON, "act": act, "purposes": ["marketing"], "channels": ["text"], "method": "spoken",
            "programme": programme,
        })
        .to_string()
    };
    let refused = house.post("/v1/consents", &token, &consent("revoked", "offer")).await.expect(422);
    assert_eq!(refused["code"], "UNKNOWN_PROGRAMME", "{refused}");
    house.post("/v1/consents", &token, &consent("revoked", "Offers")).await.expect(201);
    house.post("/v1/consents", &token, &consent("express", "spring sale")).await.expect(201);
    let preview = text(SHOP, "alert", Some("ofers")).to_string();
    let preview = house.post("/v1/messages/preview", &token, &preview).await.expect(200);
    assert_eq!(preview["refused"][0]["code"], "UNKNOWN_PROGRAMME");
    house.close().await;
}

#[tokio::test]
async fn a_consent_counts_for_the_programme_that_it_names() {
    let house = house().await;
    let token = house.token().await;
    let record = async |more: Value| {
        let mut body = json!({
            "to": PERSON, "act": "written", "purposes": ["marketing"], "method": "form", "wording": "I agree",
            "place": "https://acme.example", "seller": "Acme",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        house.post("/v1/consents", &token, &body.to_string()).await.expect(201);
    };
    let check = async |from: &str, named: Option<&str>, expected: Option<&str>| {
        let body = text(from, "marketing", named).to_string();
        let preview = house.post("/v1/messages/preview", &token, &body).await.expect(200);
        let found = preview["gate"].as_array().unwrap().iter().find(|one| one["code"] == "NO_CONSENT");
        assert_eq!(found.map(|one| one["reason"].as_str().unwrap()), expected, "{body}");
        let answer = house.post("/v1/messages", &token, &body).await;
        assert_eq!(answer.status, if expected.is_some() { 422 } else { 202 }, "{body}: {}", answer.body);
    };
    check(SHOP, None, Some("never_given")).await;
    record(json!({ "programme": "offers" })).await;
    check(SHOP, None, None).await;
    check(BOTH, Some("offers"), None).await;
    check(CLINIC, None, Some("other_programme")).await;
    check(BOTH, None, Some("other_programme")).await;
    // For all of the seller, and taken back for one.
    record(json!({ "given_at": "2026-01-02T00:00:00Z" })).await;
    check(CLINIC, None, None).await;
    record(json!({ "act": "revoked", "programme": "reminders" })).await;
    check(CLINIC, None, Some("revoked")).await;
    check(SHOP, None, None).await;
    let proof = house.get("/v1/consents/proof?to=%2B15550002222", &token).await.expect(200);
    let standing: Vec<String> = proof["standing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["programme"], one["state"].as_str().unwrap()))
        .collect();
    assert_eq!(standing, ["\"reminders\" revoked", "\"offers\" granted"]);
    record(json!({ "act": "revoked" })).await;
    check(SHOP, None, Some("revoked")).await;
    house.close().await;
}

#[tokio::test]
async fn who_left_a_programme_is_not_asked_for_it_and_no_sender_asks_for_another() {
    let house = house_where(|settings| {
        let stop = |one: Programme| Programme { stop: Stop::Programme, ..one };
        let all = vec![stop(programme("reminders", &[CLINIC])), stop(programme("offers", &[SHOP]))];
        settings.programmes = Arc::new(Programmes { all });
        let senders = [SHOP, CLINIC].iter().filter_map(|text| Sender::from_stored(text)).collect();
        settings.pools = vec![Pool { name: pool::Name::parse("all").unwrap(), senders, area_match: false }];
    })
    .await;
    let token = house.token().await;
    let ask = async |from: &str, programme: &str| {
        let body = json!({
            "from": from, "to": PERSON, "text": "Reply YES to hear of them", "act": "express", "programme": programme,
        });
        house.post("/v1/consents/requests", &token, &body.to_string()).await
    };
    let refused = ask(CLINIC, "offers").await.expect(422);
    assert_eq!(
        (&refused["code"], &refused["errors"][0]["reason"]),
        (&json!("INVALID_SENDER"), &json!("other_programme"))
    );

    let left = json!({ "to": PERSON, "programme": "offers", "reason": "opted_out" });
    house.post("/v1/suppressions", &token, &left.to_string()).await.expect(201);
    assert_eq!(ask(NOBODY, "Offers").await.expect(422)["code"], "OPTED_OUT");
    assert_eq!(ask(SHOP, "offers").await.expect(422)["code"], "OPTED_OUT");
    let asked = ask(CLINIC, "reminders").await.expect(202);
    let path = format!("/v1/messages/{}", asked["message_id"].as_str().unwrap());
    assert_eq!(house.get(&path, &token).await.expect(200)["programme"], "reminders");

    // Of a pool, one that sends for no other is passed over.
    for n in 0..12 {
        let body = json!({
            "from": "pool:all", "to": format!("+155500033{n:02}"), "message": "Tomorrow at nine", "programme": "reminders",
        });
        let accepted = house.post("/v1/messages", &token, &body.to_string()).await.expect(202);
        assert_eq!(accepted["from"], CLINIC, "{accepted}");
    }
    house.close().await;
}

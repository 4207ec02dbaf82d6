//! Sending, previewing, reading, canceling, redacting; batches; the feed.

use crate::support::{HELLO, Reply, house, house_with};
use serde_json::json;
use tidings_domain::admission::Bounds;
use tidings_domain::intake::Limits;

const LATER: &str =
    r#"{"from":"+15550001111","to":"+15550002222","text":"later","send_at":"SEND_AT","reference":"r-1"}"#;

fn later(house: &crate::support::House) -> String {
    LATER.replace("SEND_AT", &house.engine.clock().now().plus_s(3600).to_string())
}

#[tokio::test]
async fn the_request_of_the_example_is_accepted_and_can_be_read() {
    let house = house().await;
    let token = house.token().await;
    let reply = house.post("/v1/sms", &token, HELLO).await;
    assert!(reply.header("x-request-id").starts_with("req_"));
    let accepted = reply.expect(202);
    assert_eq!(accepted["status"], "queued");
    assert_eq!((accepted["segments"].as_u64(), accepted["encoding"].as_str()), (Some(1), Some("gsm7")));
    assert_eq!(
        (accepted["from"].as_str(), accepted["to"].as_str()),
        (Some("+15550001111"), Some("+15550002222"))
    );
    let id = accepted["id"].as_str().unwrap();
    let message = house.get(&format!("/v1/messages/{id}"), &token).await.expect(200);
    assert_eq!(message["text"], "Hello from our app");
    let timeline = house.get(&format!("/v1/messages/{id}/timeline"), &token).await.expect(200);
    assert_eq!(timeline["message"]["id"], id);
    assert_eq!(timeline["connection_name"], "simulator");
    for name in ["body", "text", "content"] {
        house.post("/v1/sms", &token, &HELLO.replace("message", name)).await.expect(202);
    }
    house.close().await;
}

#[tokio::test]
async fn bad_requests_are_refused_with_their_code() {
    let house = house().await;
    let token = house.token().await;
    let to = |number: &str| HELLO.replace("+15550002222", number);
    let text = |text: &str| HELLO.replace("Hello from our app", text);
    let nested = "[".repeat(60_000);
    for (body, expected) in [
        ("", "415 UNSUPPORTED_MEDIA_TYPE"),
        (&HELLO[..20], "400 INVALID_REQUEST"),
        (&format!("{HELLO}{HELLO}"), "400 INVALID_REQUEST"),
        (&HELLO.replace("{\"from\"", "{\"to\":\"+15550002222\",\"from\""), "400 INVALID_REQUEST"),
        (&nested, "400 INVALID_REQUEST"),
        (&text(r"\ud800"), "400 INVALID_REQUEST"),
        (&HELLO.replace("\"to\"", "\"too\""), "422 INVALID_REQUEST"),
        (&HELLO.replace("{\"", "{\"admin\":true,\""), "422 INVALID_REQUEST"),
        (&to("0701234567"), "422 INVALID_NUMBER"),
        (&to("72345"), "422 INVALID_NUMBER"),
        (&to("1-800-FLOWERS"), "422 INVALID_NUMBER"),
        (&to("+1٥٥٥0002222"), "422 INVALID_NUMBER"),
        (&to(r"+15550002222\u202e"), "422 INVALID_NUMBER"),
        (&to(r"+15550002222\r\n"), "422 INVALID_NUMBER"),
        (&to("911"), "422 INVALID_NUMBER"),
        (&to("+19005551234"), "422 INVALID_NUMBER"),
        (&HELLO.replace("+15550001111", "Twelve Chars"), "422 INVALID_SENDER"),
        (&HELLO.replace("+15550001111", "Tidings"), "422 INVALID_SENDER"),
        (&text(""), "422 INVALID_TEXT"),
        (&text(r"\u200b\u200b"), "422 INVALID_TEXT"),
        (&text(r"a\u0000b"), "422 INVALID_TEXT"),
        (&text(&"x".repeat(1531)), "422 TOO_MANY_SEGMENTS"),
    ] {
        let reply = house.post("/v1/sms", &token, body).await;
        assert_eq!(reply.told(), expected, "{body:.90} -> {}", reply.body);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert!(!reply.body.contains("5550002222"), "{}", reply.body);
    }
    for (more, expected) in [
        (r#""send_at":"2020-01-01T00:00:00Z""#, "422 INVALID_TIME"),
        (r#""send_at":"2027-02-30T00:00:00Z""#, "422 INVALID_TIME"),
        (r#""send_at":"2027-02-03T00:00:00""#, "422 INVALID_TIME"),
        (r#""send_at":"2999-02-03T00:00:00Z""#, "422 INVALID_TIME"),
        (r#""purpose":"authentication","expires_in_s":7200"#, "422 INVALID_TIME"),
        (r#""purpose":"spam""#, "422 INVALID_REQUEST"),
        (r#""callback_url":"file:///etc/passwd""#, "422 INVALID_URL"),
        (r#""callback_url":"http://169.254.169.254/""#, "422 INVALID_URL"),
    ] {
        let reply = house.post("/v1/messages", &token, &HELLO.replacen('{', &format!("{{{more},"), 1)).await;
        assert_eq!(reply.told(), expected, "{more} -> {}", reply.body);
    }
    let invalid = [
        b"POST /v1/sms HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/json\r\n"
            as &[u8],
        format!("Authorization: Bearer {token}\r\nContent-Length: 8\r\n\r\n").as_bytes(),
        b"{\"a\":\"\xff\xff",
    ]
    .concat();
    assert_eq!(house.raw(&invalid).await.told(), "400 INVALID_REQUEST");
    house.close().await;
}

#[tokio::test]
async fn a_time_without_an_offset_is_the_recipients_local_time() {
    let house = house().await;
    let token = house.token().await;
    let day = house.engine.clock().now().plus_s(2 * 86_400).to_string()[..10].to_owned();
    let (known, unknown) = ("+15550002222", "+15550003333");
    let contact = format!(r#"{{"numbers":["{known}"],"time_zone":"Asia/Tokyo"}}"#);
    house.post("/v1/contacts", &token, &contact).await.expect(201);
    let template = r#"{"name":"hi","texts":{"en":"Hi!"}}"#;
    let to = |to: &str, more: &str| {
        format!(r#"{{"from":"+15550001111","to":"{to}",{more},"send_at":"{day}T09:00"}}"#)
    };
    let text = r#""text":"Good morning""#;
    // In Tokyo it is nine hours later; in the United States it is nowhere 9:00 before it is in Honolulu.
    let (in_tokyo, in_honolulu) = (format!("{day}T00:00:00.000Z"), format!("{day}T19:00:00.000Z"));
    for (number, expected) in [(known, &in_tokyo), (unknown, &in_honolulu)] {
        let preview = house.post("/v1/messages/preview", &token, &to(number, text)).await.expect(200);
        assert_eq!(
            (&preview["send_at"], &preview["sends_at"]),
            (&json!(expected), &json!(expected)),
            "{preview}"
        );
        let accepted = house.post("/v1/messages", &token, &to(number, text)).await.expect(202);
        assert_eq!((&accepted["send_at"], &accepted["status"]), (&json!(expected), &json!("scheduled")));
    }
    house.post("/v1/templates", &token, template).await.expect(201);
    let accepted = house.post("/v1/messages", &token, &to(known, r#""template":"hi""#)).await.expect(202);
    assert_eq!(accepted["send_at"], json!(in_tokyo));
    let batch = format!(
        r#"{{"recipients":["{known}","{unknown}"],"bodies":["a"],"from":"+15550001111","send_at":"{day}T09:00:00"}}"#
    );
    let batch = house.post("/v1/messages/batch", &token, &batch).await.expect(202);
    let told = |place: usize| batch["results"][place]["message"]["send_at"].clone();
    assert_eq!((told(0), told(1)), (json!(in_tokyo), json!(in_honolulu)), "{batch}");

    let nowhere = house.post("/v1/messages", &token, &to("+881612345678", text)).await;
    assert_eq!(nowhere.told(), "422 INVALID_TIME");
    assert_eq!(nowhere.json()["errors"][0]["reason"], "no_time_zone");
    let preview = house.post("/v1/messages/preview", &token, &to("+881612345678", text)).await.expect(200);
    assert_eq!(
        (&preview["refused"][0]["reason"], &preview["sends_at"]),
        (&json!("no_time_zone"), &json!(null))
    );
    for (send_at, reason, word) in [
        ("9999-12-31T23:59", "too_far_ahead", "at most 3024000 seconds ahead"),
        ("9999-12-31T23:59:59Z", "too_far_ahead", "at most 3024000 seconds ahead"),
        ("2020-01-01T09:00", "in_past", "passed"),
        ("2027-02-30T09:00", "unreadable", "recipient's local time"),
    ] {
        let body = to(known, text).replace(&format!("{day}T09:00"), send_at);
        let refused = house.post("/v1/messages", &token, &body).await;
        let error = refused.json()["errors"][0].clone();
        assert_eq!(
            (refused.told().as_str(), &error["reason"]),
            ("422 INVALID_TIME", &json!(reason)),
            "{error}"
        );
        assert!(error["detail"].as_str().unwrap().contains(word), "{error}");
    }
    house.close().await;
}

#[tokio::test]
async fn bodies_have_a_limit_and_a_type() {
    let house = house().await;
    let token = house.token().await;
    let large = HELLO.replace("Hello", &"x".repeat(70_000));
    assert_eq!(house.post("/v1/sms", &token, &large).await.told(), "413 PAYLOAD_TOO_LARGE");
    let chunk = format!("{:x}\r\n{}\r\n", 4096, " ".repeat(4096)).repeat(40);
    let chunked = format!(
        "POST /v1/sms HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Type: \
         application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    assert_eq!(house.raw(chunked.as_bytes()).await.told(), "413 PAYLOAD_TOO_LARGE");
    for header in
        ["Content-Type: text/plain\r\n", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"]
    {
        let reply = house.with("POST", "/v1/sms", &token, header, HELLO).await;
        assert_eq!(reply.told(), "415 UNSUPPORTED_MEDIA_TYPE", "{header}");
    }
    let charset = "Content-Type: Application/JSON; charset=utf-8\r\n";
    house.with("POST", "/v1/sms", &token, charset, HELLO).await.expect(202);
    house.close().await;
}

#[tokio::test]
async fn a_scheduled_message_can_be_taken_back_once_and_its_text_removed() {
    let house = house().await;
    let token = house.token().await;
    let id = house.post("/v1/messages", &token, &later(&house)).await.expect(202);
    assert_eq!(id["status"], "scheduled");
    let path = format!("/v1/messages/{}", id["id"].as_str().unwrap());
    assert_eq!(house.post(&format!("{path}/cancel"), &token, "").await.expect(200)["status"], "canceled");
    assert_eq!(house.post(&format!("{path}/cancel"), &token, "").await.told(), "409 TOO_LATE");
    assert!(house.post(&format!("{path}/redact"), &token, "").await.expect(200)["text"].is_null());
    house.close().await;
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let house = house().await;
    let token = house.token().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let accepted = house.post("/v1/messages", &token, &later(&house)).await.expect(202);
        ids.push(accepted["id"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    let mut found = Vec::new();
    let mut path = "/v1/messages?limit=2&status=scheduled&to=+15550002222&reference=r-1".to_owned();
    loop {
        let page = house.get(&path, &token).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path =
            format!("/v1/messages?limit=2&status=scheduled&to=%2B15550002222&reference=r-1&cursor={cursor}");
    }
    assert_eq!(found, ids);
    assert!(
        house.get("/v1/messages?status=sent&reference=r-1", &token).await.expect(200)["data"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    for (query, expected) in [
        ("limit=-1", "422 INVALID_REQUEST"),
        ("limit=1000000000", "422 INVALID_REQUEST"),
        ("cursor=abc", "400 INVALID_REQUEST"),
        ("since=yesterday", "422 INVALID_TIME"),
        ("stat=sent", "422 INVALID_REQUEST"),
        ("to=x", "422 INVALID_NUMBER"),
        ("batch_id=x", "422 INVALID_REQUEST"),
    ] {
        assert_eq!(house.get(&format!("/v1/messages?{query}"), &token).await.told(), expected, "{query}");
    }
    house.close().await;
}

#[tokio::test]
async fn each_item_of_a_batch_has_its_own_result() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/suppressions", &token, r#"{"to":"+15550003333","reason":"opted_out"}"#).await.expect(201);
    let body = format!(
        r#"{{"messages":[{HELLO},{},{},{{"nonsense":1}}]}}"#,
        HELLO.replace("+15550002222", "1 (555) x"),
        HELLO.replace("+15550002222", "+1 555-000-3333"),
    );
    let answer = house.post("/v1/messages/batch", &token, &body).await.expect(202);
    assert_eq!((answer["accepted"].as_u64(), answer["refused"].as_u64()), (Some(1), Some(3)));
    let codes: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|r| r["error"]["code"].clone()).collect();
    assert_eq!(
        codes,
        [serde_json::Value::Null, "INVALID_NUMBER".into(), "OPTED_OUT".into(), "INVALID_REQUEST".into()]
    );
    let batch = answer["batch_id"].as_str().unwrap();
    let read = house.get(&format!("/v1/batches/{batch}"), &token).await.expect(200);
    assert_eq!((read["asked"].as_u64(), read["accepted"].as_u64()), (Some(4), Some(1)));
    let listed = house.get(&format!("/v1/messages?batch_id={batch}"), &token).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let product = r#"{"from":"A1","recipients":["+46701740605","+46701740606"],"bodies":["a","b"]}"#;
    assert_eq!(house.post("/v1/messages/batch", &token, product).await.expect(202)["accepted"], 4);
    let many = vec![HELLO; 501].join(",");
    let reply = house.post("/v1/messages/batch", &token, &format!(r#"{{"messages":[{many}]}}"#)).await;
    assert_eq!(reply.told(), "422 LIMIT_EXCEEDED");
    house.close().await;
}

#[tokio::test]
async fn a_preview_sends_nothing() {
    let house = house().await;
    let token = house.token().await;
    let look = |body: String| {
        let (house, token) = (&house, &token);
        async move { house.post("/v1/messages/preview", token, &body).await.expect(200) }
    };
    let good = look(HELLO.to_owned()).await;
    assert_eq!((good["segments"].as_u64(), good["refused"].as_array().map(Vec::len)), (Some(1), Some(0)));
    let bad = look(HELLO.replace("+15550002222", "12")).await;
    assert_eq!(bad["refused"][0]["code"], "INVALID_NUMBER");
    let curly = look(format!(r#"{{"text":"“{}”"}}"#, "x".repeat(100))).await;
    assert_eq!((curly["encoding"].as_str(), curly["segments"].as_u64()), (Some("ucs2"), Some(2)));
    assert_eq!(curly["transliteration"]["segments_saved"], 1);
    assert!(house.get("/v1/messages", &token).await.expect(200)["data"].as_array().unwrap().is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_suppressed_number_is_refused_until_it_is_lifted() {
    let house = house().await;
    let token = house.token().await;
    house.post("/v1/suppressions", &token, r#"{"to":"+15550002222","reason":"opted_out"}"#).await.expect(201);
    assert_eq!(house.post("/v1/sms", &token, HELLO).await.told(), "422 OPTED_OUT");
    let listed = house.get("/v1/suppressions?to=+15550002222", &token).await.expect(200);
    assert_eq!(listed["data"][0]["reason"], "opted_out");
    let lift = r#"{"to":"+15550002222","reason":"asked for it again"}"#;
    assert!(house.post("/v1/suppressions/lift", &token, lift).await.expect(200)["lifted_at"].is_string());
    assert_eq!(house.post("/v1/suppressions/lift", &token, lift).await.told(), "404 NOT_FOUND");
    house.post("/v1/sms", &token, HELLO).await.expect(202);
    house.close().await;
}

/// P-34
#[tokio::test]
async fn when_too_much_waits_the_answer_says_so_and_when_to_come_back() {
    let waiting = Bounds { waiting_max: 2, account_percent: 50 };
    let house = house_with(Limits { waiting, ..Limits::default() }).await;
    let token = house.token().await;
    let body = later(&house);
    house.post("/v1/messages", &token, &body).await.expect(202);
    let refused = |reply: &Reply, told: &str| {
        assert_eq!(reply.told(), told, "{}", reply.body);
        let seconds: u32 = reply.header("retry-after").parse().expect("seconds");
        assert!((30..=60).contains(&seconds), "{seconds}");
    };
    // Transactional messages may fill a part of it only.
    refused(&house.post("/v1/messages", &token, &body).await, "503 UNAVAILABLE");
    let batch = format!(r#"{{"messages":[{body}]}}"#);
    refused(&house.post("/v1/messages/batch", &token, &batch).await, "503 UNAVAILABLE");
    let code = body.replace("\"text\"", "\"purpose\":\"authentication\",\"text\"");
    house.post("/v1/messages", &token, &code).await.expect(202);
    refused(&house.post("/v1/messages", &token, &code).await, "503 UNAVAILABLE");
    house.close().await;
    // Where there are several accounts, each has its share.
    let waiting = Bounds { waiting_max: 10, account_percent: 10 };
    let house = house_with(Limits { waiting, ..Limits::default() }).await;
    let token = house.token().await;
    house.stranger().await;
    let pause = house.post("/v1/connections/simulator/pause", &token, r#"{"reason":"a test"}"#);
    pause.await.expect(200);
    let code = later(&house).replace("\"text\"", "\"purpose\":\"authentication\",\"text\"");
    house.post("/v1/messages", &token, &code).await.expect(202);
    refused(&house.post("/v1/messages", &token, &code).await, "429 RATE_LIMITED");
    house.close().await;
}

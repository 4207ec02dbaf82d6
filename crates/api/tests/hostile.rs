//! Bad inputs, one line each: what is sent, and what is answered. Their numbers are those of a list of sixty-four that
//! was drawn up before any of them was tried; what there is no door for (a console, consent, templates, media) is not
//! here, and what comes from carriers is in `crates/engine/tests/carrier/hostile.rs`.

use crate::support::{HELLO, House, house};
use tidings_domain::account::{Environment, Realm, Scope};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Whose token a line shows.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Nobody,
    /// All scopes, test environment.
    Admin,
    /// The same for live.
    Live,
    /// May read messages and no more.
    Reader,
    /// Was taken back.
    Revoked,
    /// Of another tenant.
    Stranger,
}

struct Line {
    number: u8,
    by: By,
    /// `METHOD /path`; `MESSAGE`, `HOOK` and `TOKEN` stand for the ids of real objects of the test environment.
    ask: &'static str,
    /// Further headers, each with its line end.
    headers: &'static str,
    body: String,
    /// Status and code, or the word of OAuth.
    answer: &'static str,
}

fn line(
    number: u8,
    by: By,
    ask: &'static str,
    headers: &'static str,
    body: impl Into<String>,
    answer: &'static str,
) -> Line {
    Line { number, by, ask, headers, body: body.into(), answer }
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const SMS: &str = "POST /v1/sms";
const MESSAGES: &str = "POST /v1/messages";
const HOOKS: &str = "POST /v1/webhooks";

/// `HELLO` with another recipient, or with more fields in front.
fn to(recipient: &str) -> String {
    HELLO.replace("+15550002222", recipient)
}

fn text(words: &str) -> String {
    HELLO.replace("Hello from our app", words)
}

fn with(fields: &str) -> String {
    HELLO.replacen('{', &format!("{{{fields},"), 1)
}

fn url(address: &str) -> String {
    format!(r#"{{"url":"{address}"}}"#)
}

fn lines() -> Vec<Line> {
    use By::{Admin, Live, Nobody, Reader, Revoked, Stranger};
    let mut lines = vec![
        line(1, Nobody, SMS, "", HELLO, "401 AUTH_FAILED"),
        line(2, Nobody, "GET /v1/account?access_token=SECRET", "", "", "401 AUTH_FAILED"),
        line(2, Admin, "GET /v1/messages?x=SECRET", "", "", "401 AUTH_FAILED"),
        line(
            3,
            Nobody,
            SMS,
            "Authorization: Bearer tid_test_00000000_00000000000000000000000000000000000000\r\n",
            HELLO,
            "401 AUTH_FAILED",
        ),
        line(4, Revoked, SMS, "", HELLO, "401 AUTH_FAILED"),
        line(5, Reader, SMS, "", HELLO, "403 FORBIDDEN"),
        line(
            5,
            Reader,
            "POST /v1/suppressions/lift",
            "",
            r#"{"to":"+15550003333","reason":"x"}"#,
            "403 FORBIDDEN",
        ),
        // Nothing here trusts what a header says about where a request comes from.
        line(
            6,
            Nobody,
            "GET /v1/account",
            "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n",
            "",
            "401 AUTH_FAILED",
        ),
        line(7, Admin, "GET /v1/account", "Authorization: Bearer other\r\n", "", "400 INVALID_REQUEST"),
        line(8, Live, "GET /v1/messages/MESSAGE", "", "", "404 NOT_FOUND"),
        line(10, Admin, SMS, "", &HELLO[..40], "400 INVALID_REQUEST"),
        line(10, Admin, SMS, "", format!("{HELLO}{HELLO}"), "400 INVALID_REQUEST"),
        line(11, Admin, SMS, "", with(r#""to":"+15550002222""#), "400 INVALID_REQUEST"),
        line(12, Admin, "POST /v1/messages/batch", "", "[".repeat(100_000), "400 INVALID_REQUEST"),
        line(12, Admin, "POST /v1/messages/batch", "", r#"{"a":"#.repeat(100_000), "400 INVALID_REQUEST"),
        line(13, Admin, SMS, "", text(r"\ud800"), "400 INVALID_REQUEST"),
        line(14, Admin, SMS, "", text(&"x".repeat(70_000)), "413 PAYLOAD_TOO_LARGE"),
        line(
            15,
            Admin,
            SMS,
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            "\u{1f}",
            "415 UNSUPPORTED_MEDIA_TYPE",
        ),
        line(
            15,
            Admin,
            SMS,
            "Content-Type: application/json\r\nContent-Encoding: identity, br\r\n",
            HELLO,
            "415 UNSUPPORTED_MEDIA_TYPE",
        ),
        line(16, Admin, SMS, "Content-Type: text/xml\r\n", HELLO, "415 UNSUPPORTED_MEDIA_TYPE"),
        line(16, Admin, SMS, FORM, "from=a&to=b", "415 UNSUPPORTED_MEDIA_TYPE"),
        line(17, Admin, SMS, "", with(r#""status":"delivered""#), "422 INVALID_REQUEST"),
        line(
            17,
            Admin,
            "POST /v1/tokens",
            "",
            r#"{"name":"a","account":"acc_0000000000000"}"#,
            "422 INVALID_REQUEST",
        ),
        line(20, Admin, SMS, "", to("911"), "422 INVALID_NUMBER"),
        line(20, Admin, SMS, "", to("+1911"), "422 INVALID_NUMBER"),
        line(20, Admin, SMS, "", to("+19005551234"), "422 INVALID_NUMBER"),
        line(20, Live, SMS, "", to("+99912345678").replace("+15550001111", "Tidings"), "422 INVALID_NUMBER"),
        line(22, Admin, SMS, "", to("+1 (555) 000-3333"), "422 OPTED_OUT"),
        line(22, Admin, SMS, "", to("+1\u{a0}555\u{2009}000\u{2010}3333"), "422 OPTED_OUT"),
        line(25, Admin, SMS, "", text(""), "422 INVALID_TEXT"),
        line(25, Admin, SMS, "", text(r" \n\t"), "422 INVALID_TEXT"),
        line(25, Admin, SMS, "", text(r"\u200b\u2060\ufeff"), "422 INVALID_TEXT"),
        line(25, Admin, SMS, "", text(r"a\u0000b"), "422 INVALID_TEXT"),
        line(26, Admin, SMS, "", text(&"x".repeat(1_531)), "422 TOO_MANY_SEGMENTS"),
        line(26, Admin, SMS, "", text(&"ж".repeat(671)), "422 TOO_MANY_SEGMENTS"),
        line(30, Admin, MESSAGES, "", with(r#""send_at":"2020-01-01T00:00:00Z""#), "422 INVALID_TIME"),
        line(30, Admin, MESSAGES, "", with(r#""send_at":"2027-02-03T00:00:00""#), "422 INVALID_TIME"),
        line(30, Admin, MESSAGES, "", with(r#""send_at":"2027-02-30T00:00:00Z""#), "422 INVALID_TIME"),
        line(30, Admin, MESSAGES, "", with(r#""send_at":"9999-12-31T23:59:59Z""#), "422 INVALID_TIME"),
        line(
            31,
            Admin,
            MESSAGES,
            "",
            with(r#""purpose":"authentication","expires_in_s":7200"#),
            "422 INVALID_TIME",
        ),
        // A moment is written with its offset, so there is no hour that a country leaves out.
        line(
            32,
            Admin,
            MESSAGES,
            "",
            with(r#""send_at":"2027-03-28T02:30:00[Europe/Stockholm]""#),
            "422 INVALID_TIME",
        ),
        line(33, Admin, SMS, "Idempotency-Key: used\r\n", text("other"), "422 IDEMPOTENCY_CONFLICT"),
        line(35, Admin, SMS, "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", HELLO, "400 INVALID_REQUEST"),
        line(35, Admin, SMS, "Idempotency-Key: \r\n", HELLO, "400 INVALID_REQUEST"),
        line(
            44,
            Nobody,
            "POST /oauth/token",
            FORM,
            "grant_type=password&username=a&password=b&CLIENT",
            "400 unsupported_grant_type",
        ),
        line(
            44,
            Nobody,
            "POST /oauth/token",
            FORM,
            "grant_type=implicit&CLIENT",
            "400 unsupported_grant_type",
        ),
        line(
            44,
            Nobody,
            "POST /oauth/token",
            FORM,
            "grant_type=client_credentials&scope=admin&CLIENT",
            "400 invalid_scope",
        ),
        line(
            44,
            Nobody,
            "POST /oauth/token",
            FORM,
            "grant_type=client_credentials&client_id=x&client_secret=y",
            "401 invalid_client",
        ),
        line(45, Nobody, "POST /oauth/revoke", FORM, "token=nothing&CLIENT", "200"),
        line(46, Nobody, "POST /oauth/introspect", FORM, "token=FOREIGN&CLIENT", "200"),
        line(46, Nobody, "POST /oauth/introspect", FORM, "token=FOREIGN", "401 invalid_client"),
        line(47, Stranger, "GET /v1/messages/MESSAGE", "", "", "404 NOT_FOUND"),
        line(47, Stranger, "POST /v1/messages/MESSAGE/cancel", "", "", "404 NOT_FOUND"),
        line(47, Stranger, "DELETE /v1/webhooks/HOOK", "", "", "404 NOT_FOUND"),
        line(47, Stranger, "DELETE /v1/tokens/TOKEN", "", "", "404 NOT_FOUND"),
        line(49, Admin, "GET /v1/messages?limit=-1", "", "", "422 INVALID_REQUEST"),
        line(49, Admin, "GET /v1/messages?limit=1000000000", "", "", "422 INVALID_REQUEST"),
        line(49, Admin, "GET /v1/messages?cursor=AQAAAAAAAAAqAAAAAA", "", "", "400 INVALID_REQUEST"),
        line(49, Admin, "GET /v1/audit?cursor=%00", "", "", "400 INVALID_REQUEST"),
        line(49, Admin, "GET /v1/messages/%ff%fe", "", "", "404 NOT_FOUND"),
        line(49, Admin, "GET /v1/messages/..%2f..%2fetc%2fpasswd", "", "", "404 NOT_FOUND"),
    ];
    // 18: national, short, long and lettered; 19: what looks like a number and is none.
    for number in ["0701234567", "72345", "+46701740605123456", "1-800-FLOWERS", "", "+", "tel:+15550002222"]
    {
        lines.push(line(18, Admin, SMS, "", to(number), "422 INVALID_NUMBER"));
    }
    for number in [
        "+1٥٥٥0002222",
        "＋15550002222",
        r"+15550002222\u202e",
        r"\u200b+15550002222",
        r"+15550002222\r\nBcc: x",
    ] {
        lines.push(line(19, Admin, SMS, "", to(number), "422 INVALID_NUMBER"));
    }
    // 37: addresses inside, in every spelling. The tests allow the loopback, which the configuration does not.
    for address in [
        "http://10.0.0.1/",
        "http://0x0a.1/",
        "http://012.0.0.1/",
        "http://167772161/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[fd00::1]/",
        "http://0.0.0.0/",
    ] {
        lines.push(line(37, Admin, HOOKS, "", url(address), "422 INVALID_URL"));
    }
    lines.push(line(38, Admin, HOOKS, "", url("http://169.254.169.254/latest/meta-data"), "422 INVALID_URL"));
    lines.push(line(
        38,
        Admin,
        MESSAGES,
        "",
        with(r#""callback_url":"http://169.254.169.254/""#),
        "422 INVALID_URL",
    ));
    for address in [
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:pw@example.com/",
        "javascript:alert(1)",
        "//example.com/",
    ] {
        lines.push(line(41, Admin, HOOKS, "", url(address), "422 INVALID_URL"));
    }
    lines.push(line(
        35,
        Admin,
        SMS,
        Box::leak(format!("Idempotency-Key: {}\r\n", "k".repeat(256)).into_boxed_str()),
        HELLO,
        "400 INVALID_REQUEST",
    ));
    lines
}

/// What a table says of an answer: status and code, of whichever kind.
fn told(reply: &crate::support::Reply) -> String {
    match serde_json::from_str::<serde_json::Value>(&reply.body) {
        Ok(body) if body["error"].is_string() => {
            format!("{} {}", reply.status, body["error"].as_str().unwrap())
        }
        _ => reply.told(),
    }
}

/// P-36
#[tokio::test]
async fn each_bad_input_has_its_answer() {
    let house = house().await;
    let admin = house.token().await;
    let realm = house.test_realm();
    let live =
        house.token_in(Realm { environment: Environment::Live, ..realm }, &Scope::ALL, Some(1_000_000)).await;
    let stranger = Realm { account: house.stranger().await, environment: Environment::Test };
    let foreign = house.token_in(stranger, &Scope::ALL, Some(1_000_000)).await;
    let reader = house.token_in(realm, &[Scope::MessagesRead], None).await;
    let made = house.post("/v1/tokens", &admin, r#"{"name":"revoked"}"#).await.expect(201);
    let revoked = made["token"].as_str().unwrap().to_owned();
    let id = |value: &serde_json::Value| value["id"].as_str().unwrap().to_owned();
    house.with("DELETE", &format!("/v1/tokens/{}", id(&made)), &admin, "", "").await.expect(204);
    let message =
        id(&house.with("POST", "/v1/sms", &admin, "Idempotency-Key: used\r\n", HELLO).await.expect(202));
    let hook = id(&house.post("/v1/webhooks", &admin, r#"{"url":"http://127.0.0.1:9/x"}"#).await.expect(201));
    let record = id(&house.post("/v1/tokens", &admin, r#"{"name":"kept"}"#).await.expect(201));
    let client = house.post("/v1/clients", &admin, r#"{"name":"crm"}"#).await.expect(201);
    let login = format!(
        "client_id={}&client_secret={}",
        client["id"].as_str().unwrap(),
        client["client_secret"].as_str().unwrap()
    );
    house.post("/v1/suppressions", &admin, r#"{"to":"+15550003333","reason":"opted_out"}"#).await.expect(201);
    let mut wrong = Vec::new();
    for Line { number, by, ask, headers, body, answer } in lines() {
        let token = match by {
            By::Nobody => "",
            By::Admin => &admin,
            By::Live => &live,
            By::Reader => &reader,
            By::Revoked => &revoked,
            By::Stranger => &foreign,
        };
        let (method, path) = ask.split_once(' ').unwrap();
        let path = path
            .replace("MESSAGE", &message)
            .replace("HOOK", &hook)
            .replace("TOKEN", &record)
            .replace("SECRET", &admin);
        let body = body.replace("CLIENT", &login).replace("FOREIGN", &foreign);
        let reply = house.with(method, &path, token, headers, &body).await;
        if told(&reply) != answer {
            wrong.push(format!(
                "{number}: {ask} {headers:?} {body:.80}: {} instead of {answer}: {}",
                told(&reply),
                reply.body
            ));
        }
        for secret in [&admin, &live, &foreign, &revoked] {
            assert!(!reply.body.contains(secret.as_str()), "{number}: an answer repeats a token");
        }
        assert!(
            !reply.body.contains("15550002222") || reply.status < 300,
            "{number}: an error repeats a number"
        );
        if number == 46 && reply.status == 200 {
            assert_eq!(reply.body, r#"{"active":false}"#);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // 4: the trail says that somebody still has the token that was taken back.
    let noted = async {
        while !house.get("/v1/audit?limit=100", &admin).await.body.contains("token.revoked_use") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), noted).await.expect("the trail has a line");
    house.close().await;
}

#[tokio::test]
async fn octets_that_are_no_text_are_refused() {
    let house = house().await;
    let token = house.token().await;
    // 13, and 19 in a header.
    let head =
        format!("POST /v1/sms HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
    let json = "Content-Type: application/json\r\nContent-Length: 8\r\n\r\n";
    let body = [head.as_bytes(), json.as_bytes(), b"{\"a\":\"\xff\xff"].concat();
    assert_eq!(house.raw(&body).await.told(), "400 INVALID_REQUEST");
    let header =
        b"GET /v1/account HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n";
    assert_eq!(house.raw(header).await.told(), "401 AUTH_FAILED");
    let key = [head.as_bytes(), b"Idempotency-Key: \xff\r\n", json.as_bytes(), b"{\"a\":\"b\""].concat();
    assert_eq!(house.raw(&key).await.told(), "400 INVALID_REQUEST");
    house.close().await;
}

/// 9: many bad tokens from one address slow only bad tokens.
#[tokio::test]
async fn a_thousand_bad_tokens_are_answered_and_good_ones_do_not_notice() {
    let house = house().await;
    let token = house.token().await;
    let mut refused = [0, 0];
    for n in 0..1_000 {
        let reply = house.get("/v1/account", &format!("tid_test_nonsense{n}")).await;
        match reply.told().as_str() {
            "401 AUTH_FAILED" => refused[0] += 1,
            "429 RATE_LIMITED" => {
                assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|wait_s| wait_s >= 1));
                refused[1] += 1;
            }
            other => panic!("{other}"),
        }
        if n % 100 == 0 {
            house.get("/v1/account", &token).await.expect(200);
        }
    }
    assert!(refused[1] > 900, "{refused:?}");
    house.close().await;
}

/// 14: a body without end is not read to its end. P-33
#[tokio::test]
async fn a_gibibyte_in_chunks_is_left_unread() {
    /// What the sockets of both sides may hold, and some.
    const TAKEN_MAX: u64 = 24 << 20;
    let house = house().await;
    let token = house.token().await;
    for path in ["/v1/sms", "/v1/messages/batch", "/oauth/token", "/v1/connections/simulator/resume"] {
        let (mut reading, mut writing) =
            tokio::net::TcpStream::connect(house.address).await.unwrap().into_split();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        writing.write_all(head.as_bytes()).await.unwrap();
        let sending = tokio::spawn(async move {
            let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
            let mut sent = 0;
            while sent < 1 << 30 && writing.write_all(&chunk).await.is_ok() {
                sent += chunk.len() as u64;
            }
            sent
        });
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(octets @ 1..) = reading.read(&mut piece).await {
            answer.extend_from_slice(&piece[..octets]);
        }
        drop(reading);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let expected = if path.ends_with("resume") { "HTTP/1.1 200" } else { "HTTP/1.1 413" };
        assert!(answer.starts_with(expected), "{path}: {answer}");
        let sent = sending.await.unwrap();
        assert!(sent < TAKEN_MAX, "{path}: {sent} octets were taken");
    }
    house.close().await;
}

/// 33 to 36 in one: the key of a request whose client went away in the middle is still good for one message. P-05
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_repeats_without_harm() {
    let house: House = house().await;
    let token = house.token().await;
    for cut in [1, 40, HELLO.len()] {
        let mut stream = tokio::net::TcpStream::connect(house.address).await.unwrap();
        let head = format!(
            "POST /v1/sms HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nIdempotency-Key: left-{cut}\r\nContent-Length: {}\r\n\r\n",
            HELLO.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&HELLO.as_bytes()[..cut]).await.unwrap();
        drop(stream);
        let key = format!("Idempotency-Key: left-{cut}\r\n");
        let first = house.with("POST", "/v1/sms", &token, &key, HELLO).await;
        let again = house.with("POST", "/v1/sms", &token, &key, HELLO).await;
        assert_eq!((first.status, &first.body), (202, &again.body), "{cut}");
    }
    let listed = house.get("/v1/messages", &token).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 3);
    house.close().await;
}

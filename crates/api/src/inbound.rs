//! Messages that people sent. They are told by webhooks and the feed; here is what came of one, and what came with it.

use crate::ask::{Answer, Ask, json};
use crate::problem::{Problem, raw};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::fmt::Write as _;
use tidings_domain::media::{Fate, Listed, served_as};
use tidings_domain::octets::hexadecimal;
use tidings_engine::webhook::as_told;
use tidings_wire::inbound::InboundMessage;

/// For what a stranger sent: nothing in it runs, and it is of no origin, whatever opens it.
const CSP_STRANGE: &str = "sandbox; default-src 'none'";

pub(crate) async fn read(ask: Ask) -> Answer {
    let found = ask.app.engine.store().inbound(ask.realm(), ask.id()?).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    let inbound = as_told(&found.inbound);
    json(200, &InboundMessage::new(inbound, found.whose, found.waits_until, &found.parts))
}

pub(crate) async fn medium(ask: Ask) -> Answer {
    let (id, place) = (ask.id()?, place(ask.part("place")).ok_or_else(Problem::not_found)?);
    let store = ask.app.engine.store();
    // Who has it already costs no look at the octets.
    if ask.headers.contains_key(header::IF_NONE_MATCH) {
        let message = store.inbound(ask.realm(), id).await?.map(|found| found.inbound);
        let listed = message.as_ref().and_then(|message| message.kept(place));
        let listed = listed.ok_or_else(Problem::not_found)?;
        if tag(listed).is_some_and(|tag| is_known(&ask.headers, &tag)) {
            return Ok(file(listed, place, StatusCode::NOT_MODIFIED, Body::empty()));
        }
    }
    let found = store.media(ask.realm(), id, place).await?.ok_or_else(Problem::not_found)?;
    Ok(file(&found.listed, place, StatusCode::OK, Body::from(found.octets)))
}

/// The place in the address, as it is written in no other way: digits, without a sign and zeros before them.
fn place(text: &str) -> Option<u8> {
    let place: u8 = text.parse().ok()?;
    (place.to_string() == text).then_some(place)
}

/// What came, as a file.
fn file(listed: &Listed, place: u8, status: StatusCode, body: Body) -> Response {
    let mut response = raw(status.as_u16(), served_as(&listed.content_type), body);
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        let value = HeaderValue::from_str(value).expect("what a stranger wrote is in no header as it came");
        headers.insert(name, value);
    };
    set(header::CONTENT_DISPOSITION, &disposition(listed, place));
    set(header::CONTENT_SECURITY_POLICY, CSP_STRANGE);
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    // It never changes, and may go at any time: whoever keeps it asks again whether it is still there.
    set(header::CACHE_CONTROL, "private, no-cache");
    headers.extend(tag(listed).map(|tag| (header::ETAG, tag)));
    response
}

/// The name of its octets: what they are is what they are called.
fn tag(listed: &Listed) -> Option<HeaderValue> {
    let Fate::Kept(hash) = &listed.fate else { return None };
    HeaderValue::from_str(&format!("\"{}\"", hexadecimal(hash))).ok()
}

/// Whether the caller has it already.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known =
        known.flat_map(|value| value.split(',')).map(|value| value.trim().trim_start_matches("W/"));
    known.any(|value| value == "*" || value.as_bytes() == tag.as_bytes())
}

/// How it is to be kept: as a file, never to be opened in place. RFC 6266 §4.3, RFC 8187 §3.2.
fn disposition(listed: &Listed, place: u8) -> String {
    let Some(name) = &listed.name else { return format!("attachment; filename=\"media-{place}\"") };
    let plain = |c: char| if c.is_ascii_alphanumeric() || " .-_".contains(c) { c } else { '_' };
    let mut text = format!("attachment; filename=\"{}\"", name.chars().map(plain).collect::<String>());
    if name.chars().any(|c| plain(c) != c) {
        text.push_str("; filename*=UTF-8''");
        for octet in name.bytes() {
            if octet.is_ascii_alphanumeric() || b".-_".contains(&octet) {
                text.push(char::from(octet));
            } else {
                let _ = write!(text, "%{octet:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_into_a_header_whatever_it_is() {
        let check = |name: Option<&str>, expected: &str| {
            let listed = Listed {
                content_type: String::new(),
                name: name.map(str::to_owned),
                octets: 0,
                fate: Fate::Kept([0; 32]),
            };
            let text = disposition(&listed, 3);
            assert_eq!(text, expected);
            assert!(HeaderValue::from_str(&text).is_ok(), "{text}");
        };
        check(None, "attachment; filename=\"media-3\"");
        check(Some("photo 1.jpg"), "attachment; filename=\"photo 1.jpg\"");
        check(
            Some("a\"; filename=b.exe"),
            "attachment; filename=\"a__ filename_b.exe\"; filename*=UTF-8''a%22%3B%20filename%3Db.exe",
        );
        check(Some("Åre.png"), "attachment; filename=\"_re.png\"; filename*=UTF-8''%C3%85re.png");
    }

    #[test]
    fn a_place_is_written_in_one_way() {
        let check = |text: &str, expected: Option<u8>| assert_eq!(place(text), expected, "{text}");
        check("1", Some(1));
        check("50", Some(50));
        check("255", Some(255));
        for text in ["", "+1", "01", "-1", " 1", "1 ", "1.0", "256", "one"] {
            check(text, None);
        }
    }

    #[test]
    fn who_has_it_already_is_known_by_its_tag() {
        let tag = HeaderValue::from_static("\"ab\"");
        let check = |sent: &'static str, expected: bool| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(sent))]);
            assert_eq!(is_known(&headers, &tag), expected, "{sent}");
        };
        check("\"ab\"", true);
        check("\"cd\", W/\"ab\"", true);
        check("*", true);
        check("\"cd\"", false);
        check("ab", false);
        assert!(!is_known(&HeaderMap::new(), &tag));
    }
}

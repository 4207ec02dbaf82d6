//! What callers send: JSON bodies, cursors, tokens.

use super::{lossy, steer};
use crate::observed::Observed;
use tidings_domain::account::Environment;
use tidings_domain::address::Country;
use tidings_wire::body::Json;
use tidings_wire::error::FieldError;
use tidings_wire::message::Door;
use tidings_wire::page::{self, List};
use tidings_wire::{account, batch, endpoint, message, review, sms, suppression, token};

/// Names, values and signs of bodies.
pub const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"1.5",
    b"\\u0000",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"\"from\":\"+15550001111\"",
    b"\"to\":\"+15550002222\"",
    b"\"message\":\"Hello\"",
    b"\"text\":\"a\"",
    b"\"purpose\":\"authentication\"",
    b"\"send_at\":\"2030-01-01T00:00:00Z\"",
    b"\"send_at\":\"2030-01-01T00:00\"",
    b"\"expires_in_s\":300",
    b"\"metadata\":{\"a\":\"b\"}",
    b"\"reference\":\"r\"",
    b"\"callback_url\":\"https://example.com/\"",
    b"\"transliterate\":true",
    b"\"messages\":[{}]",
    b"\"recipients\":[\"+15550002222\"]",
    b"\"bodies\":[\"a\"]",
    b"\"url\":\"https://example.com/\"",
    b"\"events\":[\"message.sent\"]",
    b"\"description\":\"d\"",
    b"\"reason\":\"opted_out\"",
    b"\"scopes\":[\"messages.send\"]",
    b"\"name\":\"n\"",
    b"\"decision\":\"retry\"",
    b"\"since\":\"2026-01-01T00:00:00Z\"",
    b"\"overlap_s\":60",
    b"\"numbers\":[\"+15550002222\"]",
    b"\xFF",
    b"\xEF\xBB\xBF",
];
/// Pieces of tokens.
pub const TOKEN_WORDS: &[&[u8]] =
    &[b"tid_live_", b"tid_test_", b"_", b"00000000_00000000000000000000000000000000000000"];

/// Octets of one error's words, at most: what a caller sent must not fill the answer.
const SAID_MAX: usize = 1_000;

fn said(seen: Observed, errors: &[FieldError]) -> Observed {
    assert!(!errors.is_empty(), "a refusal says why");
    for error in errors {
        assert!(
            error.detail.len() <= SAID_MAX && error.field.len() <= SAID_MAX,
            "an error of {} octets",
            error.detail.len()
        );
        assert!(!error.detail.is_empty());
    }
    errors.iter().take(4).fold(seen.size(errors.len()), |seen, error| seen.word(error.reason))
}

fn judged<T>(seen: Observed, parsed: Result<T, Vec<FieldError>>) -> Observed {
    match parsed {
        Ok(_) => seen.and(1),
        Err(errors) => said(seen, &errors),
    }
}

/// A JSON body, read as each body that there is.
///
/// # Panics
/// If a property does not hold.
pub fn json(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    let json = match Json::parse(octets) {
        Ok(json) => json,
        Err(malformed) => {
            assert!(malformed.detail.len() <= SAID_MAX, "{} octets", malformed.detail.len());
            let kind: String =
                malformed.detail.split(" at line").next().unwrap_or_default().chars().take(60).collect();
            return Observed::new().word(kind.split('"').next().unwrap_or_default()).number();
        }
    };
    let strict: Result<serde_json::Value, _> = serde_json::from_slice(octets);
    assert!(strict.is_ok(), "what we take, others take: {strict:?}");
    let door = Door {
        environment: if flags & 1 == 0 { Environment::Test } else { Environment::Live },
        default_country: (flags & 2 != 0).then(|| Country::parse("SE").expect("it is one")),
    };
    let seen = Observed::new().and((flags & 3).into());
    let seen = judged(seen, sms::parse(&json, door));
    let seen = judged(seen, message::parse(&json, door));
    let seen = judged(seen, message::parse_preview(&json, door));
    let seen = judged(seen, endpoint::parse(&json, flags & 4 != 0));
    let seen = judged(seen, endpoint::parse_rotation(&json));
    let seen = judged(seen, endpoint::parse_replay(&json));
    let seen = judged(seen, suppression::parse(&json, door));
    let seen = judged(seen, suppression::parse_lift(&json, door));
    let seen = judged(seen, account::parse(&json, &account::NEW_TOKEN));
    let seen = judged(seen, account::parse(&json, &account::NEW_CLIENT));
    let seen = judged(seen, review::parse(&json));
    judged(seen, batch::parse(&json, door, &tidings_domain::intake::Limits::default())).number()
}

/// A cursor.
///
/// # Panics
/// If a property does not hold.
pub fn cursor(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    const LISTS: [List; 6] =
        [List::Messages, List::Batches, List::Attempts, List::Suppressions, List::Reviews, List::Audit];
    let list = LISTS[usize::from(flags) % LISTS.len()];
    let text = lossy(octets);
    let found = page::place(list, &text);
    if let Some(place) = found {
        assert_eq!(page::cursor(list, place), text, "there is one cursor for each place");
    }
    let mut made = [0; 8];
    made.iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
    let place = i64::from_le_bytes(made);
    let cursor = page::cursor(list, place);
    assert_eq!(page::place(list, &cursor), Some(place));
    assert_eq!(
        page::place(LISTS[(usize::from(flags) + 1) % LISTS.len()], &cursor),
        None,
        "it is for its list alone"
    );
    Observed::new().and(found.is_some().into()).size(text.len()).number()
}

/// A token.
///
/// # Panics
/// If a property does not hold.
pub fn token(octets: &[u8]) -> u64 {
    let text = lossy(octets);
    let parsed = token::parse(&text);
    if let Some(parsed) = &parsed {
        assert!(token::looks_like_one(&text));
        let secret = &text[text.len() - 38..text.len() - 6];
        assert!(!format!("{parsed:?}").contains(secret), "a secret is never printed");
        assert_eq!(parsed.hash(), token::hash(secret));
    }
    let mut random = [0; token::RANDOM_OCTETS];
    random.iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
    let minted = token::mint(Environment::Live, random);
    let read = token::parse(&minted.text).expect("what is minted can be read");
    assert_eq!(
        (read.lookup, read.hash(), read.environment),
        (minted.lookup.as_str(), minted.hash, Environment::Live)
    );
    // One other character makes it another token, which does not exist.
    let at = usize::from(random[0]) % minted.text.len();
    let mut wrong = minted.text.into_bytes();
    wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
    assert_eq!(token::parse(&String::from_utf8_lossy(&wrong)), None, "changed at {at}");
    Observed::new()
        .and(parsed.is_some().into())
        .and(token::looks_like_one(&text).into())
        .size(text.len())
        .number()
}

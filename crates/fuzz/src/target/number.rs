//! Phone numbers, senders, and moments.

use super::{lossy, steer};
use crate::observed::Observed;
use tidings_domain::account::Environment;
use tidings_domain::address::{Country, PhoneNumber};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// Pieces of numbers and senders.
pub const WORDS: &[&[u8]] = &[
    b"+",
    b"00",
    b"011",
    b"+1",
    b"+46",
    b"+4670174",
    b"+15550001111",
    b"tel:",
    b";ext=1",
    b" ext. 5",
    b"(",
    b")",
    b"-",
    b".",
    b" ",
    b"\xC2\xA0",
    "٠١٢".as_bytes(),
    "＋４６".as_bytes(),
    "\u{202E}".as_bytes(),
    b"\r\n",
    b"*100#",
    b"911",
    b"Tidings",
    b"AB",
    b"72345",
];
/// Pieces of moments.
pub const TIME_WORDS: &[&[u8]] = &[
    b"2026-11-23T15:44:46Z",
    b"2026-11-23T15:44:46+01:00",
    b"2027-02-30",
    b"T24:00:00Z",
    b"-00:00",
    b".999999999",
    b"9999-12-31T23:59:60Z",
    b"+275760-09-13",
    b"[Europe/Stockholm]",
    b"-009999",
    b" ",
    b"W",
    b"Z",
];

const COUNTRIES: [&str; 6] = ["SE", "US", "GB", "IN", "AR", "IT"];

fn place(flags: u8) -> (Option<Country>, Environment) {
    let country = (flags & 1 != 0)
        .then(|| Country::parse(COUNTRIES[usize::from(flags >> 2) % COUNTRIES.len()]).expect("it is one"));
    (country, if flags & 2 == 0 { Environment::Live } else { Environment::Test })
}

/// No error may repeat a number.
fn says_no_number(said: &str, given: &str) {
    let digits: Vec<&str> = given.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() >= 6).collect();
    assert!(!digits.iter().any(|run| said.contains(run)), "an error repeats a number");
    assert!(said.len() < 400, "an error of {} octets", said.len());
}

/// A recipient.
///
/// # Panics
/// If a property does not hold.
pub fn phone(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    let (country, environment) = place(flags);
    let text = lossy(octets);
    let seen = Observed::new().and((flags & 3).into());
    match PhoneNumber::parse(&text, country, environment) {
        Err(why) => {
            says_no_number(&why.to_string(), &text);
            seen.word(why.code()).number()
        }
        Ok(number) => {
            let written = number.to_string();
            let digits = written.strip_prefix('+').expect("it is written with +");
            assert!(
                (7..=15).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit()),
                "{written}"
            );
            assert_eq!(PhoneNumber::parse(&written, None, environment), Ok(number), "{written}");
            assert_eq!(PhoneNumber::from_stored(&written), Some(number));
            let masked = number.masked().to_string();
            let shown = masked.bytes().filter(u8::is_ascii_digit).count();
            assert!(shown <= 6 && shown < digits.len(), "{masked}");
            seen.and(number.calling_code().into()).word(number.kind().as_str()).size(digits.len()).number()
        }
    }
}

/// A sender.
///
/// # Panics
/// If a property does not hold.
pub fn sender(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    let (country, environment) = place(flags);
    let text = lossy(octets);
    let seen = Observed::new().and((flags & 3).into());
    match Sender::parse(&text, country, environment) {
        Err(why) => {
            says_no_number(&why.to_string(), &text);
            seen.word(why.code()).number()
        }
        Ok(sender) => {
            let stored = sender.to_stored();
            assert_eq!(Sender::from_stored(&stored).as_ref(), Some(&sender), "{stored}");
            assert!(sender.to_string().bytes().all(|octet| (0x20..0x7F).contains(&octet)), "{sender}");
            seen.word(sender.kind().as_str()).size(stored.len()).number()
        }
    }
}

/// A moment.
///
/// # Panics
/// If a property does not hold.
pub fn time(octets: &[u8]) -> u64 {
    let text = lossy(octets);
    match Timestamp::parse(&text) {
        Err(_) => Observed::new().size(text.len()).number(),
        Ok(at) => {
            let written = at.to_string();
            assert_eq!(Timestamp::parse(&written), Ok(at), "{written}");
            let later = at.plus_s(i64::MAX).plus_ms(i64::MAX);
            assert!(later >= at && later.since_ms(at) >= 0);
            Observed::new().and(1).size(written.len()).and(u64::from(at.as_millis() < 0)).number()
        }
    }
}

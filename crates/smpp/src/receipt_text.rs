//! What a carrier's receipt says: the text `id:… stat:… err:…` of SMPP 3.4 appendix B in the dialects met
//! in the wild, the optional parameters that say the same, and whether a `deliver_sm` is a receipt at all.
//! Also the writer of such texts, for the carrier's side.
//!
//! Everything here is lenient and total: any octets give some answer, and what isn't understood is kept as
//! it came. It does not match ids to messages (hexadecimal or decimal, leading zeros) nor judge what an
//! error code means: both differ from carrier to carrier.

use std::fmt;

use crate::codec::{DeliverSm, tag};
use crate::data_coding::{
    Alphabet, ESM_DELIVERY_ACKNOWLEDGEMENT, ESM_INTERMEDIATE_NOTIFICATION, ESM_RECEIPT, ESM_TYPE_MASK,
    ESM_UDHI, classify,
};

/// What became of a message (SMPP 3.4 §5.2.28 and appendix B).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReceiptState {
    /// On its way.
    Enroute,
    /// At the recipient.
    Delivered,
    /// Its validity ran out.
    Expired,
    /// Deleted.
    Deleted,
    /// It cannot be delivered.
    Undeliverable,
    /// Read by the carrier's staff on the recipient's behalf; some carriers say it for "on its way".
    Accepted,
    /// The carrier itself does not know.
    CarrierUnknown,
    /// Refused.
    Rejected,
    /// A word that isn't one of the above, as it came (upper case).
    Unknown(String),
}

impl ReceiptState {
    /// The state of a word like `DELIVRD`. Case and length don't matter: `delivered` is understood too.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let word = word.trim().to_ascii_uppercase();
        match word.as_str() {
            "ENROUTE" | "EN_ROUTE" | "BUFFERED" | "BUFFRED" => Self::Enroute,
            "DELIVRD" | "DELIVERED" | "DELIVERD" | "DELIVRED" => Self::Delivered,
            "EXPIRED" => Self::Expired,
            "DELETED" => Self::Deleted,
            "UNDELIV" | "UNDELIVERABLE" | "UNDELIVERED" | "UNDELIVRD" => Self::Undeliverable,
            "ACCEPTD" | "ACCEPTED" => Self::Accepted,
            "UNKNOWN" => Self::CarrierUnknown,
            "REJECTD" | "REJECTED" => Self::Rejected,
            _ => Self::Unknown(word),
        }
    }

    /// The state of the optional parameter `message_state` (SMPP 3.4 §5.2.28).
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Enroute,
            2 => Self::Delivered,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Undeliverable,
            6 => Self::Accepted,
            7 => Self::CarrierUnknown,
            8 => Self::Rejected,
            other => Self::Unknown(other.to_string()),
        }
    }

    /// The seven-letter word of appendix B.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Enroute => "ENROUTE",
            Self::Delivered => "DELIVRD",
            Self::Expired => "EXPIRED",
            Self::Deleted => "DELETED",
            Self::Undeliverable => "UNDELIV",
            Self::Accepted => "ACCEPTD",
            Self::CarrierUnknown => "UNKNOWN",
            Self::Rejected => "REJECTD",
            Self::Unknown(word) => word,
        }
    }

    /// The number of `message_state`; `None` for a word that has none.
    #[must_use]
    pub const fn number(&self) -> Option<u8> {
        Some(match self {
            Self::Enroute => 1,
            Self::Delivered => 2,
            Self::Expired => 3,
            Self::Deleted => 4,
            Self::Undeliverable => 5,
            Self::Accepted => 6,
            Self::CarrierUnknown => 7,
            Self::Rejected => 8,
            Self::Unknown(_) => return None,
        })
    }
}

/// A point in time as a receipt writes it: `YYMMDDhhmm`, `YYMMDDhhmmss` or `YYYYMMDDhhmmss`, without a time
/// zone. Which zone the carrier means must be known from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptDate {
    /// Four digits; two-digit years are taken as 20xx.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60; 0 when the receipt has none.
    pub second: u8,
}

impl ReceiptDate {
    /// Reads 10, 12 or 14 digits; signs between them are skipped (`2026-11-23 15:44:46`). `None` for anything
    /// else. Twelve digits that begin with 20 and make sense so only as `YYYYMMDDhhmm` are read like that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = [0u8; 14];
        let mut count = 0;
        for character in text.chars() {
            if let Some(digit) = character.to_digit(10) {
                *digits.get_mut(count)? = u8::try_from(digit).ok()?;
                count += 1;
            } else if !matches!(character, '-' | '/' | ':' | '.' | ' ' | 'T' | '_') {
                return None;
            }
        }
        let two = |at: usize| digits[at] * 10 + digits[at + 1];
        let short_year = 2000 + u16::from(two(0));
        let long_year = u16::from(two(0)) * 100 + u16::from(two(2));
        match count {
            10 => Self::checked(short_year, [two(2), two(4), two(6), two(8), 0]),
            12 => Self::checked(short_year, [two(2), two(4), two(6), two(8), two(10)])
                .or_else(|| Self::checked(long_year, [two(4), two(6), two(8), two(10), 0])),
            14 => Self::checked(long_year, [two(4), two(6), two(8), two(10), two(12)]),
            _ => None,
        }
    }

    fn checked(year: u16, [month, day, hour, minute, second]: [u8; 5]) -> Option<Self> {
        let sensible = (1970..=2099).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour <= 23
            && minute <= 59
            && second <= 60;
        sensible.then_some(Self { year, month, day, hour, minute, second })
    }
}

impl fmt::Display for ReceiptDate {
    /// `YYMMDDhhmm`, as appendix B has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, .. } = self;
        write!(f, "{:02}{month:02}{day:02}{hour:02}{minute:02}", year % 100)
    }
}

/// The octets of `network_error_code` (SMPP 3.4 §5.3.2.31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkError {
    /// 1 ANSI-136, 2 IS-95, 3 GSM; others are the carrier's own.
    pub network: u8,
    /// The code in that network.
    pub code: u16,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The carrier's id of the message, untouched but for surrounding blanks; from `receipted_message_id`
    /// when that is there, else from the text. Empty when neither has one.
    pub id: String,
    /// The state; `None` when nothing says it. The text's word wins over `message_state`, because carriers
    /// that send both are careful with the text and careless with the number; an unknown word does not.
    pub state: Option<ReceiptState>,
    /// `err`, as it came. Empty when missing.
    pub error_code: String,
    /// `network_error_code`.
    pub network_error: Option<NetworkError>,
    /// `submit date`, as it came. Empty when missing.
    pub submit_date: String,
    /// `done date`, as it came. Empty when missing. See [`ReceiptDate::parse`].
    pub done_date: String,
    /// The beginning of the original message, as it came. Empty when missing.
    pub text: String,
}

/// What a `deliver_sm` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The carrier's word about a message of ours.
    Receipt(Receipt),
    /// Something a person sent.
    Message,
}

/// Decides what a `deliver_sm` is, and reads it when it is a receipt.
///
/// A receipt is one by the type bits of `esm_class` (a person's own acknowledgement is a message); or by `receipted_message_id` or `message_state`; or,
/// for the carriers that forget all of these, by a text that begins with an id field and has a state field.
/// A text with a user data header is never taken for a receipt by its words alone.
#[must_use]
pub fn classify_deliver(deliver: &DeliverSm) -> Kind {
    let type_bits = deliver.esm_class & ESM_TYPE_MASK;
    let said_so = type_bits & (ESM_RECEIPT | ESM_INTERMEDIATE_NOTIFICATION) != 0
        || type_bits == ESM_DELIVERY_ACKNOWLEDGEMENT;
    let has_parameters =
        deliver.tlv(tag::RECEIPTED_MESSAGE_ID).is_some() || deliver.tlv(tag::MESSAGE_STATE).is_some();
    let text = readable(deliver);
    if said_so || has_parameters {
        return Kind::Receipt(read(deliver, &text));
    }
    // People write "id: 5" too; a receipt's word for the state is what they don't write.
    let looks_like_one = deliver.esm_class & ESM_UDHI == 0 && {
        let fields = Fields::of(&text);
        fields.begins_with_id
            && fields
                .get("stat")
                .is_some_and(|word| !matches!(ReceiptState::from_word(word), ReceiptState::Unknown(_)))
    };
    if looks_like_one { Kind::Receipt(read(deliver, &text)) } else { Kind::Message }
}

/// Reads a receipt's text alone. Fields that aren't there stay empty.
#[must_use]
pub fn parse(text: &str) -> Receipt {
    let fields = Fields::of(text);
    let owned = |key| fields.get(key).unwrap_or_default().to_owned();
    Receipt {
        id: owned("id"),
        state: fields.get("stat").filter(|word| !word.is_empty()).map(ReceiptState::from_word),
        error_code: owned("err"),
        network_error: None,
        submit_date: owned("submit date"),
        done_date: owned("done date"),
        text: owned("text"),
    }
}

fn read(deliver: &DeliverSm, text: &str) -> Receipt {
    let mut receipt = parse(text);
    if let Some(id) = deliver.tlv(tag::RECEIPTED_MESSAGE_ID) {
        let end = id.iter().position(|&octet| octet == 0).unwrap_or(id.len());
        let id: String = id[..end].iter().map(|&octet| char::from(octet)).collect();
        if !id.trim().is_empty() {
            receipt.id = id.trim().to_owned();
        }
    }
    let said = deliver.tlv(tag::MESSAGE_STATE).and_then(|value| value.first().copied());
    if let Some(number) = said
        && matches!(receipt.state, None | Some(ReceiptState::Unknown(_)))
    {
        receipt.state = Some(ReceiptState::from_number(number));
    }
    if let Some(&[network, high, low]) = deliver.tlv(tag::NETWORK_ERROR_CODE) {
        receipt.network_error = Some(NetworkError { network, code: u16::from_be_bytes([high, low]) });
    }
    receipt
}

/// A receipt's text is ASCII in practice, whatever `data_coding` says; UTF-16 is met and has zero octets.
fn readable(deliver: &DeliverSm) -> String {
    let octets = deliver.payload();
    let wide = classify(deliver.data_coding).alphabet == Alphabet::Ucs2
        && octets.len() >= 2
        && octets.len().is_multiple_of(2)
        && octets[0] == 0;
    if wide {
        let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    } else {
        match std::str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => octets.iter().map(|&octet| char::from(octet)).collect(),
        }
    }
}

/// The known keys, and under which name each dialect's spelling is kept. Longer spellings first.
const KEYS: &[(&str, &str)] = &[
    ("submit date", "submit date"),
    ("submit_date", "submit date"),
    ("submitdate", "submit date"),
    ("done date", "done date"),
    ("done_date", "done date"),
    ("donedate", "done date"),
    ("message_id", "id"),
    ("messageid", "id"),
    ("msgid", "id"),
    ("status", "stat"),
    ("state", "stat"),
    ("dlvrd", "dlvrd"),
    ("error", "err"),
    ("text", "text"),
    ("stat", "stat"),
    ("err", "err"),
    ("sub", "sub"),
    ("id", "id"),
];

/// The fields of a receipt's text, in its order, each value without surrounding blanks.
struct Fields<'a> {
    found: Vec<(&'static str, &'a str)>,
    begins_with_id: bool,
}

impl<'a> Fields<'a> {
    /// A value reaches to the next known key that follows a blank, so ids and texts may have colons and
    /// blanks; `text` reaches to the end. Words of other keys (`smsc:…`) end a value too, so that an extra
    /// field does not become part of the one before it.
    fn of(text: &'a str) -> Self {
        let mut found: Vec<(&'static str, &'a str)> = Vec::new();
        let mut open: Option<(&'static str, usize)> = None;
        let mut at_start = true;
        let mut begins_with_id = false;
        let mut at = 0;
        let mut is_start_of_word = true;
        while let Some(character) = text[at..].chars().next() {
            let rest = &text[at..];
            if is_start_of_word && let Some((key, value_at)) = key_at(rest) {
                if let Some((open_key, from)) = open.take() {
                    found.push((open_key, clean(&text[from..at])));
                }
                if at_start {
                    begins_with_id = key == "id";
                }
                at_start = false;
                is_start_of_word = false;
                at += value_at;
                if key == "text" {
                    found.push((key, text[at..].trim()));
                    return Self { found, begins_with_id };
                }
                open = Some((key, at));
                // The value may be empty; its first word is never a key of its own unless a blank comes first.
                continue;
            }
            at_start &= character.is_whitespace();
            is_start_of_word = character.is_whitespace() || matches!(character, ';' | ',');
            at += character.len_utf8();
        }
        if let Some((key, from)) = open {
            found.push((key, clean(&text[from..])));
        }
        Self { found, begins_with_id }
    }

    /// The first field of that name that has a value.
    fn get(&self, key: &str) -> Option<&'a str> {
        let mut of_name = self.found.iter().filter(|(name, _)| *name == key).map(|&(_, value)| value);
        of_name.clone().find(|value| !value.is_empty()).or_else(|| of_name.next())
    }
}

fn clean(value: &str) -> &str {
    value.trim().trim_end_matches([';', ',']).trim()
}

/// The name of the key `text` begins with, and where its value begins. Keys of carriers' own have the name
/// "other".
fn key_at(text: &str) -> Option<(&'static str, usize)> {
    let first = text.as_bytes().first()?.to_ascii_lowercase();
    for (spelling, name) in KEYS.iter().filter(|(spelling, _)| spelling.as_bytes()[0] == first) {
        if text.get(..spelling.len()).is_some_and(|start| start.eq_ignore_ascii_case(spelling)) {
            let after = &text[spelling.len()..];
            let blanks = after.len() - after.trim_start_matches(' ').len();
            if after[blanks..].starts_with([':', '=']) {
                return Some((name, spelling.len() + blanks + 1));
            }
        }
    }
    // A carrier's own key: letters first, then directly a colon.
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))?;
    let is_word = end >= 2 && text.starts_with(|c: char| c.is_ascii_alphabetic());
    (is_word && text[end..].starts_with(':')).then_some(("other", end + 1))
}

/// What to write into a receipt's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing<'a> {
    /// Id of the message.
    pub id: &'a str,
    /// Its state.
    pub state: &'a ReceiptState,
    /// Three digits as a rule; `000` for none.
    pub error_code: &'a str,
    /// When it was submitted.
    pub submit_date: ReceiptDate,
    /// When it reached its state.
    pub done_date: ReceiptDate,
    /// The message; its first 20 characters are written.
    pub text: &'a str,
}

/// Writes the text of appendix B.
#[must_use]
pub fn write(receipt: &Writing<'_>) -> String {
    let Writing { id, state, error_code, submit_date, done_date, text } = receipt;
    let delivered = u8::from(**state == ReceiptState::Delivered);
    let beginning: String = text.chars().take(20).collect();
    format!(
        "id:{id} sub:001 dlvrd:{delivered:03} submit date:{submit_date} done date:{done_date} stat:{} \
         err:{error_code} text:{beginning}",
        state.word()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Tlv;

    #[test]
    fn texts_of_many_carriers_are_understood() {
        use ReceiptState as S;
        let check = |text: &str, id: &str, state: Option<S>, err: &str, done: &str, message: &str| {
            let is = parse(text);
            assert_eq!(is.id, id, "id of {text:?}");
            assert_eq!(is.state, state, "state of {text:?}");
            assert_eq!(is.error_code, err, "err of {text:?}");
            assert_eq!(is.done_date, done, "done date of {text:?}");
            assert_eq!(is.text, message, "text of {text:?}");
        };
        // Appendix B as printed.
        check(
            "id:0123456789 sub:001 dlvrd:001 submit date:2611231544 done date:2611231545 stat:DELIVRD err:000 text:Hello world",
            "0123456789",
            Some(S::Delivered),
            "000",
            "2611231545",
            "Hello world",
        );
        // Hexadecimal id, twelve digits, empty text, capital T.
        check(
            "id:7DC9B2F0 sub:001 dlvrd:000 submit date:261123154401 done date:261123154502 stat:UNDELIV err:027 Text:",
            "7DC9B2F0",
            Some(S::Undeliverable),
            "027",
            "261123154502",
            "",
        );
        // Fourteen digits.
        check(
            "id:1 submit date:20261123154401 done date:20261123154502 stat:EXPIRED err:8",
            "1",
            Some(S::Expired),
            "8",
            "20261123154502",
            "",
        );
        // Capital keys, a blank after the colon.
        check(
            "ID: abc-1 SUB: 001 DLVRD: 001 SUBMIT DATE: 2611231544 DONE DATE: 2611231545 STAT: DELIVRD ERR: 000 TEXT: Hi",
            "abc-1",
            Some(S::Delivered),
            "000",
            "2611231545",
            "Hi",
        );
        check("id:5 Stat:Rejectd err:99", "5", Some(S::Rejected), "99", "", "");
        // UUIDs, ids with colons, with blanks within, with a sign at the end.
        check(
            "id:3f2504e0-4f89-11d3-9a0c-0305e82c3301 stat:ACCEPTD",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            Some(S::Accepted),
            "",
            "",
            "",
        );
        check("id:10:20:30 stat:ENROUTE err:0", "10:20:30", Some(S::Enroute), "0", "", "");
        check("id:aGVsbG8+/w== stat:DELETED", "aGVsbG8+/w==", Some(S::Deleted), "", "", "");
        // Another order; extra keys of the carrier.
        check(
            "stat:DELIVRD id:77 err:001 done date:2611231545",
            "77",
            Some(S::Delivered),
            "001",
            "2611231545",
            "",
        );
        check(
            "id:9 sub:001 dlvrd:001 stat:DELIVRD err:000 mcc:240 mnc:07 price:0.05 text:x",
            "9",
            Some(S::Delivered),
            "000",
            "",
            "x",
        );
        check("id:9 smsc:north stat:UNKNOWN", "9", Some(S::CarrierUnknown), "", "", "");
        // Spelled with underscores, without blanks, with other separators, spelled out.
        check(
            "id:4 submit_date:2611231544 done_date:2611231545 stat:DELIVRD",
            "4",
            Some(S::Delivered),
            "",
            "2611231545",
            "",
        );
        check(
            "id:4 submitdate:2611231544 donedate:2611231545 status:DELIVERED error:0",
            "4",
            Some(S::Delivered),
            "0",
            "2611231545",
            "",
        );
        check("id=4; stat=DELIVRD; err=000; text=ok", "4", Some(S::Delivered), "000", "", "ok");
        check(
            "id:4\nsub:001\ndlvrd:001\nstat:UNDELIVERABLE\nerr:1",
            "4",
            Some(S::Undeliverable),
            "1",
            "",
            "",
        );
        // Dates with signs.
        check(
            "id:4 done date:26-11-23 15:45:02 stat:DELIVRD",
            "4",
            Some(S::Delivered),
            "",
            "26-11-23 15:45:02",
            "",
        );
        // A message that itself looks like a receipt changes nothing.
        check(
            "id:4 stat:UNDELIV err:5 text:id:9 stat:DELIVRD",
            "4",
            Some(S::Undeliverable),
            "5",
            "",
            "id:9 stat:DELIVRD",
        );
        // Empty fields, words nobody knows, nothing at all.
        check("id: sub: dlvrd: submit date: done date: stat: err: text:", "", None, "", "", "");
        check("id:4 stat:SKIPPED err:", "4", Some(S::Unknown("SKIPPED".into())), "", "", "");
        check("", "", None, "", "", "");
        check("Your parcel is here", "", None, "", "", "");
        // Twilio-like codes, negative codes, codes with letters.
        check("id:4 stat:UNDELIV err:001-30005", "4", Some(S::Undeliverable), "001-30005", "", "");
        check("id:4 stat:UNDELIV err:-1", "4", Some(S::Undeliverable), "-1", "", "");
        check("id:4 stat:REJECTD err:0x0B text:é", "4", Some(S::Rejected), "0x0B", "", "é");
        // A key within a word is none.
        check("id:valid:1 stat:DELIVRD", "valid:1", Some(S::Delivered), "", "", "");
    }

    #[test]
    fn dates_of_three_lengths_are_read() {
        let check = |text: &str, expected: Option<(u16, u8, u8, u8, u8, u8)>| {
            let is = ReceiptDate::parse(text).map(|d| (d.year, d.month, d.day, d.hour, d.minute, d.second));
            assert_eq!(is, expected, "{text}");
        };
        check("2611231544", Some((2026, 11, 23, 15, 44, 0)));
        check("261123154446", Some((2026, 11, 23, 15, 44, 46)));
        check("20261123154446", Some((2026, 11, 23, 15, 44, 46)));
        check("202611231544", Some((2026, 11, 23, 15, 44, 0)));
        check("2026-11-23 15:44:46", Some((2026, 11, 23, 15, 44, 46)));
        check("2613231544", None);
        check("26112315", None);
        check("", None);
        check("yesterday", None);
        check("261123154446999", None);
    }

    #[test]
    fn a_receipt_is_known_by_bits_parameters_or_words() {
        let deliver = |esm_class, text: &[u8], tlvs: Vec<Tlv>| DeliverSm {
            esm_class,
            short_message: text.to_vec(),
            tlvs,
            ..DeliverSm::default()
        };
        let receipt_of = |deliver: DeliverSm| match classify_deliver(&deliver) {
            Kind::Receipt(receipt) => Some((receipt.id, receipt.state)),
            Kind::Message => None,
        };
        let text = b"id:1 sub:001 stat:DELIVRD err:000";
        let delivered = Some(("1".to_owned(), Some(ReceiptState::Delivered)));
        assert_eq!(receipt_of(deliver(0x04, text, vec![])), delivered);
        assert_eq!(receipt_of(deliver(0x08, text, vec![])), delivered);
        assert_eq!(receipt_of(deliver(0x20, text, vec![])), delivered);
        assert_eq!(receipt_of(deliver(0x10, b"yes, I read it", vec![])), None);
        assert_eq!(receipt_of(deliver(0x00, text, vec![])), delivered, "the carrier forgot the bits");
        assert_eq!(receipt_of(deliver(0x00, b"id:5 what does this mean?", vec![])), None);
        assert_eq!(receipt_of(deliver(0x00, b"Look: id:5 stat:DELIVRD", vec![])), None);
        assert_eq!(receipt_of(deliver(0x00, b"id:5 stat:happy", vec![])), None);
        assert_eq!(receipt_of(deliver(0x40, text, vec![])), None, "a header: these are not the first octets");
        assert_eq!(receipt_of(deliver(0x00, b"STOP", vec![])), None);
        assert_eq!(receipt_of(deliver(0x04, b"", vec![])), Some((String::new(), None)));
        let parameters = vec![
            Tlv::new(tag::RECEIPTED_MESSAGE_ID, *b"xyz\0"),
            Tlv::new(tag::MESSAGE_STATE, [5]),
            Tlv::new(tag::NETWORK_ERROR_CODE, [3, 0, 27]),
        ];
        let only_parameters = deliver(0, b"", parameters.clone());
        let Kind::Receipt(receipt) = classify_deliver(&only_parameters) else { panic!("a receipt") };
        assert_eq!(receipt.id, "xyz");
        assert_eq!(receipt.state, Some(ReceiptState::Undeliverable));
        assert_eq!(receipt.network_error, Some(NetworkError { network: 3, code: 27 }));
        // The parameter's id wins, the text's word wins.
        let both = receipt_of(deliver(4, text, parameters));
        assert_eq!(both, Some(("xyz".to_owned(), Some(ReceiptState::Delivered))));
        // UTF-16, and in message_payload.
        let wide: Vec<u8> = "id:1 stat:DELIVRD".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let wide = DeliverSm {
            esm_class: 4,
            data_coding: 8,
            tlvs: vec![Tlv::new(tag::MESSAGE_PAYLOAD, wide)],
            ..DeliverSm::default()
        };
        assert_eq!(receipt_of(wide), delivered);
    }

    #[test]
    fn states_have_words_and_numbers() {
        for number in 1..=8 {
            let state = ReceiptState::from_number(number);
            assert_eq!(state.number(), Some(number));
            assert_eq!(ReceiptState::from_word(state.word()), state);
        }
        assert_eq!(ReceiptState::from_number(99).number(), None);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let date = ReceiptDate::parse("2611231544").unwrap();
        let text = write(&Writing {
            id: "42",
            state: &ReceiptState::Delivered,
            error_code: "000",
            submit_date: date,
            done_date: date,
            text: "twenty characters are kept",
        });
        assert_eq!(
            text,
            "id:42 sub:001 dlvrd:001 submit date:2611231544 done date:2611231544 stat:DELIVRD err:000 \
             text:twenty characters ar"
        );
        let receipt = parse(&text);
        assert_eq!(receipt.id, "42");
        assert_eq!(receipt.state, Some(ReceiptState::Delivered));
        assert_eq!(ReceiptDate::parse(&receipt.done_date), Some(date));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", keyed in "((id|stat|err|done date|text|x1)[:= ;]{0,2}[a-z0-9é:]{0,8} ?){0,12}") {
            let _ = parse(&text);
            let _ = parse(&keyed);
            let _ = ReceiptDate::parse(&text);
        }

        #[test]
        fn no_octets_make_it_panic(
            octets in proptest::collection::vec(any::<u8>(), 0..254),
            data_coding: u8,
            esm_class: u8,
            value in proptest::collection::vec(any::<u8>(), 0..6),
            tag in prop_oneof![Just(tag::RECEIPTED_MESSAGE_ID), Just(tag::MESSAGE_STATE), Just(tag::NETWORK_ERROR_CODE)],
        ) {
            let deliver = DeliverSm {
                esm_class,
                data_coding,
                short_message: octets,
                tlvs: vec![Tlv { tag, value }],
                ..DeliverSm::default()
            };
            let _ = classify_deliver(&deliver);
        }
    }
}

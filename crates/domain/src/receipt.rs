//! Delivery receipts: which segment a receipt speaks of.
//!
//! Carriers print the id of their answer in another form on the receipt: other case, other leading zeros, decimal
//! for hexadecimal or the other way round, or give back a reference of ours and no id. [`forms`] gives what a segment may
//! be found under, and [`choose`] picks among the candidates: never one to another recipient, and none if there is a doubt.
//! Ids are texts of any length; no number type ever holds them.

use crate::address::PhoneNumber;
use crate::id::MessageId;
use crate::message::{Message, Outcome};
use crate::sender::Sender;

/// How a carrier writes the id on receipts, compared with its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdForm {
    /// Find out: the same, or decimal against hexadecimal in either direction.
    #[default]
    Any,
    /// The same but for case and leading zeros.
    Same,
    /// The answer is hexadecimal, the receipt decimal.
    HexThenDecimal,
    /// The answer is decimal, the receipt hexadecimal.
    DecimalThenHex,
}

impl IdForm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Any, Self::Same, Self::HexThenDecimal, Self::DecimalThenHex];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Same => "same",
            Self::HexThenDecimal => "hex_then_decimal",
            Self::DecimalThenHex => "decimal_then_hex",
        }
    }
}

/// A receipt as a carrier's file understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The carrier's id on the receipt, exactly.
    pub carrier_id: String,
    /// How that carrier writes ids.
    pub id_form: IdForm,
    /// Our own reference, where the carrier gives it back (`SMPP 3.4 §5.3.2.17` user_message_reference).
    pub our_reference: Option<u16>,
    /// The phone numbers on the receipt, digits only: one of them should be the recipient.
    pub parties: Vec<String>,
    /// What it says; `None` for "on its way".
    pub outcome: Option<Outcome>,
    /// The receipt as it came, for the timeline.
    pub raw: String,
}

/// A submitted segment that a receipt may speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its message.
    pub message: MessageId,
    /// Which segment, from 0.
    pub segment: u8,
    /// The carrier's id as answered.
    pub carrier_id: String,
    /// Who it went to.
    pub recipient: PhoneNumber,
    /// Whom it came from.
    pub sender: Sender,
}

/// The form under which the store keeps an answered id: lower case, without leading zeros.
pub fn canonical(carrier_id: &str) -> String {
    let trimmed = carrier_id.trim();
    let stripped = trimmed.trim_start_matches(|c: char| c == '0' || c.is_whitespace());
    if stripped.is_empty() && !trimmed.is_empty() { "0".to_owned() } else { stripped.to_ascii_lowercase() }
}

/// The reference of ours that goes out with a segment (`SMPP 3.4 §5.3.2.17`), which some carriers give back on receipts. Not
/// unique: it counts only together with the connection and the recipient.
pub fn our_reference(message: MessageId, segment: u8) -> u16 {
    // Every bit of the id counts in the upper bits of the product, so that messages of one moment differ.
    let stirred = message.key().unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((stirred >> 48) as u16).wrapping_add(u16::from(segment))
}

/// The form under which the store keeps a segment whose receipt may have nothing but our reference.
pub fn reference_form(reference: u16) -> String {
    format!("{REFERENCE}{reference}")
}

/// Whether a form is that of a reference of ours.
pub fn is_reference(form: &str) -> bool {
    form.starts_with(REFERENCE)
}

/// No canonical form of a carrier's id begins with it but one that a carrier chose to be difficult.
const REFERENCE: char = '~';

/// The form under which a receipt of a segment is expected: the carrier's id, or our own reference if it gave none.
pub fn expected_form(message: &Message, segment: u8, carrier_id: &str) -> String {
    match canonical(carrier_id) {
        form if form.is_empty() => reference_form(our_reference(message.id, segment)),
        form => form,
    }
}

/// Every form under which the receipt's segment may be kept, the likeliest first: those of the id, then our reference.
pub fn forms(receipt: &Receipt) -> impl Iterator<Item = String> + use<> {
    lookups(receipt).into_iter().chain(receipt.our_reference.map(reference_form))
}

/// The canonical forms under which the receipt's segment may be kept, the likeliest first. None for a receipt without
/// an id: that two have none does not mean that they belong together.
pub fn lookups(receipt: &Receipt) -> Vec<String> {
    let same = canonical(&receipt.carrier_id);
    if same.is_empty() {
        return Vec::new();
    }
    let mut forms = match receipt.id_form {
        IdForm::Same => vec![same],
        IdForm::HexThenDecimal => decimal_to_hex(&same).into_iter().collect(),
        IdForm::DecimalThenHex => hex_to_decimal(&same).into_iter().collect(),
        IdForm::Any => {
            let converted = [decimal_to_hex(&same), hex_to_decimal(&same)];
            std::iter::once(same).chain(converted.into_iter().flatten()).collect()
        }
    };
    forms.dedup();
    forms
}

/// Picks the segment that the receipt speaks of, or none when that is not certain.
pub fn choose<'a>(receipt: &Receipt, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    // Our reference has sixteen bits: what has no id yet is found by nothing else, and must be from the same sender, too.
    let about = |candidate: &&Candidate| {
        names(receipt, candidate.recipient)
            && (!candidate.carrier_id.is_empty() || may_be_from(receipt, candidate))
    };
    // Exactly the same text is certain enough to need no more than the right recipient.
    only(candidates.iter().filter(|c| c.carrier_id == receipt.carrier_id).filter(about))
        .or_else(|| only(candidates.iter().filter(about)))
}

/// Whether the segment is certain before all forms are looked under: the same text, and to the right recipient. No other form
/// can fit better.
pub fn is_certain(receipt: &Receipt, candidates: &[Candidate]) -> bool {
    choose(receipt, candidates).is_some_and(|chosen| chosen.carrier_id == receipt.carrier_id)
}

/// The one and only, or nothing.
fn only<'a>(mut candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a Candidate> {
    let first = candidates.next()?;
    candidates.next().is_none().then_some(first)
}

/// Shorter tails of numbers than this are shared by too many.
const TAIL: usize = 6;

/// Whether a number on a receipt is this one, as far as it is written out. `None` if it is too short to say.
fn is_number(party: &str, number: PhoneNumber) -> Option<bool> {
    let printed = number.to_string();
    let digits = printed.trim_start_matches('+');
    let party = party.trim_start_matches(['+', '0']);
    let is_long = party.len() >= TAIL && party.bytes().all(|b| b.is_ascii_digit());
    is_long.then(|| digits.ends_with(party) || party.ends_with(digits))
}

/// Whether the receipt names no other number than the recipient's and the sender's.
fn may_be_from(receipt: &Receipt, candidate: &Candidate) -> bool {
    let Sender::PhoneNumber(sender) = candidate.sender else { return true };
    receipt.parties.iter().all(|party| {
        let is = |number| is_number(party, number).unwrap_or(true);
        is(candidate.recipient) || is(sender)
    })
}

/// Whether the receipt is about this recipient. Carriers write numbers with and without country code, and some
/// swap the two addresses; a receipt without any number contradicts nobody.
fn names(receipt: &Receipt, recipient: PhoneNumber) -> bool {
    let mut numbers =
        receipt.parties.iter().filter(|party| party.bytes().any(|b| b.is_ascii_digit())).peekable();
    if numbers.peek().is_none() {
        return true;
    }
    numbers.any(|party| is_number(party, recipient) == Some(true))
}

/// Hexadecimal digits to decimal digits.
fn hex_to_decimal(hex: &str) -> Option<String> {
    Some(number(hex, 16)?.to_string())
}

/// Decimal digits to hexadecimal digits.
fn decimal_to_hex(decimal: &str) -> Option<String> {
    Some(format!("{:x}", number(decimal, 10)?))
}

/// The number that these digits write: at most 128 bits, as many as a UUID has. A longer id is no number.
fn number(digits: &str, radix: u32) -> Option<u128> {
    // A sign would be read, too.
    let is_plain = digits.chars().all(|c| c.is_digit(radix));
    is_plain.then(|| u128::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Sequence;
    use crate::time::Timestamp;
    use std::collections::BTreeSet;

    fn receipt(carrier_id: &str, id_form: IdForm, party: &str) -> Receipt {
        Receipt {
            carrier_id: carrier_id.into(),
            id_form,
            our_reference: None,
            parties: if party.is_empty() { vec![] } else { vec![party.into()] },
            outcome: None,
            raw: String::new(),
        }
    }

    #[test]
    fn an_id_is_found_in_every_form_that_carriers_write() {
        let found = |answered: &str, form, on_receipt: &str| {
            lookups(&receipt(on_receipt, form, "")).contains(&canonical(answered))
        };
        let check = |answered, form, on_receipt, expected| {
            assert_eq!(found(answered, form, on_receipt), expected, "{answered} {form:?} {on_receipt}");
        };
        check("0a1B", IdForm::Any, "0a1B", true);
        check("0a1B", IdForm::Any, "A1b", true);
        check("7F", IdForm::Any, "127", true);
        check("7F", IdForm::Any, "0000000127", true);
        check("127", IdForm::Any, "7f", true);
        check("7F", IdForm::HexThenDecimal, "127", true);
        check("7F", IdForm::HexThenDecimal, "7F", false);
        check("127", IdForm::DecimalThenHex, "0000007F", true);
        check("127", IdForm::DecimalThenHex, "127", false);
        check("7F", IdForm::Same, "127", false);
        check("0000", IdForm::Any, "0", true);
        check("ffffffffffffffffffff", IdForm::Any, "1208925819614629174706175", true);
        check("1208925819614629174706175", IdForm::Any, "FFFFFFFFFFFFFFFFFFFF", true);
        let (longest, in_decimal) = ("f".repeat(32), u128::MAX.to_string());
        check(&longest, IdForm::Any, &in_decimal, true);
        check(&in_decimal, IdForm::Any, &longest, true);
        check(
            "100000000000000000000000000000000",
            IdForm::Any,
            "340282366920938463463374607431768211456",
            false,
        );
        check("7F", IdForm::Any, "+127", false);
        check("9f3c-77aa", IdForm::Any, "9F3C-77AA", true);
        check("abc", IdForm::Any, "abd", false);
    }

    #[test]
    fn messages_of_one_moment_have_different_references() {
        let mut sequence = Sequence::new(1);
        let begin = Timestamp::from_millis(1_798_761_600_000);
        // Four each millisecond, for a second.
        let ids = (0..4_000).map(|n| MessageId::from_key(sequence.next(begin.plus_ms(n / 4))));
        let references: BTreeSet<u16> = ids.map(|id| our_reference(id, 0)).collect();
        assert!(references.len() > 3_700, "{}", references.len());
    }

    #[test]
    fn a_receipt_is_never_given_to_the_wrong_message() {
        let number = |text: &str| PhoneNumber::from_stored(text).expect("a number");
        let candidate = |n: i64, id: &str, to: &str| Candidate {
            message: MessageId::from_key(n),
            segment: 0,
            carrier_id: id.into(),
            recipient: number(to),
            sender: Sender::PhoneNumber(number("+15550009999")),
        };
        let (a, b) = ("+15550001111", "+15550002222");
        let check = |r: Receipt, candidates: &[Candidate], expected: Option<i64>| {
            assert_eq!(choose(&r, candidates).map(|c| c.message.key()), expected, "{r:?}");
        };
        check(
            receipt("10", IdForm::Any, "15550001111"),
            &[candidate(1, "10", a), candidate(2, "16", b)],
            Some(1),
        );
        check(
            receipt("10", IdForm::Any, "15550002222"),
            &[candidate(1, "10", a), candidate(2, "16", b)],
            Some(2),
        );
        check(receipt("10", IdForm::Any, ""), &[candidate(1, "10", a), candidate(2, "16", b)], Some(1));
        check(receipt("10", IdForm::Any, "15559999999"), &[candidate(1, "10", a)], None);
        check(receipt("A", IdForm::Any, "15550001111"), &[candidate(1, "a", a), candidate(2, "10", a)], None);
        check(
            receipt("0A", IdForm::Any, "5550001111"),
            &[candidate(1, "a", a), candidate(2, "10", b)],
            Some(1),
        );
        check(receipt("0A", IdForm::Any, "+15550001111"), &[candidate(1, "a", a)], Some(1));
        check(receipt("0A", IdForm::Any, "SENDER"), &[candidate(1, "a", a)], Some(1));
        check(receipt("0A", IdForm::Any, "1111"), &[candidate(1, "a", a)], None);
        // By our reference alone.
        let between = |other: &str| Receipt {
            parties: vec!["15550001111".into(), other.into()],
            ..receipt("10", IdForm::Any, "")
        };
        check(between("15550009999"), &[candidate(1, "", a)], Some(1));
        check(between("5550009999"), &[candidate(1, "", a)], Some(1));
        check(between("Acme"), &[candidate(1, "", a)], Some(1));
        check(between("12345"), &[candidate(1, "", a)], Some(1));
        check(between("15550008888"), &[candidate(1, "", a)], None);
        check(between("15550008888"), &[candidate(1, "10", a)], Some(1));
    }
}

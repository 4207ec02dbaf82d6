//! A carrier's way of speaking: our words into its own, and its own into receipts and inbound parts. Pure.

use std::sync::Arc;

use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::message::Answer;
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::registration::Dlt;
use tidings_domain::sender::Sender;
use tidings_domain::text::{Charset, Part, Segment};
use tidings_smpp::codec::{Address, DeliverSm, SubmitSm, Tlv, find_tlv, tag};
use tidings_smpp::data_coding::{self, Alphabet as Coding, ESM_UDHI, classify};
use tidings_smpp::receipt_text::{self, Kind};
use tidings_smpp::status;

use super::settings::{
    Alphabet, Concatenation, INTERNATIONAL, ReceiptId, Receipts, Settings, TlvValue, Validity,
};
use crate::codes::Codes;
use crate::{Error, InboundPart, Submission, Surroundings};

/// Characters of a receipt that are kept for the timeline. The longest real ones have some 200.
const RAW_CHARACTERS_MAX: usize = 1_000;
/// Octets of a carrier's id. SMPP allows 64, and some 70 are met; what is longer is no id, and is not kept.
const ID_OCTETS_MAX: usize = 255;
/// Characters of an address that are kept. SMPP allows 64 where it allows most.
const ADDRESS_CHARACTERS_MAX: usize = 64;
/// The tags under which operators in India are told the entity and the template of a message. No specification has them; they
/// are what carriers there agree on. The values are ASCII with a terminating zero.
const DLT_ENTITY: u16 = 0x1400;
/// See [`DLT_ENTITY`].
const DLT_TEMPLATE: u16 = 0x1401;
/// `network_error_code`: the code is of a GSM network (SMPP 3.4 §5.3.2.31).
const NETWORK_GSM: u8 = 3;

/// The three `sar_…` parameters, if they are there (SMPP 3.4 §5.3.2.22 to §5.3.2.24).
pub(crate) fn sar(tlvs: &[Tlv]) -> Option<Part> {
    let octet = |tag| find_tlv(tlvs, tag).and_then(|value| value.first().copied());
    Some(Part {
        reference: u16::from_be_bytes(find_tlv(tlvs, tag::SAR_MSG_REF_NUM)?.try_into().ok()?),
        total: octet(tag::SAR_TOTAL_SEGMENTS)?,
        number: octet(tag::SAR_SEGMENT_SEQNUM)?,
    })
}

/// A carrier's way of speaking: from ours and to ours. Pure.
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) settings: Settings,
    codes: Arc<Codes>,
    tlvs: Vec<Tlv>,
}

/// What a `deliver_sm` turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Receipt(Receipt),
    Inbound(Box<InboundPart>),
    Nothing(&'static str),
}

impl Profile {
    pub(super) fn new(settings: Settings, surroundings: &Surroundings) -> Result<Self, Error> {
        if let Some(problem) = settings.problem() {
            return Err(Error(problem));
        }
        for origin in settings.status_codes.iter().chain(&settings.receipt_codes) {
            if !surroundings.codes.knows(origin) {
                return Err(Error(format!("the failure table has no line of the family {origin:?}")));
            }
        }
        let tlvs = settings.tlvs.iter().map(|(tag, value)| read_tlv(tag, value)).collect::<Result<_, _>>()?;
        Ok(Self { name: surroundings.name.clone(), settings, codes: Arc::clone(&surroundings.codes), tlvs })
    }

    pub(super) fn submit(&self, submission: &Submission) -> Result<SubmitSm, Failure> {
        let settings = &self.settings;
        let segment = &submission.segment;
        let numbering = match submission.sender {
            Sender::PhoneNumber(_) => settings.source.phone_number,
            Sender::ShortCode(_) => settings.source.short_code,
            Sender::Alphanumeric(_) => settings.source.alphanumeric,
        };
        let sender = submission.sender.to_string();
        let octets = self.octets(segment)?;
        let mut tlvs = Vec::with_capacity(self.tlvs.len() + 4);
        if settings.user_message_reference {
            tlvs.push(Tlv::new(tag::USER_MESSAGE_REFERENCE, submission.our_reference.to_be_bytes()));
        }
        if let Some(part) = segment.sar() {
            tlvs.push(Tlv::new(tag::SAR_MSG_REF_NUM, part.reference.to_be_bytes()));
            tlvs.push(Tlv::new(tag::SAR_TOTAL_SEGMENTS, [part.total]));
            tlvs.push(Tlv::new(tag::SAR_SEGMENT_SEQNUM, [part.number]));
        }
        let as_payload = settings.concatenation == Concatenation::Payload;
        let short_message = if as_payload {
            tlvs.push(Tlv::new(tag::MESSAGE_PAYLOAD, octets));
            Vec::new()
        } else {
            octets
        };
        if let Some(Dlt { entity_id, template_id }) = &submission.dlt {
            let told = [(DLT_ENTITY, entity_id), (DLT_TEMPLATE, template_id)].into_iter();
            // What the connection says of itself counts.
            let told = told.filter(|(tag, _)| find_tlv(&self.tlvs, *tag).is_none());
            tlvs.extend(told.map(|(tag, id)| Tlv::new(tag, [id.as_bytes(), &[0]].concat())));
        }
        tlvs.extend_from_slice(&self.tlvs);
        let priority = &settings.priority;
        Ok(SubmitSm {
            service_type: settings.service_type.clone(),
            source: Address::new(numbering.ton, numbering.npi, sender.trim_start_matches('+')),
            destination: Address::new(
                settings.destination.ton,
                settings.destination.npi,
                submission.recipient.digits().to_string(),
            ),
            esm_class: if segment.header.is_empty() { 0 } else { ESM_UDHI },
            priority_flag: match submission.purpose {
                Purpose::Authentication => priority.authentication,
                Purpose::Alert => priority.alert,
                Purpose::Transactional => priority.transactional,
                Purpose::Marketing => priority.marketing,
            },
            validity_period: match settings.validity {
                Validity::Relative => relative(submission.validity_s),
                Validity::None => String::new(),
            },
            registered_delivery: match settings.receipts {
                Receipts::Always => data_coding::RECEIPT_ALWAYS,
                Receipts::OnFailure => data_coding::RECEIPT_ON_FAILURE,
                Receipts::Never => data_coding::RECEIPT_NONE,
            },
            data_coding: match segment.charset {
                Charset::Ucs2 => settings.ucs2_data_coding,
                // What we write is in one of two alphabets.
                _ => settings.gsm7_data_coding,
            },
            short_message,
            tlvs,
            ..SubmitSm::default()
        })
    }

    /// The octets as the carrier's default alphabet wants them.
    fn octets(&self, segment: &Segment) -> Result<Vec<u8>, Failure> {
        let (most, name) = match (segment.charset, self.settings.alphabet) {
            (Charset::Ucs2, _) | (_, Alphabet::Gsm7) => return Ok(segment.user_data()),
            (_, Alphabet::Latin1) => ('\u{FF}', "latin1"),
            (_, Alphabet::Ascii) => ('\u{7F}', "ascii"),
        };
        let text = segment.text();
        if let Some(lacking) = text.chars().find(|&character| character > most) {
            let detail = format!("the alphabet of this connection, {name}, has no {lacking:?}");
            return Err(Failure::new(FailureClass::UnknownError, false, "tidings alphabet", detail));
        }
        let octets = text.chars().filter_map(|character| u8::try_from(u32::from(character)).ok());
        Ok(segment.header.iter().copied().chain(octets).collect())
    }

    pub(super) fn answer(&self, status: u32, message_id: String) -> Answer {
        if status == status::ESME_ROK {
            Answer::Accepted { carrier_id: sensible(message_id) }
        } else {
            Answer::Refused(self.failure(status))
        }
    }

    /// What the carrier means by the `command_status` of a refusal.
    pub(super) fn failure(&self, status: u32) -> Failure {
        self.codes.submit(&self.name, &self.settings.status_codes, status)
    }

    pub(super) fn read(&self, pdu: &DeliverSm) -> Read {
        let mut receipt = match receipt_text::classify_deliver(pdu) {
            Kind::Message => return Read::Inbound(Box::new(self.inbound(pdu))),
            Kind::Receipt(receipt) => receipt,
        };
        receipt.id = sensible(receipt.id);
        let our_reference = pdu
            .tlv(tag::USER_MESSAGE_REFERENCE)
            .and_then(|value| value.try_into().ok())
            .map(u16::from_be_bytes);
        if receipt.id.is_empty() && our_reference.is_none() {
            return Read::Nothing("a receipt with neither an id nor our reference");
        }
        let mut err = receipt.error_code;
        if err.trim_matches('0').is_empty()
            && let Some(error) = receipt.network_error.filter(|error| error.network == NETWORK_GSM)
        {
            err = error.code.to_string();
        }
        let state = receipt.state.as_ref();
        let mut raw = segment(pdu, Charset::Latin1).text();
        if raw.is_empty() {
            let word = state.map_or("", |state| state.word());
            raw = format!("id:{} stat:{word} err:{err}", receipt.id);
        }
        Read::Receipt(Receipt {
            carrier_id: receipt.id,
            id_form: match self.settings.receipt_id {
                ReceiptId::Any => IdForm::Any,
                ReceiptId::Same => IdForm::Same,
                ReceiptId::HexThenDecimal => IdForm::HexThenDecimal,
                ReceiptId::DecimalThenHex => IdForm::DecimalThenHex,
            },
            our_reference,
            parties: vec![brief(&pdu.source), brief(&pdu.destination)],
            outcome: self.codes.receipt(&self.name, &self.settings.receipt_codes, state, &err),
            raw: printable(raw),
        })
    }

    fn inbound(&self, pdu: &DeliverSm) -> InboundPart {
        let default = match self.settings.alphabet {
            Alphabet::Gsm7 => Charset::Gsm7,
            Alphabet::Latin1 => Charset::Latin1,
            Alphabet::Ascii => Charset::Ascii,
        };
        InboundPart {
            from: written(&pdu.source),
            to: written(&pdu.destination),
            segment: segment(pdu, default),
            media: Vec::new(),
            beside: beside(pdu),
            opened: None,
        }
    }
}

/// The text of what came, as it came, and how it is written.
fn segment(pdu: &DeliverSm, default: Charset) -> Segment {
    let charset = match classify(pdu.data_coding).alphabet {
        Coding::Default => default,
        Coding::Gsm7 => Charset::Gsm7,
        Coding::Ia5 => Charset::Ascii,
        Coding::Latin1 => Charset::Latin1,
        Coding::Ucs2 => Charset::Ucs2,
        Coding::Cyrillic => Charset::Cyrillic,
        Coding::Hebrew => Charset::Hebrew,
        Coding::Japanese | Coding::Octets | Coding::Unknown => Charset::Unknown,
    };
    Segment::received(charset, pdu.payload(), pdu.esm_class & ESM_UDHI != 0, sar(&pdu.tlvs))
}

/// What a carrier says of a message beside its text: the phone's reference, and parameters of its own (SMPP 3.4 §4.6.1).
/// It says the same when it offers the message again, and perhaps not of another one.
fn beside(pdu: &DeliverSm) -> Vec<u8> {
    let of_the_text =
        [tag::MESSAGE_PAYLOAD, tag::SAR_MSG_REF_NUM, tag::SAR_TOTAL_SEGMENTS, tag::SAR_SEGMENT_SEQNUM];
    let mut octets = Vec::new();
    for tlv in pdu.tlvs.iter().filter(|tlv| !of_the_text.contains(&tlv.tag)) {
        octets.extend(tlv.tag.to_be_bytes());
        octets.extend((tlv.value.len() as u64).to_be_bytes());
        octets.extend(&tlv.value);
    }
    octets
}

/// A carrier's id, or none if what it sent cannot be one.
fn sensible(id: String) -> String {
    if id.len() > ID_OCTETS_MAX { String::new() } else { id }
}

/// The words of a receipt, without what cannot be shown, and not too many.
fn printable(raw: String) -> String {
    let is_plain = |octet: u8| octet.is_ascii() && !octet.is_ascii_control();
    if raw.len() <= RAW_CHARACTERS_MAX && raw.bytes().all(is_plain) {
        return raw;
    }
    raw.chars().filter(|character| !character.is_control()).take(RAW_CHARACTERS_MAX).collect()
}

fn brief(address: &Address) -> String {
    address.value.chars().take(ADDRESS_CHARACTERS_MAX).collect()
}

/// An address of the carrier as ours: international ones begin with `+`.
fn written(address: &Address) -> String {
    let value = brief(address);
    let digits = !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit());
    if address.ton == INTERNATIONAL.ton && digits { format!("+{value}") } else { value }
}

/// `YYMMDDhhmmsstnnp` as a span of time (SMPP 3.4 §7.1.1.2). Months have no length, so days are the largest unit.
fn relative(seconds: u32) -> String {
    const DAYS_MAX: u32 = 28;
    let seconds = seconds.clamp(1, DAYS_MAX * 86_400);
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("0000{days:02}{hours:02}{minutes:02}{seconds:02}000R")
}

fn read_tlv(tag: &str, value: &TlvValue) -> Result<Tlv, Error> {
    let wrong = |what: &str| Error(format!("tlvs: {tag:?}: {what}"));
    let number = match tag.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => tag.parse(),
    };
    let number = number.map_err(|_| wrong("the number of a parameter is like 0x1400 or 5120"))?;
    let octets = match value {
        TlvValue::Text(text) if text.is_ascii() => [text.as_bytes(), b"\0"].concat(),
        TlvValue::Text(_) => return Err(wrong("the text is not ASCII")),
        TlvValue::Hex(digits) => (0..digits.len())
            .step_by(2)
            .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| wrong("the value is not hexadecimal"))?,
    };
    Ok(Tlv { tag: number, value: octets })
}

#[cfg(test)]
mod tests {
    use super::super::settings::{NationalTable, Password, Priority};
    use super::*;
    use crate::{Tag, Window};
    use std::collections::BTreeMap;
    use tidings_domain::address::PhoneNumber;
    use tidings_domain::id::MessageId;
    use tidings_domain::message::Outcome;
    use tidings_domain::text::{self, Encoding};
    use tokio::time::Instant;

    fn profile(settings: Settings) -> Result<Profile, Error> {
        let surroundings = Surroundings {
            name: "acme".to_owned(),
            draw: Arc::new(|| 1),
            codes: Arc::default(),
            guard: Arc::new(crate::Unguarded),
            may_send: Arc::new(|| true),
        };
        let known = Settings { address: "localhost".to_owned(), system_id: "us".to_owned(), ..settings };
        Profile::new(known, &surroundings)
    }

    fn submissions(text: &str, sender: &str, options: &text::Options) -> Vec<Submission> {
        let window = Window::new();
        window.resize(100);
        let encoding: Encoding = text::measure(text, options).encoding;
        let submission = |segment: Segment| Submission {
            tag: Tag { message: MessageId::from_key(1), attempt: 1, segment: 0 },
            sender: Sender::from_stored(sender).expect("a sender"),
            recipient: PhoneNumber::from_stored("+46701234567").expect("a number"),
            encoding,
            segment,
            purpose: Purpose::Alert,
            validity_s: 3_661,
            waits_s: 3_661,
            since: Instant::now(),
            our_reference: 0x1234,
            dlt: None,
            permit: window.take(1).expect("room"),
        };
        text::split(text, options, 7).expect("few segments").into_iter().map(submission).collect()
    }

    fn written_with(settings: Settings, text: &str, sender: &str) -> Vec<SubmitSm> {
        let options = settings.text_options();
        let profile = profile(settings).expect("sound settings");
        submissions(text, sender, &options)
            .iter()
            .map(|it| profile.submit(it).expect("it can be written"))
            .collect()
    }

    #[test]
    fn a_short_text_is_written_as_the_specification_has_it() {
        let pdus = written_with(Settings::default(), "Hej på dig", "+46700000001");
        let [pdu] = pdus.as_slice() else { panic!("one segment") };
        assert_eq!(pdu.source, Address::new(1, 1, "46700000001"));
        assert_eq!(pdu.destination, Address::new(1, 1, "46701234567"));
        assert_eq!((pdu.esm_class, pdu.data_coding, pdu.registered_delivery), (0, 0, 1));
        assert_eq!(pdu.short_message, b"Hej p\x0F dig");
        assert_eq!(pdu.validity_period, "000000010101000R");
        assert_eq!(pdu.tlvs, [Tlv::new(tag::USER_MESSAGE_REFERENCE, [0x12, 0x34])]);
    }

    #[test]
    fn what_networks_in_india_want_to_know_stands_beside_the_text() {
        let written = |settings: Settings| {
            let mut submissions = submissions("Dear Ada", "ACMEIN", &settings.text_options());
            let told = Dlt { entity_id: "1101".to_owned(), template_id: "1107".to_owned() };
            submissions[0].dlt = Some(told);
            profile(settings)
                .expect("sound settings")
                .submit(&submissions[0])
                .expect("it can be written")
                .tlvs
        };
        let told = [Tlv::new(0x1400, *b"1101\0"), Tlv::new(0x1401, *b"1107\0")];
        assert_eq!(written(Settings::default())[1..], told);
        let own = BTreeMap::from([("0x1400".to_owned(), TlvValue::Text("1102".to_owned()))]);
        let tlvs = written(Settings { tlvs: own, ..Settings::default() });
        let told = [Tlv::new(0x1401, *b"1107\0"), Tlv::new(0x1400, *b"1102\0")];
        assert_eq!(tlvs[1..], told);
    }

    #[test]
    fn settings_change_what_is_written() {
        let of_kind = |sender: &str| {
            let pdu = written_with(Settings::default(), "x", sender).remove(0);
            (pdu.source.ton, pdu.source.npi, pdu.source.value)
        };
        assert_eq!(of_kind("72345"), (3, 0, "72345".to_owned()));
        assert_eq!(of_kind("Tidings"), (5, 0, "Tidings".to_owned()));
        let long = "é".repeat(200);
        let headed = written_with(Settings::default(), &long, "Tidings");
        assert!(headed.len() == 2 && headed.iter().all(|pdu| pdu.esm_class == ESM_UDHI));
        assert_eq!(headed[1].short_message[..6], [5, 0, 3, 7, 2, 2]);
        let sar = written_with(
            Settings { concatenation: Concatenation::Sar, ..Settings::default() },
            &long,
            "Tidings",
        );
        assert_eq!((sar[1].esm_class, sar[1].short_message[0]), (0, 5));
        assert_eq!(super::sar(&sar[1].tlvs), Some(Part { reference: 7, total: 2, number: 2 }));
        let payload = Settings { concatenation: Concatenation::Payload, ..Settings::default() };
        let whole = written_with(payload, &long, "Tidings");
        assert!(whole.len() == 1 && whole[0].short_message.is_empty() && whole[0].payload().len() == 200);
        let latin1 = Settings { alphabet: Alphabet::Latin1, gsm7_data_coding: 3, ..Settings::default() };
        let pdu = written_with(latin1, "é@", "Tidings").remove(0);
        assert_eq!((pdu.data_coding, pdu.short_message.as_slice()), (3, [0xE9, b'@'].as_slice()));
        let wide = written_with(Settings::default(), "Привет", "Tidings").remove(0);
        assert_eq!((wide.data_coding, wide.short_message.len()), (8, 12));
        let quiet = Settings {
            validity: Validity::None,
            receipts: Receipts::Never,
            user_message_reference: false,
            priority: Priority { alert: 3, ..Priority::default() },
            tlvs: BTreeMap::from([
                ("0x1400".to_owned(), TlvValue::Text("110".to_owned())),
                ("5121".to_owned(), TlvValue::Hex("00ff".to_owned())),
            ]),
            ..Settings::default()
        };
        let pdu = written_with(quiet, "x", "Tidings").remove(0);
        assert_eq!((pdu.validity_period.as_str(), pdu.registered_delivery, pdu.priority_flag), ("", 0, 3));
        assert_eq!(pdu.tlvs, [Tlv::new(0x1400, *b"110\0"), Tlv::new(0x1401, [0, 255])]);
    }

    #[test]
    fn a_character_that_the_carriers_alphabet_lacks_is_refused_and_never_changed() {
        let settings = Settings { alphabet: Alphabet::Ascii, ..Settings::default() };
        let options = settings.text_options();
        let profile = profile(settings).expect("sound settings");
        let refused =
            profile.submit(&submissions("caf\u{e9}", "Tidings", &options)[0]).expect_err("ASCII has no é");
        assert!(!refused.transient && refused.detail.contains("ascii"), "{refused}");
    }

    #[test]
    fn spans_of_time_are_written_down_to_the_second() {
        let check = |seconds, written: &str| assert_eq!(relative(seconds), written);
        check(0, "000000000001000R");
        check(59, "000000000059000R");
        check(3_600, "000000010000000R");
        check(72 * 3_600, "000003000000000R");
        check(u32::MAX, "000028000000000R");
    }

    #[test]
    fn wrong_settings_are_named() {
        let check = |settings: Settings, says: &str| {
            let error = profile(settings).err().expect(says);
            assert!(error.0.contains(says), "{error}");
        };
        check(Settings { window: 0, ..Settings::default() }, "window");
        check(Settings { response_timeout_s: 61, ..Settings::default() }, "response_timeout_s");
        check(Settings { status_codes: vec!["smmp".to_owned()], ..Settings::default() }, "smmp");
        let tlv =
            |value| Settings { tlvs: BTreeMap::from([("0x1400".to_owned(), value)]), ..Settings::default() };
        check(tlv(TlvValue::Hex("abc".to_owned())), "hexadecimal");
        check(tlv(TlvValue::Text("é".to_owned())), "ASCII");
        let french = Settings {
            alphabet: Alphabet::Latin1,
            single_shift: vec![NationalTable::Turkish],
            ..Settings::default()
        };
        check(french, "gsm7");
        assert!(
            !format!("{:?}", Settings { password: Password("geheim".to_owned()), ..Settings::default() })
                .contains("geheim")
        );
        let at = |address: &str| {
            Settings { address: address.to_owned(), ..Settings::default() }
                .host_and_port()
                .map_err(|error| error.0)
        };
        assert_eq!(at("carrier.example:3000"), Ok(("carrier.example".to_owned(), 3000)));
        assert_eq!(at("carrier.example"), Ok(("carrier.example".to_owned(), 2775)));
        assert_eq!(at("[::1]:2776"), Ok(("::1".to_owned(), 2776)));
        assert!(at("carrier.example:port").is_err() && at(":2775").is_err());
    }

    #[test]
    fn receipts_are_read_from_text_and_parameters() {
        let profile = profile(Settings::default()).expect("sound settings");
        let receipt = |text: &str, tlvs: Vec<Tlv>| {
            let pdu = DeliverSm {
                source: Address::new(1, 1, "46701234567"),
                destination: Address::new(5, 0, "Tidings"),
                esm_class: data_coding::ESM_RECEIPT,
                short_message: text.as_bytes().to_vec(),
                tlvs,
                ..DeliverSm::default()
            };
            profile.read(&pdu)
        };
        let Read::Receipt(is) = receipt("id:0A1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:", vec![]) else {
            panic!("a receipt")
        };
        assert_eq!(
            (is.carrier_id.as_str(), is.outcome, is.our_reference),
            ("0A1", Some(Outcome::Delivered), None)
        );
        assert_eq!(is.parties, ["46701234567", "Tidings"]);
        assert!(is.raw.starts_with("id:0A1"));
        let parameters = vec![
            Tlv::new(tag::RECEIPTED_MESSAGE_ID, *b"77\0"),
            Tlv::new(tag::MESSAGE_STATE, [5]),
            Tlv::new(tag::NETWORK_ERROR_CODE, [3, 0, 1]),
            Tlv::new(tag::USER_MESSAGE_REFERENCE, [0x12, 0x34]),
        ];
        let Read::Receipt(is) = receipt("", parameters) else { panic!("a receipt") };
        assert_eq!((is.carrier_id.as_str(), is.our_reference), ("77", Some(0x1234)));
        let Some(Outcome::Undelivered(failure)) = is.outcome else { panic!("undelivered") };
        assert_eq!(failure.class, FailureClass::InvalidNumber);
        assert_eq!(is.raw, "id:77 stat:UNDELIV err:1");
        assert!(matches!(receipt("stat:DELIVRD", vec![]), Read::Nothing(_)));
    }

    #[test]
    fn what_a_carrier_makes_too_long_is_not_kept() {
        let profile = profile(Settings::default()).expect("sound settings");
        let long = "7".repeat(60_000);
        let read = |tlvs: Vec<Tlv>| {
            let text = format!("id:{long} stat:{long} err:{long}");
            let source = Address::new(1, 1, long.as_str());
            let esm_class = data_coding::ESM_RECEIPT;
            profile.read(&DeliverSm {
                source,
                esm_class,
                short_message: text.into(),
                tlvs,
                ..DeliverSm::default()
            })
        };
        assert!(matches!(read(vec![]), Read::Nothing(_)));
        let Read::Receipt(is) = read(vec![Tlv::new(tag::USER_MESSAGE_REFERENCE, [0, 1])]) else {
            panic!("a receipt")
        };
        assert_eq!((is.carrier_id.as_str(), is.our_reference), ("", Some(1)));
        assert!(format!("{is:?}").len() < 4_000);
        let pdu = DeliverSm { source: Address::new(1, 1, long.as_str()), ..DeliverSm::default() };
        let Read::Inbound(part) = profile.read(&pdu) else { panic!("a message") };
        assert_eq!(part.from.len(), 1 + ADDRESS_CHARACTERS_MAX);
        assert_eq!(profile.answer(status::ESME_ROK, long), Answer::Accepted { carrier_id: String::new() });
    }

    #[test]
    fn messages_of_people_are_read_in_every_alphabet() {
        let profile = profile(Settings::default()).expect("sound settings");
        let check = |data_coding: u8, octets: &[u8], expected: &str| {
            let pdu = DeliverSm {
                source: Address::new(1, 1, "46701234567"),
                destination: Address::new(3, 0, "72345"),
                data_coding,
                short_message: octets.to_vec(),
                ..DeliverSm::default()
            };
            let Read::Inbound(part) = profile.read(&pdu) else { panic!("a message") };
            assert_eq!(part.segment.text(), expected, "{data_coding:#x}");
            assert_eq!((part.from.as_str(), part.to.as_str()), ("+46701234567", "72345"));
            assert_eq!((part.segment.part, part.segment.user_data().as_slice()), (None, octets));
        };
        check(0, b"p\x0F", "på");
        check(1, b"STOP", "STOP");
        check(3, b"p\xE5", "på");
        check(6, &[0xBF, 0xE0], "Пр");
        check(7, &[0xF9, 0xEC], "של");
        check(8, &[0x04, 0x1F], "П");
        check(4, &[1, 2, 3], "");
        let split = DeliverSm {
            esm_class: ESM_UDHI,
            short_message: b"\x05\x00\x03\x09\x03\x02part".to_vec(),
            ..DeliverSm::default()
        };
        let Read::Inbound(part) = profile.read(&split) else { panic!("a message") };
        let place = Part { reference: 9, total: 3, number: 2 };
        assert_eq!((part.segment.text().as_str(), part.segment.part), ("part", Some(place)));
        assert!(part.beside.is_empty());
        let marked = DeliverSm { tlvs: vec![Tlv::new(0x1400, [7])], ..split };
        let Read::Inbound(part) = profile.read(&marked) else { panic!("a message") };
        assert_eq!(part.beside.len(), 2 + 8 + 1);
    }
}

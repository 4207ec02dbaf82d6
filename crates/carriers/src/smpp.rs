//! The carrier behind SMPP 3.4 (kind `smpp`): one or several sessions to one account at a carrier, the submissions
//! spread over them, and what the carrier sends read into receipts and inbound parts.
//!
//! First the settings, then [`Profile`], which turns our words into the carrier's and back and is pure, then the
//! sessions. What a session may and may not report is the promise of `tidings_smpp`; this file adds reconnecting,
//! choosing a session, and the contract of the crate. It keeps no pace and puts no parts together.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::message::{self, Answer};
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::registration::Dlt;
use tidings_domain::sender::Sender;
use tidings_domain::text::{self, Charset, Language, Languages, Part, Segment};
use tidings_smpp::backoff::{self, Cause};
use tidings_smpp::client::{self, ClientTls, Event, Handle};
use tidings_smpp::codec::{Address, Bind, BindMode, DeliverSm, SubmitSm, Tlv, find_tlv, tag};
use tidings_smpp::data_coding::{self, Alphabet as Coding, ESM_UDHI, classify};
use tidings_smpp::receipt_text::{self, Kind};
use tidings_smpp::session::{EndReason, Limits, WhyUnsent};
use tidings_smpp::status;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::codes::{self, Codes};
use crate::{
    Acknowledge, CarrierEvent, CrashKey, Error, Guard, InboundPart, Link, LinkState, Permit, Submission,
    Surroundings, Tag, Window,
};

/// Events that may wait to be read, of all sessions together.
const EVENTS: usize = 4_096;
/// Events or submissions taken at once.
const BATCH: usize = 256;
/// Unanswered submissions that are remembered for a late answer, per session. As many as the session remembers.
const LATE_MAX: usize = tidings_smpp::session::LATE_REMEMBERED_MAX;
/// Characters of a receipt that are kept for the timeline. The longest real ones have some 200.
const RAW_CHARACTERS_MAX: usize = 1_000;
/// Octets of a carrier's id. SMPP allows 64, and some 70 are met; what is longer is no id, and is not kept.
const ID_OCTETS_MAX: usize = 255;
/// Characters of an address that are kept. SMPP allows 64 where it allows most.
const ADDRESS_CHARACTERS_MAX: usize = 64;
/// The port of SMPP where the address names none.
const PORT: u16 = 2775;
/// The tags under which operators in India are told the entity and the template of a message. No specification has them; they
/// are what carriers there agree on. The values are ASCII with a terminating zero.
const DLT_ENTITY: u16 = 0x1400;
/// See [`DLT_ENTITY`].
const DLT_TEMPLATE: u16 = 0x1401;
/// `network_error_code`: the code is of a GSM network (SMPP 3.4 §5.3.2.31).
const NETWORK_GSM: u8 = 3;

/// How to reach a carrier and how to speak to it. Only `address`, `system_id` and `password` are needed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `host:port` of the carrier; without a port, 2775.
    pub address: String,
    /// The account's name at the carrier.
    pub system_id: String,
    /// The account's password. Many carriers take only the first 8 characters.
    pub password: Password,
    /// Some carriers want one here. Default: empty.
    pub system_type: String,
    /// `transceiver` (default): each session sends and receives. `transmitter+receiver`: for carriers without it.
    pub mode: Mode,
    /// Sessions at the same time; with `transmitter+receiver`, pairs. 1 to 100. Default 1. The carrier must allow it.
    pub binds: usize,
    /// Segments unanswered in each session: 1 to 10,000. Default 10, which every carrier takes.
    pub window: usize,
    /// An answer that does not come within this time is given up, and is doubtful: seconds, 1 to 60. Default 30.
    pub response_timeout_s: u64,
    /// After so much silence the carrier is asked whether it is there: seconds, 1 to 3,600. Default 30.
    pub enquire_link_s: u64,
    /// For connecting, TLS included: seconds, 1 to 60. Default 10.
    pub connect_timeout_s: u64,
    /// Messages and receipts of the carrier that may wait to be stored, per session; more are refused as "try
    /// again": 1 to 10,000. Default 1,000.
    pub unacknowledged: usize,
    /// Speak TLS and verify the carrier's certificate. Not set: clear text, the password too.
    pub tls: Option<Tls>,
    /// Type of number and numbering plan of our senders.
    pub source: Source,
    /// Type of number and numbering plan of recipients. Default: 1 and 1 (international, E.164).
    pub destination: Numbering,
    /// What the carrier's default alphabet is: `gsm7` (default), `latin1` or `ascii`. A text with a character that
    /// it lacks is refused for a person to look at, rather than changed.
    pub alphabet: Alphabet,
    /// `data_coding` of texts in the default alphabet. Default 0.
    pub gsm7_data_coding: u8,
    /// `data_coding` of the others, which are UTF-16. Default 8.
    pub ucs2_data_coding: u8,
    /// How long texts are tied together: `udh8` (default), `udh16`, `sar` or `payload`.
    pub concatenation: Concatenation,
    /// Languages whose single shift tables the carrier and the phones take: `turkish`, `spanish`, `portuguese`.
    pub single_shift: Vec<NationalTable>,
    /// Languages whose locking shift tables they take: `turkish`, `portuguese`.
    pub locking_shift: Vec<NationalTable>,
    /// How receipts write the ids of answers: `any` (default: find out), `same`, `hex_then_decimal`,
    /// `decimal_then_hex`.
    pub receipt_id: ReceiptId,
    /// Families of the failure table that explain refusals, in order. Default: `["smpp"]`.
    pub status_codes: Vec<String>,
    /// Families that explain `err:` in receipts, in order. Default: `["gsm-map"]`. Empty: `err:` means nothing.
    pub receipt_codes: Vec<String>,
    /// Which receipts are asked for: `always` (default), `on_failure` or `never`.
    pub receipts: Receipts,
    /// How the carrier is told how long to try: `relative` (default) or `none`.
    pub validity: Validity,
    /// `priority_flag`, 0 to 3, for each purpose. Default 0.
    pub priority: Priority,
    /// Send our own reference (`user_message_reference`), by which a receipt is found whose id is lost. Default true.
    pub user_message_reference: bool,
    /// `service_type`, at most 5 characters. Default: empty.
    pub service_type: String,
    /// Further optional parameters of every submission, by their number: `"0x1400" = { text = "11001234" }` or
    /// `{ hex = "00ff" }`. A text is sent with the terminating zero that strings have.
    pub tlvs: BTreeMap<String, TlvValue>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: String::new(),
            system_id: String::new(),
            password: Password::default(),
            system_type: String::new(),
            mode: Mode::default(),
            binds: 1,
            window: 10,
            response_timeout_s: 30,
            enquire_link_s: 30,
            connect_timeout_s: 10,
            unacknowledged: 1_000,
            tls: None,
            source: Source::default(),
            destination: INTERNATIONAL,
            alphabet: Alphabet::default(),
            gsm7_data_coding: data_coding::DEFAULT,
            ucs2_data_coding: data_coding::UCS2,
            concatenation: Concatenation::default(),
            single_shift: Vec::new(),
            locking_shift: Vec::new(),
            receipt_id: ReceiptId::default(),
            status_codes: vec![codes::SMPP.to_owned()],
            receipt_codes: vec![codes::GSM_MAP.to_owned()],
            receipts: Receipts::default(),
            validity: Validity::default(),
            priority: Priority::default(),
            user_message_reference: true,
            service_type: String::new(),
            tlvs: BTreeMap::new(),
        }
    }
}

/// A password. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("•••")
    }
}

/// Which sessions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Mode {
    /// Each session sends and receives.
    #[default]
    #[serde(rename = "transceiver")]
    Transceiver,
    /// Pairs of one that sends and one that receives.
    #[serde(rename = "transmitter+receiver")]
    TransmitterReceiver,
}

/// How the carrier's certificate is verified. There is no way to leave that out: trust a self-signed one by naming
/// its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// File with further authorities, or the carrier's own certificate, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The name in the certificate, when it is not the host of `address`.
    pub server_name: Option<String>,
    /// Trust the public authorities too. Default true.
    pub public_authorities: bool,
    /// File with our own certificate in PEM, for carriers that want one; with `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// File with its key in PEM.
    pub key_file: Option<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca_file: None,
            server_name: None,
            public_authorities: true,
            certificate_file: None,
            key_file: None,
        }
    }
}

/// Type of number (SMPP 3.4 §5.2.5) and numbering plan (§5.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbering {
    /// Type of number: 0 unknown, 1 international, 2 national, 3 network, 5 alphanumeric.
    pub ton: u8,
    /// Numbering plan: 0 unknown, 1 E.164.
    pub npi: u8,
}

const INTERNATIONAL: Numbering = Numbering { ton: 1, npi: 1 };

/// The numbering of our senders by their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Default: 1 and 1.
    pub phone_number: Numbering,
    /// Default: 3 and 0.
    pub short_code: Numbering,
    /// Default: 5 and 0.
    pub alphanumeric: Numbering,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            phone_number: INTERNATIONAL,
            short_code: Numbering { ton: 3, npi: 0 },
            alphanumeric: Numbering { ton: 5, npi: 0 },
        }
    }
}

/// What a carrier's default alphabet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alphabet {
    /// GSM 7-bit, one character per octet.
    #[default]
    Gsm7,
    /// ISO 8859-1.
    Latin1,
    /// ASCII.
    Ascii,
}

/// How the segments of a message are tied together; see [`text::Concatenation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Concatenation {
    /// A header with an 8-bit reference.
    #[default]
    Udh8,
    /// A header with a 16-bit reference.
    Udh16,
    /// The `sar_…` parameters.
    Sar,
    /// `message_payload`; the carrier cuts.
    Payload,
}

/// A language with national tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NationalTable {
    /// Turkish.
    Turkish,
    /// Spanish.
    Spanish,
    /// Portuguese.
    Portuguese,
}

/// How receipts write ids; see [`IdForm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptId {
    /// Find out.
    #[default]
    Any,
    /// As the answer did.
    Same,
    /// Decimal, after a hexadecimal answer.
    HexThenDecimal,
    /// Hexadecimal, after a decimal answer.
    DecimalThenHex,
}

/// Which receipts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// On success and failure.
    #[default]
    Always,
    /// On failure.
    OnFailure,
    /// None: messages end as `unconfirmed`.
    Never,
}

/// How the carrier is told how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// By the time that is left (SMPP 3.4 §7.1.1), which needs no agreement about clocks.
    #[default]
    Relative,
    /// Not at all: the carrier's own rule.
    None,
}

/// `priority_flag` (SMPP 3.4 §5.2.14) by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Priority {
    /// For one-time codes.
    pub authentication: u8,
    /// For alerts.
    pub alert: u8,
    /// For what people wait for.
    pub transactional: u8,
    /// For offers.
    pub marketing: u8,
}

/// The value of an optional parameter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlvValue {
    /// Octets in hexadecimal.
    Hex(String),
    /// ASCII; a terminating zero is added.
    Text(String),
}

impl Settings {
    /// How this carrier takes text.
    pub fn text_options(&self) -> text::Options {
        let languages = |tables: &[NationalTable]| {
            tables.iter().fold(Languages::NONE, |languages, table| {
                languages.with(match table {
                    NationalTable::Turkish => Language::Turkish,
                    NationalTable::Spanish => Language::Spanish,
                    NationalTable::Portuguese => Language::Portuguese,
                })
            })
        };
        text::Options {
            concatenation: match self.concatenation {
                Concatenation::Udh8 => text::Concatenation::Header8,
                Concatenation::Udh16 => text::Concatenation::Header16,
                Concatenation::Sar => text::Concatenation::Sar,
                Concatenation::Payload => text::Concatenation::Payload,
            },
            single_shift: languages(&self.single_shift),
            locking_shift: languages(&self.locking_shift),
        }
    }

    fn problem(&self) -> Option<String> {
        let range = |name: &str, value: u64, least: u64, most: u64| {
            let outside = !(least..=most).contains(&value);
            outside.then(|| format!("{name} is {value}, but must be between {least} and {most}"))
        };
        for (name, value) in [("address", &self.address), ("system_id", &self.system_id)] {
            if value.is_empty() {
                return Some(format!("{name} is missing"));
            }
        }
        let Priority { authentication, alert, transactional, marketing } = self.priority;
        let highest = [authentication, alert, transactional, marketing].into_iter().max().unwrap_or(0);
        let national = !self.single_shift.is_empty() || !self.locking_shift.is_empty();
        if national && self.alphabet != Alphabet::Gsm7 {
            return Some("national tables need the alphabet gsm7".to_owned());
        }
        range("binds", self.binds as u64, 1, 100)
            .or_else(|| range("window", self.window as u64, 1, 10_000))
            .or_else(|| range("response_timeout_s", self.response_timeout_s, 1, 60))
            .or_else(|| range("enquire_link_s", self.enquire_link_s, 1, 3_600))
            .or_else(|| range("connect_timeout_s", self.connect_timeout_s, 1, 60))
            .or_else(|| range("unacknowledged", self.unacknowledged as u64, 1, 10_000))
            .or_else(|| range("priority", u64::from(highest), 0, 3))
            .or_else(|| range("service_type's length", self.service_type.len() as u64, 0, 5))
    }

    fn host_and_port(&self) -> Result<(String, u16), Error> {
        let wrong =
            || Error(format!("address is {:?}, but must be like smpp.example.com:2775", self.address));
        let (host, port) = match self.address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            Some(_) | None => (self.address.as_str(), PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
    }

    fn client_tls(&self) -> Result<Option<ClientTls>, Error> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let identity = match (&tls.certificate_file, &tls.key_file) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(client::Identity {
                chain_pem: crate::read_file(certificate)?,
                key_pem: crate::read_file(key)?,
            }),
            _ => return Err(Error("tls.certificate_file and tls.key_file belong together".to_owned())),
        };
        let authorities = tls.ca_file.as_deref().map(crate::read_file).transpose()?;
        if authorities.is_none() && !tls.public_authorities {
            return Err(Error(
                "tls.ca_file is missing: without public_authorities nothing is trusted".to_owned(),
            ));
        }
        Ok(Some(ClientTls {
            server_name: tls.server_name.clone(),
            public_roots: tls.public_authorities,
            extra_roots_pem: authorities.into_iter().collect(),
            identity,
        }))
    }
}

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
struct Profile {
    name: String,
    settings: Settings,
    codes: Arc<Codes>,
    tlvs: Vec<Tlv>,
}

/// What a `deliver_sm` turned out to be.
#[derive(Debug, PartialEq)]
enum Read {
    Receipt(Receipt),
    Inbound(Box<InboundPart>),
    Nothing(&'static str),
}

impl Profile {
    fn new(settings: Settings, surroundings: &Surroundings) -> Result<Self, Error> {
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

    fn submit(&self, submission: &Submission) -> Result<SubmitSm, Failure> {
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

    fn answer(&self, status: u32, message_id: String) -> Answer {
        if status == status::ESME_ROK {
            Answer::Accepted { carrier_id: sensible(message_id) }
        } else {
            Answer::Refused(self.codes.submit(&self.name, &self.settings.status_codes, status))
        }
    }

    fn read(&self, pdu: &DeliverSm) -> Read {
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
            raw: raw.chars().filter(|character| !character.is_control()).take(RAW_CHARACTERS_MAX).collect(),
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

/// Opens the connection: its sessions are made, kept and made again until it is stopped.
///
/// # Errors
/// The settings make no sense, or a file they name cannot be read.
pub fn open(settings: Settings, surroundings: &Surroundings) -> Result<Link, Error> {
    let profile = Profile::new(settings, surroundings)?;
    let settings = &profile.settings;
    let (host, port) = settings.host_and_port()?;
    let mut bind = Bind::new(BindMode::Transceiver, &settings.system_id, &settings.password.0);
    settings.system_type.clone_into(&mut bind.system_type);
    let mut connecting = client::Settings::new(host, port, bind);
    connecting.tls = settings.client_tls()?;
    connecting.connect_timeout_ms = settings.connect_timeout_s * 1_000;
    let may_send = Arc::clone(&surroundings.may_send);
    connecting.permission = client::Permission::new(move || may_send());
    connecting.limits = Limits {
        window_max: settings.window,
        unanswered_max: settings.unacknowledged,
        response_timeout_ms: settings.response_timeout_s * 1_000,
        enquire_link_idle_ms: settings.enquire_link_s * 1_000,
        ..Limits::default()
    };
    let modes: &[BindMode] = match settings.mode {
        Mode::Transceiver => &[BindMode::Transceiver],
        Mode::TransmitterReceiver => &[BindMode::Transmitter, BindMode::Receiver],
    };
    let modes: Vec<BindMode> = modes.iter().copied().cycle().take(modes.len() * settings.binds).collect();

    // One message more than the window may be handed over, see `Window::take`.
    let (submissions_in, submissions) = mpsc::channel(settings.window * settings.binds + 255);
    let (events_in, events) = mpsc::channel(EVENTS);
    let (state_in, state) = watch::channel(LinkState::Connecting { reason: None });
    let (stop, stopped) = watch::channel(false);
    let window = Window::new();
    let shared = Arc::new(Shared {
        sessions: Mutex::new(modes.iter().map(|_| SessionState::Connecting(None)).collect()),
        profile,
        connecting,
        draw: Arc::clone(&surroundings.draw),
        guard: Arc::clone(&surroundings.guard),
        may_send: Arc::clone(&surroundings.may_send),
        window: Arc::clone(&window),
        state: state_in,
        events: events_in,
        freed: Notify::new(),
    });
    tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        for (place, mode) in modes.into_iter().enumerate() {
            tasks.spawn(Arc::clone(&shared).keep(place, mode, stopped.clone()));
        }
        tasks.spawn(Arc::clone(&shared).dispatch(submissions, stopped));
        tasks.join_all().await;
        shared.state.send_replace(LinkState::Stopped);
    });
    Ok(Link { submissions: submissions_in, events, window, state, stop, faults: None })
}

/// What the tasks of one link share.
struct Shared {
    profile: Profile,
    connecting: client::Settings,
    draw: Arc<dyn Fn() -> u32 + Send + Sync>,
    guard: Arc<dyn Guard>,
    may_send: Arc<dyn Fn() -> bool + Send + Sync>,
    window: Arc<Window>,
    state: watch::Sender<LinkState>,
    events: mpsc::Sender<CarrierEvent>,
    sessions: Mutex<Vec<SessionState>>,
    /// Something may be submitted that could not be before, or will never be.
    freed: Notify,
}

enum SessionState {
    Connecting(Option<String>),
    Refused(String),
    /// Bound; with a lane if it submits.
    Bound(Option<Arc<Lane>>),
    Ended,
}

/// A session that submits.
struct Lane {
    handle: Handle,
    pending: Mutex<Pending>,
    /// When the session was opened.
    opened: Instant,
}

/// Submissions of one session by the number the session knows them by.
#[derive(Default)]
struct Pending {
    last: u64,
    entries: HashMap<u64, Entry>,
    /// Those reported as unanswered, the oldest first.
    late: VecDeque<u64>,
}

struct Entry {
    tag: Tag,
    /// Gone once it is reported.
    permit: Option<Permit>,
}

/// Nothing panics while it holds one of these locks, and what they guard is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// Remembers an answer that did not come, in case it still does.
    fn unanswered(&self, number: u64) -> Option<(Tag, Option<Permit>)> {
        let mut pending = lock(&self.pending);
        let entry = pending.entries.get_mut(&number)?;
        let (tag, permit) = (entry.tag, entry.permit.take());
        pending.late.push_back(number);
        if pending.late.len() > LATE_MAX
            && let Some(oldest) = pending.late.pop_front()
        {
            pending.entries.remove(&oldest);
        }
        Some((tag, permit))
    }

    fn remove(&self, number: u64) -> Option<(Tag, Option<Permit>)> {
        lock(&self.pending).entries.remove(&number).map(|entry| (entry.tag, entry.permit))
    }
}

/// Why there was no handing over.
enum NotHandedOver {
    /// Wait for room.
    Full(Box<Submission>),
    /// There is no session at all.
    NoSession(Box<Submission>),
}

impl Shared {
    /// Hands submissions to the session with the most room.
    async fn dispatch(
        self: Arc<Self>,
        mut submissions: mpsc::Receiver<Submission>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut waiting = VecDeque::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        while !*stop.borrow() {
            self.hand_over(&mut waiting).await;
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                taken = submissions.recv_many(&mut batch, BATCH), if open && waiting.is_empty() => {
                    open = taken > 0;
                    waiting.extend(batch.drain(..));
                }
                () = self.freed.notified(), if !waiting.is_empty() => {}
                () = self.events.closed() => return,
            }
        }
        self.window.resize(0);
        submissions.close();
        while let Some(submission) = submissions.recv().await {
            waiting.push_back(submission);
        }
        for submission in waiting {
            self.report(submission.tag, Answer::Unsent, Some(submission.permit)).await;
        }
    }

    async fn hand_over(&self, waiting: &mut VecDeque<Submission>) {
        if waiting.is_empty() {
            return;
        }
        let lanes = self.lanes();
        while let Some(mut submission) = waiting.pop_front() {
            // It may have waited here while sessions were full or away, or events were not read.
            let waited_s = u32::try_from(submission.since.elapsed().as_secs()).unwrap_or(u32::MAX);
            if waited_s >= submission.waits_s || !(self.may_send)() {
                self.report(submission.tag, Answer::Unsent, Some(submission.permit)).await;
                continue;
            }
            submission.validity_s -= waited_s;
            submission.waits_s -= waited_s;
            submission.since += Duration::from_secs(u64::from(waited_s));
            let pdu = match self.written(&submission) {
                Ok(pdu) => pdu,
                Err(failure) => {
                    self.report(submission.tag, Answer::Refused(failure), Some(submission.permit)).await;
                    continue;
                }
            };
            match submit(&lanes, submission, pdu) {
                Ok(()) => {}
                Err(NotHandedOver::Full(submission)) => {
                    waiting.push_front(*submission);
                    return;
                }
                Err(NotHandedOver::NoSession(submission)) => {
                    self.report(submission.tag, Answer::Unsent, Some(submission.permit)).await;
                }
            }
        }
    }

    /// The submission as the carrier wants it. What crashes over it is a lasting refusal of our own.
    fn written(&self, submission: &Submission) -> Result<SubmitSm, Failure> {
        let mut written = None;
        let done = self.guard.contain(CrashKey::Message(submission.tag.message), &mut || {
            poison::taste("encode", || Some(submission.segment.text()));
            written = Some(self.profile.submit(submission));
        });
        written.filter(|_| done).unwrap_or_else(|| Err(message::poison("encoding")))
    }

    /// What the carrier sent. What crashes over it is nothing that could be stored.
    fn read(&self, pdu: &DeliverSm) -> Read {
        let mut read = None;
        let done =
            self.guard.contain(CrashKey::Octets(pdu.payload()), &mut || read = Some(self.profile.read(pdu)));
        read.filter(|_| done).unwrap_or(Read::Nothing("something that crashes its reader"))
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        let lane = |session: &SessionState| match session {
            SessionState::Bound(lane) => lane.clone(),
            SessionState::Connecting(_) | SessionState::Refused(_) | SessionState::Ended => None,
        };
        lock(&self.sessions).iter().filter_map(lane).collect()
    }

    /// Reports an answer, with the place in the window that it frees.
    async fn report(&self, tag: Tag, answer: Answer, permit: Option<Permit>) {
        self.emit(CarrierEvent::Answered { tag, answer, permit }).await;
    }

    async fn emit(&self, event: CarrierEvent) {
        // Nobody reads any more: the tasks see that themselves.
        let _ = self.events.send(event).await;
    }

    /// Keeps one session up until the stop.
    async fn keep(self: Arc<Self>, place: usize, mode: BindMode, mut stop: watch::Receiver<bool>) {
        let mut failures = 0;
        while !*stop.borrow() && !self.events.is_closed() {
            let mut settings = self.connecting.clone();
            settings.bind.mode = mode;
            let connected = tokio::select! {
                connected = client::connect(settings) => connected,
                _ = stop.changed() => break,
            };
            let (state, cause) = match connected {
                Err(error @ tidings_smpp::Error::Settings(_)) => {
                    (SessionState::Refused(error.to_string()), Cause::Refused)
                }
                Err(error) => (SessionState::Connecting(Some(error.to_string())), Cause::Lost),
                Ok((handle, events)) => {
                    let (reason, bound) = self.serve(place, mode, handle, events, &mut stop).await;
                    if bound {
                        failures = 0;
                    }
                    self.after(reason)
                }
            };
            if *stop.borrow() {
                break;
            }
            if let SessionState::Connecting(Some(reason)) | SessionState::Refused(reason) = &state {
                tracing::warn!(
                    connection = self.profile.name,
                    session = place,
                    reason,
                    "SMPP session is down"
                );
            }
            self.set(place, state);
            failures += 1;
            let random = u64::from((self.draw)()) << 32 | u64::from((self.draw)());
            let pause = Duration::from_millis(backoff::pause_ms(cause, failures, random));
            tokio::select! {
                () = sleep(pause) => {}
                changed = stop.changed() => if changed.is_err() { break },
                () = self.events.closed() => break,
            }
        }
        self.set(place, SessionState::Ended);
    }

    /// What an ended session leaves behind, and how soon to try again.
    fn after(&self, reason: EndReason) -> (SessionState, Cause) {
        let lost = |words: &str| (SessionState::Connecting(Some(words.to_owned())), Cause::Lost);
        match reason {
            EndReason::BindRefused(status) => {
                let failure = self.profile.codes.submit(
                    &self.profile.name,
                    &self.profile.settings.status_codes,
                    status,
                );
                let words = format!("the carrier refused the bind: {} ({})", failure.detail, failure.code);
                // These three pass: an old session that the carrier has not yet noticed is gone, or its own trouble.
                let passes =
                    [status::ESME_RALYBND, status::ESME_RSYSERR, status::ESME_RTHROTTLED].contains(&status);
                if passes { lost(&words) } else { (SessionState::Refused(words), Cause::Refused) }
            }
            EndReason::BindTimeout => lost("the carrier did not answer the bind"),
            EndReason::Stopped => lost("stopped"),
            EndReason::PeerUnbound => lost("the carrier ended the session"),
            EndReason::Unresponsive => lost("the carrier does not answer any more"),
            EndReason::InvalidLength(_) => lost("the carrier sent something that is not SMPP"),
            EndReason::Disconnected | EndReason::InputBeforeBind => lost("the connection broke"),
        }
    }

    /// Reads one session's events to the last; says why it ended, and whether it was bound.
    async fn serve(
        &self,
        place: usize,
        mode: BindMode,
        handle: Handle,
        mut events: mpsc::Receiver<Event>,
        stop: &mut watch::Receiver<bool>,
    ) -> (EndReason, bool) {
        let lane = Arc::new(Lane { handle, pending: Mutex::default(), opened: Instant::now() });
        let mut batch = Vec::with_capacity(BATCH);
        let (mut bound, mut stopping, mut reason) = (false, *stop.borrow(), EndReason::Disconnected);
        if stopping {
            lane.handle.stop();
        }
        loop {
            let taken = tokio::select! {
                biased;
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    self.set(place, SessionState::Ended);
                    lane.handle.stop();
                    continue;
                }
                taken = events.recv_many(&mut batch, BATCH) => taken,
            };
            if taken == 0 {
                break;
            }
            if bound && lane.handle.is_over() {
                // Nothing more must be promised before the last answers give their places back.
                self.set(place, SessionState::Connecting(None));
            }
            for event in batch.drain(..) {
                match event {
                    Event::Bound { .. } if !stopping => {
                        bound = true;
                        self.set(place, SessionState::Bound(mode.submits().then(|| Arc::clone(&lane))));
                    }
                    Event::Closed(why) => reason = why,
                    other => self.hear(&lane, other).await,
                }
            }
            self.freed.notify_one();
            if self.events.is_closed() {
                lane.handle.close_now();
            }
        }
        // The session has reported each of its submissions; this holds even if it had not.
        let left: Vec<Entry> = lock(&lane.pending).entries.drain().map(|(_, entry)| entry).collect();
        for entry in left {
            if let Some(permit) = entry.permit {
                self.report(entry.tag, Answer::None, Some(permit)).await;
            }
        }
        (reason, bound)
    }

    async fn hear(&self, lane: &Lane, event: Event) {
        let (entry, answer) = match event {
            Event::Answer { tag, status, message_id } | Event::LateAnswer { tag, status, message_id } => {
                (lane.remove(tag), self.profile.answer(status, message_id))
            }
            Event::NoAnswer { tag } => (lane.unanswered(tag), Answer::None),
            Event::Unsent { tag, why } => (lane.remove(tag), unsent(why)),
            Event::Deliver { pdu, responder } => {
                let acknowledge = move || responder.answer(status::ESME_ROK);
                match self.read(&pdu) {
                    Read::Receipt(receipt) => {
                        let acknowledge = Acknowledge::new(acknowledge);
                        self.emit(CarrierEvent::Receipt { receipt, acknowledge }).await;
                    }
                    Read::Inbound(part) => {
                        let part = InboundPart { opened: Some(lane.opened), ..*part };
                        let acknowledge = Acknowledge::new(acknowledge);
                        self.emit(CarrierEvent::Inbound { part, acknowledge }).await;
                    }
                    Read::Nothing(reason) => {
                        // There is nothing to store, and without an answer it would come again for ever.
                        self.emit(CarrierEvent::Malformed { reason: reason.to_owned() }).await;
                        acknowledge();
                    }
                }
                return;
            }
            Event::Malformed(malformed) => {
                let reason = format!("{} (command {:#010x})", malformed.reason, malformed.command_id);
                return self.emit(CarrierEvent::Malformed { reason }).await;
            }
            Event::Bound { .. } | Event::Closed(_) => return,
        };
        if let Some((tag, permit)) = entry {
            self.report(tag, answer, permit).await;
        }
    }

    /// Changes one session's state, and with it the window and the link's state.
    fn set(&self, place: usize, state: SessionState) {
        let mut sessions = lock(&self.sessions);
        sessions[place] = state;
        let submitting =
            sessions.iter().filter(|session| matches!(session, SessionState::Bound(Some(_)))).count();
        let bound = sessions.iter().filter(|session| matches!(session, SessionState::Bound(_))).count();
        self.window.resize(submitting * self.profile.settings.window);
        let refused = sessions.iter().find_map(|session| match session {
            SessionState::Refused(reason) => Some(reason.clone()),
            _ => None,
        });
        let reason = sessions.iter().find_map(|session| match session {
            SessionState::Connecting(reason) => reason.clone(),
            _ => None,
        });
        let link = match (submitting, refused) {
            (1.., _) => LinkState::Up { sessions: bound },
            (0, Some(reason)) => LinkState::Refused { reason },
            (0, None) => LinkState::Connecting { reason },
        };
        drop(sessions);
        self.state.send_if_modified(|current| {
            let changed = *current != link;
            if changed {
                *current = link;
            }
            changed
        });
        self.freed.notify_one();
    }
}

fn unsent(why: WhyUnsent) -> Answer {
    match why {
        WhyUnsent::SessionEnded | WhyUnsent::Direction => Answer::Unsent,
        WhyUnsent::Unencodable(what) => {
            let detail = format!("it cannot be written in SMPP: {what}");
            Answer::Refused(Failure::new(FailureClass::UnknownError, false, "tidings unencodable", detail))
        }
    }
}

/// Hands a submission to the lane with the most room.
fn submit(lanes: &[Arc<Lane>], submission: Submission, mut pdu: SubmitSm) -> Result<(), NotHandedOver> {
    loop {
        let open = lanes.iter().filter(|lane| !lane.handle.is_over());
        let Some(lane) = open.max_by_key(|lane| lane.handle.window_free()) else {
            return Err(NotHandedOver::NoSession(Box::new(submission)));
        };
        if lane.handle.window_free() == 0 {
            return Err(NotHandedOver::Full(Box::new(submission)));
        }
        // Held until the entry is in, so that no answer comes before it.
        let mut pending = lock(&lane.pending);
        pending.last += 1;
        let number = pending.last;
        match lane.handle.try_submit(number, pdu) {
            Ok(()) => {
                pending
                    .entries
                    .insert(number, Entry { tag: submission.tag, permit: Some(submission.permit) });
                return Ok(());
            }
            Err(client::NotTaken::Full(_)) => return Err(NotHandedOver::Full(Box::new(submission))),
            Err(client::NotTaken::Over(back)) => pdu = *back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::address::PhoneNumber;
    use tidings_domain::id::MessageId;
    use tidings_domain::message::Outcome;
    use tidings_domain::text::Encoding;

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

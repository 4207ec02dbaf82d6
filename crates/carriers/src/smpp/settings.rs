//! The settings of a carrier behind SMPP: how to reach it, and how it wants to be spoken to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use tidings_domain::text::{self, Language, Languages};
use tidings_smpp::client::{self, ClientTls};
use tidings_smpp::data_coding;

use crate::{Error, codes};

/// The port of SMPP where the address names none.
const PORT: u16 = 2775;

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

pub(super) const INTERNATIONAL: Numbering = Numbering { ton: 1, npi: 1 };

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

    /// What makes no sense in them.
    pub(super) fn problem(&self) -> Option<String> {
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

    /// The host and its port.
    pub(super) fn host_and_port(&self) -> Result<(String, u16), Error> {
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

    /// What is trusted, and who we are.
    pub(super) fn client_tls(&self) -> Result<Option<ClientTls>, Error> {
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

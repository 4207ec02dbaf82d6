//! SMPP 3.4 PDUs as plain values, and their octets.
//!
//! The codec is our own, although crates exist: a gateway needs the dozen flat PDUs below and must be
//! lenient exactly where carriers are careless (message ids of 70 octets, ids that aren't ASCII, error
//! answers without a body), while a general codec refuses such a PDU as a whole. It also saves turning
//! somebody else's types into ours on the path of every message.
//!
//! Framing is separate from decoding ([`frame_length`]), so a PDU that cannot be read costs that PDU and
//! never the position in the stream. The codec knows nothing of sessions; what a message's octets mean as
//! text is for [`crate::data_coding`] and the owner.
//!
//! Strings: SMPP says ASCII. Octets above 0x7F are read as ISO 8859-1, so nothing a carrier sends is lost
//! and what was read can be written back octet for octet.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::status;

/// Octets of a PDU header (SMPP 3.4 §3.2), hence the smallest `command_length`.
pub const HEADER_OCTETS: usize = 16;
/// The largest PDU accepted or written. SMPP has no bound; `message_payload` alone may have 64 KiB, but no
/// real PDU comes near, and a bound is what keeps a hostile length from becoming memory.
pub const PDU_OCTETS_MAX: usize = 64 * 1024;
/// The most octets `short_message` carries (SMPP 3.4 §5.2.22); longer texts go into [`tag::MESSAGE_PAYLOAD`].
pub const SHORT_MESSAGE_OCTETS_MAX: usize = 254;

/// Command ids (SMPP 3.4 §5.1.2.1).
pub mod command {
    /// Set in the id of every answer.
    pub const RESPONSE_BIT: u32 = 0x8000_0000;
    /// `generic_nack`.
    pub const GENERIC_NACK: u32 = 0x8000_0000;
    /// `bind_receiver`.
    pub const BIND_RECEIVER: u32 = 0x0000_0001;
    /// `bind_transmitter`.
    pub const BIND_TRANSMITTER: u32 = 0x0000_0002;
    /// `submit_sm`.
    pub const SUBMIT_SM: u32 = 0x0000_0004;
    /// `deliver_sm`.
    pub const DELIVER_SM: u32 = 0x0000_0005;
    /// `unbind`.
    pub const UNBIND: u32 = 0x0000_0006;
    /// `bind_transceiver`.
    pub const BIND_TRANSCEIVER: u32 = 0x0000_0009;
    /// `outbind`.
    pub const OUTBIND: u32 = 0x0000_000B;
    /// `enquire_link`.
    pub const ENQUIRE_LINK: u32 = 0x0000_0015;
    /// `alert_notification`.
    pub const ALERT_NOTIFICATION: u32 = 0x0000_0102;
    /// `data_sm`.
    pub const DATA_SM: u32 = 0x0000_0103;
    /// `submit_sm_resp`.
    pub const SUBMIT_SM_RESP: u32 = SUBMIT_SM | RESPONSE_BIT;
    /// `deliver_sm_resp`.
    pub const DELIVER_SM_RESP: u32 = DELIVER_SM | RESPONSE_BIT;
    /// `data_sm_resp`.
    pub const DATA_SM_RESP: u32 = DATA_SM | RESPONSE_BIT;
    /// `unbind_resp`.
    pub const UNBIND_RESP: u32 = UNBIND | RESPONSE_BIT;
    /// `enquire_link_resp`.
    pub const ENQUIRE_LINK_RESP: u32 = ENQUIRE_LINK | RESPONSE_BIT;
}

/// Tags of optional parameters (SMPP 3.4 §5.3.2), those a gateway meets.
pub mod tag {
    /// Seconds the message is worth keeping (`qos_time_to_live`).
    pub const QOS_TIME_TO_LIVE: u16 = 0x0017;
    /// Text about why an answer is an error.
    pub const ADDITIONAL_STATUS_INFO_TEXT: u16 = 0x001D;
    /// The id of the message a receipt is about.
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    /// A number of the sender's choice, 16 bit, which some carriers echo in the receipt.
    pub const USER_MESSAGE_REFERENCE: u16 = 0x0204;
    /// Source port.
    pub const SOURCE_PORT: u16 = 0x020A;
    /// Destination port.
    pub const DESTINATION_PORT: u16 = 0x020B;
    /// Reference of a concatenated message.
    pub const SAR_MSG_REF_NUM: u16 = 0x020C;
    /// Number of parts of a concatenated message.
    pub const SAR_TOTAL_SEGMENTS: u16 = 0x020E;
    /// Which part of a concatenated message this is.
    pub const SAR_SEGMENT_SEQNUM: u16 = 0x020F;
    /// The SMPP version the carrier speaks, in a bind answer.
    pub const SC_INTERFACE_VERSION: u16 = 0x0210;
    /// One octet of network type and two of error code.
    pub const NETWORK_ERROR_CODE: u16 = 0x0423;
    /// The message, when it isn't in `short_message`.
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    /// Why a delivery failed.
    pub const DELIVERY_FAILURE_REASON: u16 = 0x0425;
    /// More messages follow.
    pub const MORE_MESSAGES_TO_SEND: u16 = 0x0426;
    /// State of the message in a receipt, one octet.
    pub const MESSAGE_STATE: u16 = 0x0427;
}

/// An address with its type of number and numbering plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Address {
    /// Type of number (SMPP 3.4 §5.2.5): 0 unknown, 1 international, 2 national, 3 network specific, 5 alphanumeric.
    pub ton: u8,
    /// Numbering plan (SMPP 3.4 §5.2.6): 0 unknown, 1 E.164.
    pub npi: u8,
    /// Digits or letters, at most 20 octets when sent.
    pub value: String,
}

impl Address {
    /// An address of these three.
    pub fn new(ton: u8, npi: u8, value: impl Into<String>) -> Self {
        Self { ton, npi, value: value.into() }
    }
}

/// An optional parameter. `tag` holds the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlv {
    /// Which parameter (see [`tag`]).
    pub tag: u16,
    /// Its value as it is on the wire, at most 65,535 octets.
    pub value: Vec<u8>,
}

impl Tlv {
    /// A parameter with this value.
    pub fn new(tag: u16, value: impl Into<Vec<u8>>) -> Self {
        Self { tag, value: value.into() }
    }
}

/// The first parameter with that tag.
#[must_use]
pub fn find_tlv(tlvs: &[Tlv], tag: u16) -> Option<&[u8]> {
    tlvs.iter().find(|tlv| tlv.tag == tag).map(|tlv| tlv.value.as_slice())
}

/// Which directions a bind allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindMode {
    /// The client submits only.
    Transmitter,
    /// The client receives only.
    Receiver,
    /// Both.
    Transceiver,
}

impl BindMode {
    const fn command_id(self) -> u32 {
        match self {
            Self::Transmitter => command::BIND_TRANSMITTER,
            Self::Receiver => command::BIND_RECEIVER,
            Self::Transceiver => command::BIND_TRANSCEIVER,
        }
    }

    /// The client of such a bind may submit.
    #[must_use]
    pub const fn submits(self) -> bool {
        matches!(self, Self::Transmitter | Self::Transceiver)
    }

    /// The client of such a bind is delivered to.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::Receiver | Self::Transceiver)
    }
}

/// A request to bind (SMPP 3.4 §4.1). `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    /// Which directions.
    pub mode: BindMode,
    /// Who binds. The specification allows 15 octets; more are sent and taken, as carriers do.
    pub system_id: String,
    /// Password. The specification allows 8 octets; more are sent and taken, as carriers do.
    pub password: String,
    /// Usually empty.
    pub system_type: String,
    /// 0x34 for SMPP 3.4.
    pub interface_version: u8,
    /// TON, NPI and range of the addresses served; usually 0, 0 and empty.
    pub address_range: Address,
}

impl Bind {
    /// A bind as most carriers want it: SMPP 3.4, no system type, no address range.
    pub fn new(mode: BindMode, system_id: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            mode,
            system_id: system_id.into(),
            password: password.into(),
            system_type: String::new(),
            interface_version: 0x34,
            address_range: Address::default(),
        }
    }
}

impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bind")
            .field("mode", &self.mode)
            .field("system_id", &self.system_id)
            .field("password", &"•••")
            .field("system_type", &self.system_type)
            .field("interface_version", &self.interface_version)
            .field("address_range", &self.address_range)
            .finish()
    }
}

/// `submit_sm` (SMPP 3.4 §4.4.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmitSm {
    /// Usually empty; at most 5 octets.
    pub service_type: String,
    /// Sender.
    pub source: Address,
    /// Recipient.
    pub destination: Address,
    /// Mode, type and features (`data_coding::ESM_*`).
    pub esm_class: u8,
    /// 3GPP protocol identifier.
    pub protocol_id: u8,
    /// 0 to 3.
    pub priority_flag: u8,
    /// Empty for now, else 16 characters (SMPP 3.4 §7.1.1).
    pub schedule_delivery_time: String,
    /// Empty for the carrier's default, else 16 characters (SMPP 3.4 §7.1.1).
    pub validity_period: String,
    /// Which receipts are wanted (`data_coding::RECEIPT_*`).
    pub registered_delivery: u8,
    /// 1 replaces a waiting message of the same source, destination and service type.
    pub replace_if_present: u8,
    /// Alphabet and class (see [`crate::data_coding::classify`]).
    pub data_coding: u8,
    /// Predefined message of the carrier; 0 for none.
    pub default_message_id: u8,
    /// At most 254 octets; empty when [`tag::MESSAGE_PAYLOAD`] is used.
    pub short_message: Vec<u8>,
    /// Optional parameters in the order of the wire.
    pub tlvs: Vec<Tlv>,
}

/// `deliver_sm` (SMPP 3.4 §4.6.1), or `data_sm` from the carrier turned into its shape.
///
/// The fields the specification sets to null in this direction (schedule, validity, replace, predefined
/// message) are read and dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliverSm {
    /// Usually empty.
    pub service_type: String,
    /// Who sent the message; in a receipt, the recipient of ours.
    pub source: Address,
    /// Whom it is for; in a receipt, the sender of ours.
    pub destination: Address,
    /// Type and features (`data_coding::ESM_*`).
    pub esm_class: u8,
    /// 3GPP protocol identifier.
    pub protocol_id: u8,
    /// Priority.
    pub priority_flag: u8,
    /// Which acknowledgements are wanted.
    pub registered_delivery: u8,
    /// Alphabet and class (see [`crate::data_coding::classify`]).
    pub data_coding: u8,
    /// The text's octets, unless they are in [`tag::MESSAGE_PAYLOAD`].
    pub short_message: Vec<u8>,
    /// Optional parameters in the order of the wire.
    pub tlvs: Vec<Tlv>,
}

/// `data_sm` (SMPP 3.4 §4.7.1); its message is in [`tag::MESSAGE_PAYLOAD`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataSm {
    /// Usually empty.
    pub service_type: String,
    /// Sender.
    pub source: Address,
    /// Recipient.
    pub destination: Address,
    /// Type and features (`data_coding::ESM_*`).
    pub esm_class: u8,
    /// Which receipts are wanted.
    pub registered_delivery: u8,
    /// Alphabet and class.
    pub data_coding: u8,
    /// Optional parameters in the order of the wire.
    pub tlvs: Vec<Tlv>,
}

impl SubmitSm {
    /// The message's octets, wherever they are: `short_message`, or `message_payload` when that is empty.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        payload(&self.short_message, &self.tlvs)
    }
}

impl DeliverSm {
    /// The message's octets, wherever they are: `short_message`, or `message_payload` when that is empty.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        payload(&self.short_message, &self.tlvs)
    }

    /// The first optional parameter with that tag.
    #[must_use]
    pub fn tlv(&self, tag: u16) -> Option<&[u8]> {
        find_tlv(&self.tlvs, tag)
    }
}

fn payload<'a>(short_message: &'a [u8], tlvs: &'a [Tlv]) -> &'a [u8] {
    if short_message.is_empty() {
        find_tlv(tlvs, tag::MESSAGE_PAYLOAD).unwrap_or_default()
    } else {
        short_message
    }
}

impl From<DataSm> for DeliverSm {
    fn from(data: DataSm) -> Self {
        Self {
            service_type: data.service_type,
            source: data.source,
            destination: data.destination,
            esm_class: data.esm_class,
            registered_delivery: data.registered_delivery,
            data_coding: data.data_coding,
            tlvs: data.tlvs,
            ..Self::default()
        }
    }
}

impl From<DataSm> for SubmitSm {
    fn from(data: DataSm) -> Self {
        Self {
            service_type: data.service_type,
            source: data.source,
            destination: data.destination,
            esm_class: data.esm_class,
            registered_delivery: data.registered_delivery,
            data_coding: data.data_coding,
            tlvs: data.tlvs,
            ..Self::default()
        }
    }
}

/// One PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdu {
    /// `command_status`; 0 in requests.
    pub status: u32,
    /// `sequence_number`, by which an answer finds its request.
    pub sequence: u32,
    /// What it is.
    pub body: Body,
}

/// The PDUs this crate reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `generic_nack`.
    GenericNack,
    /// One of the three bind requests.
    Bind(Bind),
    /// The answer to a bind.
    BindResp {
        /// Which of the three.
        mode: BindMode,
        /// The carrier's name for itself; empty in most refusals.
        system_id: String,
        /// Optional parameters, of which [`tag::SC_INTERFACE_VERSION`] is usual.
        tlvs: Vec<Tlv>,
    },
    /// `outbind`: the carrier asks us to bind. Read so that it isn't an unknown command; otherwise ignored.
    Outbind,
    /// `unbind`.
    Unbind,
    /// `unbind_resp`.
    UnbindResp,
    /// `enquire_link`.
    EnquireLink,
    /// `enquire_link_resp`.
    EnquireLinkResp,
    /// `alert_notification`: needs no answer, its content isn't read.
    AlertNotification,
    /// `submit_sm`.
    SubmitSm(SubmitSm),
    /// `submit_sm_resp`.
    SubmitSmResp {
        /// The carrier's id of the message; empty in most errors.
        message_id: String,
    },
    /// `deliver_sm`.
    DeliverSm(DeliverSm),
    /// `deliver_sm_resp`.
    DeliverSmResp,
    /// `data_sm`.
    DataSm(DataSm),
    /// `data_sm_resp`.
    DataSmResp {
        /// Id of the message; empty in most errors.
        message_id: String,
    },
}

impl Body {
    /// The `command_id` of this PDU.
    #[must_use]
    pub const fn command_id(&self) -> u32 {
        match self {
            Self::GenericNack => command::GENERIC_NACK,
            Self::Bind(bind) => bind.mode.command_id(),
            Self::BindResp { mode, .. } => mode.command_id() | command::RESPONSE_BIT,
            Self::Outbind => command::OUTBIND,
            Self::Unbind => command::UNBIND,
            Self::UnbindResp => command::UNBIND_RESP,
            Self::EnquireLink => command::ENQUIRE_LINK,
            Self::EnquireLinkResp => command::ENQUIRE_LINK_RESP,
            Self::AlertNotification => command::ALERT_NOTIFICATION,
            Self::SubmitSm(_) => command::SUBMIT_SM,
            Self::SubmitSmResp { .. } => command::SUBMIT_SM_RESP,
            Self::DeliverSm(_) => command::DELIVER_SM,
            Self::DeliverSmResp => command::DELIVER_SM_RESP,
            Self::DataSm(_) => command::DATA_SM,
            Self::DataSmResp { .. } => command::DATA_SM_RESP,
        }
    }
}

/// A `command_length` below 16 or above [`PDU_OCTETS_MAX`]: the position in the stream is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command_length {0} is outside 16..=65536")]
pub struct InvalidLength(pub u32);

/// A whole PDU that could not be read. The stream goes on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Its command id.
    pub command_id: u32,
    /// Its sequence number.
    pub sequence: u32,
    /// The `command_status` an answer should carry.
    pub status: u32,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A PDU that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// A text field is longer than SMPP allows.
    #[error("{field} is longer than {octets_max} octets")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Its bound.
        octets_max: usize,
    },
    /// A text field has NUL, or a character that isn't in ISO 8859-1.
    #[error("{0} has a character that cannot be sent")]
    Character(&'static str),
    /// The whole PDU is over [`PDU_OCTETS_MAX`].
    #[error("the PDU is longer than 65536 octets")]
    Pdu,
}

/// How long the PDU at the start of `octets` is; `None` until its length has arrived.
///
/// The caller waits until that many octets are there and gives exactly those to [`decode`].
///
/// # Errors
/// The length is outside 16..=65536; nothing behind it can be read.
pub fn frame_length(octets: &[u8]) -> Result<Option<usize>, InvalidLength> {
    let Some(length) = octets.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(whole) if (HEADER_OCTETS..=PDU_OCTETS_MAX).contains(&whole) => Ok(Some(whole)),
        _ => Err(InvalidLength(length)),
    }
}

/// Reads one whole PDU, as cut by [`frame_length`].
///
/// Answers are read leniently: whatever is wrong with their body, status and sequence survive. Requests
/// must have all mandatory fields, but no field is refused for its length or characters.
///
/// # Errors
/// The command is unknown, or a mandatory field is missing or reaches beyond the PDU, or the optional
/// parameters do.
pub fn decode(pdu: &[u8]) -> Result<Pdu, Malformed> {
    let mut read = Reader { left: pdu };
    let (Some(_length), Some(command_id), Some(status), Some(sequence)) =
        (read.u32(), read.u32(), read.u32(), read.u32())
    else {
        return Err(Malformed {
            command_id: 0,
            sequence: 0,
            status: status::ESME_RINVCMDLEN,
            reason: "shorter than a header",
        });
    };
    match read.body(command_id) {
        Ok(body) => Ok(Pdu { status, sequence, body }),
        Err((status, reason)) => Err(Malformed { command_id, sequence, status, reason }),
    }
}

impl Malformed {
    /// The PDU to answer with: the matching answer when the request is one we know, else `generic_nack`;
    /// `None` for answers, because two ends nacking each other's nacks never come to rest, and for the
    /// one-way PDUs.
    #[must_use]
    pub fn refusal(&self) -> Option<Pdu> {
        let body = match self.command_id {
            command::SUBMIT_SM => Body::SubmitSmResp { message_id: String::new() },
            command::DELIVER_SM => Body::DeliverSmResp,
            command::DATA_SM => Body::DataSmResp { message_id: String::new() },
            command::BIND_TRANSMITTER => bind_refusal(BindMode::Transmitter),
            command::BIND_RECEIVER => bind_refusal(BindMode::Receiver),
            command::BIND_TRANSCEIVER => bind_refusal(BindMode::Transceiver),
            command::OUTBIND | command::ALERT_NOTIFICATION => return None,
            id if id & command::RESPONSE_BIT != 0 => return None,
            _ => Body::GenericNack,
        };
        Some(Pdu { status: self.status, sequence: self.sequence, body })
    }
}

fn bind_refusal(mode: BindMode) -> Body {
    Body::BindResp { mode, system_id: String::new(), tlvs: Vec::new() }
}

type Refused = (u32, &'static str);

const MISSING: Refused = (status::ESME_RINVPARLEN, "a mandatory field is missing");
const UNTERMINATED: Refused = (status::ESME_RINVPARLEN, "a text field has no end");
const BEYOND: Refused = (status::ESME_RINVMSGLEN, "sm_length reaches beyond the PDU");
const BROKEN_TLV: Refused = (status::ESME_RINVMSGLEN, "an optional parameter reaches beyond the PDU");
const UNKNOWN_COMMAND: Refused = (status::ESME_RINVCMDID, "unknown command id");

struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn body(&mut self, command_id: u32) -> Result<Body, Refused> {
        let bind_resp = |mode, reader: &mut Self| Body::BindResp {
            mode,
            system_id: reader.lenient_text(),
            tlvs: reader.tlvs().unwrap_or_default(),
        };
        Ok(match command_id {
            command::SUBMIT_SM_RESP => Body::SubmitSmResp { message_id: self.lenient_text() },
            command::DELIVER_SM => Body::DeliverSm(self.deliver_sm()?),
            command::SUBMIT_SM => Body::SubmitSm(self.submit_sm()?),
            command::DELIVER_SM_RESP => Body::DeliverSmResp,
            command::ENQUIRE_LINK => Body::EnquireLink,
            command::ENQUIRE_LINK_RESP => Body::EnquireLinkResp,
            command::DATA_SM => Body::DataSm(self.data_sm()?),
            command::DATA_SM_RESP => Body::DataSmResp { message_id: self.lenient_text() },
            command::GENERIC_NACK => Body::GenericNack,
            command::UNBIND => Body::Unbind,
            command::UNBIND_RESP => Body::UnbindResp,
            command::OUTBIND => Body::Outbind,
            command::ALERT_NOTIFICATION => Body::AlertNotification,
            command::BIND_TRANSMITTER => Body::Bind(self.bind(BindMode::Transmitter)?),
            command::BIND_RECEIVER => Body::Bind(self.bind(BindMode::Receiver)?),
            command::BIND_TRANSCEIVER => Body::Bind(self.bind(BindMode::Transceiver)?),
            BIND_TRANSMITTER_RESP => bind_resp(BindMode::Transmitter, self),
            BIND_RECEIVER_RESP => bind_resp(BindMode::Receiver, self),
            BIND_TRANSCEIVER_RESP => bind_resp(BindMode::Transceiver, self),
            _ => return Err(UNKNOWN_COMMAND),
        })
    }

    fn bind(&mut self, mode: BindMode) -> Result<Bind, Refused> {
        Ok(Bind {
            mode,
            system_id: self.text()?,
            password: self.text()?,
            system_type: self.text()?,
            interface_version: self.octet()?,
            address_range: self.address()?,
        })
    }

    fn submit_sm(&mut self) -> Result<SubmitSm, Refused> {
        Ok(SubmitSm {
            service_type: self.text()?,
            source: self.address()?,
            destination: self.address()?,
            esm_class: self.octet()?,
            protocol_id: self.octet()?,
            priority_flag: self.octet()?,
            schedule_delivery_time: self.text()?,
            validity_period: self.text()?,
            registered_delivery: self.octet()?,
            replace_if_present: self.octet()?,
            data_coding: self.octet()?,
            default_message_id: self.octet()?,
            short_message: self.short_message()?,
            tlvs: self.tlvs()?,
        })
    }

    fn deliver_sm(&mut self) -> Result<DeliverSm, Refused> {
        let service_type = self.text()?;
        let source = self.address()?;
        let destination = self.address()?;
        let esm_class = self.octet()?;
        let protocol_id = self.octet()?;
        let priority_flag = self.octet()?;
        let _schedule_delivery_time = self.text_octets()?;
        let _validity_period = self.text_octets()?;
        let registered_delivery = self.octet()?;
        let _replace_if_present = self.octet()?;
        let data_coding = self.octet()?;
        let _default_message_id = self.octet()?;
        let short_message = self.short_message()?;
        let tlvs = self.tlvs()?;
        Ok(DeliverSm {
            service_type,
            source,
            destination,
            esm_class,
            protocol_id,
            priority_flag,
            registered_delivery,
            data_coding,
            short_message,
            tlvs,
        })
    }

    fn data_sm(&mut self) -> Result<DataSm, Refused> {
        Ok(DataSm {
            service_type: self.text()?,
            source: self.address()?,
            destination: self.address()?,
            esm_class: self.octet()?,
            registered_delivery: self.octet()?,
            data_coding: self.octet()?,
            tlvs: self.tlvs()?,
        })
    }

    fn u32(&mut self) -> Option<u32> {
        let (octets, left) = self.left.split_first_chunk::<4>()?;
        self.left = left;
        Some(u32::from_be_bytes(*octets))
    }

    fn octet(&mut self) -> Result<u8, Refused> {
        let (&octet, left) = self.left.split_first().ok_or(MISSING)?;
        self.left = left;
        Ok(octet)
    }

    fn address(&mut self) -> Result<Address, Refused> {
        Ok(Address { ton: self.octet()?, npi: self.octet()?, value: self.text()? })
    }

    fn text_octets(&mut self) -> Result<&'a [u8], Refused> {
        let end = self.left.iter().position(|&octet| octet == 0).ok_or(UNTERMINATED)?;
        let text = &self.left[..end];
        self.left = &self.left[end + 1..];
        Ok(text)
    }

    fn text(&mut self) -> Result<String, Refused> {
        self.text_octets().map(latin_1)
    }

    /// For answers: up to NUL, else everything there is.
    fn lenient_text(&mut self) -> String {
        match self.text_octets() {
            Ok(text) => latin_1(text),
            Err(_) => latin_1(std::mem::take(&mut self.left)),
        }
    }

    fn short_message(&mut self) -> Result<Vec<u8>, Refused> {
        let length = usize::from(self.octet()?);
        let (message, left) = self.left.split_at_checked(length).ok_or(BEYOND)?;
        self.left = left;
        Ok(message.to_vec())
    }

    fn tlvs(&mut self) -> Result<Vec<Tlv>, Refused> {
        let mut tlvs = Vec::new();
        while let Some((head, left)) = self.left.split_first_chunk::<4>() {
            let tag = u16::from_be_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (value, left) = left.split_at_checked(length).ok_or(BROKEN_TLV)?;
            tlvs.push(Tlv { tag, value: value.to_vec() });
            self.left = left;
        }
        // Some carriers pad the PDU with NUL; anything else is the rest of a parameter that was cut.
        if self.left.iter().any(|&octet| octet != 0) { Err(BROKEN_TLV) } else { Ok(tlvs) }
    }
}

const BIND_TRANSMITTER_RESP: u32 = command::BIND_TRANSMITTER | command::RESPONSE_BIT;
const BIND_RECEIVER_RESP: u32 = command::BIND_RECEIVER | command::RESPONSE_BIT;
const BIND_TRANSCEIVER_RESP: u32 = command::BIND_TRANSCEIVER | command::RESPONSE_BIT;

fn latin_1(octets: &[u8]) -> String {
    if octets.is_ascii() {
        String::from_utf8(octets.to_vec()).expect("ASCII is UTF-8")
    } else {
        octets.iter().map(|&octet| char::from(octet)).collect()
    }
}

/// Writes one PDU behind what `out` holds. On an error `out` is as before.
///
/// Requests are held to the specification's field lengths. Answers aren't: the carrier simulator must be
/// able to send what real carriers send.
///
/// # Errors
/// A field is too long or has a character that cannot be sent.
pub fn encode(pdu: &Pdu, out: &mut BytesMut) -> Result<(), Unencodable> {
    let start = out.len();
    out.reserve(HEADER_OCTETS + 256);
    out.put_u32(0);
    out.put_u32(pdu.body.command_id());
    out.put_u32(pdu.status);
    out.put_u32(pdu.sequence);
    let written = write_body(pdu, out).and_then(|()| {
        let length = out.len() - start;
        if length > PDU_OCTETS_MAX { Err(Unencodable::Pdu) } else { Ok(length) }
    });
    match written {
        Ok(length) => {
            let length = u32::try_from(length).expect("at most PDU_OCTETS_MAX");
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

const SERVICE_TYPE_MAX: usize = 5;
const ADDRESS_MAX: usize = 20;
const TIME_MAX: usize = 16;
// The specification says 15, 8, 12 and 40 for a bind; carriers hand out longer passwords.
const BIND_FIELD_MAX: usize = 255;
const ANSWER_FIELD_MAX: usize = 4096;

fn write_body(pdu: &Pdu, out: &mut BytesMut) -> Result<(), Unencodable> {
    match &pdu.body {
        Body::SubmitSm(sm) => {
            put_text(out, "service_type", &sm.service_type, SERVICE_TYPE_MAX)?;
            put_address(out, "source_addr", &sm.source)?;
            put_address(out, "destination_addr", &sm.destination)?;
            out.put_slice(&[sm.esm_class, sm.protocol_id, sm.priority_flag]);
            put_text(out, "schedule_delivery_time", &sm.schedule_delivery_time, TIME_MAX)?;
            put_text(out, "validity_period", &sm.validity_period, TIME_MAX)?;
            out.put_slice(&[
                sm.registered_delivery,
                sm.replace_if_present,
                sm.data_coding,
                sm.default_message_id,
            ]);
            put_short_message(out, &sm.short_message)?;
            put_tlvs(out, &sm.tlvs)
        }
        Body::DeliverSm(sm) => {
            put_text(out, "service_type", &sm.service_type, SERVICE_TYPE_MAX)?;
            put_address(out, "source_addr", &sm.source)?;
            put_address(out, "destination_addr", &sm.destination)?;
            out.put_slice(&[sm.esm_class, sm.protocol_id, sm.priority_flag, 0, 0]);
            out.put_slice(&[sm.registered_delivery, 0, sm.data_coding, 0]);
            put_short_message(out, &sm.short_message)?;
            put_tlvs(out, &sm.tlvs)
        }
        Body::DataSm(sm) => {
            put_text(out, "service_type", &sm.service_type, SERVICE_TYPE_MAX)?;
            put_address(out, "source_addr", &sm.source)?;
            put_address(out, "destination_addr", &sm.destination)?;
            out.put_slice(&[sm.esm_class, sm.registered_delivery, sm.data_coding]);
            put_tlvs(out, &sm.tlvs)
        }
        // An error answer has no body (SMPP 3.4 §4.4.2), except that some carriers want the NUL of an empty id.
        Body::SubmitSmResp { message_id } | Body::DataSmResp { message_id } => {
            if pdu.status != status::ESME_ROK && message_id.is_empty() {
                return Ok(());
            }
            put_text(out, "message_id", message_id, ANSWER_FIELD_MAX)
        }
        Body::DeliverSmResp => {
            out.put_u8(0);
            Ok(())
        }
        Body::Bind(bind) => {
            put_text(out, "system_id", &bind.system_id, BIND_FIELD_MAX)?;
            put_text(out, "password", &bind.password, BIND_FIELD_MAX)?;
            put_text(out, "system_type", &bind.system_type, BIND_FIELD_MAX)?;
            out.put_slice(&[bind.interface_version, bind.address_range.ton, bind.address_range.npi]);
            put_text(out, "address_range", &bind.address_range.value, BIND_FIELD_MAX)
        }
        Body::BindResp { system_id, tlvs, .. } => {
            if pdu.status != status::ESME_ROK && system_id.is_empty() {
                return Ok(());
            }
            put_text(out, "system_id", system_id, ANSWER_FIELD_MAX)?;
            put_tlvs(out, tlvs)
        }
        // The content of these two isn't kept, and this crate never has a reason to send them.
        Body::Outbind => {
            out.put_slice(&[0, 0]);
            Ok(())
        }
        Body::AlertNotification => {
            out.put_slice(&[0; 6]);
            Ok(())
        }
        Body::GenericNack | Body::Unbind | Body::UnbindResp | Body::EnquireLink | Body::EnquireLinkResp => {
            Ok(())
        }
    }
}

fn put_text(
    out: &mut BytesMut,
    field: &'static str,
    text: &str,
    octets_max: usize,
) -> Result<(), Unencodable> {
    if text.is_ascii() {
        if text.len() > octets_max {
            return Err(Unencodable::TooLong { field, octets_max });
        }
        if text.as_bytes().contains(&0) {
            return Err(Unencodable::Character(field));
        }
        out.put_slice(text.as_bytes());
    } else {
        if text.chars().count() > octets_max {
            return Err(Unencodable::TooLong { field, octets_max });
        }
        for character in text.chars() {
            match u8::try_from(u32::from(character)) {
                Ok(octet) if octet != 0 => out.put_u8(octet),
                _ => return Err(Unencodable::Character(field)),
            }
        }
    }
    out.put_u8(0);
    Ok(())
}

fn put_address(out: &mut BytesMut, field: &'static str, address: &Address) -> Result<(), Unencodable> {
    out.put_slice(&[address.ton, address.npi]);
    put_text(out, field, &address.value, ADDRESS_MAX)
}

fn put_short_message(out: &mut BytesMut, message: &[u8]) -> Result<(), Unencodable> {
    if message.len() > SHORT_MESSAGE_OCTETS_MAX {
        return Err(Unencodable::TooLong { field: "short_message", octets_max: SHORT_MESSAGE_OCTETS_MAX });
    }
    out.put_u8(u8::try_from(message.len()).expect("at most 254"));
    out.put_slice(message);
    Ok(())
}

fn put_tlvs(out: &mut BytesMut, tlvs: &[Tlv]) -> Result<(), Unencodable> {
    for tlv in tlvs {
        let length = u16::try_from(tlv.value.len()).map_err(|_| Unencodable::Pdu)?;
        out.put_u16(tlv.tag);
        out.put_u16(length);
        out.put_slice(&tlv.value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn encoded(pdu: &Pdu) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(pdu, &mut out).unwrap();
        out.to_vec()
    }

    fn pdu(sequence: u32, status: u32, body: Body) -> Pdu {
        Pdu { status, sequence, body }
    }

    #[test]
    fn pdus_have_the_octets_of_the_specification() {
        let check = |hex: &str, meaning: Pdu| {
            assert_eq!(decode(&octets(hex)), Ok(meaning.clone()), "reading {hex}");
            assert_eq!(encoded(&meaning), octets(hex), "writing {meaning:?}");
        };
        // The example of SMPP 3.4 §3.2.3: "SMPP3TEST" binds as transmitter, password "secret08", type "SUBMIT1".
        check(
            "0000002F 00000002 00000000 00000001 534D50503354455354 00 7365637265743038 00 5355424D495431 00 34 01 01 00",
            pdu(
                1,
                0,
                Body::Bind(Bind {
                    system_type: "SUBMIT1".into(),
                    address_range: Address::new(1, 1, ""),
                    interface_version: 0x34,
                    ..Bind::new(BindMode::Transmitter, "SMPP3TEST", "secret08")
                }),
            ),
        );
        check(
            "0000001A 80000009 00000000 00000001 736D7363 00 0210 0001 34",
            pdu(
                1,
                0,
                Body::BindResp {
                    mode: BindMode::Transceiver,
                    system_id: "smsc".into(),
                    tlvs: vec![Tlv::new(tag::SC_INTERFACE_VERSION, [0x34])],
                },
            ),
        );
        check(
            "00000010 80000002 0000000E 00000001",
            pdu(
                1,
                status::ESME_RINVPASWD,
                Body::BindResp { mode: BindMode::Transmitter, system_id: String::new(), tlvs: vec![] },
            ),
        );
        check(
            "00000040 00000004 00000000 00000002
             00  05 00 5469 00  01 01 3436373031 00  40 00 01
             00  303030303031303030303030303030 5200
             01 00 08 00  02 263A  0204 0002 002A",
            pdu(
                2,
                0,
                Body::SubmitSm(SubmitSm {
                    source: Address::new(5, 0, "Ti"),
                    destination: Address::new(1, 1, "46701"),
                    esm_class: 0x40,
                    priority_flag: 1,
                    validity_period: "000001000000000R".into(),
                    registered_delivery: 1,
                    data_coding: 8,
                    short_message: vec![0x26, 0x3A],
                    tlvs: vec![Tlv::new(tag::USER_MESSAGE_REFERENCE, [0, 42])],
                    ..SubmitSm::default()
                }),
            ),
        );
        check(
            "00000013 80000004 00000000 00000002 3741 00",
            pdu(2, 0, Body::SubmitSmResp { message_id: "7A".into() }),
        );
        check(
            "00000010 80000004 00000058 00000002",
            pdu(2, status::ESME_RTHROTTLED, Body::SubmitSmResp { message_id: String::new() }),
        );
        check(
            "0000002B 00000005 00000000 00000003
             00  01 01 3436 00  00 00 31 00  04 00 00  00 00  00 00 00 00  02 6869  0427 0001 02",
            pdu(
                3,
                0,
                Body::DeliverSm(DeliverSm {
                    source: Address::new(1, 1, "46"),
                    destination: Address::new(0, 0, "1"),
                    esm_class: 4,
                    short_message: b"hi".to_vec(),
                    tlvs: vec![Tlv::new(tag::MESSAGE_STATE, [2])],
                    ..DeliverSm::default()
                }),
            ),
        );
        check("00000011 80000005 00000000 00000003 00", pdu(3, 0, Body::DeliverSmResp));
        check(
            "00000021 00000103 00000000 00000004 00 0100 3100 0100 3200 00 00 00 0424 0001 41",
            pdu(
                4,
                0,
                Body::DataSm(DataSm {
                    source: Address::new(1, 0, "1"),
                    destination: Address::new(1, 0, "2"),
                    tlvs: vec![Tlv::new(tag::MESSAGE_PAYLOAD, *b"A")],
                    ..DataSm::default()
                }),
            ),
        );
        check("00000010 00000015 00000000 00000005", pdu(5, 0, Body::EnquireLink));
        check("00000010 80000015 00000000 00000005", pdu(5, 0, Body::EnquireLinkResp));
        check("00000010 00000006 00000000 00000006", pdu(6, 0, Body::Unbind));
        check("00000010 80000006 00000000 00000006", pdu(6, 0, Body::UnbindResp));
        check("00000010 80000000 00000003 00000007", pdu(7, 3, Body::GenericNack));
    }

    #[test]
    fn careless_answers_still_give_status_and_id() {
        let check = |hex: &str, status: u32, id: &str| {
            let meaning = pdu(2, status, Body::SubmitSmResp { message_id: id.to_owned() });
            assert_eq!(decode(&octets(hex)), Ok(meaning), "{hex}");
        };
        check("00000010 80000004 00000000 00000002", 0, "");
        check("00000012 80000004 00000000 00000002 3741", 0, "7A");
        check("00000013 80000004 00000008 00000002 E9FF 00", 8, "\u{e9}\u{ff}");
        check("00000015 80000004 00000000 00000002 3741 00 0204", 0, "7A");
        let long = "41".repeat(70);
        check(&format!("00000057 80000004 00000000 00000002 {long} 00"), 0, &"A".repeat(70));
    }

    #[test]
    fn what_cannot_be_read_is_answered_as_it_should_be() {
        let check = |hex: &str, status: u32, answer: Option<&str>| {
            let malformed = decode(&octets(hex)).unwrap_err();
            assert_eq!(malformed.status, status, "{hex}");
            let refusal = malformed.refusal().map(|pdu| encoded(&pdu));
            assert_eq!(refusal, answer.map(octets), "{hex}");
        };
        // sm_length reaches beyond the PDU; a cut parameter; a cut field; a field without an end.
        let head = "00000004 00000000 00000009 00 0000 3100 0000 3200 000000 00 00 00000000";
        check(&format!("00000026 {head} FF"), 1, Some("00000010 80000004 00000001 00000009"));
        check(&format!("0000002A {head} 00 0424 0005"), 1, Some("00000010 80000004 00000001 00000009"));
        check(
            "00000014 00000005 00000000 00000009 00 000031",
            0xC2,
            Some("00000011 80000005 000000C2 00000009 00"),
        );
        check("00000012 00000009 00000000 00000009 4141", 0xC2, Some("00000010 80000009 000000C2 00000009"));
        // Unknown: a request gets generic_nack, an answer nothing.
        check("00000010 00000111 00000000 00000009", 3, Some("00000010 80000000 00000003 00000009"));
        check("00000010 80000111 00000000 00000009", 3, None);
        // Known to SMPP, not served here: query_sm.
        check("00000010 00000003 00000000 00000009", 3, Some("00000010 80000000 00000003 00000009"));
    }

    #[test]
    fn lengths_outside_the_bounds_are_refused() {
        let check = |hex: &str, expected| assert_eq!(frame_length(&octets(hex)), expected, "{hex}");
        check("", Ok(None));
        check("000000", Ok(None));
        check("00000010", Ok(Some(16)));
        check("00010000", Ok(Some(65_536)));
        check("00000000", Err(InvalidLength(0)));
        check("0000000F", Err(InvalidLength(15)));
        check("00010001", Err(InvalidLength(65_537)));
        check("FFFFFFFF", Err(InvalidLength(u32::MAX)));
        check("48545450", Err(InvalidLength(0x4854_5450)));
    }

    #[test]
    fn what_cannot_be_written_leaves_the_buffer_as_it_was() {
        let check = |submit: SubmitSm, expected: Unencodable| {
            let mut out = BytesMut::from(&b"before"[..]);
            assert_eq!(encode(&pdu(1, 0, Body::SubmitSm(submit)), &mut out), Err(expected));
            assert_eq!(&out[..], b"before");
        };
        let destination =
            |value: &str| SubmitSm { destination: Address::new(1, 1, value), ..SubmitSm::default() };
        check(
            destination("123456789012345678901"),
            Unencodable::TooLong { field: "destination_addr", octets_max: 20 },
        );
        check(destination("1\u{0}2"), Unencodable::Character("destination_addr"));
        check(destination("жжж"), Unencodable::Character("destination_addr"));
        check(
            SubmitSm { short_message: vec![0; 255], ..SubmitSm::default() },
            Unencodable::TooLong { field: "short_message", octets_max: 254 },
        );
        check(
            SubmitSm { tlvs: vec![Tlv::new(tag::MESSAGE_PAYLOAD, vec![0; 65_535])], ..SubmitSm::default() },
            Unencodable::Pdu,
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", Bind::new(BindMode::Receiver, "me", "hunter2")).contains("hunter2"));
    }

    fn text(max: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(1u8..=255, 0..=max)
            .prop_map(|octets| octets.into_iter().map(char::from).collect())
    }

    fn address() -> impl Strategy<Value = Address> {
        (any::<u8>(), any::<u8>(), text(20)).prop_map(|(ton, npi, value)| Address { ton, npi, value })
    }

    fn tlvs() -> impl Strategy<Value = Vec<Tlv>> {
        let tlv = (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..40));
        proptest::collection::vec(tlv.prop_map(|(tag, value)| Tlv { tag, value }), 0..4)
    }

    fn body() -> impl Strategy<Value = Body> {
        let message = proptest::collection::vec(any::<u8>(), 0..=254);
        let submit = (
            (text(5), address(), address(), any::<[u8; 7]>()),
            (text(16), text(16), message.clone(), tlvs()),
        );
        let submit = submit.prop_map(
            |((service_type, source, destination, o), (schedule, validity, message, tlvs))| {
                Body::SubmitSm(SubmitSm {
                    service_type,
                    source,
                    destination,
                    esm_class: o[0],
                    protocol_id: o[1],
                    priority_flag: o[2],
                    schedule_delivery_time: schedule,
                    validity_period: validity,
                    registered_delivery: o[3],
                    replace_if_present: o[4],
                    data_coding: o[5],
                    default_message_id: o[6],
                    short_message: message,
                    tlvs,
                })
            },
        );
        let deliver = (text(5), address(), address(), any::<[u8; 5]>(), message, tlvs());
        let deliver = deliver.prop_map(|(service_type, source, destination, o, short_message, tlvs)| {
            Body::DeliverSm(DeliverSm {
                service_type,
                source,
                destination,
                esm_class: o[0],
                protocol_id: o[1],
                priority_flag: o[2],
                registered_delivery: o[3],
                data_coding: o[4],
                short_message,
                tlvs,
            })
        });
        let answer = text(70).prop_map(|message_id| Body::SubmitSmResp { message_id });
        prop_oneof![submit, deliver, answer, Just(Body::DeliverSmResp), Just(Body::EnquireLink)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(body in body(), sequence: u32) {
            let pdu = Pdu { status: 0, sequence, body };
            let octets = encoded(&pdu);
            prop_assert_eq!(frame_length(&octets), Ok(Some(octets.len())));
            prop_assert_eq!(decode(&octets), Ok(pdu));
        }

        #[test]
        fn a_stream_split_anywhere_gives_the_same_pdus(
            bodies in proptest::collection::vec(body(), 1..5),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut stream = BytesMut::new();
            for body in &bodies {
                encode(&Pdu { status: 0, sequence: 1, body: body.clone() }, &mut stream).unwrap();
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.push(stream.len());
            cuts.sort_unstable();
            let (mut arrived, mut read, mut from) = (Vec::new(), Vec::new(), 0);
            for to in cuts {
                arrived.extend_from_slice(&stream[from..to]);
                from = to;
                while let Ok(Some(length)) = frame_length(&arrived) && arrived.len() >= length {
                    read.push(decode(&arrived[..length]).unwrap().body);
                    arrived.drain(..length);
                }
            }
            prop_assert_eq!(read, bodies);
        }

        #[test]
        fn garbage_never_panics(
            octets in proptest::collection::vec(any::<u8>(), 0..400),
            command in prop_oneof![0u32..0x16, 0x8000_0000u32..0x8000_0016, Just(0x103), any::<u32>()],
        ) {
            let _ = frame_length(&octets);
            let _ = decode(&octets);
            let mut framed = vec![0, 0, 1, 0];
            framed.extend_from_slice(&command.to_be_bytes());
            framed.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            framed.extend_from_slice(&octets);
            if let Err(malformed) = decode(&framed) {
                let _ = malformed.refusal().map(|pdu| encoded(&pdu));
            }
        }

        #[test]
        fn a_damaged_octet_never_panics(body in body(), at: proptest::sample::Index, octet: u8) {
            let mut octets = encoded(&Pdu { status: 0, sequence: 1, body });
            let at = at.index(octets.len());
            octets[at] = octet;
            let _ = decode(&octets);
        }
    }
}

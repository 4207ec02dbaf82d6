//! What a carrier sends: PDUs, sessions, receipts.

use super::{lossy, steer};
use crate::observed::Observed;
use bytes::BytesMut;
use std::collections::BTreeMap;
use tidings_domain::receipt::{self, IdForm};
use tidings_smpp::codec::{self, Bind, BindMode, Body, DeliverSm, Pdu, SubmitSm, Tlv, tag};
use tidings_smpp::receipt_text::{self, Kind, ReceiptDate};
use tidings_smpp::session::{Input, Limits, Output, Request, Role, Session};

/// Heads of PDUs, tags, and what lies where an HTTP server answers.
pub const WORDS: &[&[u8]] = &[
    b"\0\0\0\x10\0\0\0\x15\0\0\0\0\0\0\0\x02",
    b"\0\0\0\x10\x80\0\0\x15\0\0\0\0\0\0\0\x02",
    b"\0\0\0\x10\0\0\0\x06\0\0\0\0\0\0\0\x02",
    b"\0\0\0\x10\x80\0\0\x06\0\0\0\0\0\0\0\x02",
    b"\0\0\0\x10\x80\0\0\0\0\0\0\x03\0\0\0\x02",
    b"\0\0\0\x12\x80\0\0\x04\0\0\0\0\0\0\0\x02a\0",
    b"\0\0\0\x12\x80\0\0\x04\0\0\0\0\0\0\0\x03b\0",
    b"\0\0\0\x11\x80\0\0\x09\0\0\0\0\0\0\0\x01\0",
    b"\0\0\0\x05",
    b"\0\0\0\x04",
    b"\0\0\x01\x03",
    b"\x00\x1e\x00\x04abc\0",
    b"\x04\x24\x00\x03abc",
    b"\x04\x27\x00\x01\x02",
    b"\x02\x04\x00\x02\x00\x07",
    b"\x04\x23\x00\x03\x03\x00\x01",
    b"HTTP/1.1 200 OK\r\n\r\n",
];

/// Keys and words of receipts.
pub const RECEIPT_WORDS: &[&[u8]] = &[
    b"id:",
    b"sub:001 ",
    b"dlvrd:001 ",
    b"submit date:2611231544 ",
    b"done date:2611231545 ",
    b"stat:DELIVRD ",
    b"stat:UNDELIV ",
    b"err:000 ",
    b"text:",
    b" ID = ",
    b"message_id=",
    b"status:",
    b";",
    b",",
    b"smsc:1 ",
    b"0x",
    b"00000000",
    b"ffffffffffffffff",
    b"18446744073709551615",
    b"\0",
    b"\xC3\xA9",
];

/// Octets that a PDU may take in memory for each octet on the wire: an empty optional parameter has 4 and becomes 32.
const MEMORY_FACTOR: usize = 8;
/// What every PDU takes beside that.
const MEMORY_BASE: usize = 512;

/// One PDU: read, written, read again.
///
/// # Panics
/// If a property does not hold.
pub fn frame(octets: &[u8]) -> u64 {
    let seen = Observed::new();
    let whole = match codec::frame_length(octets) {
        Ok(None) => return seen.and(1).number(),
        Err(invalid) => {
            assert!(!(16..=65_536).contains(&invalid.0));
            return seen.and(2).number();
        }
        Ok(Some(length)) => {
            assert!((codec::HEADER_OCTETS..=codec::PDU_OCTETS_MAX).contains(&length));
            octets.get(..length).unwrap_or(octets)
        }
    };
    match codec::decode(whole) {
        Err(malformed) => {
            if let Some(refusal) = malformed.refusal() {
                assert_eq!(refusal.sequence, malformed.sequence);
                let written = write(&refusal).expect("a refusal can be written");
                assert_eq!(codec::decode(&written).as_ref(), Ok(&refusal));
            }
            seen.and(3).word(malformed.reason).and(malformed.command_id.into()).number()
        }
        Ok(pdu) => {
            let memory = memory(&pdu);
            assert!(
                memory <= MEMORY_BASE + MEMORY_FACTOR * whole.len(),
                "{memory} octets of {}",
                whole.len()
            );
            let seen = seen.and(4).and(pdu.body.command_id().into()).size(memory);
            // Longer fields are read than may be written; what can be written reads as itself.
            let Some(written) = write(&pdu) else { return seen.and(1).number() };
            assert_eq!(codec::frame_length(&written), Ok(Some(written.len())));
            let again = codec::decode(&written).expect("what we write can be read");
            let mut expected = pdu;
            if expected.status != 0
                && let Body::BindResp { system_id, tlvs, .. } = &mut expected.body
                && system_id.is_empty()
            {
                // A refusal of a bind is written without a body.
                tlvs.clear();
            }
            assert_eq!(again, expected);
            assert_eq!(write(&again).as_deref(), Some(&*written));
            seen.number()
        }
    }
}

fn write(pdu: &Pdu) -> Option<Vec<u8>> {
    let mut out = BytesMut::from(&b"before"[..]);
    let written = codec::encode(pdu, &mut out);
    assert!(out.starts_with(b"before"));
    match written {
        Ok(()) => Some(out[6..].to_vec()),
        Err(_) => {
            assert_eq!(out.len(), 6, "nothing is left of what could not be written");
            None
        }
    }
}

/// What a PDU takes in memory beside itself.
fn memory(pdu: &Pdu) -> usize {
    let tlvs =
        |tlvs: &Vec<Tlv>| tlvs.iter().map(|tlv| size_of::<Tlv>() + tlv.value.capacity()).sum::<usize>();
    match &pdu.body {
        Body::Bind(bind) => {
            let Bind { system_id, password, system_type, address_range, .. } = bind;
            [system_id, password, system_type, &address_range.value].into_iter().map(String::capacity).sum()
        }
        Body::BindResp { system_id, tlvs: parameters, .. } => system_id.capacity() + tlvs(parameters),
        Body::SubmitSmResp { message_id } | Body::DataSmResp { message_id } => message_id.capacity(),
        Body::SubmitSm(sm) => {
            let texts = [
                &sm.service_type,
                &sm.source.value,
                &sm.destination.value,
                &sm.schedule_delivery_time,
                &sm.validity_period,
            ];
            texts.into_iter().map(String::capacity).sum::<usize>()
                + sm.short_message.capacity()
                + tlvs(&sm.tlvs)
        }
        Body::DeliverSm(sm) => {
            let texts = [&sm.service_type, &sm.source.value, &sm.destination.value];
            texts.into_iter().map(String::capacity).sum::<usize>()
                + sm.short_message.capacity()
                + tlvs(&sm.tlvs)
        }
        Body::DataSm(sm) => {
            let texts = [&sm.service_type, &sm.source.value, &sm.destination.value];
            texts.into_iter().map(String::capacity).sum::<usize>() + tlvs(&sm.tlvs)
        }
        _ => 0,
    }
}

/// Requests of ours that are out before the peer's octets come.
const REQUESTS: u64 = 3;
/// Ticks until a session that hears nothing has ended, at most.
const TICKS_MAX: usize = 50;

/// A session that is fed the same octets whole and in pieces.
///
/// # Panics
/// If a property does not hold.
pub fn session(octets: &[u8]) -> u64 {
    let (flags, rest) = steer(octets);
    let (step, stream) = steer(rest);
    let whole = play(flags, stream, stream.len().max(1));
    for step in [1, 2 + usize::from(step % 61)] {
        let cut = play(flags, stream, step);
        assert_eq!(cut.events, whole.events, "cut every {step} octets");
        assert_eq!(cut.written, whole.written, "cut every {step} octets");
    }
    // Every octet that comes may cost a few of ours, and no more.
    assert!(whole.written.len() <= 1_024 + 4 * stream.len(), "{} octets are written", whole.written.len());
    let seen = Observed::new().and((flags & 7).into()).size(whole.written.len());
    whole
        .events
        .iter()
        .take(12)
        .fold(seen.size(whole.events.len()), |seen, event| {
            seen.word(event.split(['{', '(']).next().unwrap_or_default())
        })
        .number()
}

#[derive(Default)]
struct Played {
    events: Vec<String>,
    written: Vec<u8>,
}

fn play(flags: u8, stream: &[u8], step: usize) -> Played {
    let client = flags & 1 == 0;
    let limits = Limits { unanswered_max: 3, unanswered_octets_max: 2_000, ..Limits::default() };
    let role = if client { Role::Client(Bind::new(BindMode::Transceiver, "a", "b")) } else { Role::Server };
    let mut player = Player {
        session: Session::new(role, limits),
        flags,
        played: Played::default(),
        fates: BTreeMap::new(),
    };
    player.take(Input::Connected, 0);
    if client && flags & 2 != 0 {
        let bound =
            Body::BindResp { mode: BindMode::Transceiver, system_id: String::new(), tlvs: Vec::new() };
        player.take(Input::Received(Ok(Pdu { status: 0, sequence: 1, body: bound })), 0);
        for tag in 0..REQUESTS {
            player.take(Input::Send { tag, request: Request::Submit(SubmitSm::default()) }, 0);
        }
    }
    let mut buffer = BytesMut::new();
    for piece in stream.chunks(step) {
        buffer.extend_from_slice(piece);
        while !player.session.is_ended() {
            match codec::frame_length(&buffer) {
                Ok(Some(length)) if buffer.len() >= length => {
                    let pdu = codec::decode(&buffer.split_to(length));
                    player.take(Input::Received(pdu), 0);
                }
                Ok(_) => break,
                Err(codec::InvalidLength(length)) => player.take(Input::LostPosition(length), 0),
            }
        }
    }
    if flags & 4 != 0 {
        player.take(Input::Stop, 0);
    }
    let mut ticks = 0;
    while let Some(at_ms) = player.session.deadline() {
        player.take(Input::Tick, at_ms);
        ticks += 1;
        assert!(ticks < TICKS_MAX, "a session that hears nothing must end");
    }
    assert!(player.session.is_ended());
    if player.fates.len() < REQUESTS as usize && client && flags & 2 != 0 {
        panic!("{} requests are reported of {REQUESTS}", player.fates.len());
    }
    player.played
}

struct Player {
    session: Session,
    flags: u8,
    played: Played,
    /// What became of our requests.
    fates: BTreeMap<u64, &'static str>,
}

impl Player {
    fn take(&mut self, input: Input, now_ms: u64) {
        let mut outputs = Vec::new();
        self.session.handle(input, now_ms, &mut outputs);
        self.flush(now_ms, &mut outputs);
        for output in outputs {
            self.played.events.push(format!("{output:?}"));
            match output {
                Output::Answer { tag, .. } => self.fate(tag, "answered"),
                Output::NoAnswer { tag } => self.fate(tag, "doubtful"),
                Output::Unsent { tag, .. } => self.fate(tag, "unsent"),
                Output::LateAnswer { tag, .. } => assert_eq!(self.fates.get(&tag), Some(&"doubtful")),
                Output::BindRequested(_) => {
                    let status = if self.flags & 8 == 0 { 0 } else { 13 };
                    self.take(Input::BindAnswer { status, system_id: "us".to_owned() }, now_ms);
                }
                Output::Message { ticket, .. } => match ticket.sequence() % 3 {
                    0 => self.take(Input::Answer { ticket, status: 0, message_id: "id".to_owned() }, now_ms),
                    1 => self.take(Input::Abandon(ticket), now_ms),
                    // This owner is slow.
                    _ => {}
                },
                Output::Bound { .. } | Output::Malformed(_) | Output::Ended(_) => {}
            }
        }
    }

    fn flush(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let octets = self.session.outgoing().len();
        self.played.written.extend_from_slice(self.session.outgoing());
        self.session.handle(Input::Written(octets), now_ms, outputs);
    }

    fn fate(&mut self, tag: u64, fate: &'static str) {
        let before = self.fates.insert(tag, fate);
        assert_eq!(before, None, "request {tag} is reported twice");
    }
}

/// A receipt's text, alone and in a `deliver_sm` with parameters; and what its id is compared with.
///
/// # Panics
/// If a property does not hold.
pub fn receipt(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    let text = lossy(octets);
    let read = receipt_text::parse(&text);
    let fields = [&read.id, &read.error_code, &read.submit_date, &read.done_date, &read.text];
    for field in fields {
        assert!(text.contains(field.as_str()), "a field is part of the text");
    }
    let (short, parameter) = octets.split_at(octets.len().min(usize::from(flags)));
    let mut tlvs = Vec::new();
    if flags & 1 != 0 {
        tlvs.push(Tlv::new(tag::RECEIPTED_MESSAGE_ID, parameter));
    }
    if flags & 2 != 0 {
        tlvs.push(Tlv::new(tag::MESSAGE_STATE, &octets[..octets.len().min(1)]));
    }
    if flags & 4 != 0 {
        tlvs.push(Tlv::new(tag::MESSAGE_PAYLOAD, octets));
    }
    let deliver = DeliverSm {
        esm_class: flags & 0x7C,
        data_coding: flags >> 4,
        short_message: short.to_vec(),
        tlvs,
        ..DeliverSm::default()
    };
    let kind = receipt_text::classify_deliver(&deliver);
    for date in [&read.submit_date, &read.done_date] {
        if let Some(date) = ReceiptDate::parse(date) {
            assert!(ReceiptDate::parse(&date.to_string()).is_some(), "{date}");
        }
    }
    let seen = fields.iter().fold(Observed::new(), |seen, field| seen.size(field.len()));
    let seen = seen
        .word(read.state.as_ref().map_or("", |state| state.word()))
        .and(u64::from(matches!(kind, Kind::Receipt(_))));
    ids(&read.id, seen)
}

/// The forms of an id are found again, whichever way the other side writes it.
fn ids(id: &str, seen: Observed) -> u64 {
    let known = receipt::canonical(id);
    assert_eq!(receipt::canonical(&known), known, "a canonical form is its own");
    let mut counts = 0;
    for id_form in IdForm::ALL {
        let receipt = receipt::Receipt {
            carrier_id: id.to_owned(),
            id_form,
            our_reference: None,
            parties: Vec::new(),
            outcome: None,
            raw: String::new(),
        };
        let forms = receipt::lookups(&receipt);
        assert!(forms.len() <= 3);
        counts = counts * 4 + forms.len();
        for form in &forms {
            assert!(!form.is_empty() && receipt::canonical(form) == *form, "{form:?} is kept so");
        }
        if id_form == IdForm::HexThenDecimal {
            // What is decimal here and hexadecimal there is, looked up from there, decimal here again.
            for form in forms {
                let back =
                    receipt::Receipt { carrier_id: form, id_form: IdForm::DecimalThenHex, ..receipt.clone() };
                if known.len() <= 48 {
                    assert_eq!(receipt::lookups(&back), [known.as_str()]);
                }
            }
        }
    }
    seen.size(counts).number()
}

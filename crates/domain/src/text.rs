//! What a text costs and how it travels: GSM 7-bit and UCS-2, segments, headers, and back to text.
//!
//! [`measure`] answers what a text will cost before anything is promised, [`split`] cuts it into what is
//! handed to a carrier, and both go the same way, so they never disagree. [`check`] refuses what can't be
//! sent, [`transliterate`] makes a text cheaper, [`join`] puts received segments together again, [`display`] makes a
//! stranger's text fit to be looked at.
//!
//! It doesn't know carriers: `data_coding`, `esm_class` and the like belong to the one who speaks the
//! protocol. It doesn't collect the segments of an inbound message either (see [`crate::assembly`]), it joins those it is
//! given.
//!
//! Sources: 3GPP TS 23.038 (alphabets), 3GPP TS 23.040 §9.2.3.24 (user data header), SMPP 3.4 §5.3.2.22 to
//! §5.3.2.24 (`sar_…`) and §5.3.2.32 (`message_payload`).

mod alphabet;
mod display;
pub(crate) mod letters;
mod substitute;

use std::fmt;

use unicode_segmentation::GraphemeCursor;

pub use display::{brief, display, is_active};
pub use substitute::{Replacement, Transliterated, transliterate};

/// The segments one message can have: the total is one octet in every form of concatenation.
pub const SEGMENTS_MAX: u32 = 255;

/// The septets of user data in one segment (TS 23.040 §9.2.3.16): 140 octets of 8 bits.
const SEPTETS_MAX: u32 = 160;

/// The octets of user data in one segment, header included.
const OCTETS_MAX: u32 = 140;

/// The distinct costly characters [`costly_characters`] lists. A text in another script has hundreds, and
/// nobody reads more than a screen of them.
pub const COSTLY_CHARACTERS_MAX: usize = 64;

/// The positions [`costly_characters`] lists for one character, for the same reason.
pub const COSTLY_POSITIONS_MAX: usize = 100;

/// A language with national tables (TS 23.038 §6.2.1.2.4); the value is its identifier on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Language {
    /// Single and locking shift.
    Turkish = 1,
    /// Single shift only.
    Spanish = 2,
    /// Single and locking shift.
    Portuguese = 3,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 3] = [Language::Turkish, Language::Spanish, Language::Portuguese];

    fn from_identifier(identifier: u8) -> Option<Language> {
        Language::ALL.into_iter().find(|&language| language as u8 == identifier)
    }
}

/// A set of languages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Languages(u8);

impl Languages {
    /// No language.
    pub const NONE: Languages = Languages(0);

    /// Every language that has tables here.
    pub const ALL: Languages =
        Languages::NONE.with(Language::Turkish).with(Language::Spanish).with(Language::Portuguese);

    /// This set and one more language.
    #[must_use]
    pub const fn with(self, language: Language) -> Languages {
        Languages(self.0 | 1 << language as u8)
    }

    /// Whether the set has the language.
    pub const fn contains(self, language: Language) -> bool {
        self.0 & 1 << language as u8 != 0
    }

    fn and_none(self) -> impl Iterator<Item = Option<Language>> {
        let members = Language::ALL.into_iter().filter(move |&language| self.contains(language));
        std::iter::once(None).chain(members.map(Some))
    }
}

/// The pair of tables that septets are read with; `None` is the default alphabet or its extension table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    /// The table of the plain septets (information element 0x25).
    pub locking: Option<Language>,
    /// The table of the escaped septets (information element 0x24).
    pub single: Option<Language>,
}

impl Tables {
    /// What every phone has.
    pub const DEFAULT: Tables = Tables { locking: None, single: None };

    /// The octets of the information elements that announce these tables.
    fn header_octets(self) -> u32 {
        3 * (u32::from(self.locking.is_some()) + u32::from(self.single.is_some()))
    }
}

/// How a text of ours is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Septets of these tables.
    Gsm7(Tables),
    /// UTF-16BE. Called UCS-2 by the specifications; phones show surrogate pairs.
    Ucs2,
}

impl Encoding {
    /// Whether this is UCS-2.
    pub const fn is_ucs2(self) -> bool {
        matches!(self, Encoding::Ucs2)
    }

    fn cost(self, character: char) -> u32 {
        match self {
            // A character that the tables lack is written as one `?`.
            Encoding::Gsm7(tables) => alphabet::cost(character, tables).unwrap_or(1),
            Encoding::Ucs2 => character.len_utf16() as u32,
        }
    }

    /// The units that fit beside a header of so many octets, the length octet not counted.
    fn room(self, header_octets: u32) -> u32 {
        let octets = if header_octets == 0 { 0 } else { 1 + header_octets };
        match self {
            // The text starts on a septet boundary after the header.
            Encoding::Gsm7(_) => SEPTETS_MAX - (octets * 8).div_ceil(7),
            Encoding::Ucs2 => (OCTETS_MAX - octets) / 2,
        }
    }

    fn limits(self, concatenation: Concatenation) -> Limits {
        let tables = match self {
            Encoding::Gsm7(tables) => tables.header_octets(),
            Encoding::Ucs2 => 0,
        };
        Limits { alone: self.room(tables), concatenated: self.room(tables + concatenation.header_octets()) }
    }
}

impl fmt::Display for Encoding {
    /// `gsm7` or `ucs2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ucs2() { "ucs2" } else { "gsm7" })
    }
}

/// How a carrier wants to be told that segments belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Concatenation {
    /// User data header with an 8-bit reference (TS 23.040 §9.2.3.24.1). What every carrier takes.
    #[default]
    Header8,
    /// User data header with a 16-bit reference (§9.2.3.24.8). One unit less per segment.
    Header16,
    /// The three `sar_…` parameters of SMPP; the carrier writes the header. The reference is kept below 256, so
    /// that the carrier's header is the short one and the text fits beside it.
    Sar,
    /// `message_payload`: the whole text in one piece; the carrier cuts it.
    Payload,
}

impl Concatenation {
    /// The octets of the information element in each segment as it reaches the phone.
    fn header_octets(self) -> u32 {
        match self {
            Concatenation::Header16 => 6,
            // Where the carrier writes the header, it is the short one.
            Concatenation::Header8 | Concatenation::Sar | Concatenation::Payload => 5,
        }
    }

    /// Whether we write the user data header ourselves, and so can announce national tables in it.
    fn writes_header(self) -> bool {
        matches!(self, Concatenation::Header8 | Concatenation::Header16)
    }
}

/// What a text may be turned into; the default is right for every carrier.
///
/// National tables are used only where the default alphabet lacks a character, and only if that takes fewer
/// segments than UCS-2: every phone reads UCS-2, not every phone has the tables. They need a header of ours, so
/// not with [`Concatenation::Sar`] and [`Concatenation::Payload`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// How segments are tied together.
    pub concatenation: Concatenation,
    /// The languages whose single shift table the carrier and the phones are known to take.
    pub single_shift: Languages,
    /// The languages whose locking shift table they are known to take.
    pub locking_shift: Languages,
}

/// How many units fit into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Into the only segment of a message: 160 septets or 70 UTF-16 units, less if there is a header.
    pub alone: u32,
    /// Into each of several segments: 153 septets or 67 units, less with a longer header.
    pub concatenated: u32,
}

/// What a text costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Measured {
    /// How it will be written.
    pub encoding: Encoding,
    /// Septets (an escaped character counts two) or UTF-16 units of the text, without headers.
    pub units: u32,
    /// The parts the network carries, which is what is paid and paced. At least 1, and not capped: more than
    /// [`SEGMENTS_MAX`] can't be sent.
    pub segments: u32,
    /// The pieces [`split`] makes: 1 for [`Concatenation::Payload`], otherwise `segments`.
    pub pieces: u32,
    /// The units that fit into a segment.
    pub limits: Limits,
}

/// What this text costs. Allocates nothing; a text in plain ASCII takes one addition per octet.
pub fn measure(text: &str, options: &Options) -> Measured {
    const DEFAULT: Encoding = Encoding::Gsm7(Tables::DEFAULT);
    if let Some(septets) = alphabet::ascii_septets(text) {
        // With no escape and no CR LF (one grapheme cluster), there is nothing that a cut must respect.
        let cut_anywhere = septets as usize == text.len() && !text.as_bytes().contains(&b'\r');
        return measured(text, DEFAULT, septets, cut_anywhere, options);
    }
    if let Some(septets) = alphabet::septets(text, Tables::DEFAULT) {
        return measured(text, DEFAULT, septets, false, options);
    }
    let units = text.chars().map(|character| character.len_utf16() as u32).sum();
    let ucs2 = measured(text, Encoding::Ucs2, units, false, options);
    national(text, options, ucs2.segments).unwrap_or(ucs2)
}

fn measured(text: &str, encoding: Encoding, units: u32, cut_anywhere: bool, options: &Options) -> Measured {
    let limits = encoding.limits(options.concatenation);
    let segments = if units <= limits.alone {
        1
    } else if cut_anywhere {
        units.div_ceil(limits.concatenated)
    } else {
        pieces(text, encoding, limits.concatenated).count() as u32
    };
    let pieces = if options.concatenation == Concatenation::Payload { 1 } else { segments };
    Measured { encoding, units, segments, pieces, limits }
}

/// The cheapest pair of allowed tables that needs fewer than `segments`.
fn national(text: &str, options: &Options, segments: u32) -> Option<Measured> {
    let allowed = options.single_shift != Languages::NONE || options.locking_shift != Languages::NONE;
    if !allowed || segments == 1 || !options.concatenation.writes_header() {
        return None;
    }
    options
        .locking_shift
        .and_none()
        .flat_map(|locking| options.single_shift.and_none().map(move |single| Tables { locking, single }))
        .filter_map(|tables| {
            let septets = alphabet::septets(text, tables)?;
            Some((tables.header_octets(), measured(text, Encoding::Gsm7(tables), septets, false, options)))
        })
        .filter(|(_, candidate)| candidate.segments < segments)
        .min_by_key(|(header_octets, candidate)| (candidate.segments, *header_octets, candidate.units))
        .map(|(_, candidate)| candidate)
}

/// The text cut into pieces of at most `limit` units.
///
/// A cut never separates an escape from its septet or a surrogate pair, because whole characters are counted;
/// and it never goes through a grapheme cluster, unless that is longer than a segment by itself.
fn pieces(text: &str, encoding: Encoding, limit: u32) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest, encoding, limit));
        rest = after;
        Some(piece)
    })
}

/// Where to cut off the first piece. `text` isn't empty.
fn cut(text: &str, encoding: Encoding, limit: u32) -> usize {
    let mut units = 0;
    let full = text.char_indices().find(|&(_, character)| {
        units += encoding.cost(character);
        units > limit
    });
    let Some((full, _)) = full else { return text.len() };

    let around = &text.as_bytes()[full - 1..=full];
    if around.is_ascii() && around != b"\r\n" {
        return full;
    }
    // Looking no further back than the start of this piece keeps a hostile text (one cluster of 10,000 marks)
    // from costing its length at every cut.
    let mut cursor = GraphemeCursor::new(full, text.len(), true);
    if cursor.is_boundary(text, 0) == Ok(true) {
        return full;
    }
    match cursor.prev_boundary(text, 0) {
        Ok(Some(boundary)) if boundary > 0 => boundary,
        _ => full,
    }
}

/// Why a character makes a text dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// The GSM alphabet lacks it, so the whole text is written as UCS-2, with less than half the room.
    ForcesUcs2,
    /// It takes two septets.
    TwoSeptets,
    /// The default alphabet lacks it, and the national tables in use have it: each segment carries a header.
    NationalTable,
}

/// One distinct character that makes a text dearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostlyCharacter {
    /// The character.
    pub character: char,
    /// What it costs.
    pub cost: Cost,
    /// How often it is there.
    pub count: u32,
    /// Where, as indexes of characters (code points) from 0; at most [`COSTLY_POSITIONS_MAX`].
    pub positions: Vec<u32>,
}

/// The characters that make this text dearer, in the order of their first appearance, for a preview. At most
/// [`COSTLY_CHARACTERS_MAX`].
pub fn costly_characters(text: &str, options: &Options) -> Vec<CostlyCharacter> {
    let encoding = measure(text, options).encoding;
    let mut found: Vec<CostlyCharacter> = Vec::new();
    for (position, character) in text.chars().enumerate() {
        let cost = match (encoding, alphabet::cost(character, Tables::DEFAULT)) {
            (Encoding::Ucs2, None) => Cost::ForcesUcs2,
            (Encoding::Gsm7(_), None) => Cost::NationalTable,
            (Encoding::Gsm7(tables), Some(_)) if alphabet::cost(character, tables) == Some(2) => {
                Cost::TwoSeptets
            }
            _ => continue,
        };
        let at = match found.iter().position(|known| known.character == character) {
            Some(at) => at,
            None if found.len() == COSTLY_CHARACTERS_MAX => continue,
            None => {
                found.push(CostlyCharacter { character, cost, count: 0, positions: Vec::new() });
                found.len() - 1
            }
        };
        let known = &mut found[at];
        known.count += 1;
        if known.positions.len() < COSTLY_POSITIONS_MAX {
            known.positions.push(position as u32);
        }
    }
    found
}

/// Why a text can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// There is no text.
    Empty,
    /// There is nothing to see: only spaces, line ends, zero-width and other invisible characters.
    Blank,
    /// A control character: NUL, escape and the like. Line feed, carriage return and tab are allowed.
    ControlCharacter {
        /// The character.
        character: char,
        /// Its index in characters (code points) from 0.
        position: u32,
    },
    /// More segments than allowed.
    TooManySegments {
        /// The segments it needs.
        segments: u32,
        /// The segments allowed.
        segments_max: u32,
    },
}

impl Unsendable {
    /// A stable lower-case word for the reason.
    pub const fn code(self) -> &'static str {
        match self {
            Unsendable::Empty => "empty",
            Unsendable::Blank => "blank",
            Unsendable::ControlCharacter { .. } => "control_character",
            Unsendable::TooManySegments { .. } => "too_many_segments",
        }
    }
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsendable::Empty => f.write_str("The text is empty."),
            Unsendable::Blank => f.write_str("The text has only spaces or invisible characters."),
            Unsendable::ControlCharacter { character, position } => write!(
                f,
                "The text has the control character U+{:04X} at position {position}; only line feed, carriage \
                 return and tab are allowed.",
                *character as u32
            ),
            Unsendable::TooManySegments { segments, segments_max } => {
                write!(f, "The text needs {segments} segments; at most {segments_max} are allowed.")
            }
        }
    }
}

impl std::error::Error for Unsendable {}

/// Measures a text that is to be sent, or says why it can't be. `segments_max` is the account's limit; above
/// [`SEGMENTS_MAX`] it has no effect.
///
/// A tab is allowed, though the GSM alphabet has none and it makes the text UCS-2: people paste tables.
/// [`transliterate`] turns it into a space.
///
/// # Errors
/// The first of the reasons of [`Unsendable`] that applies, in their order.
pub fn check(text: &str, options: &Options, segments_max: u32) -> Result<Measured, Unsendable> {
    if text.is_empty() {
        return Err(Unsendable::Empty);
    }
    // Nearly every text shows its first character, and then this is one look.
    if text.chars().all(is_invisible) && !text.chars().any(is_forbidden_control) {
        return Err(Unsendable::Blank);
    }
    // C1 controls (U+0080 to U+009F) begin with the octet 0xC2.
    if text.bytes().any(|octet| octet < b' ' || octet == 0x7F || octet == 0xC2) {
        let control = text.chars().enumerate().find(|&(_, character)| is_forbidden_control(character));
        if let Some((position, character)) = control {
            return Err(Unsendable::ControlCharacter { character, position: position as u32 });
        }
    }
    let measured = measure(text, options);
    let segments_max = segments_max.min(SEGMENTS_MAX);
    if measured.segments > segments_max {
        return Err(Unsendable::TooManySegments { segments: measured.segments, segments_max });
    }
    Ok(measured)
}

fn is_forbidden_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\r' | '\t')
}

/// Whether a character leaves no trace on a screen: white space, and the default-ignorable code points of
/// Unicode (DerivedCoreProperties), with the blank Braille pattern.
fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}')
}

/// How the user data of a segment is written; wider than [`Encoding`], because carriers send what they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Charset {
    /// Septets, one octet each; the tables are named in the header.
    Gsm7,
    /// UTF-16BE.
    Ucs2,
    /// ISO 8859-1.
    Latin1,
    /// IA5, that is ASCII.
    Ascii,
    /// ISO 8859-5.
    Cyrillic,
    /// ISO 8859-8.
    Hebrew,
    /// Octets that are no text, or in an alphabet that is not known here: there is nothing to read.
    Unknown,
}

impl Charset {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 7] =
        [Self::Gsm7, Self::Ucs2, Self::Latin1, Self::Ascii, Self::Cyrillic, Self::Hebrew, Self::Unknown];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
            Self::Latin1 => "latin1",
            Self::Ascii => "ascii",
            Self::Cyrillic => "cyrillic",
            Self::Hebrew => "hebrew",
            Self::Unknown => "unknown",
        }
    }
}

/// Which part of a message a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The same in all segments of one message, from one sender to one recipient. Below 256 unless the header
    /// is [`Concatenation::Header16`].
    pub reference: u16,
    /// How many there are, from 1.
    pub total: u8,
    /// Which this is, from 1.
    pub number: u8,
}

/// One part of a message as it is handed to a carrier, or as it came from one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// How `octets` are written.
    pub charset: Charset,
    /// The user data header with its length octet; empty if there is none.
    pub header: Vec<u8>,
    /// The text: one octet per septet (packing is the transport's business, see [`pack`]), or UTF-16BE.
    pub octets: Vec<u8>,
    /// Its place, if there are several. With an empty header, this is what goes into `sar_…`.
    pub part: Option<Part>,
}

impl Segment {
    /// A segment as it came: `user_data` begins with a header if `has_header` (the UDHI bit of `esm_class`).
    ///
    /// `sar` is the place that came outside the user data, if any; the header's word goes before it. A header
    /// that says it is longer than the user data is no header, and is read as text.
    pub fn received(charset: Charset, user_data: &[u8], has_header: bool, sar: Option<Part>) -> Segment {
        let header_length = match user_data.first() {
            Some(&length) if has_header && usize::from(length) < user_data.len() => 1 + usize::from(length),
            _ => 0,
        };
        let (header, octets) = user_data.split_at(header_length);
        let part = read_header(header).part.or(sar.filter(|part| part.is_sound()));
        Segment { charset, header: header.to_vec(), octets: octets.to_vec(), part }
    }

    /// The header and the text in one, as SMPP's `short_message` and `message_payload` carry them.
    pub fn user_data(&self) -> Vec<u8> {
        [self.header.as_slice(), self.octets.as_slice()].concat()
    }

    /// The parameters `sar_msg_ref_num`, `sar_total_segments` and `sar_segment_seqnum`, if the place isn't in
    /// the header.
    pub fn sar(&self) -> Option<Part> {
        self.part.filter(|_| self.header.is_empty())
    }

    /// The tables that the header names.
    pub fn tables(&self) -> Tables {
        read_header(&self.header).tables
    }

    /// The text of this segment alone.
    pub fn text(&self) -> String {
        decode(&self.octets, self.charset, self.tables())
    }
}

impl Part {
    /// TS 23.040 §9.2.3.24.1: an element with a total of 0, or a number of 0 or beyond it, is ignored.
    fn is_sound(self) -> bool {
        (1..=self.total).contains(&self.number)
    }
}

/// The text needs more than [`SEGMENTS_MAX`] segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySegments {
    /// As many.
    pub segments: u32,
}

impl fmt::Display for TooManySegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text needs {} segments; a message has at most {SEGMENTS_MAX}", self.segments)
    }
}

impl std::error::Error for TooManySegments {}

/// Cuts a text into the segments that are handed to a carrier, as many as [`Measured::pieces`].
///
/// `reference` ties the segments of one message together; of it, [`Concatenation::Header16`] uses 16 bits and
/// the others the low 8. Two messages under way to the same recipient should not share it.
///
/// # Errors
/// [`TooManySegments`] if the network can't carry it, with [`Concatenation::Payload`] too.
pub fn split(text: &str, options: &Options, reference: u16) -> Result<Vec<Segment>, TooManySegments> {
    let measured = measure(text, options);
    if measured.segments > SEGMENTS_MAX {
        return Err(TooManySegments { segments: measured.segments });
    }
    if measured.pieces == 1 {
        return Ok(vec![segment(text, measured.encoding, None, options)]);
    }
    let reference = match options.concatenation {
        Concatenation::Header16 => reference,
        _ => reference & 0xFF,
    };
    let total = measured.pieces as u8;
    Ok((1..=total)
        .zip(pieces(text, measured.encoding, measured.limits.concatenated))
        .map(|(number, piece)| {
            segment(piece, measured.encoding, Some(Part { reference, total, number }), options)
        })
        .collect())
}

fn segment(text: &str, encoding: Encoding, part: Option<Part>, options: &Options) -> Segment {
    let (charset, tables) = match encoding {
        Encoding::Gsm7(tables) => (Charset::Gsm7, tables),
        Encoding::Ucs2 => (Charset::Ucs2, Tables::DEFAULT),
    };
    let mut octets = Vec::with_capacity(text.len());
    match encoding {
        Encoding::Gsm7(tables) => alphabet::encode(text, tables, &mut octets),
        Encoding::Ucs2 => octets.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
    }
    Segment { charset, header: write_header(part, tables, options.concatenation), octets, part }
}

/// Information elements: 8-bit reference (TS 23.040 §9.2.3.24.1).
const CONCATENATED_8: u8 = 0x00;
/// 16-bit reference (§9.2.3.24.8).
const CONCATENATED_16: u8 = 0x08;
/// National language single shift (§9.2.3.24.15).
const SINGLE_SHIFT: u8 = 0x24;
/// National language locking shift (§9.2.3.24.16).
const LOCKING_SHIFT: u8 = 0x25;

fn write_header(part: Option<Part>, tables: Tables, concatenation: Concatenation) -> Vec<u8> {
    let mut header = Vec::new();
    let mut element = |identifier: u8, data: &[u8]| {
        if header.is_empty() {
            header.push(0);
        }
        header.extend([identifier, data.len() as u8]);
        header.extend(data);
        header[0] = (header.len() - 1) as u8;
    };
    if let Some(Part { reference, total, number }) = part {
        let [high, low] = reference.to_be_bytes();
        match concatenation {
            Concatenation::Header8 => element(CONCATENATED_8, &[low, total, number]),
            Concatenation::Header16 => element(CONCATENATED_16, &[high, low, total, number]),
            Concatenation::Sar | Concatenation::Payload => {}
        }
    }
    if let Some(language) = tables.single {
        element(SINGLE_SHIFT, &[language as u8]);
    }
    if let Some(language) = tables.locking {
        element(LOCKING_SHIFT, &[language as u8]);
    }
    header
}

/// What a user data header says that matters for text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Header {
    part: Option<Part>,
    tables: Tables,
}

/// Reads a header with its length octet. Elements that are unknown, cut off or nonsense are passed over; of an
/// element that is there twice, the last counts (TS 23.040 §9.2.3.24).
fn read_header(octets: &[u8]) -> Header {
    let mut header = Header::default();
    let mut rest = octets.get(1..).unwrap_or_default();
    while let [identifier, length, after @ ..] = rest {
        let Some((data, next)) = after.split_at_checked(usize::from(*length)) else { break };
        rest = next;
        let part = match (*identifier, data) {
            (CONCATENATED_8, &[reference, total, number]) => {
                Part { reference: u16::from(reference), total, number }
            }
            (CONCATENATED_16, &[high, low, total, number]) => {
                Part { reference: u16::from_be_bytes([high, low]), total, number }
            }
            (SINGLE_SHIFT, &[language]) => {
                header.tables.single = Language::from_identifier(language);
                continue;
            }
            (LOCKING_SHIFT, &[language]) => {
                header.tables.locking = Language::from_identifier(language);
                continue;
            }
            _ => continue,
        };
        if part.is_sound() {
            header.part = Some(part);
        }
    }
    header
}

/// The text of segments, put in order by their numbers.
///
/// Lenient, as the world is: of segments with the same number the first counts, missing ones leave no trace,
/// and a character that the other side cut in two is put together. Whether they belong together is the caller's
/// knowledge.
pub fn join(segments: &[Segment]) -> String {
    let mut ordered: Vec<&Segment> = segments.iter().collect();
    // Stable, so that the first of equals stays the first.
    ordered.sort_by_key(|segment| segment.part.map_or(0, |part| part.number));
    ordered.dedup_by(|later, earlier| {
        later.part.is_some() && later.part.map(|part| part.number) == earlier.part.map(|part| part.number)
    });
    let mut text = String::new();
    let mut octets = Vec::new();
    let same_writing = |a: &&Segment, b: &&Segment| a.charset == b.charset && a.tables() == b.tables();
    for run in ordered.chunk_by(same_writing) {
        let length: usize = run.iter().map(|segment| segment.octets.len()).sum();
        if run[0].charset == Charset::Ucs2 && length % 2 == 1 {
            // Half a character somewhere would shift every one behind it: then each part is read by itself.
            run.iter().for_each(|segment| text.push_str(&segment.text()));
            continue;
        }
        octets.clear();
        run.iter().for_each(|segment| octets.extend_from_slice(&segment.octets));
        text.push_str(&decode(&octets, run[0].charset, run[0].tables()));
    }
    text
}

/// The text of user data without its header. Never fails: what can't be read becomes U+FFFD.
///
/// `tables` matter for [`Charset::Gsm7`] only. A byte order mark at the start of UCS-2 is obeyed and dropped. In
/// ASCII, octets of 0x80 and up are read as Latin-1: the carrier that sends them meant that.
pub fn decode(octets: &[u8], charset: Charset, tables: Tables) -> String {
    match charset {
        Charset::Gsm7 => alphabet::decode(octets, tables),
        Charset::Ucs2 => decode_utf16(octets),
        Charset::Latin1 | Charset::Ascii => match str::from_utf8(octets) {
            Ok(text) if text.is_ascii() => text.to_owned(),
            _ => octets.iter().copied().map(char::from).collect(),
        },
        // These two lie in Unicode in the order of their octets.
        Charset::Cyrillic => shifted(octets, 0xA1..=0xFF, 0x360),
        Charset::Hebrew => shifted(octets, 0xE0..=0xFA, 0x4F0),
        Charset::Unknown => String::new(),
    }
}

/// Latin-1, but for the octets in the range, whose characters lie so much higher.
fn shifted(octets: &[u8], range: std::ops::RangeInclusive<u8>, by: u32) -> String {
    // The soft hyphen stands where it stands in Latin-1.
    const SOFT_HYPHEN: u8 = 0xAD;
    let character = |octet: u8| match octet {
        octet if octet != SOFT_HYPHEN && range.contains(&octet) => {
            char::from_u32(u32::from(octet) + by).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        octet => char::from(octet),
    };
    octets.iter().copied().map(character).collect()
}

fn decode_utf16(octets: &[u8]) -> String {
    let (octets, little_endian) = match octets {
        [0xFE, 0xFF, rest @ ..] => (rest, false),
        [0xFF, 0xFE, rest @ ..] => (rest, true),
        _ => (octets, false),
    };
    let (pairs, odd) = octets.as_chunks::<2>();
    let units = pairs.iter().map(|&pair| match little_endian {
        true => u16::from_le_bytes(pair),
        false => u16::from_be_bytes(pair),
    });
    let mut text: String =
        char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    if !odd.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

/// Packs septets into octets (TS 23.038 §6.1.2.1), leaving room for a header of so many octets (length octet
/// included) in front: the fill bits that bring the text to a septet boundary come first. The header itself
/// isn't in the result.
pub fn pack(septets: &[u8], header_octets: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity((septets.len() * 7).div_ceil(8) + 1);
    let (mut bits, mut held) = (0u32, fill_bits(header_octets));
    for &septet in septets {
        bits |= u32::from(septet & 0x7F) << held;
        held += 7;
        while held >= 8 {
            octets.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 && !septets.is_empty() {
        octets.push(bits as u8);
    }
    octets
}

/// Unpacks `count` septets from octets that follow a header of so many octets (length octet included), one octet
/// per septet; fewer if the octets end before.
///
/// The count has to come from outside (TP-UDL), because the bits can't tell a last `@` from padding.
pub fn unpack(octets: &[u8], count: usize, header_octets: usize) -> Vec<u8> {
    let mut septets = Vec::with_capacity(count.min(octets.len() * 8 / 7));
    let mut at = fill_bits(header_octets) as usize;
    while septets.len() < count && at + 7 <= octets.len() * 8 {
        let low = u16::from(octets[at / 8]);
        let high = u16::from(octets.get(at / 8 + 1).copied().unwrap_or(0));
        septets.push(((high << 8 | low) >> (at % 8)) as u8 & 0x7F);
        at += 7;
    }
    septets
}

fn fill_bits(header_octets: usize) -> u32 {
    ((7 - header_octets * 8 % 7) % 7) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    const TURKISH: Languages = Languages::NONE.with(Language::Turkish);
    const PORTUGUESE: Languages = Languages::NONE.with(Language::Portuguese);

    fn options(concatenation: Concatenation) -> Options {
        Options { concatenation, ..Options::default() }
    }

    fn national(single_shift: Languages, locking_shift: Languages) -> Options {
        Options { single_shift, locking_shift, ..Options::default() }
    }

    #[test]
    fn a_text_costs_what_the_specification_says() {
        #[track_caller]
        fn check(text: &str, encoding: &str, units: u32, segments: u32) {
            let measured = measure(text, &Options::default());
            let got = (measured.encoding.to_string(), measured.units, measured.segments);
            assert_eq!(got, (encoding.to_owned(), units, segments), "{text:?}");
            let split = split(text, &Options::default(), 7).unwrap();
            assert_eq!(split.len(), segments as usize, "{text:?}");
        }
        check("", "gsm7", 0, 1);
        check("hello", "gsm7", 5, 1);
        check(&"a".repeat(160), "gsm7", 160, 1);
        check(&"a".repeat(161), "gsm7", 161, 2);
        check(&"a".repeat(306), "gsm7", 306, 2);
        check(&"a".repeat(307), "gsm7", 307, 3);
        // All of the alphabet is one septet each, all of the extension table two.
        check("@£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà", "gsm7", 41, 1);
        check("^{}\\[~]|€\u{C}", "gsm7", 20, 1);
        check(&"€".repeat(80), "gsm7", 160, 1);
        check(&"[".repeat(81), "gsm7", 162, 2);
        // 153 is odd: one septet of each segment stays empty, so 77 pairs don't fit into one.
        check(&"[".repeat(152), "gsm7", 304, 2);
        check(&"[".repeat(153), "gsm7", 306, 3);
        // What the alphabet lacks, though it looks innocent.
        check("`", "ucs2", 1, 1);
        check("ç", "ucs2", 1, 1);
        check("a\tb", "ucs2", 3, 1);
        check(&"ж".repeat(70), "ucs2", 70, 1);
        check(&"ж".repeat(71), "ucs2", 71, 2);
        check(&"ж".repeat(134), "ucs2", 134, 2);
        check(&"ж".repeat(135), "ucs2", 135, 3);
        check(&"😀".repeat(35), "ucs2", 70, 1);
        // 67 is odd too: 33 pairs in each segment.
        check(&"😀".repeat(66), "ucs2", 132, 2);
        check(&"😀".repeat(67), "ucs2", 134, 3);
        // A flag is two characters of two units, and is kept whole: 16 in a segment, not 16.75.
        check(&"🇸🇪".repeat(32), "ucs2", 128, 2);
        check(&"🇸🇪".repeat(33), "ucs2", 132, 3);
        // A CR LF on the edge moves over whole.
        check(&format!("{}\r\n{}", "a".repeat(152), "b".repeat(152)), "gsm7", 306, 3);
        check(&format!("{}\n\n{}", "a".repeat(152), "b".repeat(152)), "gsm7", 306, 2);
    }

    #[test]
    fn every_form_of_concatenation_has_its_limits() {
        #[track_caller]
        fn check(options: Options, text: &str, alone: u32, concatenated: u32) {
            assert_eq!(measure(text, &options).limits, Limits { alone, concatenated });
        }
        let (latin, cyrillic) = ("a", "ж");
        for (concatenation, septets, units) in [
            (Concatenation::Header8, 153, 67),
            (Concatenation::Header16, 152, 66),
            (Concatenation::Sar, 153, 67),
            (Concatenation::Payload, 153, 67),
        ] {
            check(options(concatenation), latin, 160, septets);
            check(options(concatenation), cyrillic, 70, units);
        }
        let turkish = "ğ".repeat(71);
        check(national(TURKISH, Languages::NONE), &turkish, 155, 149);
        check(national(Languages::NONE, TURKISH), &turkish, 155, 149);
        let wide = Options { concatenation: Concatenation::Header16, ..national(TURKISH, Languages::NONE) };
        check(wide, &turkish, 155, 148);
        // ∞ is only in the locking shift table, and with that, Φ only in the single shift table.
        let both = format!("{}{}", "Φ".repeat(40), "∞".repeat(40));
        check(national(PORTUGUESE, PORTUGUESE), &both, 152, 146);
    }

    #[test]
    fn national_tables_are_used_where_they_are_allowed_and_save_a_segment() {
        #[track_caller]
        fn check(text: &str, options: &Options, expected: Encoding) {
            assert_eq!(measure(text, options).encoding, expected);
            assert_eq!(join(&split(text, options, 1).unwrap()), text);
        }
        let locking = |language| Encoding::Gsm7(Tables { locking: Some(language), single: None });
        let single = |language| Encoding::Gsm7(Tables { locking: None, single: Some(language) });
        let turkish =
            "Sayın müşterimiz, siparişiniz kargoya verilmiştir. Teşekkür ederiz, iyi günler dileriz.";
        check(turkish, &Options::default(), Encoding::Ucs2);
        check(turkish, &national(Languages::ALL, Languages::NONE), single(Language::Turkish));
        check(turkish, &national(Languages::NONE, Languages::ALL), locking(Language::Turkish));
        check(turkish, &national(PORTUGUESE, PORTUGUESE), Encoding::Ucs2);
        let spanish =
            "Su código de verificación está aquí: 123456. No lo comparta con nadie más, ningún día.";
        check(spanish, &national(Languages::ALL, Languages::NONE), single(Language::Spanish));
        // No header of ours, no tables.
        for concatenation in [Concatenation::Sar, Concatenation::Payload] {
            let options = Options { concatenation, ..national(Languages::ALL, Languages::ALL) };
            check(turkish, &options, Encoding::Ucs2);
        }
        // Nothing to save.
        check("ş", &national(Languages::ALL, Languages::ALL), Encoding::Ucs2);
        check("plain", &national(Languages::ALL, Languages::ALL), Encoding::Gsm7(Tables::DEFAULT));
        check(&"ж".repeat(200), &national(Languages::ALL, Languages::ALL), Encoding::Ucs2);
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        #[track_caller]
        fn check(options: Options, text: &str, reference: u16, headers: [&[u8]; 2], sar: Option<Part>) {
            let segments = split(text, &options, reference).unwrap();
            let got: Vec<&[u8]> = segments.iter().map(|segment| segment.header.as_slice()).collect();
            assert_eq!(got, headers);
            assert_eq!(segments[1].sar(), sar);
            for segment in &segments {
                let user_data = segment.user_data();
                let received =
                    Segment::received(segment.charset, &user_data, !segment.header.is_empty(), segment.sar());
                assert_eq!(&received, segment);
            }
        }
        let text = "a".repeat(161);
        let h8: [&[u8]; 2] = [&[5, 0, 3, 0xCD, 2, 1], &[5, 0, 3, 0xCD, 2, 2]];
        check(options(Concatenation::Header8), &text, 0xABCD, h8, None);
        let h16: [&[u8]; 2] = [&[6, 8, 4, 0xAB, 0xCD, 2, 1], &[6, 8, 4, 0xAB, 0xCD, 2, 2]];
        check(options(Concatenation::Header16), &text, 0xABCD, h16, None);
        let part = Part { reference: 0xCD, total: 2, number: 2 };
        check(options(Concatenation::Sar), &text, 0xABCD, [&[], &[]], Some(part));

        let turkish = "ğ".repeat(136);
        let single: [&[u8]; 2] = [&[8, 0, 3, 1, 2, 1, 0x24, 1, 1], &[8, 0, 3, 1, 2, 2, 0x24, 1, 1]];
        check(national(TURKISH, Languages::NONE), &turkish, 1, single, None);
        let alone = split(&turkish, &national(Languages::NONE, TURKISH), 1).unwrap();
        assert_eq!(alone[0].header, [3, 0x25, 1, 1]);
        assert_eq!((alone.len(), alone[0].part), (1, None));
    }

    #[test]
    fn a_payload_is_one_piece_that_counts_as_the_network_counts() {
        let text = "a".repeat(400);
        let measured = measure(&text, &options(Concatenation::Payload));
        assert_eq!((measured.segments, measured.pieces), (3, 1));
        let split = split(&text, &options(Concatenation::Payload), 9).unwrap();
        assert_eq!((split.len(), split[0].octets.len(), split[0].part), (1, 400, None));
        assert!(split[0].header.is_empty());
    }

    #[test]
    fn a_message_has_at_most_255_segments() {
        let most = "a".repeat(255 * 153);
        let too_many = "a".repeat(255 * 153 + 1);
        for concatenation in [Concatenation::Header8, Concatenation::Sar, Concatenation::Payload] {
            assert!(split(&most, &options(concatenation), 0).is_ok());
            let refused = split(&too_many, &options(concatenation), 0);
            assert_eq!(refused, Err(TooManySegments { segments: 256 }));
        }
        assert_eq!(split(&most, &Options::default(), 0).unwrap().last().unwrap().part.unwrap().number, 255);
    }

    #[test]
    fn a_cluster_stays_whole_unless_it_is_longer_than_a_segment() {
        let cuts = |text: &str| -> Vec<String> {
            split(text, &Options::default(), 0).unwrap().iter().map(Segment::text).collect()
        };
        let family = "👩\u{200D}👩\u{200D}👧\u{200D}👦";
        let text = format!("{}{family}{}", "x".repeat(60), "y".repeat(20));
        assert_eq!(cuts(&text), ["x".repeat(60), format!("{family}{}", "y".repeat(20))]);

        let zalgo = format!("e{}", "\u{301}".repeat(99));
        let segments = cuts(&zalgo);
        assert_eq!(segments.iter().map(|s| s.chars().count()).collect::<Vec<_>>(), [67, 33]);
    }

    #[test]
    fn costly_characters_are_named_with_their_places() {
        type Expected<'a> = &'a [(char, Cost, u32, &'a [u32])];
        #[track_caller]
        fn check(text: &str, options: &Options, expected: Expected) {
            let found = costly_characters(text, options);
            let got: Vec<_> =
                found.iter().map(|c| (c.character, c.cost, c.count, c.positions.as_slice())).collect();
            assert_eq!(got, expected);
        }
        check("plain é", &Options::default(), &[]);
        check(
            "[é] €",
            &Options::default(),
            &[
                ('[', Cost::TwoSeptets, 1, &[0]),
                (']', Cost::TwoSeptets, 1, &[2]),
                ('€', Cost::TwoSeptets, 1, &[4]),
            ],
        );
        check(
            "it’s [so] ’ 😀",
            &Options::default(),
            &[('’', Cost::ForcesUcs2, 2, &[2, 10]), ('😀', Cost::ForcesUcs2, 1, &[12])],
        );
        let text = format!("ğ[{}", "a".repeat(70));
        check(
            &text,
            &national(Languages::NONE, TURKISH),
            &[('ğ', Cost::NationalTable, 1, &[0]), ('[', Cost::TwoSeptets, 1, &[1])],
        );
        let hundreds: String = ('\u{4E00}'..'\u{4F00}').collect();
        assert_eq!(costly_characters(&hundreds, &Options::default()).len(), COSTLY_CHARACTERS_MAX);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_the_reason() {
        #[track_caller]
        fn refused(text: &str, reason: Unsendable) {
            assert_eq!(check(text, &Options::default(), 3), Err(reason), "{text:?}");
            assert!(reason.to_string().ends_with('.'));
        }
        refused("", Unsendable::Empty);
        refused(" \n\t\r", Unsendable::Blank);
        refused("\u{200B}\u{FEFF}\u{2060}\u{200D}", Unsendable::Blank);
        refused("\u{3164}\u{2800}\u{AD}", Unsendable::Blank);
        refused("\0", Unsendable::ControlCharacter { character: '\0', position: 0 });
        refused("é\0b", Unsendable::ControlCharacter { character: '\0', position: 1 });
        refused("a\u{1B}[31m", Unsendable::ControlCharacter { character: '\u{1B}', position: 1 });
        refused("a\u{7F}", Unsendable::ControlCharacter { character: '\u{7F}', position: 1 });
        refused("£\u{85}", Unsendable::ControlCharacter { character: '\u{85}', position: 1 });
        refused(&"a".repeat(460), Unsendable::TooManySegments { segments: 4, segments_max: 3 });
        let all = "a".repeat(256 * 153);
        let reason = Unsendable::TooManySegments { segments: 256, segments_max: 255 };
        assert_eq!(check(&all, &Options::default(), u32::MAX), Err(reason));

        for text in ["a", "a\tb\r\n", "£", "😀", " a", "\u{200F}שלום"] {
            assert_eq!(
                check(text, &Options::default(), 1),
                Ok(measure(text, &Options::default())),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_carriers_send_is_read_as_well_as_can_be() {
        #[track_caller]
        fn reads(charset: Charset, octets: &[u8], text: &str) {
            assert_eq!(decode(octets, charset, Tables::DEFAULT), text);
        }
        reads(Charset::Gsm7, &[0x00, 0x1B, 0x65, 0x11], "@€_");
        reads(Charset::Latin1, &[0x40, 0xE9, 0x00], "@é\0");
        reads(Charset::Ascii, &[0x40, 0xE9], "@é");
        reads(Charset::Ucs2, &[0x04, 0x36, 0xD8, 0x3D, 0xDE, 0x00], "ж😀");
        reads(Charset::Ucs2, &[0xFE, 0xFF, 0x00, 0x41], "A");
        reads(Charset::Ucs2, &[0xFF, 0xFE, 0x41, 0x00], "A");
        reads(Charset::Ucs2, &[0xD8, 0x3D, 0x00, 0x41, 0x00], "\u{FFFD}A\u{FFFD}");
        reads(Charset::Ucs2, &[], "");
        reads(Charset::Cyrillic, &[0xBF, 0xE0, 0xAD, 0x21], "Пр\u{AD}!");
        reads(Charset::Hebrew, &[0xF9, 0xEC, 0xA0], "של\u{A0}");
        reads(Charset::Unknown, &[1, 2, 3], "");
    }

    #[test]
    fn received_segments_are_joined_whatever_their_state() {
        let part = |number, total| Some(Part { reference: 5, total, number });
        let segment =
            |number, octets: &[u8]| Segment::received(Charset::Ucs2, octets, false, part(number, 3));
        let (a, b, c) = (segment(1, &[0, 0x41, 0xD8, 0x3D]), segment(2, &[0xDE, 0]), segment(3, &[0, 0x42]));
        // Out of order, twice, and with a pair cut in two by the other side.
        assert_eq!(join(&[c.clone(), a.clone(), b.clone(), a.clone()]), "A😀B");
        assert_eq!(join(&[c, a]), "A\u{FFFD}B");
        // A unit cut in two is put together; half of one shifts nothing.
        let odd = |number, octets: &[u8]| segment(number, octets);
        assert_eq!(join(&[odd(1, &[0, 0x41, 0x04]), odd(2, &[0x36, 0, 0x42, 0, 0x43])]), "AжBC");
        assert_eq!(join(&[odd(1, &[0, 0x41, 0x04]), odd(2, &[0, 0x42])]), "A\u{FFFD}B");
        assert_eq!(join(&[]), "");

        // Headers that lie.
        let received = |user_data: &[u8]| Segment::received(Charset::Gsm7, user_data, true, part(2, 2));
        let too_long = received(&[9, 0, 3]);
        assert_eq!((too_long.header.len(), too_long.part), (0, part(2, 2)));
        let zero_total = received(&[5, 0, 3, 1, 0, 0, 0x41]);
        assert_eq!((zero_total.text().as_str(), zero_total.part), ("A", part(2, 2)));
        let cut_off = received(&[3, 0, 9, 1, 0x41]);
        assert_eq!((cut_off.text().as_str(), cut_off.part), ("A", part(2, 2)));
        let ports_too = received(&[0x0B, 5, 4, 0, 1, 0, 2, 0, 3, 7, 2, 1, 0x41]);
        assert_eq!(ports_too.part, Some(Part { reference: 7, total: 2, number: 1 }));
        let unknown_language = received(&[3, 0x24, 1, 9, 0x1B, 0x65]);
        assert_eq!(unknown_language.text(), "€");
    }

    #[test]
    fn packing_is_that_of_the_specification() {
        #[track_caller]
        fn packs(septets: &[u8], header_octets: usize, octets: &[u8]) {
            assert_eq!(pack(septets, header_octets), octets);
            assert_eq!(unpack(octets, septets.len(), header_octets), septets);
        }
        packs(b"hello", 0, &[0xE8, 0x32, 0x9B, 0xFD, 0x06]);
        packs(b"hellohello", 0, &[0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]);
        packs(b"", 0, &[]);
        packs(b"", 6, &[]);
        // Six octets of header are 48 bits: one fill bit makes 49, seven septets.
        packs(b"h", 6, &[0xD0]);
        packs(&[0x7F; 8], 7, &[0xFF; 7]);
        assert_eq!(unpack(&[0xE8], 100, 0), [b'h']);
        assert_eq!(pack(&[0; 160], 0).len(), 140);
        assert_eq!(pack(&[0; 153], 6).len() + 6, 140);
        assert_eq!(pack(&[0; 152], 7).len() + 7, 140);
        assert_eq!(pack(&[0; 146], 12).len() + 12, 140);
    }

    fn any_options() -> impl Strategy<Value = Options> {
        let concatenation = prop_oneof![
            Just(Concatenation::Header8),
            Just(Concatenation::Header16),
            Just(Concatenation::Sar),
            Just(Concatenation::Payload),
        ];
        let languages = || (0u8..8).prop_map(|bits| Languages(bits << 1));
        (concatenation, languages(), languages()).prop_map(|(concatenation, single_shift, locking_shift)| {
            Options { concatenation, single_shift, locking_shift }
        })
    }

    /// Texts of the kinds that meet at segment borders; no byte order mark in front, which decoding drops.
    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => "[ -~]{1,60}",
            2 => "[a-zéàÄ€\\[\\]\r\n^{}|~]{1,60}",
            2 => "[a-zğışçİĞŞáéíóúãõâêôÀΦΓ∞]{1,60}",
            2 => "[а-яё]{1,60}",
            2 => "(👩\u{200D}🚀|🇸🇪|e\u{301}|क्षि|\r\n|👍🏽|한){1,30}",
            1 => "e\u{301}{1,200}",
            1 => "\\PC{1,60}",
            1 => any::<String>(),
        ];
        prop::collection::vec(piece, 0..8)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("no byte order mark in front", |text| !text.starts_with(['\u{FEFF}', '\u{FFFE}']))
    }

    proptest! {
        #[test]
        fn split_agrees_with_measure_and_join_undoes_it(
            text in any_text(),
            options in any_options(),
            reference: u16,
        ) {
            let measured = measure(&text, &options);
            let segments = split(&text, &options, reference).unwrap();
            prop_assert_eq!(segments.len(), measured.pieces as usize);
            prop_assert_eq!(&join(&segments), &text);

            let mut backwards = segments.clone();
            backwards.reverse();
            prop_assert_eq!(&join(&backwards), &text);

            let encoding = measured.encoding;
            let units: u32 = text.chars().map(|character| encoding.cost(character)).sum();
            prop_assert_eq!(units, measured.units);

            let whole: Vec<(usize, &str)> = text.grapheme_indices(true).collect();
            let mut at = 0;
            for (index, segment) in segments.iter().enumerate() {
                prop_assert_eq!(segment.part.map(|part| usize::from(part.number)).unwrap_or(1), index + 1);
                let limit = if segments.len() == 1 { measured.limits.alone } else { measured.limits.concatenated };
                let octets = segment.octets.len() as u32;
                let units = if encoding.is_ucs2() { octets / 2 } else { octets };
                if options.concatenation == Concatenation::Payload {
                    prop_assert_eq!(units, measured.units);
                    continue;
                }
                prop_assert!(units <= limit);
                let on_air = match encoding {
                    Encoding::Ucs2 => segment.user_data().len(),
                    Encoding::Gsm7(_) => segment.header.len() + pack(&segment.octets, segment.header.len()).len(),
                };
                prop_assert!(on_air <= 140);

                // Each segment reads alone, so no pair is cut.
                let alone = segment.text();
                prop_assert_eq!(&text[at..at + alone.len()], &alone);
                at += alone.len();
                let inside = whole.iter().find(|(start, cluster)| *start < at && at < start + cluster.len());
                if let Some((_, cluster)) = inside {
                    let length: u32 = cluster.chars().map(|character| encoding.cost(character)).sum();
                    prop_assert!(length > limit, "cut inside {:?}", cluster);
                }
            }
        }

        #[test]
        fn septets_survive_packing(septets in prop::collection::vec(0u8..128, 0..200), header in 0usize..20) {
            prop_assert_eq!(unpack(&pack(&septets, header), septets.len(), header), septets);
        }

        #[test]
        fn reading_never_panics(
            user_data in prop::collection::vec(any::<u8>(), 0..200),
            has_header: bool,
            count in 0usize..300,
        ) {
            for charset in Charset::ALL {
                let segment = Segment::received(charset, &user_data, has_header, None);
                join(&[segment.clone(), segment]);
            }
            unpack(&user_data, count, usize::from(has_header));
        }

        #[test]
        fn a_cheaper_text_is_never_dearer(text in any_text(), options in any_options()) {
            let done = transliterate(&text, &options);
            prop_assert!(done.after.segments <= done.before.segments);
            prop_assert_eq!(done.after, measure(&done.text, &options));
            if done.replacements.is_empty() {
                prop_assert_eq!(&done.text, &text);
            } else {
                let becomes_gsm7 = done.before.encoding.is_ucs2() && !done.after.encoding.is_ucs2();
                prop_assert!(becomes_gsm7 || done.segments_saved() > 0);
            }
        }
    }
}

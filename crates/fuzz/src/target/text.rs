//! Texts: what people send to us, cut and dressed by carriers, and what we cut ourselves.

use super::{lossy, steer};
use crate::observed::Observed;
use tidings_domain::text::{self, Charset, Concatenation, Languages, Options, Part, Segment};

/// Information elements of a user data header.
pub const HEADER_WORDS: &[&[u8]] = &[
    b"\x05\x00\x03\x09\x03\x02",
    b"\x06\x08\x04\x01\x02\x03\x01",
    b"\x03\x24\x01\x01",
    b"\x03\x25\x01\x03",
    b"\x08\x00\x03\x09\x03\x02\x24\x01\x01",
    b"\x1B\x65",
    b"\xFE\xFF",
    b"\xD8\x3D\xDE\x00",
    b"\xFF",
];
/// Characters that cost more, join, or turn.
pub const WORDS: &[&[u8]] = &[
    "€".as_bytes(),
    "é".as_bytes(),
    "ç".as_bytes(),
    "ğ".as_bytes(),
    "Ω".as_bytes(),
    "Ж".as_bytes(),
    "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}".as_bytes(),
    "\u{301}".as_bytes(),
    "\u{FEFF}".as_bytes(),
    "\u{202E}".as_bytes(),
    "\r\n".as_bytes(),
    "“”".as_bytes(),
    "[]{}^~|\\".as_bytes(),
    b"\x1B",
    b"\0",
    b"@",
    b"0123456789012345678901234567890123456789012345678901234567890123456789",
];

const CHARSETS: [Charset; 4] = [Charset::Gsm7, Charset::Ucs2, Charset::Latin1, Charset::Ascii];

/// A part of a message as a carrier gives it.
///
/// # Panics
/// If a property does not hold.
pub fn inbound(octets: &[u8]) -> u64 {
    let (flags, rest) = steer(octets);
    let (places, user_data) = steer(rest);
    let charset = CHARSETS[usize::from(flags % 4)];
    let sar = Part { reference: places.into(), total: places & 15, number: places >> 4 };
    let sar = (flags & 4 != 0).then_some(sar);
    let segment = Segment::received(charset, user_data, flags & 8 != 0, sar);
    assert_eq!(segment.user_data(), user_data, "nothing is lost");
    if let Some(part) = segment.part {
        assert!((1..=part.total).contains(&part.number), "{part:?}");
    }
    let read = segment.text();
    assert!(read.len() <= 4 * user_data.len() + 4, "{} octets of {}", read.len(), user_data.len());
    // Put together with itself, cut in two, and in any order.
    let (first, second) = user_data.split_at(user_data.len() / 2);
    let halves = [first, second].map(|half| Segment::received(charset, half, flags & 8 != 0, sar));
    let joined = text::join(&halves);
    let [first, second] = halves;
    let number = |segment: &Segment| segment.part.map(|part| part.number);
    if number(&first).is_some() && number(&second).is_some() && number(&first) != number(&second) {
        assert_eq!(text::join(&[second, first]), joined, "the order in which parts come does not matter");
    }
    text::unpack(user_data, usize::from(places), segment.header.len());
    let tables = segment.tables();
    Observed::new()
        .and((flags & 15).into())
        .size(segment.header.len())
        .and(segment.part.map_or(0, |part| 1 + u64::from(part.total > 1)))
        .and(
            tables.locking.map_or(0, |language| language as u64) << 8
                | tables.single.map_or(0, |language| language as u64),
        )
        .size(read.chars().count())
        .and(read.contains('\u{FFFD}').into())
        .number()
}

/// A text of ours: measured, cut, and put together again.
///
/// # Panics
/// If a property does not hold.
pub fn split(octets: &[u8]) -> u64 {
    /// Octets of user data in one segment (TS 23.040 §9.2.3.16).
    const USER_DATA_MAX: usize = 140;
    let (flags, octets) = steer(octets);
    let text = lossy(octets);
    let options = Options {
        concatenation: [
            Concatenation::Header8,
            Concatenation::Header16,
            Concatenation::Sar,
            Concatenation::Payload,
        ][usize::from(flags % 4)],
        single_shift: if flags & 4 == 0 { Languages::NONE } else { Languages::ALL },
        locking_shift: if flags & 8 == 0 { Languages::NONE } else { Languages::ALL },
    };
    let measured = text::measure(&text, &options);
    let costly = text::costly_characters(&text, &options);
    assert!(costly.len() <= text::COSTLY_CHARACTERS_MAX);
    let cheaper = text::transliterate(&text, &options);
    let checked = text::check(&text, &options, text::SEGMENTS_MAX);
    let seen = Observed::new()
        .and((flags & 15).into())
        .and(measured.encoding.is_ucs2().into())
        .size(measured.segments as usize)
        .size(costly.len())
        .size(cheaper.characters_replaced() as usize)
        .word(checked.as_ref().err().map_or("", |unsendable| unsendable.code()));
    let Ok(segments) = text::split(&text, &options, 0x1234) else {
        assert!(measured.segments > text::SEGMENTS_MAX);
        return seen.and(1).number();
    };
    assert_eq!(segments.len(), measured.pieces as usize, "what is measured is what is made");
    for segment in &segments {
        if options.concatenation != Concatenation::Payload {
            let carried = match segment.charset {
                Charset::Gsm7 => text::pack(&segment.octets, segment.header.len()).len(),
                _ => segment.octets.len(),
            };
            assert!(
                segment.header.len() + carried <= USER_DATA_MAX,
                "{} octets",
                segment.header.len() + carried
            );
        }
    }
    if checked.is_ok() {
        // U+FEFF at the beginning is a byte order mark to whoever reads it.
        let expected = text.strip_prefix('\u{FEFF}').filter(|_| measured.encoding.is_ucs2()).unwrap_or(&text);
        assert_eq!(text::join(&segments), expected, "what is cut is put together");
        let mut backwards = segments;
        backwards.reverse();
        assert_eq!(text::join(&backwards), expected, "in any order");
    }
    seen.number()
}

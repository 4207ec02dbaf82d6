//! Texts: what people send to us, cut and dressed by carriers, and what we cut ourselves.

use super::{lossy, steer};
use crate::observed::Observed;
use tidings_domain::assembly::{self, Assembly, Bounds, Head, Known, Placing};
use tidings_domain::id::{ConnectionId, InboundId};
use tidings_domain::keyword::{self, Class};
use tidings_domain::template::{Content, Given, Kind, Language, Value, Variable};
use tidings_domain::text::{self, Charset, Concatenation, Languages, Options, Part, Segment};
use tidings_domain::time::Timestamp;

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
/// What people ask, in words and pieces of words.
pub const ASKED_WORDS: &[&[u8]] = &[
    b"stop",
    b"S.T.O.P",
    b"please",
    b"unsubscribe",
    b"START",
    b"help",
    b"cancel",
    b"do not text me",
    b"wrong number",
    b" ",
    b"?",
    b"36180",
    "arrêt".as_bytes(),
    "ＳＴＯＰ".as_bytes(),
    "стоп".as_bytes(),
    "\u{200B}".as_bytes(),
    "\u{301}".as_bytes(),
];

/// Pieces of templates.
pub const TEMPLATE_WORDS: &[&[u8]] = &[
    b"{{ name }}",
    b"{{ count + 1 }}",
    b"{{ name|upper }}",
    b"|date('%d %B')",
    b"|replace('a', name)",
    b"{% if count > 1 %}",
    b"{% elif name %}",
    b"{% else %}",
    b"{% endif %}",
    b"{% for c in name %}",
    b"{% endfor %}",
    b"{% set x = ",
    b" %}",
    b"{% raw %}",
    b"{# ",
    b" * 9999999",
    b" ~ name",
    b"'%'",
    b"[name, name]",
    b"{'a': name}",
    b"name[0]",
    b"(((((((((((((((((((((((((((((((((((((((((",
    b"-----------------------------------------",
    b"~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1~1",
    b".a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
    b"()()()()()()()()()()()()()()()()()()()()",
    b" if 1 else 1 if 1 else 1 if 1 else 1",
    b"{% elif 1 %}{% elif 1 %}{% elif 1 %}{% elif 1 %}",
    b"{% if 1 %}{% if 1 %}{% if 1 %}{% if 1 %}",
    b"'\\x1b'",
    b"{% include 'x' %}",
    b"-%}",
    "\u{1F600}".as_bytes(),
];

/// A text with places, and values to fill it with.
///
/// # Panics
/// If a property does not hold.
pub fn template(octets: &[u8]) -> u64 {
    let (flags, rest) = steer(octets);
    let source = lossy(rest);
    let language = Language::parse("en").expect("a language");
    let name = Kind::Text { most: 40, any_alphabet: flags & 1 == 0, may_be_empty: flags & 2 != 0 };
    let count = Kind::Number { least: -9, most: i64::from(flags) };
    let variable = |name: &str, kind, sample| Variable { name: name.to_owned(), kind, sample };
    let content = Content {
        language: language.clone(),
        texts: [(language.clone(), source.to_string())].into(),
        variables: vec![
            variable("name", name, Value::Text("Ana".to_owned())),
            variable("count", count, Value::Number(1)),
        ],
    };
    let flaws = content.check();
    assert!(flaws.iter().all(|flaw| flaw.detail.len() < 1_000), "{flaws:?}");
    if !flaws.is_empty() {
        return flaws.iter().fold(Observed::new(), |seen, flaw| seen.word(flaw.code)).number();
    }
    // What was accepted can be filled, and says which value is missing.
    let outlook = content.outlook(&language);
    assert!(outlook.is_some_and(|texts| !texts.usual.trim().is_empty()), "it makes a text");
    let missing = content.fill(None, &[("count", Given::Integer(0))]).expect_err("there is no name");
    assert_eq!(missing[0].variable.as_deref(), Some("name"));
    // The source is a value as good as any: nothing in it is read.
    let value: String = source.chars().filter(|c| !c.is_control()).take(40).collect();
    let observed = Observed::new().size(source.len());
    match content.fill(None, &[("name", Given::Text(&value)), ("count", Given::Integer(0))]) {
        Ok(filled) => {
            assert!(filled.text.len() <= 51_255, "{} octets", filled.text.len());
            observed.size(filled.text.len()).number()
        }
        Err(failures) => {
            failures.iter().fold(observed, |seen, failure| seen.word(failure.why.code())).number()
        }
    }
}

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

/// Parts of messages of one person, as a store puts them together by `domain::assembly`.
///
/// # Panics
/// If a property does not hold.
pub fn assembly(octets: &[u8]) -> u64 {
    let mut ended: Vec<(InboundId, Assembly)> = Vec::new();
    let mut waiting: Vec<(Head, Assembly)> = Vec::new();
    let bounds = Bounds { sender: 3, connection: 3, all: 3 };
    let (mut placed, mut repeated, mut told) = (0_usize, 0_usize, 0_usize);
    let mut rest = octets;
    let mut clock = 0;
    while !rest.is_empty() {
        let (flags, after) = steer(rest);
        let (length, after) = steer(after);
        let (user_data, after) = after.split_at(after.len().min(usize::from(length % 32)));
        rest = after;
        clock += i64::from(flags >> 4) * 1_000;
        let now = Timestamp::from_millis(clock);
        let sar = Part { reference: u16::from(flags & 1), total: 1 + (flags >> 1 & 3), number: length >> 5 };
        let charset = CHARSETS[usize::from(flags >> 3 & 1)];
        let segment = Segment::received(charset, user_data, flags & 8 != 0, Some(sar));
        let Some(place) = assembly::place(&segment) else { continue };
        let is_same = |other: &Assembly| {
            other
                .parts()
                .values()
                .next()
                .and_then(|first| first.part)
                .is_some_and(|part| (part.reference, part.total) == (place.reference, place.total))
        };
        let known: Vec<Known<'_>> = waiting
            .iter()
            .map(|(head, assembly)| Known { id: head.id, waits: true, assembly })
            .chain(ended.iter().map(|(id, assembly)| Known { id: *id, waits: false, assembly }))
            .filter(|known| is_same(known.assembly))
            .collect();
        assert!(known.iter().filter(|known| known.waits).count() <= 1, "one waits under a reference");
        let mut ends = Vec::new();
        match assembly::judge(&known, place.number, &segment) {
            Placing::Repeated => repeated += 1,
            Placing::Joins(id) => {
                let (_, assembly) = waiting.iter_mut().find(|(head, _)| head.id == id).expect("it waits");
                let before = assembly.parts().len();
                assembly.add(place.number, segment);
                assert_eq!(assembly.parts().len(), before + 1, "nothing is overwritten");
                placed += 1;
                ends.extend(assembly.is_whole().then_some(id));
            }
            Placing::Begins { ends: before } => {
                placed += 1;
                ends.extend(before);
                let until = assembly::waits_until(now.plus_s(180), &segment, now);
                let id = InboundId::from_key(placed as i64);
                let from = String::new();
                let head = Head { id, connection: ConnectionId::from_key(1), from, until };
                waiting.push((head.clone(), Assembly::of(segment)));
                let heads: Vec<Head> = waiting
                    .iter()
                    .map(|(head, _)| head.clone())
                    .filter(|head| !ends.contains(&head.id))
                    .collect();
                ends.extend(assembly::surplus(&heads, &head, bounds));
            }
        }
        for id in ends {
            let at = waiting.iter().position(|(head, _)| head.id == id).expect("it waits");
            let (_, assembly) = waiting.remove(at);
            let said = assembly.read();
            assert_eq!(said.missing.is_empty(), assembly.is_whole());
            assert!(said.missing.is_empty() || said.text.contains(assembly::GAP), "a gap is marked");
            assert!(!said.text.contains('\0'));
            text::display(&said.text);
            told += assembly.parts().len();
            ended.push((id, assembly));
        }
        assert!(waiting.len() <= bounds.all, "{} wait", waiting.len());
    }
    let left: usize = waiting.iter().map(|(_, assembly)| assembly.parts().len()).sum();
    assert_eq!(told + left, placed, "every part is told once or waits");
    Observed::new().size(placed).size(repeated).size(told).size(waiting.len()).number()
}

/// What a person writes, read for what it asks.
///
/// # Panics
/// If a property does not hold.
pub fn keyword(octets: &[u8]) -> u64 {
    let text = lossy(octets);
    let found = keyword::classify(&text);
    let part = keyword::classify_part(&text);
    let asks = |class: Class| matches!(class, Class::Stop | Class::Doubtful);
    assert_eq!(found.class == Class::Nothing, found.matched.is_empty());
    assert_eq!(
        asks(found.class),
        asks(part.class),
        "a part asks for no more messages as much, if less clearly"
    );
    assert!(!matches!(part.class, Class::Start | Class::Help));
    let loud = keyword::classify(&format!("  {text}\u{200B}\n"));
    assert_eq!(loud.class, found.class, "space and the unseen around it change nothing");
    Observed::new()
        .and(found.class as u64)
        .and(part.class as u64)
        .word(found.matched)
        .and(found.language.is_some().into())
        .number()
}

/// A stranger's text as people see it.
///
/// # Panics
/// If a property does not hold.
pub fn display(octets: &[u8]) -> u64 {
    let text = lossy(octets);
    let shown = text::display(&text);
    assert!(!shown.chars().any(char::is_control), "nothing acts on a terminal");
    assert!(shown.len() <= 10 * text.len() + 6, "{} octets of {}", shown.len(), text.len());
    let isolates = |open: char| shown.chars().filter(|character| *character == open).count();
    assert_eq!(isolates('\u{2068}'), isolates('\u{2069}'), "what is isolated ends");
    Observed::new().size(text.chars().count()).size(shown.chars().count()).number()
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

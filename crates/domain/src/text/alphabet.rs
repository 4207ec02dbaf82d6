//! The GSM 7-bit alphabets: which character is which septet, and back.
//!
//! Holds the default alphabet with its extension table (3GPP TS 23.038 §6.2.1) and the national language
//! tables for Turkish, Spanish and Portuguese (annex A.2 and A.3). It knows septets only: headers, limits and
//! segments are the parent's business. The ten Indic and Urdu tables of the annex are not here.

use super::{Language, Tables};

/// Announces that the next septet is from the extension table (TS 23.038 §6.2.1, note 1).
const ESCAPE: u8 = 0x1B;

/// In an encoding table: this character has no septet.
const ABSENT: u8 = 0xFF;

/// In a decoding table: this septet has no character.
const NOTHING: char = '\0';

/// The characters at and above U+0100 a table can hold; the fullest (Turkish locking shift) has 17.
const HIGH_MAX: usize = 20;

/// One table of 128 septets, readable in both directions.
struct Table {
    /// Septet to character.
    characters: [char; 128],
    /// Character below U+0100 to septet.
    low: [u8; 256],
    /// The other characters, few enough for a linear search.
    high: [(char, u8); HIGH_MAX],
}

impl Table {
    const fn new(characters: [char; 128]) -> Table {
        let mut low = [ABSENT; 256];
        let mut high = [(NOTHING, ABSENT); HIGH_MAX];
        let mut high_len = 0;
        let mut septet = 0;
        while septet < 128 {
            let character = characters[septet];
            if character != NOTHING {
                if (character as usize) < 256 {
                    low[character as usize] = septet as u8;
                } else {
                    high[high_len] = (character, septet as u8);
                    high_len += 1;
                }
            }
            septet += 1;
        }
        Table { characters, low, high }
    }

    /// The septet of `character`, or [`ABSENT`].
    #[inline]
    fn septet(&self, character: char) -> u8 {
        if let Some(&septet) = self.low.get(character as usize) {
            return septet;
        }
        for &(candidate, septet) in &self.high {
            if candidate == character {
                return septet;
            }
            if septet == ABSENT {
                break;
            }
        }
        ABSENT
    }
}

/// A full alphabet from its 128 characters in septet order; `\u{1b}` stands at the place of the escape.
const fn alphabet(text: &str) -> Table {
    let bytes = text.as_bytes();
    let mut characters = [NOTHING; 128];
    let mut at = 0;
    let mut septet = 0;
    while at < bytes.len() {
        // The tables hold nothing beyond U+FFFF, so one to three octets of UTF-8.
        let first = bytes[at] as u32;
        let (code, octets) = if first < 0x80 {
            (first, 1)
        } else if first < 0xE0 {
            ((first & 0x1F) << 6 | (bytes[at + 1] as u32 & 0x3F), 2)
        } else {
            ((first & 0x0F) << 12 | (bytes[at + 1] as u32 & 0x3F) << 6 | (bytes[at + 2] as u32 & 0x3F), 3)
        };
        if septet != ESCAPE as usize {
            characters[septet] = char::from_u32(code).expect("the literal is valid UTF-8");
        }
        at += octets;
        septet += 1;
    }
    assert!(septet == 128, "an alphabet has 128 places");
    Table::new(characters)
}

/// An extension table: the ten entries every one of them has (TS 23.038 §6.2.1.1), and a language's own.
const fn extension(own: &[(u8, char)]) -> Table {
    const EVERYWHERE: [(u8, char); 10] = [
        (0x0A, '\u{0C}'),
        (0x14, '^'),
        (0x28, '{'),
        (0x29, '}'),
        (0x2F, '\\'),
        (0x3C, '['),
        (0x3D, '~'),
        (0x3E, ']'),
        (0x40, '|'),
        (0x65, '€'),
    ];
    let mut characters = [NOTHING; 128];
    let mut at = 0;
    while at < EVERYWHERE.len() {
        characters[EVERYWHERE[at].0 as usize] = EVERYWHERE[at].1;
        at += 1;
    }
    at = 0;
    while at < own.len() {
        characters[own[at].0 as usize] = own[at].1;
        at += 1;
    }
    Table::new(characters)
}

/// TS 23.038 §6.2.1.
static DEFAULT: Table = alphabet(concat!(
    "@£$¥èéùìòÇ\nØø\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "¡ABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "¿abcdefghijklmno",
    "pqrstuvwxyzäöñüà",
));

/// TS 23.038 annex A.3.1.
static TURKISH_LOCKING: Table = alphabet(concat!(
    "@£$¥€éùıòÇ\nĞğ\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞ\u{1b}ŞşßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "İABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "çabcdefghijklmno",
    "pqrstuvwxyzäöñüà",
));

/// TS 23.038 annex A.3.3. (A.3.2, Spanish, is empty: Spanish has a single shift table only.)
static PORTUGUESE_LOCKING: Table = alphabet(concat!(
    "@£$¥êéúíóç\nÔô\rÁá",
    "Δ_ªÇÀ∞^\\€Ó|\u{1b}ÂâÊÉ",
    " !\"#º%&'()*+,-./",
    "0123456789:;<=>?",
    "ÍABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÃÕÚÜ§",
    "~abcdefghijklmno",
    "pqrstuvwxyzãõ`üà",
));

/// TS 23.038 §6.2.1.1.
static DEFAULT_EXTENSION: Table = extension(&[]);

/// TS 23.038 annex A.2.1.
static TURKISH_SINGLE: Table =
    extension(&[(0x47, 'Ğ'), (0x49, 'İ'), (0x53, 'Ş'), (0x63, 'ç'), (0x67, 'ğ'), (0x69, 'ı'), (0x73, 'ş')]);

/// TS 23.038 annex A.2.2.
static SPANISH_SINGLE: Table = extension(&[
    (0x09, 'ç'),
    (0x41, 'Á'),
    (0x49, 'Í'),
    (0x4F, 'Ó'),
    (0x55, 'Ú'),
    (0x61, 'á'),
    (0x69, 'í'),
    (0x6F, 'ó'),
    (0x75, 'ú'),
]);

/// TS 23.038 annex A.2.3.
static PORTUGUESE_SINGLE: Table = extension(&[
    (0x05, 'ê'),
    (0x09, 'ç'),
    (0x0B, 'Ô'),
    (0x0C, 'ô'),
    (0x0E, 'Á'),
    (0x0F, 'á'),
    (0x12, 'Φ'),
    (0x13, 'Γ'),
    (0x15, 'Ω'),
    (0x16, 'Π'),
    (0x17, 'Ψ'),
    (0x18, 'Σ'),
    (0x19, 'Θ'),
    (0x1F, 'Ê'),
    (0x41, 'À'),
    (0x49, 'Í'),
    (0x4F, 'Ó'),
    (0x55, 'Ú'),
    (0x5B, 'Ã'),
    (0x5C, 'Õ'),
    (0x61, 'Â'),
    (0x69, 'í'),
    (0x6F, 'ó'),
    (0x75, 'ú'),
    (0x7B, 'ã'),
    (0x7C, 'õ'),
    (0x7F, 'â'),
]);

/// What each octet of a plain text costs in the default alphabet: 1 or 2 septets, or [`COSTLY_OCTET`] when the
/// text must be looked at character by character.
static OCTET_COST: [u32; 256] = octet_costs();

/// Larger than any sum of septets of a text below this many octets, so that one comparison finds it.
const COSTLY_OCTET: u32 = 1 << 16;

const fn octet_costs() -> [u32; 256] {
    let mut costs = [COSTLY_OCTET; 256];
    let mut octet = 0;
    while octet < 128 {
        if DEFAULT.low[octet] != ABSENT {
            costs[octet] = 1;
        } else if DEFAULT_EXTENSION.low[octet] != ABSENT {
            costs[octet] = 2;
        }
        octet += 1;
    }
    costs
}

fn locking(tables: Tables) -> &'static Table {
    match tables.locking {
        Some(Language::Turkish) => &TURKISH_LOCKING,
        Some(Language::Portuguese) => &PORTUGUESE_LOCKING,
        Some(Language::Spanish) | None => &DEFAULT,
    }
}

fn single(tables: Tables) -> &'static Table {
    match tables.single {
        Some(Language::Turkish) => &TURKISH_SINGLE,
        Some(Language::Spanish) => &SPANISH_SINGLE,
        Some(Language::Portuguese) => &PORTUGUESE_SINGLE,
        None => &DEFAULT_EXTENSION,
    }
}

/// The septets of a text that has an ASCII character of the default alphabet in every place, extension table
/// included. `None` says nothing about the text, only that [`septets`] must look.
///
/// This is the path of nearly every message, so it is one addition per octet.
#[inline]
pub(super) fn ascii_septets(text: &str) -> Option<u32> {
    let mut total = 0;
    // A piece is short enough for the sum to stay below the first costly octet, and for u32 to hold the rest.
    for piece in text.as_bytes().chunks(8 * 1024) {
        let sum: u32 = piece.iter().map(|&octet| OCTET_COST[octet as usize]).sum();
        if sum >= COSTLY_OCTET {
            return None;
        }
        total += sum;
    }
    Some(total)
}

/// The cost of one character: 1 or 2 septets, or `None` if these tables lack it.
#[inline]
pub(super) fn cost(character: char, tables: Tables) -> Option<u32> {
    if locking(tables).septet(character) != ABSENT {
        Some(1)
    } else if single(tables).septet(character) != ABSENT {
        Some(2)
    } else {
        None
    }
}

/// The septets of the text, or `None` if it has a character these tables lack.
pub(super) fn septets(text: &str, tables: Tables) -> Option<u32> {
    text.chars().try_fold(0, |total, character| Some(total + cost(character, tables)?))
}

/// Adds the septets of `text` to `septets`, one octet each. Characters that the tables lack become `?`; the
/// caller has measured the text, so there are none.
pub(super) fn encode(text: &str, tables: Tables, septets: &mut Vec<u8>) {
    let (locking, single) = (locking(tables), single(tables));
    for character in text.chars() {
        let septet = locking.septet(character);
        if septet != ABSENT {
            septets.push(septet);
            continue;
        }
        match single.septet(character) {
            ABSENT => septets.push(b'?'),
            septet => septets.extend([ESCAPE, septet]),
        }
    }
}

/// The text of septets, one octet each; never fails.
///
/// An escaped septet that the extension table lacks shows as the character of the main table, a doubled escape
/// as a space (TS 23.038 §6.2.1.1), an escape at the end as nothing. Octets that are no septet at all (0x80 and
/// up) come from carriers that send Latin-1 under the name of the default alphabet, and are read as that.
pub(super) fn decode(septets: &[u8], tables: Tables) -> String {
    let (locking, single) = (locking(tables), single(tables));
    let mut text = String::with_capacity(septets.len());
    let mut septets = septets.iter().copied();
    while let Some(septet) = septets.next() {
        let character = match septet {
            0x80.. => not_a_septet(septet),
            ESCAPE => match septets.next() {
                None => break,
                Some(ESCAPE) => ' ',
                Some(escaped @ 0x80..) => not_a_septet(escaped),
                Some(escaped) => match single.characters[escaped as usize] {
                    NOTHING => locking.characters[escaped as usize],
                    character => character,
                },
            },
            _ => locking.characters[septet as usize],
        };
        text.push(character);
    }
    text
}

fn not_a_septet(octet: u8) -> char {
    if octet < 0xA0 { char::REPLACEMENT_CHARACTER } else { char::from(octet) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_septet_of_every_table_comes_back_as_itself() {
        let languages = [None, Some(Language::Turkish), Some(Language::Spanish), Some(Language::Portuguese)];
        for locking in languages {
            for single in languages {
                let tables = Tables { locking, single };
                for septet in (0..128u8).filter(|&septet| septet != ESCAPE) {
                    let text = decode(&[septet], tables);
                    let mut octets = Vec::new();
                    encode(&text, tables, &mut octets);
                    assert_eq!(octets, [septet], "{tables:?} {text:?}");

                    let escaped = decode(&[ESCAPE, septet], tables);
                    octets.clear();
                    encode(&escaped, tables, &mut octets);
                    assert_eq!(decode(&octets, tables), escaped, "{tables:?} {escaped:?}");
                }
            }
        }
    }

    #[test]
    fn the_tables_hold_as_many_characters_as_the_specification_prints() {
        let count = |table: &Table| table.characters.iter().filter(|&&c| c != NOTHING).count();
        for table in [&DEFAULT, &TURKISH_LOCKING, &PORTUGUESE_LOCKING] {
            assert_eq!(count(table), 127);
        }
        assert_eq!(count(&DEFAULT_EXTENSION), 10);
        assert_eq!(count(&TURKISH_SINGLE), 17);
        assert_eq!(count(&SPANISH_SINGLE), 19);
        assert_eq!(count(&PORTUGUESE_SINGLE), 37);
    }

    #[test]
    fn what_is_not_in_the_specification_still_reads_as_something() {
        for (septets, text) in [
            (&[0x1B, 0x41][..], "A"),
            (&[0x1B, 0x1B, 0x41], " A"),
            (&[0x41, 0x1B], "A"),
            (&[0xE5, 0x85, 0xFF], "å\u{FFFD}ÿ"),
            (&[0x1B, 0xE5], "å"),
        ] {
            assert_eq!(decode(septets, Tables::DEFAULT), text);
        }
    }
}

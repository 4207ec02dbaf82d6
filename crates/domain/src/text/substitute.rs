//! Makes a text cheaper by writing costly characters with cheap ones.
//!
//! One curly quote turns a text of 160 characters from one segment into three. The substitutions here keep the
//! meaning: typography first, and letters (an accent lost) only where that alone makes the text GSM 7-bit. The
//! characters of two septets stay as they are, since `[` isn't `(`. Emoji and other scripts stay too.

use std::borrow::Cow;

use super::{Measured, Options, Tables, alphabet, measure};

/// What was written for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The character, or a letter with a combining mark.
    pub from: String,
    /// What stands there now; may be empty.
    pub to: String,
    /// How often.
    pub count: u32,
}

/// A text and what [`transliterate`] did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transliterated<'a> {
    /// The text to send; the one that was given if nothing was worth it.
    pub text: Cow<'a, str>,
    /// What was replaced, in the order of first appearance; empty if nothing was.
    pub replacements: Vec<Replacement>,
    /// What the given text costs.
    pub before: Measured,
    /// What `text` costs.
    pub after: Measured,
}

impl Transliterated<'_> {
    /// The segments that were saved.
    pub fn segments_saved(&self) -> u32 {
        self.before.segments - self.after.segments
    }

    /// How many characters were replaced.
    pub fn characters_replaced(&self) -> u32 {
        self.replacements.iter().map(|replacement| replacement.count).sum()
    }
}

/// Writes costly characters with cheap ones.
///
/// Applied only if the result saves at least one segment or is GSM 7-bit where the text was UCS-2; otherwise the
/// text comes back as it was, with no replacements. There are two steps, and the second is taken only if the
/// first doesn't make the text GSM 7-bit and both together do:
///
/// 1. typography: quotes, dashes, ellipsis, spaces and tabs, bullets, ligatures, full-width forms, soft hyphens,
///    letters with a combining mark that the alphabet has as one letter;
/// 2. letters: accents are dropped (`ż` to `z`, but `é` stays, the alphabet has it), Greek capitals are written
///    with the Latin ones that look alike, joiners and direction marks go.
pub fn transliterate<'a>(text: &'a str, options: &Options) -> Transliterated<'a> {
    let before = measure(text, options);
    let unchanged =
        Transliterated { text: Cow::Borrowed(text), replacements: Vec::new(), before, after: before };
    if before.encoding == super::Encoding::Gsm7(Tables::DEFAULT) {
        return unchanged;
    }
    let attempt = |letters| {
        let (text, replacements) = replace(text, letters);
        let after = measure(&text, options);
        Transliterated { text: Cow::Owned(text), replacements, before, after }
    };
    let becomes_gsm7 = |after: Measured| before.encoding.is_ucs2() && !after.encoding.is_ucs2();
    let worth_it = |attempt: &Transliterated| {
        attempt.after.segments < before.segments
            || (attempt.after.segments == before.segments && becomes_gsm7(attempt.after))
    };

    let typography = attempt(false);
    if !typography.after.encoding.is_ucs2() && worth_it(&typography) {
        return typography;
    }
    let letters = attempt(true);
    if !letters.after.encoding.is_ucs2() && worth_it(&letters) {
        return letters;
    }
    if worth_it(&typography) { typography } else { unchanged }
}

fn replace(text: &str, letters: bool) -> (String, Vec<Replacement>) {
    let mut replaced = String::with_capacity(text.len());
    let mut replacements: Vec<Replacement> = Vec::new();
    let mut note = |from: &str, to: &str| match replacements.iter_mut().find(|known| known.from == from) {
        Some(known) => known.count += 1,
        None => replacements.push(Replacement { from: from.into(), to: to.into(), count: 1 }),
    };
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if let Some(&(mark_at, mark)) = characters.peek()
            && let Some(composed) = compose(character, mark)
        {
            characters.next();
            replaced.push_str(composed);
            note(&text[at..mark_at + mark.len_utf8()], composed);
            continue;
        }
        let cheap = match alphabet::cost(character, Tables::DEFAULT) {
            Some(_) => None,
            None if letters => typography(character).or_else(|| letter(character)),
            None => typography(character),
        };
        match cheap {
            Some(cheap) => {
                replaced.push_str(cheap);
                note(&text[at..at + character.len_utf8()], cheap);
            }
            None => replaced.push(character),
        }
    }
    (replaced, replacements)
}

/// The letters of the default alphabet that Unicode can also write with a combining mark.
fn compose(base: char, mark: char) -> Option<&'static str> {
    Some(match (mark, base) {
        ('\u{300}', 'a') => "à",
        ('\u{300}', 'e') => "è",
        ('\u{300}', 'i') => "ì",
        ('\u{300}', 'o') => "ò",
        ('\u{300}', 'u') => "ù",
        ('\u{301}', 'e') => "é",
        ('\u{301}', 'E') => "É",
        ('\u{303}', 'n') => "ñ",
        ('\u{303}', 'N') => "Ñ",
        ('\u{308}', 'a') => "ä",
        ('\u{308}', 'o') => "ö",
        ('\u{308}', 'u') => "ü",
        ('\u{308}', 'A') => "Ä",
        ('\u{308}', 'O') => "Ö",
        ('\u{308}', 'U') => "Ü",
        ('\u{30A}', 'a') => "å",
        ('\u{30A}', 'A') => "Å",
        ('\u{327}', 'C') => "Ç",
        _ => return None,
    })
}

/// Another way to set the same text.
fn typography(character: char) -> Option<&'static str> {
    Some(match character {
        '‘' | '’' | '‚' | '‛' | '′' | '‵' | '‹' | '›' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | 'ˈ' | '`' | '´' => {
            "'"
        }
        '“' | '”' | '„' | '‟' | '″' | '‶' | '«' | '»' | '〝' | '〞' => "\"",
        '\u{2010}'..='\u{2015}' | '⁃' | '−' | '﹘' | '﹣' => "-",
        '…' => "...",
        '‥' => "..",
        '․' | '·' | '∙' => ".",
        '\t' | '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => " ",
        '\u{2028}' | '\u{2029}' => "\n",
        '\u{AD}' | '\u{200B}' | '\u{2060}' | '\u{FEFF}' => "",
        '•' | '‣' | '◦' | '▪' | '●' | '∗' => "*",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        '©' => "(C)",
        '®' => "(R)",
        '™' => "(TM)",
        '№' => "No",
        '½' => "1/2",
        '¼' => "1/4",
        '¾' => "3/4",
        '×' => "x",
        '÷' | '⁄' | '∕' => "/",
        '≤' => "<=",
        '≥' => ">=",
        '¦' => "|",
        '₤' => "£",
        // Symbols that Unicode holds twice.
        '\u{2126}' => "Ω",
        '\u{212A}' => "K",
        '\u{212B}' => "Å",
        '∆' => "Δ",
        '∑' => "Σ",
        '∏' => "Π",
        '\u{FF01}'..='\u{FF5E}' => ascii(character as usize - 0xFF01),
        _ => return None,
    })
}

/// The visible ASCII character of this index, from `!`.
fn ascii(index: usize) -> &'static str {
    const VISIBLE: &str = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`\
                           abcdefghijklmnopqrstuvwxyz{|}~";
    &VISIBLE[index..=index]
}

/// The nearest letter of the alphabet. In Unicode's Latin blocks capitals and small letters take turns, so a range
/// names its pair and which of the two comes first.
fn letter(character: char) -> Option<&'static str> {
    let code = character as u32;
    let even_capital = |pair: [&'static str; 2]| pair[(code % 2) as usize];
    let odd_capital = |pair: [&'static str; 2]| pair[((code + 1) % 2) as usize];
    Some(match character {
        // Marks, joiners, variation selectors and directions say nothing once only Latin letters are left.
        '\u{300}'..='\u{36F}'
        | '\u{200C}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2066}'..='\u{2069}'
        | '\u{FE00}'..='\u{FE0F}' => "",

        'À' | 'Á' | 'Â' | 'Ã' | 'Α' | 'Ά' => "A",
        'È' | 'Ê' | 'Ë' | 'Ε' | 'Έ' | 'Ə' => "E",
        'Ì' | 'Í' | 'Î' | 'Ï' | 'Ι' | 'Ί' | 'Ϊ' => "I",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ο' | 'Ό' | 'Ơ' => "O",
        'Ù' | 'Ú' | 'Û' | 'Ư' => "U",
        'Ý' | 'Ÿ' | 'Υ' | 'Ύ' | 'Ϋ' => "Y",
        'Ð' => "D",
        'Þ' => "Th",
        'á' | 'â' | 'ã' | 'ª' => "a",
        'ç' | '¢' => "c",
        'ê' | 'ë' | 'ə' => "e",
        'í' | 'î' | 'ï' => "i",
        'ð' => "d",
        'ó' | 'ô' | 'õ' | 'º' | 'ơ' => "o",
        'ú' | 'û' | 'ư' | 'µ' | 'μ' => "u",
        'ý' | 'ÿ' => "y",
        'þ' => "th",
        'ƒ' => "f",
        '¹' => "1",
        '²' => "2",
        '³' => "3",

        'Ā'..='ą' => even_capital(["A", "a"]),
        'Ć'..='č' => even_capital(["C", "c"]),
        'Ď'..='đ' => even_capital(["D", "d"]),
        'Ē'..='ě' => even_capital(["E", "e"]),
        'Ĝ'..='ģ' => even_capital(["G", "g"]),
        'Ĥ'..='ħ' => even_capital(["H", "h"]),
        'Ĩ'..='ı' => even_capital(["I", "i"]),
        'Ĳ' | 'ĳ' => even_capital(["IJ", "ij"]),
        'Ĵ' | 'ĵ' => even_capital(["J", "j"]),
        'Ķ' | 'ķ' => even_capital(["K", "k"]),
        'ĸ' => "k",
        'Ĺ'..='ł' => odd_capital(["L", "l"]),
        'Ń'..='ň' => odd_capital(["N", "n"]),
        'ŉ' => "'n",
        'Ŋ' | 'ŋ' => even_capital(["N", "n"]),
        'Ō'..='ő' => even_capital(["O", "o"]),
        'Œ' | 'œ' => even_capital(["OE", "oe"]),
        'Ŕ'..='ř' => even_capital(["R", "r"]),
        'Ś'..='š' => even_capital(["S", "s"]),
        'Ţ'..='ŧ' => even_capital(["T", "t"]),
        'Ũ'..='ų' => even_capital(["U", "u"]),
        'Ŵ' | 'ŵ' => even_capital(["W", "w"]),
        'Ŷ' | 'ŷ' => even_capital(["Y", "y"]),
        'Ź'..='ž' => odd_capital(["Z", "z"]),
        'ſ' => "s",
        'Ǎ' | 'ǎ' => odd_capital(["A", "a"]),
        'Ǐ' | 'ǐ' => odd_capital(["I", "i"]),
        'Ǒ' | 'ǒ' => odd_capital(["O", "o"]),
        'Ǔ'..='ǜ' => odd_capital(["U", "u"]),
        'Ǧ' | 'ǧ' => even_capital(["G", "g"]),
        'Ǩ' | 'ǩ' => even_capital(["K", "k"]),
        'Ǹ' | 'ǹ' => even_capital(["N", "n"]),
        'Ǻ' | 'ǻ' => even_capital(["Å", "å"]),
        'Ǽ' | 'ǽ' => even_capital(["Æ", "æ"]),
        'Ǿ' | 'ǿ' => even_capital(["Ø", "ø"]),
        'Ș' | 'ș' => even_capital(["S", "s"]),
        'Ț' | 'ț' => even_capital(["T", "t"]),
        'Ḃ' | 'ḃ' => even_capital(["B", "b"]),
        'Ḋ' | 'ḋ' | 'Ḍ' | 'ḍ' => even_capital(["D", "d"]),
        'Ḟ' | 'ḟ' => even_capital(["F", "f"]),
        'Ḥ' | 'ḥ' => even_capital(["H", "h"]),
        'Ḳ' | 'ḳ' => even_capital(["K", "k"]),
        'Ḷ' | 'ḷ' => even_capital(["L", "l"]),
        'Ṁ' | 'ṁ' | 'Ṃ' | 'ṃ' => even_capital(["M", "m"]),
        'Ṅ' | 'ṅ' | 'Ṇ' | 'ṇ' => even_capital(["N", "n"]),
        'Ṗ' | 'ṗ' => even_capital(["P", "p"]),
        'Ṛ' | 'ṛ' => even_capital(["R", "r"]),
        'Ṡ'..='ṣ' => even_capital(["S", "s"]),
        'Ṫ'..='ṭ' => even_capital(["T", "t"]),
        'Ẁ'..='ẅ' => even_capital(["W", "w"]),
        'Ẓ' | 'ẓ' => even_capital(["Z", "z"]),
        'ẞ' => "SS",
        // Vietnamese.
        'Ạ'..='ặ' => even_capital(["A", "a"]),
        'Ẹ'..='ệ' => even_capital(["E", "e"]),
        'Ỉ'..='ị' => even_capital(["I", "i"]),
        'Ọ'..='ợ' => even_capital(["O", "o"]),
        'Ụ'..='ự' => even_capital(["U", "u"]),
        'Ỳ'..='ỹ' => even_capital(["Y", "y"]),
        // Greek capitals that look like Latin ones; the others are in the alphabet.
        'Β' => "B",
        'Ζ' => "Z",
        'Η' | 'Ή' => "H",
        'Κ' => "K",
        'Μ' => "M",
        'Ν' => "N",
        'Ρ' => "P",
        'Τ' => "T",
        'Χ' => "X",
        'Ώ' => "Ω",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str, replaced: u32) {
        let done = transliterate(given, &Options::default());
        assert_eq!(done.text, expected);
        assert_eq!(done.characters_replaced(), replaced, "{:?}", done.replacements);
        assert_eq!(done.replacements.is_empty(), given == expected);
        assert_eq!(done.after, measure(expected, &Options::default()));
    }

    #[test]
    fn costly_characters_become_cheap_ones_where_that_pays() {
        // Typography.
        check("“It’s” – well…", "\"It's\" - well...", 5);
        check("a\u{A0}b\tc\u{200B}d\u{AD}e", "a b cde", 4);
        check("o\u{FB03}ce ﬁne", "office fine", 2);
        check("ＡＢ！～", "AB!~", 4);
        check("• one\n• two", "* one\n* two", 2);
        check("5 \u{2126}", "5 Ω", 1);
        // Letters, but those of the alphabet stay, written in either way.
        check("Zażółć gęślą jaźń", "Zazolc gesla jazn", 9);
        check("Příliš žluťoučký kůň, café", "Prilis zlutoucky kun, café", 9);
        check("cafe\u{301} ŵ", "café w", 2);
        check("Cafe\u{301}", "Café", 1);
        check("z\u{30C}ena", "zena", 1);
        check("Tiếng Việt, Đường Nguyễn Huệ", "Tieng Viet, Duong Nguyen Hue", 7);
        check("ΚΑΛΗΜΕΡΑ", "KAΛHMEPA", 7);
        check("Ţară și țară; œuvre", "Tara si tara; oeuvre", 6);
        check("Straẞe", "StraSSe", 1);
        // Nothing to do, or nothing to gain.
        check("", "", 0);
        check("plain [text] with € and é", "plain [text] with € and é", 0);
        check("“Привет”", "“Привет”", 0);
        check("ż 😀", "ż 😀", 0);
        check("👩\u{200D}🚀 ok", "👩\u{200D}🚀 ok", 0);
        check("20°C", "20°C", 0);
    }

    #[test]
    fn text_that_stays_ucs2_is_changed_only_where_a_segment_is_saved() {
        let just_too_long = format!("{}\u{AD}", "ж".repeat(70));
        let done = transliterate(&just_too_long, &Options::default());
        assert_eq!(done.text, "ж".repeat(70));
        assert_eq!((done.before.segments, done.after.segments, done.segments_saved()), (2, 1, 1));
    }

    #[test]
    fn the_report_says_what_and_how_often() {
        let done = transliterate("“a” “b” –", &Options::default());
        let report: Vec<_> =
            done.replacements.iter().map(|r| (r.from.as_str(), r.to.as_str(), r.count)).collect();
        assert_eq!(report, [("“", "\"", 2), ("”", "\"", 2), ("–", "-", 1)]);
    }

    #[test]
    fn a_letter_keeps_its_case() {
        for code in 0xC0..0x1F00 {
            let Some(character) = char::from_u32(code) else { continue };
            let Some(cheap) = letter(character) else { continue };
            assert!(
                cheap.chars().all(|c| alphabet::cost(c, Tables::DEFAULT).is_some()),
                "{character} {cheap}"
            );
            let first = cheap.trim_start_matches('\'').chars().next();
            if let Some(first) = first {
                assert_eq!(first.is_uppercase(), character.is_uppercase(), "{character} {cheap}");
            }
        }
    }
}

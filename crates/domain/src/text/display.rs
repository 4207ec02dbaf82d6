//! Texts of strangers as people may see them: in a terminal, in a log that somebody opens, on a page.
//!
//! What a stranger writes may hold escape codes that a terminal obeys, characters that turn the order of what stands
//! beside them, and characters that nobody sees. [`display`] makes them visible, and leaves everything else as it is, so
//! that a text means the same. Markup is not its business: what shows a text as HTML escapes HTML.
//!
//! Sources: Unicode Standard Annex 9 (bidirectional text) §2, Unicode Technical Report 36 (security) §3, ECMA-48 §5.

use std::borrow::Cow;
use std::fmt::Write as _;

/// As much of somebody's word as an error repeats: its first `most` characters.
pub fn brief(word: &str, most: usize) -> &str {
    let end = word.char_indices().nth(most).map_or(word.len(), |(at, _)| at);
    &word[..end]
}

/// The text, with nothing in it that acts on what shows it. The same text if there is nothing of the kind.
///
/// - A control character of ASCII is shown as its picture (`␛`), a line break as `␊`: it is one line.
/// - Other control characters, characters that embed, override or isolate a direction of writing, line and paragraph
///   separators, characters of no width that join nothing, and tags outside of a flag are shown as `⟨U+202E⟩`.
/// - A text with letters that run from right to left is isolated from what stands beside it (U+2068 … U+2069).
///
/// Joiners, variation selectors and directional marks stay: languages and emoji need them, and they reach no further than
/// their neighbours.
pub fn display(text: &str) -> Cow<'_, str> {
    let mut runs_left = false;
    let mut acts = false;
    for character in text.chars() {
        runs_left |= is_right_to_left(character);
        acts |= is_active(character);
    }
    if !runs_left && !acts {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    if runs_left {
        shown.push(FIRST_STRONG_ISOLATE);
    }
    let mut in_flag = false;
    for character in text.chars() {
        in_flag = character == BLACK_FLAG || in_flag && is_tag(character);
        match character {
            tag if in_flag && is_tag(tag) => shown.push(tag),
            '\0'..='\u{1F}' => shown.push(picture(character)),
            '\u{7F}' => shown.push('\u{2421}'),
            active if is_active(active) => {
                write!(shown, "⟨U+{:04X}⟩", u32::from(active)).expect("a string takes everything");
            }
            other => shown.push(other),
        }
    }
    if runs_left {
        shown.push(POP_ISOLATE);
    }
    Cow::Owned(shown)
}

const FIRST_STRONG_ISOLATE: char = '\u{2068}';
const POP_ISOLATE: char = '\u{2069}';
/// Flags of parts of countries are this, and tags that name the part.
const BLACK_FLAG: char = '\u{1F3F4}';

/// The picture of a control character: they stand in the same order.
fn picture(control: char) -> char {
    char::from_u32(0x2400 + u32::from(control)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

const fn is_tag(character: char) -> bool {
    matches!(character, '\u{E0020}'..='\u{E007F}')
}

/// Whether it does something else than stand there: what [`display`] shows in another form.
pub fn is_active(character: char) -> bool {
    character.is_control()
        || is_tag(character)
        || matches!(character,
            '\u{AD}' | '\u{180E}' | '\u{200B}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E001F}')
}

/// Whether it makes a text run from right to left: the blocks of Hebrew, Arabic and their relatives, and the marks.
const fn is_right_to_left(character: char) -> bool {
    matches!(character,
        '\u{590}'..='\u{8FF}' | '\u{200F}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' | '\u{10800}'..='\u{10FFF}'
        | '\u{1E800}'..='\u{1EFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// P-36
    #[test]
    fn what_acts_is_shown_and_the_rest_is_left_alone() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(display(text), expected);
        }
        check("See you at 5 — på torsdag, 👨‍👩‍👧 ❤️!", "See you at 5 — på torsdag, 👨‍👩‍👧 ❤️!");
        check("<script>alert(1)</script> & \"x\"", "<script>alert(1)</script> & \"x\"");
        // A terminal would clear its screen, set its title, take a command.
        check("\u{1B}[2J\u{1B}]0;x\u{7}", "␛[2J␛]0;x␇");
        check("\u{9B}31m", "⟨U+009B⟩31m");
        check("a\r\nb\tc\0\u{7F}", "a␍␊b␉c␀␡");
        check("\u{2028}\u{2029}", "⟨U+2028⟩⟨U+2029⟩");
        // The end would be read first.
        check("pay\u{202E}001\u{202C} now", "pay⟨U+202E⟩001⟨U+202C⟩ now");
        check("a\u{2067}b\u{2069}c", "a⟨U+2067⟩b⟨U+2069⟩c");
        check("ST\u{200B}OP\u{FEFF}\u{2060}\u{AD}", "ST⟨U+200B⟩OP⟨U+FEFF⟩⟨U+2060⟩⟨U+00AD⟩");
        // Letters for machines that nobody sees, and a flag that is made of them.
        check("hi\u{E0068}\u{E0069}", "hi⟨U+E0068⟩⟨U+E0069⟩");
        let england = "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}";
        check(england, england);
        // Whole languages run that way: they keep their text, and what stands beside it keeps its place.
        check("שלום \u{200F}5", "\u{2068}שלום \u{200F}5\u{2069}");
        check("مرحبا\u{202E}x", "\u{2068}مرحبا⟨U+202E⟩x\u{2069}");
        check("ن\u{200C}م\u{200D}", "\u{2068}ن\u{200C}م\u{200D}\u{2069}");
    }

    proptest! {
        #[test]
        fn nothing_acts_in_what_is_shown(text in "\\PC{0,60}|[\\s\\S]{0,60}") {
            let shown = display(&text);
            let inside = match shown.strip_prefix(FIRST_STRONG_ISOLATE) {
                Some(rest) => rest.strip_suffix(POP_ISOLATE).expect("what is opened is closed"),
                None => &shown,
            };
            let mut in_flag = false;
            for character in inside.chars() {
                in_flag = character == BLACK_FLAG || in_flag && is_tag(character);
                prop_assert!(in_flag || !is_active(character), "{:?}", character);
            }
            // What stands for itself stands there in its order.
            let stays = |text: &str| -> String { text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).collect() };
            prop_assert_eq!(stays(inside), stays(&text));
        }
    }
}

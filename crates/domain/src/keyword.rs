//! What a person's message asks of us: to stop, to start again, for help, or something that a person must look at.
//!
//! The words are data, because the law that names some of them changes and people find new ones:
//! `data/keywords.csv`, with language and source. The rules over them are these, the first that fits decides:
//!
//! 1. The whole message is a keyword. Politeness around it, a number after it (`STOP 36180`) and a repetition do not
//!    count, except for words that are an everyday answer (`cancel`): those must stand alone.
//! 2. The whole message is one word that is nearly an English opt-out of four letters or more: letters doubled, two
//!    neighbours swapped or digits for letters (`0 1 3 4 5` for `o i e a s`); in a word of eight letters or more also one
//!    letter missing, wrong or too many. So `STPO`, `ST0P` and `UNSUSCRIBE` act, and `shop` and `top` do not.
//! 3. A clear phrase stands in it (`do not text me`). In a question, or in more than [`PHRASE_WORDS_MAX`] words, that
//!    is for a person to look at.
//! 4. A word stands in it that makes doubtful what is meant. What the table calls harmless is taken out before 3 and 4
//!    (`stop by`).
//!
//! An opt-out may be made by any reasonable means (47 CFR 64.1200(a)(10)), so doubt goes to a person and never to
//! nobody. Starting again must be meant, so it is never guessed: only rule 1. `YES` is no keyword at all: it answers
//! questions.
//!
//! Nothing here knows who is on the suppression list, or what is answered; see [`crate::suppression`] and
//! [`crate::reply`].

use crate::text::letters::{is_nothing, look_alike, plain, without_accent};
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// The table.
const TABLE: &str = include_str!("../data/keywords.csv");
/// Octets of a message, folded, that are looked at: ten segments. What is longer is no keyword, and at most doubtful.
const FOLDED_MAX: usize = 1_600;
/// Words of a message in which a phrase is clear. In a long text it may be about something else.
pub const PHRASE_WORDS_MAX: usize = 25;
/// The shortest word that may be misspelt.
const MISSPELT_MIN: usize = 4;
/// The shortest word in which any one letter may be wrong.
const ONE_WRONG_MIN: usize = 8;
/// Digits after a keyword that are a number that it was sent to, and not a word.
const NUMBER_DIGITS_MIN: usize = 3;

/// What a message asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Nothing that is known here.
    #[default]
    Nothing,
    /// To get no more messages.
    Stop,
    /// To get messages again.
    Start,
    /// Who we are, and how to reach us.
    Help,
    /// Perhaps to get no more messages: a person must look.
    Doubtful,
}

impl Class {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Stop, Self::Start, Self::Help, Self::Doubtful];

    /// The public word; `None` for nothing.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Stop => Some("stop"),
            Self::Start => Some("start"),
            Self::Help => Some("help"),
            Self::Doubtful => Some("doubtful"),
        }
    }
}

/// A language, as two letters of ISO 639-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language([u8; 2]);

impl Language {
    /// English.
    pub const ENGLISH: Self = Self(*b"en");

    /// Of two small letters that are known to be such.
    pub(crate) const fn of(letters: [u8; 2]) -> Self {
        Self(letters)
    }

    /// Reads two small letters.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_lowercase).then_some(Self(letters))
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of two ASCII letters")
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was found in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keyword {
    /// What it asks.
    pub class: Class,
    /// In which language; `None` where the word is the same everywhere.
    pub language: Option<Language>,
    /// The line of the table that fits, folded; empty for nothing. Never the person's own text.
    pub matched: &'static str,
    /// Of an opt-out: whether it is of everything whichever sender it was said to, since it says so, or says more than a word.
    pub is_of_all: bool,
}

impl Keyword {
    /// Nothing was found.
    pub const NOTHING: Self = Self { class: Class::Nothing, language: None, matched: "", is_of_all: false };

    fn of(row: &'static Row, class: Class) -> Self {
        let is_of_all = matches!(row.rule, Rule::StopAll | Rule::StopAllAlone | Rule::StopPhrase);
        Self { class, language: row.language, matched: &row.text, is_of_all }
    }
}

/// Says what a whole message asks. Takes time that grows with the length of the text, and memory that does not.
pub fn classify(text: &str) -> Keyword {
    let folded = Folded::of(text);
    let table = &*WORDS;
    let spelt = folded.text.replace(' ', "");
    let mut words: Vec<&str> = folded.text.split(' ').filter(|word| !word.is_empty()).collect();
    // S.T.O.P
    if words.len() > 1 && words.iter().all(|word| word.chars().count() == 1) {
        words = vec![&spelt];
    }
    words.dedup();
    if !folded.is_cut
        && let Some(found) = table.whole(&words)
    {
        return found;
    }
    table.inside(&words, folded.asks || folded.is_cut)
}

/// Says what one of several parts of a message asks. A word by itself may be the end of a sentence there, so only phrases
/// are clear, and an opt-out by a word is doubtful.
pub fn classify_part(text: &str) -> Keyword {
    let found = classify(text);
    match found.class {
        Class::Stop if !WORDS.is_phrase(found.matched) => Keyword { class: Class::Doubtful, ..found },
        Class::Start | Class::Help => Keyword::NOTHING,
        Class::Stop | Class::Doubtful | Class::Nothing => found,
    }
}

/// The words of a text as words of the table are compared, and whether these are all of it and it asks nothing.
pub(crate) fn words_of(text: &str) -> (Vec<String>, bool) {
    let folded = Folded::of(text);
    let words = folded.text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    (words, !folded.is_cut && !folded.asks)
}

/// Whether a text names a word that asks for help.
pub fn names_help(text: &str) -> bool {
    let (words, _) = words_of(text);
    words.iter().any(|word| classify(word).class == Class::Help)
}

/// Whether a text is one word, whatever is around it.
pub fn is_one_word(text: &str) -> bool {
    let folded = Folded::of(text).text;
    !folded.is_empty() && !folded.contains(' ')
}

/// The first word of a message, as words of the table are compared: without case, accents and what is around it. `None` if
/// there is none.
pub fn first_word(text: &str) -> Option<String> {
    let folded = Folded::of(text).text;
    folded.split(' ').next().filter(|word| !word.is_empty()).map(str::to_owned)
}

// ── the table ───────────────────────────────────────────────────────────────────────────────────────────────

/// What a line of the table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rule {
    Stop,
    StopAlone,
    StopAll,
    StopAllAlone,
    StopPhrase,
    Start,
    Help,
    Doubt,
    Harmless,
    Filler,
}

impl Rule {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "stop" => Self::Stop,
            "stop_alone" => Self::StopAlone,
            "stop_all" => Self::StopAll,
            "stop_all_alone" => Self::StopAllAlone,
            "stop_phrase" => Self::StopPhrase,
            "start" => Self::Start,
            "help" => Self::Help,
            "doubt" => Self::Doubt,
            "harmless" => Self::Harmless,
            "filler" => Self::Filler,
            _ => return None,
        })
    }

    /// What a message asks that is nothing but this.
    const fn whole(self) -> Option<Class> {
        match self {
            Self::Stop | Self::StopAlone | Self::StopAll | Self::StopAllAlone => Some(Class::Stop),
            Self::Start => Some(Class::Start),
            Self::Help => Some(Class::Help),
            Self::StopPhrase | Self::Doubt | Self::Harmless | Self::Filler => None,
        }
    }
}

#[derive(Debug)]
struct Row {
    rule: Rule,
    language: Option<Language>,
    /// Folded.
    text: String,
    /// How many words.
    words: usize,
}

/// The table, by what is looked for.
#[derive(Debug, Default)]
struct Words {
    whole: HashMap<&'static str, &'static Row>,
    /// By their first word, the longest first.
    inside: HashMap<&'static str, Vec<&'static Row>>,
    fillers: HashMap<&'static str, usize>,
    fillers_words_max: usize,
    misspelt: Vec<(String, &'static Row)>,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    lines.map(|line| row(line).unwrap_or_else(|| panic!("in data/keywords.csv: {line}"))).collect()
});

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::of(&ROWS));

fn row(line: &str) -> Option<Row> {
    let mut cells = line.splitn(4, ',');
    let rule = Rule::parse(cells.next()?)?;
    let language = match cells.next()? {
        "*" => None,
        letters => Some(Language::parse(letters)?),
    };
    let text = Folded::of(cells.next()?).text;
    cells.next().filter(|source| !source.is_empty())?;
    let words = text.split(' ').count();
    (!text.is_empty()).then_some(Row { rule, language, text, words })
}

impl Words {
    fn of(rows: &'static [Row]) -> Self {
        let mut words = Self::default();
        for row in rows {
            if row.rule.whole().is_some() {
                words.whole.entry(&row.text).or_insert(row);
            }
            if matches!(row.rule, Rule::StopPhrase | Rule::Doubt | Rule::Harmless) {
                let first = row.text.split(' ').next().expect("a line has a word");
                words.inside.entry(first).or_default().push(row);
            }
            if row.rule == Rule::Filler {
                words.fillers.insert(&row.text, row.words);
                words.fillers_words_max = words.fillers_words_max.max(row.words);
            }
            let is_english = row.language.is_none_or(|language| language == Language::ENGLISH);
            let is_stop = matches!(row.rule, Rule::Stop | Rule::StopAll);
            if is_stop && is_english && row.words == 1 && row.text.len() >= MISSPELT_MIN {
                words.misspelt.push((without_doubles(&row.text), row));
            }
        }
        for rows in words.inside.values_mut() {
            rows.sort_by_key(|row| std::cmp::Reverse(row.words));
        }
        words
    }

    fn is_phrase(&self, matched: &str) -> bool {
        !self.whole.contains_key(matched)
    }

    /// Rules 1 and 2.
    fn whole(&self, words: &[&str]) -> Option<Keyword> {
        let find = |words: &[&str]| self.whole.get(words.join(" ").as_str()).copied();
        let asks = |row: &'static Row| row.rule.whole().map(|class| Keyword::of(row, class));
        // No keyword has more words than this, with what may stand around it.
        if words.is_empty() || words.len() > PHRASE_WORDS_MAX {
            return None;
        }
        if let Some(row) = find(words) {
            return asks(row);
        }
        let bare = self.bare(words);
        if let Some(row) = find(bare) {
            return match row.rule {
                Rule::StopAlone | Rule::StopAllAlone => Some(Keyword::of(row, Class::Doubtful)),
                _ => asks(row),
            };
        }
        match bare {
            [word] => self.nearly(word).map(|row| Keyword::of(row, Class::Stop)),
            _ => None,
        }
    }

    /// Without the politeness at either end, and without a number after it.
    fn bare<'w, 't>(&self, mut words: &'w [&'t str]) -> &'w [&'t str] {
        loop {
            let before = words.len();
            for n in (1..=self.fillers_words_max).rev().filter(|n| *n < before) {
                if self.fillers.contains_key(words[..n].join(" ").as_str()) {
                    words = &words[n..];
                    break;
                }
                if self.fillers.contains_key(words[words.len() - n..].join(" ").as_str()) {
                    words = &words[..words.len() - n];
                    break;
                }
            }
            if let [rest @ .., last] = words
                && !rest.is_empty()
                && last.len() >= NUMBER_DIGITS_MIN
                && last.bytes().all(|octet| octet.is_ascii_digit())
            {
                words = rest;
            }
            if words.len() == before {
                return words;
            }
        }
    }

    fn nearly(&self, word: &str) -> Option<&'static Row> {
        if !word.is_ascii() || word.len() > 2 * ONE_WRONG_MIN {
            return None;
        }
        let written = without_doubles(&letters_for_digits(word));
        let near = |(meant, row): &&(String, &'static Row)| {
            written == *meant
                || is_swapped(&written, meant)
                || (row.text.len() >= ONE_WRONG_MIN && is_one_off(&written, meant))
        };
        self.misspelt.iter().find(near).map(|(_, row)| *row)
    }

    /// Rules 3 and 4.
    fn inside(&self, words: &[&str], must_ask: bool) -> Keyword {
        let mut doubt = None;
        let mut at = 0;
        while at < words.len() {
            let starting = self.inside.get(words[at]).map(Vec::as_slice).unwrap_or_default();
            let fits = |row: &&&'static Row| {
                words.len() - at >= row.words
                    && row.text.split(' ').eq(words[at..at + row.words].iter().copied())
            };
            let Some(row) = starting.iter().find(fits) else {
                at += 1;
                continue;
            };
            match row.rule {
                Rule::StopPhrase if !must_ask && words.len() <= PHRASE_WORDS_MAX => {
                    return Keyword::of(row, Class::Stop);
                }
                Rule::Harmless => {}
                _ => doubt = doubt.or(Some(Keyword::of(row, Class::Doubtful))),
            }
            at += row.words;
        }
        doubt.unwrap_or_default()
    }
}

// ── folding ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A text as words of small letters and digits, one space between them: without case, accents, punctuation, emoji, and
/// characters that nobody sees; letters in their plain form where Unicode has fancy ones.
#[derive(Debug, PartialEq, Eq)]
struct Folded {
    text: String,
    /// There was a question mark.
    asks: bool,
    /// There was more than is looked at.
    is_cut: bool,
}

impl Folded {
    fn of(text: &str) -> Self {
        let mut folded =
            Self { text: String::with_capacity(text.len().min(FOLDED_MAX)), asks: false, is_cut: false };
        let mut between = false;
        for character in text.chars().map(plain).flat_map(char::to_lowercase) {
            if is_nothing(character) {
                continue;
            }
            folded.asks |= matches!(character, '?' | '¿' | '؟' | '⁇' | '⁈' | '⁉');
            if !character.is_alphanumeric() {
                between = true;
                continue;
            }
            if folded.text.len() >= FOLDED_MAX {
                folded.is_cut = true;
                break;
            }
            if std::mem::take(&mut between) && !folded.text.is_empty() {
                folded.text.push(' ');
            }
            match without_accent(character) {
                Some(letters) => folded.text.push_str(letters),
                // Of small letters alone, so that the large and the small of another script stay one word.
                None => folded.text.push(look_alike(character).unwrap_or(character)),
            }
        }
        folded
    }
}

// ── misspellings ────────────────────────────────────────────────────────────────────────────────────────────

fn letters_for_digits(word: &str) -> String {
    let letter = |character| match character {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        other => other,
    };
    word.chars().map(letter).collect()
}

fn without_doubles(word: &str) -> String {
    let mut last = None;
    word.chars().filter(|character| last.replace(*character) != Some(*character)).collect()
}

/// Whether two neighbours are swapped, and nothing else is different. Both are ASCII.
fn is_swapped(written: &str, meant: &str) -> bool {
    let (a, b) = (written.as_bytes(), meant.as_bytes());
    let Some(n) = a.iter().zip(b).position(|(a, b)| a != b) else { return false };
    a.len() == b.len() && n + 1 < a.len() && (a[n], a[n + 1]) == (b[n + 1], b[n]) && a[n + 2..] == b[n + 2..]
}

/// Whether one letter is missing, wrong or too many. Both are ASCII.
fn is_one_off(written: &str, meant: &str) -> bool {
    let (a, b) = (written.as_bytes(), meant.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len() as isize - b.len() as isize {
        0 => !a.is_empty() && a[1..] == b[1..],
        1 => a[1..] == *b,
        -1 => *a == b[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// `class,language,text`: what people write and what it is, from the file's name on one line each.
    const SPELLINGS: &str = include_str!("../testdata/keywords.csv");

    /// A text with what cannot be seen spelled out as `\u{…}`.
    fn unescaped(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\\u{") {
            let (code, after) = after.split_once('}').unwrap();
            out.push_str(before);
            out.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
            rest = after;
        }
        out + rest
    }

    fn spellings() -> Vec<(Class, &'static str, String)> {
        let lines = SPELLINGS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
        lines
            .map(|line| {
                let (class, rest) = line.split_once(',').unwrap();
                let (language, text) = rest.split_once(',').unwrap();
                let class = Class::ALL
                    .into_iter()
                    .find(|known| known.as_str().unwrap_or("nothing") == class)
                    .unwrap_or_else(|| panic!("{line}"));
                (class, language, unescaped(text))
            })
            .collect()
    }

    /// P-22
    #[test]
    fn people_are_understood_as_the_table_says() {
        let all = spellings();
        let wrong: Vec<String> = all
            .iter()
            .filter(|(class, _, text)| classify(text).class != *class)
            .map(|(class, _, text)| format!("{text:?} is {:?}, not {class:?}", classify(text)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let stops = all.iter().filter(|(class, ..)| *class == Class::Stop);
        let languages: BTreeSet<&str> = stops.clone().map(|(_, language, _)| *language).collect();
        let not = all.iter().filter(|(class, ..)| matches!(class, Class::Nothing | Class::Doubtful));
        assert!(stops.count() >= 60 && languages.len() >= 8 && not.count() >= 40);
    }

    #[test]
    fn each_line_of_the_table_says_one_thing() {
        let mut known: HashMap<&str, &Row> = HashMap::new();
        for row in ROWS.iter().filter(|row| row.rule.whole().is_some()) {
            if let Some(other) = known.insert(&row.text, row) {
                panic!("{row:?} and {other:?}");
            }
            let wanted = row.rule.whole().unwrap();
            assert_eq!(classify(&row.text).class, wanted, "{row:?}");
            assert_eq!(classify(&row.text.to_uppercase()).class, wanted, "{row:?}");
        }
        for row in ROWS.iter() {
            let class = classify(&format!("well {} then", row.text)).class;
            match row.rule {
                Rule::StopPhrase => assert_eq!(class, Class::Stop, "{row:?}"),
                Rule::Doubt => assert_eq!(class, Class::Doubtful, "{row:?}"),
                Rule::Harmless => assert_eq!(class, Class::Nothing, "{row:?}"),
                _ => assert!(!matches!(class, Class::Start | Class::Help), "{row:?}"),
            }
        }
    }

    #[test]
    fn a_word_may_stop_one_programme_and_whoever_says_more_means_everything() {
        let check = |text: &str, is_of_all: bool| {
            let found = classify(text);
            assert_eq!((found.class, found.is_of_all), (Class::Stop, is_of_all), "{text}");
        };
        for word in [
            "STOP",
            "stop now",
            "STPO",
            "please stop",
            "STOP 72345",
            "OPT OUT",
            "un-subscribe",
            "cancel",
            "Arrêt!",
            "baja",
        ] {
            check(word, false);
        }
        for all in [
            "STOP ALL",
            "StopAll!",
            "stop all please",
            "end all",
            "unsubscribe all",
            "leave me alone",
            "stop texts",
        ] {
            check(all, true);
        }
        for all in [
            "tout arrêter",
            "parar todo",
            "alles stoppen",
            "parar tudo",
            "ferma tutto",
            "stop alles",
            "stop wszystko",
            "stoppa allt",
            "ALL STOP",
            "alto todo",
            "baja todos",
            "sair tudo",
            "wypisz wszystko",
            "koniec wszystko",
            "avsluta allt",
        ] {
            check(all, true);
        }
        check("do not text me again", true);
        check("please stop all messages", true);
        assert!(!classify("START").is_of_all && !classify("see you").is_of_all);
    }

    #[test]
    fn a_word_in_one_of_several_parts_is_doubtful() {
        let check = |text: &str, expected: Class| assert_eq!(classify_part(text).class, expected, "{text}");
        check("stop", Class::Doubtful);
        check("end", Class::Doubtful);
        check("start", Class::Nothing);
        check("help", Class::Nothing);
        check("please do not text me again", Class::Stop);
        check("see you then", Class::Nothing);
    }

    #[test]
    fn the_language_and_the_line_of_the_table_are_given() {
        let check = |text: &str, language: Option<&str>, matched: &str| {
            let found = classify(text);
            assert_eq!(
                (found.language, found.matched),
                (language.and_then(Language::parse), matched),
                "{text}"
            );
        };
        check("STOP", None, "stop");
        check("Arrêt!", Some("fr"), "arret");
        check("unsuscribe", Some("en"), "unsubscribe");
        check("Bitte schreiben Sie mir nicht mehr.", Some("de"), "schreiben sie mir nicht mehr");
        check("see you", None, "");
    }

    #[test]
    fn a_long_text_is_looked_at_to_its_bound() {
        let flood = "a ".repeat(50_000);
        assert_eq!(classify(&flood), Keyword::NOTHING);
        assert_eq!(classify(&format!("stop {flood}")).class, Class::Doubtful);
        assert_eq!(classify(&"\u{200B}".repeat(30_000)), Keyword::NOTHING);
        assert_eq!(classify(&format!("{}stop", "\u{200B}".repeat(30_000))).class, Class::Stop);
        assert!(Folded::of(&"stop".repeat(25_000)).text.len() <= FOLDED_MAX + 3);
    }

    proptest! {
        #[test]
        fn any_text_is_classed_and_its_folding_is_stable(text in "\\PC{0,200}|[\\s\\S]{0,200}|[a-z ?!.]{0,60}") {
            let once = Folded::of(&text);
            prop_assert_eq!(&Folded::of(&once.text).text, &once.text);
            prop_assert!(!once.text.starts_with(' ') && !once.text.ends_with(' ') && !once.text.contains("  "));
            classify(&text);
            classify_part(&text);
        }

        #[test]
        fn case_space_and_the_unseen_change_nothing(
            n in 0_usize..1_000, upper in any::<bool>(), unseen in "[\u{200B}\u{200E}\u{202E}\u{FE0F}\u{2060}]{0,4}", space in "[ \t\n]{1,4}",
        ) {
            let all = spellings();
            let (class, _, text) = &all[n % all.len()];
            let text = if upper { text.to_uppercase() } else { text.clone() };
            let text = text.replace(' ', &space);
            prop_assert_eq!(classify(&format!("{unseen}{space}{text}{space}{unseen}")).class, *class);
        }
    }
}

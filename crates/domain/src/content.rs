//! What a text has in it that carriers filter, and what it lacks that they want to see: links of public shorteners, goods
//! that are not for everybody, shouting, and offers that do not say who sends them or how to end them.
//!
//! Each check may be off, warn, or stop the message, as the operator decides. A carrier's filter is secret and changes; this
//! is what the trade's own rules name, so that a text is corrected before a thousand of it are blocked. The words are data:
//! `data/content.csv`, with sources.
//!
//! Whoever writes around a filter uses letters that look alike, signs that nobody sees and full-width dots. So a text is read
//! in its plain form: without accents and what is invisible, Latin where a letter of another script looks the same, small.
//!
//! It does not know which message to a person is the first, so each is looked at as if it was; and it does not follow links.

use crate::purpose::Purpose;
use crate::text::letters::{is_nothing, look_alike, plain, without_accent};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

/// The table.
const TABLE: &str = include_str!("../data/content.csv");
/// Letters with two cases from which on a text can be shouting: an abbreviation is not.
const SHOUT_LETTERS_MIN: usize = 20;
/// The share of capitals among them from which on it is: percent.
const SHOUT_PERCENT: usize = 80;

/// What is matched of an opt-out by a reply.
const REPLY: &str = "reply";

/// A thing that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// A link of a shortener that everybody may use.
    Shortener,
    /// Goods and words that networks carry only for senders who are registered for them: SHAFT (sex, hate, alcohol,
    /// firearms, tobacco), and cannabis.
    Restricted,
    /// Nearly all of it is in capitals.
    Capitals,
    /// It does not say how to opt out.
    OptOut,
    /// It does not say who sends it.
    Brand,
}

impl Check {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [Self::Shortener, Self::Restricted, Self::Capitals, Self::OptOut, Self::Brand];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shortener => "url_shortener",
            Self::Restricted => "restricted_goods",
            Self::Capitals => "all_capitals",
            Self::OptOut => "no_opt_out_wording",
            Self::Brand => "no_brand",
        }
    }
}

/// What is done about what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Act {
    /// It is not looked for.
    #[default]
    Off,
    /// The message goes, and its caller is told.
    Warn,
    /// The message does not go.
    Stop,
}

/// What an operator decides about texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The purposes whose texts are looked at.
    pub purposes: Vec<Purpose>,
    /// [`Check::Shortener`].
    pub shorteners: Act,
    /// [`Check::Restricted`].
    pub restricted: Act,
    /// [`Check::Capitals`].
    pub capitals: Act,
    /// [`Check::OptOut`].
    pub opt_out: Act,
    /// [`Check::Brand`]; nothing is looked for without a brand.
    pub brand: Act,
    /// The names by which people know the sender: one of them is enough. One that is no [name](is_name) is passed over.
    pub brands: Vec<String>,
}

impl Policy {
    /// No text is looked at.
    pub const OFF: Self = Self {
        purposes: Vec::new(),
        shorteners: Act::Off,
        restricted: Act::Off,
        capitals: Act::Off,
        opt_out: Act::Off,
        brand: Act::Off,
        brands: Vec::new(),
    };

    /// Whether texts of a purpose are looked at.
    pub fn concerns(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }

    /// The same, with nothing that stops.
    #[must_use]
    pub fn warning_only(self) -> Self {
        let warns = |act| if act == Act::Stop { Act::Off } else { act };
        Self {
            shorteners: warns(self.shorteners),
            restricted: warns(self.restricted),
            capitals: warns(self.capitals),
            opt_out: warns(self.opt_out),
            brand: warns(self.brand),
            ..self
        }
    }

    /// What is done about a check.
    pub const fn act(&self, check: Check) -> Act {
        match check {
            Check::Shortener => self.shorteners,
            Check::Restricted => self.restricted,
            Check::Capitals => self.capitals,
            Check::OptOut => self.opt_out,
            Check::Brand => self.brand,
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// What was looked for.
    pub check: Check,
    /// The shortener, the kind of goods, or `reply` where nobody can reply; empty for the others. Never the text.
    pub matched: &'static str,
}

impl fmt::Display for Finding {
    /// A sentence without a full stop, and without the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matched = self.matched;
        match self.check {
            Check::Shortener => {
                write!(f, "the text has a link of {matched}, a shortener that everybody may use")
            }
            Check::Restricted => write!(f, "the text has words about {matched}, which networks restrict"),
            Check::Capitals => f.write_str("nearly all of the text is in capitals"),
            Check::OptOut if matched == REPLY => {
                f.write_str("the text says how to opt out by a reply, and nobody can write to its sender")
            }
            Check::OptOut => f.write_str("the text does not say how to opt out"),
            Check::Brand => f.write_str("the text does not say who sends it"),
        }
    }
}

/// What is in a text of a purpose of that for which this is to be done. `can_reply` is whether people can write to its sender. Costs
/// nothing where the policy does that for nothing; else it takes time that grows with the text.
pub fn look(policy: &Policy, purpose: Purpose, act: Act, text: &str, can_reply: bool) -> Vec<Finding> {
    let is_asked = |check: &Check| policy.concerns(purpose) && policy.act(*check) == act;
    let mut asked = Check::ALL.into_iter().filter(is_asked).peekable();
    if act == Act::Off || asked.peek().is_none() {
        return Vec::new();
    }
    let plain = Plain::of(text);
    let words = plain.words();
    let found = |is_found: bool| is_found.then_some("");
    let findings = asked.filter_map(|check| {
        let matched = match check {
            Check::Shortener => WORDS.shortener(&plain.signs),
            Check::Restricted => WORDS.restricted(&words),
            Check::Capitals => found(is_shouting(text)),
            Check::OptOut => {
                let in_vain = !can_reply && WORDS.tells_to_reply(&words);
                in_vain.then_some(REPLY).or_else(|| found(!WORDS.says_how_to_opt_out(&words)))
            }
            Check::Brand => found(plain.names_one_of(&policy.brands) == Some(false)),
        };
        matched.map(|matched| Finding { check, matched })
    });
    findings.collect()
}

fn is_shouting(text: &str) -> bool {
    let capitals = text.chars().filter(|character| character.is_uppercase()).count();
    let small = text.chars().filter(|character| character.is_lowercase()).count();
    let letters = capitals + small;
    letters >= SHOUT_LETTERS_MIN && capitals * 100 >= letters * SHOUT_PERCENT
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A text in its plain form: small letters, digits and signs, without what nobody sees.
struct Plain {
    signs: String,
}

impl Plain {
    fn of(text: &str) -> Self {
        // Most texts are plain but for their capitals.
        if text.bytes().all(Self::is_plain) {
            return Self { signs: text.to_ascii_lowercase() };
        }
        Self::of_any(text)
    }

    /// Whether it stays as it is, or is made small. An apostrophe is nothing.
    const fn is_plain(octet: u8) -> bool {
        matches!(octet, b' '..=b'~') && !matches!(octet, b'\'' | b'`')
    }

    fn of_any(text: &str) -> Self {
        let mut signs = String::with_capacity(text.len());
        let seen = text.chars().map(plain).filter(|character| !is_nothing(*character));
        let latin = seen.map(|character| look_alike(character).unwrap_or(character));
        for character in latin.flat_map(char::to_lowercase).filter(|character| !is_nothing(*character)) {
            match without_accent(character) {
                Some(letters) => signs.push_str(letters),
                None => signs.push(character),
            }
        }
        Self { signs }
    }

    /// Its words, without what stands between them.
    fn words(&self) -> Vec<&str> {
        self.signs.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
    }

    /// Its letters and digits, without what stands between them.
    fn close(&self) -> String {
        self.words().concat()
    }

    /// Whether a name stands in it, however it is spaced. `None` if none is a name.
    fn names_one_of(&self, names: &[String]) -> Option<bool> {
        let all = self.close();
        let names = names.iter().map(|name| Self::of(name).close()).filter(|name| !name.is_empty());
        names.map(|name| all.contains(&name)).reduce(|one, other| one || other)
    }
}

/// Whether a text can be looked for as a name: it has a letter or a digit. Without one it would be found in every text.
pub fn is_name(text: &str) -> bool {
    !Plain::of(text).close().is_empty()
}

/// Whether a name stands in a text, however it is spaced. Takes time that grows with the text.
pub fn names(text: &str, name: &str) -> bool {
    Plain::of(text).names_one_of(&[name.to_owned()]) == Some(true)
}

/// Whether a text says how to opt out.
pub fn says_how_to_opt_out(text: &str) -> bool {
    WORDS.says_how_to_opt_out(&Plain::of(text).words())
}

// ── the table ───────────────────────────────────────────────────────────────────────────────────────────────

struct Words {
    shorteners: HashSet<&'static str>,
    /// By the first word, with the rest of the phrase and the kind of goods.
    restricted: Phrases,
    opt_out: Phrases,
}

type Phrases = HashMap<&'static str, Vec<(Vec<&'static str>, &'static str)>>;

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words = Words { shorteners: HashSet::new(), restricted: HashMap::new(), opt_out: HashMap::new() };
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1) {
        words.add(line).unwrap_or_else(|| panic!("in data/content.csv: {line}"));
    }
    words
});

/// The word in the table for wording that says how to opt out by a reply.
const OPT_OUT_REPLY: &str = "opt_out_reply";

/// Reads the table. For the start of a program, so that the first message doesn't wait.
pub fn warm_up() {
    LazyLock::force(&WORDS);
}

impl Words {
    fn add(&mut self, line: &'static str) -> Option<()> {
        const GOODS: [&str; 6] = ["sex", "hate", "alcohol", "firearms", "tobacco", "cannabis"];
        let mut cells = line.splitn(4, ',');
        let (check, language, text) = (cells.next()?, cells.next()?, cells.next()?);
        cells.next().filter(|source| !source.is_empty() && !language.is_empty())?;
        let phrases = match check {
            "shortener" => return (text.contains('.') && self.shorteners.insert(text)).then_some(()),
            "opt_out" | OPT_OUT_REPLY => &mut self.opt_out,
            goods => GOODS.contains(&goods).then_some(&mut self.restricted)?,
        };
        let mut rest = text.split(' ');
        let first = rest.next().filter(|word| !word.is_empty())?;
        phrases.entry(first).or_default().push((rest.collect(), check));
        Some(())
    }

    /// The first shortener that is a host in it, or above one.
    fn shortener(&self, signs: &str) -> Option<&'static str> {
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let hosts = signs.split(|c: char| !is_of_host(c)).map(|host| host.trim_matches(['.', '-']));
        hosts.filter(|host| host.contains('.')).find_map(|host| {
            let above = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
            std::iter::once(host).chain(above).find_map(|host| self.shorteners.get(host).copied())
        })
    }

    fn restricted(&self, words: &[&str]) -> Option<&'static str> {
        phrase(&self.restricted, words)
    }

    fn says_how_to_opt_out(&self, words: &[&str]) -> bool {
        phrase(&self.opt_out, words).is_some()
    }

    fn tells_to_reply(&self, words: &[&str]) -> bool {
        (0..words.len()).any(|at| phrase_at(&self.opt_out, words, at) == Some(OPT_OUT_REPLY))
    }
}

/// The check of the first phrase that stands among the words.
fn phrase(phrases: &Phrases, words: &[&str]) -> Option<&'static str> {
    (0..words.len()).find_map(|at| phrase_at(phrases, words, at))
}

/// The check of the phrase that stands there.
fn phrase_at(phrases: &Phrases, words: &[&str], at: usize) -> Option<&'static str> {
    let fits = |(rest, _): &&(Vec<&str>, &str)| words[at + 1..].starts_with(rest);
    phrases.get(words[at])?.iter().find(fits).map(|(_, check)| *check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(act: Act) -> Policy {
        Policy {
            purposes: vec![Purpose::Marketing],
            shorteners: act,
            restricted: act,
            capitals: act,
            opt_out: act,
            brand: act,
            brands: vec!["Acme Clinic".to_owned()],
        }
    }

    fn found(text: &str) -> Vec<String> {
        let told = |finding: Finding| {
            format!("{} {}", finding.check.as_str(), finding.matched).trim_end().to_owned()
        };
        look(&all(Act::Warn), Purpose::Marketing, Act::Warn, text, true).into_iter().map(told).collect()
    }

    const GOOD: &str = "Acme Clinic: check-ups are 20 % off in May, acme.example/may. Reply STOP to end.";

    #[test]
    fn what_carriers_filter_is_found_and_the_rest_is_not() {
        let check = |text: &str, expected: &[&str]| assert_eq!(found(text), expected, "{text}");
        check(GOOD, &[]);
        check("20 % off", &["no_opt_out_wording", "no_brand"]);
        check("acme-clinic: 20 % off. STOP to opt out", &[]);
        check("ACMECLINIC: 20 % off. Pour ne plus recevoir: STOP au 36180", &[]);
        check("ACME CLINIC: ALL CHECK-UPS ARE 20 % OFF IN MAY. REPLY STOP TO END.", &["all_capitals"]);
        check("Acme Clinic: SALE! Reply STOP.", &[]);
        let with = |more: &str| format!("{GOOD} {more}");
        let one = |more: &str, expected: &str| check(&with(more), &[expected]);
        one("https://bit.ly/3xYz", "url_shortener bit.ly");
        one("BIT.LY/3xYz", "url_shortener bit.ly");
        one("see bit.ly.", "url_shortener bit.ly");
        one("http://www.tinyurl.com:443/x?y=1", "url_shortener tinyurl.com");
        one("//user@is.gd/a", "url_shortener is.gd");
        one("wine tasting", "restricted_goods alcohol");
        one("Happy hour!", "restricted_goods alcohol");
        one("vapes", "restricted_goods tobacco");
        for fine in [
            "rabbit.ly/x",
            "bit.lyx",
            "bit. ly",
            "next.ly/x",
            "a.bit",
            "swine",
            "begun",
            "begin",
            "happy, an hour",
        ] {
            check(&with(fine), &[]);
        }
    }

    #[test]
    fn a_reply_is_no_way_to_opt_out_where_nobody_can_reply() {
        let policy = Policy { opt_out: Act::Warn, purposes: vec![Purpose::Marketing], ..Policy::OFF };
        let check = |text: &str, expected: [Option<&str>; 2]| {
            let of = |can_reply| {
                let found = look(&policy, Purpose::Marketing, Act::Warn, text, can_reply);
                found.first().map(|one| one.matched)
            };
            assert_eq!([true, false].map(of), expected, "{text}");
        };
        check("20 % off. Reply STOP to end", [None, Some("reply")]);
        check("20 %. Antworten Sie mit STOP", [None, Some("reply")]);
        check("Unsubscribe at acme.example/stop, or reply STOP", [None, Some("reply")]);
        check("20 % off. Unsubscribe: acme.example/stop", [None, None]);
        check("20 %. STOP au 36180", [None, None]);
        check("20 % off", [Some(""), Some("")]);
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        let all: String = (0..=127).filter(|octet| Plain::is_plain(*octet)).map(char::from).collect();
        assert!(all.len() > 90);
        assert_eq!(Plain::of(&all).signs, Plain::of_any(&all).signs);
    }

    /// Letters that look alike, what nobody sees, and dots that programs take for dots.
    #[test]
    fn a_disguise_does_not_help() {
        let one =
            |more: &str, expected: &str| assert_eq!(found(&format!("{GOOD} {more}")), [expected], "{more}");
        for disguised in [
            "bit\u{200B}.ly/x",
            "b\u{AD}it.l\u{2060}y/x",
            "ｂｉｔ．ｌｙ/x",
            "bit。ly/x",
            "bit․ly/x",
            "bіt.ly/x",
            "ВІТ.LY/x",
            "𝐛𝐢𝐭.𝐥𝐲/x",
            "ⓑⓘⓣ.ly/x",
            "bít.lý/x",
            "b\u{301}it.ly/x",
            "\u{202E}bit.ly\u{202C}/x",
            "https:∕∕bit.ly⁄x",
        ] {
            one(disguised, "url_shortener bit.ly");
        }
        for disguised in ["v\u{200B}odka", "ＶＯＤＫＡ", "vоdkа", "VОDКА", "vódka", "𝓿𝓸𝓭𝓴𝓪", "νodka"]
        {
            one(disguised, "restricted_goods alcohol");
        }
        // Nor does it hide what should be there.
        assert_eq!(found("Ａcme Ｃlinic: 20 %. Ｒeply ＳＴＯＰ"), Vec::<String>::new());
        assert_eq!(
            found("ＡＣＭＥ ＣＬＩＮＩＣ: ＡＬＬ ＯＦＦ ＮＯＷ ＡＮＤ ＨＥＲＥ. ＲＥＰＬＹ ＳＴＯＰ"),
            ["all_capitals"]
        );
    }

    #[test]
    fn each_check_does_what_the_policy_says_and_other_purposes_are_left_alone() {
        let bad = "GET VODKA AT BIT.LY/X NOW NOW NOW NOW";
        let checks = |policy: &Policy, purpose, act| -> Vec<Check> {
            look(policy, purpose, act, bad, true).into_iter().map(|finding| finding.check).collect()
        };
        let acts = [Act::Off, Act::Warn, Act::Stop];
        for (does, asked) in acts.into_iter().flat_map(|does| acts.map(|asked| (does, asked))) {
            let expected = if does == asked && does != Act::Off { Check::ALL.to_vec() } else { Vec::new() };
            assert_eq!(checks(&all(does), Purpose::Marketing, asked), expected, "{does:?} {asked:?}");
        }
        let one = Policy { capitals: Act::Stop, purposes: vec![Purpose::Alert], ..all(Act::Warn) };
        assert_eq!(checks(&one, Purpose::Alert, Act::Stop), [Check::Capitals]);
        assert!(!checks(&one, Purpose::Alert, Act::Warn).contains(&Check::Capitals));
        assert_eq!(checks(&one, Purpose::Marketing, Act::Stop), []);
        let nameless = Policy { brands: Vec::new(), ..all(Act::Warn) };
        let says_nothing_of_it =
            |policy: Policy| !checks(&policy, Purpose::Marketing, Act::Warn).contains(&Check::Brand);
        assert!(says_nothing_of_it(nameless));
        // Nor does what is no name stand in every text, or in none.
        let sign = |brands: &[&str]| Policy {
            brands: brands.iter().map(|brand| (*brand).to_owned()).collect(),
            ..all(Act::Warn)
        };
        assert!(says_nothing_of_it(sign(&["***", "\u{200B}"])));
        assert!(!says_nothing_of_it(sign(&["***", "Acme"])));
        assert!(says_nothing_of_it(sign(&["***", "vod-ka"])));
        assert!(is_name("Ⓐ+") && is_name("小米") && is_name("+1") && !is_name("**") && !is_name(""));
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text: String) {
            let _ = found(&text);
        }

        /// Where invisible signs stand does not matter.
        #[test]
        fn a_sign_that_nobody_sees_changes_nothing(at in 0_usize..80, sign in prop::sample::select(vec!['\u{200B}', '\u{AD}', '\u{FEFF}', '\u{301}', '\u{E0020}'])) {
            let plain = "Vodka at bit.ly/x for all of you";
            let at = plain.char_indices().map(|(at, _)| at).nth(at % plain.len()).unwrap_or(0);
            let written = format!("{}{sign}{}", &plain[..at], &plain[at..]);
            prop_assert_eq!(found(&written), found(plain));
        }
    }
}

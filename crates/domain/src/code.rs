//! One-time codes: what a person is sent to show that a phone number is theirs, and how often it may be guessed.
//!
//! A code lives ten minutes at most, bears five wrong tries and is good once. It is sent again as it is: a second text
//! that makes the first one worthless fails everybody who reads the one that came first, and guessing is bounded by the
//! tries of the code and not by its texts. Sending again makes no code live longer.
//!
//! **The code itself is nowhere here, nor in the store.** It follows from the number of its first message and a key that
//! lies outside of the database; `engine` makes it when a text goes out and when one is checked. A text that waits has a
//! *blank* in the place of its code: as many control characters (U+0080 to U+009F) as the code has digits. No text of a
//! caller can have any ([`crate::text::check`] refuses them), and which they are says under which key they were left,
//! so that a node with another key does not send a wrong code. See decision 23.
//!
//! How fast codes may be asked for is in [`crate::velocity`].

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::id::{CodeId, MessageId};
use crate::keyword::Language;
use crate::time::Timestamp;
use crate::velocity;
use std::borrow::Cow;
use std::fmt;

/// Digits of a code, at least: with fewer, five tries are a chance worth taking.
pub const DIGITS_MIN: u8 = 4;
/// Digits of a code, at most: people must copy them.
pub const DIGITS_MAX: u8 = 10;
/// Digits where nobody says how many.
pub const DIGITS: u8 = 6;
/// The shortest life of a code: seconds. A text takes some on its way.
pub const LIFE_MIN_S: i64 = 10;
/// The longest: seconds. Whoever finds a code later must find it dead.
pub const LIFE_MAX_S: i64 = 600;
/// The life where nobody says how long: seconds.
pub const LIFE_S: i64 = 300;
/// Wrong tries that a code bears. The one after them finds it spent, also the right one.
pub const TRIES_MAX: u8 = 5;
/// How often a code is sent, the first time included.
pub const SENDS_MAX: u8 = 5;
/// How long somebody has to wait for the text before it is sent again: seconds; configuration, with this default.
pub const RESEND_AFTER_S: i64 = 30;
/// How long the record of a code is kept after its end, for who asks what became of it: milliseconds. Seven days.
pub const KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// Characters of the name that a text begins with.
pub const BRAND_MAX: usize = 30;

/// Where a template has the code.
const PLACE: &str = "{code}";
/// Where a template has the name.
const BRAND: &str = "{brand}";

/// The texts of those who write none, with the name in brackets. They name no link and ask for nothing, fit one segment
/// of GSM 7-bit, and so have no letter that its alphabet lacks.
static TEXTS: [(Language, &str); 9] = [
    (language(*b"en"), "[{brand}: ]your code is {code}. Do not share it."),
    (language(*b"fr"), "[{brand} : ]votre code est {code}. Ne le partagez pas."),
    (language(*b"es"), "[{brand}: ]su codigo es {code}. No lo comparta."),
    (language(*b"de"), "[{brand}: ]Ihr Code ist {code}. Geben Sie ihn nicht weiter."),
    (language(*b"pt"), "[{brand}: ]o seu codigo: {code}. Nao o partilhe."),
    (language(*b"it"), "[{brand}: ]il suo codice: {code}. Non lo condivida."),
    (language(*b"nl"), "[{brand}: ]uw code is {code}. Deel hem niet."),
    (language(*b"pl"), "[{brand}: ]Twoj kod to {code}. Nie podawaj go nikomu."),
    (language(*b"sv"), "[{brand}: ]din kod är {code}. Dela den inte."),
];

const fn language(letters: [u8; 2]) -> Language {
    Language::of(letters)
}

// ── the life of a code ──────────────────────────────────────────────────────────────────────────────────────

/// A code, without the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Its id: the number of its first message, from which the code follows.
    pub id: CodeId,
    /// Whose.
    pub realm: Realm,
    /// The phone number that it is for, and no other.
    pub recipient: PhoneNumber,
    /// How many digits it has.
    pub digits: u8,
    /// Under which key it was made: see [`Mark`].
    pub mark: Mark,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is good for nothing.
    pub expires_at: Timestamp,
    /// What became of it so far.
    pub life: Life,
}

/// What changes of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How it stands, but for the time.
    pub state: State,
    /// Wrong tries so far.
    pub wrong: u8,
    /// How often it was sent.
    pub sends: u8,
    /// When it was last sent: when its newest message was accepted.
    pub sent_at: Timestamp,
    /// Its newest message.
    pub message: MessageId,
}

/// How a code stands, but for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits to be typed in.
    Pending,
    /// It was typed in right.
    Approved,
    /// Its owner took it back.
    Canceled,
    /// It was typed in wrong too often.
    Spent,
}

impl State {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Canceled, Self::Spent];
}

/// How a code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It waits to be typed in.
    Pending,
    /// It was typed in right.
    Approved,
    /// Its time is over.
    Expired,
    /// Its owner took it back.
    Canceled,
    /// It was typed in wrong too often.
    Spent,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Expired, Self::Canceled, Self::Spent];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
            Self::Spent => "spent",
        }
    }
}

/// What a try leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was right: the number is the person's.
    Right,
    /// It was wrong.
    Wrong,
    /// Nothing was compared: the code is in this status, and stays so.
    Over(Status),
}

/// Why a code is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Codes are asked for too fast.
    TooFast(velocity::Refused),
    /// It was sent a moment ago: not before then.
    TooEarly(Timestamp),
    /// It was sent as often as may be.
    NoSendsLeft,
    /// It is in this status, and not to be sent any more.
    Over(Status),
    /// There is no such code.
    Unknown,
}

impl Refused {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooFast(why) => why.reason.as_str(),
            Self::TooEarly(_) => "too_early",
            Self::NoSendsLeft => "no_sends_left",
            Self::Over(_) => "over",
            Self::Unknown => "unknown",
        }
    }
}

impl Code {
    /// How it stands.
    pub const fn status(&self, now: Timestamp) -> Status {
        match self.life.state {
            State::Approved => Status::Approved,
            State::Canceled => Status::Canceled,
            State::Spent => Status::Spent,
            State::Pending if now.as_millis() >= self.expires_at.as_millis() => Status::Expired,
            State::Pending => Status::Pending,
        }
    }

    /// Wrong tries that it still bears.
    pub const fn tries_left(&self) -> u8 {
        match self.life.state {
            State::Pending => TRIES_MAX.saturating_sub(self.life.wrong),
            State::Approved | State::Canceled | State::Spent => 0,
        }
    }

    /// From when it may be sent again; `None` if it was sent as often as may be.
    pub const fn resend_at(&self, resend_after_s: i64) -> Option<Timestamp> {
        if self.life.sends >= SENDS_MAX { None } else { Some(self.life.sent_at.plus_s(resend_after_s)) }
    }

    /// What a try leads to, and the life afterwards.
    pub const fn check(&self, is_right: bool, now: Timestamp) -> (Verdict, Life) {
        match self.status(now) {
            Status::Pending if is_right => (Verdict::Right, Life { state: State::Approved, ..self.life }),
            Status::Pending => {
                let wrong = self.life.wrong + 1;
                let state = if wrong >= TRIES_MAX { State::Spent } else { State::Pending };
                (Verdict::Wrong, Life { state, wrong, ..self.life })
            }
            over => (Verdict::Over(over), self.life),
        }
    }

    /// The life after it was sent again with this message.
    ///
    /// # Errors
    /// Why it may not be.
    pub fn resend(&self, message: MessageId, resend_after_s: i64, now: Timestamp) -> Result<Life, Refused> {
        match self.status(now) {
            Status::Pending => {}
            over => return Err(Refused::Over(over)),
        }
        let at = self.resend_at(resend_after_s).ok_or(Refused::NoSendsLeft)?;
        if now < at {
            return Err(Refused::TooEarly(at));
        }
        Ok(Life { sends: self.life.sends + 1, sent_at: now, message, ..self.life })
    }

    /// The life after it was taken back; `None` if it waits no more.
    pub fn cancel(&self, now: Timestamp) -> Option<Life> {
        (self.status(now) == Status::Pending).then_some(Life { state: State::Canceled, ..self.life })
    }

    /// From then on its record is not needed.
    pub const fn forget_at(&self) -> Timestamp {
        self.expires_at.plus_ms(KEPT_MS)
    }
}

/// A code to be sent for the first time, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCode {
    /// How many digits it has.
    pub digits: u8,
    /// How long it lives: seconds.
    pub life_s: i64,
    /// The caller's own name for it.
    pub reference: Option<String>,
}

impl NewCode {
    /// The code whose first message this is.
    pub fn sent(
        self,
        realm: Realm,
        message: MessageId,
        recipient: PhoneNumber,
        mark: Mark,
        now: Timestamp,
    ) -> Code {
        let Self { digits, life_s, reference } = self;
        Code {
            id: CodeId::from_key(message.key()),
            realm,
            recipient,
            digits,
            mark,
            reference,
            created_at: now,
            expires_at: now.plus_s(life_s),
            life: Life { state: State::Pending, wrong: 0, sends: 1, sent_at: now, message },
        }
    }
}

// ── the text ────────────────────────────────────────────────────────────────────────────────────────────────

/// Bits of a mark that one control character holds.
const BITS: u32 = 5;
/// The first of the control characters that make a blank, and how many there are.
const BLANK: std::ops::RangeInclusive<char> = '\u{80}'..='\u{9F}';

/// Tells keys apart, in twenty bits: as many as the shortest blank holds. It tells nothing about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(u32);

impl Mark {
    /// From any number: of its bits, the lowest twenty count.
    pub const fn new(number: u32) -> Self {
        Self(number & 0xF_FFFF)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The n-th character of a blank that was left under this key.
    fn character(self, n: usize) -> char {
        let shift = BITS * (n as u32 % u32::from(DIGITS_MIN));
        char::from(0x80 | ((self.0 >> shift) & 0x1F) as u8)
    }

    /// A blank for a code of so many digits.
    fn blank(self, digits: u8) -> String {
        (0..usize::from(digits)).map(|n| self.character(n)).collect()
    }
}

/// The words around a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTemplate;

impl fmt::Display for NoTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The text must have {code} in it, once, and no control characters.")
    }
}

impl std::error::Error for NoTemplate {}

impl Template {
    /// Reads a caller's own text. `{brand}` in it is the name.
    ///
    /// # Errors
    /// The code has no place in it, or several, or there is a blank in it already.
    pub fn parse(text: &str, brand: Option<&str>) -> Result<Self, NoTemplate> {
        let text = text.replace(BRAND, brand.unwrap_or_default());
        let is_one = text.matches(PLACE).count() == 1;
        let is_clean = !text.chars().any(|character| BLANK.contains(&character));
        if is_one && is_clean { Ok(Self(text)) } else { Err(NoTemplate) }
    }

    /// Our own text in a language, or in English if we have none in that.
    ///
    /// # Errors
    /// The name has something in it that a text cannot have.
    pub fn built_in(wanted: Option<Language>, brand: Option<&str>) -> Result<Self, NoTemplate> {
        let of = |language: Language| TEXTS.iter().find(|(known, _)| *known == language);
        let (_, text) = wanted.and_then(of).unwrap_or(&TEXTS[0]);
        let (opening, rest) = text.split_once(']').unwrap_or(("", text));
        let text = match brand {
            Some(_) => format!("{}{rest}", opening.trim_start_matches('[')),
            // A sentence of its own begins with a capital letter.
            None => {
                let mut letters = rest.chars();
                let first = letters.next().into_iter().flat_map(char::to_uppercase);
                first.chain(letters).collect()
            }
        };
        Self::parse(&text, brand)
    }

    /// The text as it is stored: with a blank.
    pub fn blank(&self, digits: u8, mark: Mark) -> String {
        self.0.replace(PLACE, &mark.blank(digits))
    }
}

/// The text with something of the same length in the place of a code, for measuring it; as it is if it has no blank.
pub fn sample(text: &str) -> Cow<'_, str> {
    replace(text, '0')
}

/// The text for eyes that must not see the code.
pub fn masked(text: &str) -> Cow<'_, str> {
    replace(text, '•')
}

fn replace(text: &str, with: char) -> Cow<'_, str> {
    if !has_blank(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if BLANK.contains(&c) { with } else { c }).collect())
}

/// Whether the text waits for a code.
pub fn has_blank(text: &str) -> bool {
    text.chars().any(|character| BLANK.contains(&character))
}

/// The blank of a text was left under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherKey;

/// The same text with another key's blank in the place of its own: to send it again.
pub fn blank_again(text: &str, mark: Mark) -> String {
    let mut place = 0;
    let character = |c: char| {
        if !BLANK.contains(&c) {
            return c;
        }
        place += 1;
        mark.character(place - 1)
    };
    text.chars().map(character).collect()
}

/// The text with the code in it that `code` makes of its number of digits; as it is if it has no blank.
///
/// # Errors
/// The blank was left under another key.
pub fn filled<'t>(
    text: &'t str,
    mark: Mark,
    code: impl FnOnce(u8) -> String,
) -> Result<Cow<'t, str>, OtherKey> {
    let blank: String = text.chars().filter(|character| BLANK.contains(character)).collect();
    if blank.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let digits = blank.chars().count() as u8;
    if blank != mark.blank(digits) || !text.contains(&blank) {
        return Err(OtherKey);
    }
    Ok(Cow::Owned(text.replacen(&blank, &code(digits), 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;
    use crate::text;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const MARK: Mark = Mark::new(0xABCDE);

    fn new() -> Code {
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
        let number = PhoneNumber::from_digits(46_700_000_001).expect("it has the length of one");
        let new = NewCode { digits: DIGITS, life_s: LIFE_S, reference: None };
        new.sent(realm, MessageId::from_key(7), number, MARK, START)
    }

    /// Plays a story: `w` a wrong try, `r` a right one, `s` sent again, `c` canceled, a number of seconds that pass.
    fn check(story: &str, expected: &str) {
        let (mut code, mut now, mut told) = (new(), START, Vec::new());
        for word in story.split_whitespace() {
            match word {
                "w" | "r" => {
                    let (verdict, life) = code.check(word == "r", now);
                    code.life = life;
                    told.push(match verdict {
                        Verdict::Right => "right",
                        Verdict::Wrong => "wrong",
                        Verdict::Over(status) => status.as_str(),
                    });
                }
                "s" => match code.resend(MessageId::from_key(8), RESEND_AFTER_S, now) {
                    Ok(life) => {
                        code.life = life;
                        told.push("sent");
                    }
                    Err(why) => told.push(why.as_str()),
                },
                "c" => match code.cancel(now) {
                    Some(life) => {
                        code.life = life;
                        told.push("taken-back");
                    }
                    None => told.push("too-late"),
                },
                seconds => now = now.plus_s(seconds.parse().expect("a number of seconds")),
            }
        }
        told.push(code.status(now).as_str());
        assert_eq!(told.join(" "), expected, "{story}");
    }

    #[test]
    fn a_code_is_good_once_within_its_time_and_bears_five_wrong_tries() {
        check("", "pending");
        check("r", "right approved");
        check("r r", "right approved approved");
        check("r w", "right approved approved");
        check("w w w w r", "wrong wrong wrong wrong right approved");
        check("w w w w w", "wrong wrong wrong wrong wrong spent");
        check("w w w w w r", "wrong wrong wrong wrong wrong spent spent");
        check("299 r", "right approved");
        check("300 r", "expired expired");
        check("r 300", "right approved");
        check("c r", "taken-back canceled canceled");
        check("c c", "taken-back too-late canceled");
        check("300 c", "too-late expired");
        check("w w w w w 300", "wrong wrong wrong wrong wrong spent");
    }

    #[test]
    fn a_code_is_sent_five_times_at_most_and_not_at_once_again() {
        check("s", "too_early pending");
        check("29 s", "too_early pending");
        check("30 s", "sent pending");
        check("30 s s", "sent too_early pending");
        check("30 s 30 s 30 s 30 s 30 s 30 s", "sent sent sent sent no_sends_left no_sends_left pending");
        check("r 30 s", "right over approved");
        check("c 30 s", "taken-back over canceled");
        check("300 s", "over expired");
        // The tries of a code that is sent again are not new ones.
        check("w w w w 30 s w r", "wrong wrong wrong wrong sent wrong spent spent");
        // Nor is its time.
        check("270 s 30 r", "sent expired expired");
    }

    #[test]
    fn a_blank_takes_the_place_of_the_code_and_measures_like_it() {
        for digits in DIGITS_MIN..=DIGITS_MAX {
            let template = Template::parse("Acme: {code} is yours", None).expect("a template");
            let stored = template.blank(digits, MARK);
            assert!(has_blank(&stored));
            assert_eq!(sample(&stored), format!("Acme: {} is yours", "0".repeat(digits.into())));
            assert_eq!(masked(&stored), format!("Acme: {} is yours", "•".repeat(digits.into())));
            let code = "1234567890"[..usize::from(digits)].to_owned();
            let filled = filled(&stored, MARK, |wanted| {
                assert_eq!(wanted, digits);
                code.clone()
            });
            assert_eq!(filled, Ok(Cow::Owned(format!("Acme: {code} is yours"))));
            let options = text::Options::default();
            assert_eq!(
                text::measure(&sample(&stored), &options),
                text::measure(&format!("Acme: {code} is yours"), &options)
            );
        }
    }

    #[test]
    fn a_blank_of_another_key_is_not_filled() {
        let template = Template::parse("{code}", None).expect("a template");
        for number in [0, 1, 0xABCDF, 0x2BCDE, 0xFFFFF] {
            let other = Mark::new(number);
            for digits in [DIGITS_MIN, DIGITS, DIGITS_MAX] {
                assert_eq!(filled(&template.blank(digits, MARK), other, |_| "x".into()), Err(OtherKey));
                let again = blank_again(&template.blank(digits, MARK), other);
                assert_eq!(again, template.blank(digits, other));
            }
        }
        assert_eq!(filled("no code", MARK, |_| unreachable!()), Ok(Cow::Borrowed("no code")));
    }

    #[test]
    fn no_caller_can_write_a_blank() {
        for blank in ["\u{80}", "\u{9F}", "Your code \u{8D}\u{85}\u{80}\u{81}"] {
            assert!(text::check(blank, &text::Options::default(), 10).is_err(), "{blank:?}");
            assert_eq!(Template::parse(&format!("{blank} {{code}}"), None), Err(NoTemplate));
            assert_eq!(Template::parse("{brand} {code}", Some(blank)), Err(NoTemplate));
        }
        for none in ["", "no place", "{code} {code}"] {
            assert_eq!(Template::parse(none, None), Err(NoTemplate), "{none}");
        }
        assert_eq!(Template::parse("{brand}", Some("{code}{code}")), Err(NoTemplate));
    }

    #[test]
    fn each_language_has_a_text_of_one_segment_with_and_without_a_name() {
        for (language, _) in TEXTS {
            for brand in [None, Some("A name of thirty characters ab")] {
                let template = Template::built_in(Some(language), brand).expect("a template");
                let stored = template.blank(DIGITS_MAX, MARK);
                let measured = text::measure(&sample(&stored), &text::Options::default());
                assert!(
                    matches!(measured.encoding, text::Encoding::Gsm7(_)) && measured.segments == 1,
                    "{stored}"
                );
                assert!(!stored.contains(['[', ']', '{', '}']), "{stored}");
            }
        }
        let text = |language: &str, brand| {
            let template = Template::built_in(Language::parse(language), brand).expect("a template");
            sample(&template.blank(4, MARK)).into_owned()
        };
        assert_eq!(text("en", None), "Your code is 0000. Do not share it.");
        assert_eq!(text("sv", Some("Acme")), "Acme: din kod är 0000. Dela den inte.");
        assert_eq!(text("xx", Some("Acme")), "Acme: your code is 0000. Do not share it.");
    }
}

//! Segments of contacts: queries over what is known of people, that are kept under a name. (A segment of a *text* is another
//! thing, and is in [`text`](crate::text).)
//!
//! A [`Query`] is a tree of conditions. [`parse`] reads one from its written form and says by its path what is wrong;
//! [`write`] gives the written form, and what was written reads back as itself. [`matches`] is the one function that says
//! whether a query finds a person. It is asked with the facts about that person; [`Query::needs`] says which kinds of facts it
//! looks at, and [`settled`] whether any are needed for a contact at all, so that no others have to be read.
//!
//! **About which number?** Consent and suppression belong to a number, and what counts is the usual one, the first of the
//! contact: to it a message would be sent. History is the person's: what happened with any number of the contact counts.

use crate::account::Realm;
use crate::address::Country;
use crate::consent::{Channel, History, Scope};
use crate::contact::{
    self, Contact, Decimal, FieldName, Group, Invalid, Language, OWNER_MAX, TEXT_MAX, Type, Value,
};
use crate::event::Kind;
use crate::id::SegmentId;
use crate::purpose::Purpose;
use crate::quiet_hours::Place;
use crate::spelling::nearest;
use crate::suppression;
use crate::time::Timestamp;
use jiff::civil::Date;
use std::fmt;

/// Levels of `all`, `any` and `not` around a condition.
pub const DEPTH_MAX: usize = 5;
/// Conditions of one query.
pub const CONDITIONS_MAX: usize = 50;
/// The longest time that a condition looks back or ahead: days.
pub const DAYS_MAX: u32 = 3_650;
/// Characters of the name of a segment.
pub const NAME_MAX: usize = 100;
/// Characters of its description.
pub const DESCRIPTION_MAX: usize = 500;
/// What is wrong with one query is said so often.
const WRONGS_MAX: usize = 20;
/// A day: milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

// ── a segment ───────────────────────────────────────────────────────────────────────────────────────────────

/// A query that is kept under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// Whose it is.
    pub realm: Realm,
    /// Its name, which is its own in the realm: see [`name`].
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// Whom it finds.
    pub query: Query,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A change that somebody asks for. `None` leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The name.
    pub name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The query.
    pub query: Option<Query>,
}

impl Segment {
    /// The segment after a change.
    #[must_use]
    pub fn changed(&self, change: &Change, now: Timestamp) -> Self {
        let Change { name, description, query } = change.clone();
        let changed = Self {
            name: name.unwrap_or_else(|| self.name.clone()),
            description: description.unwrap_or_else(|| self.description.clone()),
            query: query.unwrap_or_else(|| self.query.clone()),
            ..self.clone()
        };
        let updated_at = if changed == *self { self.updated_at } else { now };
        Self { updated_at, ..changed }
    }
}

/// Reads a name: one line of 1 to [`NAME_MAX`] characters that is no id, because either names a segment.
///
/// # Errors
/// Why it is none.
pub fn name(text: &str) -> Result<String, Invalid> {
    let name = contact::line(text, NAME_MAX)?;
    if name.parse::<SegmentId>().is_ok() { Err(Invalid::Reserved) } else { Ok(name) }
}

/// Reads a description: one line of at most [`DESCRIPTION_MAX`] characters, which may be empty.
///
/// # Errors
/// Why it is none.
pub fn description(text: &str) -> Result<String, Invalid> {
    match contact::line(text, DESCRIPTION_MAX) {
        Err(Invalid::Empty) => Ok(String::new()),
        read => read,
    }
}

// ── queries ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Whom to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Who fits all of these; there is one at least.
    All(Vec<Query>),
    /// Who fits any of these; there is one at least.
    Any(Vec<Query>),
    /// Who does not fit this.
    Not(Box<Query>),
    /// Who fits this.
    Is(Condition),
}

/// One thing that is asked of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Of a field of the account's own.
    Field(FieldName, Test),
    /// That it is in this group.
    Group(Group),
    /// That its language is this one, or a kind of this one: `en` finds `en-GB`.
    Language(Language),
    /// That its usual number is from this country.
    Country(Country),
    /// That this one looks after it, whatever the case of the letters.
    Owner(String),
    /// That this is known of it.
    Known(Known),
    /// Of a time of the contact itself.
    Time(Which, When),
    /// That it agreed, as far as the purpose needs, and that this stands now.
    Consent(Purpose, Channel),
    /// Whether its usual number is on the suppression list.
    Suppressed(bool),
    /// That this happened to a message to it, of this purpose if one is named, within so many days if they are given.
    History(Deed, Option<Purpose>, Option<u32>),
    /// That it wrote to us, within so many days if they are given.
    Answered(Option<u32>),
}

/// What is asked of a field. One that is missing, or of another type, passes no test but [`Test::IsNot`] and
/// `Exists(false)`. Texts are compared whatever the case of their letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is this.
    Is(Value),
    /// It is missing or something else: the opposite of [`Test::Is`].
    IsNot(Value),
    /// This stands in its text.
    Contains(String),
    /// Its text begins with this.
    BeginsWith(String),
    /// It is a larger number.
    Above(Decimal),
    /// It is this number or a larger one.
    AtLeast(Decimal),
    /// It is a smaller number.
    Below(Decimal),
    /// It is this number or a smaller one.
    AtMost(Decimal),
    /// It is this day or a later one.
    From(Date),
    /// It is an earlier day.
    Before(Date),
    /// It is today or one of so many days before (UTC).
    InLastDays(u32),
    /// It is today or one of so many days behind (UTC).
    InNextDays(u32),
    /// Whether there is one.
    Exists(bool),
}

/// What may be known of a contact besides fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// A name.
    Name,
    /// A language.
    Language,
    /// A time zone that somebody stated.
    TimeZone,
    /// An owner.
    Owner,
}

impl Known {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Name, Self::Language, Self::TimeZone, Self::Owner];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Language => "language",
            Self::TimeZone => "time_zone",
            Self::Owner => "owner",
        }
    }
}

/// Which time of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Since when it is there.
    Created,
    /// When it was last changed.
    Updated,
}

impl Which {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Created, Self::Updated];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
        }
    }
}

/// What is asked of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is this moment or a later one.
    From(Timestamp),
    /// It is an earlier one.
    Before(Timestamp),
    /// It is at most so many times 24 hours ago.
    InLastDays(u32),
}

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// A carrier took it.
    Sent,
    /// A receipt said that the phone has it.
    Delivered,
    /// It ended without that: undelivered, failed, rejected or expired.
    Failed,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Delivered, Self::Failed];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// Which kinds of facts a query looks at, beside the contact itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// What the usual number agreed to.
    pub consent: bool,
    /// Whether it is on the suppression list.
    pub suppression: bool,
    /// What happened with all numbers.
    pub history: bool,
}

impl Query {
    /// Which facts it looks at.
    pub fn needs(&self) -> Needs {
        match self {
            Self::All(list) | Self::Any(list) => {
                list.iter().map(Self::needs).fold(Needs::default(), |a, b| Needs {
                    consent: a.consent | b.consent,
                    suppression: a.suppression | b.suppression,
                    history: a.history | b.history,
                })
            }
            Self::Not(inner) => inner.needs(),
            Self::Is(condition) => Needs {
                consent: matches!(condition, Condition::Consent(..)),
                suppression: matches!(condition, Condition::Suppressed(_)),
                history: matches!(condition, Condition::History(..) | Condition::Answered(_)),
            },
        }
    }

    /// A group that everybody is in whom it finds, if it says so: nobody else has to be looked at.
    pub fn within(&self) -> Option<&Group> {
        match self {
            Self::Is(Condition::Group(group)) => Some(group),
            Self::All(list) => list.iter().find_map(Self::within),
            Self::Any(_) | Self::Not(_) | Self::Is(_) => None,
        }
    }

    /// The same, but only of this group.
    #[must_use]
    pub fn and_in(self, group: Group) -> Self {
        Self::All(vec![Self::Is(Condition::Group(group)), self])
    }
}

// ── what happened ───────────────────────────────────────────────────────────────────────────────────────────

/// Something that happened between an account and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Touch {
    /// The person wrote.
    Answered,
    /// To a message of this purpose.
    Message(Deed, Purpose),
}

/// How many different ones there are.
const TOUCHES: usize = Deed::ALL.len() * Purpose::ALL.len() + 1;

impl Touch {
    /// What an event is one of: about a message of this purpose, or about no message.
    pub const fn of(kind: Kind, purpose: Option<Purpose>) -> Option<Self> {
        let deed = match (kind, purpose) {
            (Kind::Received, _) => return Some(Self::Answered),
            (Kind::Sent, Some(_)) => Deed::Sent,
            (Kind::Delivered, Some(_)) => Deed::Delivered,
            (Kind::Undelivered | Kind::Failed | Kind::Rejected | Kind::Expired, Some(_)) => Deed::Failed,
            _ => return None,
        };
        match purpose {
            Some(purpose) => Some(Self::Message(deed, purpose)),
            None => None,
        }
    }

    /// The number in the store.
    pub const fn number(self) -> u8 {
        match self {
            Self::Answered => 0,
            Self::Message(deed, purpose) => 1 + deed as u8 * Purpose::ALL.len() as u8 + purpose.priority(),
        }
    }

    /// From the number in the store.
    pub fn from_number(number: u8) -> Option<Self> {
        let place = match number.checked_sub(1) {
            None => return Some(Self::Answered),
            Some(place) => usize::from(place),
        };
        let deed = *Deed::ALL.get(place / Purpose::ALL.len())?;
        Some(Self::Message(deed, *Purpose::ALL.get(place % Purpose::ALL.len())?))
    }
}

/// When each of them happened last, with one number or with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past([Option<Timestamp>; TOUCHES]);

impl Past {
    /// Adds one that happened at this moment.
    pub fn add(&mut self, touch: Touch, at: Timestamp) {
        let last = &mut self.0[usize::from(touch.number())];
        *last = (*last).max(Some(at));
    }

    /// Adds what happened with another number.
    pub fn merge(&mut self, other: &Self) {
        for (last, other) in self.0.iter_mut().zip(other.0) {
            *last = (*last).max(other);
        }
    }

    /// When it happened last.
    pub fn last(&self, touch: Touch) -> Option<Timestamp> {
        self.0[usize::from(touch.number())]
    }
}

// ── the rule ────────────────────────────────────────────────────────────────────────────────────────────────

/// The facts about a person. What a query [does not need](Query::needs) may be left empty.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Who.
    pub contact: &'a Contact,
    /// What the usual number agreed to.
    pub said: &'a History,
    /// Why it is on the suppression list, if it is.
    pub suppressed: Option<suppression::Reason>,
    /// What happened with all its numbers.
    pub past: &'a Past,
}

/// Whether a query finds a person.
pub fn matches(query: &Query, person: &Person<'_>, now: Timestamp) -> bool {
    match query {
        Query::All(list) => list.iter().all(|inner| matches(inner, person, now)),
        Query::Any(list) => list.iter().any(|inner| matches(inner, person, now)),
        Query::Not(inner) => !matches(inner, person, now),
        Query::Is(condition) => fits(condition, person, now),
    }
}

/// Whether a query finds a contact, where the contact alone says it, whatever the other facts are: `None` where they decide.
pub fn settled(query: &Query, contact: &Contact, now: Timestamp) -> Option<bool> {
    let (said, past) = (History::default(), Past::default());
    let person = Person { contact, said: &said, suppressed: None, past: &past };
    settled_for(query, &person, now)
}

fn settled_for(query: &Query, person: &Person<'_>, now: Timestamp) -> Option<bool> {
    // One that is `end` decides; otherwise each must be known.
    let together = |list: &[Query], end: bool| {
        let mut all = Some(!end);
        for inner in list {
            match settled_for(inner, person, now) {
                Some(found) if found == end => return Some(end),
                Some(_) => {}
                None => all = None,
            }
        }
        all
    };
    match query {
        Query::All(list) => together(list, false),
        Query::Any(list) => together(list, true),
        Query::Not(inner) => settled_for(inner, person, now).map(|found| !found),
        Query::Is(condition) => (query.needs() == Needs::default()).then(|| fits(condition, person, now)),
    }
}

fn fits(condition: &Condition, person: &Person<'_>, now: Timestamp) -> bool {
    let details = &person.contact.details;
    let happened = |touch: Touch, days: Option<u32>| {
        person.past.last(touch).is_some_and(|at| days.is_none_or(|days| is_within(at, days, now)))
    };
    match condition {
        Condition::Field(name, test) => passes(details.fields.get(name), test, now),
        Condition::Group(group) => details.groups.contains(group),
        Condition::Language(wanted) => details.language.as_ref().is_some_and(|language| {
            let rest = language.as_str().strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        }),
        Condition::Country(country) => {
            let place = person.contact.numbers.first().and_then(|number| Place::of(*number));
            place.is_some_and(|place| place.country() == country.as_str())
        }
        Condition::Owner(wanted) => {
            details.owner.as_ref().is_some_and(|owner| lower(owner).eq(lower(wanted)))
        }
        Condition::Known(Known::Name) => details.name.is_some(),
        Condition::Known(Known::Language) => details.language.is_some(),
        Condition::Known(Known::TimeZone) => details.zone.is_some(),
        Condition::Known(Known::Owner) => details.owner.is_some(),
        Condition::Time(which, when) => {
            let at = match which {
                Which::Created => person.contact.created_at,
                Which::Updated => person.contact.updated_at,
            };
            match *when {
                When::From(first) => at >= first,
                When::Before(end) => at < end,
                When::InLastDays(days) => is_within(at, days, now),
            }
        }
        Condition::Consent(purpose, channel) => {
            person.said.lacks(*purpose, *channel, Scope::Any, now).is_none()
        }
        Condition::Suppressed(wanted) => person.suppressed.is_some() == *wanted,
        Condition::History(deed, Some(purpose), days) => happened(Touch::Message(*deed, *purpose), *days),
        Condition::History(deed, None, days) => {
            Purpose::ALL.into_iter().any(|purpose| happened(Touch::Message(*deed, purpose), *days))
        }
        Condition::Answered(days) => happened(Touch::Answered, *days),
    }
}

/// Whether it is at most so many times 24 hours ago. A moment to come is: clocks of nodes differ.
fn is_within(at: Timestamp, days: u32, now: Timestamp) -> bool {
    now.since_ms(at) <= i64::from(days) * DAY_MS
}

fn passes(value: Option<&Value>, test: &Test, now: Timestamp) -> bool {
    let is = |wanted: &Value| match (value, wanted) {
        (Some(Value::Text(text)), Value::Text(wanted)) => lower(text).eq(lower(wanted)),
        (value, wanted) => value == Some(wanted),
    };
    let text = |passes: &dyn Fn(String) -> bool| match value {
        Some(Value::Text(text)) => passes(lower(text).collect()),
        _ => false,
    };
    let number =
        |passes: &dyn Fn(Decimal) -> bool| matches!(value, Some(Value::Number(number)) if passes(*number));
    // Days from today on; those that were are negative.
    let day = |passes: &dyn Fn(i64) -> bool| match (value, today(now)) {
        (Some(Value::Date(date)), Some(today)) => passes(day_number(*date) - day_number(today)),
        _ => false,
    };
    match test {
        Test::Is(wanted) => is(wanted),
        Test::IsNot(wanted) => !is(wanted),
        Test::Contains(part) => text(&|text| text.contains(&lower(part).collect::<String>())),
        Test::BeginsWith(part) => text(&|text| text.starts_with(&lower(part).collect::<String>())),
        Test::Above(least) => number(&|number| number > *least),
        Test::AtLeast(least) => number(&|number| number >= *least),
        Test::Below(most) => number(&|number| number < *most),
        Test::AtMost(most) => number(&|number| number <= *most),
        Test::From(first) => matches!(value, Some(Value::Date(date)) if date >= first),
        Test::Before(end) => matches!(value, Some(Value::Date(date)) if date < end),
        Test::InLastDays(days) => day(&|from_today| (-i64::from(*days)..=0).contains(&from_today)),
        Test::InNextDays(days) => day(&|from_today| (0..=i64::from(*days)).contains(&from_today)),
        Test::Exists(wanted) => value.is_some() == *wanted,
    }
}

fn lower(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

/// The day in UTC; `None` for a moment that no calendar has.
fn today(now: Timestamp) -> Option<Date> {
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
    Some(now.to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// Days since some day.
fn day_number(date: Date) -> i64 {
    let first = Date::constant(1970, 1, 1);
    i64::from(first.until(date).expect("days between days of the calendar can be counted").get_days())
}

// ── the written form ────────────────────────────────────────────────────────────────────────────────────────

/// A value of JSON, as a query is written in it. Numbers are as their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    YesNo(bool),
    /// A number.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Node>),
    /// An object; each key once.
    Object(Vec<(String, Node)>),
}

impl Node {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::YesNo(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    fn text(text: impl fmt::Display) -> Self {
        Self::Text(text.to_string())
    }

    fn number(number: impl fmt::Display) -> Self {
        Self::Number(number.to_string())
    }
}

/// Something that is wrong with the written form of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where: `all[1].days`; empty for the query itself.
    pub path: String,
    /// A stable lower-case word.
    pub reason: &'static str,
    /// A sentence. It repeats no value of the query.
    pub detail: String,
}

/// What a condition is about, by the key that says so: exactly one of these is in each object of a query.
const SUBJECTS: [&str; 13] = [
    "all",
    "any",
    "not",
    "field",
    "group",
    "language",
    "country",
    "owner",
    "known",
    "time",
    "consent",
    "suppressed",
    "history",
];

/// What may be asked of a field.
const TESTS: [&str; 13] = [
    "is",
    "is_not",
    "contains",
    "begins_with",
    "above",
    "at_least",
    "below",
    "at_most",
    "from",
    "before",
    "in_last_days",
    "in_next_days",
    "exists",
];

/// What may be asked of a time.
const TIMES: [&str; 3] = ["from", "before", "in_last_days"];

/// The word in `history` for a person's own messages.
const ANSWERED: &str = "answered";

/// Reads a query.
///
/// # Errors
/// What is wrong with it, at most twenty things.
pub fn parse(node: &Node) -> Result<Query, Vec<Wrong>> {
    let mut reader = Reader { wrongs: Vec::new(), conditions: 0 };
    let query = reader.query(node, "", 0);
    if reader.conditions > CONDITIONS_MAX {
        let detail = format!("A query has at most {CONDITIONS_MAX} conditions.");
        reader.wrong::<()>("", "too_many_conditions", detail);
    }
    match query {
        Some(query) if reader.wrongs.is_empty() => Ok(query),
        _ => Err(reader.wrongs),
    }
}

/// A place inside another one.
fn at(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct Reader {
    wrongs: Vec<Wrong>,
    conditions: usize,
}

type Entries = [(String, Node)];

impl Reader {
    fn wrong<T>(
        &mut self,
        path: impl Into<String>,
        reason: &'static str,
        detail: impl fmt::Display,
    ) -> Option<T> {
        if self.wrongs.len() < WRONGS_MAX {
            self.wrongs.push(Wrong { path: path.into(), reason, detail: detail.to_string() });
        }
        None
    }

    fn wrong_type<T>(&mut self, path: String, wanted: &str, node: &Node) -> Option<T> {
        self.wrong(path, "wrong_type", format_args!("This must be {wanted}, not {}.", node.kind()))
    }

    fn invalid<T>(&mut self, path: String, read: Result<T, Invalid>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(why) => self.wrong(path, why.code(), why),
        }
    }

    fn query(&mut self, node: &Node, path: &str, depth: usize) -> Option<Query> {
        let Node::Object(entries) = node else {
            return self.wrong_type(path.to_owned(), "an object such as {\"group\": \"spring\"}", node);
        };
        let subjects: Vec<&str> =
            SUBJECTS.into_iter().filter(|subject| entries.iter().any(|(key, _)| key == subject)).collect();
        let [subject] = subjects[..] else {
            let (reason, what) = if subjects.is_empty() {
                let near = entries.iter().find_map(|(key, _)| nearest(key, SUBJECTS.into_iter()));
                let meant = near.map(|near| format!("Did you mean `{near}`? ")).unwrap_or_default();
                ("no_subject", format!("{meant}A condition has one of these keys"))
            } else {
                (
                    "several_subjects",
                    format!("A condition is about one thing, and this has {}", subjects.join(" and ")),
                )
            };
            return self.wrong(path, reason, format_args!("{what}: {}.", SUBJECTS.join(", ")));
        };
        let value = &entries.iter().find(|(key, _)| key == subject)?.1;
        let place = at(path, subject);
        let others: &[&str] = match subject {
            "field" => &TESTS,
            "time" => &TIMES,
            "consent" => &["channel"],
            "history" => &["purpose", "in_last_days"],
            _ => &[],
        };
        let is_known = |key: &str| key == subject || others.contains(&key);
        let mut is_right = true;
        for (key, _) in entries.iter().filter(|(key, _)| !is_known(key)) {
            let brief: String = key.chars().take(40).collect();
            let detail = match (others, nearest(key, others.iter().copied())) {
                (_, Some(near)) => format!("There is no key {brief:?} here; did you mean `{near}`?"),
                ([], None) => format!("With `{subject}` there is no other key."),
                (_, None) => format!("With `{subject}` there can be: {}.", others.join(", ")),
            };
            is_right = false;
            self.wrong::<()>(at(path, &brief), "unknown_key", detail);
        }
        if matches!(subject, "all" | "any" | "not") {
            if depth == DEPTH_MAX {
                let detail = format!("There are at most {DEPTH_MAX} levels of all, any and not.");
                return self.wrong(place, "too_deep", detail);
            }
        } else {
            self.conditions += 1;
        }
        let query = match subject {
            "all" => Query::All(self.list(value, &place, depth + 1)?),
            "any" => Query::Any(self.list(value, &place, depth + 1)?),
            "not" => Query::Not(Box::new(self.query(value, &place, depth + 1)?)),
            _ => Query::Is(self.condition(subject, value, entries, path, place)?),
        };
        is_right.then_some(query)
    }

    fn list(&mut self, node: &Node, path: &str, depth: usize) -> Option<Vec<Query>> {
        let Node::List(items) = node else {
            return self.wrong_type(path.to_owned(), "an array of conditions", node);
        };
        if items.is_empty() {
            return self.wrong(path, "empty", "There must be one condition at least.");
        }
        if items.len() > CONDITIONS_MAX {
            let detail = format!("A query has at most {CONDITIONS_MAX} conditions.");
            return self.wrong(path, "too_many_conditions", detail);
        }
        let all: Vec<Option<Query>> = items
            .iter()
            .enumerate()
            .map(|(n, item)| self.query(item, &format!("{path}[{n}]"), depth))
            .collect();
        all.into_iter().collect()
    }

    fn condition(
        &mut self,
        subject: &str,
        value: &Node,
        entries: &Entries,
        path: &str,
        place: String,
    ) -> Option<Condition> {
        let other = |key: &str| entries.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        if subject == "suppressed" {
            return self.yes_no(value, place).map(Condition::Suppressed);
        }
        let Node::Text(text) = value else { return self.wrong_type(place, "a string", value) };
        Some(match subject {
            "field" => {
                let name = self.invalid(place, FieldName::parse(text));
                let (key, value) = self.one_of(&TESTS, entries, path)?;
                let test = self.test(key, value, at(path, key))?;
                Condition::Field(name?, test)
            }
            "group" => Condition::Group(self.invalid(place, Group::parse(text))?),
            "language" => Condition::Language(self.invalid(place, Language::parse(text))?),
            "country" => match Country::parse(text) {
                Ok(country) => Condition::Country(country),
                Err(why) => return self.wrong(place, "no_country", why),
            },
            "owner" => Condition::Owner(self.invalid(place, contact::line(text, OWNER_MAX))?),
            "known" => Condition::Known(self.word(&Known::ALL, Known::as_str, text, place)?),
            "time" => {
                let which = self.word(&Which::ALL, Which::as_str, text, place);
                let (key, value) = self.one_of(&TIMES, entries, path)?;
                let when = self.when(key, value, at(path, key))?;
                Condition::Time(which?, when)
            }
            "consent" => {
                let purpose = self.word(&Purpose::ALL, Purpose::as_str, text, place);
                let channel = match other("channel") {
                    None => Channel::Text,
                    Some(Node::Text(text)) => {
                        self.word(&Channel::ALL, Channel::as_str, text, at(path, "channel"))?
                    }
                    Some(node) => return self.wrong_type(at(path, "channel"), "a string", node),
                };
                Condition::Consent(purpose?, channel)
            }
            _ => {
                let days = match other("in_last_days") {
                    None => None,
                    Some(node) => Some(self.days(node, at(path, "in_last_days"))?),
                };
                let purpose = match other("purpose") {
                    None => None,
                    Some(_) if text == ANSWERED => {
                        let detail = "What a person writes has no purpose.";
                        return self.wrong(at(path, "purpose"), "unknown_key", detail);
                    }
                    Some(Node::Text(text)) => {
                        Some(self.word(&Purpose::ALL, Purpose::as_str, text, at(path, "purpose"))?)
                    }
                    Some(node) => return self.wrong_type(at(path, "purpose"), "a string", node),
                };
                match Deed::ALL.into_iter().find(|deed| deed.as_str() == text) {
                    Some(deed) => Condition::History(deed, purpose, days),
                    None if text == ANSWERED => Condition::Answered(days),
                    None => {
                        let detail = "This must be one of: sent, delivered, failed, answered.";
                        return self.wrong(place, "unknown_word", detail);
                    }
                }
            }
        })
    }

    /// The one of these keys that is there.
    fn one_of<'n>(
        &mut self,
        keys: &[&'static str],
        entries: &'n Entries,
        path: &str,
    ) -> Option<(&'static str, &'n Node)> {
        let find = |key: &&'static str| {
            entries.iter().find(|(known, _)| known == key).map(|(_, value)| (*key, value))
        };
        let found: Vec<_> = keys.iter().filter_map(find).collect();
        match found[..] {
            [one] => Some(one),
            [] => self.wrong(path, "no_test", format_args!("There must be one of: {}.", keys.join(", "))),
            [_, (second, _), ..] => {
                let detail = "One test stands in a condition; write two conditions in `all`.";
                self.wrong(at(path, second), "several_tests", detail)
            }
        }
    }

    fn test(&mut self, key: &str, node: &Node, place: String) -> Option<Test> {
        Some(match key {
            "is" => Test::Is(self.value(node, place)?),
            "is_not" => Test::IsNot(self.value(node, place)?),
            "contains" => Test::Contains(self.part(node, place)?),
            "begins_with" => Test::BeginsWith(self.part(node, place)?),
            "above" => Test::Above(self.decimal(node, place)?),
            "at_least" => Test::AtLeast(self.decimal(node, place)?),
            "below" => Test::Below(self.decimal(node, place)?),
            "at_most" => Test::AtMost(self.decimal(node, place)?),
            "from" => Test::From(self.date(node, place)?),
            "before" => Test::Before(self.date(node, place)?),
            "in_last_days" => Test::InLastDays(self.days(node, place)?),
            "in_next_days" => Test::InNextDays(self.days(node, place)?),
            _ => Test::Exists(self.yes_no(node, place)?),
        })
    }

    fn when(&mut self, key: &str, node: &Node, place: String) -> Option<When> {
        if key == "in_last_days" {
            return self.days(node, place).map(When::InLastDays);
        }
        let Node::Text(text) = node else { return self.wrong_type(place, "a time", node) };
        match Timestamp::parse(text) {
            Ok(moment) if key == "from" => Some(When::From(moment)),
            Ok(moment) => Some(When::Before(moment)),
            Err(why) => self.wrong(place, "no_time", format_args!("This is no time: {why}.")),
        }
    }

    fn value(&mut self, node: &Node, place: String) -> Option<Value> {
        match node {
            Node::YesNo(yes) => Some(Value::YesNo(*yes)),
            Node::Number(text) => self.invalid(place, Decimal::parse(text).map(Value::Number)),
            Node::Text(text) => self.invalid(place, Value::text(text)),
            Node::Null | Node::List(_) | Node::Object(_) => {
                self.wrong_type(place, "a string, a number, true or false", node)
            }
        }
    }

    fn part(&mut self, node: &Node, place: String) -> Option<String> {
        let Node::Text(text) = node else { return self.wrong_type(place, "a string", node) };
        self.invalid(place, contact::line(text, TEXT_MAX))
    }

    fn decimal(&mut self, node: &Node, place: String) -> Option<Decimal> {
        let Node::Number(text) = node else { return self.wrong_type(place, "a number", node) };
        self.invalid(place, Decimal::parse(text))
    }

    fn date(&mut self, node: &Node, place: String) -> Option<Date> {
        let Node::Text(text) = node else { return self.wrong_type(place, "a date", node) };
        match Value::parse(text, Type::Date) {
            Ok(Value::Date(date)) => Some(date),
            _ => self.wrong(place, Invalid::Date.code(), Invalid::Date),
        }
    }

    fn days(&mut self, node: &Node, place: String) -> Option<u32> {
        let Node::Number(text) = node else { return self.wrong_type(place, "a number of days", node) };
        match text.parse::<u32>() {
            Ok(days) if (1..=DAYS_MAX).contains(&days) => Some(days),
            _ => {
                let detail = format!("This must be a whole number of days from 1 to {DAYS_MAX}.");
                self.wrong(place, "out_of_range", detail)
            }
        }
    }

    fn yes_no(&mut self, node: &Node, place: String) -> Option<bool> {
        match node {
            Node::YesNo(yes) => Some(*yes),
            _ => self.wrong_type(place, "true or false", node),
        }
    }

    fn word<T: Copy>(
        &mut self,
        all: &[T],
        as_str: fn(T) -> &'static str,
        text: &str,
        place: String,
    ) -> Option<T> {
        let found = all.iter().copied().find(|one| as_str(*one) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
            let detail = format!("This must be one of: {}.", words.join(", "));
            return self.wrong(place, "unknown_word", detail);
        }
        found
    }
}

/// The written form of a query.
pub fn write(query: &Query) -> Node {
    let one = |key: &str, node| Node::Object(vec![(key.to_owned(), node)]);
    match query {
        Query::All(list) => one("all", Node::List(list.iter().map(write).collect())),
        Query::Any(list) => one("any", Node::List(list.iter().map(write).collect())),
        Query::Not(inner) => one("not", write(inner)),
        Query::Is(condition) => {
            let entries = written(condition);
            Node::Object(entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect())
        }
    }
}

fn written(condition: &Condition) -> Vec<(&'static str, Node)> {
    let days = |days: &Option<u32>| days.map(|days| ("in_last_days", Node::number(days)));
    match condition {
        Condition::Field(name, test) => vec![("field", Node::text(name)), written_test(test)],
        Condition::Group(group) => vec![("group", Node::text(group))],
        Condition::Language(language) => vec![("language", Node::text(language))],
        Condition::Country(country) => vec![("country", Node::text(country))],
        Condition::Owner(owner) => vec![("owner", Node::text(owner))],
        Condition::Known(what) => vec![("known", Node::text(what.as_str()))],
        Condition::Time(which, when) => {
            let when = match when {
                When::From(moment) => ("from", Node::text(moment)),
                When::Before(moment) => ("before", Node::text(moment)),
                When::InLastDays(days) => ("in_last_days", Node::number(days)),
            };
            vec![("time", Node::text(which.as_str())), when]
        }
        Condition::Consent(purpose, channel) => {
            vec![("consent", Node::text(purpose.as_str())), ("channel", Node::text(channel.as_str()))]
        }
        Condition::Suppressed(wanted) => vec![("suppressed", Node::YesNo(*wanted))],
        Condition::History(deed, purpose, within) => {
            let purpose = purpose.map(|purpose| ("purpose", Node::text(purpose.as_str())));
            [("history", Node::text(deed.as_str()))].into_iter().chain(purpose).chain(days(within)).collect()
        }
        Condition::Answered(within) => {
            [("history", Node::text(ANSWERED))].into_iter().chain(days(within)).collect()
        }
    }
}

fn written_test(test: &Test) -> (&'static str, Node) {
    let value = |value: &Value| match value {
        Value::YesNo(yes) => Node::YesNo(*yes),
        Value::Number(number) => Node::number(number),
        Value::Text(_) | Value::Date(_) => Node::text(value),
    };
    match test {
        Test::Is(wanted) => ("is", value(wanted)),
        Test::IsNot(wanted) => ("is_not", value(wanted)),
        Test::Contains(part) => ("contains", Node::text(part)),
        Test::BeginsWith(part) => ("begins_with", Node::text(part)),
        Test::Above(number) => ("above", Node::number(number)),
        Test::AtLeast(number) => ("at_least", Node::number(number)),
        Test::Below(number) => ("below", Node::number(number)),
        Test::AtMost(number) => ("at_most", Node::number(number)),
        Test::From(date) => ("from", Node::text(date)),
        Test::Before(date) => ("before", Node::text(date)),
        Test::InLastDays(days) => ("in_last_days", Node::number(days)),
        Test::InNextDays(days) => ("in_next_days", Node::number(days)),
        Test::Exists(wanted) => ("exists", Node::YesNo(*wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::address::PhoneNumber;
    use crate::consent::{Act, Consent, Evidence, Method, OptOut};
    use crate::contact::{Details, ZoneName};
    use crate::id::{AccountId, ConsentId, ContactId};
    use proptest::prelude::*;

    /// 2026-11-29T12:00:00Z
    const NOW: Timestamp = Timestamp::from_millis(1_795_953_600_000);

    fn ago(days: i64) -> Timestamp {
        NOW.plus_ms(-days * DAY_MS)
    }

    /// A little reader of JSON, for tables: this crate has none.
    fn json(text: &str) -> Node {
        fn space(rest: &mut &str) {
            *rest = rest.trim_start();
        }
        fn string(rest: &mut &str) -> String {
            let (text, after) = rest[1..].split_once('"').expect("a string ends");
            *rest = after;
            text.to_owned()
        }
        fn value(rest: &mut &str) -> Node {
            space(rest);
            let node = match rest.as_bytes()[0] {
                b'"' => Node::Text(string(rest)),
                open @ (b'{' | b'[') => {
                    let close = if open == b'{' { '}' } else { ']' };
                    let (mut list, mut object) = (Vec::new(), Vec::new());
                    *rest = rest[1..].trim_start();
                    while !rest.starts_with(close) {
                        if open == b'{' {
                            let key = string(rest);
                            *rest = rest.trim_start().strip_prefix(':').expect("a colon");
                            object.push((key, value(rest)));
                        } else {
                            list.push(value(rest));
                        }
                        space(rest);
                        *rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
                    }
                    *rest = &rest[1..];
                    if open == b'{' { Node::Object(object) } else { Node::List(list) }
                }
                _ => {
                    let end = rest.find([',', '}', ']', ' ']).unwrap_or(rest.len());
                    let (word, after) = rest.split_at(end);
                    *rest = after;
                    match word {
                        "null" => Node::Null,
                        "true" => Node::YesNo(true),
                        "false" => Node::YesNo(false),
                        number => Node::Number(number.to_owned()),
                    }
                }
            };
            space(rest);
            node
        }
        let mut rest = text;
        let node = value(&mut rest);
        assert_eq!(rest, "", "{text}");
        node
    }

    fn field(name: &str, value: &str, wanted: Type) -> (FieldName, Value) {
        (FieldName::parse(name).expect("a name"), Value::parse(value, wanted).expect("a value"))
    }

    fn ana() -> Contact {
        let details = Details {
            name: Some("Ana".to_owned()),
            language: Language::parse("en-GB").ok(),
            zone: None,
            owner: Some("Bo".to_owned()),
            groups: [Group::parse("spring").expect("a group")].into(),
            fields: [
                field("plan", "Pro Plus", Type::Text),
                field("visits", "3.5", Type::Number),
                field("since", "2026-11-22", Type::Date),
                field("renewal", "2026-12-01", Type::Date),
                field("vip", "yes", Type::YesNo),
            ]
            .into(),
        };
        Contact {
            id: ContactId::from_key(1),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Live },
            numbers: ["+46700000001", "+4915112345678"]
                .map(|n| PhoneNumber::from_stored(n).expect("a number"))
                .to_vec(),
            details,
            created_at: ago(40),
            updated_at: ago(2),
        }
    }

    fn said() -> History {
        let entry = |purpose, channel, act, at| Consent {
            id: ConsentId::from_key(1),
            realm: ana().realm,
            recipient: ana().numbers[0],
            purpose,
            channel,
            act,
            given_at: at,
            recorded_at: at,
            expires_at: None,
            method: Method::Form,
            evidence: Evidence::default(),
            source: "api".to_owned(),
        };
        History {
            ledger: vec![
                entry(Purpose::Marketing, Channel::Text, Act::Written, ago(9)),
                entry(Purpose::Marketing, Channel::RecordedVoice, Act::Express, ago(9)),
                entry(Purpose::Alert, Channel::Text, Act::Express, ago(20)),
            ],
            opt_outs: vec![OptOut { at: ago(15), started_at: None, programme: None }],
        }
    }

    fn past() -> Past {
        let mut past = Past::default();
        past.add(Touch::Message(Deed::Sent, Purpose::Marketing), ago(30));
        past.add(Touch::Message(Deed::Sent, Purpose::Marketing), ago(10));
        past.add(Touch::Message(Deed::Sent, Purpose::Marketing), ago(20));
        past.add(Touch::Message(Deed::Sent, Purpose::Alert), ago(3));
        past.add(Touch::Message(Deed::Delivered, Purpose::Alert), ago(3));
        past.add(Touch::Answered, ago(5));
        past
    }

    #[test]
    fn a_query_finds_whom_it_says() {
        let (contact, said, past) = (ana(), said(), past());
        let person = Person { contact: &contact, said: &said, suppressed: None, past: &past };
        let check = |text: &str, expected: bool| {
            let query = parse(&json(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
            assert_eq!(matches(&query, &person, NOW), expected, "{text}");
            let opposite = Query::Not(Box::new(query));
            assert_eq!(matches(&opposite, &person, NOW), !expected, "not {text}");
        };
        for (text, expected) in [
            // Texts, whatever the case.
            (r#"{"field":"plan","is":"pro plus"}"#, true),
            (r#"{"field":"plan","is":"pro"}"#, false),
            (r#"{"field":"plan","is_not":"pro"}"#, true),
            (r#"{"field":"plan","is_not":"PRO PLUS"}"#, false),
            (r#"{"field":"plan","contains":"o P"}"#, true),
            (r#"{"field":"plan","contains":"q"}"#, false),
            (r#"{"field":"plan","begins_with":"pro"}"#, true),
            (r#"{"field":"plan","begins_with":"plus"}"#, false),
            // What is missing is not anything.
            (r#"{"field":"city","is":"Lund"}"#, false),
            (r#"{"field":"city","is_not":"Lund"}"#, true),
            (r#"{"field":"city","contains":"L"}"#, false),
            (r#"{"field":"city","below":1}"#, false),
            (r#"{"field":"city","exists":true}"#, false),
            (r#"{"field":"city","exists":false}"#, true),
            (r#"{"field":"plan","exists":true}"#, true),
            // Numbers. A text is no number and a number no text.
            (r#"{"field":"visits","is":3.5}"#, true),
            (r#"{"field":"visits","is":"3.5"}"#, false),
            (r#"{"field":"visits","contains":"3"}"#, false),
            (r#"{"field":"visits","above":3.4}"#, true),
            (r#"{"field":"visits","above":3.5}"#, false),
            (r#"{"field":"visits","at_least":3.5}"#, true),
            (r#"{"field":"visits","at_least":3.6}"#, false),
            (r#"{"field":"visits","below":3.5}"#, false),
            (r#"{"field":"visits","below":10}"#, true),
            (r#"{"field":"visits","at_most":3.5}"#, true),
            (r#"{"field":"visits","at_most":-4}"#, false),
            (r#"{"field":"plan","above":0}"#, false),
            // Yes and no.
            (r#"{"field":"vip","is":true}"#, true),
            (r#"{"field":"vip","is":false}"#, false),
            (r#"{"field":"vip","is_not":false}"#, true),
            // Days.
            (r#"{"field":"since","is":"2026-11-22"}"#, true),
            (r#"{"field":"since","from":"2026-11-22"}"#, true),
            (r#"{"field":"since","from":"2026-11-23"}"#, false),
            (r#"{"field":"since","before":"2026-11-22"}"#, false),
            (r#"{"field":"since","before":"2026-11-23"}"#, true),
            (r#"{"field":"since","in_last_days":7}"#, true),
            (r#"{"field":"since","in_last_days":6}"#, false),
            (r#"{"field":"since","in_next_days":9}"#, false),
            (r#"{"field":"renewal","in_last_days":9}"#, false),
            (r#"{"field":"renewal","in_next_days":2}"#, true),
            (r#"{"field":"renewal","in_next_days":1}"#, false),
            (r#"{"field":"plan","in_last_days":9}"#, false),
            // The contact itself.
            (r#"{"group":"spring"}"#, true),
            (r#"{"group":"Spring"}"#, false),
            (r#"{"language":"en"}"#, true),
            (r#"{"language":"en-gb"}"#, true),
            (r#"{"language":"en-US"}"#, false),
            (r#"{"country":"se"}"#, true),
            (r#"{"country":"DE"}"#, false),
            (r#"{"owner":"bo"}"#, true),
            (r#"{"owner":"B"}"#, false),
            (r#"{"known":"name"}"#, true),
            (r#"{"known":"time_zone"}"#, false),
            (r#"{"known":"language"}"#, true),
            (r#"{"known":"owner"}"#, true),
            (r#"{"time":"created","in_last_days":40}"#, true),
            (r#"{"time":"created","in_last_days":39}"#, false),
            (r#"{"time":"updated","from":"2026-11-27T13:00:00+01:00"}"#, true),
            (r#"{"time":"updated","before":"2026-11-27T13:00:00+01:00"}"#, false),
            // Consent: as far as the purpose needs, and only after the opt-out.
            (r#"{"consent":"marketing"}"#, true),
            (r#"{"consent":"marketing","channel":"recorded_voice"}"#, false),
            (r#"{"consent":"marketing","channel":"live_voice"}"#, false),
            (r#"{"consent":"alert","channel":"text"}"#, false),
            (r#"{"suppressed":false}"#, true),
            (r#"{"suppressed":true}"#, false),
            // History.
            (r#"{"history":"sent"}"#, true),
            (r#"{"history":"sent","in_last_days":3}"#, true),
            (r#"{"history":"sent","in_last_days":2}"#, false),
            (r#"{"history":"sent","purpose":"marketing","in_last_days":10}"#, true),
            (r#"{"history":"sent","purpose":"marketing","in_last_days":9}"#, false),
            (r#"{"history":"sent","purpose":"transactional"}"#, false),
            (r#"{"history":"delivered"}"#, true),
            (r#"{"history":"delivered","purpose":"marketing"}"#, false),
            (r#"{"history":"failed"}"#, false),
            (r#"{"history":"answered"}"#, true),
            (r#"{"history":"answered","in_last_days":4}"#, false),
            // Together.
            (r#"{"all":[{"group":"spring"},{"owner":"bo"}]}"#, true),
            (r#"{"all":[{"group":"spring"},{"owner":"Al"}]}"#, false),
            (r#"{"any":[{"group":"autumn"},{"owner":"bo"}]}"#, true),
            (r#"{"any":[{"group":"autumn"},{"owner":"Al"}]}"#, false),
            (r#"{"not":{"any":[{"suppressed":true},{"history":"failed"}]}}"#, true),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn the_suppression_list_and_the_stated_zone_are_asked() {
        let mut contact = ana();
        contact.details.zone = ZoneName::parse("Europe/Stockholm").ok();
        let (said, past) = (History::default(), Past::default());
        let suppressed = Some(suppression::Reason::Manual);
        let person = Person { contact: &contact, said: &said, suppressed, past: &past };
        for (condition, expected) in [
            (Condition::Suppressed(true), true),
            (Condition::Suppressed(false), false),
            (Condition::Known(Known::TimeZone), true),
            (Condition::Consent(Purpose::Alert, Channel::Text), false),
            (Condition::History(Deed::Sent, None, None), false),
            (Condition::Answered(Some(DAYS_MAX)), false),
        ] {
            assert_eq!(fits(&condition, &person, NOW), expected, "{condition:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_path() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let wrongs = parse(&json(text)).expect_err(text);
            let found: Vec<_> = wrongs.iter().map(|wrong| (wrong.path.as_str(), wrong.reason)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("7", &[("", "wrong_type")]);
        check("{}", &[("", "no_subject")]);
        check(r#"{"grp":"a"}"#, &[("", "no_subject")]);
        let said = |text: &str| parse(&json(text)).expect_err(text)[0].detail.clone();
        assert!(said(r#"{"feild":"plan","is":"pro"}"#).starts_with("Did you mean `field`? A condition has"));
        assert!(said(r#"{"field":"plan","begin_with":"p"}"#).contains("did you mean `begins_with`?"));
        assert!(said(r#"{"group":"a","colour":1}"#).starts_with("With `group` there is no other key"));
        assert_eq!(said(r#"{"country":"ZZ"}"#).matches("country").count(), 1);
        check(r#"{"group":"a","owner":"b"}"#, &[("", "several_subjects")]);
        check(r#"{"group":7}"#, &[("group", "wrong_type")]);
        check(r#"{"group":null}"#, &[("group", "wrong_type")]);
        check(r#"{"group":"a;b"}"#, &[("group", "unexpected_character")]);
        check(r#"{"group":"a","is":1}"#, &[("is", "unknown_key")]);
        check(r#"{"all":[]}"#, &[("all", "empty")]);
        check(r#"{"all":{"group":"a"}}"#, &[("all", "wrong_type")]);
        check(
            r#"{"all":[{"group":"a"},{"any":[{"language":"english"},{"country":"XX"}]},7]}"#,
            &[
                ("all[1].any[0].language", "no_language"),
                ("all[1].any[1].country", "no_country"),
                ("all[2]", "wrong_type"),
            ],
        );
        check(r#"{"not":[{"group":"a"}]}"#, &[("not", "wrong_type")]);
        check(r#"{"field":"plan"}"#, &[("", "no_test")]);
        check(r#"{"field":"Plan","is":"a"}"#, &[("field", "unexpected_character")]);
        check(r#"{"field":"a","above":1,"below":2}"#, &[("below", "several_tests")]);
        check(r#"{"field":"a","is":null}"#, &[("is", "wrong_type")]);
        check(r#"{"field":"a","is":""}"#, &[("is", "empty")]);
        check(r#"{"field":"a","above":"1"}"#, &[("above", "wrong_type")]);
        check(r#"{"field":"a","above":1e9}"#, &[("above", "no_number")]);
        check(r#"{"field":"a","from":"1.2.2026"}"#, &[("from", "no_date")]);
        check(r#"{"field":"a","in_last_days":0}"#, &[("in_last_days", "out_of_range")]);
        check(r#"{"field":"a","in_last_days":3651}"#, &[("in_last_days", "out_of_range")]);
        check(r#"{"field":"a","exists":"no"}"#, &[("exists", "wrong_type")]);
        check(r#"{"time":"born","from":"2026-11-27T13:00:00Z"}"#, &[("time", "unknown_word")]);
        check(r#"{"time":"created","from":"2026-11-27"}"#, &[("from", "no_time")]);
        check(r#"{"time":"created"}"#, &[("", "no_test")]);
        check(r#"{"consent":"offers"}"#, &[("consent", "unknown_word")]);
        check(r#"{"consent":"marketing","channel":"fax"}"#, &[("channel", "unknown_word")]);
        check(r#"{"suppressed":"yes"}"#, &[("suppressed", "wrong_type")]);
        check(r#"{"history":"read"}"#, &[("history", "unknown_word")]);
        check(r#"{"history":"answered","purpose":"alert"}"#, &[("purpose", "unknown_key")]);
        check(r#"{"known":"plan"}"#, &[("known", "unknown_word")]);

        let deep = |levels: usize| r#"{"not":"#.repeat(levels) + r#"{"group":"a"}"# + &"}".repeat(levels);
        assert!(parse(&json(&deep(DEPTH_MAX))).is_ok());
        check(&deep(DEPTH_MAX + 1), &[("not.not.not.not.not.not", "too_deep")]);
        let many = |count: usize| format!(r#"{{"any":[{}]}}"#, vec![r#"{"group":"a"}"#; count].join(","));
        assert!(parse(&json(&many(CONDITIONS_MAX))).is_ok());
        check(&many(CONDITIONS_MAX + 1), &[("any", "too_many_conditions")]);
        let both = format!(r#"{{"all":[{0},{0}]}}"#, many(30));
        check(&both, &[("", "too_many_conditions")]);
        let wrong = format!(r#"{{"any":[{}]}}"#, vec!["{}"; 40].join(","));
        assert_eq!(parse(&json(&wrong)).expect_err("wrong").len(), WRONGS_MAX);
    }

    #[test]
    fn only_what_is_asked_has_to_be_read() {
        let check = |text: &str, consent, suppression, history| {
            let needs = parse(&json(text)).expect("a query").needs();
            assert_eq!(needs, Needs { consent, suppression, history }, "{text}");
        };
        check(r#"{"all":[{"group":"a"},{"field":"a","exists":true}]}"#, false, false, false);
        check(r#"{"any":[{"group":"a"},{"not":{"consent":"alert"}}]}"#, true, false, false);
        check(r#"{"all":[{"suppressed":false},{"history":"answered"}]}"#, false, true, true);
        let within = |text: &str| parse(&json(text)).expect("a query").within().map(ToString::to_string);
        assert_eq!(within(r#"{"group":"a"}"#).as_deref(), Some("a"));
        assert_eq!(within(r#"{"all":[{"owner":"x"},{"all":[{"group":"b"}]}]}"#).as_deref(), Some("b"));
        assert_eq!(within(r#"{"any":[{"group":"a"},{"owner":"x"}]}"#), None);
        assert_eq!(within(r#"{"not":{"group":"a"}}"#), None);
    }

    #[test]
    fn every_touch_has_a_number_of_its_own() {
        for number in 0..TOUCHES as u8 {
            assert_eq!(Touch::from_number(number).map(Touch::number), Some(number));
        }
        assert_eq!(Touch::from_number(TOUCHES as u8), None);
        let of = |kind| Touch::of(kind, Some(Purpose::Alert));
        assert_eq!(of(Kind::Expired), Some(Touch::Message(Deed::Failed, Purpose::Alert)));
        assert_eq!((of(Kind::Delayed), of(Kind::Canceled), of(Kind::Unconfirmed)), (None, None, None));
        assert_eq!(Touch::of(Kind::Received, None), Some(Touch::Answered));
        assert_eq!(Touch::of(Kind::Sent, None), None);
    }

    fn any_test() -> impl Strategy<Value = Test> {
        let text = "[a-zåß😀0-9]([a-z \"\\\\:]{0,9}[a-z])?";
        let value = prop_oneof![
            text.prop_map(|text| Value::text(&text).expect("a text")),
            (-999_999_999_999_i64..=999_999_999_999).prop_map(|n| Value::Number(decimal(n))),
            any::<bool>().prop_map(Value::YesNo),
            (0..20_000_i64).prop_map(|day| Value::Date(date(day))),
        ];
        let number = (-999_999_999_999_i64..=999_999_999_999).prop_map(decimal);
        prop_oneof![
            (value, any::<bool>()).prop_map(|(value, is)| if is {
                Test::Is(value)
            } else {
                Test::IsNot(value)
            }),
            text.prop_map(Test::Contains),
            text.prop_map(Test::BeginsWith),
            (number, 0..4).prop_map(
                |(n, which)| [Test::Above, Test::AtLeast, Test::Below, Test::AtMost][which as usize](n)
            ),
            (0..20_000_i64, any::<bool>()).prop_map(|(day, from)| {
                if from { Test::From(date(day)) } else { Test::Before(date(day)) }
            }),
            (1..=DAYS_MAX).prop_map(Test::InLastDays),
            (1..=DAYS_MAX).prop_map(Test::InNextDays),
            any::<bool>().prop_map(Test::Exists),
        ]
    }

    fn decimal(units: i64) -> Decimal {
        let sign = if units < 0 { "-" } else { "" };
        Decimal::parse(&format!("{sign}{}.{:04}", units.abs() / 10_000, units.abs() % 10_000))
            .expect("a number")
    }

    fn date(day: i64) -> Date {
        Date::constant(1970, 1, 1).checked_add(jiff::Span::new().days(day)).expect("a day")
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        let days = || proptest::option::of(1..=DAYS_MAX);
        let word = "[a-z]{1,9}";
        let purpose = || proptest::sample::select(&Purpose::ALL[..]);
        let moment = || (0..4_000_000_000_000_i64).prop_map(Timestamp::from_millis);
        prop_oneof![
            ("f(_?[a-z0-9]){0,5}", any_test()).prop_map(|(name, test)| Condition::Field(
                FieldName::parse(&format!("x{name}")).expect("a name"),
                test
            )),
            word.prop_map(|text| Condition::Group(Group::parse(&text).expect("a group"))),
            proptest::sample::select(&["sv", "en-GB", "zh-Hant"][..])
                .prop_map(|text| Condition::Language(Language::parse(text).expect("a language"))),
            proptest::sample::select(&["SE", "US", "XK"][..])
                .prop_map(|text| Condition::Country(Country::parse(text).expect("a country"))),
            word.prop_map(Condition::Owner),
            proptest::sample::select(&Known::ALL[..]).prop_map(Condition::Known),
            (proptest::sample::select(&Which::ALL[..]), moment(), 1..=DAYS_MAX, 0..3).prop_map(
                |(which, moment, days, test)| {
                    let when =
                        [When::From(moment), When::Before(moment), When::InLastDays(days)][test as usize];
                    Condition::Time(which, when)
                }
            ),
            (purpose(), proptest::sample::select(&Channel::ALL[..]))
                .prop_map(|(purpose, channel)| Condition::Consent(purpose, channel)),
            any::<bool>().prop_map(Condition::Suppressed),
            (proptest::sample::select(&Deed::ALL[..]), proptest::option::of(purpose()), days())
                .prop_map(|(deed, purpose, days)| Condition::History(deed, purpose, days)),
            days().prop_map(Condition::Answered),
        ]
    }

    fn any_query() -> impl Strategy<Value = Query> {
        any_condition().prop_map(Query::Is).prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(Query::All),
                proptest::collection::vec(inner.clone(), 1..4).prop_map(Query::Any),
                inner.prop_map(|inner| Query::Not(Box::new(inner))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_as_itself(query in any_query()) {
            match parse(&write(&query)) {
                Ok(read) => prop_assert_eq!(read, query),
                // Some that are drawn have more conditions than may be.
                Err(wrongs) => prop_assert!(wrongs.iter().all(|wrong| wrong.reason == "too_many_conditions")),
            }
        }

        #[test]
        fn facts_that_are_not_needed_change_nothing(query in any_query()) {
            let (contact, said, past) = (ana(), said(), past());
            let needs = query.needs();
            let all = Person { contact: &contact, said: &said, suppressed: Some(suppression::Reason::Manual), past: &past };
            let (nothing_said, no_past) = (History::default(), Past::default());
            let few = Person {
                contact: &contact,
                said: if needs.consent { &said } else { &nothing_said },
                suppressed: all.suppressed.filter(|_| needs.suppression),
                past: if needs.history { &past } else { &no_past },
            };
            prop_assert_eq!(matches(&query, &all, NOW), matches(&query, &few, NOW));
            // What the contact alone says is so, whatever the facts are.
            if let Some(found) = settled(&query, &contact, NOW) {
                prop_assert_eq!(matches(&query, &all, NOW), found);
            }
            // Whom a query finds that names a group is in it.
            if let Some(group) = query.within() {
                prop_assert!(!matches(&query, &all, NOW) || contact.details.groups.contains(group));
            }
        }
    }
}

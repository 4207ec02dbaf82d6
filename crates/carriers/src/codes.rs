//! What a carrier's code means: the table from codes to [`Failure`]s, and the only way from a receipt's word to an
//! [`Outcome`].
//!
//! The meanings are data, because they differ from carrier to carrier and change without a release of ours:
//! `data/failures.csv` is built in, and an operator's file of the same form ([`Codes::with`]) goes before it.
//! A code that stands in neither is never guessed: it becomes `UNKNOWN_ERROR` for a person to look at, with the
//! code kept. What is done about a failure is not decided here; see `domain::failure`.
//!
//! The form of a file, with its head line: `origin,code,meaning,class,recovery,unreached`, of which the last may be left out.
//! It is `yes` for what says that the phone could not be reached (see `domain::reachability`). Lines that begin with `#` are
//! comments. An origin is a family of codes (`smpp`, `gsm-map`, or any word of the operator's) or a family on one
//! connection only (`smpp:acme`), which goes before the family. Codes are compared as numbers where they are
//! numbers (`0x0B` is `11` is `011`), else without regard to case.

use std::collections::HashMap;
use std::fmt;

use tidings_domain::failure::{Failure, FailureClass, Recovery};
use tidings_domain::message::Outcome;
use tidings_smpp::receipt_text::ReceiptState;

/// The built-in table.
const BUILT_IN: &str = include_str!("../data/failures.csv");
/// The family of `command_status` values (SMPP 3.4 §5.1.3).
pub const SMPP: &str = "smpp";
/// The family of words in receipts (SMPP 3.4 appendix B).
pub const RECEIPT: &str = "smpp-receipt";
/// The family of numbers after `err:` as most carriers mean it (3GPP TS 29.002).
pub const GSM_MAP: &str = "gsm-map";
/// The family of the simulated carrier's own codes.
pub const SIMULATOR: &str = "simulator";
/// Of a carrier's unknown code, as much is kept as a person needs to ask about it.
const CODE_CHARACTERS_MAX: usize = 64;

/// The columns of a table. The last may be left out.
const HEAD: [&str; 6] = ["origin", "code", "meaning", "class", "recovery", "unreached"];
/// Those that every table has.
const NEEDED: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    meaning: String,
    class: FailureClass,
    transient: bool,
    unreached: bool,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Codes {
    origins: HashMap<String, HashMap<String, Row>>,
}

/// A line of an operator's table that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLine {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for InvalidLine {}

impl Default for Codes {
    /// The built-in table alone.
    fn default() -> Self {
        let nothing = Self { origins: HashMap::new() };
        nothing.with(BUILT_IN).expect("the built-in table is read by a test")
    }
}

impl Codes {
    /// This table with the lines of another before it: equal codes are overridden, others added.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn with(mut self, table: &str) -> Result<Self, InvalidLine> {
        for (origin, code, row) in read(table)? {
            self.origins.entry(origin).or_default().insert(code, row);
        }
        Ok(self)
    }

    /// What a refusal with this `command_status` means. `origins` are the families to look into, in order.
    pub fn submit(&self, connection: &str, origins: &[String], status: u32) -> Failure {
        let code = format!("0x{status:08X}");
        if let Some((origin, row)) = self.find(connection, origins, &status.to_string()) {
            return row.failure(format!("{origin} {code}"));
        }
        let detail = match tidings_smpp::status::name(status) {
            Some(name) => format!("the carrier refused with {name}, which no table explains"),
            None => "the carrier refused with a code that is in no table".to_owned(),
        };
        let origin = origins.first().map_or(SMPP, String::as_str);
        Failure::new(FailureClass::UnknownError, false, format!("{origin} {code}"), detail)
    }

    /// What a receipt means; `None` for "on its way". `origins` are the families to look up `err` in, in order;
    /// none means that the carrier's `err` says nothing.
    pub fn receipt(
        &self,
        connection: &str,
        origins: &[String],
        state: Option<&ReceiptState>,
        err: &str,
    ) -> Option<Outcome> {
        let Some(state) = state else {
            let detail = "the carrier's receipt names no state";
            return Some(Outcome::Unknown(Failure::new(FailureClass::UnknownError, false, RECEIPT, detail)));
        };
        // A word's own meaning, or for the two states that have a hundred reasons, what `err` says.
        let of_word = || self.word(connection, state, err);
        let of_reason = || self.reason(connection, origins, state, err);
        match state {
            ReceiptState::Enroute | ReceiptState::Accepted => None,
            ReceiptState::Delivered => Some(Outcome::Delivered),
            ReceiptState::Undeliverable => Some(Outcome::Undelivered(of_reason())),
            ReceiptState::Rejected => Some(Outcome::Rejected(of_reason())),
            ReceiptState::Expired => {
                let failure = of_word();
                // It may say why there was no time left.
                let unreached = failure.unreached && !self.is_other_trouble(connection, origins, err);
                Some(Outcome::Expired(Failure { unreached, ..failure }))
            }
            ReceiptState::Deleted => Some(Outcome::Undelivered(of_word())),
            ReceiptState::CarrierUnknown | ReceiptState::Unknown(_) => Some(Outcome::Unknown(of_word())),
        }
    }

    fn reason(&self, connection: &str, origins: &[String], state: &ReceiptState, err: &str) -> Failure {
        let err = shortened(err);
        let key = key(&err);
        // Without a code, or where the codes mean nothing, the word must do.
        if key.is_empty() || key == "0" || origins.is_empty() {
            return self.word(connection, state, &err);
        }
        // Some write a second code of their own behind a hyphen (`001-30005`): as a whole first.
        let first = err.split('-').next().unwrap_or_default();
        let found = self
            .find(connection, origins, &key)
            .or_else(|| (!first.is_empty()).then(|| self.find(connection, origins, &self::key(first)))?);
        if let Some((origin, row)) = found {
            return row.failure(format!("{origin} {err}"));
        }
        let (class, meaning) = match self.row(connection, RECEIPT, state.word()) {
            Some(row) => (row.class, row.meaning.as_str()),
            None => (FailureClass::UnknownError, "not delivered"),
        };
        let detail = format!("{meaning}; the carrier's code {err} is in no table");
        Failure::new(class, false, format!("{RECEIPT} {} {err}", state.word()), detail)
    }

    /// Whether a code is known, and does not say that the phone could not be reached.
    fn is_other_trouble(&self, connection: &str, origins: &[String], err: &str) -> bool {
        let key = key(&shortened(err));
        let known = if key == "0" { None } else { self.find(connection, origins, &key) };
        known.is_some_and(|(_, row)| !row.unreached)
    }

    fn word(&self, connection: &str, state: &ReceiptState, err: &str) -> Failure {
        let word = shortened(state.word());
        let err = shortened(err);
        let code = match key(&err).as_str() {
            "" | "0" => format!("{RECEIPT} {word}"),
            _ => format!("{RECEIPT} {word} {err}"),
        };
        match self.row(connection, RECEIPT, &key(&word)) {
            Some(row) => row.failure(code),
            None => {
                let detail = "the carrier's receipt has a word that is in no table";
                Failure::new(FailureClass::UnknownError, false, code, detail)
            }
        }
    }

    fn find<'a>(&'a self, connection: &str, origins: &'a [String], key: &str) -> Option<(&'a str, &'a Row)> {
        origins.iter().find_map(|origin| Some((origin.as_str(), self.row(connection, origin, key)?)))
    }

    fn row(&self, connection: &str, origin: &str, key: &str) -> Option<&Row> {
        let of_connection =
            self.origins.get(&format!("{origin}:{connection}")).and_then(|rows| rows.get(key));
        of_connection.or_else(|| self.origins.get(origin).and_then(|rows| rows.get(key)))
    }

    /// Whether any line speaks of this family, so that a misspelled one in the configuration is found.
    pub fn knows(&self, origin: &str) -> bool {
        let on_a_connection = |known: &String| known.split(':').next() == Some(origin);
        self.origins.contains_key(origin) || self.origins.keys().any(on_a_connection)
    }
}

impl Row {
    fn failure(&self, code: String) -> Failure {
        let failure = Failure::new(self.class, self.transient, code, self.meaning.clone());
        Failure { unreached: self.unreached, ..failure }
    }
}

/// The form in which codes are compared.
fn key(code: &str) -> String {
    let code = code.trim();
    let hexadecimal = code.strip_prefix("0x").or_else(|| code.strip_prefix("0X"));
    if let Some(number) = hexadecimal.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        return number.to_string();
    }
    let digits = code.trim_start_matches('0');
    if !code.is_empty() && code.bytes().all(|octet| octet.is_ascii_digit()) {
        return if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
    }
    code.to_ascii_uppercase()
}

fn shortened(code: &str) -> String {
    code.trim().chars().filter(|character| !character.is_control()).take(CODE_CHARACTERS_MAX).collect()
}

fn read(table: &str) -> Result<Vec<(String, String, Row)>, InvalidLine> {
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .has_headers(false)
        .from_reader(table.as_bytes());
    let mut rows = Vec::new();
    let mut seen: HashMap<(String, String), csv::Position> = HashMap::new();
    let mut head_seen = false;
    for record in reader.records() {
        let record = record.map_err(|error| InvalidLine {
            line: line_at(table, error.position()),
            reason: format!("a line has as many columns as the first: {}", HEAD.join(",")),
        })?;
        let invalid = |reason: String| InvalidLine { line: line_at(table, record.position()), reason };
        if !head_seen {
            if record.iter().ne(HEAD) && record.iter().ne(HEAD.into_iter().take(NEEDED)) {
                return Err(invalid(format!("the first line must be {}", HEAD.join(","))));
            }
            head_seen = true;
            continue;
        }
        let [origin, code, meaning, class, recovery, unreached] =
            std::array::from_fn(|at| record.get(at).unwrap_or_default());
        for (name, value) in [("origin", origin), ("code", code), ("meaning", meaning)] {
            if value.is_empty() {
                return Err(invalid(format!("{name} is empty")));
            }
        }
        let row = row(meaning, class, recovery, unreached).map_err(invalid)?;
        let place = (origin.to_owned(), key(code));
        let position = record.position().cloned().unwrap_or_else(csv::Position::new);
        if let Some(first) = seen.insert(place.clone(), position) {
            let first = line_at(table, Some(&first));
            return Err(invalid(format!("{origin} {code} is already in line {first}")));
        }
        rows.push((place.0, place.1, row));
    }
    Ok(rows)
}

/// The line of a record. Its position may be that of a comment or an empty line before it.
fn line_at(table: &str, position: Option<&csv::Position>) -> u64 {
    let at = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default();
    let (before, after) = table.split_at_checked(at).unwrap_or((table, ""));
    let skipped = after.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
    (1 + before.matches('\n').count() + skipped) as u64
}

fn row(meaning: &str, class: &str, recovery: &str, unreached: &str) -> Result<Row, String> {
    let parsed = FailureClass::parse(class).ok_or_else(|| {
        let classes = FailureClass::ALL.map(FailureClass::as_str).join(", ");
        format!("class is {class:?}, but must be one of {classes}")
    })?;
    let wanted = Recovery::parse(recovery).ok_or_else(|| {
        let recoveries = Recovery::ALL.map(Recovery::as_str).join(", ");
        format!("recovery is {recovery:?}, but must be one of {recoveries}")
    })?;
    let transient = wanted == Recovery::Retry;
    // The class decides what is done; the column only chooses where the class leaves a choice.
    let follows = Failure::new(parsed, transient, "", "").recovery();
    if follows != wanted {
        return Err(format!(
            "recovery is {recovery}, but {class} is always followed by {}; choose another class for another recovery",
            follows.as_str()
        ));
    }
    let unreached = match unreached {
        "" | "no" => false,
        "yes" if transient => true,
        "yes" => return Err(format!("unreached is yes, but recovery is {recovery}: a phone is tried again")),
        other => return Err(format!("unreached is {other:?}, but must be yes or no")),
    };
    Ok(Row { meaning: meaning.to_owned(), class: parsed, transient, unreached })
}

/// Whether a refusal of class `RATE_LIMITED` speaks of the whole connection. `ESME_RMSGQFUL` speaks of the queue of
/// one destination (SMPP 3.4 §5.1.3): that message waits, and the others keep their pace.
pub fn slows_connection(failure: &Failure) -> bool {
    !failure.code.ends_with("0x00000014")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_refusal_means_what_the_table_says_and_an_unknown_one_goes_to_a_person() {
        let codes = Codes::default();
        let check = |status: u32, class: FailureClass, recovery: Recovery, code: &str| {
            let failure = codes.submit("acme", &origins(&["smpp"]), status);
            assert_eq!((failure.class, failure.recovery()), (class, recovery), "{status:#x}");
            assert_eq!(failure.code, code);
        };
        check(0x58, FailureClass::RateLimited, Recovery::Retry, "smpp 0x00000058");
        check(0x14, FailureClass::RateLimited, Recovery::Retry, "smpp 0x00000014");
        check(0x0B, FailureClass::InvalidNumber, Recovery::Suppress, "smpp 0x0000000B");
        check(0x0E, FailureClass::AuthFailed, Recovery::Review, "smpp 0x0000000E");
        check(0x66, FailureClass::Filtered, Recovery::Review, "smpp 0x00000066");
        check(0x08, FailureClass::UnknownError, Recovery::Retry, "smpp 0x00000008");
        check(0x01, FailureClass::UnknownError, Recovery::Review, "smpp 0x00000001");
        check(0x4AB, FailureClass::UnknownError, Recovery::Review, "smpp 0x000004AB");
        check(u32::MAX, FailureClass::UnknownError, Recovery::Review, "smpp 0xFFFFFFFF");
    }

    #[test]
    fn every_status_of_the_specification_is_in_the_table() {
        let codes = Codes::default();
        for &(status, name) in tidings_smpp::status::ALL.iter().filter(|(status, _)| *status != 0) {
            let known = codes.row("", SMPP, &status.to_string()).is_some();
            assert!(known, "{name} is missing");
        }
    }

    #[test]
    fn a_receipt_becomes_an_outcome_and_a_strange_one_is_unknown() {
        let codes = Codes::default();
        let check = |word: &str, err: &str, expected: Option<(&str, FailureClass, bool, &str)>| {
            let state = ReceiptState::from_word(word);
            let outcome = codes.receipt("acme", &origins(&["gsm-map"]), Some(&state), err);
            let is = outcome.as_ref().map(|outcome| match outcome {
                Outcome::Delivered => ("delivered", FailureClass::UnknownError, false, ""),
                Outcome::Unknown(f) => ("unknown", f.class, f.transient, f.code.as_str()),
                Outcome::Expired(f) => ("expired", f.class, f.transient, f.code.as_str()),
                Outcome::Undelivered(f) => ("undelivered", f.class, f.transient, f.code.as_str()),
                Outcome::Rejected(f) => ("rejected", f.class, f.transient, f.code.as_str()),
            });
            assert_eq!(is, expected, "{word} {err}");
        };
        use FailureClass as C;
        check("DELIVRD", "000", Some(("delivered", C::UnknownError, false, "")));
        check("ENROUTE", "000", None);
        check("ACCEPTD", "", None);
        check("UNDELIV", "001", Some(("undelivered", C::InvalidNumber, false, "gsm-map 001")));
        check("UNDELIV", "27", Some(("undelivered", C::UnknownError, true, "gsm-map 27")));
        check("UNDELIV", "0x1B", Some(("undelivered", C::UnknownError, true, "gsm-map 0x1B")));
        check("UNDELIV", "001-30005", Some(("undelivered", C::InvalidNumber, false, "gsm-map 001-30005")));
        check("UNDELIV", "000", Some(("undelivered", C::UnknownError, true, "smpp-receipt UNDELIV")));
        check("UNDELIV", "", Some(("undelivered", C::UnknownError, true, "smpp-receipt UNDELIV")));
        check("UNDELIV", "777", Some(("undelivered", C::UnknownError, false, "smpp-receipt UNDELIV 777")));
        check("EXPIRED", "027", Some(("expired", C::UnknownError, true, "smpp-receipt EXPIRED 027")));
        check("REJECTD", "000", Some(("rejected", C::Filtered, false, "smpp-receipt REJECTD")));
        check("DELETED", "", Some(("undelivered", C::UnknownError, false, "smpp-receipt DELETED")));
        check("UNKNOWN", "", Some(("unknown", C::UnknownError, false, "smpp-receipt UNKNOWN")));
        check("WHATEVER", "5", Some(("unknown", C::UnknownError, false, "smpp-receipt WHATEVER 5")));
        let nothing = codes.receipt("acme", &[], None, "");
        assert!(matches!(nothing, Some(Outcome::Unknown(_))));
        let state = ReceiptState::Undeliverable;
        let silent = codes.receipt("acme", &[], Some(&state), "001");
        let Some(Outcome::Undelivered(failure)) = silent else { panic!("undelivered") };
        assert_eq!(failure.class, C::UnknownError, "without a family, the code says nothing");
    }

    #[test]
    fn only_what_says_so_is_a_phone_that_could_not_be_reached() {
        let is_unreached = |codes: &Codes, word: &str, err: &str| {
            let families = origins(&["gsm-map", "twilio", "acme"]);
            let outcome = codes.receipt("acme", &families, Some(&ReceiptState::from_word(word)), err);
            outcome.as_ref().and_then(Outcome::failure).is_some_and(|failure| failure.unreached)
        };
        let built_in = Codes::default();
        for (word, err, expected) in [
            ("EXPIRED", "", true),
            ("EXPIRED", "027", true),
            ("EXPIRED", "777", true),
            ("EXPIRED", "000", true),
            ("UNDELIV", "", true),
            ("UNDELIV", "027", true),
            ("UNDELIV", "006", true),
            // The phone is there, the network is not, nobody knows, or there is no such number.
            ("UNDELIV", "032", false),
            ("UNDELIV", "031", false),
            ("UNDELIV", "034", false),
            ("EXPIRED", "034", false),
            ("EXPIRED", "031", false),
            ("UNDELIV", "777", false),
            ("UNDELIV", "001", false),
            ("REJECTD", "", false),
            ("DELETED", "", false),
            ("UNKNOWN", "", false),
            ("DELIVRD", "", false),
        ] {
            assert_eq!(is_unreached(&built_in, word, err), expected, "{word} {err}");
        }
        let table = "origin,code,meaning,class,recovery,unreached\nacme,4711,gone,UNKNOWN_ERROR,retry,yes\n\
                     gsm-map,27,who cares,UNKNOWN_ERROR,retry,no\n";
        let own = Codes::default().with(table).expect("a table");
        assert!(is_unreached(&own, "UNDELIV", "4711"));
        assert!(!is_unreached(&own, "UNDELIV", "027"));
    }

    #[test]
    fn an_operators_line_goes_first_and_a_connections_line_before_it() {
        let codes = Codes::default()
            .with(
                "origin,code,meaning,class,recovery\n# ours\nsmpp,0x4AB,blocked,FILTERED,review\n\
                 smpp:acme,1195,too fast,RATE_LIMITED,retry\nsmpp,88,hold on,RATE_LIMITED,retry\n",
            )
            .expect("a table");
        let class = |connection: &str, status| codes.submit(connection, &origins(&["smpp"]), status).class;
        assert_eq!(class("other", 0x4AB), FailureClass::Filtered);
        assert_eq!(class("acme", 0x4AB), FailureClass::RateLimited);
        assert_eq!(codes.submit("acme", &origins(&["smpp"]), 0x58).detail, "hold on");
        assert!(codes.knows("smpp") && codes.knows("twilio") && !codes.knows("smp"));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let check = |lines: &str, line: u64, says: &str| {
            let error = Codes::default().with(lines).expect_err(lines);
            assert_eq!(error.line, line, "{lines}: {error}");
            assert!(error.reason.contains(says), "{error}");
        };
        const HEAD: &str = "origin,code,meaning,class,recovery\n";
        check("origin,code\n", 1, "first line");
        check("a,1,x,FILTERED,review\n", 1, "first line");
        check(&format!("{HEAD}a,1,x,FILTRED,review\n"), 2, "FILTERED");
        check(&format!("{HEAD}a,1,x,FILTERED,never\n"), 2, "suppress");
        check(&format!("{HEAD}\na,1,x,FILTERED,retry\n"), 3, "always followed by review");
        check(&format!("{HEAD}a,1,x,UNKNOWN_ERROR,suppress\n"), 2, "always followed by review");
        check(&format!("{HEAD}a,1,x,FILTERED\n"), 2, "as many columns");
        check(&format!("{HEAD}a,1,x,UNKNOWN_ERROR,retry,yes\n"), 2, "as many columns");
        const WHOLE: &str = "origin,code,meaning,class,recovery,unreached\n";
        check(&format!("{WHOLE}a,1,x,UNKNOWN_ERROR,retry\n"), 2, "as many columns");
        check(&format!("{WHOLE}a,1,x,UNKNOWN_ERROR,retry,perhaps\n"), 2, "yes or no");
        check(&format!("{WHOLE}a,1,x,INVALID_NUMBER,suppress,yes\n"), 2, "recovery is suppress");
        check(&format!("{HEAD},1,x,FILTERED,review\n"), 2, "origin is empty");
        check(&format!("{HEAD}a,1,x,FILTERED,review\n#\na,001,y,FILTERED,review\n"), 4, "line 2");
    }
}

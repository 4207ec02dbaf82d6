//! The public error codes: one list, from which come the status, the title, the cure, and the page of each.
//!
//! To add a code: a line in [`codes!`] below and a page `docs/src/errors/CODE.md`. A code is a promise: programs act
//! on it, so it is never renamed; a new one is added where a program would act differently.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use tidings_domain::content;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::gate;
use tidings_domain::intake::Refusal;
use tidings_domain::programme::{self, NotOf};
use tidings_domain::registration::NotRegistered;
use tidings_domain::spelling::nearest;
use tidings_domain::suppression::InForce;
use tidings_domain::text::Unsendable;
use utoipa::ToSchema;

macro_rules! codes {
    ($($name:ident $word:literal $status:literal $title:literal $cure:literal)*) => {
        /// A public error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {$(
            #[doc = $title]
            $name,
        )*}

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable word, such as `INVALID_NUMBER`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The HTTP status that usually travels with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// What it means, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// What to do about it, in a sentence.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure),* }
            }

            /// Its page, in Markdown.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../../docs/src/errors/", $word, ".md"))),* }
            }
        }
    };
}

codes! {
    AuthFailed "AUTH_FAILED" 401 "The credentials are missing or not accepted"
        "Send a valid token of this environment as `Authorization: Bearer …`; create or rotate it if it ended."
    Forbidden "FORBIDDEN" 403 "The token lacks the right for this"
        "Use a token with the scope that is named, or create one that has it: the scopes of a token do not change."
    NotFound "NOT_FOUND" 404 "There is nothing here"
        "Check the address and the id, and that the token belongs to the same account and environment."
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405 "This address does not take that method"
        "Use one of the methods in the `Allow` header."
    InvalidRequest "INVALID_REQUEST" 400 "The request cannot be understood"
        "Correct what is named in `detail` and `errors`, and send it again."
    InvalidNumber "INVALID_NUMBER" 422 "The recipient's phone number cannot be used"
        "Write the number with + and the country code. If it is on the suppression list, as not in use or `unreachable`, ask the person for the right one, or lift the entry with a reason if you know that it is in use. Drop from your records what stays invalid."
    InvalidSender "INVALID_SENDER" 422 "The sender cannot be used"
        "Send from another sender: a phone number, a short code, or a name that the recipient's country allows; `detail` says what is against this one."
    InvalidText "INVALID_TEXT" 422 "The text cannot be sent"
        "Send a text with something to read and without control characters; `errors` says if it must have something else in it."
    TooManySegments "TOO_MANY_SEGMENTS" 422 "The text is too long"
        "Shorten the text, or set `transliterate` so that costly characters do not count double."
    InvalidTime "INVALID_TIME" 422 "A time or duration cannot be used"
        "Write times with their offset, in the future and within the limits that are named."
    InvalidUrl "INVALID_URL" 422 "The address cannot be called"
        "Give an https address that is reachable from the public network."
    NoRoute "NO_ROUTE" 422 "No carrier connection takes this message"
        "Have an operator configure a connection for this recipient and sender in this environment."
    OptedOut "OPTED_OUT" 422 "The recipient does not want messages"
        "Do not send to this recipient again; lift the suppression only if the person asked for it."
    Filtered "FILTERED" 422 "The message was blocked by its content, sender or route"
        "Review the text, the sender's registration and the sending pattern before sending it again."
    NoConsent "NO_CONSENT" 422 "The recipient did not agree to this"
        "Ask the person, and record the consent with what proves it before you send again."
    CountryNotEnabled "COUNTRY_NOT_ENABLED" 422 "The recipient's country is not enabled"
        "Have an operator add the country to `enabled` in `[countries]`, if you mean to send there."
    RangeNotEnabled "RANGE_NOT_ENABLED" 422 "The recipient's number is of a range that is not enabled"
        "Send to a number that a person has; have an operator add the range to `enabled` in `[ranges]`, if you mean it."
    SenderNotRegistered "SENDER_NOT_REGISTERED" 422 "The sender is not registered for this message"
        "Send from a sender that is registered for this country and purpose, or have an operator complete its `[[sender]]`."
    TemplateRequired "TEMPLATE_REQUIRED" 422 "The text is not a registered template"
        "Send a text as it was registered for this sender, or have an operator add its template to the `[[sender]]`."
    RiskyContent "RISKY_CONTENT" 422 "The text has or lacks what carriers look at"
        "Correct what `reason` names, or have an operator change what `[content]` does about it."
    SpendLimit "SPEND_LIMIT" 422 "The account would spend more than it may"
        "Wait for the next day or month, or have an operator change the limits in `[spend]`."
    FrequencyCap "FREQUENCY_CAP" 422 "The recipient got as many messages as may be"
        "Send fewer, or later; an operator sets in `[frequency]` how many, and whether one too many waits."
    DailyLimit "DAILY_LIMIT" 422 "As much was sent from the sender today as may be"
        "Wait for the next day, or shorten a text that has more segments than may go in one. Or send from another sender, or have an operator change the `daily_limit` of the `[[sender]]`."
    QuietHours "QUIET_HOURS" 422 "The recipient must not be disturbed at this time"
        "Send it within the hours that are named, or have an operator set `outside = \"hold\"` in `[quiet_hours]`."
    TemplateNotFilled "TEMPLATE_NOT_FILLED" 422 "The text cannot be made of the template"
        "Give every value that the template has, each of its type; `errors` names what is missing or wrong."
    InvalidQuery "INVALID_QUERY" 422 "The query of a segment cannot be used"
        "Correct what `errors` names by its path, and send it again; POST /v1/segments/preview tries a query."
    UnknownProgramme "UNKNOWN_PROGRAMME" 422 "There is no programme of this name"
        "Correct `programme`, or have an operator write a `[[programme]]` of that name."
    LimitExceeded "LIMIT_EXCEEDED" 422 "The request is larger than a limit"
        "Split the request into several within the limit that is named."
    IdempotencyConflict "IDEMPOTENCY_CONFLICT" 422 "The idempotency key was used for another request"
        "Use a new key for a new request; repeat the first one unchanged to get its answer again."
    TooLate "TOO_LATE" 409 "It is too late for that"
        "Read the message's status; what was handed to a carrier cannot be taken back."
    CodeExpired "CODE_EXPIRED" 410 "The time of the one-time code is over"
        "Ask for a new code; this one is good for nothing any more."
    CodeClosed "CODE_CLOSED" 409 "The one-time code was used or taken back"
        "Ask for a new code: each is good once."
    CodeSpent "CODE_SPENT" 429 "The one-time code was tried or sent as often as may be"
        "Ask for a new code; waiting does not help this one."
    VelocityExceeded "VELOCITY_EXCEEDED" 429 "One-time codes are asked for too fast"
        "Wait as long as `Retry-After` says; `errors` names what there were too many of."
    ConsentPending "CONSENT_PENDING" 409 "The person was asked for consent and has not answered"
        "Wait for the answer; `GET /v1/consents/requests?to=…` says until when it counts."
    Overtaken "OVERTAKEN" 409 "Somebody wrote in the conversation meanwhile"
        "Read what came since the entry that you saw last, and send your reply again if it still fits."
    Conflict "CONFLICT" 409 "Something like that exists already"
        "Read what is there, and change it or choose another name."
    PayloadTooLarge "PAYLOAD_TOO_LARGE" 413 "The body is too large"
        "Send less at once; the limit is named in `detail`."
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415 "The body is not in the expected format"
        "Send uncompressed JSON with `Content-Type: application/json`."
    RateLimited "RATE_LIMITED" 429 "Too many requests"
        "Wait as long as `Retry-After` says, then try again more slowly."
    UnknownError "UNKNOWN_ERROR" 500 "Something unexpected went wrong"
        "Try again once with the same idempotency key; if it stays, tell the operator the request id."
    Unavailable "UNAVAILABLE" 503 "The service cannot answer now"
        "Nothing was accepted. Try again after `Retry-After` with the same idempotency key."
}

impl Code {
    /// From the stable word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }

    /// The code that a carrier's failure is shown with.
    pub const fn of(class: FailureClass) -> Self {
        match class {
            FailureClass::AuthFailed => Self::AuthFailed,
            FailureClass::InvalidNumber => Self::InvalidNumber,
            FailureClass::RateLimited => Self::RateLimited,
            FailureClass::OptedOut => Self::OptedOut,
            FailureClass::Filtered => Self::Filtered,
            FailureClass::UnknownError => Self::UnknownError,
        }
    }

    /// The code that a failure is shown with: its rule's own where a rule of ours has one, else that of its class.
    pub fn of_failure(failure: &Failure) -> Self {
        match failure.code.as_str() {
            gate::QUIET_HOURS => Self::QuietHours,
            gate::COUNTRY_NOT_ENABLED => Self::CountryNotEnabled,
            gate::NO_CONSENT => Self::NoConsent,
            gate::RANGE_NOT_ENABLED => Self::RangeNotEnabled,
            gate::SENDER_NOT_REGISTERED => Self::SenderNotRegistered,
            gate::TEMPLATE_REQUIRED => Self::TemplateRequired,
            gate::CONTENT => Self::RiskyContent,
            gate::FREQUENCY_CAP => Self::FrequencyCap,
            gate::DAILY_LIMIT => Self::DailyLimit,
            gate::SPEND_LIMIT => Self::SpendLimit,
            _ => Self::of(failure.class),
        }
    }

    /// The address of its page. `base` is put before it; empty for an address relative to the server.
    pub fn address(self, base: &str) -> String {
        format!("{base}/errors/{}", self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// With a capital letter and a full stop.
pub(crate) fn sentence(why: impl fmt::Display) -> String {
    let text = why.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

/// One thing that is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field, such as `to` or `messages[3].send_at`; empty for the request as a whole.
    pub field: Cow<'static, str>,
    /// The error code.
    #[schema(value_type = String, example = "INVALID_NUMBER")]
    pub code: Code,
    /// The finer reason, a lower-case word that may become more in time.
    pub reason: &'static str,
    /// A sentence for people. It never repeats phone numbers, texts or secrets.
    pub detail: String,
}

impl FieldError {
    /// An error of one field.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        code: Code,
        reason: &'static str,
        detail: impl fmt::Display,
    ) -> Self {
        Self { field: field.into(), code, reason, detail: detail.to_string() }
    }

    /// The same, with its field inside another one: `to` in `messages[3]` is `messages[3].to`.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        if !place.is_empty() {
            self.field = match self.field.as_ref() {
                "" => place.to_owned().into(),
                field => format!("{place}.{field}").into(),
            };
        }
        self
    }

    /// What a refused request is told. `text_field` is the name under which the caller gave the text.
    pub fn refusal(refusal: &Refusal, text_field: &'static str) -> Self {
        match refusal {
            Refusal::Text(why @ Unsendable::TooManySegments { .. }) => {
                Self::new(text_field, Code::TooManySegments, why.code(), why)
            }
            Refusal::Text(why) => Self::new(text_field, Code::InvalidText, why.code(), why),
            Refusal::Sender(why) => Self::new("from", Code::InvalidSender, why.code(), why),
            Refusal::NoTimeZone => Self::new(
                "send_at",
                Code::InvalidTime,
                "no_time_zone",
                "The recipient's local time is not known: write the time with its offset, or state the contact's time zone.",
            ),
            Refusal::InPast => {
                Self::new("send_at", Code::InvalidTime, "in_past", "The time to send at has passed.")
            }
            Refusal::TooFarAhead { allowed_s } => Self::new(
                "send_at",
                Code::InvalidTime,
                "too_far_ahead",
                format_args!("A message can be scheduled at most {allowed_s} seconds ahead."),
            ),
            Refusal::Validity { allowed_s } => Self::new(
                "expires_in_s",
                Code::InvalidTime,
                "validity",
                format_args!("For this purpose a message can be worth sending for 1 to {allowed_s} seconds."),
            ),
            Refusal::NoPool => {
                let detail =
                    "There is no pool of senders of this name; an operator makes one as a `[[pool]]`.";
                Self::new("from", Code::InvalidSender, "no_pool", detail)
            }
            Refusal::NotOfProgramme(NotOf::Unknown { name, known }) => {
                Self::no_programme(name.as_str(), known.iter().map(programme::Name::as_str))
            }
            Refusal::NotOfProgramme(NotOf::SenderOf(other)) => Self::new(
                "from",
                Code::InvalidSender,
                "other_programme",
                format_args!(
                    "STOP to this sender ends the programme `{other}` alone, so it sends for no other; \
                     send from another sender."
                ),
            ),
            Refusal::NoRoute => Self::new(
                "to",
                Code::NoRoute,
                "no_route",
                "No carrier connection of this environment takes this recipient and sender.",
            ),
            Refusal::Gate(reason) => Self::gate(reason, text_field),
        }
    }

    /// What somebody is told who names a programme that nobody configured; these are known.
    pub fn no_programme<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Self {
        let near = nearest(name, known).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
        let detail = format!("There is no programme of this name.{near}");
        Self::new("programme", Code::UnknownProgramme, "no_programme", detail)
    }

    /// What a request is told that the gate does not let pass. `text_field` is the name under which the caller gave the text.
    pub fn gate(reason: &gate::Reason, text_field: &'static str) -> Self {
        match reason {
            gate::Reason::Suppressed(entry) => Self::suppressed(entry),
            gate::Reason::NoConsent(lack) => {
                let detail = format!("There is not the consent that this purpose needs: {lack}.");
                Self::new("to", Code::NoConsent, reason.code(), detail)
            }
            gate::Reason::CountryNotEnabled { .. } => {
                let country = "The number is from a country that the operator did not enable.";
                Self::new("to", Code::CountryNotEnabled, reason.code(), country)
            }
            gate::Reason::RangeNotEnabled(range) => {
                let detail = format_args!("The number is {range}, which the operator did not enable.");
                Self::new("to", Code::RangeNotEnabled, reason.code(), detail)
            }
            gate::Reason::SenderNotRegistered(why @ NotRegistered::Template) => {
                Self::new(text_field, Code::TemplateRequired, why.as_str(), sentence(why))
            }
            gate::Reason::SenderNotRegistered(why) => {
                Self::new("from", Code::SenderNotRegistered, why.as_str(), sentence(why))
            }
            gate::Reason::Content(finding) => Self::content(finding, text_field),
            gate::Reason::SpendLimit(_) => {
                // What it costs follows from whom it is for.
                Self::new("to", Code::SpendLimit, reason.code(), sentence(reason))
            }
            gate::Reason::FrequencyCap { .. } => {
                Self::new("to", Code::FrequencyCap, reason.code(), format_args!("Too many: {reason}."))
            }
            gate::Reason::DailyLimit(_) => {
                Self::new("from", Code::DailyLimit, reason.code(), sentence(reason))
            }
            gate::Reason::QuietHours(_) => {
                Self::new("to", Code::QuietHours, reason.code(), format_args!("Quiet hours: {reason}."))
            }
        }
    }

    /// What is said of a text that carriers may filter.
    pub fn content(finding: &content::Finding, text_field: &'static str) -> Self {
        Self::new(text_field, Code::RiskyContent, finding.check.as_str(), sentence(finding))
    }

    /// What a request to somebody on the suppression list is told.
    pub fn suppressed(entry: &InForce) -> Self {
        let failure = entry.failure();
        Self::new("to", Code::of(failure.class), entry.reason.as_str(), sentence(&failure.detail))
    }
}

/// The body of every error: `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem<'a> {
    /// The address of the page about the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means, in a few words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    #[schema(value_type = String, example = "INVALID_NUMBER")]
    pub code: Code,
    /// What is wrong with this request.
    pub detail: &'a str,
    /// What to do about it.
    pub cure: &'static str,
    /// The fields that are wrong, if it is about fields.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Vec<FieldError>)]
    pub errors: &'a [FieldError],
}

impl<'a> Problem<'a> {
    /// The body for a code. `base` is put before `/errors/CODE`; empty for an address relative to the server.
    pub fn new(base: &str, code: Code, status: u16, detail: &'a str, errors: &'a [FieldError]) -> Self {
        Self {
            kind: code.address(base),
            title: code.title(),
            status,
            code,
            detail,
            cure: code.cure(),
            errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::{quota, spend};

    fn pages() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/errors")
    }

    #[test]
    fn every_code_has_a_page_that_begins_with_it() {
        for code in Code::ALL {
            assert!(code.page().starts_with(&format!("# {}\n", code.as_str())), "{}", code.as_str());
            for heading in ["## What it means", "## What to do"] {
                assert!(code.page().contains(heading), "{} lacks {heading}", code.as_str());
            }
        }
    }

    #[test]
    fn every_page_has_a_code() {
        for file in std::fs::read_dir(pages()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let word = name.strip_suffix(".md").unwrap();
            assert!(word == "README" || Code::parse(word).is_some(), "{name} has no code");
        }
    }

    #[test]
    fn the_classes_of_carriers_failures_keep_their_words() {
        for class in FailureClass::ALL {
            assert_eq!(Code::of(class).as_str(), class.as_str());
        }
    }

    #[test]
    fn what_is_refused_is_about_a_field_and_its_cure_helps() {
        let long = FieldError::gate(&gate::Reason::DailyLimit(quota::Full { opens_at: None }), "text");
        assert_eq!((long.field.as_ref(), long.code), ("from", Code::DailyLimit));
        assert!(long.detail.contains("more segments") && long.code.cure().contains("shorten"), "{long:?}");
        let spent = FieldError::gate(&gate::Reason::SpendLimit(spend::Period::Month), "text");
        assert_eq!((spent.field.as_ref(), spent.reason), ("to", "month_spent"));
        assert_eq!(spent.within("messages[3]").field, "messages[3].to");
        assert!(Code::InvalidText.cure().contains("something else in it"), "a word that is missing is told");
    }

    #[test]
    fn a_status_is_one_of_an_error() {
        assert!(Code::ALL.iter().all(|code| (400..=503).contains(&code.status())));
    }
}

//! Consent that a person is asked for by a message, and gives or refuses with the answer: double opt-in by text.
//!
//! A request is no consent: while it waits, nothing is permitted by it. What ends it is the answer of the person to the sender
//! that asked: a text that is nothing but a word of `data/consent_answers.csv`, since a grant must not be guessed. `yes
//! please`, `yes?` and `ok` are none. An opt-out by any way ends it, too, and so does time ([`LIFE_S`]).
//!
//! What this cannot know: whether a `yes` answers this request or another question that the same sender asked meanwhile.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::consent::{Act, Channel, Consent, Evidence, Method, OptOut, Wording};
use crate::conversation::is_lost;
use crate::id::{ConsentId, ConsentRequestId, InboundId, MessageId};
use crate::keyword::{Language, words_of};
use crate::message::{Message, Status};
use crate::purpose::Purpose;
use crate::sender::Sender;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The table.
const TABLE: &str = include_str!("../data/consent_answers.csv");
/// How long an answer counts, if the caller does not say: seconds.
pub const LIFE_S: i64 = 7 * 86_400;
/// The longest time in which an answer counts: seconds. Later, nobody remembers what they answer.
pub const LIFE_S_MAX: i64 = 7 * 86_400;
/// The shortest: seconds.
pub const LIFE_S_MIN: i64 = 600;

/// What a person answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// The person agrees.
    Yes,
    /// The person does not.
    No,
}

/// What a text answers to a request, if it is nothing but that. Takes time that grows with the length of the text.
pub fn answer(text: &str) -> Option<Answer> {
    let (mut words, is_certain) = words_of(text);
    if !is_certain || words.is_empty() || words.len() > WORDS_MAX {
        return None;
    }
    // `yes yes`
    words.dedup();
    ANSWERS.get(words.join(" ").as_str()).copied()
}

/// Whether a text names a word that counts as a yes.
pub fn names_a_yes(text: &str) -> bool {
    let (words, _) = words_of(text);
    let is_yes = |words: &[String]| ANSWERS.get(words.join(" ").as_str()) == Some(&Answer::Yes);
    (1..=WORDS_MAX).any(|count| words.windows(count).any(is_yes))
}

/// Words of the longest answer.
const WORDS_MAX: usize = 3;

static ANSWERS: LazyLock<HashMap<String, Answer>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    let read = |line: &'static str| {
        let mut cells = line.splitn(4, ',');
        let answer = match cells.next()? {
            "yes" => Answer::Yes,
            "no" => Answer::No,
            _ => return None,
        };
        match cells.next()? {
            "*" => {}
            letters => {
                Language::parse(letters)?;
            }
        }
        let (words, _) = words_of(cells.next()?);
        cells.next().filter(|source| !source.is_empty())?;
        (!words.is_empty() && words.len() <= WORDS_MAX).then(|| (words.join(" "), answer))
    };
    lines.map(|line| read(line).unwrap_or_else(|| panic!("in data/consent_answers.csv: {line}"))).collect()
});

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The person has not answered.
    Pending,
    /// The person agreed.
    Granted,
    /// The person did not.
    Declined,
    /// The person opted out of everything since.
    OptedOut,
    /// Nobody answered in time.
    Expired,
    /// The message that asks will not reach the person.
    Undelivered,
}

impl State {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Granted, Self::Declined, Self::OptedOut, Self::Expired, Self::Undelivered];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Declined => "declined",
            Self::OptedOut => "opted_out",
            Self::Expired => "expired",
            Self::Undelivered => "undelivered",
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRequest {
    /// Its id.
    pub id: ConsentRequestId,
    /// Whose ledger.
    pub realm: Realm,
    /// Who is asked.
    pub recipient: PhoneNumber,
    /// By which of our senders: the answer must come to it.
    pub sender: Sender,
    /// The message that asks.
    pub message: MessageId,
    /// To be contacted why.
    pub purposes: Vec<Purpose>,
    /// And how.
    pub channels: Vec<Channel>,
    /// What a yes is: express or written consent.
    pub act: Act,
    /// What the message says.
    pub wording: Wording,
    /// Where the person asked for it before, such as a form.
    pub place: Option<String>,
    /// Who may contact the person, as the words name it.
    pub seller: Option<String>,
    /// Which programme of the seller.
    pub programme: Option<String>,
    /// Who asked: `api`.
    pub source: String,
    /// When it was accepted.
    pub requested_at: Timestamp,
    /// Until when an answer counts.
    pub expires_at: Timestamp,
    /// How it stood when it was last written; see [`ConsentRequest::standing`].
    pub state: State,
    /// When the answer came that ended it.
    pub ended_at: Option<Timestamp>,
    /// The answer that ended it.
    pub answer: Option<InboundId>,
}

impl ConsentRequest {
    /// How it stands now, given every opt-out of the person, and how the message that asks stands: `None` if it is not kept any
    /// more. An opt-out that is known counts, whichever clock it was written by.
    pub fn standing(&self, opt_outs: &[OptOut], sent: Option<Status>, now: Timestamp) -> State {
        match self.state {
            State::Pending if opt_outs.iter().any(|out| self.is_ended_by(out)) => State::OptedOut,
            State::Pending if self.expires_at <= now => State::Expired,
            State::Pending if sent.is_some_and(is_lost) => State::Undelivered,
            state => state,
        }
    }

    fn is_ended_by(&self, out: &OptOut) -> bool {
        out.at >= self.requested_at && out.concerns(self.programme.as_deref())
    }

    /// The request after an answer. `None` if the answer means nothing: nobody waits for it, it came before the request, too late
    /// or after an opt-out, or the message that asks was not sent (`sent` is how that stands, `None` if it is not kept any more).
    /// Who answers got it, whatever a carrier said of it.
    pub fn answered(
        &self,
        answer: Answer,
        by: InboundId,
        opt_outs: &[OptOut],
        sent: Option<Status>,
        at: Timestamp,
    ) -> Option<Self> {
        let is_open = matches!(self.standing(opt_outs, sent, at), State::Pending | State::Undelivered)
            && at >= self.requested_at
            && sent.is_some_and(was_sent);
        let state = match answer {
            Answer::Yes => State::Granted,
            Answer::No => State::Declined,
        };
        is_open.then(|| Self { state, ended_at: Some(at), answer: Some(by), ..self.clone() })
    }

    /// What the answer adds to the ledger: an entry for each purpose and channel. None while it waits. `id` makes their ids.
    ///
    /// # Errors
    /// That of `id`.
    pub fn entries<E>(
        &self,
        now: Timestamp,
        mut id: impl FnMut() -> Result<ConsentId, E>,
    ) -> Result<Vec<Consent>, E> {
        let act = match self.state {
            State::Granted => self.act,
            State::Declined => Act::Revoked,
            State::Pending | State::OptedOut | State::Expired | State::Undelivered => return Ok(Vec::new()),
        };
        let (Some(given_at), Some(by)) = (self.ended_at, self.answer) else { return Ok(Vec::new()) };
        let pairs = self
            .purposes
            .iter()
            .flat_map(|purpose| self.channels.iter().map(move |channel| (*purpose, *channel)));
        let entry = |(purpose, channel)| {
            Ok(Consent {
                id: id()?,
                realm: self.realm,
                recipient: self.recipient,
                purpose,
                channel,
                act,
                given_at,
                recorded_at: now,
                expires_at: None,
                method: Method::Text,
                evidence: Evidence::of_text(
                    &self.wording,
                    &self.sender,
                    self.seller.clone(),
                    self.programme.clone(),
                ),
                source: format!("{by} to {}", self.id),
            })
        };
        pairs.map(entry).collect()
    }
}

/// What a message is to ask its recipient for, before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsentRequest {
    /// To be contacted why: each once.
    pub purposes: Vec<Purpose>,
    /// And how: each once.
    pub channels: Vec<Channel>,
    /// What a yes is: express or written consent.
    pub act: Act,
    /// How long an answer counts: seconds.
    pub life_s: i64,
    /// Where the person asked for it before.
    pub place: Option<String>,
    /// Who may contact the person.
    pub seller: Option<String>,
    /// Which programme of the seller.
    pub programme: Option<String>,
    /// Who asks.
    pub source: String,
}

impl NewConsentRequest {
    /// The request that this message makes: it has the number of the message. `wording` is what the message says.
    pub fn sent(&self, message: &Message, wording: Wording, now: Timestamp) -> ConsentRequest {
        ConsentRequest {
            id: ConsentRequestId::from_key(message.id.key()),
            realm: message.realm(),
            recipient: message.recipient,
            sender: message.sender,
            message: message.id,
            // In the order of the lists, whichever the caller gave.
            purposes: Purpose::ALL.into_iter().filter(|one| self.purposes.contains(one)).collect(),
            channels: Channel::ALL.into_iter().filter(|one| self.channels.contains(one)).collect(),
            act: self.act,
            wording,
            place: self.place.clone(),
            seller: self.seller.clone(),
            programme: self.programme.clone(),
            source: self.source.clone(),
            requested_at: now,
            expires_at: now.plus_s(self.life_s),
            state: State::Pending,
            ended_at: None,
            answer: None,
        }
    }
}

/// Whether somebody may have read a message that stands so.
const fn was_sent(status: Status) -> bool {
    match status {
        Status::Sending | Status::Sent | Status::Delivered | Status::Undelivered | Status::Unconfirmed => {
            true
        }
        Status::Scheduled
        | Status::Queued
        | Status::Failed
        | Status::Rejected
        | Status::Expired
        | Status::Canceled => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::consent::{self, Scope, Standing};
    use crate::id::AccountId;
    use crate::keyword::{self, Class};

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000).plus_s(s)
    }

    fn request() -> ConsentRequest {
        ConsentRequest {
            id: ConsentRequestId::from_key(3),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Test },
            recipient: PhoneNumber::from_stored("+15550002222").expect("a number"),
            sender: Sender::from_stored("+15550001111").expect("a sender"),
            message: MessageId::from_key(4),
            purposes: vec![Purpose::Marketing, Purpose::Alert],
            channels: vec![Channel::Text],
            act: Act::Written,
            wording: Wording { hash: [7; 32], text: "Reply YES to agree.".to_owned() },
            place: Some("https://shop.example/join".to_owned()),
            seller: Some("Acme".to_owned()),
            programme: None,
            source: "api".to_owned(),
            requested_at: at(0),
            expires_at: at(LIFE_S),
            state: State::Pending,
            ended_at: None,
            answer: None,
        }
    }

    #[test]
    fn only_a_text_that_is_nothing_but_an_answer_counts() {
        use Answer::{No, Yes};
        let check = |text: &str, expected: Option<Answer>| assert_eq!(answer(text), expected, "{text}");
        for text in [
            "YES",
            "yes",
            " Yes! ",
            "Y",
            "y.",
            "yes yes",
            "Yes 👍",
            "Oui",
            "SÍ",
            "si",
            "ja",
            "Sim",
            "ＹＥＳ",
            "I agree.",
            "J'accepte",
            "Zgadzam się",
        ] {
            check(text, Some(Yes));
        }
        for text in ["NO", "n", "Nein!", "non", "NÃO", "nej", "nee", "nie", "No, thanks", "nein danke"] {
            check(text, Some(No));
        }
        for text in [
            "",
            "👍",
            "yes please",
            "yes?",
            "Yes to what?",
            "yes but only in May",
            "yes no",
            "no yes",
            "ok",
            "sure",
            "yeah",
            "yess",
            "ye",
            "yes 36180",
            "1",
            "STOP",
            "yes stop",
            "START",
            "not yes",
            "no way",
            "ja ja nein",
            "i agree not",
            "yes\nbut call me",
            "Do I agree",
            "if yes",
        ] {
            check(text, None);
        }
        check(&"yes ".repeat(1_000), None);
    }

    #[test]
    fn no_answer_is_a_keyword_that_asks_something_else() {
        for (text, answer) in ANSWERS.iter() {
            assert_eq!(keyword::classify(text).class, Class::Nothing, "{text}");
            assert_eq!(super::answer(text), Some(*answer), "{text}");
        }
    }

    #[test]
    fn a_request_must_name_how_to_say_yes() {
        for text in
            ["Offers by text? Reply YES to agree.", "Antworten Sie mit JA.", "Répondez «OUI»", "(Y/N)"]
        {
            assert!(names_a_yes(text), "{text}");
        }
        for text in ["", "Offers by text?", "Answer if you like them", "yesterday", "NO to refuse"] {
            assert!(!names_a_yes(text), "{text}");
        }
    }

    #[test]
    fn an_answer_counts_once_in_its_time_before_an_opt_out_and_only_to_what_was_sent() {
        let sent = Some(Status::Delivered);
        let check = |one: &ConsentRequest, sent, outs: &[i64], s: i64, expected: Option<State>| {
            let outs: Vec<OptOut> =
                outs.iter().map(|s| OptOut { at: at(*s), started_at: None, programme: None }).collect();
            let answered = one.answered(Answer::Yes, InboundId::from_key(5), &outs, sent, at(s));
            assert_eq!(answered.map(|one| one.state), expected, "{sent:?} {outs:?} {s}");
        };
        let one = request();
        check(&one, sent, &[], 60, Some(State::Granted));
        check(&one, sent, &[], LIFE_S - 1, Some(State::Granted));
        check(&one, sent, &[], LIFE_S, None);
        check(&one, sent, &[-1], 60, Some(State::Granted));
        check(&one, sent, &[30], 60, None);
        check(&one, sent, &[61], 60, None);
        check(&one, sent, &[], -1, None);
        for state in [State::Granted, State::Declined, State::OptedOut, State::Expired] {
            check(&ConsentRequest { state, ..request() }, sent, &[], 60, None);
        }
        check(&one, None, &[], 60, None);
        let counts = |status: &Status| {
            one.answered(Answer::Yes, InboundId::from_key(5), &[], Some(*status), at(60)).is_some()
        };
        let counting: Vec<&str> =
            Status::ALL.iter().filter(|status| counts(status)).map(|status| status.as_str()).collect();
        assert_eq!(counting, ["sending", "sent", "delivered", "undelivered", "unconfirmed"]);
        let outs = [OptOut { at: at(30), started_at: Some(at(40)), programme: None }];
        assert_eq!(
            one.standing(&outs, sent, at(60)),
            State::OptedOut,
            "starting again does not bring it back"
        );
        assert_eq!(
            one.standing(&outs, sent, at(29)),
            State::OptedOut,
            "what is known counts, whatever the clock"
        );
        assert_eq!(one.standing(&[], sent, at(LIFE_S)), State::Expired);
        let standing = |status: &Status| one.standing(&[], Some(*status), at(60)) == State::Undelivered;
        let lost: Vec<&str> =
            Status::ALL.iter().filter(|one| standing(one)).map(|one| one.as_str()).collect();
        assert_eq!(lost, ["undelivered", "failed", "rejected", "expired", "canceled"]);
    }

    #[test]
    fn a_yes_is_a_consent_that_has_what_it_must_have_and_a_no_takes_back() {
        let ledger = |answer| {
            let one = request().answered(answer, InboundId::from_key(5), &[], Some(Status::Sent), at(60));
            let mut key = 10;
            let id = || {
                key += 1;
                Ok::<_, std::convert::Infallible>(ConsentId::from_key(key))
            };
            one.expect("it counts").entries(at(61), id).expect("it cannot fail")
        };
        let granted = ledger(Answer::Yes);
        assert_eq!(granted.len(), 2);
        for entry in &granted {
            assert_eq!(consent::missing(entry.act, entry.method, &entry.evidence), [""; 0]);
            assert_eq!((entry.given_at, entry.recorded_at), (at(60), at(61)));
            assert_eq!(
                entry.source,
                format!("{} to {}", InboundId::from_key(5), ConsentRequestId::from_key(3))
            );
        }
        let standing = |ledger: &[Consent]| {
            consent::standing(ledger, &[], Purpose::Marketing, Channel::Text, Scope::Any, at(99)).as_str()
        };
        assert_eq!(standing(&granted), "granted");
        assert_eq!(standing(&[]), Standing::Never.as_str());
        assert_eq!(standing(&[granted, ledger(Answer::No)].concat()), "revoked");
        assert_eq!(request().entries(at(1), || Ok::<_, ()>(ConsentId::from_key(1))), Ok(Vec::new()));
    }
}

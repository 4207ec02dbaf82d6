//! What follows from a message that a person sent: for the suppression list, and for what the person is answered. And
//! whether it is one, or came before.

use crate::id::{ContactId, ConversationId};
use crate::keyword::Class;
use crate::programme;
use crate::suppression::Reason;
use crate::time::Timestamp;

/// How long the same text is a repetition of the carrier while its session goes on: ms. It has heard that the first is
/// stored; only an answer that was slow can make it ask again. A person may honestly write "yes" twice.
const REPEAT_AT_ONCE_MS: i64 = 2_000;
/// How long the same text is a repetition of the carrier that comes on a new session: ms. The carrier may not have heard
/// that the first is stored: its session ended, or we did. Carriers offer at once, or after some minutes.
const REPEAT_ON_NEW_SESSION_MS: i64 = 5 * 60_000;

/// Whether a message of one part is the one that came before: from and to the same, on the same connection, octet by octet,
/// with the same said beside it. `before` is when the last such came, `opened` since when the session was open that this
/// one came on; `None` if its carrier offers nothing again. Parts of a long message say which they are; see
/// [`crate::assembly`].
///
/// What this cannot tell: the same text of a person within two seconds, or before and after a session ended, from the
/// carrier's repetition.
pub fn is_repeated(before: Timestamp, opened: Option<Timestamp>, now: Timestamp) -> bool {
    let age_ms = now.since_ms(before);
    age_ms < REPEAT_AT_ONCE_MS
        || opened.is_some_and(|opened| before < opened) && age_ms < REPEAT_ON_NEW_SESSION_MS
}

/// Whether a text counts though the same came a moment ago, given why the person is on the list now: an opt-out of somebody who is
/// not on it. Then the person, or somebody else, took the first one back in between. If it was the carrier that offered the
/// first one again, somebody is not sent to who said START; the other mistake would be the worse one.
pub const fn counts_again(class: Class, standing: Option<Reason>) -> bool {
    matches!(decide(class, standing), Decision::Suppress)
}

/// What stands before the name of a programme in a note. Ids have no such sign.
const OF_PROGRAMME: &str = "programme:";

/// Who wrote a message, where it stands and what it is about, as that is known in the commit that tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    /// Whose number it came from; `None` for nobody whom the account knows.
    pub contact: Option<ContactId>,
    /// In which conversation it stands; `None` where nobody can be answered.
    pub conversation: Option<ConversationId>,
    /// The programme that an opt-out by it ends, or whose word took one back; `None` for everything.
    pub programme: Option<programme::Name>,
}

impl Whose {
    /// All in one line, as the event has them: `ctc_… cnv_… programme:offers`. It stays what it was when the number is another's
    /// later.
    pub fn noted(&self) -> Option<String> {
        let contact = self.contact.map(|id| id.to_string());
        let conversation = self.conversation.map(|id| id.to_string());
        let programme = self.programme.as_ref().map(|name| format!("{OF_PROGRAMME}{name}"));
        let words: Vec<String> = contact.into_iter().chain(conversation).chain(programme).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// Reads what [`Whose::noted`] wrote. Events of before have nothing.
    pub fn read_noted(text: Option<&str>) -> Self {
        let words = || text.unwrap_or_default().split(' ');
        Self {
            contact: words().find_map(|word| word.parse().ok()),
            conversation: words().find_map(|word| word.parse().ok()),
            programme: words()
                .find_map(|word| programme::Name::parse(word.strip_prefix(OF_PROGRAMME).unwrap_or_default())),
        }
    }
}

/// What is done about an inbound message, in the commit that stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// The person goes on the list, with [`Reason::OptedOut`], and is told so. What waits for the person is ended.
    Suppress,
    /// The person goes off the list, and is told so.
    Lift,
    /// The person is told who we are.
    Help,
    /// Somebody of the account must look.
    Review,
    /// The person is in a programme now, and is told so.
    Join,
}

/// Decides, given why the person is on the list now.
///
/// What changes nothing is not answered: so an opt-out is confirmed once, however often it is repeated. Who is on the
/// list gets nothing but the confirmation, also no help.
pub const fn decide(class: Class, standing: Option<Reason>) -> Decision {
    match (class, standing) {
        (Class::Stop, Some(Reason::OptedOut)) => Decision::Keep,
        (Class::Stop, _) => Decision::Suppress,
        (Class::Start, Some(reason)) if reason.is_lifted_by_person() => Decision::Lift,
        (Class::Help, None) => Decision::Help,
        (Class::Doubtful, Some(Reason::OptedOut)) => Decision::Keep,
        (Class::Doubtful, _) => Decision::Review,
        (Class::Start | Class::Help | Class::Nothing, _) => Decision::Keep,
    }
}

/// Decides about START, given whether an opt-out of the person ended by somebody else's word and waits for the person's own: then
/// it is taken back once more, and answered, as if it stood. So each opt-out is taken back by START once, whatever came between.
pub const fn decide_start(awaits_start: bool, standing: Option<Reason>) -> Decision {
    match standing {
        None if awaits_start => Decision::Lift,
        _ => decide(Class::Start, standing),
    }
}

/// Decides about a text by which the person joins a programme, given whether consent to it stands already and why the person
/// is on the list now.
///
/// It is the person's own word, so it lifts what the person's START lifts. What changes nothing is not answered.
pub const fn decide_join(is_in: bool, standing: Option<Reason>) -> Decision {
    match standing {
        Some(reason) if reason.is_lifted_by_person() => Decision::Lift,
        Some(_) | None if is_in => Decision::Keep,
        Some(_) | None => Decision::Join,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_is_a_repetition_where_the_carrier_can_have_reason_to_repeat() {
        let at = |s: i64| Timestamp::from_millis(1_000_000).plus_s(s);
        let check = |age_s: i64, opened_s_ago: Option<i64>, expected: bool| {
            let opened = opened_s_ago.map(|ago| at(-ago));
            assert_eq!(is_repeated(at(-age_s), opened, at(0)), expected, "{age_s} {opened_s_ago:?}");
        };
        //    age  session began   repeated
        check(1, None, true);
        check(1, Some(900), true);
        check(2, None, false);
        check(30, Some(900), false);
        check(30, Some(10), true);
        check(299, Some(1), true);
        check(300, Some(1), false);
        // A clock that was set back.
        check(-60, None, true);
    }

    #[test]
    fn what_is_noted_of_who_wrote_is_read_again() {
        let check = |contact: Option<i64>, conversation: Option<i64>, programme: Option<&str>| {
            let whose = Whose {
                contact: contact.map(ContactId::from_key),
                conversation: conversation.map(ConversationId::from_key),
                programme: programme.and_then(programme::Name::parse),
            };
            assert_eq!(Whose::read_noted(whose.noted().as_deref()), whose);
        };
        check(None, None, None);
        check(Some(5), None, None);
        check(None, Some(7), None);
        check(Some(5), Some(7), Some("ctc_1"));
        check(None, None, Some("offers"));
        assert_eq!(Whose::default().noted(), None);
    }

    #[test]
    fn only_an_opt_out_counts_again() {
        let check = |class, standing, expected| {
            assert_eq!(counts_again(class, standing), expected, "{class:?} {standing:?}");
        };
        check(Class::Stop, None, true);
        check(Class::Stop, Some(Reason::OptedOut), false);
        for class in [Class::Start, Class::Help, Class::Doubtful, Class::Nothing] {
            check(class, None, false);
            check(class, Some(Reason::OptedOut), false);
        }
    }

    const STANDING: [Option<Reason>; 5] = [
        None,
        Some(Reason::OptedOut),
        Some(Reason::InvalidNumber),
        Some(Reason::Manual),
        Some(Reason::Unreachable),
    ];

    #[test]
    fn what_follows_from_a_message() {
        use Decision::*;
        let check = |class, expected: [Decision; 5]| {
            assert_eq!(STANDING.map(|standing| decide(class, standing)), expected, "{class:?}");
        };
        //                      nobody    opted out  invalid   manual    dead
        check(Class::Stop, [Suppress, Keep, Suppress, Suppress, Suppress]);
        check(Class::Start, [Keep, Lift, Keep, Keep, Keep]);
        check(Class::Help, [Help, Keep, Keep, Keep, Keep]);
        check(Class::Doubtful, [Review, Keep, Review, Review, Review]);
        check(Class::Nothing, [Keep, Keep, Keep, Keep, Keep]);
    }

    #[test]
    fn what_follows_from_start() {
        use Decision::*;
        let standing = [None, Some(Reason::OptedOut), Some(Reason::InvalidNumber), Some(Reason::Manual)];
        //                                                               nobody opted out invalid manual
        assert_eq!(standing.map(|listed| decide_start(false, listed)), [Keep, Lift, Keep, Keep]);
        assert_eq!(standing.map(|listed| decide_start(true, listed)), [Lift, Lift, Keep, Keep]);
    }

    #[test]
    fn what_follows_from_joining() {
        use Decision::*;
        //                                                              nobody opted out invalid manual dead
        assert_eq!(STANDING.map(|listed| decide_join(false, listed)), [Join, Lift, Join, Join, Join]);
        assert_eq!(STANDING.map(|listed| decide_join(true, listed)), [Keep, Lift, Keep, Keep, Keep]);
    }
}

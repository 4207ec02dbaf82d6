//! What follows from a message that a person sent: for the suppression list, and for what the person is answered.

use crate::keyword::Class;
use crate::suppression::Reason;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_a_message() {
        use Decision::*;
        let check = |class, expected: [Decision; 4]| {
            let standing = [None, Some(Reason::OptedOut), Some(Reason::InvalidNumber), Some(Reason::Manual)];
            assert_eq!(standing.map(|standing| decide(class, standing)), expected, "{class:?}");
        };
        //                      nobody    opted out  invalid   manual
        check(Class::Stop, [Suppress, Keep, Suppress, Suppress]);
        check(Class::Start, [Keep, Lift, Keep, Keep]);
        check(Class::Help, [Help, Keep, Keep, Keep]);
        check(Class::Doubtful, [Review, Keep, Review, Review]);
        check(Class::Nothing, [Keep, Keep, Keep, Keep]);
    }
}

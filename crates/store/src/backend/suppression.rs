//! The suppression list.

use super::{Actor, Inbound};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{AuditId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::programme;
use tidings_domain::reachability::{Policy, Silence};
use tidings_domain::suppression::Reason;
pub use tidings_domain::suppression::Suppression;
use tidings_domain::time::Timestamp;

/// What the list is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionFilter {
    /// Only entries of this number.
    pub recipient: Option<PhoneNumber>,
    /// Only those that are about this programme, by the name that they were made with.
    pub programme: Option<programme::Name>,
    /// Also those that were lifted.
    pub include_lifted: bool,
}

impl SuppressionFilter {
    /// All that there ever was of one number.
    pub fn all_of(recipient: PhoneNumber) -> Self {
        Self { recipient: Some(recipient), include_lifted: true, ..Self::default() }
    }
}

/// How many entries count that are about one programme: by the name that they were made with, and whose they are.
pub type ProgrammesListed = BTreeMap<(programme::Name, Realm), u64>;

/// Changes of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whether the line after which was asked is in the trail, or is none (0). If not, the store went back in time: a backup
    /// was restored, or a replica took over that had not got everything.
    pub is_known: bool,
    /// The entries that were added or lifted, each with the line that tells of it.
    pub changes: Vec<(AuditId, Suppression)>,
    /// The last line that was looked at: nothing up to it is left out.
    pub upto: AuditId,
}

/// The entry of a number that is dead, and who makes it: this message was the last of those in a row that did not reach it.
pub(crate) fn of_dead(
    id: SuppressionId,
    message: &Message,
    silence: &Silence,
    policy: &Policy,
    now: Timestamp,
) -> (Suppression, Actor) {
    let entry = Suppression {
        id,
        realm: message.realm(),
        recipient: message.recipient,
        programme: None,
        reason: Reason::Unreachable,
        source: format!("{} {} in a row since {}", message.id, silence.messages, silence.since),
        created_at: now,
        expires_at: Some(now.plus_ms(policy.for_ms)),
        lifted: None,
    };
    (entry, reachability(message.realm()))
}

/// Who puts dead numbers on the list, and takes them off again.
pub(crate) fn reachability(realm: Realm) -> Actor {
    Actor { account: realm.account, who: "reachability".to_owned() }
}

/// Why an entry is lifted by what was delivered to the number.
pub(crate) fn delivered(message: &Message) -> String {
    format!("{} was delivered", message.id)
}

/// Why an entry is lifted by what came from the number.
pub(crate) fn written(inbound: &Inbound) -> String {
    format!("{} was received", inbound.id)
}

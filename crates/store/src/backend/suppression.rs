//! The suppression list.

use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::OptOut;
use tidings_domain::id::*;
use tidings_domain::suppression;
use tidings_domain::time::Timestamp;

/// An entry of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// Whose.
    pub realm: Realm,
    /// Who is not sent to.
    pub recipient: PhoneNumber,
    /// Why.
    pub reason: suppression::Reason,
    /// Where it came from: `api`, `review`, a message's id with the carrier's code …
    pub source: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, if it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When and why it was lifted.
    pub lifted: Option<(Timestamp, String)>,
}

/// Why an entry was lifted for which an opt-out stands now.
pub(crate) const REPLACED_BY_OPT_OUT: &str = "replaced by opted_out";

impl Suppression {
    /// The opt-out that the entry is for the ledger of consents, if it is one: the person's own word, from which only the
    /// person's own START frees.
    pub fn opt_out(&self) -> Option<OptOut> {
        let started = self
            .lifted
            .as_ref()
            .filter(|(_, why)| why.split(' ').next().is_some_and(|word| word.parse::<InboundId>().is_ok()));
        (self.reason == suppression::Reason::OptedOut)
            .then(|| OptOut { at: self.created_at, started_at: started.map(|(at, _)| *at) })
    }

    /// Whether it counts again when the opt-out that replaced it is lifted by the person: what an account decided is not
    /// the person's to undo. A carrier's word that the number is not in use is: the person wrote from it.
    pub(crate) fn counts_again(&self, now: Timestamp) -> bool {
        self.reason == suppression::Reason::Manual && self.expires_at.is_none_or(|end| end > now)
    }
}

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

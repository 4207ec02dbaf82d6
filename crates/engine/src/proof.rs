//! The proof of what a person agreed to: all that is kept of it, at one moment.

use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Consent, OptOut};
use tidings_domain::consent_request::ConsentRequest;
use tidings_domain::programme;
use tidings_domain::suppression::Listing;
use tidings_domain::time::Timestamp;
use tidings_store::{Backend, BoxFuture, Page, Paged, Result, Suppression, SuppressionFilter};

/// Rows that are read at once.
const STEP: usize = 500;

/// Everything that is known of what a person said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whose.
    pub realm: Realm,
    /// About whom.
    pub recipient: PhoneNumber,
    /// When it was made.
    pub made_at: Timestamp,
    /// The ledger, the first recorded first.
    pub consents: Vec<Consent>,
    /// The entries of the suppression list, the first first; also those that were lifted.
    pub suppressions: Vec<Suppression>,
    /// The requests for consent by text, the first first, each as it stood then.
    pub requests: Vec<ConsentRequest>,
}

impl Proof {
    /// Reads it.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of(
        store: &dyn Backend,
        realm: Realm,
        recipient: PhoneNumber,
        now: Timestamp,
    ) -> Result<Self> {
        let consents = all(|page| store.consents(realm, recipient, page)).await?;
        let suppressions =
            all(|page| store.suppressions(realm, SuppressionFilter::all_of(recipient), page)).await?;
        let mut requests = store.consent_requests(realm, recipient, now).await?;
        requests.reverse();
        Ok(Self { realm, recipient, made_at: now, consents, suppressions, requests })
    }

    /// When the person opted out, of everything or of a programme.
    pub fn opt_outs(&self) -> Vec<OptOut> {
        self.suppressions.iter().filter_map(Suppression::opt_out).collect()
    }

    /// How the person stands on the suppression list, where programmes are called so.
    pub fn standing(&self, names: &programme::Names) -> Listing {
        Listing::of(&self.suppressions, names, self.made_at)
    }
}

/// Every page of a list, in the order in which it grew.
async fn all<'s, T>(read: impl Fn(Page) -> BoxFuture<'s, Paged<T>>) -> Result<Vec<T>> {
    let mut page = Page { before: None, limit: STEP };
    let mut found = Vec::new();
    loop {
        let part = read(page).await?;
        found.extend(part.items);
        match part.next {
            Some(next) => page.before = Some(next),
            None => break,
        }
    }
    found.reverse();
    Ok(found)
}

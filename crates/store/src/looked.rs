//! How people stand on the suppression list, as this process reads it, and who was found free of suppressions by a transaction
//! just now, so that the last look before a submission need not ask the database again.
//!
//! A look is good while the list has not changed since: every change begins a new *edition*, and a look of an earlier
//! edition counts for nothing. The writer begins one after a commit that changed the list and before anybody hears of
//! that commit, when a transaction failed (what it had looked at may never have been true), and when it sees that another
//! process wrote. What is remembered is only ever "not on the list": who is on it is always read.

use std::sync::{Arc, Mutex};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::programme::Names;
use tidings_domain::suppression::{Listing, Suppression};
use tidings_domain::time::Timestamp;

/// Looks that are remembered: more than can be between an acceptance and its submission.
const PLACES: usize = 1 << 14;

/// The looks of one store.
#[derive(Debug)]
pub(crate) struct Looked {
    state: Mutex<State>,
    /// What programmes are called.
    names: Arc<Names>,
}

#[derive(Debug)]
struct State {
    edition: u64,
    /// By a hash of the recipient; a later look at another recipient may take the place.
    places: Box<[Option<(Realm, PhoneNumber, u64)>]>,
}

impl Looked {
    pub fn new(names: Arc<Names>) -> Self {
        let state = State { edition: 0, places: vec![None; PLACES].into_boxed_slice() };
        Self { state: Mutex::new(state), names }
    }

    /// How somebody stands who has these entries.
    pub fn standing<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e Suppression>,
        now: Timestamp,
    ) -> Listing {
        Listing::of(entries, &self.names, now)
    }

    /// The list may have changed: nothing that was looked at counts any more.
    pub fn renew(&self) {
        self.lock().edition += 1;
    }

    /// The writer's transaction has found this recipient free.
    pub fn free(&self, realm: Realm, recipient: PhoneNumber) {
        let mut state = self.lock();
        let edition = state.edition;
        state.places[place(recipient)] = Some((realm, recipient, edition));
    }

    /// Whether each of these was found free since the list last changed.
    pub fn all_free(&self, recipients: &[(Realm, PhoneNumber)]) -> bool {
        let state = self.lock();
        recipients.iter().all(|(realm, recipient)| {
            state.places[place(*recipient)] == Some((*realm, *recipient, state.edition))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}

fn place(recipient: PhoneNumber) -> usize {
    // Numbers of one campaign differ in their last digits.
    (recipient.digits().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::Environment;
    use tidings_domain::id::AccountId;

    #[test]
    fn a_look_counts_for_its_recipient_and_realm_until_the_list_changes() {
        let realm = |account, environment| Realm { account: AccountId::from_key(account), environment };
        let (home, test) = (realm(1, Environment::Live), realm(1, Environment::Test));
        let number = |n: u64| PhoneNumber::from_digits(46_700_000_000 + n).unwrap();
        let looked = Looked::new(Arc::default());
        assert!(!looked.all_free(&[(home, number(1))]));
        looked.free(home, number(1));
        looked.free(home, number(2));
        assert!(looked.all_free(&[(home, number(1)), (home, number(2))]));
        assert!(!looked.all_free(&[(home, number(1)), (home, number(3))]));
        assert!(!looked.all_free(&[(test, number(1))]));
        assert!(!looked.all_free(&[(realm(2, Environment::Live), number(1))]));
        looked.renew();
        assert!(!looked.all_free(&[(home, number(1))]));
        looked.free(home, number(1));
        assert!(looked.all_free(&[(home, number(1))]));
    }
}

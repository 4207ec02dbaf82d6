//! How many messages wait to be sent, known without asking the database: whoever commits a change tells it here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use tidings_domain::id::AccountId;
use tidings_domain::purpose::Purpose;

/// Numbers by purpose, the most urgent first.
pub type ByPurpose = [u64; Purpose::ALL.len()];

/// Messages that stand in a connection's queue, the scheduled ones included. Those of both environments together: they
/// fill the same disk.
#[derive(Debug, Default)]
pub struct Waiting {
    counts: Mutex<BTreeMap<AccountId, ByPurpose>>,
}

/// Changes of one commit.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<(AccountId, Purpose, i64)>);

impl Changes {
    /// `by` more messages of this account and purpose wait.
    pub fn note(&mut self, account: AccountId, purpose: Purpose, by: i64) {
        match self.0.iter_mut().find(|(a, p, _)| (*a, *p) == (account, purpose)) {
            Some((_, _, sum)) => *sum += by,
            None => self.0.push((account, purpose, by)),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (AccountId, Purpose, i64)> + '_ {
        self.0.iter().copied()
    }

    /// Forgets them: they were not committed, or are counted already.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Waiting {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<AccountId, ByPurpose>> {
        self.counts.lock().expect("nothing panics while it holds this")
    }

    /// All of them, and those of this account.
    pub fn of(&self, account: AccountId) -> (u64, u64) {
        let counts = self.counts();
        let sum = |of: &ByPurpose| of.iter().sum::<u64>();
        (counts.values().map(sum).sum(), counts.get(&account).map_or(0, sum))
    }

    /// Those of this account, by purpose.
    pub fn by_purpose(&self, account: AccountId) -> ByPurpose {
        self.counts().get(&account).copied().unwrap_or_default()
    }

    /// To be called with the changes of each commit. They are gone afterwards.
    pub(crate) fn apply(&self, changes: &mut Changes) {
        if changes.0.is_empty() {
            return;
        }
        let mut counts = self.counts();
        for (account, purpose, by) in changes.0.drain(..) {
            let count = &mut counts.entry(account).or_default()[usize::from(purpose.priority())];
            *count = count.saturating_add_signed(by);
        }
    }

    /// To be called after counting.
    pub(crate) fn set(&self, counted: BTreeMap<AccountId, ByPurpose>) {
        *self.counts() = counted;
    }
}

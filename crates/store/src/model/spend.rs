//! What accounts spent.

use super::Tables;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::id::AccountId;
use tidings_domain::spend::{Amount, Period, Spent};
use tidings_domain::time::Timestamp;

/// What was spent in each period.
#[derive(Debug, Clone, Default)]
pub(super) struct Spends {
    rows: BTreeMap<(AccountId, Period, Timestamp), Amount>,
}

impl Spends {
    pub(super) fn of(&self, account: AccountId, now: Timestamp) -> Spent {
        let of = |period: Period| {
            self.rows.get(&(account, period, period.begins_at(now))).copied().unwrap_or_default()
        };
        Spent { day: of(Period::Day), month: of(Period::Month) }
    }

    /// Counts what a call spends.
    pub(super) fn count(&mut self, account: AccountId, spending: &Spending, now: Timestamp) {
        let Spent { day, month } = spending.spent();
        for (period, amount) in Period::ALL.into_iter().zip([day, month]) {
            self.rows.insert((account, period, period.begins_at(now)), amount);
        }
    }

    /// Forgets what began before then.
    pub(super) fn sweep(&mut self, before: Timestamp) {
        self.rows.retain(|(_, _, begins), _| *begins >= before);
    }
}

impl Tables {
    pub(super) fn spent(&mut self, accounts: Vec<AccountId>, now: Timestamp) -> Result<Vec<Spent>> {
        Ok(accounts.into_iter().map(|account| self.spends.of(account, now)).collect())
    }
}

//! How many segments went in a day.

use super::Tables;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::quota::Count;
use tidings_domain::time::Timestamp;

/// What was taken of each day.
#[derive(Debug, Clone, Default)]
pub(super) struct Quotas {
    rows: BTreeMap<Count, u64>,
}

impl Quotas {
    /// Forgets days that began before then.
    pub(super) fn sweep(&mut self, before: Timestamp) {
        self.rows.retain(|count, _| count.day >= before);
    }
}

impl Tables {
    pub(super) fn quotas(&mut self, counts: Vec<Count>) -> Result<Vec<u64>> {
        Ok(counts.iter().map(|count| self.quotas.rows.get(count).copied().unwrap_or(0)).collect())
    }

    pub(super) fn return_quotas(&mut self, returned: Vec<(Count, u32)>) -> Result<()> {
        for (count, segments) in returned {
            if let Some(used) = self.quotas.rows.get_mut(&count) {
                *used = used.saturating_sub(u64::from(segments));
            }
        }
        Ok(())
    }

    pub(super) fn take_quotas(&mut self, asked: Vec<AskedQuota>) -> Result<Vec<(u64, bool)>> {
        let take = |asked: AskedQuota| {
            let before = self.quotas.rows.get(&asked.count).copied().unwrap_or(0);
            let is_taken = asked.fits(before);
            if is_taken {
                self.quotas.rows.insert(asked.count, before + u64::from(asked.segments));
            }
            (before, is_taken)
        };
        Ok(asked.into_iter().map(take).collect())
    }
}

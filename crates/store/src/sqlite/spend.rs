//! What accounts spent.

use super::executor::{Rx, Tx, failed};
use crate::Result;
use crate::backend::*;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::id::AccountId;
use tidings_domain::spend::{Amount, Period, Spent};
use tidings_domain::time::Timestamp;

pub(super) fn spent(rx: &mut Rx<'_>, accounts: &[AccountId], now: &Timestamp) -> Result<Vec<Spent>> {
    accounts.iter().map(|account| of(rx.sql, *account, *now)).collect()
}

/// What is spent so far, if anything of the call has a price.
pub(super) fn begin(sql: &Sql, intake: &Intake, now: Timestamp) -> Result<Option<Spending>> {
    if intake.drafts.iter().all(|draft| draft.priced.is_none()) {
        return Ok(None);
    }
    of(sql, intake.realm.account, now).map(|spent| Some(Spending::new(spent)))
}

/// Writes what a call spends.
pub(super) fn write(sql: &Sql, account: AccountId, spending: &Spending, now: Timestamp) -> Result<()> {
    for period in Period::ALL {
        sql.prepare_cached(
            "INSERT INTO spend (account, period, begins, amount) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account, period, begins) DO UPDATE SET amount = amount + excluded.amount",
        )
        .and_then(|mut s| {
            let begins = period.begins_at(now).as_millis();
            s.execute(params![account.key(), period as i64, begins, spending.counted()])
        })
        .map_err(failed)?;
    }
    Ok(())
}

fn of(sql: &Sql, account: AccountId, now: Timestamp) -> Result<Spent> {
    let amount = |period: Period| -> Result<Amount> {
        let amount: Option<i64> = sql
            .prepare_cached("SELECT amount FROM spend WHERE account = ?1 AND period = ?2 AND begins = ?3")
            .and_then(|mut s| {
                let begins = period.begins_at(now).as_millis();
                s.query_row(params![account.key(), period as i64, begins], |row| row.get(0)).optional()
            })
            .map_err(failed)?;
        Ok(Amount::from_millionths(amount.map_or(0, |amount| amount.max(0) as u64)))
    };
    Ok(Spent { day: amount(Period::Day)?, month: amount(Period::Month)? })
}

/// Forgets what began before then.
pub(super) fn sweep(tx: &Tx<'_>, before: Timestamp) -> Result<()> {
    tx.sql
        .prepare_cached("DELETE FROM spend WHERE begins < ?1")
        .and_then(|mut s| s.execute([before.as_millis()]))
        .map(drop)
        .map_err(failed)
}

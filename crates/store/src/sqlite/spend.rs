//! What accounts spent.

use super::reader::Rx;
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::tally::Spell;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::id::AccountId;
use tidings_domain::spend::{Amount, Period, Spent};
use tidings_domain::time::Timestamp;

pub(super) fn spent(rx: &mut Rx<'_>, accounts: &[AccountId], now: &Timestamp) -> Result<Vec<Spent>> {
    accounts.iter().map(|account| of(rx.sql, *account, *now)).collect()
}

/// What is spent so far, if anything of the call has a price.
pub(super) fn begin(tx: &mut Tx<'_>, intake: &Intake, now: Timestamp) -> Result<Option<Spending>> {
    if intake.drafts.iter().all(|draft| draft.priced.is_none()) {
        return Ok(None);
    }
    let spells = spells(intake.realm.account, now);
    for spell in spells {
        if tx.tallies().spends.get(&spell).is_none() {
            let amount = amount(tx.sql, spell)?;
            tx.tallies().spends.read(spell, amount.millionths());
        }
    }
    let [day, month] =
        spells.map(|spell| Amount::from_millionths(tx.tallies().spends.get(&spell).unwrap_or_default()));
    Ok(Some(Spending::new(Spent { day, month })))
}

/// Counts what a call spends.
pub(super) fn count(tx: &mut Tx<'_>, account: AccountId, spending: &Spending, now: Timestamp) {
    let Spent { day, month } = spending.spent();
    for (spell, amount) in spells(account, now).iter().zip([day, month]) {
        tx.tallies().spends.set(spell, amount.millionths());
    }
}

/// Writes what was spent.
pub(super) fn write(sql: &Sql, spends: Vec<(Spell, u64)>) -> Result<()> {
    for ((account, period, begins), amount) in spends {
        sql.prepare_cached(
            "INSERT INTO spend (account, period, begins, amount) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account, period, begins) DO UPDATE SET amount = excluded.amount",
        )
        .and_then(|mut s| {
            let amount = i64::try_from(amount).unwrap_or(i64::MAX);
            s.execute(params![account.key(), period as i64, begins.as_millis(), amount])
        })
        .map_err(failed)?;
    }
    Ok(())
}

fn spells(account: AccountId, now: Timestamp) -> [Spell; 2] {
    Period::ALL.map(|period| (account, period, period.begins_at(now)))
}

fn of(sql: &Sql, account: AccountId, now: Timestamp) -> Result<Spent> {
    let [day, month] = spells(account, now);
    Ok(Spent { day: amount(sql, day)?, month: amount(sql, month)? })
}

fn amount(sql: &Sql, (account, period, begins): Spell) -> Result<Amount> {
    let amount: Option<i64> = sql
        .prepare_cached("SELECT amount FROM spend WHERE account = ?1 AND period = ?2 AND begins = ?3")
        .and_then(|mut s| {
            s.query_row(params![account.key(), period as i64, begins.as_millis()], |row| row.get(0))
                .optional()
        })
        .map_err(failed)?;
    Ok(Amount::from_millionths(amount.map_or(0, |amount| amount.max(0) as u64)))
}

/// Forgets what began before then.
pub(super) fn sweep(tx: &mut Tx<'_>, before: Timestamp) -> Result<()> {
    tx.tallies().spends.forget(|(.., begins)| *begins < before);
    tx.sql
        .prepare_cached("DELETE FROM spend WHERE begins < ?1")
        .and_then(|mut s| s.execute([before.as_millis()]))
        .map(drop)
        .map_err(failed)
}

//! What accounts spent.
//!
//! That is on no sheet but in a tally: it is looked at once while nobody else writes, and written with the transaction.

use super::reader::Rx;
use super::session::{Flight, Session, cell, values};
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::tally::Spell;
use std::collections::HashMap;
use tidings_domain::id::AccountId;
use tidings_domain::spend::{Amount, Period, Spent};
use tidings_domain::time::Timestamp;

pub(super) async fn spent(rx: &Rx<'_>, accounts: &[AccountId], now: &Timestamp) -> Result<Vec<Spent>> {
    of(rx.sql, accounts, *now).await
}

/// What is spent so far, if anything of the call has a price.
pub(super) async fn begin(tx: &mut Tx, intake: &Intake, now: Timestamp) -> Result<Option<Spending>> {
    if intake.drafts.iter().all(|draft| draft.priced.is_none()) {
        return Ok(None);
    }
    let account = intake.realm.account;
    let spells = spells(account, now);
    if spells.iter().any(|spell| tx.tallies().spends.get(spell).is_none()) {
        let spent = of(&tx.sql, &[account], now).await?.pop().unwrap_or_default();
        for (spell, amount) in spells.into_iter().zip([spent.day, spent.month]) {
            tx.tallies().spends.read(spell, amount.millionths());
        }
    }
    let spends = &tx.tallies().spends;
    let [day, month] = spells.map(|spell| Amount::from_millionths(spends.get(&spell).unwrap_or_default()));
    Ok(Some(Spending::new(Spent { day, month })))
}

/// Counts what a call spends.
pub(super) fn count(tx: &mut Tx, account: AccountId, spending: &Spending, now: Timestamp) {
    let Spent { day, month } = spending.spent();
    for (spell, amount) in spells(account, now).iter().zip([day, month]) {
        tx.tallies().spends.set(spell, amount.millionths());
    }
}

/// Writes what was spent.
pub(super) fn write(flight: &mut Flight<'_>, spends: &[(Spell, u64)]) {
    if spends.is_empty() {
        return;
    }
    let accounts: Vec<i64> = spends.iter().map(|((account, ..), _)| account.key()).collect();
    let periods: Vec<i16> = spends.iter().map(|((_, period, _), _)| *period as i16).collect();
    let begins: Vec<i64> = spends.iter().map(|((.., begins), _)| begins.as_millis()).collect();
    let amounts: Vec<i64> =
        spends.iter().map(|(_, amount)| i64::try_from(*amount).unwrap_or(i64::MAX)).collect();
    flight.statement(
        "INSERT INTO spend (account, period, begins, amount)
         SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[])
         ON CONFLICT (account, period, begins) DO UPDATE SET amount = excluded.amount",
        values![accounts, periods, begins, amounts],
    );
}

fn spells(account: AccountId, now: Timestamp) -> [Spell; 2] {
    Period::ALL.map(|period| (account, period, period.begins_at(now)))
}

async fn of(sql: &Session, accounts: &[AccountId], now: Timestamp) -> Result<Vec<Spent>> {
    let keys: Vec<i64> = accounts.iter().map(|account| account.key()).collect();
    let [day, month] = Period::ALL.map(|period| period.begins_at(now).as_millis());
    let rows = sql
        .rows(
            "SELECT account, period, amount FROM spend
             WHERE account = ANY ($1) AND ((period = 0 AND begins = $2) OR (period = 1 AND begins = $3))",
            &[&keys, &day, &month],
        )
        .await?;
    let mut all: HashMap<i64, Spent> = HashMap::new();
    for row in &rows {
        let amount: i64 = cell(row, 2)?;
        let amount = Amount::from_millionths(amount.max(0) as u64);
        let spent = all.entry(cell(row, 0)?).or_default();
        match cell::<i16>(row, 1)? {
            0 => spent.day = amount,
            _ => spent.month = amount,
        }
    }
    Ok(keys.iter().map(|key| all.get(key).copied().unwrap_or_default()).collect())
}

/// Forgets what began before then.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<()> {
    tx.tallies().spends.forget(|(.., begins)| *begins < before);
    tx.sql.execute("DELETE FROM spend WHERE begins < $1", &[&before.as_millis()]).await.map(drop)
}

//! What accounts spent.
//!
//! That is on no sheet: it is looked at and counted at once, by whoever has the turn to write.

use super::executor::{Rx, Tx};
use super::session::{Session, cell};
use crate::Result;
use crate::backend::*;
use std::collections::HashMap;
use tidings_domain::id::AccountId;
use tidings_domain::spend::{Amount, Period, Spent};
use tidings_domain::time::Timestamp;

pub(super) async fn spent(rx: &Rx<'_>, accounts: &[AccountId], now: &Timestamp) -> Result<Vec<Spent>> {
    of(rx.sql, accounts, *now).await
}

/// What is spent so far, if anything of the call has a price.
pub(super) async fn begin(sql: &Session, intake: &Intake, now: Timestamp) -> Result<Option<Spending>> {
    if intake.drafts.iter().all(|draft| draft.priced.is_none()) {
        return Ok(None);
    }
    let spent = of(sql, &[intake.realm.account], now).await?;
    Ok(spent.first().map(|spent| Spending::new(*spent)))
}

/// Writes what a call spends.
pub(super) async fn write(
    sql: &Session,
    account: AccountId,
    spending: &Spending,
    now: Timestamp,
) -> Result<()> {
    let begins = Period::ALL.map(|period| period.begins_at(now).as_millis()).to_vec();
    let periods = Period::ALL.map(|period| period as i16).to_vec();
    sql.execute(
        "INSERT INTO spend (account, period, begins, amount)
         SELECT $1, u.period, u.begins, $2 FROM unnest($3::smallint[], $4::bigint[]) AS u (period, begins)
         ON CONFLICT (account, period, begins) DO UPDATE SET amount = spend.amount + excluded.amount",
        &[&account.key(), &spending.counted(), &periods, &begins],
    )
    .await
    .map(drop)
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
pub(super) async fn sweep(tx: &Tx, before: Timestamp) -> Result<()> {
    tx.sql.execute("DELETE FROM spend WHERE begins < $1", &[&before.as_millis()]).await.map(drop)
}

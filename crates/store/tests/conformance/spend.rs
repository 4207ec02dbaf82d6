//! How much an account may spend.

use crate::conversation::remembered;
use crate::samples::*;
use crate::suppression::entry;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::id::AccountId;
use tidings_domain::message::Message;
use tidings_domain::spend::{Amount, Limits, Period, Priced, Spent};
use tidings_domain::suppression::Reason;
use tidings_store::*;

const DAY_S: i64 = 24 * 3_600;

fn amount(units: u64) -> Amount {
    Amount::from_millionths(units * 1_000_000)
}

fn spent(day: u64, month: u64) -> Spent {
    Spent { day: amount(day), month: amount(month) }
}

/// The sample message, at this price; ten may be spent in a day and twenty in a month.
pub fn priced(n: i64, price: u64) -> Draft {
    let limits = Limits { day: Some(amount(10)), month: Some(amount(20)) };
    Draft { priced: Some(Priced { price: amount(price), limits }), ..draft(message(n)) }
}

async fn offer(store: &Arc<dyn Backend>, drafts: Vec<Draft>, second: i64) -> Vec<Admission> {
    let accepted = store.accept(Intake { drafts, ..intake([]) }, at(second)).await.expect("asked");
    let Accepted::New(admissions, _) = accepted else { panic!("not new: {accepted:?}") };
    admissions
}

async fn read(store: &Arc<dyn Backend>, second: i64) -> Spent {
    store.spent(vec![HOME.account], at(second)).await.expect("read")[0]
}

use Admission::{Admitted, Overspent};

#[test]
fn what_would_go_beyond_a_limit_is_not_accepted_and_not_counted() {
    for_each_place(|place| async move {
        let store = place.open();
        let call = vec![priced(1, 6), priced(2, 5), priced(3, 4), priced(4, 1), priced(5, 0)];
        let day = || Overspent(Period::Day);
        assert_eq!(offer(&store, call, 1).await, [Admitted, day(), Admitted, day(), Admitted]);
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(read(&store, 2).await, spent(10, 10));
        // What has no price is neither held against anything nor counted.
        assert_eq!(offer(&store, vec![draft(message(6))], 2).await, [Admitted]);
        // The next day, and the last of the month.
        assert_eq!(offer(&store, vec![priced(7, 9)], DAY_S).await, [Admitted]);
        assert_eq!(read(&store, DAY_S).await, spent(9, 19));
        let month = Overspent(Period::Month);
        assert_eq!(offer(&store, vec![priced(8, 2), priced(9, 1)], 30 * DAY_S).await, [month, Admitted]);
        assert_eq!(read(&store, 30 * DAY_S).await, spent(1, 20));
        // The sample month has 31 days.
        assert_eq!(offer(&store, vec![priced(10, 10)], 31 * DAY_S).await, [Admitted]);
        assert_eq!(read(&store, 31 * DAY_S).await, spent(10, 10));
    });
}

#[test]
fn each_account_spends_by_itself_and_what_is_not_accepted_costs_nothing() {
    for_each_backend(|store| async move {
        store.suppress(vec![entry(900, 1, Reason::OptedOut)], actor()).await.expect("added");
        let admissions = offer(&store, vec![priced(1, 10), priced(2, 10)], 1).await;
        assert!(matches!(admissions[..], [Admission::Suppressed(_), Admitted]), "{admissions:?}");
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let theirs = Draft { message: Message { account: other.account, ..message(3) }, ..priced(3, 7) };
        let intake_of = Intake { realm: other, drafts: vec![theirs], ..intake([]) };
        let accepted = store.accept(intake_of, at(1)).await.expect("asked");
        assert!(matches!(accepted, Accepted::New(ref admissions, _) if admissions[..] == [Admitted]));
        let all = store.spent(vec![other.account, HOME.account, AccountId::from_key(3)], at(1)).await;
        assert_eq!(all.expect("read"), [spent(7, 7), spent(10, 10), Spent::default()]);
        // A repeat under a key costs once, and so does one whose id is taken.
        let keyed = |n| Intake { idempotency: Some(remembered(1)), drafts: vec![priced(n, 4)], ..intake([]) };
        let first = store.accept(keyed(4), at(DAY_S)).await;
        assert!(matches!(first, Ok(Accepted::New(..))), "{first:?}");
        assert!(matches!(store.accept(keyed(5), at(DAY_S)).await, Ok(Accepted::Replayed(_))));
        let taken = Intake { drafts: vec![priced(4, 4)], ..intake([]) };
        assert!(matches!(store.accept(taken, at(DAY_S)).await, Err(Error::Conflict(_))));
        assert_eq!(read(&store, DAY_S).await, spent(4, 14));
    });
}

#[test]
fn calls_at_the_same_time_do_not_spend_the_same_money() {
    for_each_backend(|store| async move {
        let asking = (0..30).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { offer(&store, vec![priced(n + 1, 3)], 1).await })
        });
        let asking: Vec<_> = asking.collect();
        let mut accepted = 0;
        for asking in asking {
            accepted += usize::from(asking.await.expect("no panic") == [Admitted]);
        }
        assert_eq!((accepted, read(&store, 1).await), (3, spent(9, 9)));
    });
}

/// The month is known when the day is not.
#[test]
fn what_is_spent_before_and_after_midnight_at_the_same_time_is_spent_in_the_month() {
    for_each_backend(|store| async move {
        let spending = [1, DAY_S, 2, DAY_S + 1].into_iter().zip(1..).map(|(second, n)| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { offer(&store, vec![priced(n, 3)], second).await })
        });
        for one in spending.collect::<Vec<_>>() {
            assert_eq!(one.await.expect("no panic"), [Admitted]);
        }
        assert_eq!((read(&store, 2).await, read(&store, DAY_S).await), (spent(6, 12), spent(6, 12)));
    });
}

#[test]
fn what_was_spent_long_ago_is_forgotten() {
    for_each_backend(|store| async move {
        offer(&store, vec![priced(1, 5)], 1).await;
        store.sweep(KEPT_A_DAY, MANY, at(70 * DAY_S)).await.expect("swept");
        assert_eq!(read(&store, 1).await, spent(5, 5));
        store.sweep(KEPT_A_DAY, MANY, at(70 * DAY_S + 1)).await.expect("swept");
        assert_eq!(read(&store, 1).await, Spent::default());
    });
}

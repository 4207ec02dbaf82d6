//! What may be spent: what is accepted in a day and in a month never costs more, and what is refused for it would have.

use super::Check;
use crate::fault::Fault;
use crate::ledger::{Item, Reply};
use crate::plan::{MIDNIGHT_MS, SpendPlan, Wish, Zone};
use std::collections::BTreeMap;
use tidings_domain::purpose::Purpose;

/// Which month it is in UTC: 0 is January 2027. No world is watched for longer than the one after it.
const fn month(wall_ms: i64) -> i64 {
    if wall_ms < MIDNIGHT_MS {
        return -1;
    }
    if Zone::Utc.day(wall_ms) < 31 { 0 } else { 1 }
}

/// What it is called, what may be spent in it, and which one it is at a moment.
type Period = (&'static str, Option<u64>, fn(i64) -> i64);

fn price(spend: &SpendPlan, wish: &Wish) -> u64 {
    spend.prices[wish.connection] * u64::from(wish.segments)
}

impl Check<'_> {
    /// Looks at what was spent.
    pub(super) fn spending(&mut self) {
        let Some(spend) = &self.seen.plan.spend else { return };
        let mut found = Vec::new();
        // Of what was accepted: when it was asked for in truth, when by the clock, and what it costs.
        let accepted = self.seen.messages.iter().filter_map(|(id, timeline)| {
            let (wish, _) = self.seen.wish(*id)?;
            let at_ms = timeline.stored.message.created_at.as_millis();
            Some((self.asked(*id)?.ms, at_ms, price(spend, wish)))
        });
        let accepted: Vec<_> = accepted.collect();
        let periods: [Period; 2] =
            [("day", spend.per_day, |at_ms| Zone::Utc.day(at_ms)), ("month", spend.per_month, month)];
        for (what, limit, period) in periods {
            let mut spent: BTreeMap<i64, u64> = BTreeMap::new();
            for (_, at_ms, price) in &accepted {
                *spent.entry(period(*at_ms)).or_default() += price;
            }
            for (which, spent) in spent {
                if limit.is_some_and(|limit| spent > limit) {
                    found.push((
                        "spend limit",
                        format!("{spent} was spent in the {what} {which}, of {limit:?}"),
                    ));
                }
            }
        }
        let plan = self.seen.plan;
        let is_set = plan.faults.has(Fault::WallBack) || plan.faults.has(Fault::WallForward);
        for (wish, call) in self.seen.wishes.values().filter(|(wish, _)| wish.send_in_ms.is_none() && !is_set)
        {
            let Some(seen) = self.seen.calls.get(&call.number) else { continue };
            let (Some(asked), Some((replied, Reply::Items(items)))) = (seen.asked.first(), &seen.replied)
            else {
                continue;
            };
            let place = call.wishes.iter().position(|of| of.reference == wish.reference);
            // A one-time code is refused too where it would be over before the sender's next day, and so is what is longer than a
            // whole day of it.
            let is_of_a_day = plan
                .dailies
                .iter()
                .any(|daily| wish.purpose == Purpose::Authentication || wish.segments > daily.segments);
            if is_of_a_day
                || plan.quiet.is_some_and(|quiet| quiet.refuses)
                || place.is_none_or(|place| items.get(place) != Some(&Item::Refused))
            {
                continue;
            }
            let (from_ms, to_ms) = (plan.begin_ms + asked.ms as i64, plan.begin_ms + replied.ms as i64);
            let fits = |(_, limit, period): Period| {
                let before = accepted.iter().filter(|(ms, at_ms, _)| {
                    *ms <= replied.ms && (period(from_ms)..=period(to_ms)).contains(&period(*at_ms))
                });
                let spent: u64 = before.map(|(.., price)| price).sum();
                limit.is_none_or(|limit| spent + price(spend, wish) <= limit)
            };
            if periods.into_iter().all(fits) {
                found.push((
                    "spend limit",
                    format!("m{} was refused, and would not have been too dear", wish.reference),
                ));
            }
        }
        self.take(found);
    }
}

//! Failures that a person must look at.

use crate::ask::{Answer, Ask, json};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use tidings_store::ReviewChoice;
use tidings_wire::Shown;
use tidings_wire::body::{Field, Kind};
use tidings_wire::error::Code;
use tidings_wire::page::{All, List, Page};
use tidings_wire::review::{self, Decided, Repeated, Which};

/// Groups that are listed: more causes than a person reads.
const GROUPS_MAX: usize = 100;

pub(crate) static FILTERS: &[Field] = &[
    LIMIT,
    CURSOR,
    Field::new("cause", Kind::Text, "Only items of this cause."),
    Field::new("open", Kind::Boolean, "Whether only open items are shown; true if not given."),
];

pub(crate) async fn groups(ask: Ask) -> Answer {
    let found = ask.app.engine.store().review_groups(ask.realm(), GROUPS_MAX).await?;
    json(200, &All { data: found.iter().map(review::group).collect() })
}

pub(crate) async fn items(ask: Ask) -> Answer {
    let cause = ask.query.get("cause").map(str::to_owned);
    let open_only = ask.query.get("open") != Some("false");
    let page = page(&ask, List::Reviews)?;
    let found = ask.app.engine.store().reviews(ask.realm(), cause, open_only, page).await?;
    json(200, &Page::new(List::Reviews, found.items.iter().map(review::item).collect(), found.next))
}

pub(crate) async fn decide(ask: Ask) -> Answer {
    let (which, decision) = review::parse(&ask.json()?)?;
    let which = match which {
        Which::Cause(cause) => ReviewChoice::Cause(cause),
        Which::Item(id) => ReviewChoice::One(id),
    };
    let decided = ask.app.engine.decide(ask.realm(), which, decision, ask.actor()).await?;
    if decided.closed.is_empty() {
        let problem = Problem::new(Code::NotFound, "No open failure has this cause or id.");
        return Err(problem.cured_by("Read what is open at `GET /v1/review/groups`."));
    }
    let pairs = decided.closed.iter().zip(&decided.repeated);
    let repeated = pairs.filter_map(|(old, new)| {
        Some(Repeated { message_id: Shown(old.about.message()?), new_message_id: new.map(Shown) })
    });
    json(200, &Decided { closed: decided.closed.len(), repeated: repeated.collect() })
}

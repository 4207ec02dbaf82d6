//! Takes people off the suppression list, and ends what waits for those who came onto it, whoever put them there: a call, a carrier, somebody at the
//! command line, another node. Without it a scheduled message would only end when it comes up, at the last look before the
//! submission. That look is what keeps the promise; this is what makes the truth visible early.

use crate::Inner;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{AuditId, floor_at};
use tidings_domain::programme::{Name, Names};
use tidings_domain::time::Timestamp;
use tidings_store::{Actor, Backend, Result, Suppression};

/// Changes in one look.
const STEP: usize = 500;
/// Messages that one commit ends.
const ENDED_MAX: usize = 500;
/// How often it is looked for what other processes and carriers brought about: ms.
const EVERY_MS: u64 = 1_000;
/// What the list became before the start, as far as this goes back: ms. Older entries meet their messages when those come
/// up.
const BEFORE_MS: i64 = 60_000;

/// Who is taken off the list, and of what.
#[derive(Debug, Clone)]
pub struct Lift {
    /// Whose list.
    pub realm: Realm,
    /// The person.
    pub recipient: PhoneNumber,
    /// The entries for this programme, by whichever of its names they were made; `None` for the one for everything.
    pub programme: Option<Name>,
    /// Why, for the record.
    pub reason: String,
}

/// Takes somebody off the list. A programme that was renamed may have an entry by each of its names: all of them are lifted, or
/// the person would still get nothing. Gives the one by the name that was given, else another; `None` if there was none.
///
/// # Errors
/// The store does not answer. What was lifted before that stays lifted; lift again for the rest.
pub async fn lift(
    store: &dyn Backend,
    names: &Names,
    lift: Lift,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Suppression>> {
    let Lift { realm, recipient, programme, reason } = lift;
    let given = programme.as_ref();
    let others = given.and_then(|name| names.all_of(name)).unwrap_or_default();
    let others = others.iter().filter(|name| Some(*name) != given);
    let mut lifted = None;
    for name in std::iter::once(given).chain(others.map(Some)) {
        let one = store.lift(realm, recipient, name.cloned(), reason.clone(), actor.clone(), now).await?;
        lifted = lifted.or(one);
    }
    Ok(lifted)
}

/// Follows the list.
pub(crate) async fn watch(engine: &Weak<Inner>) {
    let mut after = None;
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let from =
            *after.get_or_insert_with(|| AuditId::from_key(floor_at(inner.clock.now().plus_ms(-BEFORE_MS))));
        match follow(&inner, from).await {
            Ok(upto) => after = Some(upto),
            Err(error) => {
                crate::warn(&error, "what waits for people on the suppression list could not be ended")
            }
        }
        let changed = Arc::clone(&inner.list_changed);
        drop(inner);
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(EVERY_MS)) => {}
        }
    }
}

/// Ends what waits for those who came onto the list after this line. Gives the last line that was looked at.
async fn follow(inner: &Arc<Inner>, mut after: AuditId) -> Result<AuditId> {
    loop {
        let listed = inner.store.listed(after, STEP).await?;
        let is_last = listed.changes.len() < STEP;
        let came = listed.changes.into_iter().filter(|(_, entry)| entry.lifted.is_none());
        let people: Vec<_> = came.map(|(_, entry)| (entry.realm, entry.recipient)).collect();
        let mut more = !people.is_empty();
        while more {
            let ended = inner.store.stop_waiting(people.clone(), ENDED_MAX, inner.clock.now()).await?;
            more = ended.more;
            inner.happened(ended).await;
        }
        after = listed.upto;
        if is_last {
            return Ok(after);
        }
    }
}

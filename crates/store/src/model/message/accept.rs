//! Accepting messages: the rows of one call, with what may be done beside one. What becomes of them then is in
//! `message.rs`.

use super::{Call, Commit, Due, Messages, Remembered, Row, of_purpose};
use crate::backend::*;
use crate::model::Tables;
use crate::{Error, Result};
use std::collections::BTreeSet;
use tidings_domain::gate;
use tidings_domain::message::{Effect, Input, State};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

impl Tables {
    pub(in crate::model) fn accept(&mut self, intake: Intake, now: Timestamp) -> Result<Accepted> {
        self.accept_with(intake, Beside::Nothing, now)
    }

    /// Whether something is in the way of one of these that was taken not to be.
    fn is_crowded(&mut self, drafts: &[Draft], now: Timestamp) -> Result<bool> {
        for Draft { message, premise, .. } in drafts {
            let Some(premise) = premise else { continue };
            let person = (message.realm(), message.recipient);
            let others = self.turns(vec![person], premise.purposes(), now)?.remove(0);
            let has_room = match &premise.quota {
                Some(quota) => quota.fits(self.quotas(vec![quota.count.clone()])?[0]),
                None => true,
            };
            if !has_room || !premise.has_turn(others) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Accepts messages; a single one may carry a code, be said in a conversation, or ask for consent.
    pub(in crate::model) fn accept_with(
        &mut self,
        intake: Intake,
        beside: Beside<'_>,
        now: Timestamp,
    ) -> Result<Accepted> {
        let Intake { realm, idempotency, batch, drafts } = intake;
        if let Some(asked) = &idempotency
            && let Some(known) = self.messages.idempotency.get(&asked.key)
        {
            let same = known.fingerprint == asked.fingerprint;
            return Ok(if same { Accepted::Replayed(known.answer.clone()) } else { Accepted::KeyReused });
        }
        if self.sticky.is_moved(&drafts) {
            return Ok(Accepted::Moved);
        }
        if matches!(beside, Beside::Nothing) && self.is_crowded(&drafts, now)? {
            return Ok(Accepted::Crowded);
        }
        let drafts_are_priced = drafts.iter().any(|draft| draft.priced.is_some());
        let mut spending = Spending::new(self.spends.of(realm.account, now));
        let admissions: Vec<Admission> = drafts
            .iter()
            .map(|draft| {
                let message = &draft.message;
                let listed = self.suppressions.standing(message.realm(), message.recipient, now);
                match gate::refuses_listed(message, &listed, now) {
                    Some(entry) => Admission::Suppressed(entry),
                    None => match draft.priced.as_ref().and_then(|priced| spending.add(priced)) {
                        Some(period) => Admission::Overspent(period),
                        None => Admission::Admitted,
                    },
                }
            })
            .collect();
        if let (Beside::Saying(saying), [draft], [Admission::Admitted]) =
            (beside, &drafts[..], &admissions[..])
        {
            let message = &draft.message;
            if self.is_overtaken(message.realm(), message.recipient, message.sender, saying) {
                // Not for the key: who looks again may say it.
                return Ok(Accepted::New(vec![Admission::Overtaken], Box::default()));
            }
        }
        if let (Beside::Asking(_), [draft], [Admission::Admitted]) = (beside, &drafts[..], &admissions[..])
            && self.is_asked(&draft.message, now)
        {
            return Ok(Accepted::New(vec![Admission::Asked], Box::default()));
        }
        let code = match (beside, &drafts[..], &admissions[..]) {
            (Beside::Code(sending), [draft], [Admission::Admitted]) => match self
                .admit_code(draft, sending, now)
            {
                Ok(code) => Some(code),
                // Not for the key: time cures it.
                Err(refused) => return Ok(Accepted::New(vec![Admission::Refused(refused)], Box::default())),
            },
            _ => None,
        };
        let mut admitted: Vec<Draft> = Vec::with_capacity(drafts.len());
        let mut ids = BTreeSet::new();
        for (draft, admission) in drafts.into_iter().zip(&admissions) {
            if *admission == Admission::Admitted {
                let id = draft.message.id;
                if self.messages.rows.contains_key(&id) || !ids.insert(id) {
                    return Err(Error::Conflict(format!("there is a message {id} already")));
                }
                admitted.push(draft);
            }
        }
        if let Some((id, _)) = &batch
            && self.messages.batches.contains_key(id)
        {
            return Err(Error::Conflict(format!("there is a batch {id} already")));
        }
        // From here on nothing can fail.
        if drafts_are_priced {
            self.spends.count(realm.account, &spending, now);
        }
        if let Some(code) = code {
            self.put_code(code);
        }
        if let Some((id, asked)) = batch {
            let call = Call { realm, created_at: now, asked, members: ids.into_iter().collect() };
            self.messages.batches.insert(id, call);
        }
        let mut after = Vec::new();
        for mut draft in admitted {
            let attempt = draft.life.attempt;
            let held = draft.held.take().map(|hold| Input::Held { attempt, hold });
            let saying = match beside {
                Beside::Saying(saying) => Some(saying.clone()),
                Beside::Asking(asking) => {
                    self.consent_requests.insert(requested(asking, &draft.message, now));
                    None
                }
                Beside::Nothing => {
                    self.consent_requests.repeat(&draft.message);
                    self.conversations.said_before(&draft.message)
                }
                Beside::Code(_) => None,
            };
            if let Some(saying) = saying {
                self.add_entry(Addition::of_message(&draft.message, &saying, now));
            }
            let message = &draft.message;
            let chosen = draft.picked.as_ref().map(|picked| {
                self.sticky.note(message.realm(), message.recipient, picked, now);
                Effect::Publish(chosen_event(&draft, picked, now))
            });
            after.push((message.id, chosen, held));
            self.messages.insert(draft, now);
        }
        if let Some(Idempotency { key, fingerprint, answer }) = idempotency {
            let answer = answer(&admissions);
            self.messages.idempotency.insert(key, Remembered { fingerprint, answer, at: now });
            self.messages.idempotency_by_age.insert((now, key));
        }
        let retry = RetryPolicy::default();
        let mut commit = Commit::new(self, now, &retry, Jitter(0));
        for (id, chosen, held) in after {
            if let Some(chosen) = chosen {
                commit.follow(id, chosen);
            }
            if let Some(held) = held {
                commit.apply(id, held);
            }
        }
        Ok(Accepted::New(admissions, Box::new(commit.out)))
    }
}

impl Messages {
    fn insert(&mut self, draft: Draft, now: Timestamp) {
        let Draft { mut message, life, .. } = draft;
        let text = message.text.take();
        let due = Due::of(&message, &life.state, &self.queue.paces);
        if let Some(due) = due {
            self.queue.put(due, message.expires_at);
        }
        if matches!(life.state, State::Sending { .. }) {
            self.sending.insert(message.id);
        }
        if life.state.is_waiting() {
            *of_purpose(&mut self.waiting, &message) += 1;
        }
        self.rows.insert(message.id, Row { message, text, life, due, failure: None, updated_at: now });
    }
}

impl Tables {
    /// Puts a message into its connection's queue without a look at the suppression list.
    pub(in crate::model) fn enqueue(&mut self, draft: Draft, now: Timestamp, out: &mut Advanced) {
        out.queued.extend(
            draft.life.state.wakes_at().map(|at| (self.messages.queue.paces.queue_of(&draft.message), at)),
        );
        self.messages.insert(draft, now);
    }
}

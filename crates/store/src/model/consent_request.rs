//! Consent that people are asked for by text.

use super::Tables;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use std::convert::Infallible;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest, State};
use tidings_domain::id::{ConsentId, ConsentRequestId};
use tidings_domain::message::Message;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// Every request.
#[derive(Debug, Clone, Default)]
pub(super) struct ConsentRequests {
    rows: BTreeMap<ConsentRequestId, ConsentRequest>,
}

impl ConsentRequests {
    fn pending(&mut self, realm: Realm, person: PhoneNumber, sender: Sender) -> Option<&mut ConsentRequest> {
        let parties = (realm, person, sender);
        self.rows
            .values_mut()
            .find(|one| one.state == State::Pending && (one.realm, one.recipient, one.sender) == parties)
    }

    /// A message that repeats the one that asks asks in its place.
    pub(super) fn repeat(&mut self, message: &Message) {
        if let Some(known) = self.pending(message.realm(), message.recipient, message.sender)
            && Some(known.message) == message.retry_of
        {
            known.message = message.id;
        }
    }

    pub(super) fn insert(&mut self, one: ConsentRequest) {
        self.rows.insert(one.id, one);
    }
}

impl Tables {
    pub(super) fn ask_consent(
        &mut self,
        intake: Intake,
        asking: NewConsentRequest,
        now: Timestamp,
    ) -> Result<Accepted> {
        self.accept_with(intake, Beside::Asking(&asking), now)
    }

    /// Whether the person is already asked from this sender. A request that ended by itself makes room for the next.
    pub(super) fn is_asked(&mut self, message: &Message, now: Timestamp) -> bool {
        let (realm, person) = (message.realm(), message.recipient);
        let opt_outs = self.suppressions.opt_outs(realm, person);
        let Some(known) = self.consent_requests.pending(realm, person, message.sender) else { return false };
        let sent = self.messages.stored(realm, known.message).map(|stored| stored.life.state.status());
        known.state = known.standing(&opt_outs, sent, now);
        known.state == State::Pending
    }

    /// Ends the request that a person answers, if one waits for this answer, and writes what follows into the ledger.
    pub(super) fn answer_request(&mut self, inbound: &Inbound, now: Timestamp) -> bool {
        let Some((answer, person, sender)) = inbound.answer() else { return false };
        let opt_outs = self.suppressions.opt_outs(inbound.realm, person);
        let Some(known) = self.consent_requests.pending(inbound.realm, person, sender) else { return false };
        let sent =
            self.messages.stored(inbound.realm, known.message).map(|stored| stored.life.state.status());
        let Some(ended) = known.answered(answer, inbound.id, &opt_outs, sent, inbound.at) else {
            return false;
        };
        *known = ended.clone();
        let entries = ended.entries(now, || Ok::<_, Infallible>(ConsentId::from_key(self.next_id(now))));
        let Ok(entries) = entries;
        self.record_consents(entries, inbound.actor(), now).expect("their ids are new");
        true
    }

    pub(super) fn consent_requests(
        &mut self,
        realm: Realm,
        recipient: PhoneNumber,
        now: Timestamp,
    ) -> Result<Vec<ConsentRequest>> {
        let opt_outs = self.suppressions.opt_outs(realm, recipient);
        let of_one = self.consent_requests.rows.values().rev();
        let of_one = of_one.filter(|one| (one.realm, one.recipient) == (realm, recipient));
        let shown = |one: &ConsentRequest| {
            let sent = self.messages.stored(realm, one.message).map(|stored| stored.life.state.status());
            ConsentRequest { state: one.standing(&opt_outs, sent, now), ..one.clone() }
        };
        Ok(of_one.map(shown).collect())
    }
}

//! Where customers are told: endpoints, their health, and who listens to what.

use super::Tables;
use crate::backend::*;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{DISABLE_AFTER_MS, Verdict};

/// Every endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    rows: BTreeMap<EndpointId, Endpoint>,
    /// Those that are switched on and hear of everything in their realm, with the kinds that they want.
    listening: BTreeMap<Realm, BTreeMap<EndpointId, u32>>,
    callbacks: BTreeMap<(Realm, String), EndpointId>,
}

impl Endpoints {
    /// The endpoints that an event goes to: those of its realm that want its kind, and the message's own.
    pub(super) fn listening(
        &self,
        realm: Realm,
        kind: Kind,
        callback: Option<EndpointId>,
    ) -> impl Iterator<Item = EndpointId> + '_ {
        let all = self.listening.get(&realm).into_iter().flatten();
        let wanted =
            all.filter(move |(_, kinds)| **kinds == 0 || **kinds & kind.bit() != 0).map(|(id, _)| *id);
        wanted.chain(callback.filter(|id| self.is_on(*id)))
    }

    pub(super) fn is_on(&self, id: EndpointId) -> bool {
        self.rows.get(&id).is_some_and(|endpoint| endpoint.disabled.is_none())
    }

    pub(super) fn find(&self, realm: Realm, id: EndpointId) -> Option<&Endpoint> {
        self.rows.get(&id).filter(|endpoint| endpoint.realm == realm)
    }

    pub(super) fn of_realm(&self, realm: Realm) -> impl Iterator<Item = &Endpoint> + '_ {
        self.rows.values().filter(move |endpoint| endpoint.realm == realm)
    }

    fn put(&mut self, endpoint: Endpoint) {
        self.take(endpoint.id);
        if endpoint.callback_only {
            self.callbacks.insert((endpoint.realm, endpoint.url.clone()), endpoint.id);
        } else if endpoint.disabled.is_none() {
            self.listening.entry(endpoint.realm).or_default().insert(endpoint.id, endpoint.kinds);
        }
        self.rows.insert(endpoint.id, endpoint);
    }

    fn take(&mut self, id: EndpointId) -> Option<Endpoint> {
        let endpoint = self.rows.remove(&id)?;
        if endpoint.callback_only {
            self.callbacks.remove(&(endpoint.realm, endpoint.url.clone()));
        } else if let Some(listening) = self.listening.get_mut(&endpoint.realm) {
            listening.remove(&id);
        }
        Some(endpoint)
    }

    /// Whether another endpoint stands in the way of this one.
    fn check_free(&self, endpoint: &Endpoint) -> Result<()> {
        let callback = self.callbacks.get(&(endpoint.realm, endpoint.url.clone()));
        if endpoint.callback_only && callback.is_some_and(|id| *id != endpoint.id) {
            return Err(Error::Conflict(format!("{} is a callback address already", endpoint.url)));
        }
        Ok(())
    }

    fn insert(&mut self, endpoint: Endpoint) -> Result<()> {
        if self.rows.contains_key(&endpoint.id) {
            return Err(Error::Conflict(format!("there is an endpoint {} already", endpoint.id)));
        }
        self.check_free(&endpoint)?;
        self.put(endpoint);
        Ok(())
    }

    /// Notes whether an endpoint fails, and switches off one that is gone or has failed for too long.
    pub(super) fn record_health(&mut self, id: EndpointId, verdict: Verdict, now: Timestamp) {
        let Some(endpoint) = self.rows.get(&id) else { return };
        let changed = match (verdict, endpoint.failing_since) {
            (Verdict::Done, None) => return,
            (Verdict::Done, Some(_)) => Endpoint { failing_since: None, ..endpoint.clone() },
            (Verdict::Gone, _) => {
                let disabled = Some("the endpoint answered 410 Gone".to_owned());
                Endpoint { disabled, ..endpoint.clone() }
            }
            (Verdict::RetryAt(_) | Verdict::Dead, None) => {
                Endpoint { failing_since: Some(now), ..endpoint.clone() }
            }
            (Verdict::RetryAt(_) | Verdict::Dead, Some(since)) if now.since_ms(since) > DISABLE_AFTER_MS => {
                let disabled = Some("every call failed for five days".to_owned());
                Endpoint { disabled, ..endpoint.clone() }
            }
            (Verdict::RetryAt(_) | Verdict::Dead, Some(_)) => return,
        };
        self.put(changed);
    }

    /// Removes callback addresses that no message can speak of any more. The oldest stays: it keeps the realm's secret.
    pub(super) fn sweep_callbacks(&mut self, made_before: Timestamp) {
        let mut seen = BTreeSet::new();
        let callbacks = self.rows.values().filter(|endpoint| endpoint.callback_only);
        let later = callbacks.filter(|endpoint| !seen.insert(endpoint.realm));
        let old: Vec<EndpointId> =
            later.filter(|endpoint| endpoint.created_at < made_before).map(|endpoint| endpoint.id).collect();
        for id in old {
            self.take(id);
        }
    }
}

impl Tables {
    pub(super) fn create_endpoint(&mut self, endpoint: Endpoint, actor: Actor) -> Result<()> {
        let (id, url, at) = (endpoint.id, endpoint.url.clone(), endpoint.created_at);
        self.endpoints.insert(endpoint)?;
        self.write_audit(&actor, "webhook.create", id.to_string(), url, at);
        Ok(())
    }

    pub(super) fn callback_endpoint(&mut self, endpoint: Endpoint) -> Result<EndpointId> {
        if let Some(known) = self.endpoints.callbacks.get(&(endpoint.realm, endpoint.url.clone())) {
            return Ok(*known);
        }
        let others = || self.endpoints.of_realm(endpoint.realm).filter(|other| other.callback_only);
        if others().count() >= CALLBACKS_MAX {
            return Err(Error::Conflict(format!(
                "there are {CALLBACKS_MAX} different callback addresses already"
            )));
        }
        // One secret for all callback addresses of a realm: whoever checks signatures needs to know only that one.
        let secrets = others().next().map(|first| (first.secret.clone(), first.previous.clone()));
        let endpoint = match secrets {
            Some((secret, previous)) => Endpoint { secret, previous, ..endpoint },
            None => endpoint,
        };
        let id = endpoint.id;
        self.endpoints.insert(endpoint)?;
        Ok(id)
    }

    pub(super) fn endpoints(&mut self, realm: Option<Realm>) -> Result<Vec<Endpoint>> {
        let all = self.endpoints.rows.values();
        Ok(all.filter(|endpoint| realm.is_none_or(|realm| endpoint.realm == realm)).cloned().collect())
    }

    pub(super) fn update_endpoint(
        &mut self,
        endpoint: Endpoint,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        let Some(known) = self.endpoints.find(endpoint.realm, endpoint.id) else { return Ok(false) };
        // What it is and when it was made does not change.
        let changed =
            Endpoint { callback_only: known.callback_only, created_at: known.created_at, ..endpoint };
        self.endpoints.check_free(&changed)?;
        let (id, url) = (changed.id, changed.url.clone());
        if changed.callback_only {
            // They share one secret, so that whoever checks signatures needs to know only that one.
            for other in self.endpoints.rows.values_mut() {
                if other.callback_only && other.realm == changed.realm {
                    other.secret.clone_from(&changed.secret);
                    other.previous.clone_from(&changed.previous);
                }
            }
        }
        self.endpoints.put(changed);
        self.write_audit(&actor, "webhook.update", id.to_string(), url, now);
        Ok(true)
    }

    pub(super) fn delete_endpoint(
        &mut self,
        realm: Realm,
        id: EndpointId,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        if self.endpoints.find(realm, id).is_none() {
            return Ok(false);
        }
        self.endpoints.take(id);
        self.events.drop_open(id);
        self.write_audit(&actor, "webhook.delete", id.to_string(), String::new(), now);
        Ok(true)
    }
}

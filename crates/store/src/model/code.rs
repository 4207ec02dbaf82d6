//! One-time codes: sent, tried, and counted, in the commits of the messages that carry them.

use super::{Tables, page_of};
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::code::{self, Code, Verdict};
use tidings_domain::id::CodeId;
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Decision, Gauge, Prefix, Stop, Window};

/// Codes, what is counted of them, and the prefixes that are stopped.
#[derive(Debug, Clone, Default)]
pub(super) struct Codes {
    rows: BTreeMap<CodeId, Code>,
    gauges: BTreeMap<(Realm, Gauge), Window>,
    stops: BTreeMap<(Realm, Prefix), Stop>,
}

impl Codes {
    fn of(&self, realm: Realm, id: CodeId) -> Option<&Code> {
        self.rows.get(&id).filter(|code| code.realm == realm)
    }

    /// Forgets what is over. `true` if there may be more of it.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> bool {
        fn forget<K: Clone + Ord, V>(
            all: &mut BTreeMap<K, V>,
            limit: usize,
            is_over: impl Fn(&K, &V) -> bool,
        ) -> bool {
            let over = all.iter().filter(|(key, value)| is_over(key, value)).map(|(key, _)| key.clone());
            let over: Vec<K> = over.take(limit).collect();
            for key in &over {
                all.remove(key);
            }
            over.len() == limit
        }
        let mut more = forget(&mut self.rows, limit, |_, code| code.forget_at() <= now);
        more |= forget(&mut self.gauges, limit, |(_, gauge), window| window.ends_at(gauge.kind) <= now);
        more |= forget(&mut self.stops, limit, |_, stop| stop.until <= now);
        more
    }
}

/// What is to be written about a code that is sent.
pub(super) struct Admitted {
    code: Code,
    counted: Vec<(Gauge, Window)>,
}

impl Tables {
    pub(super) fn send_code(&mut self, intake: Intake, sending: Sending, now: Timestamp) -> Result<Accepted> {
        self.accept_with(intake, Beside::Code(&sending), now)
    }

    /// Whether the code that a message carries may be sent. Of a prefix that is to be stopped the stop is stored.
    pub(super) fn admit_code(
        &mut self,
        draft: &Draft,
        sending: &Sending,
        now: Timestamp,
    ) -> std::result::Result<Admitted, code::Refused> {
        let realm = draft.message.realm();
        let known = match sending.which {
            Which::New(..) => None,
            Which::Again(id) => self.codes.of(realm, id).cloned(),
        };
        let code = sending.code(&draft.message, known, now)?;
        let prefix = Prefix::of(code.recipient);
        let gauges = velocity::gauges(code.recipient, &sending.person);
        let mut counted: Vec<(Gauge, Window)> = gauges
            .into_iter()
            .map(|gauge| {
                let window = self.codes.gauges.get(&(realm, gauge.clone())).cloned();
                (gauge, window.unwrap_or(Window::EMPTY))
            })
            .collect();
        let stop = self.codes.stops.get(&(realm, prefix)).copied();
        let decision = velocity::admit(&mut counted, prefix, stop, &sending.bounds, now);
        if let Decision::Stop(stop) = decision {
            self.codes.stops.insert((realm, prefix), stop);
            let (actor, detail) = stop_line(realm, &stop);
            self.write_audit(&actor, "code.stop", prefix.to_string(), detail, now);
        }
        match decision.refused() {
            Some(refused) => Err(code::Refused::TooFast(refused)),
            None => Ok(Admitted { code, counted }),
        }
    }

    pub(super) fn put_code(&mut self, Admitted { code, counted }: Admitted) {
        for (gauge, window) in counted {
            self.codes.gauges.insert((code.realm, gauge), window);
        }
        self.codes.rows.insert(code.id, code);
    }

    pub(super) fn code(&mut self, realm: Realm, id: CodeId) -> Result<Option<Code>> {
        Ok(self.codes.of(realm, id).cloned())
    }

    pub(super) fn codes(&mut self, realm: Realm, page: Page) -> Result<Paged<Code>> {
        let before = CodeId::from_key(page.before.unwrap_or(i64::MAX));
        let newest_first = self.codes.rows.range(..before).rev().map(|(_, code)| code);
        let found = newest_first.filter(|code| code.realm == realm).cloned();
        Ok(page_of(found, page, |code| code.id.key()))
    }

    pub(super) fn check_code(
        &mut self,
        realm: Realm,
        id: CodeId,
        is_right: bool,
        now: Timestamp,
    ) -> Result<Option<(Code, Verdict)>> {
        let Some(code) = self.codes.rows.get_mut(&id).filter(|code| code.realm == realm) else {
            return Ok(None);
        };
        let (verdict, life) = code.check(is_right, now);
        code.life = life;
        let code = code.clone();
        if verdict == Verdict::Right {
            for gauge in velocity::watched(Prefix::of(code.recipient)) {
                let kind = gauge.kind;
                if let Some(window) = self.codes.gauges.get_mut(&(realm, gauge)) {
                    window.verify(kind, life.sent_at, now);
                }
            }
        }
        Ok(Some((code, verdict)))
    }

    pub(super) fn cancel_code(
        &mut self,
        realm: Realm,
        id: CodeId,
        now: Timestamp,
    ) -> Result<Option<(Code, bool)>> {
        let Some(code) = self.codes.rows.get_mut(&id).filter(|code| code.realm == realm) else {
            return Ok(None);
        };
        let canceled = code.cancel(now);
        code.life = canceled.unwrap_or(code.life);
        Ok(Some((code.clone(), canceled.is_some())))
    }

    pub(super) fn stops(&mut self, realm: Realm, now: Timestamp) -> Result<Vec<Stop>> {
        let of = self.codes.stops.iter().filter(|((whose, _), stop)| *whose == realm && stop.until > now);
        let mut stops: Vec<Stop> = of.map(|(_, stop)| *stop).collect();
        stops.sort_by_key(|stop| (std::cmp::Reverse(stop.since), stop.prefix));
        Ok(stops)
    }

    pub(super) fn lift_stop(
        &mut self,
        realm: Realm,
        prefix: Prefix,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Stop>> {
        let known = self.codes.stops.get(&(realm, prefix)).copied();
        let Some(stop) = known.filter(|stop| stop.until > now) else { return Ok(None) };
        self.codes.stops.remove(&(realm, prefix));
        for gauge in velocity::watched(prefix) {
            self.codes.gauges.remove(&(realm, gauge));
        }
        let (subject, detail) = (prefix.to_string(), realm.environment.as_str().to_owned());
        self.write_audit(&actor, "code.lift_stop", subject, detail, now);
        Ok(Some(stop))
    }
}

//! The comparison for several nodes: what was promised against what was seen. A pure function, so that the tests below can
//! show it each fault.
//!
//! It judges by what an outsider can know. A submission is *doubtful* if a fault that touches it may have kept its answer
//! from being recorded: one of the node that submitted it, or one of the database. Near the ends of a fault it allows for
//! [`GRACE_MS`].

use super::customers::Sent;
use super::fault::{Fault, Kind};
use super::fleet::Exit;
use crate::clock::Moment;
use crate::ledger::{Purpose, Receipt, Shown, Submission, Webhook};
use crate::smsc::Bind;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// What passed so shortly before a fault or after it may have been touched by it: ms. With room for what two busy
/// processors need to come to a thread.
pub const GRACE_MS: u64 = 5_000;
/// So long after a fault a process may still end because of it: ms. A lease is 15 s.
const EXIT_AFTER_MS: u64 = 40_000;
/// A transactional message may be held for a receipt for so long: ms. The documents say 120 s.
pub const HELD_MS: u64 = 130_000;
/// By so much a submission may be read later than it was decided: ms.
const LATE_MS: u64 = 1_000;
/// How long the owner of a connection may be away before another node submits on it: ms.
pub const TAKEOVER_MS: u64 = 30_000;
/// A node that submitted on a connection so shortly before it was killed owned it: ms.
const OWNED_MS: u64 = 3_000;
/// Exit codes of a process that ends so that it is started again: what it was told to keep may not have been kept, and it
/// was ended by another node.
const ENDS: [i32; 2] = [74, 75];

/// What a carrier saw.
#[derive(Debug, Clone, Default)]
pub struct Carrier {
    /// Submissions.
    pub submissions: Vec<Submission>,
    /// Receipts.
    pub receipts: Vec<Receipt>,
    /// Binds: which session belongs to which node, and since when.
    pub binds: Vec<(usize, Bind)>,
    /// The most submissions that were unanswered on one session.
    pub most_open: u32,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// What was asked for.
    pub sent: Vec<Sent>,
    /// What reached the carriers.
    pub carriers: Vec<Carrier>,
    /// What was told.
    pub webhooks: Vec<Webhook>,
    /// What the API shows at the end, with the end of each message's worth.
    pub shown: Vec<(Shown, Moment)>,
    /// When that was read.
    pub shown_at: Moment,
    /// What was done to the nodes and to the database.
    pub faults: Vec<Fault>,
    /// Processes that ended by themselves.
    pub exits: Vec<Exit>,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say the same in each variant: which message, what was seen, what was allowed"
)]
pub enum Violation {
    /// P-01: a message was acknowledged, and the API does not show it.
    Lost { id: String, purpose: Purpose },
    /// P-05: one key got several messages, or a message and a refusal.
    TwoAnswers { key: String, ids: Vec<String>, refused: bool },
    /// P-05: the API shows a message that no answer told of.
    Stray { id: String, recipient: String },
    /// A request never got its answer.
    NeverAnswered { key: String },
    /// P-06: a message has not ended.
    NotFinal { id: String, purpose: Purpose, status: String, error: Option<String>, at_ms: Vec<u64> },
    /// P-06: a message ended in a way that nothing that was done to it explains.
    WrongEnd { id: String, purpose: Purpose, status: String, error: Option<String>, at_ms: Vec<u64> },
    /// P-07 and the purposes' rules: a segment was submitted more often than its purpose allows.
    TooOften { id: String, purpose: Purpose, at_ms: Vec<u64>, nodes: Vec<usize> },
    /// A segment was submitted again though no fault explains it.
    NoReason { id: String, purpose: Purpose, at_ms: Vec<u64>, nodes: Vec<usize> },
    /// P-11: a message was submitted after its end.
    Late { id: String, late_ms: u64 },
    /// P-15: a submission reached the carrier after the opt-out was answered.
    AfterOptOut { recipient: String, late_ms: u64 },
    /// An opt-out was never answered.
    OptOutNotTaken { recipient: String },
    /// The carrier was given a text or a recipient that nobody asked for.
    WrongContent { recipient: String, text: String },
    /// P-18: a receipt was acknowledged and nothing came of it.
    ReceiptLost { id: String, status: String, receipt: Box<(Receipt, Submission)> },
    /// A receipt was never acknowledged.
    ReceiptRefused { carrier: usize, carrier_id: String, offers: u32, refusals: u32 },
    /// P-23: a final status was never told.
    WebhookMissing { id: String, status: String },
    /// P-28: a node submitted on a connection that another node had taken over.
    TwoOwners { connection: usize, node: usize, at_ms: u64, after: usize },
    /// A session had more unanswered submissions than its window.
    WindowExceeded { seen: u32, window: u32 },
    /// A process ended with a code that is no answer to a fault, or without one.
    Ended { node: usize, at_ms: u64, code: i32 },
    /// Nobody, or nobody in time, took over a connection whose owner was killed.
    TakenLate { node: usize, connection: usize, at_ms: u64, took_ms: Option<u64> },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// From the end of a connection's owner to the first submission on a session that was opened after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takeover {
    /// When the owner was killed.
    pub at: Moment,
    /// Which connection.
    pub connection: usize,
    /// From which node to which.
    pub nodes: (usize, usize),
    /// How long it took: ms.
    pub took_ms: u64,
    /// Whether another fault was there at the same time.
    pub is_disturbed: bool,
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Messages that got a 202.
    pub acknowledged: usize,
    /// Requests that got no answer at least once.
    pub repeated: usize,
    /// Requests that were refused because of an opt-out.
    pub refused: usize,
    /// Submissions that the carriers read.
    pub submissions: usize,
    /// Segments beyond the first submission of each, by purpose.
    pub duplicates: BTreeMap<Purpose, usize>,
    /// Messages in `unconfirmed`, by purpose.
    pub unconfirmed: BTreeMap<Purpose, usize>,
    /// Of those, the ones that a carrier has.
    pub unconfirmed_but_taken: usize,
    /// Transactional messages that are still held for a receipt, within their time.
    pub held: usize,
    /// Messages by their status at the end.
    pub statuses: BTreeMap<String, usize>,
    /// Receipts that were acknowledged.
    pub receipts: usize,
    /// Webhooks that came, repeats not counted.
    pub webhooks: usize,
    /// Webhooks that came again.
    pub webhooks_again: usize,
    /// Opt-outs that were answered, and messages to those recipients that were submitted before.
    pub opt_outs: (usize, usize),
    /// Opt-outs, from the question to the answer: ms, in ascending order.
    pub opt_outs_ms: Vec<u64>,
    /// Takeovers after kills.
    pub takeovers: Vec<Takeover>,
    /// Processes that ended by themselves, by exit code.
    pub exits: BTreeMap<i32, usize>,
    /// How often a connection changed its node.
    pub moves: usize,
}

/// Compares. `window` is what a session may have unanswered.
pub fn judge(ledger: &Ledger, window: u32) -> (Figures, Vec<Violation>) {
    let mut judge = Judge {
        ledger,
        nodes: ledger
            .carriers
            .iter()
            .map(|carrier| carrier.binds.iter().map(|(node, bind)| (bind.session, *node)).collect())
            .collect(),
        figures: Figures::default(),
        violations: Vec::new(),
    };
    judge.messages();
    judge.carriers(window);
    judge.exits();
    (judge.figures, judge.violations)
}

/// A submission, on which connection, by which node.
#[derive(Debug, Clone, Copy)]
struct Seen<'l> {
    submission: &'l Submission,
    connection: usize,
    node: usize,
}

struct Judge<'l> {
    ledger: &'l Ledger,
    /// Of each connection: which node has a session.
    nodes: Vec<HashMap<u32, usize>>,
    figures: Figures,
    violations: Vec<Violation>,
}

fn ms(at: Moment) -> u64 {
    at.0 / 1_000_000
}

fn times(seen: &[Seen<'_>]) -> Vec<u64> {
    seen.iter().map(|seen| ms(seen.submission.at)).collect()
}

impl<'l> Judge<'l> {
    fn seen(&self, connection: usize, submission: &'l Submission) -> Seen<'l> {
        let node = self.nodes[connection].get(&submission.session).copied().unwrap_or(usize::MAX);
        Seen { submission, connection, node }
    }

    fn messages(&mut self) {
        let ledger = self.ledger;
        let shown: HashMap<&str, &(Shown, Moment)> =
            ledger.shown.iter().map(|shown| (shown.0.id.as_str(), shown)).collect();
        let mut submitted: HashMap<&str, Vec<Seen<'l>>> = HashMap::new();
        let mut receipts: HashMap<&str, Vec<(usize, &'l Receipt)>> = HashMap::new();
        for (connection, carrier) in ledger.carriers.iter().enumerate() {
            self.figures.submissions += carrier.submissions.len();
            for submission in &carrier.submissions {
                let seen = self.seen(connection, submission);
                submitted.entry(&submission.recipient).or_default().push(seen);
            }
            for receipt in &carrier.receipts {
                receipts.entry(&receipt.recipient).or_default().push((connection, receipt));
            }
        }
        let told = self.webhooks();
        self.content();
        for sent in &ledger.sent {
            let request = &sent.request;
            let submitted = submitted.get(request.recipient.as_str()).map_or(&[][..], Vec::as_slice);
            self.opt_out(sent, submitted);
            self.figures.repeated += usize::from(request.unanswered > 0);
            let mut ids: Vec<String> = request.accepted.iter().map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids.dedup();
            if ids.len() > 1 || (sent.refused && !ids.is_empty()) {
                let key = request.key.clone();
                self.violations.push(Violation::TwoAnswers { key, ids, refused: sent.refused });
            }
            let Some((id, _)) = request.accepted.first() else {
                if sent.refused {
                    self.figures.refused += 1;
                } else {
                    self.violations.push(Violation::NeverAnswered { key: request.key.clone() });
                }
                continue;
            };
            self.figures.acknowledged += 1;
            let Some((shown, expires)) = shown.get(id.as_str()) else {
                self.violations.push(Violation::Lost { id: id.clone(), purpose: request.purpose });
                continue;
            };
            *self.figures.statuses.entry(shown.status.clone()).or_default() += 1;
            self.submissions(sent, id, submitted, *expires);
            self.end(sent, shown, submitted);
            let receipts = receipts.get(request.recipient.as_str()).map_or(&[][..], Vec::as_slice);
            self.receipts(shown, receipts);
            if shown.is_final() && !told.contains(&(shown.id.as_str(), shown.status.as_str())) {
                let (id, status) = (id.clone(), shown.status.clone());
                self.violations.push(Violation::WebhookMissing { id, status });
            }
        }
        self.figures.opt_outs_ms.sort_unstable();
        let ours: HashSet<&str> =
            ledger.sent.iter().flat_map(|sent| &sent.request.accepted).map(|(id, _)| id.as_str()).collect();
        for (shown, _) in ledger.shown.iter().filter(|(shown, _)| !ours.contains(shown.id.as_str())) {
            let (id, recipient) = (shown.id.clone(), shown.recipient.clone());
            self.violations.push(Violation::Stray { id, recipient });
        }
    }

    /// Which final statuses were told.
    fn webhooks(&mut self) -> HashSet<(&'l str, &'l str)> {
        let (mut ids, mut told) = (HashSet::new(), HashSet::new());
        for webhook in &self.ledger.webhooks {
            if ids.insert(&webhook.id) {
                self.figures.webhooks += 1;
            } else {
                self.figures.webhooks_again += 1;
            }
            told.insert((webhook.message.as_str(), webhook.status.as_str()));
        }
        told
    }

    fn content(&mut self) {
        let asked: HashMap<&str, &str> = self
            .ledger
            .sent
            .iter()
            .map(|sent| (sent.request.recipient.as_str(), sent.request.text.as_str()))
            .collect();
        for submission in self.ledger.carriers.iter().flat_map(|carrier| &carrier.submissions) {
            let right = asked.get(submission.recipient.as_str()).is_some_and(|text| match submission.part {
                None => *text == submission.text,
                Some(_) => text.contains(&submission.text),
            });
            if !right {
                self.violations.push(Violation::WrongContent {
                    recipient: submission.recipient.clone(),
                    text: submission.text.clone(),
                });
            }
        }
    }

    fn opt_out(&mut self, sent: &Sent, submitted: &[Seen<'_>]) {
        let Some(opt_out) = sent.opt_out else { return };
        let recipient = &sent.request.recipient;
        let Some(fence) = opt_out.fence else {
            self.violations.push(Violation::OptOutNotTaken { recipient: recipient.clone() });
            return;
        };
        self.figures.opt_outs.0 += 1;
        self.figures.opt_outs_ms.push(fence.ms_since(opt_out.asked));
        self.figures.opt_outs.1 += usize::from(submitted.iter().any(|seen| seen.submission.at <= fence));
        for seen in submitted.iter().filter(|seen| seen.submission.at > fence) {
            self.violations.push(Violation::AfterOptOut {
                recipient: recipient.clone(),
                late_ms: seen.submission.at.ms_since(fence),
            });
        }
    }

    fn submissions(&mut self, sent: &Sent, id: &str, submitted: &[Seen<'_>], expires: Moment) {
        let mut parts: BTreeMap<Option<(u8, u8)>, Vec<Seen<'_>>> = BTreeMap::new();
        for seen in submitted {
            parts.entry(seen.submission.part).or_default().push(*seen);
            if seen.submission.at > expires.plus_ms(LATE_MS) {
                let late_ms = seen.submission.at.ms_since(expires);
                self.violations.push(Violation::Late { id: id.to_owned(), late_ms });
            }
        }
        let purpose = sent.request.purpose;
        for mut of_part in parts.into_values().filter(|of_part| of_part.len() > 1) {
            of_part.sort_by_key(|seen| seen.submission.at);
            *self.figures.duplicates.entry(purpose).or_default() += of_part.len() - 1;
            let at_ms = times(&of_part);
            let nodes = of_part.iter().map(|seen| seen.node).collect();
            if of_part.len() > purpose.submissions_max() {
                self.violations.push(Violation::TooOften { id: id.to_owned(), purpose, at_ms, nodes });
            } else if of_part.windows(2).any(|pair| !self.is_doubtful(&pair[0], Some(pair[1].submission.at)))
            {
                self.violations.push(Violation::NoReason { id: id.to_owned(), purpose, at_ms, nodes });
            }
        }
    }

    /// Whether a fault before `until` can have left it open whether the carrier took this submission.
    fn is_doubtful(&self, seen: &Seen<'_>, until: Option<Moment>) -> bool {
        let submission = seen.submission;
        let within = |node: Option<usize>, from: Moment, to: Moment| {
            node.is_none_or(|node| node == seen.node)
                && submission.at <= to.plus_ms(GRACE_MS)
                && submission.answered_at.is_none_or(|at| at.plus_ms(GRACE_MS) >= from)
                && until.is_none_or(|until| from <= until)
        };
        let ledger = self.ledger;
        ledger
            .faults
            .iter()
            .filter(|fault| fault.kind != Kind::Exchange)
            .any(|fault| within(fault.node, fault.from, fault.to))
            // A process that ended knew that it may not know something since a while.
            || ledger
                .exits
                .iter()
                .any(|exit| within(Some(exit.node), Moment(exit.at.0.saturating_sub(GRACE_MS * 1_000_000)), exit.at))
    }

    fn end(&mut self, sent: &Sent, shown: &Shown, submitted: &[Seen<'_>]) {
        let (id, status, purpose) = (shown.id.clone(), shown.status.clone(), sent.request.purpose);
        let in_doubt = submitted.iter().any(|seen| self.is_doubtful(seen, None));
        let explained = match status.as_str() {
            "delivered" => !submitted.is_empty(),
            "unconfirmed" => {
                *self.figures.unconfirmed.entry(purpose).or_default() += 1;
                self.figures.unconfirmed_but_taken += usize::from(!submitted.is_empty());
                // An alert is sent until it is answered, or worth nothing any more, or unwelcome.
                let may = purpose != Purpose::Alert || sent.life_s.is_some() || sent.opt_out.is_some();
                may && !self.ledger.faults.is_empty() && (submitted.is_empty() || in_doubt)
            }
            "expired" => sent.life_s.is_some() && (submitted.is_empty() || in_doubt),
            // Of several parts, some may have been answered.
            "sending" | "sent" if purpose == Purpose::Transactional && self.is_held() => {
                self.figures.held += 1;
                true
            }
            _ if !shown.is_final() => {
                let error = shown.error.clone();
                let at_ms = times(submitted);
                self.violations.push(Violation::NotFinal { id, purpose, status, error, at_ms });
                return;
            }
            _ => {
                let blocked = shown.error.as_deref().is_some_and(|error| error.starts_with("OPTED_OUT"));
                blocked && sent.opt_out.is_some() && (submitted.is_empty() || in_doubt)
            }
        };
        if !explained {
            let error = shown.error.clone();
            let at_ms = times(submitted);
            self.violations.push(Violation::WrongEnd { id, purpose, status, error, at_ms });
        }
    }

    fn is_held(&self) -> bool {
        let ends =
            self.ledger.faults.iter().map(|fault| fault.to).chain(self.ledger.exits.iter().map(|e| e.at));
        ends.max().is_some_and(|last| self.ledger.shown_at <= last.plus_ms(HELD_MS))
    }

    fn receipts(&mut self, shown: &Shown, receipts: &[(usize, &Receipt)]) {
        let (mut parts, mut settled) = (1, BTreeMap::new());
        for (connection, receipt) in receipts {
            if receipt.acknowledged_at.is_none() {
                self.violations.push(Violation::ReceiptRefused {
                    carrier: *connection,
                    carrier_id: receipt.carrier_id.clone(),
                    offers: receipt.offers,
                    refusals: receipt.refusals,
                });
                continue;
            }
            self.figures.receipts += 1;
            // It can be matched by the id, if the answer that told it was recorded, or by our reference.
            let submission = &self.ledger.carriers[*connection].submissions[receipt.submission];
            let seen = self.seen(*connection, submission);
            let id_known = submission.answered_at.is_some() && !self.is_doubtful(&seen, None);
            if receipt.echoed || id_known {
                let (total, number) = submission.part.unwrap_or((1, 1));
                parts = total;
                settled.insert(number, (*receipt, submission));
            }
        }
        // A message is as good as its worst part: it is delivered when each part is.
        if let Some((_, (receipt, submission))) = settled.first_key_value()
            && settled.len() == usize::from(parts)
            && shown.status != "delivered"
        {
            self.violations.push(Violation::ReceiptLost {
                id: shown.id.clone(),
                status: shown.status.clone(),
                receipt: Box::new(((*receipt).clone(), (*submission).clone())),
            });
        }
    }

    fn carriers(&mut self, window: u32) {
        for (connection, carrier) in self.ledger.carriers.iter().enumerate() {
            if carrier.most_open > window {
                self.violations.push(Violation::WindowExceeded { seen: carrier.most_open, window });
            }
            let mut seen: Vec<Seen<'l>> =
                carrier.submissions.iter().map(|submission| self.seen(connection, submission)).collect();
            seen.sort_by_key(|seen| seen.submission.at);
            let bound: HashMap<u32, Moment> =
                carrier.binds.iter().map(|(_, bind)| (bind.session, bind.at)).collect();
            self.owners(&seen, &bound);
            self.takeovers(&seen, &bound);
        }
    }

    /// A node that submits on a session must not find that another one did so on a session that is newer.
    fn owners(&mut self, seen: &[Seen<'_>], bound: &HashMap<u32, Moment>) {
        let mut newest: BTreeMap<usize, Moment> = BTreeMap::new();
        let mut last = None;
        for seen in seen {
            let since = bound.get(&seen.submission.session).copied().unwrap_or_default();
            let other = newest.iter().find(|(node, newer)| **node != seen.node && **newer > since);
            if let Some((after, _)) = other {
                self.violations.push(Violation::TwoOwners {
                    connection: seen.connection,
                    node: seen.node,
                    at_ms: ms(seen.submission.at),
                    after: *after,
                });
            }
            let of_node = newest.entry(seen.node).or_default();
            *of_node = since.max(*of_node);
            self.figures.moves += usize::from(last.is_some_and(|node| node != seen.node));
            last = Some(seen.node);
        }
    }

    fn takeovers(&mut self, seen: &[Seen<'_>], bound: &HashMap<u32, Moment>) {
        for (place, kill) in self.ledger.faults.iter().enumerate() {
            let (Kind::Kill, Some(node)) = (kill.kind, kill.node) else { continue };
            let after = seen.partition_point(|seen| seen.submission.at <= kill.from);
            let owned = after
                .checked_sub(1)
                .map(|last| seen[last])
                .filter(|last| last.node == node && kill.from.ms_since(last.submission.at) <= OWNED_MS);
            let Some(owned) = owned else { continue };
            let first = seen[after..]
                .iter()
                .find(|seen| bound.get(&seen.submission.session).is_some_and(|since| *since > kill.from));
            let end = first.map_or(kill.from.plus_ms(TAKEOVER_MS), |first| first.submission.at);
            let is_disturbed =
                self.ledger.faults.iter().enumerate().any(|(n, other)| {
                    n != place && other.from <= end && other.to.plus_ms(GRACE_MS) >= kill.from
                });
            let took_ms = first.map(|first| first.submission.at.ms_since(kill.from));
            if took_ms.is_none_or(|took| took > TAKEOVER_MS) && !is_disturbed {
                let (connection, at_ms) = (owned.connection, ms(kill.from));
                self.violations.push(Violation::TakenLate { node, connection, at_ms, took_ms });
            }
            if let (Some(first), Some(took_ms)) = (first, took_ms) {
                self.figures.takeovers.push(Takeover {
                    at: kill.from,
                    connection: owned.connection,
                    nodes: (node, first.node),
                    took_ms,
                    is_disturbed,
                });
            }
        }
    }

    fn exits(&mut self) {
        for exit in &self.ledger.exits {
            *self.figures.exits.entry(exit.code).or_default() += 1;
            let touched = self
                .ledger
                .faults
                .iter()
                .any(|fault| fault.from <= exit.at && fault.to.plus_ms(EXIT_AFTER_MS) >= exit.at);
            // A start that does not find its database says so and ends with 1.
            let may = ENDS.contains(&exit.code) || exit.code == 1;
            if !touched || !may {
                let Exit { node, at, code } = *exit;
                self.violations.push(Violation::Ended { node, at_ms: ms(at), code });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::customers::OptOut;
    use super::*;
    use crate::ledger::Request;

    const WINDOW: u32 = 10;

    /// Four messages, one of each purpose, that went well on the session 0 of node 0; and node 0 is killed at 60 s, and
    /// node 1 bound again as session 1 at 70 s.
    fn good() -> Ledger {
        let at = Moment::at_ms;
        let mut ledger = Ledger {
            shown_at: at(300_000),
            faults: vec![Fault { kind: Kind::Kill, node: Some(0), from: at(60_000), to: at(61_000) }],
            carriers: vec![Carrier {
                binds: vec![
                    (0, Bind { session: 0, door: 1, at: at(500) }),
                    (1, Bind { session: 1, door: 2, at: at(70_000) }),
                ],
                most_open: WINDOW,
                ..Carrier::default()
            }],
            ..Ledger::default()
        };
        for (n, purpose) in Purpose::ALL.into_iter().enumerate() {
            let request = Request {
                key: format!("key-{n}"),
                recipient: format!("+4670000000{n}"),
                purpose,
                text: format!("text {n}"),
                accepted: vec![(format!("msg_{n}"), at(1_000))],
                unanswered: 0,
                poison: None,
            };
            ledger.sent.push(Sent { request, refused: false, life_s: None, opt_out: None });
            submit(&mut ledger, n, 0, 2_000);
            ledger.carriers[0].submissions[n].answered_at = Some(at(2_010));
            end(&mut ledger, n, "delivered");
        }
        ledger
    }

    fn submit(ledger: &mut Ledger, n: usize, session: u32, at_ms: u64) {
        let carrier = &mut ledger.carriers[0];
        let submission = carrier.submissions.len();
        carrier.submissions.push(Submission {
            at: Moment::at_ms(at_ms),
            session,
            source: "Tidings".to_owned(),
            recipient: format!("+4670000000{n}"),
            text: format!("text {n}"),
            part: None,
            reference: Some(7),
            carrier_id: format!("w{submission}"),
            receipt_wanted: true,
            validity_s: None,
            answered_at: None,
        });
        carrier.receipts.push(Receipt {
            carrier_id: format!("w{submission}"),
            recipient: format!("+4670000000{n}"),
            submission,
            echoed: false,
            offers: 1,
            refusals: 0,
            first_offered_at: Some(Moment::at_ms(at_ms + 500)),
            acknowledged_at: Some(Moment::at_ms(at_ms + 501)),
        });
    }

    fn end(ledger: &mut Ledger, n: usize, status: &str) {
        let id = format!("msg_{n}");
        ledger.shown.retain(|(shown, _)| shown.id != id);
        ledger.webhooks.retain(|webhook| webhook.message != id);
        let recipient = format!("+4670000000{n}");
        let shown = Shown { id: id.clone(), recipient, status: status.to_owned(), error: None };
        ledger.shown.push((shown, Moment::at_ms(250_000)));
        ledger.webhooks.push(Webhook {
            id: format!("evt_{n}"),
            kind: format!("message.{status}"),
            message: id,
            status: status.to_owned(),
            at: Moment::at_ms(3_000),
        });
    }

    /// Submitted just before the kill at 60 s, without an answer.
    fn doubtful(ledger: &mut Ledger, n: usize) {
        ledger.carriers[0].submissions[n].at = Moment::at_ms(59_990);
        ledger.carriers[0].submissions[n].answered_at = None;
    }

    /// The only fault that it finds after `change`.
    fn fault(change: impl FnOnce(&mut Ledger)) -> Violation {
        let mut ledger = good();
        change(&mut ledger);
        let (_, mut found) = judge(&ledger, WINDOW);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn faultless(change: impl FnOnce(&mut Ledger)) -> Figures {
        let mut ledger = good();
        change(&mut ledger);
        let (figures, found) = judge(&ledger, WINDOW);
        assert_eq!(found, [], "{figures:?}");
        figures
    }

    const AUTHENTICATION: usize = 0;
    const ALERT: usize = 1;
    const TRANSACTIONAL: usize = 2;
    const MARKETING: usize = 3;

    #[test]
    fn a_good_run_is_praised() {
        let figures = faultless(|_| {});
        assert_eq!(
            (figures.acknowledged, figures.webhooks, figures.receipts, figures.submissions),
            (4, 4, 4, 4)
        );
    }

    #[test]
    fn what_was_acknowledged_and_is_gone_is_seen() {
        let found = fault(|ledger| ledger.shown.retain(|(shown, _)| shown.id != "msg_2"));
        assert!(matches!(found, Violation::Lost { id, .. } if id == "msg_2"));
        let found = fault(|ledger| {
            end(ledger, ALERT, "queued");
            doubtful(ledger, ALERT);
            // Nothing happened to the node, so nobody had to take its connection over.
            ledger.faults.clear();
        });
        assert!(matches!(found, Violation::NotFinal { .. }), "{found}");
        let found = fault(|ledger| {
            ledger.sent[0].request.accepted.clear();
            ledger.shown.retain(|(shown, _)| shown.id != "msg_0");
        });
        assert!(matches!(found, Violation::NeverAnswered { .. }), "{found}");
        let found = fault(|ledger| {
            let (other, _) = ledger.shown[0].clone();
            ledger.shown.push((Shown { id: "msg_9".to_owned(), ..other }, Moment::at_ms(250_000)));
        });
        assert!(matches!(found, Violation::Stray { id, .. } if id == "msg_9"));
    }

    #[test]
    fn two_answers_to_one_key_are_seen() {
        let found =
            fault(|ledger| ledger.sent[0].request.accepted.push(("msg_1".to_owned(), Moment::at_ms(1_001))));
        assert!(matches!(found, Violation::TwoAnswers { .. }), "{found}");
        assert!(matches!(fault(|ledger| ledger.sent[0].refused = true), Violation::TwoAnswers { .. }));
    }

    #[test]
    fn a_second_submission_of_marketing_or_of_a_transactional_message_is_seen_also_after_a_takeover() {
        for n in [TRANSACTIONAL, MARKETING] {
            let found = fault(|ledger| {
                doubtful(ledger, n);
                submit(ledger, n, 1, 71_000);
            });
            assert!(matches!(found, Violation::TooOften { .. }), "{found}");
        }
    }

    #[test]
    fn a_code_or_an_alert_may_be_sent_again_only_after_a_fault_of_the_node_that_sent_it() {
        for n in [AUTHENTICATION, ALERT] {
            let figures = faultless(|ledger| {
                doubtful(ledger, n);
                submit(ledger, n, 1, 71_000);
            });
            assert_eq!(figures.duplicates.values().sum::<usize>(), 1);
            let found = fault(|ledger| submit(ledger, n, 1, 71_000));
            assert!(matches!(found, Violation::NoReason { .. }), "it was answered long before: {found}");
            let found = fault(|ledger| {
                doubtful(ledger, n);
                submit(ledger, n, 1, 71_000);
                ledger.faults[0].node = Some(2);
            });
            assert!(matches!(found, Violation::NoReason { .. }), "another node was killed: {found}");
            faultless(|ledger| {
                doubtful(ledger, n);
                submit(ledger, n, 1, 71_000);
                ledger.faults[0] = Fault { kind: Kind::Failover, node: None, ..ledger.faults[0] };
            });
        }
    }

    #[test]
    fn a_node_that_submits_after_it_was_replaced_is_seen() {
        let found = fault(|ledger| {
            doubtful(ledger, ALERT);
            submit(ledger, ALERT, 1, 71_000);
            ledger.carriers[0].submissions[MARKETING].at = Moment::at_ms(71_001);
            ledger.carriers[0].submissions[MARKETING].answered_at = Some(Moment::at_ms(71_002));
        });
        assert!(matches!(found, Violation::TwoOwners { node: 0, after: 1, .. }), "{found}");
    }

    #[test]
    fn a_takeover_is_measured_and_a_late_one_is_seen() {
        let taken = |at_ms: u64| {
            move |ledger: &mut Ledger| {
                doubtful(ledger, ALERT);
                submit(ledger, ALERT, 1, at_ms);
            }
        };
        let figures = faultless(taken(71_000));
        assert_eq!(figures.takeovers.len(), 1);
        assert_eq!((figures.takeovers[0].took_ms, figures.takeovers[0].nodes), (11_000, (0, 1)));
        assert!(matches!(fault(taken(90_001)), Violation::TakenLate { took_ms: Some(30_001), .. }));
        let found = fault(|ledger| {
            doubtful(ledger, MARKETING);
            end(ledger, MARKETING, "unconfirmed");
            ledger.carriers[0].binds.pop();
        });
        // Nobody submitted any more; and nobody needed to be asked whether there was something to submit.
        assert!(matches!(found, Violation::TakenLate { took_ms: None, .. }), "{found}");
    }

    #[test]
    fn doubt_is_shown_as_unconfirmed_and_only_doubt() {
        for n in [TRANSACTIONAL, MARKETING] {
            let settled = |ledger: &mut Ledger| {
                // Somebody took over, with another message.
                doubtful(ledger, AUTHENTICATION);
                submit(ledger, AUTHENTICATION, 1, 71_000);
            };
            let figures = faultless(|ledger| {
                settled(ledger);
                doubtful(ledger, n);
                end(ledger, n, "unconfirmed");
            });
            assert_eq!((figures.unconfirmed.values().sum::<usize>(), figures.unconfirmed_but_taken), (1, 1));
            let mut ledger = good();
            end(&mut ledger, n, "unconfirmed");
            let (_, found) = judge(&ledger, WINDOW);
            assert!(found.iter().any(|found| matches!(found, Violation::WrongEnd { .. })), "{found:?}");
        }
    }

    #[test]
    fn a_submission_after_the_end_or_after_an_opt_out_is_seen() {
        let found = fault(|ledger| ledger.shown[0].1 = Moment::at_ms(900));
        assert!(matches!(found, Violation::Late { late_ms: 1_100, .. }), "{found}");
        let opt_out = |fence: u64| {
            move |ledger: &mut Ledger| {
                let fence = Some(Moment::at_ms(fence));
                ledger.sent[0].opt_out = Some(OptOut { asked: Moment::at_ms(1_500), fence });
            }
        };
        assert!(matches!(fault(opt_out(1_999)), Violation::AfterOptOut { late_ms: 1, .. }));
        assert_eq!(faultless(opt_out(2_000)).opt_outs, (1, 1));
    }

    #[test]
    fn receipts_and_webhooks_that_came_to_nothing_are_seen() {
        let found = fault(|ledger| ledger.carriers[0].receipts[0].acknowledged_at = None);
        assert!(matches!(found, Violation::ReceiptRefused { .. }), "{found}");
        let found = fault(|ledger| ledger.webhooks.retain(|webhook| webhook.message != "msg_1"));
        assert!(matches!(found, Violation::WebhookMissing { .. }), "{found}");
        let mut ledger = good();
        end(&mut ledger, ALERT, "unconfirmed");
        let (_, found) = judge(&ledger, WINDOW);
        assert!(found.iter().any(|found| matches!(found, Violation::ReceiptLost { .. })), "{found:?}");
    }

    #[test]
    fn a_process_that_ends_without_a_reason_is_seen() {
        let exit = |at_ms: u64, code: i32| {
            move |ledger: &mut Ledger| ledger.exits.push(Exit { node: 1, at: Moment::at_ms(at_ms), code })
        };
        assert_eq!(faultless(exit(75_000, 75)).exits, BTreeMap::from([(75, 1)]));
        assert!(matches!(fault(exit(75_000, 101)), Violation::Ended { code: 101, .. }), "a panic");
        assert!(matches!(fault(exit(5_000, 75)), Violation::Ended { .. }), "nothing had happened yet");
    }
}

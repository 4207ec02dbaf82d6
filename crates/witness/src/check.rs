//! The comparison: what was promised against what was seen. A pure function, so that the tests below can show it a
//! ledger with each fault in it.
//!
//! It judges by what an outsider can know. What it cannot know, whether an answer that was written just before a kill
//! had been committed, it allows for [`Limits::answered_grace_ms`] and no longer.

use crate::clock::Moment;
use crate::ledger::{Ledger, Purpose, Receipt, Request, Shown, Submission};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// What the run was set up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Unanswered submissions that one session may have.
    pub window: u32,
    /// Sessions at the same time.
    pub sessions: u32,
    /// How long after the last kill a transactional message may still be held in `sending` for a receipt:
    /// milliseconds. The documents say 120 seconds; the rest is for the restart.
    pub held_ms: u64,
    /// An answer or a receipt that passed less than so long before a kill may be unknown to the killed process.
    pub answered_grace_ms: u64,
    /// Whether each final status must have been told to the webhook receiver.
    pub webhooks: bool,
}

impl Limits {
    /// What all sessions together may have unanswered.
    pub const fn windows(&self) -> usize {
        self.window as usize * self.sessions as usize
    }
}

/// A promise that was broken, with what an engineer needs to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields say the same in each variant: which message, what was seen, what was allowed"
)]
pub enum Violation {
    /// P-01: a message was acknowledged, and the API does not show it.
    Lost { id: String, recipient: String },
    /// P-05: one key got several messages.
    TwoMessages { key: String, ids: Vec<String> },
    /// P-05: the API shows a message that no answer told of, or another one for a recipient that has one.
    Stray { id: String, recipient: String },
    /// A request never got its answer, though it was repeated to the end.
    NeverAnswered { key: String },
    /// P-06: a message has not ended.
    NotFinal { id: String, status: String, error: Option<String>, submissions: usize },
    /// P-06: a message ended in a way that nothing that was done to it explains.
    WrongEnd { id: String, purpose: Purpose, status: String, error: Option<String> },
    /// It is said to be sent or delivered, and the carrier never saw it.
    NeverSubmitted { id: String, status: String },
    /// P-07 and the purposes' rules: a segment was submitted more often than its purpose allows.
    TooOften { id: String, purpose: Purpose, submissions: usize, at_ms: Vec<u64> },
    /// A segment was submitted again though no kill explains it: its answer had come, or nobody was killed.
    NoReason { id: String, purpose: Purpose, at_ms: Vec<u64> },
    /// P-08: more messages were submitted again or left unconfirmed than the windows of all kills hold.
    TooManyInDoubt { kill: Option<usize>, count: usize, most: usize },
    /// A session had more unanswered submissions than its window.
    WindowExceeded { seen: u32, window: u32 },
    /// The carrier was given a text or a recipient that nobody asked for.
    WrongContent { recipient: String, text: String },
    /// P-18: a receipt was acknowledged and nothing came of it.
    ReceiptLost { id: String, status: String, receipt: Box<(Receipt, Submission)> },
    /// A receipt was never acknowledged.
    ReceiptRefused { carrier_id: String, offers: u32, refusals: u32 },
    /// P-23: a final status was never told.
    WebhookMissing { id: String, status: String },
    /// A message is shown as unconfirmed though no kill can have left it in doubt.
    DoubtWithoutReason { id: String, purpose: Purpose },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Ends by force.
    pub kills: usize,
    /// Messages that got a 202.
    pub acknowledged: usize,
    /// Requests that got no answer at least once and were repeated.
    pub repeated: usize,
    /// Acknowledged and not shown.
    pub lost: usize,
    /// Submissions that the carrier read.
    pub submissions: usize,
    /// Segments beyond the first submission of each, by purpose.
    pub duplicates: BTreeMap<Purpose, usize>,
    /// Messages in `unconfirmed`, by purpose.
    pub unconfirmed: BTreeMap<Purpose, usize>,
    /// Messages of which the carrier has a submission and that are `unconfirmed`.
    pub unconfirmed_but_taken: usize,
    /// Transactional messages still held for a receipt, within their time.
    pub held: usize,
    /// Messages by their status at the end.
    pub statuses: BTreeMap<String, usize>,
    /// The most messages that one kill left in doubt, as the API showed them.
    pub most_in_doubt: u32,
    /// Receipts that were acknowledged.
    pub receipts: usize,
    /// Receipts that were offered more than once.
    pub receipts_again: usize,
    /// Webhooks that came, repeats not counted.
    pub webhooks: usize,
    /// Webhooks that came again.
    pub webhooks_again: usize,
}

/// Compares.
pub fn check(ledger: &Ledger, limits: &Limits) -> (Figures, Vec<Violation>) {
    let mut check = Check { ledger, limits, figures: Figures::default(), violations: Vec::new() };
    check.all();
    (check.figures, check.violations)
}

struct Check<'l> {
    ledger: &'l Ledger,
    limits: &'l Limits,
    figures: Figures,
    violations: Vec<Violation>,
}

impl<'l> Check<'l> {
    fn all(&mut self) {
        let ledger = self.ledger;
        self.figures.kills = ledger.kills.len();
        self.figures.submissions = ledger.submissions.len();
        let shown: HashMap<&str, &Shown> =
            ledger.shown.iter().map(|shown| (shown.id.as_str(), shown)).collect();
        let mut submitted: HashMap<&str, Vec<&Submission>> = HashMap::new();
        for submission in &ledger.submissions {
            submitted.entry(&submission.recipient).or_default().push(submission);
        }
        let mut receipts: HashMap<&str, Vec<&Receipt>> = HashMap::new();
        for receipt in &ledger.receipts {
            receipts.entry(&receipt.recipient).or_default().push(receipt);
        }
        let told = self.webhooks();
        self.strays();
        self.content();
        for request in &ledger.requests {
            let Some((id, _)) = request.accepted.first() else {
                self.violations.push(Violation::NeverAnswered { key: request.key.clone() });
                continue;
            };
            self.figures.acknowledged += 1;
            self.figures.repeated += usize::from(request.unanswered > 0);
            let ids: HashSet<&str> = request.accepted.iter().map(|(id, _)| id.as_str()).collect();
            if ids.len() > 1 {
                let mut ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
                ids.sort_unstable();
                self.violations.push(Violation::TwoMessages { key: request.key.clone(), ids });
            }
            let Some(shown) = shown.get(id.as_str()) else {
                self.figures.lost += 1;
                self.violations
                    .push(Violation::Lost { id: id.clone(), recipient: request.recipient.clone() });
                continue;
            };
            *self.figures.statuses.entry(shown.status.clone()).or_default() += 1;
            let submitted = submitted.get(request.recipient.as_str()).map_or(&[][..], Vec::as_slice);
            self.submissions(request, id, submitted);
            self.end(request, shown, submitted);
            let receipts = receipts.get(request.recipient.as_str()).map_or(&[][..], Vec::as_slice);
            self.receipts(shown, receipts);
            if self.limits.webhooks
                && shown.is_final()
                && !told.contains(&(shown.id.as_str(), shown.status.as_str()))
            {
                self.violations
                    .push(Violation::WebhookMissing { id: id.clone(), status: shown.status.clone() });
            }
        }
        self.doubt();
    }

    /// Which final statuses were told.
    fn webhooks(&mut self) -> HashSet<(&'l str, &'l str)> {
        let mut ids = HashSet::new();
        let mut told = HashSet::new();
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

    fn strays(&mut self) {
        let ours: HashSet<&str> =
            self.ledger.requests.iter().flat_map(|r| &r.accepted).map(|(id, _)| id.as_str()).collect();
        for shown in self.ledger.shown.iter().filter(|shown| !ours.contains(shown.id.as_str())) {
            self.violations
                .push(Violation::Stray { id: shown.id.clone(), recipient: shown.recipient.clone() });
        }
    }

    fn content(&mut self) {
        let asked: HashMap<&str, &str> =
            self.ledger.requests.iter().map(|r| (r.recipient.as_str(), r.text.as_str())).collect();
        for submission in &self.ledger.submissions {
            let text = asked.get(submission.recipient.as_str());
            let right = text.is_some_and(|text| match submission.part {
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

    fn submissions(&mut self, request: &Request, id: &str, submitted: &[&Submission]) {
        let mut parts: BTreeMap<Option<(u8, u8)>, Vec<&Submission>> = BTreeMap::new();
        for submission in submitted {
            parts.entry(submission.part).or_default().push(submission);
        }
        let purpose = request.purpose;
        for mut of_part in parts.into_values().filter(|of_part| of_part.len() > 1) {
            of_part.sort_by_key(|submission| submission.at);
            let at_ms = || of_part.iter().map(|submission| submission.at.0 / 1_000_000).collect();
            *self.figures.duplicates.entry(purpose).or_default() += of_part.len() - 1;
            if of_part.len() > purpose.submissions_max() {
                let submissions = of_part.len();
                self.violations.push(Violation::TooOften {
                    id: id.to_owned(),
                    purpose,
                    submissions,
                    at_ms: at_ms(),
                });
            } else if of_part.windows(2).any(|pair| !self.is_doubtful(pair[0], Some(pair[1].at))) {
                self.violations.push(Violation::NoReason { id: id.to_owned(), purpose, at_ms: at_ms() });
            }
        }
    }

    /// Whether a kill before `until` can have left it open whether the carrier took this submission.
    fn is_doubtful(&self, submission: &Submission, until: Option<Moment>) -> bool {
        self.ledger.kills.iter().any(|kill| {
            // What the killed process had written is read shortly after its end.
            let written_before = submission.at <= kill.at.plus_ms(self.limits.answered_grace_ms);
            let unknown =
                submission.answered_at.is_none_or(|at| at.plus_ms(self.limits.answered_grace_ms) >= kill.at);
            written_before && unknown && until.is_none_or(|until| kill.at <= until)
        })
    }

    fn end(&mut self, request: &Request, shown: &Shown, submitted: &[&Submission]) {
        let (id, status, purpose) = (shown.id.clone(), shown.status.clone(), request.purpose);
        match status.as_str() {
            "delivered" | "sent" if submitted.is_empty() => {
                self.violations.push(Violation::NeverSubmitted { id, status });
            }
            "delivered" => {}
            "unconfirmed" => {
                *self.figures.unconfirmed.entry(purpose).or_default() += 1;
                self.figures.unconfirmed_but_taken += usize::from(!submitted.is_empty());
                let may = !self.ledger.kills.is_empty()
                    && match purpose {
                        Purpose::Transactional | Purpose::Marketing => {
                            submitted.is_empty()
                                || submitted.iter().any(|submission| self.is_doubtful(submission, None))
                        }
                        // Sent again once; the second try was in doubt too.
                        Purpose::Authentication => true,
                        Purpose::Alert => false,
                    };
                if !may {
                    self.violations.push(Violation::DoubtWithoutReason { id, purpose });
                }
            }
            "sending" if purpose == Purpose::Transactional && self.is_held() => self.figures.held += 1,
            _ if !shown.is_final() => {
                let submissions = submitted.len();
                self.violations.push(Violation::NotFinal {
                    id,
                    status,
                    error: shown.error.clone(),
                    submissions,
                });
            }
            _ => {
                self.violations.push(Violation::WrongEnd { id, purpose, status, error: shown.error.clone() })
            }
        }
    }

    fn is_held(&self) -> bool {
        let last = self.ledger.kills.iter().map(|kill| kill.at).max();
        last.is_some_and(|last| self.ledger.shown_at <= last.plus_ms(self.limits.held_ms))
    }

    fn receipts(&mut self, shown: &Shown, receipts: &[&Receipt]) {
        let (mut parts, mut settled) = (1, BTreeMap::new());
        for receipt in receipts {
            self.figures.receipts_again += usize::from(receipt.offers > 1);
            if receipt.acknowledged_at.is_none() {
                self.violations.push(Violation::ReceiptRefused {
                    carrier_id: receipt.carrier_id.clone(),
                    offers: receipt.offers,
                    refusals: receipt.refusals,
                });
                continue;
            }
            self.figures.receipts += 1;
            // It can be matched by the id, if the answer that told it was committed, or by our reference.
            let submission = &self.ledger.submissions[receipt.submission];
            let id_known = submission.answered_at.is_some() && !self.is_doubtful(submission, None);
            if receipt.echoed || id_known {
                let (total, number) = submission.part.unwrap_or((1, 1));
                parts = total;
                settled.insert(number, (receipt, submission));
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
                receipt: Box::new(((**receipt).clone(), (*submission).clone())),
            });
        }
    }

    fn doubt(&mut self) {
        let (limits, kills) = (self.limits, &self.ledger.kills);
        for (place, kill) in kills.iter().enumerate() {
            let Some(count) = kill.in_doubt else { continue };
            self.figures.most_in_doubt = self.figures.most_in_doubt.max(count);
            if count as usize > limits.windows() {
                self.violations.push(Violation::TooManyInDoubt {
                    kill: Some(place),
                    count: count as usize,
                    most: limits.windows(),
                });
            }
        }
        let duplicates: usize = self.figures.duplicates.values().sum();
        let unconfirmed: usize = self.figures.unconfirmed.values().sum();
        let (count, most) = (duplicates + unconfirmed + self.figures.held, limits.windows() * kills.len());
        if count > most {
            self.violations.push(Violation::TooManyInDoubt { kill: None, count, most });
        }
        if self.ledger.most_open > limits.window {
            self.violations
                .push(Violation::WindowExceeded { seen: self.ledger.most_open, window: limits.window });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Kill, Webhook};

    const LIMITS: Limits =
        Limits { window: 10, sessions: 2, held_ms: 125_000, answered_grace_ms: 2_000, webhooks: true };

    /// Four messages, one of each purpose, that went well: accepted at 1 s, submitted at 2 s, answered, receipted,
    /// told. A kill at 60 s.
    fn good() -> Ledger {
        let mut ledger = Ledger {
            kills: vec![Kill { at: Moment::at_ms(60_000), in_doubt: Some(0) }],
            shown_at: Moment::at_ms(100_000),
            most_open: 10,
            ..Ledger::default()
        };
        for (n, purpose) in Purpose::ALL.into_iter().enumerate() {
            ledger.requests.push(Request {
                key: format!("key-{n}"),
                recipient: format!("+4670000000{n}"),
                purpose,
                text: format!("text {n}"),
                accepted: vec![(format!("msg_{n}"), Moment::at_ms(1_000))],
                unanswered: 0,
                poison: None,
            });
            submit(&mut ledger, n, 2_000);
            ledger.submissions[n].answered_at = Some(Moment::at_ms(2_010));
            end(&mut ledger, n, "delivered");
        }
        ledger
    }

    fn submit(ledger: &mut Ledger, n: usize, at_ms: u64) {
        let submission = ledger.submissions.len();
        ledger.submissions.push(Submission {
            at: Moment::at_ms(at_ms),
            session: 0,
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
        ledger.receipts.push(Receipt {
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
        ledger.shown.retain(|shown| shown.id != id);
        ledger.webhooks.retain(|webhook| webhook.message != id);
        ledger.shown.push(Shown {
            id: id.clone(),
            recipient: format!("+4670000000{n}"),
            status: status.to_owned(),
            error: None,
        });
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
        ledger.submissions[n].at = Moment::at_ms(59_990);
        ledger.submissions[n].answered_at = None;
    }

    /// The only fault that it finds after `change`.
    fn fault(change: impl FnOnce(&mut Ledger)) -> Violation {
        let mut ledger = good();
        change(&mut ledger);
        let (_, mut found) = check(&ledger, &LIMITS);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn faultless(change: impl FnOnce(&mut Ledger)) -> Figures {
        let mut ledger = good();
        change(&mut ledger);
        let (figures, found) = check(&ledger, &LIMITS);
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
        assert_eq!((figures.acknowledged, figures.lost, figures.webhooks, figures.receipts), (4, 0, 4, 4));
    }

    #[test]
    fn a_lost_message_is_seen() {
        let found = fault(|ledger| ledger.shown.retain(|shown| shown.id != "msg_2"));
        assert!(matches!(found, Violation::Lost { id, .. } if id == "msg_2"));
    }

    #[test]
    fn a_message_that_never_ends_is_seen() {
        for status in ["queued", "scheduled", "sending", "sent"] {
            let found = fault(|ledger| {
                end(ledger, ALERT, status);
                doubtful(ledger, ALERT);
            });
            assert!(matches!(found, Violation::NotFinal { .. }), "{found}");
        }
    }

    #[test]
    fn an_end_that_nothing_explains_is_seen() {
        for status in ["failed", "rejected", "expired", "canceled", "undelivered"] {
            let found = fault(|ledger| {
                end(ledger, ALERT, status);
                doubtful(ledger, ALERT);
            });
            assert!(matches!(found, Violation::WrongEnd { .. }), "{found}");
        }
    }

    #[test]
    fn a_second_submission_of_marketing_is_seen_also_after_a_kill() {
        let found = fault(|ledger| {
            doubtful(ledger, MARKETING);
            submit(ledger, MARKETING, 61_000);
        });
        assert!(
            matches!(found, Violation::TooOften { purpose: Purpose::Marketing, submissions: 2, .. }),
            "{found}"
        );
    }

    #[test]
    fn a_second_submission_of_a_transactional_message_is_seen_also_after_a_kill() {
        let found = fault(|ledger| {
            doubtful(ledger, TRANSACTIONAL);
            submit(ledger, TRANSACTIONAL, 61_000);
        });
        assert!(matches!(found, Violation::TooOften { purpose: Purpose::Transactional, .. }), "{found}");
    }

    #[test]
    fn a_code_may_be_sent_twice_after_a_kill_but_not_three_times() {
        let again = |ledger: &mut Ledger| {
            doubtful(ledger, AUTHENTICATION);
            submit(ledger, AUTHENTICATION, 66_000);
        };
        assert_eq!(faultless(again).duplicates, BTreeMap::from([(Purpose::Authentication, 1)]));
        let found = fault(|ledger| {
            again(ledger);
            submit(ledger, AUTHENTICATION, 67_000);
        });
        assert!(matches!(found, Violation::TooOften { submissions: 3, .. }), "{found}");
    }

    #[test]
    fn an_alert_may_be_sent_again_only_for_a_reason() {
        let found = fault(|ledger| submit(ledger, ALERT, 50_000));
        assert!(matches!(found, Violation::NoReason { .. }), "there was no kill between: {found}");
        let found = fault(|ledger| submit(ledger, ALERT, 66_000));
        assert!(matches!(found, Violation::NoReason { .. }), "it was answered long before the kill: {found}");
        faultless(|ledger| {
            doubtful(ledger, ALERT);
            submit(ledger, ALERT, 66_000);
        });
    }

    #[test]
    fn more_doubt_than_the_windows_hold_is_seen() {
        let found = fault(|ledger| ledger.kills[0].in_doubt = Some(21));
        assert!(matches!(found, Violation::TooManyInDoubt { kill: Some(0), count: 21, most: 20 }), "{found}");
        let mut ledger = good();
        doubtful(&mut ledger, ALERT);
        for n in 0..21 {
            submit(&mut ledger, ALERT, 59_991 + n);
        }
        let (_, found) = check(&ledger, &LIMITS);
        assert!(
            found.iter().any(|found| matches!(found, Violation::TooManyInDoubt { kill: None, .. })),
            "{found:?}"
        );
    }

    #[test]
    fn a_window_that_was_not_kept_is_seen() {
        assert!(matches!(
            fault(|ledger| ledger.most_open = 11),
            Violation::WindowExceeded { seen: 11, window: 10 }
        ));
    }

    #[test]
    fn doubt_is_shown_as_unconfirmed_and_only_doubt() {
        for n in [TRANSACTIONAL, MARKETING] {
            let figures = faultless(|ledger| {
                doubtful(ledger, n);
                end(ledger, n, "unconfirmed");
            });
            assert_eq!((figures.unconfirmed.values().sum::<usize>(), figures.unconfirmed_but_taken), (1, 1));
            let found = fault(|ledger| {
                end(ledger, n, "unconfirmed");
                ledger.receipts.remove(n);
            });
            assert!(matches!(found, Violation::DoubtWithoutReason { .. }), "{found}");
        }
        let found = fault(|ledger| {
            doubtful(ledger, ALERT);
            end(ledger, ALERT, "unconfirmed");
        });
        assert!(
            matches!(found, Violation::DoubtWithoutReason { .. }),
            "an alert is sent until it is answered: {found}"
        );
    }

    #[test]
    fn a_transactional_message_may_be_held_for_two_minutes_and_no_longer() {
        let held = |ledger: &mut Ledger| {
            doubtful(ledger, TRANSACTIONAL);
            end(ledger, TRANSACTIONAL, "sending");
        };
        assert_eq!(faultless(held).held, 1);
        let found = fault(|ledger| {
            held(ledger);
            ledger.shown_at = Moment::at_ms(60_000 + 125_001);
        });
        assert!(matches!(found, Violation::NotFinal { .. }), "{found}");
    }

    #[test]
    fn a_receipt_that_was_acknowledged_and_forgotten_is_seen() {
        let found = fault(|ledger| {
            doubtful(ledger, MARKETING);
            end(ledger, MARKETING, "unconfirmed");
            ledger.receipts[MARKETING].echoed = true;
        });
        assert!(matches!(found, Violation::ReceiptLost { .. }), "our reference came back: {found}");
        let mut ledger = good();
        end(&mut ledger, ALERT, "sent");
        let (_, found) = check(&ledger, &LIMITS);
        assert!(found.iter().any(|found| matches!(found, Violation::ReceiptLost { .. })), "{found:?}");
    }

    #[test]
    fn a_receipt_for_one_of_two_parts_settles_nothing() {
        let half = |ledger: &mut Ledger| {
            doubtful(ledger, MARKETING);
            end(ledger, MARKETING, "unconfirmed");
            ledger.submissions[MARKETING].part = Some((2, 1));
            ledger.receipts[MARKETING].echoed = true;
        };
        faultless(half);
        let found = fault(|ledger| {
            half(ledger);
            submit(ledger, MARKETING, 59_991);
            ledger.submissions[4].part = Some((2, 2));
            ledger.receipts[4].echoed = true;
        });
        assert!(matches!(found, Violation::ReceiptLost { .. }), "{found}");
    }

    #[test]
    fn a_receipt_that_is_never_acknowledged_is_seen() {
        let found = fault(|ledger| ledger.receipts[0].acknowledged_at = None);
        assert!(matches!(found, Violation::ReceiptRefused { .. }), "{found}");
    }

    #[test]
    fn a_missing_webhook_is_seen() {
        let found = fault(|ledger| ledger.webhooks.retain(|webhook| webhook.message != "msg_1"));
        assert!(matches!(found, Violation::WebhookMissing { id, .. } if id == "msg_1"));
        let found = fault(|ledger| ledger.webhooks[1].status = "sent".to_owned());
        assert!(
            matches!(found, Violation::WebhookMissing { .. }),
            "an earlier status is not the final one: {found}"
        );
    }

    #[test]
    fn webhooks_that_come_twice_are_counted_once() {
        let figures = faultless(|ledger| {
            let again = ledger.webhooks[0].clone();
            ledger.webhooks.push(again);
        });
        assert_eq!((figures.webhooks, figures.webhooks_again), (4, 1));
    }

    #[test]
    fn two_messages_for_one_key_are_seen() {
        let found = fault(|ledger| {
            ledger.requests[0].accepted.push(("msg_1".to_owned(), Moment::at_ms(1_001)));
        });
        assert!(matches!(found, Violation::TwoMessages { .. }), "{found}");
        let found = fault(|ledger| {
            let twin = Shown { id: "msg_9".to_owned(), ..ledger.shown[0].clone() };
            ledger.shown.push(twin);
        });
        assert!(matches!(found, Violation::Stray { id, .. } if id == "msg_9"));
    }

    #[test]
    fn a_request_without_answer_is_seen() {
        let found = fault(|ledger| {
            ledger.requests.push(Request { accepted: Vec::new(), ..ledger.requests[0].clone() });
        });
        assert!(matches!(found, Violation::NeverAnswered { .. }), "{found}");
    }

    #[test]
    fn a_message_that_is_said_to_be_delivered_and_was_never_sent_is_seen() {
        let found = fault(|ledger| {
            ledger.submissions.pop();
            ledger.receipts.pop();
        });
        assert!(matches!(found, Violation::NeverSubmitted { .. }), "{found}");
    }

    #[test]
    fn a_wrong_text_is_seen() {
        let found = fault(|ledger| ledger.submissions[0].text = "text 1".to_owned());
        assert!(matches!(found, Violation::WrongContent { .. }), "{found}");
    }
}

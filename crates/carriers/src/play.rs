//! The script and the faults, played for one submission after the other: what [`crate::simulator`] and
//! [`crate::smsc`] have in common. Still without clock and IO; it only remembers.

use std::collections::HashMap;

use tidings_domain::text::Part;
use tidings_smpp::receipt_text::ReceiptState;

use crate::faults::{Draw, Faults, Judge};
use crate::script::{self, Answer, Heard, LinkTrouble, Reply};

/// Recipients whose submissions are counted. There are few magic numbers that count; beyond this somebody is
/// inventing them, and counting begins anew.
const COUNTED_MAX: usize = 10_000;
/// Between a receipt and its duplicate: milliseconds.
const DUPLICATE_AFTER_MS: u32 = 100;

/// What becomes of a submission, with everything drawn and written out.
#[derive(Debug)]
pub(crate) struct Fate {
    pub answer: Answer,
    pub answer_after_ms: u32,
    /// The id in the answer.
    pub id: String,
    pub receipts: Vec<Reported>,
    pub reply: Option<Reply>,
    /// When the person has it, from which on the reply counts.
    pub reply_after_ms: u32,
    pub link: LinkTrouble,
    /// For the reference of a long reply.
    pub number: u64,
}

#[derive(Debug)]
pub(crate) struct Reported {
    pub after_ms: u32,
    pub id: String,
    pub state: ReceiptState,
    pub err: u32,
    /// Whether our reference goes with it: it speaks of the message that had it.
    pub ours: bool,
    pub swapped: bool,
}

#[derive(Debug)]
pub(crate) struct Play {
    seed: u64,
    submissions: u64,
    judge: Judge,
    counted: HashMap<u64, u32>,
}

impl Play {
    pub fn new(seed: u64, faults: Faults, now_ms: u64) -> Self {
        Self { seed, submissions: 0, judge: Judge::new(faults, now_ms), counted: HashMap::new() }
    }

    pub fn change(&mut self, faults: Faults, now_ms: u64) {
        self.judge.change(faults, now_ms);
    }

    /// Whether the carrier is away, and when that changes.
    pub fn outage(&self, now_ms: u64) -> (bool, Option<u64>) {
        self.judge.outage(now_ms)
    }

    pub fn submit(&mut self, recipient: u64, part: Option<Part>, now_ms: u64) -> Fate {
        self.submissions += 1;
        let draw = Draw::of(self.seed, self.submissions);
        let number = self.number();
        let verdict = self.judge.judge(now_ms, draw);
        if verdict.disconnect {
            return Fate { link: LinkTrouble::BreaksInstead, ..nothing(Answer::Lost, 0, number) };
        }
        if let Some(status) = verdict.refuse {
            return nothing(Answer::Refuse(status), verdict.answer_after_ms, number);
        }
        let before = self.count(recipient, part);
        let receipt_after_ms = verdict.receipt_after_ms;
        let plan = script::plan(&Heard { recipient, part, before, receipt_after_ms, draw });
        let lost = verdict.answer_lost && plan.answer == Answer::Accept;
        let mut receipts = Vec::with_capacity(plan.receipts.len());
        for receipt in &plan.receipts {
            // A number of another run: none of ours, ever.
            let number = if receipt.of_another { number ^ 1 << 58 } else { number };
            receipts.extend((0..u32::from(verdict.receipt_times)).map(|nth| Reported {
                after_ms: receipt.after_ms + nth * DUPLICATE_AFTER_MS,
                id: receipt.id.write(number),
                state: receipt.state.clone(),
                err: receipt.err,
                ours: !receipt.of_another,
                swapped: receipt.swapped,
            }));
        }
        Fate {
            answer: if lost { Answer::Lost } else { plan.answer },
            answer_after_ms: plan.answer_after_ms.saturating_add(verdict.answer_after_ms),
            id: plan.id_answered.write(number),
            receipts,
            // The person answers the message, not each of its parts.
            reply: plan.reply.filter(|_| part.is_none_or(|part| part.number == part.total)),
            reply_after_ms: receipt_after_ms,
            link: if verdict.garbage { LinkTrouble::Garbage } else { plan.link },
            number,
        }
    }

    /// The message's number, of which its id is made. Hexadecimal, it begins with `a` and has sixteen digits, so that
    /// it is no other's decimal id; and two runs begin far apart, because a store remembers the ids of earlier ones.
    fn number(&self) -> u64 {
        let run = Draw::of(self.seed, 0).bits() & 0x03FF_FFFF_0000_0000;
        (0xA << 60 | run).wrapping_add(self.submissions)
    }

    fn count(&mut self, recipient: u64, part: Option<Part>) -> u32 {
        if !script::counts(recipient, part) {
            return 0;
        }
        if self.counted.len() >= COUNTED_MAX {
            self.counted.clear();
        }
        let count = self.counted.entry(recipient).or_default();
        *count = count.wrapping_add(1);
        count.wrapping_sub(1)
    }
}

fn nothing(answer: Answer, answer_after_ms: u32, number: u64) -> Fate {
    Fate {
        answer,
        answer_after_ms,
        id: String::new(),
        receipts: Vec::new(),
        reply: None,
        reply_after_ms: 0,
        link: LinkTrouble::None,
        number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run_and_another_gives_other_ids() {
        let run = |seed| {
            let faults = Faults { lost_answers_percent: 30.0, busy_percent: 10.0, ..Faults::default() };
            let mut play = Play::new(seed, faults, 0);
            (0..200).map(|nth| format!("{:?}", play.submit(15_550_002_222, None, nth))).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_receipt_of_another_has_an_id_that_was_never_given() {
        let mut play = Play::new(5, Faults::default(), 0);
        let fate = play.submit(15_559_690_000, None, 0);
        assert_eq!(fate.receipts.len(), 2);
        assert!(!fate.receipts[0].ours && fate.receipts[0].id != fate.id);
        assert!(fate.receipts[1].ours && fate.receipts[1].id == fate.id);
        assert_eq!(fate.id.len(), 16);
    }

    #[test]
    fn losses_and_duplicates_of_receipts_are_played() {
        let times = |faults| Play::new(1, faults, 0).submit(15_550_002_222, None, 0).receipts.len();
        assert_eq!(times(Faults { lost_receipts_percent: 100.0, ..Faults::default() }), 0);
        assert_eq!(times(Faults { duplicate_receipts_percent: 100.0, ..Faults::default() }), 2);
        assert_eq!(times(Faults { busy_percent: 100.0, ..Faults::default() }), 0);
    }
}

//! The door of [`intake`](crate::intake): knows what waits, and lets in what `domain::admission` lets in.
//!
//! Both numbers are in memory: the store tells the backlog with each of its commits, and the line is what was let in
//! here and has no answer of the store yet. So a refusal costs nothing but the look.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tidings_domain::admission::{self, Bounds, Load, Refused};
use tidings_domain::id::AccountId;
use tidings_domain::purpose::Purpose;
use tidings_store::Waiting;

use crate::clock::{Clock, Stopwatch};

/// Who is let in.
#[derive(Debug)]
pub(crate) struct Admission {
    bounds: Bounds,
    waiting: Arc<Waiting>,
    others: AtomicBool,
    line: Mutex<Line>,
}

/// What was let in and waits for its commit, in the order in which it came.
#[derive(Debug, Default)]
struct Line {
    /// The number of the first that is kept.
    first: u64,
    /// Since when each stands here; nothing if it is through.
    places: VecDeque<Option<Stopwatch>>,
    messages: u64,
}

/// A place in the line; dropped when the store has answered.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    admission: &'a Admission,
    number: u64,
    messages: u64,
}

impl Admission {
    pub fn new(bounds: Bounds, waiting: Arc<Waiting>) -> Self {
        Self { bounds, waiting, others: AtomicBool::new(false), line: Mutex::default() }
    }

    /// Whether there are several accounts, so that each has only its share.
    pub fn set_others(&self, others: bool) {
        self.others.store(others, Ordering::Relaxed);
    }

    /// Lets `messages` of an account in, of which the least urgent is of this purpose.
    ///
    /// # Errors
    /// Why not.
    pub fn enter(
        &self,
        account: AccountId,
        purpose: Purpose,
        messages: u64,
        clock: &Clock,
    ) -> Result<Place<'_>, Refused> {
        let mut line = self.line();
        admission::admit(self.load(&line, Some(account)), self.bounds, purpose, messages)?;
        Ok(self.place(&mut line, messages, clock))
    }

    /// A place without asking: for what a person decided.
    pub fn enter_anyway(&self, messages: u64, clock: &Clock) -> Place<'_> {
        self.place(&mut self.line(), messages, clock)
    }

    /// Why nobody is let in now, whoever asks and for whatever: worth knowing before a body is parsed.
    pub fn closed(&self) -> Option<Refused> {
        let load = self.load(&self.line(), None);
        admission::admit(load, self.bounds, Purpose::ALL[0], 1).err()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("nothing panics while it holds this")
    }

    fn load(&self, line: &Line, account: Option<AccountId>) -> Load {
        let (waiting, of_account) = self.waiting.of(account.unwrap_or(AccountId::from_key(0)));
        Load {
            // What stands in the line will wait too, if no window has room for it.
            waiting: waiting.saturating_add(line.messages),
            of_account,
            others: account.is_some() && self.others.load(Ordering::Relaxed),
            in_line: line.messages,
            oldest_ms: line.places.front().copied().flatten().map_or(0, |since| since.elapsed_ms()),
        }
    }

    fn place(&self, line: &mut Line, messages: u64, clock: &Clock) -> Place<'_> {
        let number = line.first + line.places.len() as u64;
        line.places.push_back(Some(clock.stopwatch()));
        line.messages += messages;
        Place { admission: self, number, messages }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.admission.line();
        line.messages -= self.messages;
        let place = usize::try_from(self.number - line.first).expect("the line is short");
        line.places[place] = None;
        while line.places.front().is_some_and(Option::is_none) {
            line.places.pop_front();
            line.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ACCOUNT: AccountId = AccountId::from_key(1);

    #[tokio::test(start_paused = true)]
    async fn the_head_of_the_line_is_the_oldest_that_is_not_through() {
        let admission = Admission::new(Bounds::default(), Arc::default());
        let clock = Clock::new(0);
        let oldest_ms = || admission.load(&admission.line(), None).oldest_ms;
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(admission.enter(ACCOUNT, Purpose::Marketing, 400, &clock).expect("there is room"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(oldest_ms(), 150);
        // In any order: the answers of one commit come as they come.
        places.remove(1);
        assert_eq!(oldest_ms(), 150);
        places.remove(0);
        assert_eq!(oldest_ms(), 50);
        places.clear();
        assert_eq!(oldest_ms(), 0);
        let line = admission.line();
        assert_eq!((line.messages, line.places.len()), (0, 0));
    }

    /// P-34
    #[tokio::test(start_paused = true)]
    async fn a_line_that_does_not_move_lets_the_urgent_in_longest_and_is_forgotten_when_it_is_gone() {
        let admission = Admission::new(Bounds::default(), Arc::default());
        let clock = Clock::new(0);
        let urgent: Vec<_> = (0..501).map(|_| admission.enter_anyway(1, &clock)).collect();
        let enters = |purpose| admission.enter(ACCOUNT, purpose, 1, &clock).map(drop);
        assert_eq!((enters(Purpose::Marketing), admission.closed()), (Ok(()), None));
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(enters(Purpose::Marketing), Err(Refused::Behind));
        assert_eq!((enters(Purpose::Authentication), admission.closed()), (Ok(()), None));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(enters(Purpose::Authentication), Err(Refused::Behind));
        assert_eq!(admission.closed(), Some(Refused::Behind));
        drop(urgent);
        assert_eq!((enters(Purpose::Marketing), admission.closed()), (Ok(()), None));
    }
}

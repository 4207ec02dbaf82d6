//! Looks for inputs that break a target: mutates what is kept, keeps what does something new, and when something
//! panics, makes the input as small as it can be and writes it into the corpus. A watchdog ends the process when one
//! input takes too long, after writing that input down.

use crate::mutate::{Random, mutate};
use crate::{Target, corpus};
use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

/// No input may take longer. Far above what any takes, also on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);
/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(500);
/// Inputs that are kept in memory; beyond them a new one takes the place of a random old one.
const KEPT_MAX: usize = 4_096;
/// Findings after which a hunt ends: one bug is found many times.
const FINDINGS_MAX: usize = 10;
/// Tries to make a finding smaller.
const SHRINKS_MAX: usize = 20_000;
/// The exit code when the watchdog ends the process.
const HUNG: i32 = 3;

/// What a hunt did.
#[derive(Debug, Default)]
pub struct Hunted {
    /// Inputs that were run.
    pub runs: u64,
    /// Inputs that did something new.
    pub new: Vec<Vec<u8>>,
    /// Inputs that broke a property, as small as they could be made, and what was said.
    pub findings: Vec<(Vec<u8>, Broke)>,
}

/// When a hunt ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many runs.
    Runs(u64),
    /// After so much time.
    Time(Duration),
}

/// Hunts. The same corpus and seed give the same inputs.
pub fn hunt(target: &'static Target, seeds: Vec<Vec<u8>>, seed: u64, until: Until) -> Hunted {
    let watch = Watch::start(target);
    let mut random = Random::new(seed);
    let mut hunted = Hunted::default();
    let mut seen = HashSet::new();
    for input in &seeds {
        watch.begin(input);
        match attempt(target, input) {
            Ok(observed) => drop(seen.insert(observed)),
            Err(why) => hunted.findings.push((input.clone(), why)),
        }
        hunted.runs += 1;
    }
    let mut kept = seeds;
    let clock = Clock::start();
    while !clock.is_over(until, hunted.runs) && hunted.findings.len() < FINDINGS_MAX {
        let input = mutate(&kept, target, &mut random);
        watch.begin(&input);
        hunted.runs += 1;
        match attempt(target, &input) {
            Ok(observed) => {
                if seen.insert(observed) {
                    hunted.new.push(input.clone());
                    if kept.len() < KEPT_MAX {
                        kept.push(input);
                    } else {
                        let place = random.below(kept.len());
                        kept[place] = input;
                    }
                }
            }
            Err(why) => {
                if !hunted.findings.iter().any(|(_, other)| other.place == why.place) {
                    let small = shrink(target, &watch, input, &why);
                    let why = attempt(target, &small).err().unwrap_or(why);
                    hunted.findings.push((small, why));
                }
            }
        }
    }
    hunted
}

thread_local! {
    /// Where the target that runs on this thread panicked, and what it said; `None` while no target runs here.
    static BROKE: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs the target once. Where it broke and what it said, if it panics.
pub fn attempt(target: &Target, input: &[u8]) -> Result<u64, Broke> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let recorded = BROKE.with_borrow_mut(|broke| match broke {
                Some((place, said)) => {
                    *place =
                        panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
                    *said = panic.payload_as_str().unwrap_or("it panicked").to_owned();
                    true
                }
                None => false,
            });
            if !recorded {
                usual(panic);
            }
        }));
    });
    BROKE.set(Some(Default::default()));
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let (place, said) = BROKE.take().unwrap_or_default();
    ran.map_err(|_| Broke { place, said })
}

/// How a target broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broke {
    /// File and line: one bug has one, however it shows.
    pub place: String,
    /// What was said there.
    pub said: String,
}

impl std::fmt::Display for Broke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:.400}", self.place, self.said)
    }
}

/// Takes away what is not needed to break the target in the same way.
fn shrink(target: &Target, watch: &Watch, mut input: Vec<u8>, why: &Broke) -> Vec<u8> {
    let mut tries = 0;
    let mut breaks = |candidate: &[u8]| {
        tries += 1;
        watch.begin(candidate);
        tries < SHRINKS_MAX && attempt(target, candidate).is_err_and(|broke| broke.place == why.place)
    };
    let mut piece = input.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut candidate = input.clone();
            candidate.drain(at..(at + piece).min(input.len()));
            if breaks(&candidate) { input = candidate } else { at += piece }
        }
        piece /= 2;
    }
    for at in 0..input.len() {
        let mut candidate = input.clone();
        candidate[at] = b'0';
        if candidate != input && breaks(&candidate) {
            input = candidate;
        }
    }
    input
}

/// Time for a hunt that is told to last.
struct Clock(Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a hunt lasts as long as its caller said, by the machine's clock"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn is_over(&self, until: Until, runs: u64) -> bool {
        match until {
            Until::Runs(most) => runs >= most,
            // Looking at the clock costs more than many a run.
            Until::Time(most) => runs.is_multiple_of(64) && self.0.elapsed() >= most,
        }
    }
}

/// Sees to it that no input takes for ever.
struct Watch {
    input: Arc<Mutex<Vec<u8>>>,
    number: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watch {
    fn start(target: &'static Target) -> Self {
        let watch = Self { input: Arc::default(), number: Arc::default(), over: Arc::default() };
        let (input, number, over) =
            (Arc::clone(&watch.input), Arc::clone(&watch.number), Arc::clone(&watch.over));
        thread::spawn(move || {
            let (mut seen, mut since) = (0, Clock::start());
            while !over.load(Ordering::Relaxed) {
                let now = number.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Clock::start());
                } else if now > 0 && since.0.elapsed() > LONGEST {
                    let input = input.lock().map(|input| input.clone()).unwrap_or_default();
                    let place = corpus::keep(target, "hang", &input);
                    eprintln!(
                        "{}: an input took longer than {} s: {place:?}",
                        target.name,
                        LONGEST.as_secs()
                    );
                    std::process::exit(HUNG);
                }
                thread::sleep(LOOK);
            }
        });
        watch
    }

    fn begin(&self, input: &[u8]) {
        let mut current = self.input.lock().expect("nothing panics while it holds this");
        current.clear();
        current.extend_from_slice(input);
        self.number.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

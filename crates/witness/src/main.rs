//! The long runs: `tidings-witness kill|optout|stop|restart --binary target/release/tidings …`. The short ones are tests of
//! the binary's own crate.

use std::process::ExitCode;
use tidings_witness::backlog::Poison;
use tidings_witness::ledger::Purpose;
use tidings_witness::load::Pace;
use tidings_witness::nodes::fault::{Kind, Schedule};
use tidings_witness::nodes::fleet::PREFIXES;
use tidings_witness::smsc::Behaviour;
use tidings_witness::subject::Setup;
use tidings_witness::{
    clock, kill, memory, nodes, optout, outage, overload, poison, restart, stop, throttle,
};

const USAGE: &str = "usage: tidings-witness RUN --binary FILE [OPTIONS]

runs
  kill     ends the binary by force under load, and compares
  optout   lets opt-outs by API, by text and by both words of a carrier (receipt, answer) race sends
  stop     asks the binary to stop under load
  restart  ends the binary by force while a long queue waits
  outage   lets the carrier be away while messages of all purposes are accepted
  throttle lets the carrier say in waves that it is too much
  memory   does at once all that could fill its memory
  overload asks for ten times more than the carrier takes, for minutes
  poison   sends some messages that crash a binary that was built with the feature `poison`
  nodes    does everything bad to several nodes over one PostgreSQL (needs its programs)
  takeover kills the owner of a connection again and again, and measures until another node submits on it

options, with their defaults
  --seed N          repeats a schedule (from the time of day)
  --rounds N        the run so many times, each with the next seed (1)
  --sessions N      SMPP sessions (2)
  --window N        unanswered submissions of each session (10)
  --clients N       sending threads (16)
  --rate N          messages a second (500)
  --drain MS        how long everything may take to end (120000)
  --keep            leave the directory if something was broken
  kill:    --kills N (200), --messages N (100000), --up-min MS (50), --up-max MS (1500),
           --early N: one receipt in so many comes before its answer, 0 for none (20)
           --impatient: do not wait for messages that are held for a receipt
  optout:  --pairs N (10000), --at-once N (8), --delay MS (8)
  stop:    --stops N (20)
  restart: --queued N (1000000), --kills N (5), --up-min MS (500), --up-max MS (5000)
  outage:  --queued N (1000000), --outage MS (600000), --pace N (1000), --codes N (3000), --codes-rate N (10)
  throttle: --messages N (300000), --pace N (1000), --full N (100),
           --waves PERCENT:MS,… (100:20000,0:20000,50:30000,10:30000,80:10000)
  memory:  --idle N (10000), --queued N (1000000), --stalled N (100), --calls N (500), --strange N (200000),
           --last MS (60000)
  overload: --pace N (500), --times N (10), --overload MS (600000), --calm MS (60000), --waiting N (10000), --drain MS
  poison:  --messages N (100000), --one-in N (10000), --how panic|abort (panic),
           --places WORDS (claim,split,encode,answer,decide,render)
  nodes:   --nodes N (3), --connections N of at most 3 (3), --faults N (200), --longest MS (60000), --gap MS (4000),
           --overlap N: one in so many begins before the one before is over, 0 for none (4), --failovers N (10),
           --kinds WORDS (kill,pause,database,carrier,restart,crash,failover), --logs DIRECTORY for a copy of the logs,
           --other FILE: the binary of a later release, for the kind `exchange`: a node is stopped, and started as the other
  takeover: --kills N (50), and those of nodes";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match work(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::from(2)
        }
    }
}

fn work(arguments: &[String]) -> Result<bool, String> {
    let options = Options::parse(arguments)?;
    let setup = Setup {
        binary: options.text("binary").ok_or(USAGE)?.into(),
        sessions: options.number("sessions", 2)?,
        window: options.number("window", 10)?,
    };
    let pace = Pace {
        clients: options.number("clients", 16)?,
        per_second: options.number("rate", 500)?,
        long_one_in: 20,
    };
    let first = options.number("seed", clock::wall_ms().unsigned_abs() % 1_000_000)?;
    let keep = options.text("keep").is_some();
    let mut all_good = true;
    for seed in first..first + options.number::<u64>("rounds", 1)? {
        let setup = setup.clone();
        all_good &= match options.run.as_str() {
            "kill" => {
                let outcome = kill::run(&kill::Plan {
                    setup,
                    seed,
                    kills: options.number("kills", 200)?,
                    messages: options.number("messages", 100_000)?,
                    pace,
                    up_ms: (options.number("up-min", 50)?, options.number("up-max", 1_500)?),
                    at_start_one_in: 7,
                    carrier: Behaviour {
                        early_receipt_one_in: options.number("early", 20)?,
                        ..Behaviour::default()
                    },
                    drain_ms: options.number("drain", 120_000)?,
                    wait_for_held: options.text("impatient").is_none(),
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.violations.is_empty()
            }
            "optout" => {
                let outcome = optout::run(&optout::Plan {
                    setup,
                    seed,
                    pairs: options.number("pairs", 10_000)?,
                    at_once: options.number("at-once", 8)?,
                    delay_ms: options.number("delay", 8)?,
                    slow_answer_ms: (20, 60),
                    drain_ms: options.number("drain", 120_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good()
            }
            "stop" => {
                let outcome = stop::run(&stop::Plan {
                    setup,
                    seed,
                    stops: options.number("stops", 20)?,
                    pace,
                    up_ms: (200, 2_000),
                    carrier: Behaviour::default(),
                    drain_ms: options.number("drain", 120_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good()
            }
            "restart" => {
                let outcome = restart::run(&restart::Plan {
                    setup,
                    seed,
                    queued: options.number("queued", 1_000_000)?,
                    kills: options.number("kills", 5)?,
                    up_ms: (options.number("up-min", 500)?, options.number("up-max", 5_000)?),
                    drain_ms: options.number("drain", 3_600_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good() && outcome.is_quick_and_small()
            }
            "outage" => {
                let outcome = outage::run(&outage::Plan {
                    setup,
                    seed,
                    queued: options.number("queued", 1_000_000)?,
                    outage_ms: options.number("outage", 600_000)?,
                    pace_per_s: options.number("pace", 1_000)?,
                    codes: options.number("codes", 3_000)?,
                    codes_per_s: options.number("codes-rate", 10)?,
                    drain_ms: options.number("drain", 3_600_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good() && outcome.is_quick()
            }
            "throttle" => {
                let waves = options.text("waves").unwrap_or("100:20000,0:20000,50:30000,10:30000,80:10000");
                let wave = |words: &str| {
                    let (percent, ms) = words.split_once(':').ok_or(USAGE)?;
                    Ok((percent.parse().map_err(|_| USAGE)?, ms.parse().map_err(|_| USAGE)?))
                };
                let outcome = throttle::run(&throttle::Plan {
                    setup,
                    seed,
                    messages: options.number("messages", 300_000)?,
                    pace_per_s: options.number("pace", 1_000)?,
                    waves: waves.split(',').map(wave).collect::<Result<_, String>>()?,
                    full: options.number("full", 100)?,
                    drain_ms: options.number("drain", 3_600_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good() && outcome.is_fast_again()
            }
            "overload" => {
                let outcome = overload::run(&overload::Plan {
                    setup,
                    seed,
                    pace_per_s: options.number("pace", 500)?,
                    times: options.number("times", 10)?,
                    overload_ms: options.number("overload", 600_000)?,
                    calm_ms: options.number("calm", 60_000)?,
                    waiting_max: options.number("waiting", 10_000)?,
                    clients: options.number("clients", 32)?,
                    drain_ms: options.number("drain", 600_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good() && outcome.is_quick()
            }
            "memory" => {
                let outcome = memory::run(&memory::Plan {
                    setup,
                    seed,
                    idle: options.number("idle", 10_000)?,
                    queued: options.number("queued", 1_000_000)?,
                    stalled: options.number("stalled", 100)?,
                    calls: options.number("calls", 500)?,
                    strange: options.number("strange", 200_000)?,
                    last_ms: options.number("last", 60_000)?,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_small() && outcome.sent_all
            }
            "poison" => {
                let words = options.text("places").unwrap_or("claim,split,encode,answer,decide,render");
                let outcome = poison::run(&poison::Plan {
                    setup,
                    seed,
                    messages: options.number("messages", 100_000)?,
                    poison: Poison {
                        one_in: options.number("one-in", 10_000)?,
                        how: options.text("how").unwrap_or("panic").to_owned(),
                        places: words.split(',').map(str::to_owned).collect(),
                    },
                    purposes: vec![Purpose::Marketing, Purpose::Alert],
                    drain_ms: options.number("drain", 3_600_000)?,
                    keep,
                })
                .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.is_good()
            }
            run @ ("nodes" | "takeover") => {
                let outcome = nodes::run(&of_nodes(&options, run == "takeover", setup, seed)?)
                    .map_err(|why| format!("seed {seed}: {why}"))?;
                println!("{outcome}");
                outcome.violations.is_empty()
            }
            _ => return Err(USAGE.to_owned()),
        };
    }
    Ok(all_good)
}

fn of_nodes(options: &Options, until_taken: bool, setup: Setup, seed: u64) -> Result<nodes::Plan, String> {
    let all = Kind::FAULTS.map(Kind::as_str).join(",");
    let words = if until_taken { "kill" } else { options.text("kinds").unwrap_or(&all) };
    let kinds = words.split(',').map(|word| Kind::parse(word).ok_or(USAGE)).collect::<Result<_, _>>()?;
    let nodes = options.number("nodes", 3)?;
    let connections = options.number("connections", 3)?;
    if !(1..=PREFIXES.len()).contains(&connections) || nodes == 0 {
        return Err(USAGE.to_owned());
    }
    let gap_ms = options.number("gap", 4_000)?;
    Ok(nodes::Plan {
        setup: nodes::fleet::Setup {
            binary: setup.binary,
            other: options.text("other").map(Into::into),
            nodes,
            connections,
            sessions: setup.sessions,
            window: setup.window,
        },
        seed,
        schedule: Schedule {
            kinds,
            count: if until_taken { options.number("kills", 50)? } else { options.number("faults", 200)? },
            nodes,
            longest_ms: options.number("longest", 60_000)?,
            gap_ms: (gap_ms / 4, gap_ms),
            overlap_one_in: if until_taken { 0 } else { options.number("overlap", 4)? },
            failovers_max: options.number("failovers", 10)?,
        },
        until_taken,
        pace: nodes::customers::Pace {
            clients: options.number("clients", 16)?,
            per_second: options.number("rate", 500)?,
        },
        carrier: nodes::carrier(),
        drain_ms: options.number("drain", 120_000)?,
        wait_for_held: options.text("impatient").is_none(),
        keep: options.text("logs").map(Into::into),
    })
}

struct Options {
    run: String,
    given: Vec<(String, String)>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut words = arguments.iter();
        let run = words.next().ok_or(USAGE)?.clone();
        let mut given = Vec::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or(USAGE)?;
            let value = if matches!(name, "keep" | "impatient") {
                String::new()
            } else {
                words.next().ok_or(USAGE)?.clone()
            };
            given.push((name.to_owned(), value));
        }
        Ok(Self { run, given })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number<N: std::str::FromStr>(&self, name: &str, otherwise: N) -> Result<N, String> {
        match self.text(name) {
            None => Ok(otherwise),
            Some(text) => text.parse().map_err(|_| format!("--{name} takes a number, not {text}\n\n{USAGE}")),
        }
    }
}

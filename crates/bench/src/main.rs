//! The benchmark's command line. See the library for what it is.

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the benchmark needs Linux");
    std::process::exit(2);
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;
    use std::path::PathBuf;
    use std::process::ExitCode;
    use tidings_bench::load::{self, Kind};
    use tidings_bench::options::Options;
    use tidings_bench::run::{self, Plan};
    use tidings_bench::subject::Setup;
    use tidings_bench::tool::{How, Work};
    use tidings_bench::{sink, smsc};

    const USAGE: &str = "usage: tidings-bench run --binary FILE [OPTIONS]

profiles (--profile NAME)
  single    one message a request, as many as go (the default)
  batch     hundred messages a request on 4 connections, as many as go
  rate      1,000 messages a second, for latencies
  rate5k    5,000 messages a second
  mixed     as single, with four purposes, two-segment messages and UCS-2

options, each over what the profile says
  --seconds N         measured (20)
  --warmup N          seconds before (3)
  --rate N            messages a second, 0 for as many as go
  --connections N     of the load generator (64; batch: 4)
  --bound N           stop sending while so many have not come back (5000 if as many as go)
  --binds N           SMPP sessions (1)
  --window N          unanswered submissions of each (500)
  --keys              an idempotency key with each request
  --all-events        the webhook endpoint wants every event, not only the ends
  --drain N           seconds that everything may take to end (120)
  --place DIRECTORY   where the run keeps its files (the system's for temporary files)
  --keep              leave them there
carrier
  --answer-ms N       before it answers (0), --answer-jitter-ms N more
  --receipt-ms N      before its receipt (0), --receipt-jitter-ms N more
  --ids random        ids that are random and hexadecimal, and not a sequence
  --receipt-window N  receipts without acknowledgement on each session (500)
  --throttle N        submissions a second above which it refuses
The data directory's own settings can be given in the environment: TIDINGS_DATA__CACHE_MIB=128.";

    /// Options that are for the carrier alone.
    const CARRIER: [&str; 7] = [
        "answer-ms",
        "answer-jitter-ms",
        "receipt-ms",
        "receipt-jitter-ms",
        "ids",
        "receipt-window",
        "throttle",
    ];
    const SWITCHES: [&str; 3] = ["keys", "all-events", "keep"];

    pub fn main() -> ExitCode {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let result = match words.split_first() {
            Some((name, rest)) => match name.as_str() {
                load::NAME => tool(load::work, rest),
                smsc::NAME => tool(smsc::work, rest),
                sink::NAME => tool(sink::work, rest),
                "run" => measure(rest),
                _ => Err(USAGE.to_owned()),
            },
            None => Err(USAGE.to_owned()),
        };
        match result {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(2)
            }
        }
    }

    fn tool(work: Work, arguments: &[String]) -> Result<bool, String> {
        let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
        work(arguments, input, &mut std::io::stdout()).map(|()| true)
    }

    fn measure(words: &[String]) -> Result<bool, String> {
        let options = Options::parse(words, &SWITCHES).map_err(|why| format!("{why}\n\n{USAGE}"))?;
        let plan = plan(&options)?;
        let outcome = run::run(&plan)?;
        println!("{outcome}");
        Ok(outcome.account.is_whole())
    }

    fn plan(options: &Options) -> Result<Plan, String> {
        let known = [
            "binary",
            "profile",
            "seconds",
            "warmup",
            "rate",
            "connections",
            "bound",
            "binds",
            "window",
            "keys",
            "all-events",
            "drain",
            "place",
            "keep",
        ];
        options.only(&[&known[..], &CARRIER].concat())?;
        let profile = options.text("profile").unwrap_or("single");
        let (kind, rate) = match profile {
            "single" => (Kind::Single, 0),
            "batch" => (Kind::Batch, 0),
            "rate" => (Kind::Single, 1_000),
            "rate5k" => (Kind::Single, 5_000),
            "mixed" => (Kind::Mixed, 0),
            _ => return Err(format!("there is no profile {profile}\n\n{USAGE}")),
        };
        let rate = options.number("rate", rate)?;
        let mut carrier = Vec::new();
        for name in CARRIER {
            if let Some(value) = options.text(name) {
                carrier.extend([format!("--{name}"), value.to_owned()]);
            }
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        Ok(Plan {
            profile: profile.to_owned(),
            setup: Setup {
                binary: options.needed("binary").map_err(|why| format!("{why}\n\n{USAGE}"))?.into(),
                binds: options.number("binds", 1)?,
                window: options.number("window", 500)?,
                all_events: options.has("all-events"),
            },
            how: How::Processes(program),
            kind,
            rate,
            warmup_s: options.number("warmup", 3)?,
            seconds: options.number("seconds", 20)?,
            connections: options.number("connections", if kind == Kind::Batch { 4 } else { 64 })?,
            bound: options.number("bound", if rate == 0 { 5_000 } else { 0 })?,
            keys: options.has("keys"),
            carrier,
            drain_s: options.number("drain", 120)?,
            place: options.text("place").map_or_else(std::env::temp_dir, PathBuf::from),
            keep: options.has("keep"),
        })
    }
}

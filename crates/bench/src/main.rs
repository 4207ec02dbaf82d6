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
    use tidings_bench::compare::Comparison;
    use tidings_bench::options::Options;
    use tidings_bench::profile::{PROFILES, Plan};
    use tidings_bench::report::Report;
    use tidings_bench::stored::Stored;
    use tidings_bench::subject::{Program, Setup};
    use tidings_bench::tool::{How, Work};
    use tidings_bench::{limit, load, run, sink, smsc};

    const USAGE: &str = "usage: tidings-bench run [--binary FILE] [--limit] [OPTIONS]
       tidings-bench compare --pairs N --binary FILE (--other FILE | --limit | --gated) [OPTIONS]

  --limit             measure the lean program of this crate, alone or beside the binary
  --profile NAME      what to do (single); several with commas between
  --report FILE.json  every figure, and a page with plots as FILE.html; what FILE was before is compared with
PROFILES
options, each over what the profile says
  --seconds N         measured (20)
  --warmup N          seconds before (3)
  --rate N            messages a second, 0 for as many as go
  --backlog N         messages to queue while the carrier is down, before anything is measured (0)
  --stored N          messages that are stored and delivered before the run (0)
  --queued N          messages that are queued before the run, at a connection whose carrier is down (0)
  --connections N     of the load generator (64; batch: 4)
  --bound N           stop sending while so many have not come back (5000 if as many as go)
  --nodes N           processes over one database, which must be PostgreSQL (1)
  --binds N           SMPP sessions of each connection; there is one for each node (1)
  --window N          unanswered submissions of each (500; batch: 2000)
  --keys              an idempotency key with each request
  --all-events        the webhook endpoint wants every event, not only the ends
  --gated             the gate has rules for every message; with `compare`, beside the same without (or the other with them)
  --drain N           seconds that everything may take to end (120)
  --place DIRECTORY   where the run keeps its files (the system's for temporary files)
  --keep              leave them there
carrier
  --answer-ms N       before it answers (0), --answer-jitter-ms N more
  --receipt-ms N      before its receipt (0), --receipt-jitter-ms N more
  --ids random        ids that are random and hexadecimal, and not a sequence
  --receipt-window N  receipts without acknowledgement on each session (500)
  --throttle N        submissions a second above which it refuses
The server's own settings can be given in the environment: TIDINGS_DATA__CACHE_MIB=128, and the database, which must be
new: TIDINGS_DATA__URL=postgres://….";

    fn usage() -> String {
        let profiles: String =
            PROFILES.iter().map(|(name, about)| format!("      {name:<16}{about}\n")).collect();
        USAGE.replace("PROFILES\n", &profiles)
    }

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
    /// Options without a value.
    const SWITCHES: [&str; 5] = ["limit", "keys", "all-events", "gated", "keep"];
    /// All others.
    const KNOWN: [&str; 18] = [
        "binary",
        "other",
        "pairs",
        "report",
        "backlog",
        "stored",
        "queued",
        "profile",
        "seconds",
        "warmup",
        "rate",
        "connections",
        "bound",
        "nodes",
        "binds",
        "window",
        "drain",
        "place",
    ];

    pub fn main() -> ExitCode {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let result = match words.split_first() {
            Some((name, rest)) => match name.as_str() {
                load::NAME => tool(load::work, rest),
                smsc::NAME => tool(smsc::work, rest),
                sink::NAME => tool(sink::work, rest),
                limit::NAME => limit::serve(rest).map(|()| true),
                "run" => measure(rest),
                "compare" => compare(rest),
                _ => Err(usage()),
            },
            None => Err(usage()),
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
        let options = Options::parse(words, &SWITCHES).map_err(|why| format!("{why}\n\n{}", usage()))?;
        let mut programs: Vec<Program> = Vec::new();
        programs.extend(options.text("binary").map(|binary| Program::Tidings(binary.into())));
        if options.has("limit") {
            programs.push(Program::Limit(this()?));
        }
        if programs.is_empty() {
            return Err(format!("--binary FILE or --limit is needed\n\n{}", usage()));
        }
        let (mut whole, mut report) = (true, Report::default());
        for profile in options.text("profile").unwrap_or("single").split(',') {
            for program in &programs {
                let plan = plan(&options, profile, program.clone())?;
                if !plan.is_possible() {
                    continue;
                }
                let outcome = run::run(&plan)?;
                println!("program               {program}\n{outcome}\n");
                whole &= outcome.account.is_whole();
                report.add(&plan, &outcome);
            }
        }
        if let Some(file) = options.text("report") {
            report.write(file.as_ref())?;
        }
        Ok(whole)
    }

    fn compare(words: &[String]) -> Result<bool, String> {
        let options = Options::parse(words, &SWITCHES).map_err(|why| format!("{why}\n\n{}", usage()))?;
        let one = Program::Tidings(options.needed("binary")?.into());
        let gated = options.has("gated");
        let other = match (options.text("other"), options.has("limit")) {
            (Some(other), false) => Program::Tidings(other.into()),
            (None, true) => Program::Limit(this()?),
            (None, false) if gated => one.clone(),
            _ => return Err(format!("--other FILE, --limit or --gated is needed\n\n{}", usage())),
        };
        // The same program is compared with itself without the rules.
        let rules = [gated, gated && options.text("other").is_some()];
        let profile = options.text("profile").unwrap_or("single");
        let mut comparison = Comparison::default();
        let mut whole = true;
        for pair in 1..=options.number("pairs", 5)? {
            let [one, other] =
                [("A", &one, rules[0]), ("B", &other, rules[1])].map(|(side, program, gated)| {
                    let mut plan = plan(&options, profile, program.clone())?;
                    plan.setup.gated = gated;
                    let outcome = run::run(&plan)?;
                    eprintln!("-- pair {pair}, {side}: {program}\n{outcome}\n");
                    Ok::<_, String>(outcome)
                });
            let (one, other) = (one?, other?);
            whole &= one.account.is_whole() && other.account.is_whole();
            comparison.add(&one, &other);
        }
        let with = |gated: bool| if gated { " with rules for every message" } else { "" };
        println!("profile {profile}\nA {one}{}\nB {other}{}\n{comparison}", with(rules[0]), with(rules[1]));
        Ok(whole)
    }

    /// This program.
    fn this() -> Result<PathBuf, String> {
        std::env::current_exe().map_err(|error| error.to_string())
    }

    fn plan(options: &Options, profile: &str, program: Program) -> Result<Plan, String> {
        options
            .only(&[&KNOWN[..], &SWITCHES, &CARRIER].concat())
            .map_err(|why| format!("{why}\n\n{}", usage()))?;
        let plan = Plan::new(profile, program, How::Processes(this()?))
            .ok_or_else(|| format!("there is no profile {profile}\n\n{}", usage()))?;
        let mut carrier = Vec::new();
        for name in CARRIER {
            if let Some(value) = options.text(name) {
                carrier.extend([format!("--{name}"), value.to_owned()]);
            }
        }
        let rate = options.number("rate", plan.rate)?;
        let stored = plan.stored.unwrap_or(Stored { finished: 0, queued: 0 });
        let stored = Stored {
            finished: options.number("stored", stored.finished)?,
            queued: options.number("queued", stored.queued)?,
        };
        let bound = if rate == 0 { plan.bound } else { 0 };
        Ok(Plan {
            setup: Setup {
                nodes: options.number("nodes", plan.setup.nodes)?.clamp(1, 4),
                binds: options.number("binds", plan.setup.binds)?,
                window: options.number("window", plan.setup.window)?,
                all_events: options.has("all-events"),
                gated: options.has("gated"),
                ..plan.setup
            },
            rate,
            warmup_s: options.number("warmup", plan.warmup_s)?,
            seconds: options.number("seconds", plan.seconds)?,
            backlog: options.number("backlog", plan.backlog)?,
            stored: (stored.finished + stored.queued > 0).then_some(stored),
            connections: options.number("connections", plan.connections)?,
            bound: options.number("bound", bound)?,
            keys: options.has("keys"),
            carrier,
            drain_s: options.number("drain", plan.drain_s)?,
            place: options.text("place").map_or(plan.place, PathBuf::from),
            keep: options.has("keep"),
            ..plan
        })
    }
}

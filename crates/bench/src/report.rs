//! The report: every figure as JSON, to be kept and compared with, and the same as a page (see [`crate::page`]).

use crate::clock;
use crate::compare::figures;
use crate::figures::{Spread, interpolated};
use crate::page;
use crate::profile::Plan;
use crate::run::Outcome;
use crate::subject::Program;
use crate::watch::{self, Sample};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The version of the form of the JSON.
const FORM: u64 = 1;

/// Runs, to be written at the end.
#[derive(Debug, Default)]
pub struct Report {
    runs: Vec<Value>,
}

impl Report {
    /// Adds a run.
    pub fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.runs.push(run(plan, outcome));
    }

    /// Writes `file` and the page beside it. What `file` was before is compared with.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(self, file: &Path) -> Result<(), String> {
        let before =
            std::fs::read(file).ok().and_then(|octets| serde_json::from_slice::<Value>(&octets).ok());
        let mut report = json!({
            "form": FORM,
            "date": clock::rfc3339(clock::wall_ms()),
            "commit": commit(),
            "machine": watch::machine(),
            "runs": self.runs,
        });
        if let Some(before) = before.filter(|before| before["form"] == FORM) {
            report["before"] = json!({ "date": before["date"], "commit": before["commit"] });
            compare(&mut report["runs"], &before["runs"]);
        }
        let text = serde_json::to_string_pretty(&report).expect("numbers and strings are JSON");
        let page = page::page(&report);
        std::fs::write(file, compact(&text) + "\n")
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let beside = file.with_extension("html");
        std::fs::write(&beside, page).map_err(|error| format!("{}: {error}", beside.display()))
    }
}

/// Which commit this is, with a mark if something was changed after it; nothing outside a repository.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{commit} and changes") } else { commit }
}

fn run(plan: &Plan, outcome: &Outcome) -> Value {
    let figures: serde_json::Map<String, Value> =
        figures(outcome).into_iter().map(|figure| (figure.name.to_owned(), rounded(figure.value))).collect();
    let spread = |spread: &Spread| {
        json!({
            "count": spread.count, "p50": spread.p50, "p90": spread.p90, "p99": spread.p99, "p99.9": spread.p999,
            "max": spread.max, "buckets": spread.buckets,
        })
    };
    let mib = |octets: u64| octets as f64 / 1_048_576.0;
    let cores = |of: &dyn Fn(&Sample) -> u64| -> Vec<Value> {
        let used = interpolated(&outcome.samples, outcome.began, |sample| of(sample) as f64 / 1e9);
        used.windows(2).map(|pair| rounded((pair[1] - pair[0]).max(0.0))).collect()
    };
    let level = |of: &dyn Fn(&Sample) -> f64| -> Vec<Value> {
        interpolated(&outcome.samples, outcome.began, of).into_iter().skip(1).map(rounded).collect()
    };
    let account: serde_json::Map<String, Value> =
        outcome.account.faults.iter().map(|(what, count)| ((*what).to_owned(), json!(count))).collect();
    json!({
        "profile": outcome.profile,
        "program": match plan.setup.program { Program::Tidings(_) => "tidings", Program::Limit(_) => "lean" },
        "plan": {
            "kind": plan.kind.to_string(), "rate": plan.rate, "seconds": plan.seconds, "warmup_s": plan.warmup_s,
            "backlog": plan.backlog,
            "stored": plan.stored.map_or(0, |stored| stored.finished),
            "queued": plan.stored.map_or(0, |stored| stored.queued),
            "connections": plan.connections, "bound": plan.bound, "binds": plan.setup.binds,
            "window": plan.setup.window, "keys": plan.keys, "all_events": plan.setup.all_events,
            "carrier": plan.carrier.join(" "),
        },
        "whole": outcome.account.is_whole(),
        "account": {
            "asked": outcome.account.asked, "accepted": outcome.account.accepted,
            "submissions": outcome.account.submissions, "calls": outcome.account.calls,
            "repeated": outcome.account.repeated, "faults": account,
        },
        "figures": figures,
        "latency_ns": {
            "sent_late": spread(&outcome.late), "accept": spread(&outcome.accept), "carrier": spread(&outcome.carrier),
            "webhook": spread(&outcome.webhook),
        },
        "server": {
            "user_us": rounded(outcome.server.user_ns as f64 / 1e3 / outcome.ended.max(1) as f64),
            "system_us": rounded(outcome.server.system_ns as f64 / 1e3 / outcome.ended.max(1) as f64),
            "cores": rounded(outcome.cores(outcome.server.cpu_ns())),
            "threads_us": outcome.server.threads.iter()
                .map(|(name, ns)| (name.clone(), rounded(*ns as f64 / 1e3 / outcome.ended.max(1) as f64)))
                .collect::<serde_json::Map<_, _>>(),
            "memory_end_mib": rounded(mib(outcome.rss.0)), "memory_most_mib": rounded(mib(outcome.rss.1)),
            "database_mib": rounded(mib(outcome.stored.0)), "log_most_mib": rounded(mib(outcome.stored.1)),
            "start_ms": outcome.start_ms, "drain_ms": outcome.drain_ms, "stop_ms": outcome.stop_ms,
        },
        "tools_cores": outcome.tools_ns.iter()
            .map(|(name, ns)| ((*name).to_owned(), rounded(outcome.cores(*ns))))
            .collect::<serde_json::Map<_, _>>(),
        "per_second": {
            "ended": outcome.ended_per_s, "accepted": outcome.accepted_per_s,
            "server_cores": cores(&|sample| sample.server_ns),
            "tools_cores": cores(&|sample| sample.tools_ns.iter().sum()),
            "machine_cores": cores(&|sample| sample.machine_ns),
            "memory_mib": level(&|sample| mib(sample.rss)),
            "database_mib": level(&|sample| mib(sample.database)),
            "log_mib": level(&|sample| mib(sample.wal)),
        },
    })
}

/// Three places are enough, and keep the file readable.
fn rounded(number: f64) -> Value {
    json!((number * 1e3).round() / 1e3)
}

/// Puts what each figure is to that of the same profile and program before.
fn compare(runs: &mut Value, before: &Value) {
    for run in runs.as_array_mut().into_iter().flatten() {
        let same =
            |other: &&Value| ["profile", "program", "plan"].iter().all(|name| other[*name] == run[*name]);
        let Some(earlier) = before.as_array().and_then(|all| all.iter().find(same)) else { continue };
        let ratios: serde_json::Map<String, Value> = run["figures"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| {
                let (now, then) = (value.as_f64()?, earlier["figures"][name].as_f64()?);
                (then > 0.0).then(|| (name.clone(), rounded(now / then)))
            })
            .collect();
        run["ratio_to_before"] = Value::Object(ratios);
    }
}

/// Lists of numbers on one line: a series of a minute would else be sixty lines.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        if line.ends_with('[')
            && lines.peek().is_some_and(|next| next.trim().starts_with(|c: char| c.is_ascii_digit()))
        {
            for number in lines.by_ref() {
                out.push_str(number.trim());
                if number.trim().starts_with(']') {
                    break;
                }
                if number.ends_with(',') {
                    out.push(' ');
                }
            }
        }
        out.push('\n');
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_are_on_one_line_and_nothing_else_changes() {
        let value = json!({ "a": [1, 2, 3], "b": { "c": [], "d": ["x", "y"] }, "e": [[1.5], [2]] });
        let text = compact(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains("[1, 2, 3]"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_was_before_is_compared_with_the_same_profile_only() {
        let run = |profile: &str, rate: f64| json!({ "profile": profile, "program": "tidings", "plan": {}, "figures": { "rate": rate } });
        let mut runs = json!([run("single", 20.0), run("batch", 20.0)]);
        compare(&mut runs, &json!([run("single", 10.0)]));
        assert_eq!(runs[0]["ratio_to_before"]["rate"], json!(2.0));
        assert!(runs[1]["ratio_to_before"].is_null());
    }
}

//! The report as a page that stands alone: tables, and drawings in SVG. No script, nothing from elsewhere; light or
//! dark as the reader's system is.

use crate::compare;
use crate::figures::{BUCKETS_PER_DOUBLING, FIRST_BUCKET_NS};
use serde_json::Value;
use std::fmt::Write as _;

/// Sizes of a drawing.
const WIDTH: f64 = 720.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const HEIGHT: f64 = 200.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 24.0;
/// The height of one histogram of several.
const ROW: f64 = 92.0;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #1d2024; --soft: #656b73; --line: #d9dbdd; --band: #eef0ee;
  --a: #1f6fb2; --b: #c2571a; --c: #2f7d4f; --good: #2f7d4f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e7e8; --soft: #9aa0a8; --line: #34383d;
  --band: #1f2327; --a: #6cb2ec; --b: #f09a5b; --c: #6fc28f; --good: #6fc28f; --bad: #f2817a; } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 52rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 3rem 0 .25rem; }
h3 { font-size: .95rem; margin: 1.75rem 0 .25rem; } p { margin: .25rem 0 .75rem; } .soft, caption { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 500; color: var(--soft); white-space: normal; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.key { display: flex; flex-wrap: wrap; gap: 0 1.25rem; color: var(--soft); font-size: .85rem; }
.key span::before { content: ''; display: inline-block; width: 1rem; height: 3px; margin: 0 .4rem .22rem 0;
  border-radius: 2px; background: var(--tone); }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); stroke-width: 1; } .band { fill: var(--band); }
.mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 3 3; } .label { fill: var(--ink) !important; }
path { fill: none; stroke-width: 2; stroke-linejoin: round; } .touch { fill: transparent; } .touch:hover { fill: var(--ink); fill-opacity: .07; }
.a { --tone: var(--a); } .b { --tone: var(--b); } .c { --tone: var(--c); }
path.a, path.b, path.c { stroke: var(--tone); } rect.a, rect.b, rect.c { fill: var(--tone); }
";

/// The page of a report.
pub fn page(report: &Value) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    put(&mut out, format_args!("<title>Tidings, measured</title><style>{STYLE}</style></head><body>\n"));
    let machine = &report["machine"];
    put(
        &mut out,
        format_args!(
            "<h1>Tidings, measured</h1>\n<p class=\"soft\">{} · commit {} · {} cores of {}, {} MiB of memory, Linux {}. \
             The load, the carrier and the receiver of webhooks run on the same machine.</p>\n",
            text(&report["date"]),
            commit(&report["commit"]),
            machine["cores"],
            text(&machine["processor"]),
            machine["memory_mib"],
            text(&machine["kernel"]),
        ),
    );
    if report["before"].is_object() {
        put(
            &mut out,
            format_args!(
                "<p class=\"soft\">Compared with {} (commit {}).</p>\n",
                text(&report["before"]["date"]),
                commit(&report["before"]["commit"])
            ),
        );
    }
    let runs: Vec<&Value> = report["runs"].as_array().into_iter().flatten().collect();
    overview(&mut out, &runs);
    for one in &runs {
        run(&mut out, one);
    }
    out.push_str("</body></html>\n");
    out
}

/// A table of all runs.
fn overview(out: &mut String, runs: &[&Value]) {
    out.push_str("<div class=\"wide\"><table><thead><tr><th>profile</th>");
    let columns: [(&str, &str, usize); 7] = [
        ("messages/s", "messages/s, median", 0),
        ("CPU µs each", "CPU us/message", 1),
        ("accept p50 ms", "accept p50, ms", 2),
        ("p99", "accept p99, ms", 2),
        ("webhook p50 ms", "webhook p50, ms", 2),
        ("p99", "webhook p99, ms", 2),
        ("memory MiB", "memory, most, MiB", 0),
    ];
    for (head, _, _) in columns {
        put(out, format_args!("<th>{head}</th>"));
    }
    out.push_str("<th>account</th></tr></thead><tbody>\n");
    for run in runs {
        put(out, format_args!("<tr><td>{}</td>", name(run)));
        for (_, figure, places) in columns {
            put(out, format_args!("<td>{}</td>", number(run["figures"][figure].as_f64(), places)));
        }
        put(out, format_args!("<td>{}</td></tr>\n", verdict(run)));
    }
    out.push_str("</tbody></table></div>\n");
    let rate = |run: &Value| run["figures"]["messages/s, median"].as_f64();
    for lean in runs.iter().filter(|run| run["program"] == "lean" && run["plan"]["rate"] == 0) {
        let real = runs.iter().find(|run| run["program"] == "tidings" && run["plan"] == lean["plan"]);
        if let (Some(Some(real)), Some(lean_rate)) = (real.map(|run| rate(run)), rate(lean)) {
            put(
                out,
                format_args!(
                    "<p>{}: {:.0} % of the rate of a lean program that does the least that a durable one could.</p>\n",
                    text(&lean["profile"]),
                    real / lean_rate.max(1e-9) * 100.0
                ),
            );
        }
    }
}

fn name(run: &Value) -> String {
    let lean = if run["program"] == "lean" { ", the lean program" } else { "" };
    format!("{}{lean}", text(&run["profile"]))
}

fn verdict(run: &Value) -> &'static str {
    if run["whole"] == true {
        "<span class=\"good\">whole</span>"
    } else {
        "<span class=\"bad\">NOT WHOLE</span>"
    }
}

/// One run: its figures and its drawings.
fn run(out: &mut String, run: &Value) {
    let (plan, account) = (&run["plan"], &run["account"]);
    put(out, format_args!("<h2>{}</h2>\n", name(run)));
    let rate = match plan["rate"].as_u64() {
        Some(0) | None => "as many as go".to_owned(),
        Some(rate) => format!("{} a second", number(Some(rate as f64), 0)),
    };
    let many = |name: &str, words: &str| match plan[name].as_u64() {
        Some(0) | None => String::new(),
        Some(count) => format!(", {} {words}", number(Some(count as f64), 0)),
    };
    put(
        out,
        format_args!(
            "<p class=\"soft\">{}, {rate}{}{}{}; {} connections{}; {} SMPP session with a window of {}. \
             {} messages accepted, {} submissions, {} calls: {}.</p>\n",
            text(&plan["kind"]),
            many("stored", "stored"),
            many("queued", "queued"),
            many("backlog", "queued while the carrier was down"),
            plan["connections"],
            many("bound", "at most under way"),
            plan["binds"],
            plan["window"],
            number(account["accepted"].as_f64(), 0),
            number(account["submissions"].as_f64(), 0),
            number(account["calls"].as_f64(), 0),
            verdict(run),
        ),
    );
    figures(out, run);

    let seconds = &run["per_second"];
    out.push_str("<h3>Messages a second</h3>\n");
    lines(
        out,
        "seconds of the time that was measured",
        &[("ended and told", "a", list(&seconds["ended"])), ("accepted", "b", list(&seconds["accepted"]))],
        None,
        0,
    );
    out.push_str("<h3>How long it took: share of the messages, milliseconds</h3>\n");
    histograms(out, &run["latency_ns"]);
    let measured = (plan["backlog"] == 0)
        .then(|| Some((plan["warmup_s"].as_f64()?, plan["seconds"].as_f64()?)))
        .flatten()
        .map(|(from, length)| (from, from + length));
    out.push_str("<h3>Cores in use</h3>\n");
    lines(
        out,
        "seconds since the load began; what was measured is shaded",
        &[
            ("server", "a", list(&seconds["server_cores"])),
            ("load, carrier and receiver", "b", list(&seconds["tools_cores"])),
            ("the whole machine", "c", list(&seconds["machine_cores"])),
        ],
        measured,
        2,
    );
    out.push_str("<h3>Memory and the log of the database, MiB</h3>\n");
    lines(
        out,
        "seconds since the load began; what was measured is shaded",
        &[
            ("memory of the server", "a", list(&seconds["memory_mib"])),
            ("log of the database (WAL)", "b", list(&seconds["log_mib"])),
        ],
        measured,
        0,
    );
}

/// The figures of a run in a table, with what they are to those before.
fn figures(out: &mut String, run: &Value) {
    let ratios = run["ratio_to_before"].as_object();
    out.push_str("<div class=\"wide\"><table><thead><tr><th>figure</th><th>value</th>");
    if ratios.is_some() {
        out.push_str("<th>to the one before</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    let mut row = |name: &str, value: String, ratio: Option<f64>| {
        put(out, format_args!("<tr><td>{}</td><td>{value}</td>", escaped(name)));
        if ratios.is_some() {
            let ratio = ratio.map(|ratio| format!("× {ratio:.2}")).unwrap_or_default();
            put(out, format_args!("<td>{ratio}</td>"));
        }
        out.push_str("</tr>\n");
    };
    let all = run["figures"].as_object();
    let mut names = compare::names();
    let others = all.into_iter().flatten().map(|(name, _)| name.as_str());
    names.extend(others.filter(|name| !compare::names().contains(name)));
    for name in names {
        let Some(value) = all.and_then(|all| all.get(name)).map(Value::as_f64) else { continue };
        let places = if value.is_some_and(|value| value >= 1_000.0) { 0 } else { 2 };
        row(name, number(value, places), ratios.and_then(|ratios| ratios.get(name)?.as_f64()));
    }
    let server = &run["server"];
    for (name, field) in [
        ("database at the end, MiB", "database_mib"),
        ("its log at the most, MiB", "log_most_mib"),
        ("start, ms", "start_ms"),
        ("from the last answer to the last end, ms", "drain_ms"),
        ("stop, ms", "stop_ms"),
    ] {
        row(name, number(server[field].as_f64(), 0), None);
    }
    out.push_str("</tbody></table></div>\n");
}

type Series<'s> = (&'s str, &'s str, Vec<f64>);

/// Lines over seconds.
fn lines(out: &mut String, about: &str, series: &[Series<'_>], band: Option<(f64, f64)>, places: usize) {
    key(out, series);
    let count = series.iter().map(|(_, _, values)| values.len()).max().unwrap_or(0);
    let most = series.iter().flat_map(|(_, _, values)| values).copied().fold(0.0, f64::max);
    let step = nice(most / 4.0);
    let top = (most / step).ceil().max(1.0) * step;
    // A value belongs to the second before it, and stands in its middle.
    let x = |second: f64| LEFT + second / (count.max(1) as f64) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (1.0 - value / top) * (HEIGHT - TOP - BOTTOM);
    put(out, format_args!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{about}\">\n"));
    if let Some((from, to)) = band {
        let (from, to) = (x(from), x(to.min(count as f64)));
        put(
            out,
            format_args!(
                "<rect class=\"band\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                (to - from).max(0.0),
                HEIGHT - TOP - BOTTOM
            ),
        );
    }
    let mut value = 0.0;
    while value <= top + step / 2.0 {
        let label = number(Some(value), if step >= 1.0 { 0 } else { places });
        put(
            out,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
                 <text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{label}</text>\n",
                WIDTH - RIGHT,
                y(value),
                LEFT - 6.0,
                y(value) + 4.0
            ),
        );
        value += step;
    }
    let each = nice(count as f64 / 8.0).max(1.0);
    let mut second = 0.0;
    while second <= count as f64 {
        put(
            out,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second}</text>",
                x(second),
                HEIGHT - 8.0
            ),
        );
        second += each;
    }
    out.push('\n');
    for (_, tone, values) in series {
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(n, value)| format!("{:.1} {:.1}", x(n as f64 + 0.5), y(*value)))
            .collect();
        if !points.is_empty() {
            put(out, format_args!("<path class=\"{tone}\" d=\"M{}\"/>\n", points.join("L")));
        }
    }
    for n in 0..count {
        let words: Vec<String> = series
            .iter()
            .map(|(name, _, values)| {
                let places = places.max(usize::from(step < 1.0));
                format!("{name} {}", number(values.get(n).copied(), places))
            })
            .collect();
        put(
            out,
            format_args!(
                "<rect class=\"touch\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>second {}: {}</title></rect>\n",
                x(n as f64),
                x(1.0) - x(0.0),
                HEIGHT - TOP - BOTTOM,
                n + 1,
                words.join(", ")
            ),
        );
    }
    put(out, format_args!("</svg>\n<p class=\"soft\">{about}</p>\n"));
}

fn key(out: &mut String, series: &[Series<'_>]) {
    out.push_str("<div class=\"key\">");
    for (name, tone, _) in series {
        put(out, format_args!("<span class=\"{tone}\">{name}</span>"));
    }
    out.push_str("</div>\n");
}

/// A histogram for each stage, one below the other on one logarithmic axis.
fn histograms(out: &mut String, latency: &Value) {
    let stages = [
        ("request to answer", "a", &latency["accept"]),
        ("request to carrier", "b", &latency["carrier"]),
        ("request to webhook", "c", &latency["webhook"]),
    ];
    let all: Vec<Vec<f64>> = stages.iter().map(|(_, _, stage)| list(&stage["buckets"])).collect();
    let filled = |buckets: &Vec<f64>| {
        buckets.iter().position(|count| *count > 0.0).map(|first| (first, buckets.len()))
    };
    let (first, last) = all
        .iter()
        .filter_map(filled)
        .fold((usize::MAX, 0), |(first, last), (from, to)| (first.min(from), last.max(to)));
    if first >= last {
        return;
    }
    let height = TOP + ROW * stages.len() as f64 + BOTTOM;
    let place = |bucket: f64| LEFT + (bucket - first as f64) / (last - first) as f64 * (WIDTH - LEFT - RIGHT);
    let of_ns = |ns: f64| place((ns / FIRST_BUCKET_NS).log2() * BUCKETS_PER_DOUBLING);
    put(out, format_args!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"latencies\">\n"));
    for (ms, label) in [
        (0.1, "0.1"),
        (1.0, "1"),
        (10.0, "10"),
        (100.0, "100"),
        (1e3, "1,000"),
        (1e4, "10,000"),
        (1e5, "100,000"),
    ] {
        let x = of_ns(ms * 1e6);
        if (LEFT..=WIDTH - RIGHT).contains(&x) {
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                     <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
                    height - BOTTOM,
                    height - 8.0
                ),
            );
        }
    }
    for (row, ((name, tone, stage), buckets)) in stages.iter().zip(&all).enumerate() {
        let bottom = TOP + ROW * (row as f64 + 1.0);
        let (sum, most) = (buckets.iter().sum::<f64>().max(1.0), buckets.iter().copied().fold(1.0, f64::max));
        put(
            out,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"label\" x=\"0\" y=\"{:.1}\">{}</text><text x=\"0\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                bottom - ROW + 26.0,
                name.split(" to ").next().unwrap_or_default(),
                bottom - ROW + 40.0,
                name.trim_start_matches("request "),
            ),
        );
        for (n, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let tall = (count / most * (ROW - 30.0)).max(0.7);
            let (from, to) = (place(n as f64), place(n as f64 + 1.0));
            let ms = |n: usize| FIRST_BUCKET_NS * (n as f64 / BUCKETS_PER_DOUBLING).exp2() / 1e6;
            put(
                out,
                format_args!(
                    "<rect class=\"{tone}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{:.2} to {:.2} ms: {} ({:.2} %)</title></rect>\n",
                    from + 0.5,
                    bottom - tall,
                    (to - from - 1.0).max(0.5),
                    ms(n),
                    ms(n + 1),
                    number(Some(*count), 0),
                    count / sum * 100.0
                ),
            );
        }
        let mut labels: Vec<(f64, f64, String)> = Vec::new();
        for name in ["p50", "p99", "p99.9"] {
            let Some(ns) = stage[name].as_f64().filter(|ns| *ns > 0.0) else { continue };
            let label = format!("{name} {}", number(Some(ns / 1e6), if ns < 1e7 { 2 } else { 0 }));
            let wide = label.len() as f64 * 6.0 + 6.0;
            labels.push((of_ns(ns).clamp(LEFT, WIDTH - RIGHT), wide, label));
        }
        // From the right, so that no label leaves the drawing or covers the one before.
        let mut free = WIDTH - RIGHT;
        for (x, wide, label) in labels.iter().rev() {
            let at = (x - wide / 2.0).min(free - wide);
            free = at;
            put(
                out,
                format_args!(
                    "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>\
                     <text class=\"label\" x=\"{at:.1}\" y=\"{:.1}\">{label}</text>\n",
                    bottom - ROW + 22.0,
                    bottom - ROW + 18.0
                ),
            );
        }
    }
    out.push_str("</svg>\n");
}

/// A step that people read well, at least so large.
fn nice(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * decade).find(|step| *step >= least).unwrap_or(least)
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// A number with commas between thousands.
fn number(value: Option<f64>, places: usize) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let text = format!("{value:.places$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n) % 3 == 0 && digit.is_ascii_digit() && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(rest) = rest {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// A commit with the beginning of its hash.
fn commit(value: &Value) -> String {
    let whole = text(value);
    let hash = whole.split(' ').next().unwrap_or_default();
    whole.replace(hash, &hash[..hash.len().min(12)])
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_have_commas() {
        for (value, places, expected) in
            [(1_234_567.0, 0, "1,234,567"), (999.0, 0, "999"), (1234.5, 1, "1,234.5"), (-100.0, 0, "-100")]
        {
            assert_eq!(number(Some(value), places), expected);
        }
    }

    #[test]
    fn steps_are_round() {
        for (least, expected) in [(0.03, 0.05), (1.1, 2.0), (6_000.0, 10_000.0), (0.0, 1.0)] {
            assert!((nice(least) - expected).abs() < 1e-9, "{least}: {}", nice(least));
        }
    }

    #[test]
    fn a_page_can_be_made_of_little() {
        let page = page(&json!({ "runs": [{ "profile": "<b>", "figures": { "a": 1.5 } }] }));
        assert!(page.contains("&lt;b&gt;") && page.contains("NOT WHOLE") && page.ends_with("</html>\n"));
    }
}

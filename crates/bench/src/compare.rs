//! Two programs in turn: A B A B and so on. A machine drifts by more than most changes are worth, so only what was
//! measured side by side is compared, pair by pair.

use crate::figures::median;
use crate::run::Outcome;
use std::fmt;

/// A figure of a run that can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its name, with its unit.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
}

/// The names of the figures that every run has, in their order.
pub fn names() -> Vec<&'static str> {
    figures(&Outcome::default()).into_iter().map(|figure| figure.name).collect()
}

/// The figures of a run.
pub fn figures(outcome: &Outcome) -> Vec<Figure> {
    let ms = |ns: u64| ns as f64 / 1e6;
    let figure = |name, value| Figure { name, value };
    let mut figures = vec![
        figure("messages/s, median", outcome.rate_median()),
        figure("messages/s, mean", outcome.rate_mean()),
        figure("CPU us/message", outcome.cpu_us()),
        figure("accept p50, ms", ms(outcome.accept.p50)),
        figure("accept p99, ms", ms(outcome.accept.p99)),
        figure("accept p99.9, ms", ms(outcome.accept.p999)),
        figure("carrier p50, ms", ms(outcome.carrier.p50)),
        figure("carrier p99, ms", ms(outcome.carrier.p99)),
        figure("webhook p50, ms", ms(outcome.webhook.p50)),
        figure("webhook p99, ms", ms(outcome.webhook.p99)),
        figure("webhook p99.9, ms", ms(outcome.webhook.p999)),
        figure("memory, most, MiB", outcome.rss.1 as f64 / 1_048_576.0),
        figure("disk octets/message", outcome.server.written as f64 / outcome.ended.max(1) as f64),
        figure("other programs, cores", outcome.others()),
    ];
    figures.extend(outcome.also.iter().copied());
    figures
}

/// The figures of the pairs so far.
#[derive(Debug, Default)]
pub struct Comparison {
    pairs: Vec<[Vec<Figure>; 2]>,
}

impl Comparison {
    /// Adds a pair.
    pub fn add(&mut self, one: &Outcome, other: &Outcome) {
        self.pairs.push([figures(one), figures(other)]);
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some([first, _]) = self.pairs.first() else { return Ok(()) };
        writeln!(f, "{:<24}{:>12}{:>12}{:>9}   pair by pair, B/A", "", "A, median", "B, median", "B/A")?;
        for (n, Figure { name, .. }) in first.iter().enumerate() {
            let of = |side: usize| -> Vec<f64> {
                self.pairs.iter().filter_map(|pair| pair[side].get(n)).map(|figure| figure.value).collect()
            };
            let (one, other) = (of(0), of(1));
            let ratios: Vec<f64> = one.iter().zip(&other).map(|(one, other)| other / one).collect();
            let words: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            writeln!(
                f,
                "{name:<24}{:>12.2}{:>12.2}{:>9.3}   {}",
                median(&one),
                median(&other),
                median(&ratios),
                words.join(" ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let figure = |value| vec![Figure { name: "x", value }];
        let comparison = Comparison {
            pairs: vec![[figure(1.0), figure(2.0)], [figure(10.0), figure(10.0)], [figure(4.0), figure(2.0)]],
        };
        let text = comparison.to_string();
        assert!(text.contains("2.00 1.00 0.50") && text.contains("1.000"), "{text}");
    }
}

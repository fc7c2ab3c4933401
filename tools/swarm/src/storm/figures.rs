//! The figures of a run by name. `back_s` is of the slowest storm; `p50_us` to `max_us` likewise, from the cut until a
//! connection was back.

use super::report::{RoundReport, StormReport};
use crate::latency::Percentiles;
use crate::report::{Figure, Report, count};
use crate::tally::said;

const FIGURES: &[Figure<StormReport>] = &[
    ("count", |report| Some(f64::from(report.count))),
    ("opened", |report| count(report.opened)),
    ("alive", |report| count(report.alive)),
    ("dropped", |report| count(report.dropped)),
    ("given_up", |report| count(report.given_up)),
    ("rounds", |report| count(report.rounds.len() as u64)),
    ("not_back", |report| worst(report, |round| Some(u64::from(report.count).saturating_sub(round.back)))),
    ("back_s", |report| report.rounds.iter().filter_map(|round| round.seconds).max_by(f64::total_cmp)),
    ("p50_us", |report| latency(report, |back| back.p50_us)),
    ("p90_us", |report| latency(report, |back| back.p90_us)),
    ("p99_us", |report| latency(report, |back| back.p99_us)),
    ("p999_us", |report| latency(report, |back| back.p999_us)),
    ("max_us", |report| latency(report, |back| back.max_us)),
    ("failed_attempts", |report| count(report.rounds.iter().map(|round| round.failed_attempts).sum())),
    ("refused", |report| count(report.rounds.iter().map(|round| round.refused).sum())),
    ("server_rss_bytes", |report| report.server_rss_bytes.and_then(count)),
];

fn worst(report: &StormReport, value: impl Fn(&RoundReport) -> Option<u64>) -> Option<f64> {
    report.rounds.iter().filter_map(value).max().and_then(count)
}

fn latency(report: &StormReport, value: fn(&Percentiles) -> u64) -> Option<f64> {
    worst(report, |round| (round.back_after.count > 0).then(|| value(&round.back_after)))
}

impl Report for StormReport {
    const FIGURES: &'static [Figure<Self>] = FIGURES;

    fn fault(&self) -> Option<String> {
        let wanted = u64::from(self.count);
        if self.opened < wanted {
            return Some(format!("only {} of {wanted} connections were opened ({})", self.opened, said(&self.reasons)));
        }
        if let Some(round) = self.rounds.iter().find(|round| round.seconds.is_none()) {
            let (number, back) = (round.round, round.back);
            return Some(format!("only {back} of {wanted} came back from storm {number} ({})", said(&self.reasons)));
        }
        (self.alive < wanted)
            .then(|| format!("only {} of {wanted} are alive at the end ({})", self.alive, said(&self.reasons)))
    }

    fn caution(&self) -> Option<String> {
        self.rounds.iter().find_map(|round| round.bottleneck.clone())
    }
}

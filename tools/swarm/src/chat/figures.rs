//! The figures of a chat run by name.
//!
//! `p50_us` to `max_us` are those of the whole way that the swarm can see: until a message is delivered, or accepted
//! when its recipient is not connected. In an open loop it begins when a message was due.

use super::{ChatReport, Faults};
use crate::latency::Percentiles;
use crate::report::{Figure, Report, count, latency};
use crate::schedule;

const FIGURES: &[Figure<ChatReport>] = &[
    ("pairs", |report| Some(f64::from(report.pairs))),
    ("seconds", |report| Some(report.seconds)),
    ("messages", |report| count(report.messages)),
    ("messages_per_s", |report| Some(report.messages_per_s)),
    ("lost", |report| count(report.faults.lost)),
    ("out_of_order", |report| count(report.faults.out_of_order)),
    ("duplicated", |report| count(report.faults.duplicated)),
    ("unsent", |report| count(report.unsent)),
    ("migrations", |report| count(report.migrations)),
    ("refused", |report| count(report.faults.refused)),
    ("disconnected", |report| count(report.faults.disconnected)),
    ("p50_us", |report| latency(whole_way(report), |latencies| latencies.p50_us)),
    ("p90_us", |report| latency(whole_way(report), |latencies| latencies.p90_us)),
    ("p99_us", |report| latency(whole_way(report), |latencies| latencies.p99_us)),
    ("p999_us", |report| latency(whole_way(report), |latencies| latencies.p999_us)),
    ("max_us", |report| latency(whole_way(report), |latencies| latencies.max_us)),
    ("accepted_p50_us", |report| latency(&report.accepted, |latencies| latencies.p50_us)),
    ("accepted_p99_us", |report| latency(&report.accepted, |latencies| latencies.p99_us)),
    ("receipted_p50_us", |report| latency(&report.receipted, |latencies| latencies.p50_us)),
    ("receipted_p99_us", |report| latency(&report.receipted, |latencies| latencies.p99_us)),
    ("late_p99_us", |report| latency(&report.late, |latencies| latencies.p99_us)),
    ("server_cpu_us_per_message", |report| report.server_cpu_us_per_message.filter(|_| report.messages > 0)),
    ("server_rss_bytes", |report| report.server_rss_bytes.and_then(count)),
    ("swarm_cpu_us_per_message", |report| (report.messages > 0).then_some(report.swarm_cpu_us_per_message)),
];

fn whole_way(report: &ChatReport) -> &Percentiles {
    if report.recipients_online { &report.delivered } else { &report.accepted }
}

impl Report for ChatReport {
    const FIGURES: &'static [Figure<Self>] = FIGURES;

    fn caution(&self) -> Option<String> {
        self.bottleneck.clone().or_else(|| schedule::caution_of(self.unsent))
    }

    fn fault(&self) -> Option<String> {
        let Faults { lost, out_of_order, duplicated, refused, disconnected, first } = &self.faults;
        self.faults.any().then(|| {
            let counts = [
                (lost, "lost"),
                (out_of_order, "out of order"),
                (duplicated, "duplicated"),
                (refused, "refused"),
                (disconnected, "disconnected"),
            ];
            let some = counts.into_iter().filter(|(count, _)| **count > 0);
            let what = some.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ");
            first.as_ref().map_or_else(|| what.clone(), |first| format!("{what}; first: {first}"))
        })
    }
}

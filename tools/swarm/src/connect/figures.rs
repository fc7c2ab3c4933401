//! The figures of a run by name. `p50_us` to `max_us` are from the time a message was due until it was delivered.

use super::report::{ConnectReport, MessagesReport};
use crate::latency::Percentiles;
use crate::report::{self, Figure, Report, count};
use crate::schedule;
use crate::tally::said;

const FIGURES: &[Figure<ConnectReport>] = &[
    ("count", |report| Some(f64::from(report.count))),
    ("opened", |report| count(report.opened)),
    ("alive", |report| count(report.alive)),
    ("dropped", |report| count(report.dropped)),
    ("given_up", |report| count(report.given_up)),
    ("failed_attempts", |report| count(report.failed_attempts)),
    ("refused", |report| count(report.refused)),
    ("connects_per_s", |report| Some(report.connects_per_s)),
    ("migrations", |report| count(report.migrations)),
    ("heartbeats", |report| count(report.heartbeats)),
    ("messages_per_s", |report| Some(report.messages.as_ref()?.per_s)),
    ("sent", |report| message(report, |messages| messages.sent)),
    ("unsent", |report| message(report, |messages| messages.unsent)),
    ("accepted", |report| message(report, |messages| messages.accepted)),
    ("delivered", |report| message(report, |messages| messages.delivered)),
    ("lost", |report| message(report, |messages| messages.lost)),
    ("cut_off", |report| message(report, |messages| messages.cut_off)),
    ("out_of_order", |report| message(report, |messages| messages.out_of_order)),
    ("duplicated", |report| message(report, |messages| messages.duplicated)),
    ("p50_us", |report| latency(report, |latencies| latencies.p50_us)),
    ("p90_us", |report| latency(report, |latencies| latencies.p90_us)),
    ("p99_us", |report| latency(report, |latencies| latencies.p99_us)),
    ("p999_us", |report| latency(report, |latencies| latencies.p999_us)),
    ("max_us", |report| latency(report, |latencies| latencies.max_us)),
    ("late_p99_us", |report| message(report, |messages| messages.late.p99_us)),
    ("server_bytes_per_connection", |report| report.memory.server_bytes_per_connection),
    ("server_bytes_per_connection_end", |report| report.memory.server_bytes_per_connection_end),
    ("kernel_bytes_per_connection", |report| Some(report.memory.kernel_slab_bytes_per_connection)),
    ("swarm_bytes_per_connection", |report| Some(report.memory.swarm_bytes_per_connection)),
    ("server_cpu_us_per_connect", |report| report.server_cpu_us_per_connect),
    ("server_cpu_percent", |report| report.holding.server_cpu_percent),
    ("swarm_cpu_percent", |report| Some(report.holding.swarm_cpu_percent)),
];

fn message(report: &ConnectReport, value: fn(&MessagesReport) -> u64) -> Option<f64> {
    report.messages.as_ref().map(value).and_then(count)
}

fn latency(report: &ConnectReport, value: fn(&Percentiles) -> u64) -> Option<f64> {
    report.messages.as_ref().and_then(|messages| report::latency(&messages.latency, value))
}

impl Report for ConnectReport {
    const FIGURES: &'static [Figure<Self>] = FIGURES;

    fn fault(&self) -> Option<String> {
        let mut faults = Vec::new();
        let mut fault = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        fault(u64::from(self.count).saturating_sub(self.opened), "connections were not opened");
        fault(self.dropped, "connections were dropped");
        fault(self.opened.saturating_sub(self.alive + self.dropped), "connections did not answer at the end");
        if let Some(messages) = &self.messages {
            fault(messages.lost, "messages were lost");
            fault(messages.cut_off, "messages were cut off with a connection");
            fault(messages.refused, "messages were refused");
            fault(messages.out_of_order, "messages came out of order");
            fault(messages.duplicated, "messages came again");
        }
        match (faults.is_empty(), self.reasons.is_empty()) {
            (true, _) => None,
            (false, true) => Some(faults.join(", ")),
            (false, false) => Some(format!("{} ({})", faults.join(", "), said(&self.reasons))),
        }
    }

    fn caution(&self) -> Option<String> {
        let unsent = self.messages.as_ref().map_or(0, |messages| messages.unsent);
        self.bottleneck.clone().or_else(|| schedule::caution_of(unsent))
    }
}

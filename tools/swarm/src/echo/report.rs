//! What a run found, and its figures by name.

use std::collections::BTreeMap;

use serde::Serialize;

use super::part::Part;
use super::{EchoOptions, EchoPace};
use crate::company::Point;
use crate::latency::Percentiles;
use crate::reading::{Costs, Readings};
use crate::report::{Figure, Report, count, latency};
use crate::schedule;
use crate::tally::said;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct EchoReport {
    /// Connections.
    pub connections: u32,
    /// Machines of the swarm that shared the run; 0 when it was this one alone.
    pub workers: usize,
    /// Threads of the swarm.
    pub threads: u32,
    /// Messages under way per connection, when that was the pace.
    pub depth: Option<u32>,
    /// Messages a second that were asked for, when that was the pace.
    pub rate: Option<f64>,
    /// Bytes of a message.
    pub bytes: usize,
    /// Echoes that came while measured.
    pub messages: u64,
    /// Of them, how many a second.
    pub messages_per_s: f64,
    /// From the time a message was due until its echo came.
    pub latency: Percentiles,
    /// In an open loop, from when a message was due until the swarm saw to it: what the swarm added.
    pub late: Percentiles,
    /// Messages that were due and were never sent, because too many before them had not come back.
    pub unsent: u64,
    /// Messages that did not come back.
    pub lost: u64,
    /// Echoes of something else than was sent next, or of nothing.
    pub wrong: u64,
    /// Connections that ended.
    pub dropped: u64,
    /// Why connections ended, and what was wrong with echoes.
    pub reasons: BTreeMap<String, u64>,
    /// Processor time of all threads of the server per message, in microseconds.
    pub server_cpu_us_per_message: Option<f64>,
    /// Of the swarm.
    pub swarm_cpu_us_per_message: f64,
    /// Resident memory of the server at the end.
    pub server_rss_bytes: Option<u64>,
    /// Processor time while measured.
    pub costs: Costs,
    /// Why the swarm rather than the server may have limited the run, if it looks like that.
    pub bottleneck: Option<String>,
}

impl EchoReport {
    /// `readings` are of the machine that sees the server's process.
    pub(super) fn new(options: &EchoOptions, workers: usize, part: Part, readings: &Readings) -> Self {
        let Part { threads, totals, messages, latency, lateness, reasons, costs } = part;
        let server = readings.between(Point::Due, Point::Held);
        let costs = costs.of_server(&server);
        let late = lateness.percentiles();
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let count = messages as f64;
        let per_message = |cpu_us: f64| cpu_us / count.max(1.0);
        let (depth, rate) = match options.pace {
            EchoPace::Depth(depth) => (Some(depth), None),
            EchoPace::PerSecond(rate) => (None, Some(rate)),
        };
        Self {
            connections: options.connections,
            workers,
            threads,
            depth,
            rate,
            bytes: options.bytes,
            messages,
            messages_per_s: count / costs.seconds,
            latency: latency.percentiles(),
            late,
            unsent: totals.unsent,
            lost: totals.sent.saturating_sub(totals.delivered),
            wrong: totals.out_of_order + totals.duplicated,
            dropped: totals.dropped,
            reasons,
            server_cpu_us_per_message: server.server_cpu_us().map(per_message),
            swarm_cpu_us_per_message: per_message(costs.swarm_cpu_us()),
            server_rss_bytes: readings.at(Point::Held).server.map(|usage| usage.rss_bytes),
            bottleneck: costs.bottleneck(&late),
            costs,
        }
    }
}

const FIGURES: &[Figure<EchoReport>] = &[
    ("connections", |report| Some(f64::from(report.connections))),
    ("messages", |report| count(report.messages)),
    ("messages_per_s", |report| Some(report.messages_per_s)),
    ("lost", |report| count(report.lost)),
    ("unsent", |report| count(report.unsent)),
    ("wrong", |report| count(report.wrong)),
    ("dropped", |report| count(report.dropped)),
    ("p50_us", |report| latency(&report.latency, |latencies| latencies.p50_us)),
    ("p90_us", |report| latency(&report.latency, |latencies| latencies.p90_us)),
    ("p99_us", |report| latency(&report.latency, |latencies| latencies.p99_us)),
    ("p999_us", |report| latency(&report.latency, |latencies| latencies.p999_us)),
    ("max_us", |report| latency(&report.latency, |latencies| latencies.max_us)),
    ("late_p99_us", |report| latency(&report.late, |latencies| latencies.p99_us)),
    ("server_cpu_us_per_message", |report| report.server_cpu_us_per_message.filter(|_| report.messages > 0)),
    ("server_rss_bytes", |report| report.server_rss_bytes.and_then(count)),
    ("swarm_cpu_us_per_message", |report| (report.messages > 0).then_some(report.swarm_cpu_us_per_message)),
];

impl Report for EchoReport {
    const FIGURES: &'static [Figure<Self>] = FIGURES;

    fn fault(&self) -> Option<String> {
        let Self { lost, wrong, dropped, .. } = self;
        (lost + wrong + dropped > 0).then(|| {
            format!(
                "{dropped} connections ended, {lost} echoes never came, {wrong} were wrong ({})",
                said(&self.reasons)
            )
        })
    }

    fn caution(&self) -> Option<String> {
        self.bottleneck.clone().or_else(|| schedule::caution_of(self.unsent))
    }
}

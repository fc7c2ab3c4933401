//! What a run found.

use std::time::Duration;

use serde::Serialize;

use super::{ChatOptions, Pace};
use crate::latency::{Latencies, Percentiles};
use crate::limits::BUSY_PERCENT_MAX;
use crate::reading;

/// What the server did wrong. All zero in a good run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Faults {
    /// Messages that were not accepted, delivered or receipted before the run's deadline.
    pub lost: u64,
    /// Messages that came with another sequence number, or another content, than the next one's.
    pub out_of_order: u64,
    /// Messages that came again although the session did not.
    pub duplicated: u64,
    /// Error frames.
    pub refused: u64,
    /// Sessions that ended.
    pub disconnected: u64,
    /// The first thing that went wrong, in words.
    pub first: Option<String>,
}

impl Faults {
    /// Whether there is any.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.lost + self.out_of_order + self.duplicated + self.refused + self.disconnected > 0
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.first.is_none() {
            self.first = Some(what());
        }
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.duplicated += other.duplicated;
        self.refused += other.refused;
        self.disconnected += other.disconnected;
        self.first = self.first.take().or(other.first);
    }
}

/// What one thread found.
#[derive(Debug, Default)]
pub(super) struct ThreadReport {
    pub(super) messages: u64,
    pub(super) total_messages: u64,
    pub(super) accepted: Latencies,
    pub(super) delivered: Latencies,
    pub(super) receipted: Latencies,
    pub(super) late: Latencies,
    pub(super) unsent: u64,
    pub(super) migrations: u64,
    pub(super) faults: Faults,
}

impl ThreadReport {
    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.total_messages += other.total_messages;
        self.accepted.add(&other.accepted);
        self.delivered.add(&other.delivered);
        self.receipted.add(&other.receipted);
        self.late.add(&other.late);
        self.unsent += other.unsent;
        self.migrations += other.migrations;
        self.faults.add(other.faults);
    }
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct ChatReport {
    /// Pairs of users.
    pub pairs: u32,
    /// Messages under way per pair, when that was the pace.
    pub depth: Option<u32>,
    /// Messages a second that were asked for, when that was the pace.
    pub rate: Option<f64>,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// Whether recipients were connected.
    pub recipients_online: bool,
    /// Messages routed while measured.
    pub messages: u64,
    /// Messages routed in the whole run.
    pub total_messages: u64,
    /// How long was measured.
    pub seconds: f64,
    /// Messages routed per second.
    pub messages_per_s: f64,
    /// From Send to Accepted. In an open loop, all three count from when a message was due, whenever it was sent.
    pub accepted: Percentiles,
    /// From Send to the recipient's Deliver.
    pub delivered: Percentiles,
    /// From Send to the Receipt that covers it.
    pub receipted: Percentiles,
    /// In an open loop, from when a message was due until the swarm saw to it: what the swarm added.
    pub late: Percentiles,
    /// In an open loop, messages that were due and were never sent, because too many before them had no answer.
    pub unsent: u64,
    /// Times that a connection has moved to another port and was answered there.
    pub migrations: u64,
    /// CPU time of all threads of the server per message.
    pub server_cpu_us_per_message: Option<f64>,
    /// Resident memory of the server at the end.
    pub server_rss_bytes: Option<u64>,
    /// CPU time of the swarm per message.
    pub swarm_cpu_us_per_message: f64,
    /// Why the swarm rather than the server may have limited the run, if it looks like that.
    pub bottleneck: Option<String>,
    /// What went wrong.
    pub faults: Faults,
}

impl ChatReport {
    pub(super) fn new(
        options: &ChatOptions,
        total: ThreadReport,
        took: Duration,
        server: Option<(Duration, u64)>,
        own_cpu: Duration,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let messages = total.messages.max(1) as f64;
        let late = total.late.percentiles();
        let per_message = |cpu: Duration| cpu.as_secs_f64() * 1e6 / messages;
        let (depth, rate) = match options.pace {
            Pace::Depth { depth, .. } => (Some(depth), None),
            Pace::PerSecond(rate) => (None, Some(rate)),
        };
        Self {
            pairs: options.pairs,
            depth,
            rate,
            text_bytes: options.text_bytes,
            recipients_online: options.recipients_online,
            messages: total.messages,
            total_messages: total.total_messages,
            seconds: took.as_secs_f64(),
            messages_per_s: if total.messages == 0 { 0.0 } else { messages / took.as_secs_f64() },
            accepted: total.accepted.percentiles(),
            delivered: total.delivered.percentiles(),
            receipted: total.receipted.percentiles(),
            unsent: total.unsent,
            migrations: total.migrations,
            server_cpu_us_per_message: server.map(|(cpu, _)| per_message(cpu)),
            server_rss_bytes: server.map(|(_, rss_bytes)| rss_bytes),
            swarm_cpu_us_per_message: per_message(own_cpu),
            bottleneck: bottleneck(own_cpu, took, options.threads_used(), &late),
            late,
            faults: total.faults,
        }
    }
}

/// Looks whether the threads of the swarm, which share the work evenly, had time to spare and were on time.
fn bottleneck(own_cpu: Duration, took: Duration, threads: u32, late: &Percentiles) -> Option<String> {
    let busy_percent = 100.0 * own_cpu.as_secs_f64() / (took.as_secs_f64() * f64::from(threads));
    if busy_percent > BUSY_PERCENT_MAX {
        return Some(format!(
            "the swarm was busy for {busy_percent:.0} % of the time: what is measured is the swarm; use more --threads"
        ));
    }
    reading::lateness(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_swarm_without_time_to_spare_when_reported_then_it_says_so_and_else_not() {
        let busy = |cpu_ms, threads| {
            bottleneck(Duration::from_millis(cpu_ms), Duration::from_secs(1), threads, &Percentiles::default())
        };
        assert_eq!(busy(880, 1), None);
        assert!(busy(970, 1).is_some_and(|said| said.contains("97 % of the time")));
        assert_eq!(busy(970, 2), None);
        assert!(busy(1_900, 2).is_some());
    }
}

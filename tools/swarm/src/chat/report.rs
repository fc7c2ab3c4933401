//! What a run found.

use serde::{Deserialize, Serialize};

use super::part::{Found, Part};
use super::{ChatOptions, Pace};
use crate::company::Point;
use crate::latency::Percentiles;
use crate::limits::BUSY_PERCENT_MAX;
use crate::merge::merged;
use crate::reading::{self, Costs, Readings};

merged! {
    /// What the server did wrong. All zero in a good run.
    #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct ChatReport {
    /// Pairs of users.
    pub pairs: u32,
    /// Machines of the swarm that shared the run; 0 when it was this one alone.
    pub workers: usize,
    /// Threads of the swarm.
    pub threads: u32,
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
    /// `readings` are of the machine that sees the server's process.
    pub(super) fn new(options: &ChatOptions, workers: usize, part: Part, readings: &Readings) -> Self {
        let Part { threads, found, costs } = part;
        let Found { messages, total_messages, accepted, delivered, receipted, late, unsent, migrations, faults } =
            found;
        let server = readings.between(Point::Due, Point::Held);
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let counted = messages as f64;
        let late = late.percentiles();
        let per_message = |cpu_us: f64| cpu_us / counted.max(1.0);
        let (depth, rate) = match options.pace {
            Pace::Depth { depth, .. } => (Some(depth), None),
            Pace::PerSecond(rate) => (None, Some(rate)),
        };
        Self {
            pairs: options.pairs,
            workers,
            threads,
            depth,
            rate,
            text_bytes: options.text_bytes,
            recipients_online: options.recipients_online,
            messages,
            total_messages,
            seconds: costs.seconds,
            messages_per_s: counted / costs.seconds,
            accepted: accepted.percentiles(),
            delivered: delivered.percentiles(),
            receipted: receipted.percentiles(),
            unsent,
            migrations,
            server_cpu_us_per_message: server.server_cpu_us().map(per_message),
            server_rss_bytes: readings.at(Point::Held).server.map(|usage| usage.rss_bytes),
            swarm_cpu_us_per_message: per_message(costs.swarm_cpu_us()),
            bottleneck: bottleneck(&costs, &late),
            late,
            faults,
        }
    }
}

/// Looks whether the threads of the swarm had time to spare and were on time.
fn bottleneck(costs: &Costs, late: &Percentiles) -> Option<String> {
    let busy_percent = costs.busiest_thread_percent;
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
        let busy = |busiest_thread_percent| {
            bottleneck(&Costs { busiest_thread_percent, ..Costs::default() }, &Percentiles::default())
        };
        assert_eq!(busy(88.0), None);
        assert!(busy(97.0).is_some_and(|said| said.contains("97 % of the time")));
        let late = Percentiles { p99_us: 50_000, ..Percentiles::default() };
        assert!(bottleneck(&Costs::default(), &late).is_some());
    }
}

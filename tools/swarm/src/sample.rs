//! What a run tells while it goes on.
//!
//! Every long-running command calls its [`Observer`] once a second from its main thread with a [`Sample`]; live views and
//! files of the course are written from that. The final report names its figures in one flat list
//! ([`Report::FIGURES`](crate::report::Report::FIGURES)), which is what thresholds look at.

use serde::{Deserialize, Serialize};

use crate::latency::Percentiles;

/// The state of a run at one moment. Counters count from the beginning of the run.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at_s: f64,
    /// Connections that are open and authenticated now.
    pub open: u64,
    /// Connections on their way there now.
    pub opening: u64,
    /// Open connections that ended although nobody asked for it.
    pub dropped: u64,
    /// Connections and messages that the server refused.
    pub refused: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that reached their recipient, or came back as echoes.
    pub delivered: u64,
    /// Messages that the server said it has accepted.
    pub accepted: u64,
    /// From the intended send to the delivery, of what was delivered since the sample before.
    pub latency: Percentiles,
    /// What the server costs; unknown without its process id.
    pub server: Option<ServerSample>,
    /// Processor time of the swarm since the sample before, in percent of one processor.
    pub generator_cpu_percent: f64,
}

impl Sample {
    /// Adds what another thread or machine of the run counts and uses. Times and latencies do not add up.
    pub(crate) fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.opening += other.opening;
        self.dropped += other.dropped;
        self.refused += other.refused;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.accepted += other.accepted;
        self.generator_cpu_percent += other.generator_cpu_percent;
    }
}

/// What the server costs at one moment.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ServerSample {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time since the sample before, in percent of one processor.
    pub cpu_percent: f64,
}

/// Who is told of each sample.
pub type Observer<'o> = &'o mut dyn FnMut(&Sample);

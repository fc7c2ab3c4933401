//! What a run found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::latency::Percentiles;
use crate::reading::Costs;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct StormReport {
    /// Connections that were wanted.
    pub count: u32,
    /// Threads of the swarm.
    pub threads: u32,
    /// Connections that were open before the first storm.
    pub opened: u64,
    /// Connections that answered after the last one.
    pub alive: u64,
    /// Connections that ended although nobody had cut them off.
    pub dropped: u64,
    /// Connections that the server refused for good.
    pub given_up: u64,
    /// The storms.
    pub rounds: Vec<RoundReport>,
    /// Resident memory of the server at the end.
    pub server_rss_bytes: Option<u64>,
    /// Why attempts failed and connections ended, in the whole run.
    pub reasons: BTreeMap<String, u64>,
}

/// One storm.
#[derive(Clone, Debug, Serialize)]
pub struct RoundReport {
    /// Its number, from 1.
    pub round: u32,
    /// Connections that were back.
    pub back: u64,
    /// From the cut until all were back; missing when some never were.
    pub seconds: Option<f64>,
    /// From the cut until a connection was back.
    pub back_after: Percentiles,
    /// Attempts to connect.
    pub attempts: u64,
    /// Of those, how many failed.
    pub failed_attempts: u64,
    /// Of those, how many the server refused in words.
    pub refused: u64,
    /// Connections that were back and ended again.
    pub dropped: u64,
    /// Why.
    pub reasons: BTreeMap<String, u64>,
    /// Processor time of both ends.
    pub costs: Costs,
    /// Why the swarm rather than the server may have limited the round, if it looks like that.
    pub bottleneck: Option<String>,
}

//! What a run found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::StormOptions;
use super::part::{Part, Round};
use crate::company::Point;
use crate::latency::Percentiles;
use crate::reading::{Costs, Readings};

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct StormReport {
    /// Connections that were wanted.
    pub count: u32,
    /// Machines of the swarm that shared the run; 0 when it was this one alone.
    pub workers: usize,
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

impl StormReport {
    /// `readings` are of the machine that sees the server's process.
    pub(super) fn new(options: &StormOptions, workers: usize, part: Part, readings: &Readings) -> Self {
        let Part { threads, opened, totals, rounds, reasons } = part;
        let rounds = (1..).zip(rounds);
        Self {
            count: options.count,
            workers,
            threads,
            opened,
            alive: totals.alive,
            dropped: totals.dropped,
            given_up: totals.given_up,
            rounds: rounds.map(|(number, round)| RoundReport::new(number, round, readings)).collect(),
            server_rss_bytes: readings.at(Point::Closing).server.map(|usage| usage.rss_bytes),
            reasons,
        }
    }
}

impl RoundReport {
    fn new(number: u32, seen: Round, readings: &Readings) -> Self {
        let Round { back, whole, latency, attempts, failed_attempts, refused, dropped, reasons, costs } = seen;
        let costs = costs.of_server(&readings.between(Point::Cut(number), Point::Back(number)));
        Self {
            round: number,
            back,
            seconds: whole.then_some(costs.seconds),
            back_after: latency.percentiles(),
            attempts,
            failed_attempts,
            refused,
            dropped,
            reasons,
            bottleneck: costs.bottleneck(&Percentiles::default()),
            costs,
        }
    }
}

//! The time of a run, and what is measured in it.

use std::time::Instant;

use switchyard_swarm::SwarmError;
use switchyard_swarm::latency::Latencies;
use switchyard_swarm::process::{Usage, usage};

use super::{Target, Times};
use crate::table::Measured;

/// How far a run is.
#[derive(Debug)]
enum Phase {
    /// What it needs is not there yet.
    Preparing,
    WarmUp {
        until: Instant,
    },
    Measuring {
        until: Instant,
        begun: Reading,
    },
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    count: u64,
    server: Usage,
    own: Usage,
}

impl Reading {
    fn now(pid: u32, count: u64) -> Result<Self, SwarmError> {
        Ok(Self { at: Instant::now(), count, server: usage(pid)?, own: usage(std::process::id())? })
    }
}

#[derive(Debug)]
pub(super) struct Run {
    pid: u32,
    times: Times,
    phase: Phase,
    latencies: Latencies,
}

impl Run {
    pub(super) fn new(target: &Target, times: Times) -> Self {
        Self { pid: target.pid, times, phase: Phase::Preparing, latencies: Latencies::default() }
    }

    /// Everything is prepared.
    pub(super) fn begin(&mut self, now: Instant) {
        self.phase = Phase::WarmUp { until: now + self.times.warm_up };
    }

    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::Preparing)
    }

    /// Something that began at `since` is done.
    pub(super) fn record(&mut self, since: Instant, now: Instant) {
        if let Phase::Measuring { .. } = self.phase {
            self.latencies.record(now.saturating_duration_since(since));
        }
    }

    /// Moves on when it is time; `count` is how much is done by now. Answers with the result at the end.
    pub(super) fn advance(&mut self, now: Instant, count: u64) -> Result<Option<Measured>, SwarmError> {
        match &self.phase {
            Phase::WarmUp { until } if now >= *until => {
                let begun = Reading::now(self.pid, count)?;
                self.phase = Phase::Measuring { until: begun.at + self.times.measured, begun };
            }
            Phase::Measuring { until, begun } if now >= *until => {
                let ended = Reading::now(self.pid, count)?;
                return Ok(Some(Measured::new(
                    ended.count - begun.count,
                    ended.at - begun.at,
                    ended.server.cpu.saturating_sub(begun.server.cpu),
                    ended.own.cpu.saturating_sub(begun.own.cpu),
                    &self.latencies.percentiles(),
                )));
            }
            _ => {}
        }
        Ok(None)
    }

    /// When [`Run::advance`] has something to do; `None` before the run has begun.
    pub(super) const fn next(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Preparing => None,
            Phase::WarmUp { until } | Phase::Measuring { until, .. } => Some(*until),
        }
    }
}

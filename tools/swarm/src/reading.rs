//! What a part of a run cost in processor time and memory, on both ends, and whether the swarm itself stood in the way.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::company::Point;
use crate::latency::Percentiles;
use crate::limits::{BUSY_PERCENT_MAX, LATE_US_MAX, MACHINE_BUSY_PERCENT_MAX};
use crate::merge::Merge;
use crate::process::{Usage, usage};
use crate::system::{KernelMemory, MachineTime};

/// Everything that is read at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    pub(crate) server: Option<Usage>,
    pub(crate) swarm: Usage,
    pub(crate) kernel: KernelMemory,
    machine: MachineTime,
    /// Processor time of each thread of the swarm, in microseconds.
    threads_us: Vec<u64>,
}

impl Reading {
    pub(crate) fn take(server_pid: Option<u32>, threads_us: Vec<u64>) -> Self {
        Self {
            at: Instant::now(),
            // A server that is gone shows as connections that are.
            server: server_pid.and_then(|pid| usage(pid).ok()),
            swarm: usage(std::process::id()).unwrap_or_default(),
            kernel: KernelMemory::read(),
            machine: MachineTime::read(),
            threads_us,
        }
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Costs {
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
        let percent =
            |before: Usage, after: Usage| 100.0 * after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds;
        let threads = self.threads_us.iter().enumerate();
        let busiest_us = threads
            .map(|(thread, us)| us.saturating_sub(before.threads_us.get(thread).copied().unwrap_or_default()))
            .max()
            .unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let busiest_thread_percent = busiest_us as f64 / seconds / 1e4;
        Costs {
            seconds,
            server_cpu_percent: before.server.zip(self.server).map(|(before, after)| percent(before, after)),
            swarm_cpu_percent: percent(before.swarm, self.swarm),
            busiest_thread_percent,
            machine_busy_percent: self.machine.busy_percent_since(&before.machine),
        }
    }
}

/// Processor time of a part of a run. Percent are of one processor, but for `machine_busy_percent`.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Costs {
    /// How long it took.
    pub seconds: f64,
    /// All threads of the server.
    pub server_cpu_percent: Option<f64>,
    /// All threads of the swarm.
    pub swarm_cpu_percent: f64,
    /// The thread of the swarm that used most.
    pub busiest_thread_percent: f64,
    /// All processors of the machine, whoever used them.
    pub machine_busy_percent: f64,
}

impl Costs {
    /// The same, with what the server used according to whoever sees its process.
    pub(crate) const fn of_server(self, server: &Self) -> Self {
        Self { server_cpu_percent: server.server_cpu_percent, ..self }
    }

    /// Processor time of the server, in microseconds.
    pub(crate) fn server_cpu_us(&self) -> Option<f64> {
        self.server_cpu_percent.map(|percent| percent * 1e4 * self.seconds)
    }

    /// Processor time of the swarm, in microseconds.
    pub(crate) fn swarm_cpu_us(&self) -> f64 {
        self.swarm_cpu_percent * 1e4 * self.seconds
    }

    /// Why the swarm, or the machine that it shares with the server, and not the server limited the run; `None` when
    /// there is no sign of that. `late` is how late messages were sent.
    #[must_use]
    pub fn bottleneck(&self, late: &Percentiles) -> Option<String> {
        let Self { busiest_thread_percent, machine_busy_percent, swarm_cpu_percent, .. } = self;
        if *busiest_thread_percent > BUSY_PERCENT_MAX {
            return Some(format!(
                "a thread of the swarm was busy for {busiest_thread_percent:.0} % of the time: use more (--threads)"
            ));
        }
        if *machine_busy_percent > MACHINE_BUSY_PERCENT_MAX
            && self.server_cpu_percent.is_none_or(|server| server < 4.0 * swarm_cpu_percent)
        {
            return Some(format!(
                "the processors were busy for {machine_busy_percent:.0} % of the time, {swarm_cpu_percent:.0} % of one \
                 of them with the swarm: what is measured is the machine"
            ));
        }
        lateness(late)
    }
}

/// Those of another machine of the swarm were used at the same time.
impl Merge for Costs {
    fn merge(&mut self, other: Self) {
        let Self { seconds, server_cpu_percent, swarm_cpu_percent, busiest_thread_percent, machine_busy_percent } =
            other;
        self.seconds = self.seconds.max(seconds);
        self.server_cpu_percent = self.server_cpu_percent.or(server_cpu_percent);
        self.swarm_cpu_percent += swarm_cpu_percent;
        self.busiest_thread_percent = self.busiest_thread_percent.max(busiest_thread_percent);
        self.machine_busy_percent = self.machine_busy_percent.max(machine_busy_percent);
    }
}

/// What was read at the points of a run.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    before: Reading,
    noted: Vec<(Point, Reading)>,
}

impl Readings {
    /// Of a run that has not begun.
    pub(crate) const fn begin(before: Reading) -> Self {
        Self { before, noted: Vec::new() }
    }

    /// Keeps what was read at a point; the first, if there are several.
    pub(crate) fn note(&mut self, point: Point, reading: Reading) {
        if !self.has(point) {
            self.noted.push((point, reading));
        }
    }

    /// Whether there is a reading of a point.
    pub(crate) fn has(&self, point: Point) -> bool {
        self.noted.iter().any(|(at, _)| *at == point)
    }

    /// How many points there were.
    pub(crate) const fn len(&self) -> usize {
        self.noted.len()
    }

    /// Before the run.
    pub(crate) const fn before(&self) -> &Reading {
        &self.before
    }

    /// At a point; before the run when it never came there.
    pub(crate) fn at(&self, point: Point) -> &Reading {
        self.noted.iter().find(|(at, _)| *at == point).map_or(&self.before, |(_, reading)| reading)
    }

    /// What was used from one point to another.
    pub(crate) fn between(&self, from: Point, to: Point) -> Costs {
        self.at(to).since(self.at(from))
    }
}

/// Says so when messages were sent late, and not because the server kept them waiting.
pub(crate) fn lateness(late: &Percentiles) -> Option<String> {
    (late.p99_us > LATE_US_MAX).then(|| {
        format!(
            "one of a hundred messages was seen to more than {} ms after it was due: the swarm got no processor in time",
            late.p99_us / 1_000
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_run_when_the_swarm_was_not_in_time_then_it_says_so_and_else_not() {
        let good = Costs { server_cpu_percent: Some(50.0), swarm_cpu_percent: 40.0, ..Costs::default() };
        let prompt = Percentiles { p99_us: 200, ..Percentiles::default() };
        let late = Percentiles { p99_us: 50_000, ..Percentiles::default() };
        assert_eq!(good.bottleneck(&prompt), None);
        assert!(good.bottleneck(&late).unwrap().contains("50 ms"));
        let busy = Costs { busiest_thread_percent: 97.0, ..good };
        assert!(busy.bottleneck(&prompt).unwrap().contains("--threads"));
        let full = Costs { machine_busy_percent: 99.0, ..good };
        assert!(full.bottleneck(&prompt).unwrap().contains("the machine"));
        let servers_fault = Costs { server_cpu_percent: Some(180.0), swarm_cpu_percent: 10.0, ..full };
        assert_eq!(servers_fault.bottleneck(&prompt), None);
    }
}

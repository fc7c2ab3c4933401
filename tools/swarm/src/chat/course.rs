//! The course of a run: what its threads publish while they work, and the sample of it that is told each second.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::gate::Gate;
use crate::cost::CostMeter;
use crate::latency::Latencies;
use crate::limits::SAMPLE_PAUSE;
use crate::sample::{Observer, Sample};

/// What one thread has done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What it has counted; neither its time nor what anything costs.
    pub(super) counts: Sample,
    /// Of what came since this was last taken.
    pub(super) latencies: Latencies,
}

/// Where a thread publishes its progress.
pub(super) type Published = Arc<Mutex<Progress>>;

/// The main thread's view of the run.
pub(super) struct Course<'o> {
    begun: Instant,
    next: Instant,
    meter: CostMeter,
    threads: Vec<Published>,
    observer: Observer<'o>,
}

impl<'o> Course<'o> {
    pub(super) fn begin(threads: u32, server_pid: Option<u32>, observer: Observer<'o>) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            next: begun + SAMPLE_PAUSE,
            meter: CostMeter::begin(server_pid),
            threads: (0..threads).map(|_| Published::default()).collect(),
            observer,
        }
    }

    /// Where a thread publishes.
    pub(super) fn published(&self, thread: u32) -> Published {
        Arc::clone(&self.threads[thread as usize])
    }

    /// Waits and tells samples until all threads stand before the gate, or `broken` says that one never will.
    pub(super) fn until_all_at(&mut self, gate: &Gate, broken: impl Fn() -> bool) {
        while !gate.all_arrive_by(self.next) && !broken() {
            self.tell();
        }
    }

    /// Waits and tells samples until `deadline`.
    pub(super) fn until(&mut self, deadline: Instant) {
        while self.next <= deadline {
            std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
            self.tell();
        }
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
    }

    /// Tells how it stands at the end.
    pub(super) fn end(mut self) {
        self.tell();
    }

    fn tell(&mut self) {
        let now = Instant::now();
        self.next += SAMPLE_PAUSE;
        if self.next <= now {
            // What was missed is not made up for in a hurry: a rate over a moment misleads.
            self.next = now + SAMPLE_PAUSE;
        }
        let mut sample = Sample { at_s: (now - self.begun).as_secs_f64(), ..Sample::default() };
        let mut latencies = Latencies::default();
        for thread in &self.threads {
            let mut progress = thread.lock().expect("threads do not panic while they publish");
            latencies.add(&std::mem::take(&mut progress.latencies));
            sample.add(&progress.counts);
        }
        sample.latency = latencies.percentiles();
        (sample.server, sample.generator_cpu_percent) = self.meter.read(now);
        (self.observer)(&sample);
    }
}

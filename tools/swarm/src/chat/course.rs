//! The course of a run: what its threads publish while they work, the sample of it that is told each second, and the
//! points at which it waits for other machines.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::gate::{Gate, Gates};
use crate::SwarmError;
use crate::company::{Company, Point};
use crate::cost::CostMeter;
use crate::latency::Latencies;
use crate::limits::{LOOK_PAUSE, SAMPLE_PAUSE};
use crate::reading::{Reading, Readings};
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
    server_pid: Option<u32>,
    meter: CostMeter,
    threads: Vec<Published>,
    gates: Arc<Gates>,
    observer: Observer<'o>,
    company: Box<dyn Company>,
    readings: Readings,
}

impl<'o> Course<'o> {
    pub(super) fn begin(
        (threads, gates): (u32, Arc<Gates>),
        server_pid: Option<u32>,
        observer: Observer<'o>,
        company: Box<dyn Company>,
    ) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            next: begun + SAMPLE_PAUSE,
            server_pid,
            meter: CostMeter::begin(server_pid),
            threads: (0..threads).map(|_| Published::default()).collect(),
            gates,
            observer,
            company,
            readings: Readings::begin(Reading::take(server_pid, Vec::new())),
        }
    }

    /// Where a thread publishes.
    pub(super) fn published(&self, thread: u32) -> Published {
        Arc::clone(&self.threads[thread as usize])
    }

    /// Waits and tells samples until all threads stand before the gate, or `broken` says that one never will.
    ///
    /// # Errors
    /// When a thread has failed, or the other machines are gone.
    pub(super) fn until_all_at(
        &mut self,
        gate: impl Fn(&Gates) -> &Gate,
        broken: impl Fn() -> bool,
    ) -> Result<(), SwarmError> {
        let gates = Arc::clone(&self.gates);
        while !gate(&gates).all_arrive_by(self.next) && !broken() {
            self.tell()?;
        }
        self.check()
    }

    /// Waits and tells samples until `deadline`.
    ///
    /// # Errors
    /// When a thread has failed, or the other machines are gone.
    pub(super) fn until(&mut self, deadline: Instant) -> Result<(), SwarmError> {
        while self.next <= deadline {
            std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
            self.tell()?;
        }
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Waits at a point of the run for all machines; what was read there, and when.
    ///
    /// # Errors
    /// When a thread has failed, or the other machines are gone.
    pub(super) fn meet(&mut self, point: Point) -> Result<Instant, SwarmError> {
        if !point.begins() {
            self.note(point);
        }
        self.company.reach(point, true)?;
        while self.company.go_on()?.is_none() {
            self.until(Instant::now() + LOOK_PAUSE)?;
        }
        Ok(self.note(point))
    }

    /// Reads what everything costs, unless that is known of a point; and when that was.
    pub(super) fn note(&mut self, point: Point) -> Instant {
        if !self.readings.has(point) {
            self.readings.note(point, Reading::take(self.server_pid, Vec::new()));
        }
        self.readings.at(point).at
    }

    /// Tells how it stands at the end; what was read on the way.
    pub(super) fn end(mut self) -> Readings {
        self.sample();
        self.readings
    }

    fn check(&mut self) -> Result<(), SwarmError> {
        if self.gates.is_broken_off() {
            return Err(SwarmError::Server("a thread of the swarm ended early".to_owned()));
        }
        self.company.check()
    }

    fn tell(&mut self) -> Result<(), SwarmError> {
        self.sample();
        self.check()
    }

    fn sample(&mut self) {
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
        self.company.tell(&sample, &latencies);
        (self.observer)(&sample);
    }
}

//! What whoever leads a run adds to the samples of its workers: the time, and what the server costs.

use std::time::Instant;

use crate::cost::CostMeter;
use crate::sample::{Observer, Sample};

/// Tells the observer of a run on other machines.
pub(super) struct Watch<'o> {
    observer: Observer<'o>,
    meter: CostMeter,
    begun: Instant,
}

impl<'o> Watch<'o> {
    pub(super) fn new(server_pid: Option<u32>, observer: Observer<'o>) -> Self {
        Self { observer, meter: CostMeter::begin(server_pid), begun: Instant::now() }
    }

    /// Tells how all workers stand.
    pub(super) fn tell(&mut self, sample: Sample) {
        let now = Instant::now();
        let (server, _) = self.meter.read(now);
        let at_s = now.saturating_duration_since(self.begun).as_secs_f64();
        (self.observer)(&Sample { at_s, server, ..sample });
    }
}

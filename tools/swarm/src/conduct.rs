//! The main thread of a large run: gives the orders, waits for what they bring about, and tells the observer meanwhile.

use std::time::{Duration, Instant};

use crate::SwarmError;
use crate::company::{Company, Point};
use crate::cost::CostMeter;
use crate::crew::{Crew, Layout, Member, Seat, Stage};
use crate::latency::Latencies;
use crate::limits::{LOOK_PAUSE, PATIENCE, SAMPLE_PAUSE};
use crate::reading::{Reading, Readings};
use crate::sample::{Observer, Sample};
use crate::tally::{Reasons, Totals};
use crate::transport::Transport;

/// Threads at work, and what was seen of them.
pub(crate) struct Conductor<'o, L> {
    crew: Crew<L>,
    observer: Observer<'o>,
    server_pid: Option<u32>,
    company: Box<dyn Company>,
    readings: Readings,
    meter: CostMeter,
    sampled: Instant,
    begun: Instant,
    /// Of the whole run.
    pub(crate) latency: Latencies,
    pub(crate) lateness: Latencies,
}

/// How a wait ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// With what was waited for.
    Done,
    /// With nothing new for too long.
    Stuck,
}

/// How far something is that is waited for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    pub(crate) is_done: bool,
    /// Whatever changes while there is progress.
    pub(crate) at: u64,
}

impl<'o, L: Send + 'static> Conductor<'o, L> {
    /// Starts the threads of a run, each of which makes its own work. The observer is told once a second.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub(crate) fn begin<M, F>(
        (layout, transport): (Layout, &Transport),
        make: F,
        server_pid: Option<u32>,
        observer: Observer<'o>,
        company: Box<dyn Company>,
    ) -> Result<Self, SwarmError>
    where
        M: Member<Left = L>,
        F: Fn(Seat) -> M + Send + Clone + 'static,
    {
        let readings = Readings::begin(Reading::take(server_pid, Vec::new()));
        let crew = Crew::start(layout, transport, make)?;
        let (meter, begun) = (CostMeter::begin(server_pid), crew.orders.begun());
        let (latency, lateness) = Default::default();
        Ok(Self { crew, observer, server_pid, company, readings, meter, sampled: begun, begun, latency, lateness })
    }

    pub(crate) fn totals(&self) -> Totals {
        self.crew.totals()
    }

    /// Reads what everything costs. A run that has come to a point notes it there by itself, and here only earlier.
    pub(crate) fn note(&mut self, point: Point) {
        if !self.readings.has(point) {
            self.readings.note(point, Reading::take(self.server_pid, self.crew.cpu_us()));
        }
    }

    pub(crate) fn give(&self, stage: Stage) {
        self.crew.orders.give(stage);
    }

    /// Waits until `progress` says that it is done, or does not change for `patience`.
    ///
    /// # Errors
    /// When a thread has failed.
    pub(crate) fn wait(
        &mut self,
        patience: Duration,
        mut progress: impl FnMut(&Totals) -> Progress,
    ) -> Result<Waited, SwarmError> {
        let (mut last, mut changed) = (None, Instant::now());
        loop {
            let totals = self.crew.totals();
            let now = progress(&totals);
            if now.is_done {
                return Ok(Waited::Done);
            }
            if last != Some(now.at) {
                (last, changed) = (Some(now.at), Instant::now());
            } else if changed.elapsed() >= patience {
                return Ok(Waited::Stuck);
            }
            self.look()?;
        }
    }

    /// Waits at a point of the run for all machines; whether all said that they are whole.
    ///
    /// # Errors
    /// When a thread has failed, or the others are gone.
    pub(crate) fn meet(&mut self, point: Point, whole: bool) -> Result<bool, SwarmError> {
        if !point.begins() {
            self.note(point);
        }
        self.company.reach(point, whole)?;
        let whole = loop {
            if let Some(whole) = self.company.go_on()? {
                break whole;
            }
            self.look()?;
        };
        self.note(point);
        Ok(whole)
    }

    /// Lets the run go on for a while.
    ///
    /// # Errors
    /// When a thread has failed.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), SwarmError> {
        let until = Instant::now() + time;
        self.wait(Duration::MAX, |_| Progress { is_done: Instant::now() >= until, at: 0 }).map(drop)
    }

    /// Has the threads stop sending, and waits until each has sent its last message.
    ///
    /// # Errors
    /// When a thread has failed.
    pub(crate) fn settle(&mut self) -> Result<(), SwarmError> {
        self.give(Stage::Settle);
        let threads = self.crew.tallies.len() as u64;
        self.wait(PATIENCE, |now| Progress { is_done: now.settled == threads, at: now.settled }).map(drop)
    }

    /// Asks every connection that is open whether it is alive, and waits until each has answered or ended.
    ///
    /// # Errors
    /// When a thread has failed.
    pub(crate) fn ask(&mut self) -> Result<(), SwarmError> {
        self.give(Stage::Ask);
        let open = self.totals().open;
        let progress = |now: &Totals| Progress { is_done: now.alive >= open.min(now.open), at: now.alive };
        self.wait(PATIENCE, progress).map(drop)
    }

    /// What was recorded since the last call, or the beginning.
    pub(crate) fn take_latency(&mut self) -> Latencies {
        self.sample();
        std::mem::take(&mut self.latency)
    }

    /// Why attempts failed and connections ended so far.
    pub(crate) fn reasons(&self) -> Reasons {
        let mut reasons = Reasons::new();
        self.crew.tallies.iter().for_each(|tally| tally.add_reasons(&mut reasons));
        reasons
    }

    /// Ends the run: what the threads left, and why connections ended.
    ///
    /// # Errors
    /// When a thread has failed.
    pub(crate) fn stop(mut self) -> Result<(Vec<L>, Finish), SwarmError> {
        self.sample();
        let reasons = self.reasons();
        let Self { latency, lateness, readings, .. } = self;
        Ok((self.crew.stop()?, Finish { reasons, latency, lateness, readings }))
    }

    /// Passes a moment: tells the observer when it is time, and sees that everybody is still there.
    fn look(&mut self) -> Result<(), SwarmError> {
        if self.crew.is_broken() {
            let early = || SwarmError::Server("a thread of the swarm ended early".to_owned());
            return Err(self.crew.stop().err().unwrap_or_else(early));
        }
        self.company.check()?;
        if self.sampled.elapsed() >= SAMPLE_PAUSE {
            self.sample();
        }
        std::thread::sleep(LOOK_PAUSE);
        Ok(())
    }

    fn sample(&mut self) {
        let mut interval = Latencies::default();
        for tally in &self.crew.tallies {
            tally.take_latency(&mut interval);
            tally.take_lateness(&mut self.lateness);
        }
        self.latency.add(&interval);
        let (totals, now) = (self.crew.totals(), Instant::now());
        let (server, generator_cpu_percent) = self.meter.read(now);
        self.sampled = now;
        let sample = Sample {
            at_s: now.saturating_duration_since(self.begun).as_secs_f64(),
            open: totals.open,
            opening: totals.opening,
            dropped: totals.dropped,
            refused: totals.refused,
            sent: totals.sent,
            delivered: totals.delivered,
            accepted: totals.accepted,
            latency: interval.percentiles(),
            server,
            generator_cpu_percent,
        };
        self.company.tell(&sample, &interval);
        (self.observer)(&sample);
    }
}

/// What is left when the threads have ended.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) reasons: Reasons,
    pub(crate) latency: Latencies,
    pub(crate) lateness: Latencies,
    pub(crate) readings: Readings,
}

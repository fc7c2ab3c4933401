//! The loop of a router core: rings in, engine, journal, rings out.
//!
//! A turn takes a bounded number of messages from every ring, lets the engine work, starts what it wants of the disk,
//! and notifies every thread that it pushed to, once. After it the batch is submitted, and when nothing waits the thread
//! sleeps in its commit ring until the batch is durable or somebody rings. Only while glommio has something to do (a
//! read of history, another segment) the executor gets the thread instead.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::Timer;
use switchyard_engine::{DamagedMessage, Engine, SteadyClock, StoreAsk, StoreReply};
use switchyard_log::batch::SealedBatch;
use switchyard_log::planner::SegmentTail;
use switchyard_router_core::effects::StorageState;
use switchyard_schema::ids::{Millis, ShardId};

use crate::commit_ring::{BatchMemory, CommitRing, Committed};
use crate::counters::CoreCounters;
use crate::journal_files::{JournalFiles, Report};
use crate::limits::{
    COMMIT_LOOK, COUNT_MS, EXECUTOR_LOOK, EXECUTOR_ROUND, FINAL_SNAPSHOTS_MS_MAX, IDLE_TICK_MS,
    MESSAGES_PER_RING_PER_TURN, SEGMENT_RETRY_MS, SETTLE_MS_MAX,
};
use crate::links::CoreEnds;
use crate::reserve::is_broken;
use crate::store::StorePort;

/// The wall clock.
pub(crate) fn clock() -> Millis {
    Millis(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX))
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What the cores of a process tell each other about a stop.
#[derive(Debug)]
pub(crate) struct StopSignal {
    pub(crate) stopping: AtomicBool,
    pub(crate) settled: Vec<AtomicBool>,
}

impl StopSignal {
    pub(crate) fn new(cores: usize) -> Self {
        let settled = (0..cores).map(|_| AtomicBool::new(false)).collect();
        Self { stopping: AtomicBool::new(false), settled }
    }

    fn all_settled(&self) -> bool {
        self.settled.iter().all(|settled| settled.load(Ordering::Acquire))
    }
}

/// Where a core is in its life.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    /// Everything is flushed; facts are still told and confirmed.
    Settling {
        until: Millis,
    },
    /// The last snapshots are on their way.
    Storing {
        until: Millis,
    },
    /// The closing mark is being written.
    Closing,
    Closed,
}

/// What a core leaves behind.
#[derive(Debug, Default)]
pub(crate) struct CoreEnd {
    /// The journal's last batch is durable and followed by a closing mark.
    pub(crate) clean: bool,
    pub(crate) tails: Vec<SegmentTail>,
    pub(crate) covered: Vec<(ShardId, u64)>,
}

/// Everything that the loop owns.
#[derive(Debug)]
pub(crate) struct CoreLoop {
    pub(crate) engine: Engine,
    pub(crate) ends: CoreEnds,
    pub(crate) store: StorePort,
    pub(crate) files: JournalFiles,
    pub(crate) commits: CommitRing,
    pub(crate) counters: Arc<CoreCounters>,
    pub(crate) stop: Arc<StopSignal>,
    clock: SteadyClock,
    started: Instant,
    phase: Phase,
    executor_had_a_round: Instant,
    /// Which threads this turn pushed to; kept for its memory.
    touched_gateways: Vec<bool>,
    touched_cores: Vec<bool>,
    making_segment: bool,
    segment_retry_at: Millis,
    /// No segment can be made because the disk fails: the core stops once the batch in flight has ended.
    disk_broke: bool,
    /// When to count again what the core holds.
    count_at: Millis,
    /// The newest damage that the log was told of.
    damage_told: Option<DamagedMessage>,
}

impl CoreLoop {
    pub(crate) fn new(
        engine: Engine,
        ends: CoreEnds,
        store: StorePort,
        files: JournalFiles,
        commits: CommitRing,
        counters: Arc<CoreCounters>,
        stop: Arc<StopSignal>,
    ) -> Self {
        let (touched_gateways, touched_cores) = (vec![false; ends.gateways.len()], vec![false; ends.cores.len()]);
        // It works from now on: what went before was the start.
        let started = Instant::now();
        counters.pulse.beat(started);
        Self {
            engine,
            ends,
            store,
            files,
            commits,
            counters,
            stop,
            clock: SteadyClock::default(),
            started,
            phase: Phase::Serving,
            executor_had_a_round: started,
            touched_gateways,
            touched_cores,
            making_segment: false,
            segment_retry_at: Millis(0),
            disk_broke: false,
            count_at: Millis(0),
            damage_told: None,
        }
    }

    /// Reads the clock, and shows by it that the core works.
    fn now(&mut self) -> Millis {
        let now = Instant::now();
        if let Some(silence) = self.counters.pulse.beat(now) {
            self.counters.stalls.add(1);
            tracing::warn!(core = self.core(), ms = silence.as_millis(), "this router core stood still");
        }
        self.clock.read(since_epoch(), now.saturating_duration_since(self.started))
    }

    /// Serves until it is told to stop, then leaves everything in order.
    pub(crate) async fn run(mut self) -> CoreEnd {
        while self.phase != Phase::Closed {
            let now = self.now();
            self.turn(now);
            self.advance(now);
            self.rest().await;
        }
        let covered = self.engine.covered().collect();
        let clean = self.engine.storage() != StorageState::Failed;
        CoreEnd { clean, tails: self.engine.finish(), covered }
    }

    fn turn(&mut self, now: Millis) {
        self.counters.turns.add(1);
        self.measure_room();
        if let Some(committed) = self.commits.poll() {
            self.on_committed(now, committed);
        }
        self.take_reports(now);
        if self.disk_broke && !self.commits.is_writing() {
            self.engine.handle_write_failed(now);
            self.counters.set_journal(self.engine.storage());
        }
        self.take_replies(now);
        self.take_messages(now);
        if self.engine.deadline().is_some_and(|deadline| deadline <= now) {
            self.engine.handle_tick(now);
        }
        self.use_disk(now);
        self.send();
        if now >= self.count_at {
            self.count_at = Millis(now.0 + COUNT_MS);
            self.count();
        }
    }

    /// Tells the engine how much may be pushed to every other thread.
    fn measure_room(&mut self) {
        let (mut gateways_full, mut cores_full) = (0, 0);
        for (index, end) in self.ends.gateways.iter().enumerate() {
            let room = end.answers.room();
            gateways_full += u64::from(room == 0);
            self.engine.set_gateway_room(index, room);
        }
        for (index, end) in self.ends.cores.iter().enumerate() {
            let room = end.as_ref().map_or(0, |end| end.outgoing.room());
            cores_full += u64::from(room == 0 && end.is_some());
            self.engine.set_core_room(index, room);
        }
        self.counters.to_gateways_full.add(gateways_full);
        self.counters.to_cores_full.add(cores_full);
    }

    fn count(&mut self) {
        let stats = self.engine.stats();
        self.counters.hold(&stats);
        if let Some(damage) = stats.newest_damaged
            && self.damage_told != stats.newest_damaged
        {
            self.damage_told = stats.newest_damaged;
            let advice = "run `logview verify`; `logview repair` gives up what is lost";
            tracing::error!(%damage, core = self.core(), advice, "damaged data is not served");
        }
    }

    fn on_committed(&mut self, now: Millis, Committed { result, took, records, bytes }: Committed) {
        match result {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.counters.committed(us, u64::from(records), u64::from(bytes));
                self.engine.handle_written(now);
            }
            Err(error) => {
                tracing::error!(%error, core = self.core(), "a batch could not be made durable; this core takes no more");
                self.engine.handle_write_failed(now);
            }
        }
        self.counters.set_journal(self.engine.storage());
    }

    fn take_reports(&mut self, now: Millis) {
        while let Some(report) = self.files.report() {
            match report {
                Report::Read { read, bytes } => {
                    if let Err(error) = &bytes {
                        tracing::warn!(%error, segment = read.range.segment, "a segment could not be read");
                    }
                    self.engine.handle_read(now, read, bytes.ok());
                }
                Report::Segment(made) => self.on_segment(now, made),
                Report::Manifest(Ok(())) => {}
                Report::Manifest(Err(error)) => {
                    tracing::warn!(%error, "the manifest could not be written; the next start will read more");
                }
            }
            self.counters.set_journal(self.engine.storage());
        }
    }

    fn on_segment(&mut self, now: Millis, made: std::io::Result<switchyard_log::segment::SegmentHeader>) {
        self.making_segment = false;
        match made {
            Ok(segment) => {
                if self.engine.storage() == StorageState::Full {
                    tracing::info!(core = self.core(), "there is space for the journal again; messages are accepted");
                }
                self.counters.segments.add(1);
                self.engine.handle_segment(now, segment);
            }
            Err(error) if is_broken(&error) => {
                tracing::error!(%error, core = self.core(), "the disk takes no segment; this core takes no more");
                self.disk_broke = true;
            }
            Err(error) => {
                if self.engine.storage() == StorageState::Ready {
                    tracing::error!(%error, core = self.core(), "no segment can be made; messages are refused until there is space");
                }
                self.counters.segments_refused.add(1);
                self.segment_retry_at = Millis(now.0 + SEGMENT_RETRY_MS);
                self.engine.handle_disk_full(now);
            }
        }
    }

    fn take_replies(&mut self, now: Millis) {
        while let Some(reply) = self.store.reply() {
            let stored = matches!(reply, StoreReply::Committed { result: Ok(()), .. });
            self.engine.handle_store(now, reply);
            if stored {
                self.files.begin_cover(self.engine.covered().collect());
            }
        }
    }

    fn take_messages(&mut self, now: Millis) {
        let mut waiting = 0;
        for end in self.ends.cores.iter().flatten() {
            let (found, mut popped) = (end.incoming.len(), 0);
            waiting += found;
            while popped < MESSAGES_PER_RING_PER_TURN {
                let Some(envelope) = end.incoming.pop() else { break };
                popped += 1;
                self.counters.peer_messages.add(1);
                self.engine.handle_peer(now, envelope);
            }
            if end.incoming.has_made_room(found, popped) {
                end.waker.notify();
            }
        }
        self.counters.peer_ring_depth.set(waiting as u64);
        let mut waiting = 0;
        for end in &self.ends.gateways {
            let (found, mut popped) = (end.requests.len(), 0);
            waiting += found;
            while popped < MESSAGES_PER_RING_PER_TURN && self.engine.wants_requests() {
                let Some((shard, message)) = end.requests.pop() else { break };
                popped += 1;
                self.counters.gateway_messages.add(1);
                self.engine.handle_gateway(now, shard, message);
            }
            if end.requests.has_made_room(found, popped) {
                end.waker.notify();
            }
        }
        self.counters.ring_depth.set(waiting as u64);
    }

    fn use_disk(&mut self, now: Millis) {
        // Without a segment the records wait; making one is under way, or waits for space.
        if let Ok(Some(mut batch)) = self.engine.poll_batch(now, BatchMemory::new) {
            let rolled = batch.rolled.take();
            self.begin_write(batch);
            if let Some(tail) = rolled {
                self.files.begin_seal(tail, now);
            }
        }
        let serving = matches!(self.phase, Phase::Serving | Phase::Settling { .. });
        if serving && self.engine.needs_segment() && !self.making_segment && now >= self.segment_retry_at {
            self.making_segment = true;
            self.files.begin_segment(now);
        }
        for read in self.engine.outbox().reads.drain(..) {
            self.counters.history_reads.add(1);
            self.files.begin_read(read);
        }
    }

    fn begin_write(&mut self, batch: SealedBatch<BatchMemory>) {
        let file = self.files.segment(batch.position.segment);
        self.commits.begin(file, batch);
    }

    fn send(&mut self) {
        let outbox = self.engine.outbox();
        for (gateway, message) in outbox.to_gateways.drain(..) {
            let index = usize::from(gateway);
            let end = &self.ends.gateways[index];
            if message.returns_credit() {
                end.answers.push_reserved(message);
            } else {
                end.answers.try_push(message).expect("the engine was told the room of every link");
            }
            self.touched_gateways[index] = true;
            self.counters.to_gateways.add(1);
        }
        for (core, envelope) in outbox.to_cores.drain(..) {
            let index = usize::from(core);
            let end = self.ends.cores[index].as_ref().expect("what stays on this core passes no link");
            if envelope.peer.is_reserved() {
                end.outgoing.push_reserved(envelope);
            } else {
                end.outgoing.try_push(envelope).expect("the engine was told the room of every link");
            }
            self.touched_cores[index] = true;
            self.counters.to_cores.add(1);
        }
        let asked = outbox.store.len().min(self.store.room());
        for ask in outbox.store.drain(..asked) {
            match &ask {
                StoreAsk::Load { .. } => self.counters.loads.add(1),
                StoreAsk::Commit { .. } => self.counters.snapshots.add(1),
                StoreAsk::Position { .. } => {}
            }
            self.store.ask(ask);
        }
        if asked > 0 {
            self.store.notify();
        }
        for (end, touched) in self.ends.gateways.iter().zip(&mut self.touched_gateways) {
            if std::mem::take(touched) {
                end.waker.notify();
            }
        }
        for (end, touched) in self.ends.cores.iter().zip(&mut self.touched_cores) {
            if std::mem::take(touched)
                && let Some(end) = end
            {
                end.waker.notify();
            }
        }
    }

    /// Moves on with a stop, when one was asked for.
    fn advance(&mut self, now: Millis) {
        match self.phase {
            Phase::Serving if self.stop.stopping.load(Ordering::Acquire) => {
                self.engine.begin_stop();
                self.phase = Phase::Settling { until: Millis(now.0 + SETTLE_MS_MAX) };
                self.advance(now);
            }
            Phase::Settling { until } => {
                let own = &self.stop.settled[usize::from(self.core())];
                own.store(self.engine.is_settled() && self.ends.all_empty(), Ordering::Release);
                if self.stop.all_settled() || now >= until {
                    self.engine.begin_final_snapshots(now);
                    self.phase = Phase::Storing { until: Millis(now.0 + FINAL_SNAPSHOTS_MS_MAX) };
                    self.send();
                }
            }
            Phase::Storing { until } if self.engine.has_final_snapshots() || now >= until => {
                self.phase = match self.engine.stop_mark(BatchMemory::new) {
                    Some(mark) => {
                        self.begin_write(mark);
                        Phase::Closing
                    }
                    None => Phase::Closing,
                };
            }
            Phase::Closing if self.files.is_idle() && !self.commits.is_writing() => self.phase = Phase::Closed,
            _ => {}
        }
    }

    fn core(&self) -> u16 {
        self.engine.config().core
    }

    /// Lets the disk work, and when nothing waits sleeps until something does.
    async fn rest(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        let executor_is_due = self.files.has_tasks() || self.executor_had_a_round.elapsed() >= EXECUTOR_LOOK;
        self.ends.bell.rung.set_sleeps_in_ring(!executor_is_due);
        self.ends.bell.parker.prepare_park();
        let takes_requests = self.engine.wants_requests();
        let nothing_waits = self.ends.cores_are_empty()
            && !(takes_requests && self.ends.has_requests())
            && self.store.is_empty()
            && !self.files.has_report()
            && !self.commits.has_committed();
        let pause = if nothing_waits { self.pause() } else { Duration::ZERO };
        if !pause.is_zero() {
            self.counters.sleeps.add(1);
        }
        let entered = if executor_is_due || pause.is_zero() { self.commits.submit() } else { self.commits.wait(pause) };
        if let Err(error) = entered {
            tracing::error!(%error, core = self.core(), "io_uring takes no batch; this core takes no more");
            let now = self.now();
            self.engine.handle_write_failed(now);
        }
        if executor_is_due {
            self.give_executor_a_round(pause).await;
        }
        self.ends.bell.parker.awake();
    }

    /// Hands the thread to the executor until its tasks have something to report, the bell rings, or it is time to look at
    /// the batch in flight.
    async fn give_executor_a_round(&mut self, pause: Duration) {
        let at_most = if !self.files.has_tasks() {
            EXECUTOR_ROUND
        } else if self.commits.is_writing() {
            COMMIT_LOOK
        } else {
            Duration::MAX
        };
        // A timer that is due at once would not end the executor's round, and without that no IO is looked at.
        let mut timer = pin!(Timer::new(pause.min(at_most).max(EXECUTOR_ROUND)));
        let rung = &self.ends.bell.rung;
        poll_fn(|context| {
            if rung.heard(context.waker()) {
                return Poll::Ready(());
            }
            timer.as_mut().poll(context).map(|_| ())
        })
        .await;
        self.executor_had_a_round = Instant::now();
    }

    fn pause(&mut self) -> Duration {
        let now = self.now();
        let longest = if self.phase == Phase::Serving { IDLE_TICK_MS } else { 5 };
        let wanted = self.engine.deadline().map_or(longest, |deadline| deadline.0.saturating_sub(now.0));
        let retry = if self.engine.needs_segment() && !self.making_segment {
            self.segment_retry_at.0.saturating_sub(now.0).max(1)
        } else {
            longest
        };
        // Something may be overdue that waits for another thread, as records without a segment do. An executor that never
        // sleeps hears nothing from other threads.
        Duration::from_millis(wanted.min(retry).min(longest).max(1))
    }
}

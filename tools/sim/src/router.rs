//! One router core: the counterpart of the loop in `router/server`, around the real engine.

use std::collections::VecDeque;

use switchyard_engine::{Engine, SteadyClock, StoreAsk, StoreReply};
use switchyard_log::batch::SealedBatch;
use switchyard_log::planner::SegmentTail;
use switchyard_log::segment::ShardSet;
use switchyard_router_core::effects::StorageState;
use switchyard_schema::ids::{Millis, ShardId};
use switchyard_schema::link::ToRouter;

use crate::agenda::{Event, Turn};
use crate::budget;
use crate::canary::{Canary, Memory};
use crate::disk::{Disk, Report};
use crate::links::CoreEnds;
use crate::shared::Shared;
use crate::store::Store;
use crate::tell;

/// As in `router/server`.
const MESSAGES_PER_RING_PER_TURN: usize = 256;
/// As in `router/server`.
const IDLE_TICK_MS: u64 = 500;
/// As in `router/server`.
const STORE_REQUESTS_PER_CORE: usize = 1024;
/// As in `router/server`.
const SEGMENT_RETRY_MS: u64 = 1_000;
/// As in `router/server`.
const SETTLE_MS_MAX: u64 = 3_000;
/// As in `router/server`.
const FINAL_SNAPSHOTS_MS_MAX: u64 = 10_000;

/// Where a core is in its life.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    Settling { until: Millis },
    Storing { until: Millis },
    Closing,
    Closed,
}

/// What the cores tell each other about a stop.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    pub(crate) stopping: bool,
    pub(crate) settled: Vec<bool>,
}

/// Which threads a turn pushed something to.
#[derive(Debug, Default)]
pub(crate) struct Notified {
    pub(crate) gateways: Vec<usize>,
    pub(crate) cores: Vec<usize>,
}

/// One router core.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) ends: CoreEnds,
    reports: VecDeque<Report>,
    replies: VecDeque<StoreReply>,
    store_outstanding: usize,
    shards: ShardSet,
    clock: SteadyClock,
    phase: Phase,
    making_segment: bool,
    segment_retry_at: Millis,
    pub(crate) turn: Turn,
    /// It does not run before.
    pub(crate) stalled_until_us: u64,
    pub(crate) canary: Option<Canary>,
    /// Batches under way that were released already.
    released: u32,
    /// As the operator last saw them.
    damaged_reads: u64,
}

/// What a core's turn works with besides itself.
pub(crate) struct Hands<'a> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) disk: &'a mut Disk,
    pub(crate) store: &'a mut Store,
    pub(crate) stop: &'a mut StopSignal,
    pub(crate) memory: &'a mut Memory,
}

impl Core {
    pub(crate) fn new(engine: Engine, ends: CoreEnds, canary: Option<Canary>) -> Self {
        let shards = ShardSet::of(engine.config().shards().collect::<Vec<ShardId>>());
        Self {
            engine,
            ends,
            reports: VecDeque::new(),
            replies: VecDeque::new(),
            store_outstanding: 0,
            shards,
            clock: SteadyClock::default(),
            phase: Phase::Serving,
            making_segment: false,
            segment_retry_at: Millis(0),
            turn: Turn::default(),
            stalled_until_us: 0,
            canary,
            released: 0,
            damaged_reads: 0,
        }
    }

    pub(crate) const fn shards(&self) -> &ShardSet {
        &self.shards
    }

    pub(crate) fn index(&self) -> usize {
        usize::from(self.engine.config().core)
    }

    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Makes sure that it runs within `us`.
    pub(crate) fn wake(&mut self, shared: &mut Shared, us: u64) {
        let at_us = (shared.agenda.now_us() + us).max(self.stalled_until_us);
        let event = Event::Core { life: shared.life, index: self.index() };
        self.turn.ask(&mut shared.agenda, at_us, event);
    }

    pub(crate) fn on_report(&mut self, report: Report) {
        self.reports.push_back(report);
    }

    pub(crate) fn on_reply(&mut self, reply: StoreReply) {
        self.replies.push_back(reply);
    }

    /// A turn, and when the next one is wanted.
    pub(crate) fn run(&mut self, hands: &mut Hands<'_>) -> Notified {
        let (wall, monotonic) = hands.shared.agenda.clocks();
        let now = self.clock.read(wall, monotonic);
        let mut notified = Notified::default();
        let mut worked = self.inputs(now, hands, &mut notified);
        if self.engine.deadline().is_some_and(|deadline| deadline <= now) {
            self.engine.handle_tick(now);
        }
        self.use_disk(now, hands);
        self.send(hands, &mut notified);
        worked |= self.advance(now, hands, &mut notified);
        self.look_at_stats(hands.shared);
        if self.phase != Phase::Closed {
            // A core that is due and finds nothing to do looks again soon; here that is a virtual millisecond.
            let us = if worked { 1 } else { self.pause(now).max(1) * 1000 };
            let drawn_us = hands.shared.plan.wake.draw(&mut hands.shared.random);
            self.wake(hands.shared, us + drawn_us);
        }
        notified
    }

    fn look_at_stats(&mut self, shared: &mut Shared) {
        let stats = self.engine.stats();
        if let Some(breach) = budget::exceeded(&self.engine, &stats) {
            shared.truth.fail(breach);
        }
        if let Some(damage) = stats.newest_damaged
            && stats.damaged_reads > std::mem::replace(&mut self.damaged_reads, stats.damaged_reads)
        {
            tell!(shared, "core {}: cannot read {damage}", self.index());
            if shared.trouble.damaged == 0 {
                shared.truth.fail(format!("a read met damage on a sound disk: {damage}"));
            }
            shared.trouble.damage_shown += 1;
        }
    }

    fn inputs(&mut self, now: Millis, hands: &mut Hands<'_>, notified: &mut Notified) -> bool {
        for (index, end) in self.ends.gateways.iter().enumerate() {
            self.engine.set_gateway_room(index, end.answers.room());
        }
        for (index, end) in self.ends.cores.iter().enumerate() {
            self.engine.set_core_room(index, end.as_ref().map_or(0, |end| end.outgoing.room()));
        }
        let mut worked = false;
        while let Some(report) = self.reports.pop_front() {
            worked = true;
            self.take_report(now, report, hands);
        }
        while let Some(reply) = self.replies.pop_front() {
            worked = true;
            self.store_outstanding -= 1;
            let stored = matches!(reply, StoreReply::Committed { result: Ok(()), .. });
            self.engine.handle_store(now, reply);
            if stored {
                let covered = self.engine.covered().collect();
                hands.disk.begin_cover(hands.shared, self.engine.config().core, covered);
            }
        }
        worked | self.take_messages(now, hands, notified)
    }

    fn take_report(&mut self, now: Millis, report: Report, hands: &mut Hands<'_>) {
        match report {
            Report::Written(result) => {
                hands.memory.written();
                if self.released > 0 {
                    self.released -= 1;
                    return;
                }
                match result {
                    Ok(()) => self.engine.handle_written(now),
                    Err(_) => self.engine.handle_write_failed(now),
                }
            }
            Report::Read { read, bytes } => self.engine.handle_read(now, read, bytes),
            Report::Segment(made) => {
                self.making_segment = false;
                match made {
                    Some(segment) => self.engine.handle_segment(now, segment),
                    None => {
                        self.segment_retry_at = Millis(now.0 + SEGMENT_RETRY_MS);
                        self.engine.handle_disk_full(now);
                    }
                }
            }
            Report::Manifest => {}
        }
    }

    fn take_messages(&mut self, now: Millis, hands: &mut Hands<'_>, notified: &mut Notified) -> bool {
        let mut worked = false;
        for (index, end) in self.ends.cores.iter().enumerate() {
            let Some(end) = end else { continue };
            let (found, mut popped) = (end.incoming.len(), 0);
            while popped < MESSAGES_PER_RING_PER_TURN {
                let Some(envelope) = end.incoming.pop() else { break };
                popped += 1;
                self.engine.handle_peer(now, envelope);
            }
            worked |= popped > 0;
            if end.incoming.has_made_room(found, popped) {
                notified.cores.push(index);
            }
        }
        for (index, end) in self.ends.gateways.iter().enumerate() {
            let (found, mut popped) = (end.requests.len(), 0);
            while popped < MESSAGES_PER_RING_PER_TURN && self.engine.wants_requests() {
                let Some((shard, message)) = end.requests.pop() else { break };
                popped += 1;
                if let Some(answer) = early_answer(self.canary, &self.engine, &message, hands.memory) {
                    let gateway = u16::try_from(index).expect("there are few gateway threads");
                    // The engine does not know of it, and is told that it has so much less room.
                    let sent = &mut self.engine.outbox().to_gateways;
                    sent.push((gateway, answer));
                    let queued = sent.iter().filter(|(to, _)| *to == gateway).count();
                    self.engine.set_gateway_room(index, end.answers.room().saturating_sub(queued));
                    continue;
                }
                self.engine.handle_gateway(now, shard, message);
            }
            worked |= popped > 0;
            if end.requests.has_made_room(found, popped) {
                notified.gateways.push(index);
            }
        }
        worked
    }

    fn use_disk(&mut self, now: Millis, hands: &mut Hands<'_>) {
        let core = self.engine.config().core;
        if let Ok(Some(mut batch)) = self.engine.poll_batch(now, |bytes| vec![0; bytes]) {
            let rolled = batch.rolled.take();
            self.begin_write(now, &batch, hands);
            if let Some(tail) = rolled {
                hands.disk.begin_seal(hands.shared, core, tail, now);
            }
        }
        let serving = matches!(self.phase, Phase::Serving | Phase::Settling { .. });
        if serving && self.engine.needs_segment() && !self.making_segment && now >= self.segment_retry_at {
            self.making_segment = true;
            hands.disk.begin_segment(hands.shared, core, self.shards.clone(), now);
        }
        for read in self.engine.outbox().reads.drain(..) {
            hands.disk.begin_read(hands.shared, core, read);
        }
    }

    fn begin_write(&mut self, now: Millis, batch: &SealedBatch<Vec<u8>>, hands: &mut Hands<'_>) {
        let header = &batch.header;
        tell!(
            hands.shared,
            "core {}: batch {} with {} records at {}:{}",
            header.core,
            header.number,
            header.record_count,
            header.position.segment,
            header.position.offset
        );
        hands.shared.story.mix(u64::from(header.crc));
        hands.disk.begin_write(hands.shared, header.core, batch);
        match self.canary {
            Some(Canary::RepeatAnsweredEarly) => hands.memory.begin(header, batch.bytes()),
            Some(Canary::AckBeforeDurable) => {
                self.engine.handle_written(now);
                self.released += 1;
            }
            _ => {}
        }
    }

    fn send(&mut self, hands: &mut Hands<'_>, notified: &mut Notified) {
        let outbox = self.engine.outbox();
        let mut to_gateways = std::mem::take(&mut outbox.to_gateways);
        if self.canary == Some(Canary::LiveOvertakes) {
            overtake(&mut to_gateways);
        }
        for (gateway, message) in to_gateways {
            let end = &self.ends.gateways[usize::from(gateway)];
            if message.returns_credit() {
                end.answers.push_reserved(message);
            } else {
                assert!(end.answers.try_push(message).is_ok(), "the engine was told the room of every link");
            }
            notified.gateways.push(usize::from(gateway));
        }
        let outbox = self.engine.outbox();
        for (core, envelope) in outbox.to_cores.drain(..) {
            if self.canary == Some(Canary::FactNotRetold) && !hands.memory.may_tell(&envelope) {
                continue;
            }
            let index = usize::from(core);
            let end = self.ends.cores[index].as_ref().expect("what stays on this core passes no link");
            if envelope.peer.is_reserved() {
                end.outgoing.push_reserved(envelope);
            } else {
                assert!(end.outgoing.try_push(envelope).is_ok(), "the engine was told the room of every link");
            }
            notified.cores.push(index);
        }
        let room = STORE_REQUESTS_PER_CORE - self.store_outstanding;
        let asked = outbox.store.len().min(room);
        let asks: Vec<StoreAsk> = outbox.store.drain(..asked).collect();
        self.store_outstanding += asks.len();
        for ask in asks {
            hands.store.ask(hands.shared, self.engine.config().core, ask);
        }
    }

    /// Moves on with a stop, when one was asked for. `true` when it did.
    fn advance(&mut self, now: Millis, hands: &mut Hands<'_>, notified: &mut Notified) -> bool {
        let before = self.phase;
        match self.phase {
            Phase::Serving if hands.stop.stopping => {
                self.engine.begin_stop();
                self.phase = Phase::Settling { until: Millis(now.0 + SETTLE_MS_MAX) };
                self.advance(now, hands, notified);
            }
            Phase::Settling { until } => {
                let index = self.index();
                hands.stop.settled[index] = self.engine.is_settled() && self.all_empty();
                if hands.stop.settled.iter().all(|settled| *settled) || now >= until {
                    self.engine.begin_final_snapshots(now);
                    self.phase = Phase::Storing { until: Millis(now.0 + FINAL_SNAPSHOTS_MS_MAX) };
                    self.send(hands, notified);
                }
            }
            Phase::Storing { until } if self.engine.has_final_snapshots() || now >= until => {
                if let Some(mark) = self.engine.stop_mark(|bytes| vec![0; bytes]) {
                    self.begin_write(now, &mark, hands);
                }
                self.phase = Phase::Closing;
            }
            Phase::Closing if self.reports.is_empty() && hands.disk.is_idle(self.engine.config().core) => {
                self.phase = Phase::Closed;
            }
            _ => {}
        }
        before != self.phase
    }

    fn all_empty(&self) -> bool {
        self.ends.gateways.iter().all(|end| end.requests.is_empty())
            && self.ends.cores.iter().flatten().all(|end| end.incoming.is_empty())
    }

    fn pause(&self, now: Millis) -> u64 {
        let longest = if self.phase == Phase::Serving { IDLE_TICK_MS } else { 5 };
        let wanted = self.engine.deadline().map_or(longest, |deadline| deadline.0.saturating_sub(now.0));
        let retry = if self.engine.needs_segment() && !self.making_segment {
            self.segment_retry_at.0.saturating_sub(now.0).max(1)
        } else {
            longest
        };
        wanted.min(retry).min(longest)
    }

    /// Ends the core: whether in order, what it leaves behind, what the store covers.
    pub(crate) fn finish(self) -> (bool, Vec<SegmentTail>, Vec<(ShardId, u64)>) {
        let covered = self.engine.covered().collect();
        let clean = self.engine.storage() != StorageState::Failed;
        (clean, self.engine.finish(), covered)
    }
}

/// [`Canary::RepeatAnsweredEarly`], where the answer comes from this core.
fn early_answer(
    canary: Option<Canary>,
    engine: &Engine,
    message: &ToRouter,
    memory: &Memory,
) -> Option<switchyard_schema::link::ToGateway> {
    let ToRouter::Send(request) = message else { return None };
    let config = engine.config();
    let answers_here = config.core_of(config.shard_count.of_user(request.origin.user)) == config.core;
    if canary == Some(Canary::RepeatAnsweredEarly) && answers_here { memory.early_answer(request) } else { None }
}

/// [`Canary::LiveOvertakes`]: the last two messages of a turn for the same sessions change places.
fn overtake(messages: &mut [(u16, switchyard_schema::link::ToGateway)]) {
    use switchyard_schema::link::ToGateway::Deliver;
    let deliver = |message: &(u16, switchyard_schema::link::ToGateway)| matches!(message.1, Deliver { .. });
    let Some(last) = messages.iter().rposition(deliver) else { return };
    if let Some(before) = messages[..last].iter().rposition(deliver) {
        messages.swap(before, last);
    }
}

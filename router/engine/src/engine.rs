//! One router core without its IO: the shards it owns, joined with its journal.
//!
//! A turn of the driver: [`Engine::set_room`], the inputs that arrived, [`Engine::handle_tick`] when its deadline has
//! passed, [`Engine::poll_batch`], then everything in [`Engine::outbox`].

use bytes::Bytes;
use switchyard_log::Position;
use switchyard_log::batch::{BatchKind, SealedBatch};
use switchyard_log::manifest::Manifest;
use switchyard_log::planner::{JournalPlan, NoSegment, SegmentTail};
use switchyard_log::segment::SegmentHeader;
use switchyard_router_core::effects::{Effects, Envelope, StorageState};
use switchyard_router_core::{Peer, Shard};
use switchyard_schema::ids::{Millis, ShardId};
use switchyard_schema::link::ToRouter;
use switchyard_schema::record::MessageRecord;

use crate::commit::GroupCommit;
use crate::config::EngineConfig;
use crate::given_up::GivenUp;
use crate::history::{History, Readable, Step};
use crate::limits::{SNAPSHOT_LOOK_MS, SNAPSHOTS_AT_ONCE, TOUCHED_TICK_MS};
use crate::outbox::{JournalRead, Outbox, StoreAsk, StoreReply};
use crate::refusal;
use crate::snapshots::ShardSnapshots;

/// One shard and what the engine keeps beside it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) shard: Shard,
    pub(crate) snapshots: ShardSnapshots,
    /// Its data is damaged: it answers with refusals only.
    pub(crate) refuses: bool,
    durable_lsn: u64,
    tick_at: Option<Millis>,
    final_taken: bool,
    /// It had its one snapshot on the full disk.
    full_taken: bool,
}

/// The shards of one router core and their journal.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    pub(crate) slots: Vec<Slot>,
    fx: Effects,
    /// The messages between shards that are being handed over; kept for its memory.
    letters: Vec<Envelope>,
    pub(crate) outbox: Outbox,
    pub(crate) commit: GroupCommit,
    pub(crate) history: History,
    oldest_segment: u32,
    storage: StorageState,
    snapshot_look_at: Millis,
    /// The core stops: everything is flushed at once.
    stopping: bool,
    final_snapshots: bool,
}

impl Engine {
    /// An engine of empty shards; [`crate::recovery`] fills them before the first input.
    #[must_use]
    pub fn new(config: EngineConfig, run: u32) -> Self {
        let slot = |shard| Slot {
            shard: Shard::new(config.shard_config(shard)),
            snapshots: ShardSnapshots::new(0, Millis(0)),
            refuses: false,
            durable_lsn: 0,
            tick_at: None,
            final_taken: false,
            full_taken: false,
        };
        Self {
            slots: config.shards().map(slot).collect(),
            fx: Effects::new(usize::from(config.gateways), usize::from(config.router_cores)),
            letters: Vec::new(),
            outbox: Outbox::default(),
            commit: GroupCommit::new(JournalPlan::new(run, config.core), config.lazy_commit_ms),
            history: History::default(),
            oldest_segment: 0,
            storage: StorageState::Ready,
            snapshot_look_at: Millis(0),
            stopping: false,
            final_snapshots: false,
            config,
        }
    }

    /// What it was told when it was made.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Recovery is over: first deadlines. `covered` is what the store covers of each shard, in the order of the shards.
    pub(crate) fn start(&mut self, now: Millis, covered: impl Fn(ShardId) -> u64) {
        let count = self.slots.len().max(1) as u64;
        for (index, slot) in (0..).zip(&mut self.slots) {
            // Spread over the period, so that the store gets a steady trickle.
            let due_at = Millis(now.0 + self.config.snapshots.every_ms * (index + 1) / count);
            slot.snapshots = ShardSnapshots::new(covered(slot.shard.id()), due_at);
            slot.durable_lsn = slot.shard.last_lsn();
            slot.tick_at = Some(now);
        }
    }

    /// Open slots left in the ring to a gateway thread; before every turn.
    pub fn set_gateway_room(&mut self, gateway: usize, room: usize) {
        self.fx.gateway_room[gateway] = room;
    }

    /// Open slots left in the ring to another router core; before every turn.
    pub fn set_core_room(&mut self, core: usize, room: usize) {
        let own = core == usize::from(self.config.core);
        self.fx.core_room[core] = if own { usize::MAX } else { room };
    }

    /// What waits to leave.
    pub fn outbox(&mut self) -> &mut Outbox {
        self.outbox.to_gateways.append(&mut self.fx.to_gateways);
        &mut self.outbox
    }

    /// Whether requests of gateways may come: not while the journal is far behind. Credits hold their senders back. On a
    /// full disk they may, since reads go on and what needs the journal is refused.
    #[must_use]
    pub fn wants_requests(&self) -> bool {
        self.commit.has_room() || self.storage == StorageState::Full
    }

    /// A message from a gateway for a shard of this core.
    pub fn handle_gateway(&mut self, now: Millis, shard: ShardId, input: ToRouter) {
        let is_out_of_room = self.storage == StorageState::Full && !self.commit.has_room();
        let Self { slots, fx, config, .. } = self;
        let slot = slot(slots, config, shard);
        if slot.refuses {
            refusal::gateway(config, shard, input, fx);
        } else if let Some(input) = if is_out_of_room { refusal::out_of_room(shard, input, fx) } else { Some(input) } {
            slot.touch(now);
            slot.shard.handle_gateway(now, input, fx);
        }
        self.absorb(now);
    }

    /// A message from a shard of another core.
    pub fn handle_peer(&mut self, now: Millis, envelope: Envelope) {
        self.deliver(now, envelope);
        self.absorb(now);
    }

    fn deliver(&mut self, now: Millis, Envelope { from, to, peer }: Envelope) {
        let Self { slots, fx, config, .. } = self;
        let slot = slot(slots, config, to);
        if slot.refuses {
            // The read credit comes back even where its answer is of no use.
            if matches!(peer, Peer::ReadReply(_)) {
                fx.read_credits[usize::from(config.core_of(from))] += 1;
            }
            refusal::peer(config, to, from, peer, fx);
        } else {
            slot.touch(now);
            slot.shard.handle_peer(now, from, peer, fx);
        }
    }

    /// The store answered.
    pub fn handle_store(&mut self, now: Millis, reply: StoreReply) {
        match reply {
            StoreReply::Loaded { shard, key, rows } => {
                let Self { slots, fx, config, .. } = self;
                let slot = slot(slots, config, shard);
                slot.touch(now);
                match rows {
                    Ok(rows) => slot.shard.handle_loaded(now, key, rows, fx),
                    Err(_) => {
                        let code = switchyard_schema::error::ErrorCode::StorageUnavailable;
                        slot.shard.handle_load_failed(now, key, code, fx);
                    }
                }
            }
            StoreReply::Position { walk, value } => {
                let step = self.history.position(walk, value, self.readable());
                self.on_step(now, step);
            }
            StoreReply::Committed { shard, result: Ok(()) } => {
                let slot = slot(&mut self.slots, &self.config, shard);
                slot.snapshots.stored(&mut slot.shard);
                // What it holds may leave memory now.
                slot.touch(now);
                self.snapshot_look_at = now;
            }
            // The snapshot stays on its way for good: the journal has everything, and the driver shows the failure.
            StoreReply::Committed { .. } => {}
        }
        self.absorb(now);
    }

    /// The journal answered a read; `None` when it failed.
    pub fn handle_read(&mut self, now: Millis, read: JournalRead, bytes: Option<Bytes>) {
        let step = self.history.read(read, bytes, self.readable());
        self.on_step(now, step);
        self.absorb(now);
    }

    /// The list of segments as recovery left it: where history begins, and what of it a repair gave up.
    pub fn set_kept(&mut self, manifest: &Manifest) {
        self.oldest_segment = manifest.oldest_segment();
        self.history.set_given_up(GivenUp::of(manifest));
    }

    /// The oldest segment that still exists.
    pub const fn set_oldest_segment(&mut self, number: u32) {
        self.oldest_segment = number;
    }

    /// Housekeeping of the shards whose time has come.
    pub fn handle_tick(&mut self, now: Millis) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.tick_at.is_none_or(|at| at > now) || slot.refuses {
                continue;
            }
            slot.tick_at = slot.shard.handle_tick(now, &mut self.fx);
            self.absorb(now);
        }
        if now >= self.snapshot_look_at {
            self.look_for_snapshots(now);
        }
    }

    /// When to call [`Engine::handle_tick`] and [`Engine::poll_batch`] if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let ticks = self.slots.iter().filter(|slot| !slot.refuses).filter_map(|slot| slot.tick_at);
        let snapshots = self.slots.iter().filter(|slot| slot.is_behind()).filter_map(|slot| slot.snapshots.due_at());
        let last = self.final_snapshots.then_some(self.snapshot_look_at);
        let snapshots = snapshots.map(|due| due.max(self.snapshot_look_at)).chain(last);
        ticks.chain(snapshots).chain(self.commit.deadline()).min()
    }

    /// The next batch to write, when one is due. `memory` gives aligned memory of at least so many bytes. Write it, sync
    /// it, then call [`Engine::handle_written`] or [`Engine::handle_write_failed`].
    ///
    /// # Errors
    /// [`NoSegment`] while no preallocated segment is ready.
    pub fn poll_batch<B: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        now: Millis,
        memory: impl FnOnce(usize) -> B,
    ) -> Result<Option<SealedBatch<B>>, NoSegment> {
        let Self { slots, config, commit, stopping, .. } = self;
        let mut place = |shard, message: &MessageRecord, position: Position| {
            let shard = &mut slot(slots, config, shard).shard;
            Position::unpack(shard.place(message.conversation, message.sequence, position.pack()))
        };
        commit.poll(now, *stopping, &mut place, memory)
    }

    /// The batch in flight is durable: what it holds may be seen.
    pub fn handle_written(&mut self, now: Millis) {
        let ranges = self.commit.written(now);
        for range in ranges.as_slice() {
            let Self { slots, fx, config, .. } = self;
            let slot = slot(slots, config, range.shard);
            slot.durable_lsn = range.max;
            slot.touch(now);
            slot.shard.handle_durable(now, range.max, fx);
            self.absorb(now);
        }
        self.release_snapshots();
        while let Some(walk) = self.history.waiting() {
            let step = self.history.go(walk, self.readable());
            self.on_step(now, step);
        }
        self.absorb(now);
    }

    /// The batch in flight may or may not be on disk. Nothing more is written: what was not durable is refused.
    pub fn handle_write_failed(&mut self, now: Millis) {
        self.commit.fail();
        self.set_storage(now, StorageState::Failed);
    }

    /// No segment can be made: messages are refused, the rest of the journal is for the other records.
    pub fn handle_disk_full(&mut self, now: Millis) {
        self.set_storage(now, StorageState::Full);
    }

    /// Whether another segment is wanted.
    #[must_use]
    pub fn needs_segment(&self) -> bool {
        self.commit.needs_segment()
    }

    /// A segment is ready: file, header and manifest entry are durable.
    pub fn handle_segment(&mut self, now: Millis, segment: SegmentHeader) {
        self.commit.provide(segment);
        if self.storage == StorageState::Full {
            self.set_storage(now, StorageState::Ready);
        }
    }

    /// Whether the journal takes records.
    #[must_use]
    pub const fn storage(&self) -> StorageState {
        self.storage
    }

    fn set_storage(&mut self, now: Millis, state: StorageState) {
        if self.storage == state || self.storage == StorageState::Failed {
            return;
        }
        self.storage = state;
        self.snapshot_look_at = now;
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.full_taken = false;
            if !slot.refuses {
                slot.touch(now);
                slot.shard.handle_storage(now, state, &mut self.fx);
                self.absorb(now);
            }
        }
    }

    /// From now on what has been recorded is written at once, so that the core comes to rest.
    pub const fn begin_stop(&mut self) {
        self.stopping = true;
    }

    /// Whether everything is durable and every fact is confirmed, as far as this core knows.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let confirmed = |slot: &Slot| slot.refuses || slot.shard.is_settled();
        self.commit.is_idle() && self.history.is_idle() && self.slots.iter().all(confirmed)
    }

    /// Takes a last snapshot of every shard, whatever was confirmed by now.
    pub fn begin_final_snapshots(&mut self, now: Millis) {
        self.final_snapshots = true;
        self.look_for_snapshots(now);
        self.absorb(now);
    }

    /// Whether the last snapshots are in the store, or cannot be.
    #[must_use]
    pub fn has_final_snapshots(&self) -> bool {
        let done = |slot: &Slot| slot.refuses || (slot.final_taken && slot.snapshots.is_idle());
        self.commit.has_failed() || (self.commit.is_idle() && self.slots.iter().all(done))
    }

    /// The closing mark of a clean stop, to be written like a batch; `None` when the journal is empty or has failed.
    pub fn stop_mark<B: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        memory: impl FnOnce(usize) -> B,
    ) -> Option<SealedBatch<B>> {
        self.commit.mark(BatchKind::Stop, memory)
    }

    /// Whether a batch or a closing mark is in flight.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.commit.in_flight().is_some()
    }

    /// Ends the engine: the segments it leaves behind.
    #[must_use]
    pub fn finish(self) -> Vec<SegmentTail> {
        self.commit.finish()
    }

    /// What the store covers of each shard of this core.
    pub fn covered(&self) -> impl Iterator<Item = (ShardId, u64)> + '_ {
        self.slots.iter().map(|slot| (slot.shard.id(), slot.snapshots.covered()))
    }

    fn look_for_snapshots(&mut self, now: Millis) {
        self.snapshot_look_at = Millis(now.0 + SNAPSHOT_LOOK_MS);
        if self.storage == StorageState::Failed && !self.final_snapshots {
            return;
        }
        // A full disk is the store's disk too: its reserve is for one snapshot, and for the last one.
        let is_full = self.storage == StorageState::Full;
        let mut under_way = self.slots.iter().filter(|slot| !slot.snapshots.is_idle()).count();
        for slot in &mut self.slots {
            if under_way >= SNAPSHOTS_AT_ONCE {
                break;
            }
            let last = self.final_snapshots && !slot.final_taken && slot.snapshots.is_idle();
            let due = if is_full {
                !slot.full_taken && slot.snapshots.is_idle() && slot.is_behind()
            } else {
                slot.snapshots.is_due(now, slot.shard.last_lsn(), self.config.snapshots)
            };
            if slot.refuses || !(last || due) {
                continue;
            }
            slot.final_taken |= last;
            slot.full_taken |= is_full;
            slot.snapshots.take(now, &mut slot.shard, self.config.snapshots);
            under_way += 1;
        }
        self.release_snapshots();
    }

    fn release_snapshots(&mut self) {
        for slot in &mut self.slots {
            if let Some(rows) = slot.snapshots.release(slot.durable_lsn, &slot.shard) {
                self.outbox.store.push_back(StoreAsk::Commit { shard: slot.shard.id(), rows });
            }
        }
    }

    fn readable(&self) -> Readable {
        let in_flight = self.commit.in_flight().map(|batch| batch.position);
        Readable { oldest_segment: self.oldest_segment, in_flight }
    }

    fn on_step(&mut self, now: Millis, step: Step) {
        let mut next = Some(step);
        while let Some(step) = next.take() {
            match step {
                Step::Read(read) => self.outbox.reads.push(read),
                Step::Ask(ask) => self.outbox.store.push_back(ask),
                Step::Wait => {}
                Step::Done { shard, token, result } => {
                    let Self { slots, fx, config, .. } = self;
                    let slot = slot(slots, config, shard);
                    slot.touch(now);
                    slot.shard.handle_history(now, token, result, fx);
                    next = Some(self.history.next_in_line(self.readable()));
                }
            }
        }
    }

    fn is_drained(&self) -> bool {
        let fx = &self.fx;
        fx.records.is_empty() && fx.to_shards.is_empty() && fx.loads.is_empty() && fx.reads.is_empty()
    }

    /// Carries out effects until none is left that stays on this core. What is for gateways waits where it is: nearly every message
    /// comes by here several times.
    fn absorb(&mut self, now: Millis) {
        loop {
            for append in self.fx.records.drain(..) {
                self.commit.push(now, append);
            }
            let loads = self.fx.loads.drain(..).map(|(shard, key)| StoreAsk::Load { shard, key });
            self.outbox.store.extend(loads);
            for (shard, wanted) in std::mem::take(&mut self.fx.reads) {
                let step = self.history.begin(shard, wanted, self.readable());
                self.on_step(now, step);
            }
            if self.is_drained() {
                return;
            }
            let mut letters = std::mem::take(&mut self.letters);
            std::mem::swap(&mut letters, &mut self.fx.to_shards);
            for envelope in letters.drain(..) {
                match self.config.core_of(envelope.to) {
                    core if core == self.config.core => self.deliver(now, envelope),
                    core => self.outbox.to_cores.push((core, envelope)),
                }
            }
            self.letters = letters;
        }
    }
}

impl Slot {
    fn touch(&mut self, now: Millis) {
        let soon = Millis(now.0 + TOUCHED_TICK_MS);
        self.tick_at = Some(self.tick_at.map_or(soon, |at| at.min(soon)));
    }

    fn is_behind(&self) -> bool {
        !self.refuses && self.shard.last_lsn() > self.snapshots.covered()
    }
}

/// The slot of a shard of this core.
fn slot<'a>(slots: &'a mut [Slot], config: &EngineConfig, shard: ShardId) -> &'a mut Slot {
    assert_eq!(config.core_of(shard), config.core, "a message for a shard of another core");
    &mut slots[usize::from(shard.0 / config.router_cores)]
}

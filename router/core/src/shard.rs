//! One shard: the inputs it takes and the state they change.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::{ConversationId, Millis, Sequence, ShardId};
use switchyard_schema::link::ToRouter;
use switchyard_schema::record::Record;

use crate::config::ShardConfig;
use crate::effects::{Effects, HistoryResult, LoadKey, Row, Snapshot, StorageState};
use crate::peer::Peer;
use crate::rows::RowError;

/// One shard of the router. `now` is the Unix clock in milliseconds; a step back is taken as no step.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: ShardConfig,
    pub(crate) last_lsn: u64,
}

impl Shard {
    /// An empty shard. Before its first input: `install(LoadKey::Shard, …)`, replay, `recovered`.
    #[must_use]
    pub fn new(config: ShardConfig) -> Self {
        Self { config, last_lsn: 0 }
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.shard
    }

    /// The LSN of the newest record appended or replayed.
    #[must_use]
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn
    }

    /// A message from a gateway for this shard.
    pub fn handle_gateway(&mut self, now: Millis, input: ToRouter, fx: &mut Effects) {
        let _ = (now, input, fx);
    }

    /// A message from another shard, or from this one.
    pub fn handle_peer(&mut self, now: Millis, from: ShardId, peer: Peer, fx: &mut Effects) {
        let _ = (now, from, peer, fx);
    }

    /// All records of this shard up to `lsn` are durable (and, for messages, placed).
    pub fn handle_durable(&mut self, now: Millis, lsn: u64, fx: &mut Effects) {
        let _ = (now, lsn, fx);
    }

    /// Answers `Effects::loads`: every row under `key.prefix(shard)`; none when the store has none.
    pub fn handle_loaded(&mut self, now: Millis, key: LoadKey, rows: Vec<Row>, fx: &mut Effects) {
        let _ = (now, key, rows, fx);
    }

    /// Answers `Effects::loads` when the store could not be read: what waits is refused with `code`.
    pub fn handle_load_failed(&mut self, now: Millis, key: LoadKey, code: ErrorCode, fx: &mut Effects) {
        let _ = (now, key, code, fx);
    }

    /// Answers `Effects::reads`.
    pub fn handle_history(&mut self, now: Millis, token: u64, result: HistoryResult, fx: &mut Effects) {
        let _ = (now, token, result, fx);
    }

    /// Bounded housekeeping: facts told again, catch-up, timers, eviction. Returns when it wants the next tick; `None`
    /// when only an input can bring work.
    pub fn handle_tick(&mut self, now: Millis, fx: &mut Effects) -> Option<Millis> {
        let _ = (now, fx);
        None
    }

    /// The journal's state changed. `Failed` refuses everything that was not durable yet.
    pub fn handle_storage(&mut self, now: Millis, state: StorageState, fx: &mut Effects) {
        let _ = (now, state, fx);
    }

    /// The position of a message in the journal is known: called once per message record, in LSN order, when its batch
    /// is sealed and before it is durable. Returns the position of the conversation's previous message, zero when there
    /// is none: the record's back link.
    pub fn place(&mut self, conversation: ConversationId, sequence: Sequence, position: u64) -> u64 {
        let _ = (conversation, sequence, position);
        0
    }

    /// Recovery: what must be installed before this record can be replayed; `None` when it is in memory.
    #[must_use]
    pub fn needs(&self, record: &Record) -> Option<LoadKey> {
        let _ = record;
        None
    }

    /// Recovery: the rows of `key` as the store has them, none included.
    ///
    /// # Errors
    /// When a row cannot be read; the shard must not be served then.
    pub fn install(&mut self, key: LoadKey, rows: &[Row]) -> Result<(), RowError> {
        let _ = (key, rows);
        Ok(())
    }

    /// Recovery: a durable record, in LSN order. `position` is where it lies (used for messages).
    pub fn replay(&mut self, lsn: u64, position: u64, record: &Record) {
        let _ = (position, record);
        self.last_lsn = lsn;
    }

    /// Recovery is over. `last_lsn` is the newest LSN the journal or the store knows of.
    pub fn recovered(&mut self, last_lsn: u64) {
        self.last_lsn = self.last_lsn.max(last_lsn);
    }

    /// What changed since the previous snapshot; `None` when nothing did, or while the previous one is not stored.
    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        None
    }

    /// The LSN to tag the outstanding snapshot with, once `Snapshot::lsn` is durable: replay must begin after it. It may
    /// lie below an older tag of the same shard; keep the larger one.
    #[must_use]
    pub fn coverable(&self) -> u64 {
        self.last_lsn
    }

    /// The outstanding snapshot is in the store: loads see it from now on.
    pub fn handle_stored(&mut self) {}
}

//! The shard's side of the journal: numbers for records, and what happens when they are durable.

use std::collections::VecDeque;
use std::sync::Arc;

use switchyard_schema::ids::{ConversationId, ShardId, UserId};
use switchyard_schema::link::{Origin, SessionRef};
use switchyard_schema::record::Record;

use crate::attach::Entry;
use crate::cursor::Mark;
use crate::effects::{Append, Effects, StorageState};
use crate::peer::{Answer, FactStamp, LiveMessage};

/// What happens when a record is durable.
#[derive(Debug)]
pub(crate) enum Release {
    /// A message becomes visible, and the Send of this session is answered.
    Message { live: Arc<LiveMessage>, session: SessionRef },
    /// A repeat of a Send that was pending is answered.
    Repeat(Answer),
    /// A session attaches; `gone` when it ended meanwhile.
    Attach { origin: Origin, entry: Entry, gone: bool },
    /// A device's cursor moved.
    Cursor { user: UserId, conversation: ConversationId, device: u8, mark: Mark, explicit: bool },
    /// A head fact is in the journal.
    Inbox { user: UserId, conversation: ConversationId, stamp: FactStamp },
    /// A watermark fact is in the journal; `fact_lsn` is what its origin wants confirmed.
    Watermark { conversation: ConversationId, member: u8, fact_lsn: u64 },
}

/// Numbers records and keeps what waits for them.
#[derive(Debug)]
pub(crate) struct Log {
    shard: ShardId,
    pub(crate) state: StorageState,
    pub(crate) last_lsn: u64,
    pub(crate) durable_lsn: u64,
    /// In LSN order. Bounded: messages and attaches by credits, the others by one per (user, conversation, device).
    pub(crate) pending: VecDeque<(u64, Release)>,
    /// LSNs of messages whose position is not known yet, in order.
    pub(crate) unplaced: VecDeque<u64>,
}

impl Log {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            state: StorageState::Ready,
            last_lsn: 0,
            durable_lsn: 0,
            pending: VecDeque::new(),
            unplaced: VecDeque::new(),
        }
    }

    /// Whether records can still become durable.
    pub(crate) fn takes_records(&self) -> bool {
        self.state != StorageState::Failed
    }

    /// Appends a record and returns its LSN.
    pub(crate) fn append(&mut self, record: Record, fx: &mut Effects) -> u64 {
        assert!(self.takes_records(), "a failed journal takes no records");
        self.last_lsn += 1;
        fx.records.push(Append { shard: self.shard, lsn: self.last_lsn, record });
        self.last_lsn
    }

    /// Appends a record whose durability releases something.
    pub(crate) fn append_then(&mut self, record: Record, release: Release, fx: &mut Effects) -> u64 {
        let lsn = self.append(record, fx);
        self.pending.push_back((lsn, release));
        lsn
    }

    /// Releases something once everything appended so far is durable.
    pub(crate) fn wait(&mut self, release: Release) {
        self.pending.push_back((self.last_lsn, release));
    }

    /// The next thing that is durable.
    pub(crate) fn pop_durable(&mut self) -> Option<(u64, Release)> {
        let (lsn, _) = self.pending.front()?;
        if *lsn <= self.durable_lsn { self.pending.pop_front() } else { None }
    }
}

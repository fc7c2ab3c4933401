//! One conversation: its order, its members and what it remembers.

use std::collections::VecDeque;

use smallvec::SmallVec;
use switchyard_schema::ids::{ConversationId, ConversationKind, DeviceId, Sequence, UserId};
use switchyard_schema::record::MessageRecord;

use crate::cursor::Mark;
use crate::dedupe::Dedupe;
use crate::facts::FactSlot;
use crate::limits::POSITION_EVERY;
use crate::memory::Resident;
use crate::rows::{ConversationRow, Decoded, RowError, decode};
use crate::tail::Place;
use crate::{dedupe::First, effects::Row};

/// A conversation in memory. One without a message does not exist; it is kept only to know that.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The newest message that has its place.
    pub(crate) head: Sequence,
    /// The newest message that may be seen.
    pub(crate) durable_head: Sequence,
    /// Everything up to here is gone from the journal, as far as is known.
    pub(crate) void_to: Sequence,
    pub(crate) members: SmallVec<[Member; 2]>,
    pub(crate) dedupe: Dedupe,
    /// Where the newest messages lie in the memory tail: those up to `head` without a gap, pending ones included.
    pub(crate) tail: VecDeque<Place>,
    /// The newest message whose journal position is known.
    pub(crate) placed: (Sequence, u64),
    /// Positions of every 64th message that the store may not have, with the snapshot that took them (zero: none yet).
    pub(crate) positions: Vec<(Sequence, u64, u64)>,
    /// Pending records, unconfirmed facts and reads under way; while there are any it stays in memory.
    pub(crate) held: u32,
    pub(crate) dirty: bool,
    /// The newest snapshot that took it.
    pub(crate) saved_in: u64,
}

/// A member of a conversation.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) user: UserId,
    /// As far as the member's shard told.
    pub(crate) mark: Mark,
    /// As far as records say; what others are told.
    pub(crate) recorded: Mark,
    /// A Watermark record is on its way to the disk.
    pub(crate) pending: bool,
    /// The stamp of the member's newest watermark fact.
    pub(crate) fact_lsn: u64,
    /// The head, as a fact for this member's shard.
    pub(crate) head_fact: FactSlot,
    /// The other members' watermarks, as a fact for this member's shard.
    pub(crate) mark_fact: FactSlot,
}

impl Conversation {
    pub(crate) fn new(id: ConversationId) -> Self {
        let members = match id.kind() {
            ConversationKind::Direct(one, other) if one == other => SmallVec::from_iter([Member::new(one)]),
            ConversationKind::Direct(one, other) => SmallVec::from_iter([Member::new(one), Member::new(other)]),
            ConversationKind::Group(_) => SmallVec::new(),
        };
        Self {
            head: Sequence::ZERO,
            durable_head: Sequence::ZERO,
            void_to: Sequence::ZERO,
            members,
            dedupe: Dedupe::default(),
            tail: VecDeque::new(),
            placed: (Sequence::ZERO, 0),
            positions: Vec::new(),
            held: 0,
            dirty: false,
            saved_in: 0,
        }
    }

    pub(crate) fn from_rows(id: ConversationId, rows: &[Row]) -> Result<Self, RowError> {
        let mut conversation = Self::new(id);
        let mut remembered = Vec::new();
        for row in rows {
            match decode(row)? {
                Decoded::Conversation(row) => {
                    conversation.head = row.head;
                    conversation.durable_head = row.head;
                    conversation.placed = row.placed;
                    for (user, delivered, read) in row.members {
                        let member = conversation.members.iter_mut().find(|member| member.user == user);
                        let member = member.ok_or(RowError::Id)?;
                        member.mark = Mark::new(delivered, read);
                        member.recorded = member.mark;
                    }
                }
                Decoded::Dedupe(row) => remembered.push(row),
                _ => return Err(RowError::Id),
            }
        }
        conversation.dedupe = Dedupe::from_rows(remembered);
        Ok(conversation)
    }

    pub(crate) fn row(&self) -> ConversationRow {
        ConversationRow {
            head: self.head,
            placed: self.placed,
            members: self
                .members
                .iter()
                .map(|member| (member.user, member.recorded.delivered, member.recorded.read))
                .collect(),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.head != Sequence::ZERO
    }

    pub(crate) fn member_index(&self, user: UserId) -> Option<u8> {
        let index = self.members.iter().position(|member| member.user == user)?;
        u8::try_from(index).ok()
    }

    /// The highest watermark among the members but `index`.
    pub(crate) fn others_mark(&self, index: u8) -> Mark {
        let mut highest = Mark::default();
        for (_, other) in self.members.iter().enumerate().filter(|(other, _)| *other != usize::from(index)) {
            highest.raise(other.recorded);
        }
        highest
    }

    /// Where a durable message lies in the memory tail.
    pub(crate) fn recent(&self, sequence: Sequence) -> Option<Place> {
        if sequence > self.durable_head {
            return None;
        }
        let behind_it = usize::try_from(self.head.0 - sequence.0).ok()?;
        Some(self.tail[self.tail.len().checked_sub(behind_it + 1)?])
    }

    /// A message got its number. `kept` is where the memory tail has it, which has nothing that is replayed, and nothing that is larger than the tail.
    pub(crate) fn take(&mut self, record: &MessageRecord, kept: Option<Place>) {
        // Only in replay, after a repair gave up damaged records, may messages before this one be missing.
        let follows = record.sequence == self.head.next();
        assert!(follows || (kept.is_none() && record.sequence > self.head), "sequences are dense");
        self.head = record.sequence;
        let MessageRecord { sequence, message, client_message_id, .. } = *record;
        let device: DeviceId = record.device;
        self.dedupe.remember(record.sender, device, First { client_message_id, sequence, message });
        self.tail.extend(kept);
    }

    /// The position of a message is known; returns that of the message before.
    pub(crate) fn place(&mut self, sequence: Sequence, position: u64) -> u64 {
        let previous = self.placed.1;
        self.placed = (sequence, position);
        if sequence.0.is_multiple_of(POSITION_EVERY) {
            self.positions.push((sequence, position, 0));
        }
        previous
    }

    /// The nearest known position at or above `sequence`, for a walk back.
    pub(crate) fn start_at(&self, sequence: Sequence) -> (Sequence, u64) {
        let kept = self.positions.iter().find(|(kept, ..)| *kept >= sequence);
        kept.map_or(self.placed, |(kept, position, _)| (*kept, *position))
    }
}

impl Member {
    fn new(user: UserId) -> Self {
        Self {
            user,
            mark: Mark::default(),
            recorded: Mark::default(),
            pending: false,
            fact_lsn: 0,
            head_fact: FactSlot::default(),
            mark_fact: FactSlot::default(),
        }
    }
}

impl Resident for Conversation {
    /// Without the tail, which has its own budget.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.dedupe.bytes() + self.positions.capacity() * size_of::<(Sequence, u64, u64)>()
    }

    fn is_idle(&self, stored: u64) -> bool {
        self.held == 0 && !self.dirty && self.saved_in <= stored
    }
}

//! Facts that another shard has not confirmed yet: ordered by the record that made them, so that no snapshot passes
//! them, and told again until they are confirmed.

use std::collections::{BTreeSet, VecDeque};

use switchyard_schema::ids::{ConversationId, Millis, UserId};

/// One thing that is told to one other shard.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum FactKey {
    /// A conversation's head, to the member with this index.
    Head(ConversationId, u8),
    /// The other members' watermarks, to the member with this index.
    Mark(ConversationId, u8),
    /// A user's watermark, to the conversation.
    Cursor(UserId, ConversationId),
}

/// What is unconfirmed of one fact: the LSNs of the oldest and the newest record that the other shard may not know.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct FactSlot {
    /// Zero when everything is confirmed.
    first: u64,
    last: u64,
    /// In the queue of what is told again.
    queued: bool,
}

impl FactSlot {
    /// LSN of the newest record it tells of.
    pub(crate) fn last_lsn(&self) -> u64 {
        self.last
    }

    pub(crate) fn is_open(&self) -> bool {
        self.first != 0
    }
}

/// What a [`Facts::told_again`] entry turned out to be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    Tell,
    Confirmed,
}

/// The unconfirmed facts of a shard. At most one entry in each list per fact.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    open: BTreeSet<(u64, FactKey)>,
    retell: VecDeque<(Millis, FactKey)>,
}

impl Facts {
    /// A record made or changed the fact; it is told again at `due` unless it is confirmed. Returns whether the slot
    /// was confirmed before, so that its owner is held in memory once per open slot.
    #[must_use]
    pub(crate) fn raise(&mut self, slot: &mut FactSlot, key: FactKey, lsn: u64, due: Millis) -> bool {
        assert!(lsn != 0, "facts are made by records");
        slot.last = slot.last.max(lsn);
        let opened = slot.first == 0;
        if opened {
            slot.first = lsn;
            self.open.insert((lsn, key));
        }
        if !slot.queued {
            slot.queued = true;
            self.retell.push_back((due, key));
        }
        opened
    }

    /// The other shard's journal holds what records up to `lsn` told. Returns whether that was all.
    #[must_use]
    pub(crate) fn confirm(&mut self, slot: &mut FactSlot, key: FactKey, lsn: u64) -> bool {
        if slot.first == 0 || lsn < slot.first {
            return false;
        }
        let was_open = self.open.remove(&(slot.first, key));
        assert!(was_open, "an open slot is listed");
        if lsn >= slot.last {
            slot.first = 0;
            return true;
        }
        slot.first = lsn + 1;
        self.open.insert((slot.first, key));
        false
    }

    /// The LSN of the oldest record whose fact is not confirmed.
    pub(crate) fn oldest_lsn(&self) -> Option<u64> {
        self.open.first().map(|(lsn, _)| *lsn)
    }

    /// When the next fact may have to be told again.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.retell.front().map(|(due, _)| *due)
    }

    /// The next fact whose time has come; settle it with [`Facts::told_again`].
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<FactKey> {
        let (due, _) = self.retell.front()?;
        if *due <= now { self.retell.pop_front().map(|(_, key)| key) } else { None }
    }

    /// Decides on a fact from [`Facts::pop_due`]: an open one is told now and once more at `due`.
    pub(crate) fn told_again(&mut self, slot: &mut FactSlot, key: FactKey, due: Millis) -> Due {
        slot.queued = slot.is_open();
        if slot.queued {
            self.retell.push_back((due, key));
            Due::Tell
        } else {
            Due::Confirmed
        }
    }

    /// How many facts are unconfirmed.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }
}

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
    /// It is told again.
    Tell,
    /// What was told has been confirmed.
    Confirmed,
}

/// The unconfirmed facts of a shard. At most one entry in each list per fact.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    open: BTreeSet<(u64, FactKey)>,
    /// With the oldest record that was not confirmed when the entry was made: what has moved on since needs no telling.
    retell: VecDeque<(Millis, FactKey, u64)>,
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
            self.retell.push_back((due, key, slot.first));
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
        self.retell.front().map(|(due, ..)| *due)
    }

    /// The next fact whose time has come, and what was not confirmed of it then; settle it with [`Facts::told_again`].
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<(FactKey, u64)> {
        let (due, ..) = self.retell.front()?;
        if *due <= now { self.retell.pop_front().map(|(_, key, first)| (key, first)) } else { None }
    }

    /// Decides on a fact from [`Facts::pop_due`]: an open one is looked at once more at `due`, and told now unless what was
    /// not confirmed `then` is.
    pub(crate) fn told_again(&mut self, slot: &mut FactSlot, key: FactKey, then: u64, due: Millis) -> Due {
        slot.queued = slot.is_open();
        if !slot.queued {
            return Due::Confirmed;
        }
        self.retell.push_back((due, key, slot.first));
        if slot.first == then { Due::Tell } else { Due::Confirmed }
    }

    /// How many facts are unconfirmed.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_fact_that_never_rests_then_it_is_told_again_only_when_what_was_told_is_not_confirmed_in_time() {
        let user = |number| UserId::new(number).expect("not zero");
        let key = FactKey::Head(ConversationId::direct(user(1), user(2)), 0);
        let (mut facts, mut slot) = (Facts::default(), FactSlot::default());
        assert!(facts.raise(&mut slot, key, 7, Millis(200)));
        assert!(!facts.raise(&mut slot, key, 8, Millis(210)));
        assert!(!facts.confirm(&mut slot, key, 7), "8 is not confirmed");
        let (found, then) = facts.pop_due(Millis(200)).expect("it is due");
        assert_eq!((found, facts.told_again(&mut slot, key, then, Millis(400))), (key, Due::Confirmed));
        let (_, then) = facts.pop_due(Millis(400)).expect("it is looked at again");
        assert_eq!(facts.told_again(&mut slot, key, then, Millis(600)), Due::Tell, "8 still is not confirmed");
        assert!(facts.confirm(&mut slot, key, 8));
        let (_, then) = facts.pop_due(Millis(600)).expect("it is looked at again");
        assert_eq!(facts.told_again(&mut slot, key, then, Millis(800)), Due::Confirmed);
        assert_eq!((facts.next_due(), facts.open_count()), (None, 0));
    }
}

//! What a shard has to come back to: sessions with work, timers, and what is to be journaled.
//!
//! Entries name sessions by reference and are checked when their turn comes, so ending a session touches no list. What is to be
//! journaled holds its user in memory.

use std::collections::VecDeque;

use switchyard_schema::ids::{Millis, UserId};
use switchyard_schema::link::SessionRef;

use crate::limits::STALLED_AFTER_MS;
use crate::session::{Lag, Session};

/// A session of a user's device.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct SessionKey {
    pub(crate) user: UserId,
    /// Index of the device.
    pub(crate) device: u8,
    pub(crate) at: SessionRef,
}

/// Lists of sessions; each session is in each list at most once, or once per conversation where that is said.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// Sessions for which a step of catch-up can do something, in turn.
    pub(crate) ready: VecDeque<SessionKey>,
    /// Sessions whose window is closed.
    pub(crate) stalls: VecDeque<(Millis, SessionKey)>,
    /// The user's own watermark for a session, by conversation.
    pub(crate) own_receipts: VecDeque<(Millis, SessionKey, u32)>,
    /// Conversations that could not be read, by conversation.
    pub(crate) read_again: VecDeque<(Millis, SessionKey, u32)>,
    /// Conversations of users that are to be journaled, each once.
    pub(crate) inbox_records: VecDeque<(Millis, UserId, u32)>,
    /// Sessions that another replaced and whose gateway had no room to be told. A gateway has each of them still, so
    /// there are no more than it has slots.
    pub(crate) replaced: VecDeque<SessionRef>,
    /// How far sessions are behind.
    pub(crate) lag: Lag,
}

impl Agenda {
    /// Lists a session where it belongs after anything about it changed.
    pub(crate) fn settle(&mut self, now: Millis, key: SessionKey, session: &mut Session, inbox_len: usize) {
        if !session.ready && session.wants_step(inbox_len) {
            session.ready = true;
            self.ready.push_back(key);
        }
        if session.closed_at().is_some() && !session.stall_timer {
            session.stall_timer = true;
            self.stalls.push_back((now.plus(STALLED_AFTER_MS), key));
        }
    }

    /// The first of all times at which something is due.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        let stall = self.stalls.front().map(|(due, _)| *due);
        let own = self.own_receipts.front().map(|(due, ..)| *due);
        let again = self.read_again.front().map(|(due, ..)| *due);
        let record = self.inbox_records.front().map(|(due, ..)| *due);
        [stall, own, again, record].into_iter().flatten().min()
    }
}

/// The first entry of a list of timers, when it is due.
pub(crate) fn pop_due<T>(timers: &mut VecDeque<T>, now: Millis, due: impl Fn(&T) -> Millis) -> Option<T> {
    if timers.front().is_some_and(|entry| due(entry) <= now) { timers.pop_front() } else { None }
}

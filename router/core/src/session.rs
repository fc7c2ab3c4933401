//! One attached session: its delivery window and what it still has to be told.

use std::collections::VecDeque;

use switchyard_schema::ids::{Millis, Sequence};
use switchyard_schema::limits::{DELIVERY_WINDOW_BYTES, DELIVERY_WINDOW_MESSAGES};
use switchyard_schema::link::SessionRef;

use crate::limits::READS_PER_SESSION_MAX;

/// Queues longer than this give their memory back when they are empty: an idle session keeps none.
const KEPT_QUEUE_CAPACITY: usize = 8;

/// A session. Conversations are named by their index in the user's inbox.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) at: SessionRef,
    /// Receipts whose watermark moved at or after this were missed while the device was away.
    pub(crate) missed_since: Millis,
    /// The next conversation to look through for what was missed.
    pub(crate) scan: u32,
    /// What it still has to be told: nothing, for nearly every session at nearly every time.
    owed: Option<Box<Owed>>,
    /// In the shard's queue of sessions with work.
    pub(crate) ready: bool,
    /// Reads under way.
    reads: u32,
    /// Bytes of what was sent and not acknowledged.
    window_bytes: u32,
    /// What was sent and not acknowledged.
    window: VecDeque<InFlight>,
    /// Since when the window has been closed; `OPEN` when it is not.
    closed_at: Millis,
    /// The client was told why nothing more comes.
    pub(crate) stall_told: bool,
    /// The timer that tells it runs.
    pub(crate) stall_timer: bool,
}

/// Stands for no time: the window is open.
const OPEN: Millis = Millis(u64::MAX);

/// How far the sessions of a shard are behind.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lag {
    /// Sessions that lack messages.
    pub(crate) sessions: usize,
    /// Conversations that have messages for them, counted for each session.
    pub(crate) conversations: usize,
}

/// Lists of conversations.
#[derive(Debug, Default)]
struct Owed {
    /// Those that have messages for the device, in turn.
    behind: VecDeque<u32>,
    /// Those that have receipts for it, in turn.
    receipts: VecDeque<u32>,
}

#[derive(Copy, Clone, Debug)]
struct InFlight {
    sequence: Sequence,
    inbox: u32,
    bytes: u32,
}

impl Session {
    pub(crate) fn new(at: SessionRef, missed_since: Millis) -> Self {
        Self {
            at,
            missed_since,
            scan: 0,
            owed: None,
            ready: false,
            reads: 0,
            window_bytes: 0,
            window: VecDeque::new(),
            closed_at: OPEN,
            stall_told: false,
            stall_timer: false,
        }
    }

    /// Whether a step of catch-up can do something for it; `inbox_len` conversations are known to its user.
    pub(crate) fn wants_step(&self, inbox_len: usize) -> bool {
        (self.scan as usize) < inbox_len
            || self.receipt().is_some()
            || (self.behind().is_some() && self.closed_at == OPEN && !self.reads_enough())
    }

    /// The conversation whose messages come next.
    pub(crate) fn behind(&self) -> Option<u32> {
        self.owed.as_ref()?.behind.front().copied()
    }

    /// A conversation has messages for the device that did not go to it at once.
    pub(crate) fn push_behind(&mut self, inbox: u32, lag: &mut Lag) {
        self.owed.get_or_insert_default().behind.push_back(inbox);
        lag.grow(self.lacks());
    }

    /// The next conversation had its turn.
    pub(crate) fn pop_behind(&mut self, lag: &mut Lag) {
        self.pop(|owed| &mut owed.behind).expect("it was just seen");
        lag.shrink(self.lacks());
    }

    /// The conversation whose receipts come next.
    pub(crate) fn receipt(&self) -> Option<u32> {
        self.owed.as_ref()?.receipts.front().copied()
    }

    /// A conversation has receipts for the device.
    pub(crate) fn push_receipt(&mut self, inbox: u32) {
        self.owed.get_or_insert_default().receipts.push_back(inbox);
    }

    /// The receipts of the next conversation were told.
    pub(crate) fn pop_receipt(&mut self) {
        self.pop(|owed| &mut owed.receipts).expect("it was just seen");
    }

    fn pop(&mut self, list: impl FnOnce(&mut Owed) -> &mut VecDeque<u32>) -> Option<u32> {
        let popped = list(self.owed.as_mut()?).pop_front();
        self.owed.take_if(|owed| owed.behind.is_empty() && owed.receipts.is_empty());
        popped
    }

    /// Whether it has as many reads under way as it may.
    pub(crate) const fn reads_enough(&self) -> bool {
        self.reads >= READS_PER_SESSION_MAX
    }

    /// The next messages of a conversation were asked for.
    pub(crate) fn begin_read(&mut self, lag: &mut Lag) {
        self.reads += 1;
        lag.grow(self.lacks());
    }

    /// They came, or none did.
    pub(crate) fn end_read(&mut self, lag: &mut Lag) {
        self.reads -= 1;
        lag.shrink(self.lacks());
    }

    /// The session ends: nobody is behind for it.
    pub(crate) fn leave(&self, lag: &mut Lag) {
        lag.conversations -= self.lacks();
        lag.sessions -= usize::from(self.lacks() > 0);
    }

    /// Conversations that have messages for the device.
    fn lacks(&self) -> usize {
        self.owed.as_ref().map_or(0, |owed| owed.behind.len()) + self.reads as usize
    }

    /// Puts a message into the window if it fits; an empty window takes any. Otherwise the window is closed until an
    /// ack.
    pub(crate) fn admit(&mut self, now: Millis, inbox: u32, sequence: Sequence, bytes: usize) -> bool {
        let fits = self.window.is_empty()
            || (self.window.len() < DELIVERY_WINDOW_MESSAGES as usize
                && self.window_bytes as usize + bytes <= DELIVERY_WINDOW_BYTES);
        if self.closed_at != OPEN {
            return false;
        }
        if !fits {
            self.closed_at = now;
            return false;
        }
        let counted = u32::try_from(bytes).expect("a frame is far below 4 GiB");
        self.window.push_back(InFlight { sequence, inbox, bytes: counted });
        self.window_bytes += counted;
        true
    }

    /// Messages and bytes the window still takes; `None`, and closed, when it takes nothing.
    pub(crate) fn room(&mut self, now: Millis) -> Option<(u32, usize)> {
        if self.closed_at != OPEN {
            return None;
        }
        let taken = u32::try_from(self.window.len()).expect("the window is bounded");
        let room = (DELIVERY_WINDOW_MESSAGES - taken, DELIVERY_WINDOW_BYTES.saturating_sub(self.window_bytes as usize));
        if room.0 == 0 || room.1 == 0 {
            self.closed_at = now;
            return None;
        }
        Some(room)
    }

    /// Everything of a conversation up to `delivered` was acknowledged.
    pub(crate) fn release(&mut self, inbox: u32, delivered: Sequence) {
        let before = self.window.len();
        let covered = |message: &InFlight| message.inbox == inbox && message.sequence <= delivered;
        while let Some(message) = self.window.front()
            && covered(message)
        {
            self.window_bytes -= message.bytes;
            self.window.pop_front();
        }
        let bytes = &mut self.window_bytes;
        self.window.retain(|message| {
            let gone = covered(message);
            *bytes -= if gone { message.bytes } else { 0 };
            !gone
        });
        if self.window.len() < before {
            self.closed_at = OPEN;
            self.stall_told = false;
            give_back(&mut self.window);
        }
    }

    /// Since when nothing was delivered because nothing was acknowledged.
    pub(crate) fn closed_at(&self) -> Option<Millis> {
        (self.closed_at != OPEN).then_some(self.closed_at)
    }

    pub(crate) fn bytes(&self) -> usize {
        let owed = self.owed.as_ref().map_or(0, |owed| {
            size_of::<Owed>() + (owed.behind.capacity() + owed.receipts.capacity()) * size_of::<u32>()
        });
        size_of::<Self>() + self.window.capacity() * size_of::<InFlight>() + owed
    }
}

impl Lag {
    /// A session lacks one conversation more; now it lacks `lacks`.
    fn grow(&mut self, lacks: usize) {
        self.conversations += 1;
        self.sessions += usize::from(lacks == 1);
    }

    /// A session lacks one conversation less; now it lacks `lacks`.
    fn shrink(&mut self, lacks: usize) {
        self.conversations -= 1;
        self.sessions -= usize::from(lacks == 0);
    }
}

/// Gives the memory of an empty queue back when it is worth it.
fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT_QUEUE_CAPACITY {
        *queue = VecDeque::new();
    }
}

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
    /// Conversations that have messages for the device, in turn.
    pub(crate) behind: VecDeque<u32>,
    /// Conversations that have receipts for it, in turn.
    pub(crate) receipts: VecDeque<u32>,
    /// In the shard's queue of sessions with work.
    pub(crate) ready: bool,
    /// Reads under way.
    pub(crate) reads: u32,
    window: Window,
    /// Since when the window has been closed.
    closed_at: Option<Millis>,
    /// The client was told why nothing more comes.
    pub(crate) stall_told: bool,
    /// The timer that tells it runs.
    pub(crate) stall_timer: bool,
}

/// What was sent and not acknowledged.
#[derive(Debug, Default)]
struct Window {
    bytes: usize,
    messages: VecDeque<InFlight>,
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
            behind: VecDeque::new(),
            receipts: VecDeque::new(),
            ready: false,
            reads: 0,
            window: Window::default(),
            closed_at: None,
            stall_told: false,
            stall_timer: false,
        }
    }

    /// Whether a step of catch-up can do something for it; `inbox_len` conversations are known to its user.
    pub(crate) fn wants_step(&self, inbox_len: usize) -> bool {
        (self.scan as usize) < inbox_len
            || !self.receipts.is_empty()
            || (!self.behind.is_empty() && self.closed_at.is_none() && self.reads < READS_PER_SESSION_MAX)
    }

    /// Puts a message into the window if it fits; an empty window takes any. Otherwise the window is closed until an
    /// ack.
    pub(crate) fn admit(&mut self, now: Millis, inbox: u32, sequence: Sequence, bytes: usize) -> bool {
        let fits = self.window.messages.is_empty()
            || (self.window.messages.len() < DELIVERY_WINDOW_MESSAGES as usize
                && self.window.bytes + bytes <= DELIVERY_WINDOW_BYTES);
        if self.closed_at.is_some() {
            return false;
        }
        if !fits {
            self.closed_at = Some(now);
            return false;
        }
        let counted = u32::try_from(bytes).expect("a frame is far below 4 GiB");
        self.window.messages.push_back(InFlight { sequence, inbox, bytes: counted });
        self.window.bytes += bytes;
        true
    }

    /// Messages and bytes the window still takes; `None`, and closed, when it takes nothing.
    pub(crate) fn room(&mut self, now: Millis) -> Option<(u32, usize)> {
        if self.closed_at.is_some() {
            return None;
        }
        let taken = u32::try_from(self.window.messages.len()).expect("the window is bounded");
        let room = (DELIVERY_WINDOW_MESSAGES - taken, DELIVERY_WINDOW_BYTES.saturating_sub(self.window.bytes));
        if room.0 == 0 || room.1 == 0 {
            self.closed_at = Some(now);
            return None;
        }
        Some(room)
    }

    /// Everything of a conversation up to `delivered` was acknowledged.
    pub(crate) fn release(&mut self, inbox: u32, delivered: Sequence) {
        let before = self.window.messages.len();
        let covered = |message: &InFlight| message.inbox == inbox && message.sequence <= delivered;
        while let Some(message) = self.window.messages.front()
            && covered(message)
        {
            self.window.bytes -= message.bytes as usize;
            self.window.messages.pop_front();
        }
        let bytes = &mut self.window.bytes;
        self.window.messages.retain(|message| {
            let gone = covered(message);
            *bytes -= if gone { message.bytes as usize } else { 0 };
            !gone
        });
        if self.window.messages.len() < before {
            self.closed_at = None;
            self.stall_told = false;
            give_back(&mut self.window.messages);
        }
    }

    /// Since when nothing was delivered because nothing was acknowledged.
    pub(crate) fn closed_at(&self) -> Option<Millis> {
        self.closed_at
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.window.messages.capacity() * size_of::<InFlight>()
            + (self.behind.capacity() + self.receipts.capacity()) * size_of::<u32>()
    }
}

/// Gives the memory of an empty queue back when it is worth it.
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT_QUEUE_CAPACITY {
        *queue = VecDeque::new();
    }
}

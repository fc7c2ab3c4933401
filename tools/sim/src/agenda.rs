//! Virtual time: what happens next, and when. Nothing in a run looks at a real clock.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use switchyard_schema::ids::Millis;

/// The wall clock when a run begins.
const UNIX_START_MS: u64 = 1_800_000_000_000;

/// Something that happens at a time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A phone looks at its timers.
    Phone(usize),
    /// The person behind a phone does something.
    Person(usize),
    /// A phone gets the token it asked for.
    Token {
        /// The phone.
        phone: usize,
        /// Which start of its application asked.
        start: u64,
    },
    /// A connection is open, or was refused.
    Opened(usize),
    /// What flies first in one direction of a connection arrives.
    Arrived {
        /// The connection.
        connection: usize,
        /// Whether it is the direction to the server.
        up: bool,
    },
    /// A gateway thread has a turn.
    Gateway {
        /// Which start of the server it belongs to.
        life: u64,
        /// Which thread.
        index: usize,
    },
    /// A router core has a turn.
    Core {
        /// Which start of the server it belongs to.
        life: u64,
        /// Which core.
        index: usize,
    },
    /// Something that the disk was asked for is done.
    Disk {
        /// Which start of the server it belongs to.
        life: u64,
        /// What was asked for.
        task: u64,
    },
    /// The side thread of the state store looks at its requests.
    Store {
        /// Which start of the server it belongs to.
        life: u64,
    },
    /// The state store has synced.
    StoreSynced {
        /// Which start of the server it belongs to.
        life: u64,
    },
    /// The server is started.
    Start,
    /// The operator looks at the server's health.
    Operator,
    /// The next fault of a kind.
    Fault(usize),
    /// The faults stop.
    Calm,
    /// Everything is looked over.
    Check,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at_us: u64,
    order: u64,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is to come.
#[derive(Debug, Default)]
pub struct Agenda {
    now_us: u64,
    order: u64,
    entries: BinaryHeap<Reverse<Entry>>,
    /// How far the wall clock is off.
    wall_offset_ms: i64,
}

impl Agenda {
    /// The virtual time, in microseconds since the run began.
    #[must_use]
    pub const fn now_us(&self) -> u64 {
        self.now_us
    }

    /// A clock that never jumps.
    #[must_use]
    pub const fn monotonic(&self) -> Millis {
        Millis(1_000 + self.now_us / 1_000)
    }

    /// The wall clock.
    #[must_use]
    pub const fn wall(&self) -> Millis {
        Millis((UNIX_START_MS + self.now_us / 1_000).saturating_add_signed(self.wall_offset_ms))
    }

    /// Both clocks as a router core reads them.
    #[must_use]
    pub const fn clocks(&self) -> (Duration, Duration) {
        (Duration::from_millis(self.wall().0), Duration::from_micros(self.now_us))
    }

    /// The wall clock jumps.
    pub const fn jump(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// How far the wall clock is off.
    #[must_use]
    pub const fn wall_offset_ms(&self) -> i64 {
        self.wall_offset_ms
    }

    /// Plans an event.
    pub fn at(&mut self, at_us: u64, event: Event) {
        self.order += 1;
        self.entries.push(Reverse(Entry { at_us: at_us.max(self.now_us), order: self.order, event }));
    }

    /// Plans an event after some microseconds.
    pub fn after(&mut self, us: u64, event: Event) {
        self.at(self.now_us.saturating_add(us), event);
    }

    /// Goes on to the next event.
    pub fn pop(&mut self) -> Option<Event> {
        let Reverse(entry) = self.entries.pop()?;
        self.now_us = entry.at_us;
        Some(entry.event)
    }
}

/// When something has its next turn. Asking for an earlier one takes the place of the one before.
#[derive(Copy, Clone, Debug, Default)]
pub struct Turn {
    at_us: Option<u64>,
}

impl Turn {
    /// Makes sure that `event` happens at `at_us` at the latest.
    pub fn ask(&mut self, agenda: &mut Agenda, at_us: u64, event: Event) {
        let at_us = at_us.max(agenda.now_us);
        if self.at_us.is_none_or(|known| at_us < known) {
            self.at_us = Some(at_us);
            agenda.at(at_us, event);
        }
    }

    /// Whether the event that happens now is the one that was asked for last.
    pub fn begin(&mut self, agenda: &Agenda) -> bool {
        let is_it = self.at_us == Some(agenda.now_us);
        if is_it {
            self.at_us = None;
        }
        is_it
    }
}

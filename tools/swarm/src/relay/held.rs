//! Datagrams that are on their way, in the order in which they leave.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::clients::ClientId;
use crate::limits::RELAY_HELD_MAX;

/// A datagram on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Datagram {
    pub(super) due: Instant,
    /// Those that are due at once leave in the order in which they came.
    order: u64,
    pub(super) client: ClientId,
    pub(super) to: To,
    pub(super) bytes: Vec<u8>,
}

/// Whither it goes.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum To {
    Client,
    Server,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: BinaryHeap<Reverse<Datagram>>,
    /// Those that have ever come.
    came: u64,
}

impl Held {
    /// Keeps a datagram until it is due. `false` when there are too many, and it is gone.
    pub(super) fn keep(&mut self, due: Instant, client: ClientId, to: To, bytes: &[u8]) -> bool {
        if self.waiting.len() >= RELAY_HELD_MAX {
            return false;
        }
        self.came += 1;
        self.waiting.push(Reverse(Datagram { due, order: self.came, client, to, bytes: bytes.to_vec() }));
        true
    }

    /// The next one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Datagram> {
        self.waiting.peek().filter(|Reverse(datagram)| datagram.due <= now)?;
        self.take_next()
    }

    /// The next one, whenever it is due.
    pub(super) fn take_next(&mut self) -> Option<Datagram> {
        self.waiting.pop().map(|Reverse(datagram)| datagram)
    }

    /// When the next one is.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(datagram)| datagram.due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn given_more_than_are_kept_when_datagrams_come_then_the_rest_is_refused_and_those_kept_leave_in_order() {
        let (begun, mut held) = (Instant::now(), Held::default());
        let client = ClientId { index: 0, epoch: 0 };
        assert!(held.keep(begun + Duration::from_millis(2), client, To::Client, b"late"));
        while held.keep(begun, client, To::Server, &held.came.to_le_bytes()) {}
        assert_eq!(held.waiting.len(), RELAY_HELD_MAX);
        for number in 1..RELAY_HELD_MAX as u64 {
            assert_eq!(held.take_due(begun).expect("it is due").bytes, number.to_le_bytes());
        }
        assert_eq!((held.take_due(begun), held.next_due()), (None, Some(begun + Duration::from_millis(2))));
    }
}

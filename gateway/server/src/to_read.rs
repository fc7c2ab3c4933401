//! Connections whose sockets may hold bytes that were not read, and how many of them a turn reads.

use std::collections::VecDeque;

use switchyard_gateway_core::wheel::Slot;

use crate::limits::{READS_PER_TURN, TLS_STEPS_PER_TURN};

/// A connection, with its epoch: it may have gone when its turn comes.
type Entry = (Slot, u32);

/// They stand in two lists, oldest first. A TLS handshake costs as much as a hundred other reads, so a turn takes few of them;
/// in one list the others would stand behind all those that a fleet has begun.
#[derive(Debug, Default)]
pub(crate) struct ToRead {
    others: VecDeque<Entry>,
    /// Those whose TLS handshake is under way.
    securing: VecDeque<Entry>,
    /// Where a turn's share is put.
    turn: Vec<Entry>,
}

impl ToRead {
    /// The connection is read when its turn comes.
    pub(crate) fn push(&mut self, entry: Entry, securing: bool) {
        let list = if securing { &mut self.securing } else { &mut self.others };
        list.push_back(entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.others.is_empty() && self.securing.is_empty()
    }

    /// Those that are read in this turn: as many of each list as a turn may. Whoever is not read to the end is pushed again.
    pub(crate) fn take_turn(&mut self) -> Vec<Entry> {
        let mut turn = std::mem::take(&mut self.turn);
        for (list, at_most) in [(&mut self.others, READS_PER_TURN), (&mut self.securing, TLS_STEPS_PER_TURN)] {
            turn.extend(list.drain(..list.len().min(at_most)));
        }
        turn
    }

    /// Keeps the memory of what [`ToRead::take_turn`] gave for the next one.
    pub(crate) fn give_back(&mut self, turn: Vec<Entry>) {
        debug_assert!(turn.is_empty(), "some were not read");
        self.turn = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_thousands_of_handshakes_that_wait_then_every_turn_reads_the_others_and_its_share_of_them() {
        const HANDSHAKES: u32 = 5_000;
        let mut to_read = ToRead::default();
        (0..HANDSHAKES).for_each(|slot| to_read.push((slot, 0), true));
        to_read.push((HANDSHAKES, 0), false);
        let share = u32::try_from(TLS_STEPS_PER_TURN).expect("it is small");
        for number in 0..3 {
            let mut turn = to_read.take_turn();
            let oldest = (number * share..(number + 1) * share).map(|slot| (slot, 0));
            assert_eq!(turn, std::iter::once((HANDSHAKES, 0)).chain(oldest).collect::<Vec<_>>());
            // It has more to read each time; the handshakes wait for their peers.
            to_read.push((HANDSHAKES, 0), false);
            turn.clear();
            to_read.give_back(turn);
        }
        assert_eq!(to_read.securing.len(), (HANDSHAKES - 3 * share) as usize);
        assert!(!to_read.is_empty());
    }
}

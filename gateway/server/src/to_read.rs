//! Connections whose sockets may hold bytes that were not read, and how many of them a turn reads.

use std::collections::VecDeque;

use switchyard_gateway_core::wheel::Slot;

use crate::limits::{NEWCOMER_READS_PER_TURN, READS_PER_TURN, TLS_STEPS_PER_TURN};

/// A connection, with its epoch: it may have gone when its turn comes.
type Entry = (Slot, u32);

/// In which list a connection stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It is open.
    Open,
    /// It has not been let in yet, or it is being ended.
    Newcomer,
    /// Its TLS handshake is under way.
    Securing,
}

/// They stand in three lists, oldest first. Who is not let in yet may be one of thousands that came together, or that are sent away
/// together, and a TLS handshake costs as much as a hundred other reads, so a turn takes few of these; in one list those that are open
/// would stand behind all of them.
#[derive(Debug, Default)]
pub(crate) struct ToRead {
    open: VecDeque<Entry>,
    newcomers: VecDeque<Entry>,
    securing: VecDeque<Entry>,
    /// Where a turn's share is put.
    turn: Vec<Entry>,
}

impl ToRead {
    /// The connection is read when its turn comes.
    pub(crate) fn push(&mut self, entry: Entry, standing: Standing) {
        let list = match standing {
            Standing::Open => &mut self.open,
            Standing::Newcomer => &mut self.newcomers,
            Standing::Securing => &mut self.securing,
        };
        list.push_back(entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.newcomers.is_empty() && self.securing.is_empty()
    }

    pub(crate) fn are_newcomers_waiting(&self) -> bool {
        !self.newcomers.is_empty()
    }

    /// Those that are read in this turn: as many of each list as a turn may. Whoever is not read to the end is pushed again.
    pub(crate) fn take_turn(&mut self) -> Vec<Entry> {
        let mut turn = std::mem::take(&mut self.turn);
        let lists = [
            (&mut self.open, READS_PER_TURN),
            (&mut self.newcomers, NEWCOMER_READS_PER_TURN),
            (&mut self.securing, TLS_STEPS_PER_TURN),
        ];
        for (list, at_most) in lists {
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
    fn given_thousands_that_wait_to_be_let_in_then_every_turn_reads_who_is_open_and_its_share_of_them() {
        check(Standing::Newcomer, NEWCOMER_READS_PER_TURN);
        check(Standing::Securing, TLS_STEPS_PER_TURN);
    }

    #[track_caller]
    fn check(standing: Standing, share: usize) {
        const WAITING: u32 = 5_000;
        let mut to_read = ToRead::default();
        (0..WAITING).for_each(|slot| to_read.push((slot, 0), standing));
        to_read.push((WAITING, 0), Standing::Open);
        let share = u32::try_from(share).expect("it is small");
        for number in 0..3 {
            let mut turn = to_read.take_turn();
            let oldest = (number * share..(number + 1) * share).map(|slot| (slot, 0));
            assert_eq!(turn, std::iter::once((WAITING, 0)).chain(oldest).collect::<Vec<_>>());
            // It has more to read each time; the others wait for their peers.
            to_read.push((WAITING, 0), Standing::Open);
            turn.clear();
            to_read.give_back(turn);
        }
        assert_eq!(to_read.newcomers.len() + to_read.securing.len(), (WAITING - 3 * share) as usize);
        assert!(!to_read.is_empty());
    }
}

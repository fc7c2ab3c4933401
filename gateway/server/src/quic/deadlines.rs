//! When connections want to be looked at: one ordered set for all of a thread, an entry for each.
//!
//! A connection's next time changes with nearly every datagram, and mostly to a later one. An entry that is too early stays
//! where it is: it fires, and finds out.

use std::collections::BTreeSet;
use std::time::Instant;

/// The next times of one thread's connections.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    ordered: BTreeSet<(Instant, usize)>,
}

/// When a connection is looked at next; kept beside it.
#[derive(Debug, Default)]
pub(super) struct Armed(Option<Instant>);

impl Deadlines {
    /// The connection wants to be looked at then.
    pub(super) fn arm(&mut self, handle: usize, armed: &mut Armed, at: Option<Instant>) {
        match (armed.0, at) {
            (Some(is), Some(at)) if is <= at => {}
            (None, None) => {}
            _ => {
                self.disarm(handle, armed);
                self.ordered.extend(at.map(|at| (at, handle)));
                armed.0 = at;
            }
        }
    }

    pub(super) fn disarm(&mut self, handle: usize, armed: &mut Armed) {
        if let Some(is) = armed.0.take() {
            self.ordered.remove(&(is, handle));
        }
    }

    /// The connection whose time has come longest ago. It is armed no more once its `Armed` is told ([`Armed::fired`]).
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let &(at, handle) = self.ordered.first()?;
        if at > now {
            return None;
        }
        self.ordered.pop_first();
        Some(handle)
    }

    /// The soonest time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ordered.first().map(|&(at, _)| at)
    }
}

impl Armed {
    pub(super) const fn fired(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn given_times_that_move_then_each_connection_fires_in_order_and_has_one_entry() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        let mut armed: [Armed; 3] = Default::default();
        deadlines.arm(0, &mut armed[0], Some(at(30)));
        deadlines.arm(1, &mut armed[1], Some(at(20)));
        deadlines.arm(2, &mut armed[2], Some(at(10)));
        deadlines.arm(0, &mut armed[0], Some(at(5)));
        deadlines.arm(1, &mut armed[1], Some(at(90)));
        deadlines.arm(2, &mut armed[2], None);
        assert_eq!((deadlines.next(), deadlines.ordered.len()), (Some(at(5)), 2));
        assert_eq!(deadlines.pop_due(at(4)), None);
        assert_eq!(deadlines.pop_due(at(25)), Some(0), "it asked for an earlier time");
        armed[0].fired();
        assert_eq!(deadlines.pop_due(at(25)), Some(1), "too early, which costs a look");
        armed[1].fired();
        deadlines.arm(1, &mut armed[1], Some(at(90)));
        deadlines.arm(0, &mut armed[0], Some(at(90)));
        deadlines.disarm(0, &mut armed[0]);
        assert_eq!((deadlines.next(), deadlines.ordered.len()), (Some(at(90)), 1));
    }
}

//! How many new connections a gateway thread lets in, from the head-room it has.
//!
//! What the thread owes to the sessions that are open is measured by how *late* its turns are: how long something that
//! arrives may wait before it is looked at. Hellos, each with a signature to verify, are what makes turns long when a fleet
//! reconnects. So:
//!
//! - While turns are in time, a turn reads more Hellos than the one before, up to [`HELLOS_PER_TURN_MAX`]; when they are
//!   late it reads half as many, down to [`HELLOS_PER_TURN_MIN`]. The others wait in line.
//! - Nobody is let into a line in which it would wait for too long ([`ADMISSION_WAIT_MS_MAX`]), by the rate at which the line
//!   was seen to move; nor anybody at all while turns are very late ([`LATE_US_MAX`]). Who is not let in is told when to come
//!   back ([`crate::comebacks`]), which costs a small part of what a handshake does.
//!
//! It is asked when a client connects and once more when its upgrade request has come, for many may have come meanwhile.
//! Behind that nobody is sent away for want of room: what was spent on a session is not spent in vain.

use switchyard_schema::ids::Millis;

use crate::limits::{
    ADMISSION_WAIT_MS_MAX, ADMISSION_WINDOW_MS, ATTACH_MS, HELLOS_PER_TURN_MAX, HELLOS_PER_TURN_MIN, LATE_US_GOOD,
    LATE_US_MAX,
};

/// The head-room of one thread.
#[derive(Copy, Clone, Debug)]
pub struct Admission {
    /// How late turns are: an average in which each turn counts for an eighth.
    late_us: u64,
    hellos_per_turn: u16,
    /// How fast the line moves when nothing is known of it.
    per_second_max: u32,
    /// How fast it was seen to move.
    per_second: u32,
    /// Since when what has moved is counted.
    since: Option<Millis>,
    left_line: u64,
    /// Whether somebody was in line in every turn since then.
    always_waited: bool,
}

/// What a turn found.
#[derive(Copy, Clone, Debug)]
pub struct Turn {
    /// The time.
    pub now: Millis,
    /// How long what arrived just after the previous turn has looked has waited for this one.
    pub late_us: u64,
    /// Connections in line: their Hello waits, or the router has not answered for them.
    pub waiting: usize,
    /// Connections that have left the line since the previous turn: as sessions, refused, or because the client went.
    pub left_line: u64,
}

/// Nobody is let in now; those who wait already are through after this time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Crowded {
    /// Milliseconds, at most [`ATTACH_MS`].
    pub wait_ms: u64,
}

impl Admission {
    /// A thread that has done nothing yet, and is expected to take `per_second` connections in; 0 is taken for one.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            late_us: 0,
            hellos_per_turn: HELLOS_PER_TURN_MAX,
            per_second_max: per_second,
            per_second,
            since: None,
            left_line: 0,
            always_waited: true,
        }
    }

    /// A turn begins.
    pub fn on_turn(&mut self, turn: Turn) {
        self.late_us = (7 * self.late_us + turn.late_us) / 8;
        self.hellos_per_turn = if self.late_us > LATE_US_GOOD {
            (self.hellos_per_turn / 2).max(HELLOS_PER_TURN_MIN)
        } else {
            (self.hellos_per_turn + 1).min(HELLOS_PER_TURN_MAX)
        };
        self.measure(turn);
    }

    /// Hellos that a turn may read.
    #[must_use]
    pub fn hellos_per_turn(&self) -> usize {
        usize::from(self.hellos_per_turn)
    }

    /// How late turns are, in microseconds.
    #[must_use]
    pub const fn late_us(&self) -> u64 {
        self.late_us
    }

    /// Whether another connection may stand in line behind `waiting` others.
    ///
    /// # Errors
    /// [`Crowded`].
    pub fn admit(&self, waiting: usize) -> Result<(), Crowded> {
        // A line that stood still for a moment seems to need for ever; but nobody is waited for longer than that.
        let wait_ms = (waiting as u64 * 1_000 / u64::from(self.per_second)).min(ATTACH_MS);
        if wait_ms > ADMISSION_WAIT_MS_MAX || self.late_us > LATE_US_MAX { Err(Crowded { wait_ms }) } else { Ok(()) }
    }

    /// Counts what moves while somebody waits: how fast a line without anybody in it could move does not show.
    fn measure(&mut self, turn: Turn) {
        let since = *self.since.get_or_insert(turn.now);
        self.left_line += turn.left_line;
        self.always_waited &= turn.waiting > 0;
        let elapsed_ms = turn.now.since(since);
        if elapsed_ms < ADMISSION_WINDOW_MS {
            return;
        }
        let seen = if self.always_waited {
            let moved = u32::try_from(self.left_line * 1_000 / elapsed_ms).unwrap_or(u32::MAX);
            // Of four, three parts are what was known before.
            self.per_second - self.per_second / 4 + moved / 4
        } else {
            self.per_second.saturating_mul(2)
        };
        self.per_second = seen.clamp(1, self.per_second_max);
        (self.since, self.left_line, self.always_waited) = (Some(turn.now), 0, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comebacks::Comebacks;
    use crate::limits::COMEBACK_MS_MIN;

    /// Turns a millisecond apart.
    fn turns(admission: &mut Admission, from_ms: u64, count: u64, late_us: u64, waiting: usize, left_line: u64) {
        for step in 0..count {
            admission.on_turn(Turn { now: Millis(from_ms + step), late_us, waiting, left_line });
        }
    }

    #[test]
    fn given_turns_that_become_late_then_fewer_hellos_are_read_at_once_and_more_again_when_they_are_in_time() {
        let mut admission = Admission::new(1_000);
        turns(&mut admission, 0, 100, LATE_US_GOOD, 10, 16);
        assert_eq!(admission.hellos_per_turn(), usize::from(HELLOS_PER_TURN_MAX), "in time");
        turns(&mut admission, 100, 100, LATE_US_GOOD * 3 / 2, 10, 16);
        assert_eq!(admission.hellos_per_turn(), usize::from(HELLOS_PER_TURN_MIN));
        assert_eq!(admission.admit(0), Ok(()), "late, but not so late that nobody may come");
        turns(&mut admission, 200, 100, 100, 10, 16);
        assert_eq!(admission.hellos_per_turn(), usize::from(HELLOS_PER_TURN_MAX));
    }

    #[test]
    fn given_a_single_late_turn_then_everything_goes_on() {
        let mut admission = Admission::new(1_000);
        turns(&mut admission, 0, 1, LATE_US_MAX, 0, 0);
        assert_eq!(admission.admit(0), Ok(()));
        assert!(admission.hellos_per_turn() > usize::from(HELLOS_PER_TURN_MIN));
    }

    #[test]
    fn given_turns_that_are_very_late_then_nobody_is_let_in_until_they_are_not() {
        let mut admission = Admission::new(1_000);
        turns(&mut admission, 0, 50, 2 * LATE_US_MAX, 0, 0);
        assert_eq!(admission.admit(0), Err(Crowded { wait_ms: 0 }));
        turns(&mut admission, 50, 50, 100, 0, 0);
        assert_eq!(admission.admit(0), Ok(()));
    }

    #[test]
    fn given_a_line_then_as_many_are_let_in_as_it_takes_in_time_at_the_rate_it_moves() {
        let mut admission = Admission::new(1_000);
        let fit = usize::try_from(ADMISSION_WAIT_MS_MAX).unwrap();
        assert_eq!(
            (admission.admit(fit), admission.admit(2 * fit)),
            (Ok(()), Err(Crowded { wait_ms: 2 * fit as u64 }))
        );
        // It moves half as fast as was expected, then not at all.
        for step in 0..2_000 {
            admission.on_turn(Turn { now: Millis(step), late_us: 0, waiting: 100, left_line: step % 2 });
        }
        assert_eq!(admission.admit(fit / 2 - 100), Ok(()));
        assert!(admission.admit(fit / 2 + 100).is_err());
        turns(&mut admission, 2_000, 4_000, 0, 100, 0);
        assert!(admission.admit(100).is_err());
        // It is empty: what it can do is unknown again.
        turns(&mut admission, 6_000, 2_000, 0, 0, 0);
        assert_eq!(admission.admit(fit), Ok(()));
    }

    #[test]
    fn given_a_line_that_stands_still_and_is_empty_then_when_clients_were_put_off_then_the_next_place_is_soon() {
        const WAITING: usize = 5_000;
        let (mut admission, mut comebacks) = (Admission::new(1_000), Comebacks::new(1_000));
        turns(&mut admission, 0, 3_000, 0, WAITING, 0);
        let now = Millis(3_000);
        let Err(Crowded { wait_ms }) = admission.admit(WAITING) else { panic!("nobody fits this line") };
        assert_eq!(wait_ms, ATTACH_MS, "by then whoever waits is in or refused");
        let mut places: Vec<u64> = (0..100).map(|_| u64::from(comebacks.reserve_behind(now, wait_ms))).collect();
        assert!(places.iter().all(|&place_ms| (ATTACH_MS..2 * ATTACH_MS).contains(&place_ms)), "{places:?}");
        places.dedup();
        assert_eq!(places.len(), 100, "behind the line too each has its own");
        turns(&mut admission, 3_000, 2_000, 0, 0, 0);
        assert_eq!(admission.admit(0), Ok(()));
        assert_eq!(u64::from(comebacks.reserve(now.plus(2_000))), COMEBACK_MS_MIN);
    }
}

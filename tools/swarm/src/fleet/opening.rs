//! When which connection is tried: in order at a rate, after a back-off, and not for ever.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use switchyard_client_core::backoff::{Backoff, Chance};

use crate::limits::{BACKOFF_BASE_MS, BACKOFF_MAX_MS, OPENING_TIME_MAX};
use crate::schedule::Schedule;

const BACKOFF: Backoff = Backoff { base_ms: BACKOFF_BASE_MS, max_ms: BACKOFF_MAX_MS };

/// The order in which a thread's members connect.
#[derive(Debug)]
pub(super) struct Opening {
    /// The first member that was never tried.
    next: u32,
    count: u32,
    /// When those are due; at once when missing.
    schedule: Option<Schedule>,
    /// Members that come back, the earliest on top.
    waiting: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Attempts by age, with the time at which they are given up. Those that have ended stay until then.
    under_way: VecDeque<(Instant, u32, u8)>,
    chance: Chance,
}

impl Opening {
    pub(super) fn new(count: u32, schedule: Option<Schedule>, seed: u64) -> Self {
        Self {
            next: 0,
            count,
            schedule,
            waiting: BinaryHeap::new(),
            under_way: VecDeque::new(),
            chance: Chance::new(seed),
        }
    }

    /// The member to be tried now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        if let Some(&Reverse((due, member))) = self.waiting.peek()
            && due <= now
        {
            self.waiting.pop();
            return Some(member);
        }
        if self.next == self.count || self.schedule.is_some_and(|schedule| schedule.due() > now) {
            return None;
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.advance();
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// When somebody is to be tried next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let fresh = self.schedule.filter(|_| self.next < self.count).map(|schedule| schedule.due());
        let back = self.waiting.peek().map(|Reverse((due, _))| *due);
        fresh.into_iter().chain(back).min()
    }

    /// A member is being tried, for the time it was told by its number of attempts.
    pub(super) fn on_attempt(&mut self, member: u32, attempt: u8, now: Instant) {
        self.under_way.push_back((now + OPENING_TIME_MAX, member, attempt));
    }

    /// The oldest attempt that has had its time.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<(u32, u8)> {
        let &(_, member, attempt) = self.under_way.front().filter(|(until, ..)| *until <= now)?;
        self.under_way.pop_front();
        Some((member, attempt))
    }

    /// A member comes back after its back-off, and not before the server wants it.
    pub(super) fn come_back(&mut self, member: u32, failures: u8, hint_ms: Option<u32>, now: Instant) {
        let delay_ms = u64::from(hint_ms.unwrap_or_default()) + BACKOFF.delay_ms(failures.into(), &mut self.chance);
        self.waiting.push(Reverse((now + Duration::from_millis(delay_ms), member)));
    }

    /// Everything so far is forgotten: all were cut off at once.
    pub(super) fn on_storm(&mut self) {
        self.next = self.count;
        self.waiting.clear();
        self.under_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_hint_of_the_server_when_a_member_comes_back_then_not_before_it_and_spread_behind_it() {
        let now = Instant::now();
        let mut opening = Opening::new(0, None, 7);
        for member in 0..1_000 {
            opening.come_back(member, 0, Some(2_000), now);
        }
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(opening.take_due(after(1_999)), None);
        let early = std::iter::from_fn(|| opening.take_due(after(2_000 + BACKOFF_BASE_MS / 2))).count();
        assert!((300..700).contains(&early), "{early} of a thousand in the first half");
        let rest = std::iter::from_fn(|| opening.take_due(after(2_000 + BACKOFF_BASE_MS))).count();
        assert_eq!(early + rest, 1_000);
    }

    #[test]
    fn given_members_that_were_never_tried_when_one_comes_back_then_it_goes_first() {
        let now = Instant::now();
        let mut opening = Opening::new(2, None, 7);
        assert_eq!(opening.take_due(now), Some(0));
        opening.come_back(0, 0, None, now);
        let later = now + Duration::from_millis(BACKOFF_BASE_MS);
        assert_eq!(
            [opening.take_due(later), opening.take_due(later), opening.take_due(later)],
            [Some(0), Some(1), None]
        );
    }
}

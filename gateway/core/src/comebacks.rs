//! When clients that are sent away come back: each gets a place in time of its own.
//!
//! A fleet that is told to come back after a random time comes back in heaps, and as fast as the spread happens to allow. So
//! places are given out one after the other, as far apart as the server needs them: N clients that are sent away together
//! are back after N times that, evenly, whoever sends them away and when. It is a token bucket over the future, and like those
//! of [`crate::rate`] a single number: the first place that nobody has.

use switchyard_schema::ids::Millis;

use crate::limits::{COMEBACK_MS_MAX, COMEBACK_MS_MIN};

/// The places of one gateway thread.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Comebacks {
    /// Microseconds from one place to the next.
    interval_us: u64,
    /// The first place that was not given, in microseconds of the monotonic clock.
    next_us: u64,
}

impl Comebacks {
    /// So many places a second; 0 is taken for one.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        const SECOND_US: u64 = 1_000_000;
        let per_second = if per_second == 0 { 1 } else { per_second as u64 };
        Self { interval_us: SECOND_US.div_ceil(per_second), next_us: 0 }
    }

    /// After how many milliseconds a client that is sent away now is to come back. The place is still free.
    #[must_use]
    pub fn next_ms(&self, now: Millis) -> u32 {
        let wait_us = self.place_us(now) - now.0 * 1_000;
        u32::try_from(wait_us.div_ceil(1_000)).expect("no place lies further ahead than the last one")
    }

    /// As [`Comebacks::next_ms`], for a client that has to stay away for `wait_ms` in any case: so much later. The places of
    /// others stay where they are, for what this one waits for may have passed when they come.
    #[must_use]
    pub fn next_behind_ms(&self, now: Millis, wait_ms: u64) -> u32 {
        let wait_ms = u32::try_from(wait_ms).unwrap_or(u32::MAX);
        self.next_ms(now).saturating_add(wait_ms)
    }

    /// Gives the next place, and answers after how many milliseconds it is.
    pub fn reserve(&mut self, now: Millis) -> u32 {
        self.reserve_behind(now, 0)
    }

    /// Gives the next place to a client that has to stay away for `wait_ms` in any case, and answers when it is to come
    /// ([`Comebacks::next_behind_ms`]).
    pub fn reserve_behind(&mut self, now: Millis, wait_ms: u64) -> u32 {
        let comeback_ms = self.next_behind_ms(now, wait_ms);
        self.next_us = self.place_us(now) + self.interval_us;
        comeback_ms
    }

    /// When all places up to the last are taken, they are given a second time from the first on.
    fn place_us(&self, now: Millis) -> u64 {
        let first_us = now.plus(COMEBACK_MS_MIN).0 * 1_000;
        let is_beyond = self.next_us > now.plus(COMEBACK_MS_MAX).0 * 1_000;
        if is_beyond { first_us } else { self.next_us.max(first_us) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000);

    #[test]
    fn given_many_clients_that_are_sent_away_at_once_then_they_come_back_evenly_at_the_rate() {
        let mut comebacks = Comebacks::new(1_000);
        let mut at_ms: Vec<u64> = (0..30_000).map(|_| u64::from(comebacks.reserve(NOW))).collect();
        assert!(at_ms.is_sorted());
        assert_eq!((at_ms[0], at_ms[29_999]), (COMEBACK_MS_MIN, COMEBACK_MS_MIN + 29_999));
        at_ms.dedup();
        assert_eq!(at_ms.len(), 30_000, "no two at the same time");
    }

    #[test]
    fn given_clients_that_are_sent_away_one_by_one_then_each_place_is_given_once_whenever_it_is_asked_for() {
        let mut comebacks = Comebacks::new(100);
        let mut taken: Vec<u64> = Vec::new();
        for since_ms in (0..2_000).map(|step| step * 3) {
            let now = NOW.plus(since_ms);
            assert_eq!(comebacks.next_ms(now), comebacks.next_ms(now), "looking takes nothing");
            taken.push(now.0 + u64::from(comebacks.reserve(now)));
        }
        // Three times as many as there are places: they lie ten milliseconds apart, and reach ahead.
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] == 10), "{taken:?}");
    }

    #[test]
    fn given_a_rest_or_others_that_wait_then_the_first_place_is_soon_or_behind_them() {
        let mut comebacks = Comebacks::new(10);
        comebacks.reserve(NOW);
        let later = NOW.plus(60_000);
        assert_eq!(u64::from(comebacks.next_ms(later)), COMEBACK_MS_MIN);
        let behind = [4_000, 4_000].map(|wait_ms| comebacks.reserve_behind(later, wait_ms));
        assert_eq!(behind, [4_500, 4_600]);
        assert_eq!(comebacks.next_ms(later), 700, "who waits for nothing is not put behind them");
    }

    #[test]
    fn given_more_clients_than_places_then_none_waits_longer_than_the_longest_and_the_second_round_is_even_too() {
        let mut comebacks = Comebacks::new(1);
        let waits: Vec<u64> = (0..1_500).map(|_| u64::from(comebacks.reserve(NOW))).collect();
        assert!(waits.iter().all(|&wait_ms| wait_ms <= COMEBACK_MS_MAX));
        assert_eq!(waits.iter().filter(|&&wait_ms| wait_ms == COMEBACK_MS_MIN).count(), 3);
    }
}

//! Full-jitter exponential back-off: each delay is drawn evenly from zero to a ceiling that doubles, so that clients
//! cut off together do not come back together.

use crate::limits::BACKOFF_DOUBLINGS_MAX;

/// The client's only source of chance: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over a seed that the driver gives.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A stream of chance; the same seed gives the same.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `max`, both included.
    pub fn up_to(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        match max.checked_add(1) {
            Some(count) => word % count,
            None => word,
        }
    }
}

/// Bounds of the delays, in milliseconds.
#[derive(Copy, Clone, Debug)]
pub struct Backoff {
    /// The first delay is at most this.
    pub base_ms: u64,
    /// No delay is longer than this.
    pub max_ms: u64,
}

impl Backoff {
    /// The delay before attempt `attempt`, counted from zero.
    #[must_use]
    pub fn delay_ms(self, attempt: u32, chance: &mut Chance) -> u64 {
        chance.up_to(self.ceiling_ms(attempt))
    }

    fn ceiling_ms(self, attempt: u32) -> u64 {
        self.base_ms.saturating_mul(1 << attempt.min(BACKOFF_DOUBLINGS_MAX)).min(self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_any_attempt_when_a_delay_is_drawn_then_it_stays_below_the_doubling_ceiling() {
        let backoff = Backoff { base_ms: 500, max_ms: 60_000 };
        let mut chance = Chance::new(7);
        for (attempt, ceiling) in [(0, 500), (1, 1_000), (3, 4_000), (7, 60_000), (u32::MAX, 60_000)] {
            let drawn: Vec<u64> = (0..1_000).map(|_| backoff.delay_ms(attempt, &mut chance)).collect();
            assert!(drawn.iter().all(|&delay| delay <= ceiling), "attempt {attempt}");
            assert!(drawn.iter().any(|&delay| delay < ceiling / 4), "attempt {attempt} reaches low");
            assert!(drawn.iter().any(|&delay| delay > ceiling / 4 * 3), "attempt {attempt} reaches high");
        }
    }
}

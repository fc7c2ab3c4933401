//! The one source of chance of a run: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over its seed.

/// A stream of numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own, so that drawing more from one does not change the other.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.word())
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// When there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "there is no number below zero");
        u64::try_from((u128::from(self.word()) * u128::from(limit)) >> 64).expect("below a u64")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.max(low) - low + 1)
    }

    /// An index below `limit`.
    pub fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("below a usize")
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// A number around `mean` that is often small and sometimes several times as large: a geometric number of halves.
    pub fn around(&mut self, mean: u64) -> u64 {
        let doublings = self.word().trailing_zeros().min(4);
        self.below((mean << doublings) / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_same_seed_then_the_same_numbers_and_all_within_their_bounds() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        for limit in 1..1000 {
            let drawn = one.below(limit);
            assert!(drawn < limit && drawn == other.below(limit));
            assert!((3..=limit + 3).contains(&one.between(3, limit + 3)));
            other.between(3, limit + 3);
        }
        assert_ne!(one.fork().word(), one.word());
    }
}

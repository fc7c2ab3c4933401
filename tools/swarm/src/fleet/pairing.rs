//! Who talks with whom: everybody has one partner, drawn at random, without a byte of memory.

use switchyard_client_core::backoff::Chance;

/// Pairs of the numbers below `count`. A number's place is `factor × number + shift`, modulo `count`, and neighbouring
/// places are partners. With an odd count one number has none.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Pairing {
    count: u64,
    factor: u64,
    inverse: u64,
    shift: u64,
}

impl Pairing {
    pub(crate) fn new(count: u32, chance: &mut Chance) -> Self {
        let count = u64::from(count.max(1));
        let shift = chance.up_to(count - 1);
        loop {
            let factor = chance.up_to(count - 1).max(1);
            if let Some(inverse) = inverse(factor, count) {
                return Self { count, factor, inverse, shift };
            }
        }
    }

    pub(crate) fn partner(&self, number: u32) -> Option<u32> {
        let place = (self.factor * u64::from(number) + self.shift) % self.count;
        let place = place ^ 1;
        if place >= self.count {
            return None;
        }
        let partner = self.inverse * ((place + self.count - self.shift) % self.count) % self.count;
        Some(u32::try_from(partner).expect("below a count that is a u32"))
    }
}

/// The number that `factor` is to be multiplied with to give 1 modulo `count`, if there is one (Euclid's algorithm).
fn inverse(factor: u64, count: u64) -> Option<u64> {
    let (mut rest, mut next_rest) = (i128::from(count), i128::from(factor));
    let (mut times, mut next_times) = (0i128, 1i128);
    while next_rest != 0 {
        let quotient = rest / next_rest;
        (rest, next_rest) = (next_rest, rest - quotient * next_rest);
        (times, next_times) = (next_times, times - quotient * next_times);
    }
    if rest == 1 { u64::try_from(times.rem_euclid(i128::from(count))).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_any_number_of_users_when_paired_then_partners_are_each_others_and_nobody_is_left_over() {
        for count in [1, 2, 3, 10, 97, 1_000, 4_096, 15_001] {
            let mut chance = Chance::new(u64::from(count));
            let pairing = Pairing::new(count, &mut chance);
            let mut alone = 0;
            for number in 0..count {
                match pairing.partner(number) {
                    None => alone += 1,
                    Some(partner) => {
                        assert_ne!(partner, number, "of {count}");
                        assert_eq!(pairing.partner(partner), Some(number), "of {count}");
                    }
                }
            }
            assert_eq!(alone, count % 2, "of {count}");
        }
    }
}

//! Mutations of an input, each named by a number: what the libFuzzer does for hours, `cargo test` does for a second and
//! always in the same way.

/// Values that bounds are made of.
const TELLING: [u8; 8] = [0, 1, 0x7d, 0x7e, 0x7f, 0x80, 0xfe, 0xff];
/// Changes made to one input at most.
const CHANGES_MAX: u64 = 6;

/// The mutation `number` of `input`; `other` lends bytes.
#[must_use]
pub fn mutated(input: &[u8], other: &[u8], number: u64) -> Vec<u8> {
    let mut random = Random(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(CHANGES_MAX) {
        change(&mut bytes, other, &mut random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.index(bytes.len() + 1);
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = TELLING[random.index(TELLING.len())],
        2 if at < bytes.len() => bytes[at] = random.next().to_le_bytes()[0],
        3 => bytes.insert(at, random.next().to_le_bytes()[0]),
        4 => {
            let end = (at + 1 + random.index(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        5 => {
            let from = random.index(other.len() + 1);
            let end = (from + random.index(32)).min(other.len());
            bytes.splice(at..at, other[from..end].iter().copied());
        }
        _ => bytes.truncate(at),
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1) as u64)).expect("below a length")
    }
}

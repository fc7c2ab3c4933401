//! Where and how a file is damaged: every field of every structure, every border, and a stride over the rest.

/// One way to damage a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// One bit, as a worn-out sector or memory without parity turns it.
    Flip { at: usize, bit: u8 },
    /// A block of zeros, as a file system leaves where it lost a write.
    Zeros { at: usize, bytes: usize },
    /// A block of another place, as a disk that writes to the wrong address leaves.
    Stray { at: usize, from: usize, bytes: usize },
    /// The end is gone.
    Cut { keep: usize },
    /// The file is gone.
    Gone,
}

impl Damage {
    /// The file after it; `None` when it is gone.
    pub(crate) fn applied(&self, file: &[u8]) -> Option<Vec<u8>> {
        let mut file = file.to_vec();
        match *self {
            Self::Flip { at, bit } => file[at] ^= 1 << bit,
            Self::Zeros { at, bytes } => file[at..at + bytes].fill(0),
            Self::Stray { at, from, bytes } => file.copy_within(from..from + bytes, at),
            Self::Cut { keep } => file.truncate(keep),
            Self::Gone => return None,
        }
        Some(file)
    }

    /// Bytes that it touches.
    pub(crate) fn bytes(&self, file: &[u8]) -> usize {
        match *self {
            Self::Flip { .. } => 1,
            Self::Zeros { bytes, .. } | Self::Stray { bytes, .. } => bytes,
            Self::Cut { keep } => file.len() - keep,
            Self::Gone => file.len(),
        }
    }
}

/// A flip in every `stride`-th byte of a range, each another bit.
pub(crate) fn flips(range: std::ops::Range<usize>, stride: usize) -> impl Iterator<Item = Damage> {
    range.step_by(stride).map(|at| Damage::Flip { at, bit: u8::try_from(at * 5 % 8).expect("a bit") })
}

/// Every byte of a small file, and every length that it could be cut to.
pub(crate) fn of_small_file(bytes: usize, stride: usize) -> Vec<Damage> {
    let cuts = (0..bytes).step_by(stride).map(|keep| Damage::Cut { keep });
    flips(0..bytes, stride).chain(cuts).chain([Damage::Gone]).collect()
}

/// A segment with batches at these places (first byte, padded bytes, length).
pub(crate) fn of_segment(bytes: usize, batches: &[(usize, usize, usize)], stride: usize) -> Vec<Damage> {
    const BLOCK: usize = 4096;
    let mut damages: Vec<Damage> = flips(0..168, 1).chain(flips(168..4092, 509)).chain(flips(4092..4096, 1)).collect();
    let mut end = BLOCK;
    for (at, padded, length) in batches.iter().copied() {
        damages.extend(flips(at..at + 64, 1)); // the batch's header
        damages.extend(flips(at + 64..(at + 92).min(at + length), 1)); // the first record's header
        damages.extend(flips((at + 92).min(at + length)..at + length, stride));
        damages.extend(flips(at + length..at + padded, 1021));
        damages.push(Damage::Zeros { at, bytes: padded });
        damages.push(Damage::Zeros { at, bytes: BLOCK });
        damages.push(Damage::Stray { at, from: 0, bytes: BLOCK });
        damages.push(Damage::Stray { at, from: end.saturating_sub(BLOCK), bytes: BLOCK });
        damages.extend([at, at + 1, at + length - 1].map(|keep| Damage::Cut { keep }));
        end = at + padded;
    }
    damages.extend(flips(end..bytes, 8191));
    damages.push(Damage::Zeros { at: 0, bytes: BLOCK });
    damages.push(Damage::Zeros { at: 0, bytes: end });
    damages.extend([0, 1, 4095, 4096, end, bytes - BLOCK, bytes - 1].map(|keep| Damage::Cut { keep }));
    damages.push(Damage::Gone);
    damages
}

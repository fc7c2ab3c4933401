//! Where a record lies.

use std::fmt;

/// The first byte of a record: the segment's folder-wide number (from 1) and the byte offset in its file.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Byte offset in the segment's file.
    pub offset: u32,
}

impl Position {
    /// One word, ordered like the position; never zero, because segments count from 1.
    #[must_use]
    pub const fn pack(self) -> u64 {
        ((self.segment as u64) << 32) | self.offset as u64
    }

    /// The position behind a word; `None` for a word without a segment, as zero is.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
    pub const fn unpack(word: u64) -> Option<Self> {
        let segment = (word >> 32) as u32;
        if segment == 0 { None } else { Some(Self { segment, offset: word as u32 }) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}:{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_positions_when_packed_then_they_come_back_in_order() {
        let low = Position { segment: 1, offset: u32::MAX };
        let high = Position { segment: 2, offset: 0 };
        assert!(low.pack() < high.pack());
        assert_eq!(Position::unpack(low.pack()), Some(low));
        assert_eq!(Position::unpack(high.pack()), Some(high));
        assert_eq!(Position::unpack(7), None);
    }
}

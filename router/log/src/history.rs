//! One record by its position: how the messages of a conversation are found again.
//!
//! A conversation's messages form a chain, newest first: each record holds the position of the one before. The driver reads
//! [`first_read`], hands the bytes to [`decode`], and reads once more when the record is longer than that. A position in a
//! segment below [`crate::manifest::Manifest::oldest_segment`] leads to dropped history and is not read at all.

use crate::Position;
use crate::limits::{BLOCK_BYTES, HISTORY_READ_BYTES, SEGMENT_BYTES_MAX};
use crate::record::{self, RecordDamage, RecordView};

/// A block-aligned read of a segment.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ReadRange {
    /// The segment.
    pub segment: u32,
    /// The first byte, on a block.
    pub offset: u32,
    /// Bytes, whole blocks.
    pub bytes: u32,
}

/// What the bytes of a [`ReadRange`] gave.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// The record.
    Record(RecordView<'a>),
    /// It is longer: read this instead and decode again.
    Longer(ReadRange),
}

/// What to read first: the block of the position, and the next one when the record's header runs over.
#[must_use]
pub fn first_read(position: Position) -> ReadRange {
    cover(position, record::HEADER_BYTES.max(HISTORY_READ_BYTES - position.offset % BLOCK_BYTES))
}

/// The record at `position`, from the bytes of `range`.
///
/// # Errors
/// When the bytes are not the record that was written there: the segment is damaged, or the position is not one of ours.
pub fn decode(position: Position, range: ReadRange, bytes: &[u8]) -> Result<Found<'_>, RecordDamage> {
    let skip = position.offset.checked_sub(range.offset).ok_or(RecordDamage::Short)?;
    let bytes = bytes.get(skip as usize..).ok_or(RecordDamage::Short)?;
    let length = record::peek_length(bytes)?;
    if (length as usize) > bytes.len() {
        let longer = cover(position, length);
        return if longer == range { Err(RecordDamage::Short) } else { Ok(Found::Longer(longer)) };
    }
    record::decode(bytes, position).map(Found::Record)
}

/// The blocks that hold `bytes` from `position`.
fn cover(position: Position, bytes: u32) -> ReadRange {
    let first = position.offset.min(SEGMENT_BYTES_MAX);
    let offset = first / BLOCK_BYTES * BLOCK_BYTES;
    let end = (first + bytes).next_multiple_of(BLOCK_BYTES);
    ReadRange { segment: position.segment, offset, bytes: end - offset }
}

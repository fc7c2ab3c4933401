//! Looks at single blocks of a segment: is a batch here, where does the next one begin, was this ever written.

use std::ops::Range;

use super::RecoveryError;
use crate::Position;
use crate::batch::BatchHeader;
use crate::limits::BLOCK_BYTES;
use crate::manifest::SegmentEntry;
use crate::segment::FIRST_BATCH_OFFSET;
use crate::storage::{Storage, Window};

pub(super) type Result<T, S> = std::result::Result<T, RecoveryError<<S as Storage>::Error>>;

const BLOCK: usize = BLOCK_BYTES as usize;

/// `count` bytes at `offset`; `None` beyond the end of the file.
pub(super) fn get<'w, S: Storage>(
    window: &'w mut Window<'_, S>,
    offset: u32,
    count: u32,
) -> Result<Option<&'w [u8]>, S> {
    let segment = window.file.number;
    window.get(offset, count).map_err(|source| RecoveryError::Read { segment, offset, source })
}

/// The sound header of a batch that this segment's writer put at `at`, with a number above `above`.
pub(super) fn header_at<S: Storage>(
    window: &mut Window<'_, S>,
    entry: &SegmentEntry,
    above: u64,
    at: u32,
) -> Result<Option<BatchHeader>, S> {
    let header = get(window, at, BLOCK_BYTES)?.and_then(BatchHeader::decode);
    let place = Position { segment: entry.number, offset: at };
    let ours = |header: &BatchHeader| {
        header.salt == entry.salt
            && header.position == place
            && (header.run, header.core) == (entry.run, entry.core)
            && header.number > above
    };
    Ok(header.filter(ours))
}

/// The first block of a range where a batch of this segment begins.
pub(super) fn find_next<S: Storage>(
    window: &mut Window<'_, S>,
    entry: &SegmentEntry,
    above: u64,
    range: Range<u32>,
) -> Result<Option<u32>, S> {
    for at in (range.start..range.end.min(window.end())).step_by(BLOCK) {
        if header_at(window, entry, above, at)?.is_some() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Any batch that says it was written to this segment, when nothing else tells what the segment is.
pub(super) fn find_any<S: Storage>(window: &mut Window<'_, S>, number: u32) -> Result<Option<BatchHeader>, S> {
    for at in (FIRST_BATCH_OFFSET..window.end()).step_by(BLOCK) {
        let place = Position { segment: number, offset: at };
        let header = get(window, at, BLOCK_BYTES)?.and_then(BatchHeader::decode);
        if let Some(header) = header.filter(|header| header.position == place) {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// The end of the last block in a range that is not all zeros; its start when all are.
pub(super) fn last_written<S: Storage>(window: &mut Window<'_, S>, range: Range<u32>) -> Result<u32, S> {
    let mut last = range.start;
    for at in range.step_by(BLOCK) {
        if get(window, at, BLOCK_BYTES)?.is_some_and(|block| !is_blank(block)) {
            last = at + BLOCK_BYTES;
        }
    }
    Ok(last)
}

/// Whether all bytes are zero. Looks at every byte whatever it finds, which is faster than to stop at one.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

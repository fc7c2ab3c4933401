//! The files of the journal's folder as a disk keeps them: what is durable, and what a loss of power may tear.

use std::cell::Cell;
use std::collections::BTreeMap;

use switchyard_log::storage::{SegmentFile, Storage};

use crate::random::Random;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// The disk did not give what it holds.
#[derive(Copy, Clone, Debug, thiserror::Error)]
#[error("input/output error")]
pub struct Unreadable;

/// One segment's file.
#[derive(Debug)]
struct File {
    durable: Vec<u8>,
    /// Sectors that were written and not synced: reads show them, a loss of power may not.
    loose: BTreeMap<usize, Box<Sector>>,
}

/// All segments.
#[derive(Debug, Default)]
pub struct Files {
    segments: BTreeMap<u32, File>,
    /// Reads that are still to fail.
    failing_reads: Cell<u32>,
}

impl Files {
    /// A new file, durable with its name.
    pub(crate) fn make(&mut self, segment: u32, bytes: u32, first_block: &[u8]) {
        let mut durable = vec![0; bytes as usize];
        durable[..first_block.len()].copy_from_slice(first_block);
        self.segments.insert(segment, File { durable, loose: BTreeMap::new() });
    }

    pub(crate) fn remove(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    pub(crate) fn has(&self, segment: u32) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Writes, without a sync, those sectors of `bytes` for which `lands` says so.
    pub(crate) fn write(&mut self, segment: u32, offset: u32, bytes: &[u8], mut lands: impl FnMut(usize) -> bool) {
        let file = self.segments.get_mut(&segment).expect("segments in use stay");
        let first = offset as usize / SECTOR_BYTES;
        for (index, sector) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
            if lands(index) {
                file.loose.insert(first + index, Box::new(sector.try_into().expect("a whole sector")));
            }
        }
    }

    /// Makes durable what was written to a segment.
    pub(crate) fn sync(&mut self, segment: u32) {
        if let Some(file) = self.segments.get_mut(&segment) {
            for (index, sector) in std::mem::take(&mut file.loose) {
                file.durable[index * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(&*sector);
            }
        }
    }

    /// Power is lost: of what was not synced, each sector is kept `kept_per_mille` times in a thousand.
    pub(crate) fn lose_power(&mut self, random: &mut Random, kept_per_mille: u64) {
        for file in self.segments.values_mut() {
            for (index, sector) in std::mem::take(&mut file.loose) {
                if random.chance(kept_per_mille) {
                    file.durable[index * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(&*sector);
                }
            }
        }
    }

    /// The next `count` reads fail.
    pub(crate) fn fail_reads(&self, count: u32) {
        self.failing_reads.set(count);
    }

    /// Changes bytes of what is durable.
    pub(crate) fn damage(&mut self, segment: u32, offset: u32, change: impl FnOnce(&mut [u8])) {
        if let Some(file) = self.segments.get_mut(&segment) {
            change(&mut file.durable[offset as usize..]);
        }
    }

    /// Reads as the server does: a range may run past the end of the file.
    pub(crate) fn read(&self, segment: u32, offset: u32, bytes: u32) -> Result<Vec<u8>, Unreadable> {
        let file = self.segments.get(&segment).ok_or(Unreadable)?;
        let end = (offset as usize + bytes as usize).min(file.durable.len());
        let mut buffer = vec![0; end.saturating_sub(offset as usize)];
        self.read_at(segment, offset, &mut buffer)?;
        Ok(buffer)
    }

    fn fails(&self) -> bool {
        let left = self.failing_reads.get();
        self.failing_reads.set(left.saturating_sub(1));
        left > 0
    }
}

impl Storage for Files {
    type Error = Unreadable;

    fn segments(&self) -> Result<Vec<SegmentFile>, Unreadable> {
        let file = |(number, file): (&u32, &File)| SegmentFile {
            number: *number,
            bytes: u32::try_from(file.durable.len()).expect("segments are small"),
        };
        Ok(self.segments.iter().map(file).collect())
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), Unreadable> {
        if self.fails() {
            return Err(Unreadable);
        }
        let file = self.segments.get(&segment).ok_or(Unreadable)?;
        let from = offset as usize;
        buffer.copy_from_slice(file.durable.get(from..from + buffer.len()).ok_or(Unreadable)?);
        if file.loose.is_empty() {
            return Ok(());
        }
        let sectors = from / SECTOR_BYTES..(from + buffer.len()).div_ceil(SECTOR_BYTES);
        for (index, sector) in file.loose.range(sectors) {
            // Reads of the server are aligned to blocks, and blocks are whole sectors.
            let at = index * SECTOR_BYTES - from;
            buffer[at..at + SECTOR_BYTES].copy_from_slice(&**sector);
        }
        Ok(())
    }
}

//! What recovery and verification need of a folder: which segments there are, and their bytes.

use crate::limits::{BLOCK_BYTES, RECOVERY_READ_BYTES};

/// A segment's file as the folder lists it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    /// The number in its name.
    pub number: u32,
    /// Bytes of the file.
    pub bytes: u32,
}

/// A folder of segments, read synchronously. Recovery runs before any shard serves, so nothing else waits for it.
pub trait Storage {
    /// What goes wrong when reading.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The segments' files, in any order.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    fn segments(&self) -> Result<Vec<SegmentFile>, Self::Error>;

    /// Fills `buffer` from a segment; the range lies within the file.
    ///
    /// # Errors
    /// When the bytes cannot be read. Recovery stops then: an unreadable sector is never taken for a torn tail.
    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

/// A window over one segment that moves forward, so that memory stays bounded whatever the segment holds.
pub(crate) struct Window<'a, S: Storage> {
    storage: &'a S,
    pub(crate) file: SegmentFile,
    bytes: Vec<u8>,
    first: u32,
    pub(crate) read_bytes: u64,
}

impl<'a, S: Storage> Window<'a, S> {
    /// A window over `file` that reuses `bytes`.
    pub(crate) fn new(storage: &'a S, file: SegmentFile, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { storage, file, bytes, first: 0, read_bytes: 0 }
    }

    /// The memory, for the next segment.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whole blocks of the file.
    pub(crate) fn end(&self) -> u32 {
        self.file.bytes / BLOCK_BYTES * BLOCK_BYTES
    }

    /// `count` bytes at `offset`; `None` beyond the last whole block.
    pub(crate) fn get(&mut self, offset: u32, count: u32) -> Result<Option<&[u8]>, S::Error> {
        let end = self.end();
        if u64::from(offset) + u64::from(count) > u64::from(end) {
            return Ok(None);
        }
        let have = self.first + u32::try_from(self.bytes.len()).expect("the window is far smaller than 4 GiB");
        if offset < self.first || offset + count > have {
            let wanted = count.max(RECOVERY_READ_BYTES).min(end - offset);
            self.bytes.resize(wanted as usize, 0);
            self.first = offset;
            if let Err(error) = self.storage.read_at(self.file.number, offset, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
            self.read_bytes += u64::from(wanted);
        }
        let from = (offset - self.first) as usize;
        Ok(Some(&self.bytes[from..from + count as usize]))
    }
}

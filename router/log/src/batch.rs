//! A batch: what one write and one fdatasync make durable together. A header, records back to back, zeros up to the next
//! block.

use switchyard_schema::ids::ShardId;
use switchyard_schema::record::Record;

use crate::Position;
use crate::codec::{Reader, Writer, crc32c};
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCH_ROOM_BYTES_MIN, BLOCK_BYTES};
use crate::planner::SegmentTail;
use crate::ranges::ShardRanges;
use crate::record::{self, Placement, RecordDamage, RecordView};

/// The first four bytes of a batch.
pub const MAGIC: [u8; 4] = *b"SWYB";
/// The version of the batch format that this crate writes.
pub const FORMAT_VERSION: u8 = 1;
/// Bytes of a batch's header.
pub const HEADER_BYTES: u32 = 64;

const HEADER: usize = HEADER_BYTES as usize;

/// What a batch is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum BatchKind {
    /// Carries records.
    Records = 1,
    /// Closing mark of a journal that goes idle: everything before it was durable. More batches may follow.
    Idle = 2,
    /// Closing mark of a clean stop: nothing follows in this run.
    Stop = 3,
}

impl BatchKind {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Records,
            2 => Self::Idle,
            3 => Self::Stop,
            _ => return None,
        })
    }
}

/// Where a batch goes and what it continues. Made by [`crate::planner::JournalPlan::begin`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchStart {
    /// Its first byte.
    pub position: Position,
    /// Bytes it may have, padding included: a whole number of blocks.
    pub bytes_max: u32,
    /// The salt of its segment.
    pub salt: u64,
    /// The run of the server.
    pub run: u32,
    /// The router core.
    pub core: u16,
    /// Its number: dense from 1 over all segments of one core in one run.
    pub number: u64,
    /// The header checksum of the batch before it, zero for the first.
    pub previous_crc: u32,
    /// The segment that this batch leaves behind, when it is the first in a new one.
    pub rolled: Option<SegmentTail>,
}

/// The header of a batch, sound and in its place. Its records may still be damaged.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// What the batch is for.
    pub kind: BatchKind,
    /// The router core that wrote it.
    pub core: u16,
    /// The salt of its segment.
    pub salt: u64,
    /// Where it begins.
    pub position: Position,
    /// Its number within core and run.
    pub number: u64,
    /// The run that wrote it.
    pub run: u32,
    /// The header checksum of the batch before it.
    pub previous_crc: u32,
    /// Records in it.
    pub record_count: u32,
    /// Bytes of header and records, without the padding.
    pub length: u32,
    /// Checksum of the records.
    pub payload_crc: u32,
    /// Checksum of this header, which covers that of the records: what the next batch is chained to.
    pub crc: u32,
}

impl BatchHeader {
    /// Bytes on disk, padding included.
    #[must_use]
    pub const fn padded_bytes(&self) -> u32 {
        self.length.next_multiple_of(BLOCK_BYTES)
    }

    /// The header at the front of `block`, whichever segment and place it names. `None` when there is none.
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<Self> {
        let header = block.get(..HEADER)?;
        let mut reader = Reader::new(header);
        if reader.array() != Some(MAGIC) || reader.u8()? != FORMAT_VERSION {
            return None;
        }
        let crc = u32::from_le_bytes(*header.last_chunk()?);
        if crc32c(&header[..HEADER - 4]) != crc {
            return None;
        }
        let kind = BatchKind::from_number(reader.u8()?)?;
        let decoded = Self {
            kind,
            core: reader.u16()?,
            salt: reader.u64()?,
            position: Position { segment: reader.u32()?, offset: reader.u32()? },
            number: reader.u64()?,
            run: reader.u32()?,
            previous_crc: reader.u32()?,
            record_count: reader.u32()?,
            length: reader.u32()?,
            payload_crc: reader.u32()?,
            crc,
        };
        let sound = (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&decoded.length)
            && decoded.record_count <= BATCH_RECORDS_MAX
            && decoded.number != 0
            && decoded.position.offset.is_multiple_of(BLOCK_BYTES);
        sound.then_some(decoded)
    }

    fn encode(&self, out: &mut [u8]) {
        let mut writer = Writer::new(out);
        writer.slice(&MAGIC).u8(FORMAT_VERSION).u8(self.kind as u8).u16(self.core).u64(self.salt);
        writer.u32(self.position.segment).u32(self.position.offset).u64(self.number).u32(self.run);
        writer.u32(self.previous_crc).u32(self.record_count).u32(self.length).u32(self.payload_crc);
        writer.u64(0);
    }
}

/// Fills the memory of the driver with one batch.
///
/// `B` is whatever the driver writes from: aligned DMA memory in the server, a `Vec<u8>` in tests. It comes back with
/// [`BatchBuilder::seal`].
#[derive(Debug)]
pub struct BatchBuilder<B> {
    buffer: B,
    start: BatchStart,
    used: u32,
    record_count: u32,
    ranges: ShardRanges,
}

/// The batch has no room for this record: seal it and begin another.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the batch is full")]
pub struct BatchFull;

impl<B: AsRef<[u8]> + AsMut<[u8]>> BatchBuilder<B> {
    /// An empty batch in `buffer`.
    ///
    /// # Panics
    /// When the buffer is smaller than the `buffer_bytes` that the plan was asked with.
    #[must_use]
    pub fn new(buffer: B, start: BatchStart) -> Self {
        assert!(buffer.as_ref().len() >= start.bytes_max as usize, "the plan was made for a larger buffer");
        Self { buffer, start, used: HEADER_BYTES, record_count: 0, ranges: ShardRanges::default() }
    }

    /// Adds a record as number `lsn` of `shard`; `previous` is where the conversation's previous message lies (messages
    /// only).
    ///
    /// # Errors
    /// [`BatchFull`]; never for an empty batch.
    pub fn append(
        &mut self,
        record: &Record,
        shard: ShardId,
        lsn: u64,
        previous: Option<Position>,
    ) -> Result<Position, BatchFull> {
        assert!(lsn != 0, "LSNs count from 1");
        let bytes = record::encoded_bytes(record);
        let room = (self.start.bytes_max - self.used) as usize;
        if bytes > room || self.record_count == BATCH_RECORDS_MAX {
            assert!(self.record_count > 0, "a record of {bytes} bytes is beyond every limit of the wire");
            return Err(BatchFull);
        }
        let first = self.used as usize;
        let position =
            Position { segment: self.start.position.segment, offset: self.start.position.offset + self.used };
        let placement = Placement { position, shard, lsn, previous };
        record::encode(record, placement, &mut self.buffer.as_mut()[first..first + bytes]);
        self.used += u32::try_from(bytes).expect("bounded by the room of a batch");
        self.record_count += 1;
        self.ranges.note(shard, lsn);
        Ok(position)
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Records so far.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Bytes so far, header included.
    #[must_use]
    pub fn used_bytes(&self) -> u32 {
        self.used
    }

    /// Where the batch goes.
    #[must_use]
    pub fn start(&self) -> &BatchStart {
        &self.start
    }

    /// Gives the memory back, the batch forgotten; the plan may begin the same batch again.
    #[must_use]
    pub fn abandon(self) -> B {
        self.buffer
    }

    /// Closes the batch: pads it with zeros and writes its header.
    ///
    /// # Panics
    /// When a closing mark has records, or a batch of records none.
    #[must_use]
    pub fn seal(mut self, kind: BatchKind) -> SealedBatch<B> {
        assert_eq!(kind == BatchKind::Records, self.record_count > 0, "a closing mark is a batch of its own");
        let bytes = self.used.next_multiple_of(BLOCK_BYTES);
        let buffer = self.buffer.as_mut();
        buffer[self.used as usize..bytes as usize].fill(0);
        let mut header = BatchHeader {
            kind,
            core: self.start.core,
            salt: self.start.salt,
            position: self.start.position,
            number: self.start.number,
            run: self.start.run,
            previous_crc: self.start.previous_crc,
            record_count: self.record_count,
            length: self.used,
            payload_crc: crc32c(&buffer[HEADER..self.used as usize]),
            crc: 0,
        };
        header.encode(buffer);
        header.crc = crc32c(&buffer[..HEADER - 4]);
        buffer[HEADER - 4..HEADER].copy_from_slice(&header.crc.to_le_bytes());
        SealedBatch {
            buffer: self.buffer,
            bytes,
            position: self.start.position,
            header,
            ranges: self.ranges,
            rolled: self.start.rolled,
        }
    }
}

/// A batch ready to be written: [`SealedBatch::bytes`] at [`SealedBatch::position`], then fdatasync.
#[derive(Debug)]
pub struct SealedBatch<B> {
    /// The memory, to be used again when the write is done.
    pub buffer: B,
    /// Bytes to write, from the front of `buffer`; whole blocks.
    pub bytes: u32,
    /// Where they go.
    pub position: Position,
    /// What the batch says of itself.
    pub header: BatchHeader,
    /// The LSNs in it.
    pub ranges: ShardRanges,
    /// The segment left behind by this batch. Everything in it is durable once this batch is being written, because only
    /// one is ever in flight: tell the manifest then, not earlier.
    pub rolled: Option<SegmentTail>,
}

impl<B: AsRef<[u8]>> SealedBatch<B> {
    /// What to write.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.as_ref()[..self.bytes as usize]
    }
}

/// Why a batch with a sound header cannot be used.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchDamage {
    /// The records do not match their checksum, or end early.
    #[error("the records of the batch do not match its checksum")]
    Payload,
    /// The batch is sound, a record in it is not.
    #[error("the record at {position}: {damage}")]
    Record {
        /// Where the record lies.
        position: Position,
        /// What is wrong with it.
        damage: RecordDamage,
    },
}

/// The records of a batch that has proven whole.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    position: Position,
}

/// Checks every byte of the batch that begins at the front of `bytes`, each record included, before any is used.
///
/// # Errors
/// When anything in it is not what was written.
pub fn check<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Result<Records<'a>, BatchDamage> {
    let payload = bytes.get(HEADER..header.length as usize).ok_or(BatchDamage::Payload)?;
    if crc32c(payload) != header.payload_crc {
        return Err(BatchDamage::Payload);
    }
    let position = Position { offset: header.position.offset + HEADER_BYTES, ..header.position };
    let records = Records { bytes: payload, position };
    let mut count = 0;
    for record in records.clone() {
        record.map_err(|(position, damage)| BatchDamage::Record { position, damage })?;
        count += 1;
    }
    if count == header.record_count { Ok(records) } else { Err(BatchDamage::Payload) }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, (Position, RecordDamage)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let at = self.position;
        match record::decode(self.bytes, at) {
            Ok(view) => {
                self.bytes = &self.bytes[view.bytes as usize..];
                self.position.offset += view.bytes;
                Some(Ok(view))
            }
            Err(damage) => {
                self.bytes = &[];
                Some(Err((at, damage)))
            }
        }
    }
}

const _: () = assert!(BATCH_ROOM_BYTES_MIN <= BATCH_BYTES_MAX);

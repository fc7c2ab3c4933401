//! A segment: a preallocated file whose first block says which one it is.

use switchyard_schema::ids::{Millis, ShardCount, ShardId};
use switchyard_schema::limits::SHARD_COUNT_MAX;

use crate::codec::{Reader, Writer, crc32c};
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// The first four bytes of a segment.
pub const MAGIC: [u8; 4] = *b"SWYS";
/// The version of the segment format that this crate writes.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of the header: one block.
pub const HEADER_BYTES: u32 = BLOCK_BYTES;
/// Where the first batch begins.
pub const FIRST_BATCH_OFFSET: u32 = HEADER_BYTES;

const SHARD_WORDS: usize = SHARD_COUNT_MAX as usize / 64;
const BLOCK: usize = BLOCK_BYTES as usize;

/// What a segment says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Folder-wide number, from 1, ascending in the order of creation and never given twice.
    pub number: u32,
    /// The run of the server that made it, from 1: within one run a shard lives on one core.
    pub run: u32,
    /// The router core that writes it.
    pub core: u16,
    /// Shards of the folder.
    pub shard_count: ShardCount,
    /// Random; what tells this segment's batches from older bytes of a reused file and from bytes that a client sent.
    pub salt: u64,
    /// When it was made.
    pub created: Millis,
    /// Bytes of the file, a whole number of blocks.
    pub bytes: u32,
    /// The shards that its core owns in this run: no other shard has records here.
    pub shards: ShardSet,
}

/// Why a block is not the header of a segment.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderDamage {
    /// Not a segment at all, or its first bytes are gone.
    #[error("it does not begin like a segment")]
    Magic,
    /// Written by a newer version.
    #[error("its format version is {0}, newer than this version of switchyard knows")]
    Version(u16),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// Sound, but a field makes no sense.
    #[error("a field has an impossible value")]
    Field,
}

impl SegmentHeader {
    /// The first block of the file. The driver preallocates `bytes`, writes this, syncs file and folder, lists the segment
    /// in the manifest, and only then hands it to the planner.
    #[must_use]
    pub fn encode(&self) -> Box<[u8; BLOCK]> {
        assert!(self.number != 0 && self.run != 0, "segments and runs count from 1");
        assert!(valid_bytes(self.bytes), "a segment has {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes, in blocks");
        let mut block = Box::new([0; BLOCK]);
        let mut writer = Writer::new(block.as_mut_slice());
        writer.slice(&MAGIC).u16(FORMAT_VERSION).u16(self.core).u32(self.number).u32(self.run);
        writer.u64(self.salt).u64(self.created.0).u32(self.bytes).u16(self.shard_count.get()).u16(0);
        for word in self.shards.0 {
            writer.u64(word);
        }
        let crc = crc32c(&block[..BLOCK - 4]);
        block[BLOCK - 4..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Reads a header back.
    ///
    /// # Errors
    /// Anything but a header as [`SegmentHeader::encode`] makes it, of this or an older version.
    pub fn decode(block: &[u8]) -> Result<Self, HeaderDamage> {
        let block = block.get(..BLOCK).ok_or(HeaderDamage::Magic)?;
        let mut reader = Reader::new(&block[..BLOCK - 4]);
        if reader.array() != Some(MAGIC) {
            return Err(HeaderDamage::Magic);
        }
        if crc32c(&block[..BLOCK - 4]).to_le_bytes() != block[BLOCK - 4..] {
            return Err(HeaderDamage::Checksum);
        }
        let version = reader.u16().ok_or(HeaderDamage::Field)?;
        if version != FORMAT_VERSION {
            return Err(if version > FORMAT_VERSION { HeaderDamage::Version(version) } else { HeaderDamage::Field });
        }
        Self::parse(reader).ok_or(HeaderDamage::Field)
    }

    fn parse(mut reader: Reader<'_>) -> Option<Self> {
        let core = reader.u16()?;
        let (number, run) = (reader.u32()?, reader.u32()?);
        let (salt, created) = (reader.u64()?, Millis(reader.u64()?));
        let bytes = reader.u32()?;
        let shard_count = ShardCount::new(reader.u16()?)?;
        let _zero = reader.u16()?;
        let mut shards = ShardSet::EMPTY;
        for word in &mut shards.0 {
            *word = reader.u64()?;
        }
        let known = shards.iter().all(|shard| shard.0 < shard_count.get());
        let valid = number != 0 && run != 0 && valid_bytes(bytes) && known;
        valid.then_some(Self { number, run, core, shard_count, salt, created, bytes, shards })
    }
}

/// Whether a segment may have this size.
#[must_use]
pub fn valid_bytes(bytes: u32) -> bool {
    (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(BLOCK_BYTES)
}

/// The name of a segment's file: ten digits and `.seg`.
#[must_use]
pub fn file_name(number: u32) -> String {
    format!("{number:010}.seg")
}

/// The number behind a file name; `None` for every other file.
#[must_use]
pub fn number_of_file(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let valid = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| valid && *number != 0)
}

/// A set of shards, one bit each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardSet([u64; SHARD_WORDS]);

impl ShardSet {
    /// No shard.
    pub const EMPTY: Self = Self([0; SHARD_WORDS]);

    /// These shards.
    ///
    /// # Panics
    /// When a shard is beyond the most that a folder may have.
    #[must_use]
    pub fn of(shards: impl IntoIterator<Item = ShardId>) -> Self {
        let mut set = Self::EMPTY;
        for shard in shards {
            set.0[usize::from(shard.0) / 64] |= 1 << (shard.0 % 64);
        }
        set
    }

    /// Every shard of a folder.
    #[must_use]
    pub fn all(count: ShardCount) -> Self {
        Self::of((0..count.get()).map(ShardId))
    }

    /// Whether `shard` is one of them.
    #[must_use]
    pub fn contains(&self, shard: ShardId) -> bool {
        self.0.get(usize::from(shard.0) / 64).is_some_and(|word| word & (1 << (shard.0 % 64)) != 0)
    }

    /// The shards, ascending.
    pub fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..SHARD_COUNT_MAX).map(ShardId).filter(|shard| self.contains(*shard))
    }
}

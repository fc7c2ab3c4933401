//! What recovery found, in words that an operator can act on.

use std::fmt;

use switchyard_schema::ids::ShardId;

use crate::batch::BatchDamage;
use crate::manifest::{LsnHole, Manifest};
use crate::segment::HeaderDamage;

/// Everything that recovery has to say.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// One entry per shard of the folder, by shard number.
    pub shards: Vec<ShardTail>,
    /// Places that cannot be read although something durable was there. Nothing of them was passed on or changed.
    pub damages: Vec<Damage>,
    /// LSNs found missing or repeated: what `repair` would give up.
    pub holes: Vec<LsnHole>,
    /// Batches that were being written when the last run ended. Copy the bytes to a file before anything else: the manifest
    /// below cuts them off.
    pub torn: Vec<TornTail>,
    /// The list as it should be written now, before the next run begins.
    pub manifest: Manifest,
    /// Segments that were read; sync these before any record is released, since what was read may be in the disk's cache.
    pub segments_read: Vec<u32>,
    /// Files that hold nothing: spares of the last run, and segments dropped from the list. To be removed, after the
    /// manifest is written.
    pub leftovers: Vec<u32>,
    /// Remarkable, and harmless.
    pub notes: Vec<Note>,
    /// How much there was to do.
    pub statistics: Statistics,
}

/// Where the history of a shard ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ShardTail {
    /// The shard.
    pub shard: ShardId,
    /// Its last LSN: the next record gets the one after.
    pub last_lsn: u64,
    /// The highest LSN among its records that were read, whatever the state store covers; zero when none was. Only this
    /// tells how far an open segment gets that is damaged: the list then says nothing of what it holds.
    pub read_lsn: u64,
    /// Index in [`Recovered::damages`] of why the shard must refuse to serve.
    pub refuses: Option<usize>,
}

/// A place where something durable cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment.
    pub segment: u32,
    /// The first byte of the region.
    pub from: u32,
    /// The byte after it; the same as `from` where something is missing between two bytes.
    pub to: u32,
    /// What is wrong.
    pub kind: DamageKind,
    /// The shards that may have lost records by it and refuse to serve. None when later records prove that nothing is lost.
    pub shards: Vec<ShardId>,
}

/// What is wrong with a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DamageKind {
    /// No batch can be made out, yet later ones or a closing mark prove that one was there.
    Unreadable,
    /// The header of a batch is sound, the rest is not.
    Batch(BatchDamage),
    /// Two batches follow each other that do not belong together.
    BatchesMissing {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The manifest lists the segment, the folder does not have it.
    SegmentMissing,
    /// The file ends before its segment does.
    CutShort {
        /// Bytes of the file.
        bytes: u32,
    },
    /// The segment's header is damaged, and no batch can be made out in it.
    NothingLeft,
    /// A record's LSN is beyond the next one of its shard.
    LsnMissing {
        /// The shard.
        shard: ShardId,
        /// The LSN that should come.
        expected: u64,
        /// The LSN that came.
        found: u64,
    },
    /// A record has an LSN that its shard had before. No writer of ours makes one, not even with the same bytes.
    LsnRepeated {
        /// The shard.
        shard: ShardId,
        /// The LSN.
        lsn: u64,
    },
    /// The state store is older than segments that were skipped or dropped because a newer one had covered them.
    StateStoreBehind {
        /// The shard.
        shard: ShardId,
        /// The LSN that the store once covered.
        floor: u64,
    },
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("no batch can be read here, although later ones prove that there was one"),
            Self::Batch(damage) => damage.fmt(f),
            Self::BatchesMissing { expected, found } => {
                write!(f, "batch {expected} should follow here, batch {found} does")
            }
            Self::SegmentMissing => f.write_str("the manifest lists this segment, but its file is gone"),
            Self::CutShort { bytes } => write!(f, "the file has only {bytes} bytes, the rest of the segment is gone"),
            Self::NothingLeft => f.write_str("the header is damaged, and no batch can be made out in this segment"),
            Self::LsnMissing { shard, expected, found } => {
                write!(f, "record {expected} of shard {} should follow here, record {found} does", shard.0)
            }
            Self::LsnRepeated { shard, lsn } => write!(f, "record {lsn} of shard {} is here a second time", shard.0),
            Self::StateStoreBehind { shard, floor } => {
                write!(f, "the state store once held record {floor} of shard {} and no longer does", shard.0)
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::segment::file_name(self.segment);
        write!(f, "{name}, bytes {} to {}: {}", self.from, self.to, self.kind)?;
        match self.shards.len() {
            0 => f.write_str("; every shard can serve"),
            1 => write!(f, "; shard {} refuses to serve", self.shards[0].0),
            count => write!(f, "; {count} shards refuse to serve"),
        }
    }
}

/// A batch that was being written when the last run ended: never acknowledged, so nobody misses it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The segment.
    pub segment: u32,
    /// The first byte.
    pub from: u32,
    /// The byte after the last that may belong to it.
    pub to: u32,
}

/// Remarkable, and harmless.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// There was no manifest; the list was made from the segments themselves.
    ManifestMissing,
    /// The header of a segment is damaged; its contents were read with what the manifest or its batches say.
    HeaderDamaged {
        /// The segment.
        segment: u32,
        /// What is wrong with it.
        damage: HeaderDamage,
    },
    /// The zeros after a batch are not zeros: the disk or its driver changes bytes.
    PaddingNotZero {
        /// The segment.
        segment: u32,
        /// Where the batch begins.
        offset: u32,
    },
    /// A region that `repair` gave up was passed over.
    GivenUp {
        /// The segment.
        segment: u32,
        /// The first byte.
        from: u32,
        /// The byte after the last.
        to: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManifestMissing => f.write_str("there is no manifest; the list was made from the segments"),
            Self::HeaderDamaged { segment, damage } => {
                write!(f, "{}: header damaged ({damage}); its batches were read", crate::segment::file_name(*segment))
            }
            Self::PaddingNotZero { segment, offset } => {
                write!(f, "{}, batch at {offset}: padding is not zero", crate::segment::file_name(*segment))
            }
            Self::GivenUp { segment, from, to } => {
                write!(f, "{}, bytes {from} to {to}: given up by repair", crate::segment::file_name(*segment))
            }
        }
    }
}

/// How much there was to do.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Segments that were read.
    pub segments_read: u64,
    /// Segments that the manifest ruled out.
    pub segments_skipped: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Sound batches, closing marks included.
    pub batches: u64,
    /// Closing marks.
    pub marks: u64,
    /// Records passed on.
    pub records: u64,
    /// Sound records that were not passed on: covered already, or of a shard that refuses.
    pub records_withheld: u64,
}

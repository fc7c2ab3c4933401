//! Reads a folder of segments back: every record once, in the order of its shard, and a verdict on everything else.
//!
//! **Order.** Segment numbers ascend folder-wide in the order of creation, a core uses its segments in ascending order, a run
//! never writes into segments of an earlier run, and within a run a shard lives on one core. So reading the segments in
//! number order meets the records of every shard in LSN order, whatever cores wrote them, and nothing has to be sorted or
//! held back: memory is one read window.
//!
//! **What is a torn tail, what is damage.** A core has one batch in flight. What follows its last sound batch may be the rest
//! of a write that was never acknowledged: a torn tail, cut and set aside. It is damage when anything proves that the
//! missing bytes were durable: a later batch or closing mark in the segment, a later segment of the same core and run whose
//! first batch continues further on, or a manifest that says where the segment ends.
//!
//! **Who refuses.** A damaged region makes suspects of the shards that its segment may hold. The next record of a suspect
//! clears it (its LSN is the one expected: nothing is lost) or convicts it; one without a next record stays convicted.
//! A convicted shard refuses to serve; the others go on.
//!
//! **How much is read.** Segments that the manifest seals below the state store's LSNs are not opened, so the time does not
//! grow with history.

mod chain;
mod report;
mod scan;
mod shards;
mod walk;

pub use report::{Damage, DamageKind, Note, Recovered, ShardTail, Statistics, TornTail};

use switchyard_schema::ids::{Millis, ShardCount, ShardId};

use crate::batch::BatchHeader;
use crate::limits::SEGMENTS_MAX;
use crate::manifest::Manifest;
use crate::record::RecordView;
use crate::storage::Storage;

/// What a run of recovery is for.
pub enum Mode<'a> {
    /// To serve: the LSN that the state store has of each shard; records up to it are not wanted.
    Recover(&'a dyn Fn(ShardId) -> u64),
    /// To look: every segment is read, whatever is covered.
    Verify,
}

/// Takes the records as they are read.
pub trait Visitor {
    /// The next record of its shard.
    fn record(&mut self, record: &RecordView<'_>);

    /// A sound record that is not passed on: covered already, or of a shard that refuses.
    fn withheld(&mut self, _record: &RecordView<'_>) {}

    /// A sound batch, before its records.
    fn batch(&mut self, _header: &BatchHeader) {}
}

impl<F: FnMut(&RecordView<'_>)> Visitor for F {
    fn record(&mut self, record: &RecordView<'_>) {
        self(record);
    }
}

/// Why recovery could not even look.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError<E> {
    /// The folder or a file cannot be read.
    #[error("segment {segment:010} cannot be read at byte {offset}; check the disk, then start again")]
    Read {
        /// The segment.
        segment: u32,
        /// The first byte of the read.
        offset: u32,
        /// What the storage said.
        source: E,
    },
    /// The folder cannot be listed.
    #[error("the journal's folder cannot be listed")]
    List(#[source] E),
    /// A segment of a newer version.
    #[error("segment {segment:010} has format version {version}; start the newer version of switchyard that wrote it")]
    Newer {
        /// The segment.
        segment: u32,
        /// Its version.
        version: u16,
    },
    /// A segment of a folder with another number of shards.
    #[error(
        "segment {segment:010} was written with {found} shards, this folder has {expected}; it belongs to another folder"
    )]
    ShardCount {
        /// The segment.
        segment: u32,
        /// The count in its header.
        found: u16,
        /// The count of the folder.
        expected: u16,
    },
    /// A manifest of a folder with another number of shards.
    #[error(
        "the journal's manifest was written with {found} shards, VERSION says {expected}; one of the two is of another \
         folder, or damaged: if this folder is as it should be, make the second line of VERSION `shards {found}`"
    )]
    ManifestShardCount {
        /// The count in the manifest.
        found: u16,
        /// The count of the folder.
        expected: u16,
    },
    /// More segments than a folder may have.
    #[error("the folder has {0} segments, more than {SEGMENTS_MAX}; move the oldest ones away")]
    TooMany(usize),
}

/// Reads the folder. `manifest` is `None` when there is no such file: a damaged one is an error of its own for the caller
/// to show, since what it gave up by `repair` must not come back silently. `now` becomes the sealing time of segments found
/// open.
///
/// # Errors
/// When the folder cannot be read, or is not one that this version can read. Damage is no error: it is in the result.
pub fn recover<S: Storage>(
    storage: &S,
    manifest: Option<Manifest>,
    shard_count: ShardCount,
    now: Millis,
    mode: &Mode<'_>,
    visitor: &mut dyn Visitor,
) -> Result<Recovered, RecoveryError<S::Error>> {
    let mut files = storage.segments().map_err(RecoveryError::List)?;
    if files.len() > SEGMENTS_MAX as usize {
        return Err(RecoveryError::TooMany(files.len()));
    }
    if let Some(found) = manifest.as_ref().map(Manifest::shard_count)
        && found != shard_count
    {
        return Err(RecoveryError::ManifestShardCount { found: found.get(), expected: shard_count.get() });
    }
    files.sort_by_key(|file| file.number);
    walk::Walk::new(storage, manifest, shard_count, now, mode, visitor).run(&files)
}

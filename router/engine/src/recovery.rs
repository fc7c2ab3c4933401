//! Fills the engines of all cores from the state store and the journal.
//!
//! The store's rows and the LSN they cover are one atomic change, so replay begins right after it. A record is replayed
//! into a shard once what it changes has been installed from the store.
//!
//! The store is told of nothing that is not durable in the journal, so a journal that ends before what the store covers is
//! not the one that belongs to it ([`JournalBehind`]).

use std::collections::HashMap;

use switchyard_log::manifest::Manifest;
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{Mode, Recovered, RecoveryError, ShardTail, Visitor, recover};
use switchyard_log::storage::Storage;
use switchyard_router_core::effects::{LoadKey, Row};
use switchyard_schema::ids::{Millis, ShardCount, ShardId};

use crate::engine::Engine;
use crate::snapshots::{covered_key, decode_covered};

/// The state store, as recovery reads it.
pub trait StateRows {
    /// What goes wrong when reading.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Every row whose key begins with `prefix`, in key order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, Self::Error>;
}

/// Why recovery could not finish.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError<S, R> {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(RecoveryError<S>),
    /// The state store cannot be read.
    #[error("the state store cannot be read")]
    Store(#[source] R),
    /// Journal and state store do not belong together.
    #[error(transparent)]
    Behind(JournalBehind),
}

/// The journal ends before what the state store covers: it is an older copy, or its disk has lost what it had synced. Going on
/// would give LSNs, and numbers of segments, a second time.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal ends at record {journal_lsn} of shard {}, the state store covers it up to record {store_lsn}", .shard.0)]
pub struct JournalBehind {
    /// The first shard of which that is so.
    pub shard: ShardId,
    /// Its last LSN in the journal.
    pub journal_lsn: u64,
    /// Its last LSN in the store.
    pub store_lsn: u64,
    /// Shards of which that is so.
    pub shards: usize,
}

impl JournalBehind {
    /// Looks at what was recovered: the journal has what was read, and what the list says of segments that were not read. Not
    /// at shards that refuse already, and not at all where `repair` gave up places: they may have held the last records of any
    /// shard.
    fn find(recovered: &Recovered, covers: impl Fn(ShardId) -> u64) -> Option<Self> {
        if !recovered.manifest.voids().is_empty() {
            return None;
        }
        let listed = recovered.manifest.last_lsns();
        let tails = recovered.shards.iter().zip(listed).map(|(tail, listed)| (tail, tail.read_lsn.max(listed)));
        let mut behind = tails.filter(|(tail, last)| tail.refuses.is_none() && covers(tail.shard) > *last);
        let (ShardTail { shard, .. }, journal_lsn) = behind.next()?;
        Some(Self { shard: *shard, journal_lsn, store_lsn: covers(*shard), shards: 1 + behind.count() })
    }
}

/// What the store covers of every shard.
///
/// # Errors
/// When the store cannot be read.
pub fn covered<R: StateRows>(rows: &R, shards: ShardCount) -> Result<HashMap<ShardId, u64>, R::Error> {
    let mut covered = HashMap::new();
    for shard in (0..shards.get()).map(ShardId) {
        let found = rows.scan(&covered_key(shard))?;
        let lsn = found.first().and_then(|row| decode_covered(row.value.as_deref()?));
        covered.insert(shard, lsn.unwrap_or(0));
    }
    Ok(covered)
}

/// Whether a snapshot of any shard was ever stored.
///
/// # Errors
/// When the store cannot be read.
pub fn holds_state<R: StateRows>(rows: &R, shards: ShardCount) -> Result<bool, R::Error> {
    for shard in (0..shards.get()).map(ShardId) {
        if !rows.scan(&covered_key(shard))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Restores `engines`, by core, and starts them. Damaged shards refuse to serve; the result says which and why.
///
/// # Errors
/// When journal or store cannot be read at all, or do not belong together.
pub fn restore<S: Storage, R: StateRows>(
    engines: &mut [Engine],
    storage: &S,
    manifest: Option<Manifest>,
    rows: &R,
    now: Millis,
) -> Result<Recovered, RestoreError<S::Error, R::Error>> {
    let shard_count = engines.first().expect("there is a router core").config().shard_count;
    let covered = covered(rows, shard_count).map_err(RestoreError::Store)?;
    let covers = |shard: ShardId| covered.get(&shard).copied().unwrap_or(0);
    let mut replay = Replay { engines, rows, failed: None };
    for shard in (0..shard_count.get()).map(ShardId) {
        replay.install(shard, LoadKey::Shard);
    }
    let mode = Mode::Recover(&covers);
    let recovered = recover(storage, manifest, shard_count, now, &mode, &mut replay).map_err(RestoreError::Journal)?;
    if let Some(error) = replay.failed {
        return Err(RestoreError::Store(error));
    }
    if let Some(behind) = JournalBehind::find(&recovered, covers) {
        return Err(RestoreError::Behind(behind));
    }
    for tail in &recovered.shards {
        let slot = slot_of(engines, tail.shard);
        slot.refuses |= tail.refuses.is_some();
        slot.shard.recovered(tail.last_lsn.max(covers(tail.shard)));
    }
    for engine in engines {
        engine.set_kept(&recovered.manifest);
        engine.start(now, covers);
    }
    Ok(recovered)
}

fn slot_of(engines: &mut [Engine], shard: ShardId) -> &mut crate::engine::Slot {
    let cores = engines.len();
    &mut engines[usize::from(shard.0) % cores].slots[usize::from(shard.0) / cores]
}

struct Replay<'a, R: StateRows> {
    engines: &'a mut [Engine],
    rows: &'a R,
    failed: Option<R::Error>,
}

impl<R: StateRows> Replay<'_, R> {
    fn install(&mut self, shard: ShardId, key: LoadKey) {
        match self.rows.scan(&key.prefix(shard)) {
            Ok(rows) => {
                let slot = slot_of(self.engines, shard);
                if slot.shard.install(key, &rows).is_err() {
                    slot.refuses = true;
                }
            }
            Err(error) => self.failed = Some(error),
        }
    }
}

impl<R: StateRows> Visitor for Replay<'_, R> {
    fn record(&mut self, view: &RecordView<'_>) {
        let record = view.payload.to_record();
        while self.failed.is_none() && !slot_of(self.engines, view.shard).refuses {
            let slot = slot_of(self.engines, view.shard);
            let Some(key) = slot.shard.needs(&record) else {
                slot.shard.replay(view.lsn, view.position.pack(), &record);
                return;
            };
            self.install(view.shard, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use switchyard_log::manifest::VoidRegion;
    use switchyard_log::planner::SegmentTail;
    use switchyard_log::ranges::ShardRanges;
    use switchyard_log::recovery::Statistics;
    use switchyard_log::segment::ShardSet;

    use super::*;

    /// Two shards, and one segment with records of the first up to `last`.
    fn recovered(last: u64) -> Recovered {
        let count = ShardCount::new(2).unwrap();
        let mut manifest = Manifest::new(count);
        let header = manifest.allocate(0, &ShardSet::all(count), 1 << 20, 7, Millis(1)).unwrap();
        manifest.list(&header);
        let mut ranges = ShardRanges::default();
        (1..=last).for_each(|lsn| ranges.note(ShardId(0), lsn));
        manifest.seal(&SegmentTail { number: header.number, end: 8192, ranges }, Millis(2));
        let tail = |shard| ShardTail { shard: ShardId(shard), last_lsn: last, read_lsn: 0, refuses: None };
        Recovered {
            shards: (0..2).map(tail).collect(),
            damages: Vec::new(),
            holes: Vec::new(),
            torn: Vec::new(),
            manifest,
            segments_read: Vec::new(),
            leftovers: Vec::new(),
            notes: Vec::new(),
            statistics: Statistics::default(),
        }
    }

    fn covering(lsn: u64) -> impl Fn(ShardId) -> u64 {
        move |shard| if shard.0 == 0 { lsn } else { 0 }
    }

    #[test]
    fn given_a_store_that_covers_what_the_journal_has_then_they_belong_together_and_one_record_more_is_told() {
        assert_eq!(JournalBehind::find(&recovered(5), covering(0)), None);
        assert_eq!(JournalBehind::find(&recovered(5), covering(5)), None);
        let behind = JournalBehind { shard: ShardId(0), journal_lsn: 5, store_lsn: 6, shards: 1 };
        assert_eq!(JournalBehind::find(&recovered(5), covering(6)), Some(behind));
    }

    #[test]
    fn given_a_covered_segment_that_was_dropped_when_its_records_are_covered_then_they_are_not_missed() {
        let mut recovered = recovered(5);
        assert!(recovered.manifest.cover(covering(5)));
        recovered.manifest.forget(1);
        assert_eq!(JournalBehind::find(&recovered, covering(5)), None);
        assert!(JournalBehind::find(&recovered, covering(6)).is_some());
    }

    #[test]
    fn given_records_of_which_the_list_knows_nothing_when_they_were_read_then_the_journal_has_them() {
        let mut recovered = recovered(5);
        recovered.shards[0].read_lsn = 7;
        assert_eq!(JournalBehind::find(&recovered, covering(7)), None);
        let behind = JournalBehind { shard: ShardId(0), journal_lsn: 7, store_lsn: 8, shards: 1 };
        assert_eq!(JournalBehind::find(&recovered, covering(8)), Some(behind));
    }

    #[test]
    fn given_damage_that_explains_what_is_missing_then_it_is_told_by_that() {
        let mut refusing = recovered(5);
        refusing.shards[0].refuses = Some(0);
        assert_eq!(JournalBehind::find(&refusing, covering(6)), None);
        let mut given_up = recovered(5);
        assert!(given_up.manifest.accept_void(VoidRegion { segment: 1, from: 4096, to: 8192 }));
        assert_eq!(JournalBehind::find(&given_up, covering(6)), None);
    }
}

//! Fills the engines of all cores from the state store and the journal.
//!
//! The store's rows and the LSN they cover are one atomic change, so replay begins right after it. A record is replayed
//! into a shard once what it changes has been installed from the store.

use std::collections::HashMap;

use switchyard_log::manifest::Manifest;
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{Mode, Recovered, RecoveryError, Visitor, recover};
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
/// When journal or store cannot be read at all.
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

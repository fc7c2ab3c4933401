//! The state store: rows of all shards at rest, in fjall.
//!
//! While the server runs one side thread serves it ([`StoreThread`]), and each router core has a [`StorePort`].

use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use switchyard_engine::recovery::StateRows;
use switchyard_router_core::effects::Row;

use crate::guarded::guarded;
use crate::limits::{FILL_BYTES, STORE_CACHE_BYTES, STORE_JOURNAL_BYTES, STORE_RENEW_BYTES, STORE_WRITE_BUFFER_BYTES};
use crate::reserve::{free_bytes, is_full};
use crate::store_lists;
pub use crate::store_thread::{StorePort, StoreThread};

/// How often a flush looks whether it is done: the store has no other way to wait that a failing disk would end.
const FLUSH_LOOK: Duration = Duration::from_millis(2);

/// The rows of all shards.
pub struct Store {
    folder: PathBuf,
    database: Database,
    rows: Keyspace,
    /// Bytes of rows written since it was opened.
    written_bytes: AtomicU64,
}

/// Why the state store failed, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the state store could not {action}: {detail}; look for disk errors and free space, then start again. If its files are \
     damaged, `logview repair --rebuild-state` sets them aside, and the next start makes them again from the journal"
)]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// What the store says.
    pub detail: String,
    /// The disk was full: with space the store can be opened again, and nothing that it said was durable is lost. After any
    /// other error, a failed sync above all, it is not known what the disk has.
    pub is_full: bool,
}

impl StoreError {
    pub(crate) fn while_trying_to(action: &'static str) -> impl Fn(fjall::Error) -> Self {
        move |error| Self { action, detail: error.to_string(), is_full: io_error(&error).is_some_and(is_full) }
    }
}

fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

impl Store {
    /// Opens the store in `folder`, or makes it.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let action = "open its files";
        store_lists::check(folder).map_err(|detail| StoreError { action, detail, is_full: false })?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(STORE_WRITE_BUFFER_BYTES);
        let open = || Database::builder(folder).cache_size(STORE_CACHE_BYTES).worker_threads(1).open();
        // Never dropped when what follows fails: after a panic in there, dropping it panics again and ends the process.
        let database = ManuallyDrop::new(guarded(action, open)?);
        let rows = guarded(action, || database.keyspace("rows", options))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            database: ManuallyDrop::into_inner(database),
            rows,
            written_bytes: AtomicU64::new(0),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether its disk has less than `bytes` of free space.
    #[must_use]
    pub fn is_short_of(&self, bytes: u64) -> bool {
        free_bytes(&self.folder).is_ok_and(|free| free < bytes)
    }

    /// The value of a row.
    ///
    /// # Errors
    /// What the store says.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = guarded("read a row", || self.rows.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Writes `rows` at once; durable after the next [`Store::sync`].
    ///
    /// # Errors
    /// What the store says.
    pub fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        let bytes: usize = rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len)).sum();
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut batch = self.database.batch();
        for row in rows {
            match &row.value {
                Some(value) => batch.insert(&self.rows, &row.key[..], &value[..]),
                None => batch.remove(&self.rows, &row.key[..]),
            }
        }
        batch.commit().map_err(StoreError::while_trying_to("write rows"))
    }

    /// Writes what is in memory to tables and begins the store's own journal anew, so that the next start need not read
    /// it: that takes a second for every few hundred thousand rows. Everything is durable already: a failure, or a disk
    /// that takes longer than `patience`, costs only time.
    ///
    /// The store begins another journal only when it flushes and this one is longer than 64 MB, so it is made that long
    /// (`docs/adr/0009-the-stores-journal-is-renewed-at-a-stop.md`).
    pub fn settle(&self, patience: Duration) {
        if self.written_bytes.load(Ordering::Relaxed) < STORE_RENEW_BYTES || self.is_short_of(4 * STORE_JOURNAL_BYTES) {
            return;
        }
        if let Err(error) = self.renew_journal(Instant::now() + patience) {
            tracing::warn!(%error, "the state store could not be put in order; the next start takes longer");
        }
    }

    fn renew_journal(&self, until: Instant) -> fjall::Result<()> {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(4 * STORE_JOURNAL_BYTES);
        let filler = self.database.keyspace("filler", options)?;
        // Bytes that nothing makes shorter.
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let chunk: Vec<u8> = std::iter::repeat_with(|| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        })
        .take(FILL_BYTES / 8)
        .flatten()
        .collect();
        for number in 0..STORE_JOURNAL_BYTES / FILL_BYTES as u64 {
            filler.insert(number.to_be_bytes(), &chunk[..])?;
        }
        for keyspace in [&self.rows, &filler] {
            keyspace.rotate_memtable()?;
        }
        let is_flushing = || self.rows.sealed_memtable_count() + filler.sealed_memtable_count() > 0;
        while is_flushing() && Instant::now() < until {
            thread::sleep(FLUSH_LOOK);
        }
        self.database.delete_keyspace(filler)
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// What the store says.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncAll).map_err(StoreError::while_trying_to("sync its files"))
    }
}

impl StateRows for Store {
    type Error = StoreError;

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let row =
            |(key, value): (fjall::UserKey, fjall::UserValue)| Row { key: key.to_vec(), value: Some(value.to_vec()) };
        guarded("read rows", || self.rows.prefix(prefix).map(|guard| guard.into_inner().map(row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn journals(folder: &Path) -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).collect()
    }

    #[test]
    fn given_a_store_that_settled_when_opened_again_then_its_rows_are_there_and_its_journal_is_another() {
        let folder = crate::testing::folder("store-settle");
        let row = |number: u32| Row { key: number.to_be_bytes().to_vec(), value: Some(vec![7; 1024]) };
        let store = Store::open(&folder).expect("new");
        let rows: Vec<Row> = (0..4096).map(row).collect();
        store.write(&rows[..10]).expect("written");
        let before = journals(&folder);
        store.settle(Duration::from_secs(30));
        assert_eq!(journals(&folder), before, "a few rows are not worth it");
        store.write(&rows).expect("written");
        store.sync().expect("synced");
        store.settle(Duration::from_secs(30));
        drop(store);
        assert!(journals(&folder).is_disjoint(&before), "the journal with the rows is gone");

        let store = Store::open(&folder).expect("there");
        assert_eq!(store.scan(&[]).expect("rows"), rows);
        store.write(&[row(5000)]).expect("it takes more");
        store.sync().expect("synced");
        drop(store);
        let store = Store::open(&folder).expect("there");
        assert_eq!(store.get(&5000_u32.to_be_bytes()).expect("read"), row(5000).value);
    }
}

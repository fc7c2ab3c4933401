//! The state store: rows of all shards at rest, in fjall.
//!
//! While the server runs one side thread serves it ([`StoreThread`]), and each router core has a [`StorePort`].

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use switchyard_engine::recovery::StateRows;
use switchyard_router_core::effects::Row;

use crate::guarded::guarded;
use crate::limits::{STORE_CACHE_BYTES, STORE_WRITE_BUFFER_BYTES};
use crate::reserve::{free_bytes, is_full};
pub use crate::store_thread::{StorePort, StoreThread};

/// How often a flush looks whether it is done: the store has no other way to wait that a failing disk would end.
const FLUSH_LOOK: Duration = Duration::from_millis(2);

/// The rows of all shards.
pub struct Store {
    folder: PathBuf,
    database: Database,
    rows: Keyspace,
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
        let options = || KeyspaceCreateOptions::default().max_memtable_size(STORE_WRITE_BUFFER_BYTES);
        guarded("open its files", || {
            let database = Database::builder(folder).cache_size(STORE_CACHE_BYTES).worker_threads(1).open()?;
            let rows = database.keyspace("rows", options)?;
            Ok(Self { folder: folder.to_path_buf(), database, rows })
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
        let mut batch = self.database.batch();
        for row in rows {
            match &row.value {
                Some(value) => batch.insert(&self.rows, &row.key[..], &value[..]),
                None => batch.remove(&self.rows, &row.key[..]),
            }
        }
        batch.commit().map_err(StoreError::while_trying_to("write rows"))
    }

    /// Writes what is in memory to a table, so that the next start need not. It is durable already: a failure, or a disk
    /// that takes longer than `patience`, costs only time.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        if self.rows.rotate_memtable().is_ok_and(|rotated| rotated) {
            while self.rows.sealed_memtable_count() > 0 && Instant::now() < until {
                thread::sleep(FLUSH_LOOK);
            }
        }
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

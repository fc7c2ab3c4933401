//! Where outbox, inbox and cursors are kept between starts.

mod sqlite;

use std::path::{Path, PathBuf};

use switchyard_client_core::{Restored, StoreOp};
use switchyard_schema::ids::DeviceId;

use crate::error::StoreError;
use sqlite::Sqlite;

/// Which store a client uses.
#[derive(Clone, Debug, Default)]
pub(crate) enum StoreChoice {
    /// Nothing outlives the process.
    #[default]
    Memory,
    /// A SQLite file.
    File(PathBuf),
}

/// An open store. The state machine holds everything in memory, so a store in memory has nothing to do.
#[derive(Debug)]
pub(crate) enum Store {
    Memory,
    Sqlite(Box<Sqlite>),
}

/// What an open store held.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) device: DeviceId,
    pub(crate) restored: Restored,
}

impl Store {
    /// Opens the store and reads it. `device` is checked against it; a device that was never named is made and kept.
    pub(crate) fn open(choice: &StoreChoice, device: Option<DeviceId>) -> Result<Opened, StoreError> {
        match choice {
            StoreChoice::Memory => Ok(Opened {
                store: Self::Memory,
                device: device.unwrap_or_else(random_device),
                restored: Restored::default(),
            }),
            StoreChoice::File(path) => Self::open_file(path, device),
        }
    }

    fn open_file(path: &Path, device: Option<DeviceId>) -> Result<Opened, StoreError> {
        let mut sqlite = Sqlite::open(path)?;
        let device = match (sqlite.device()?, device) {
            (Some(found), Some(wanted)) if found != wanted => {
                return Err(StoreError::OtherDevice { found: found.get(), wanted: wanted.get() });
            }
            (Some(found), _) => found,
            (None, wanted) => {
                let device = wanted.unwrap_or_else(random_device);
                sqlite.put_device(device)?;
                device
            }
        };
        let restored = sqlite.load()?;
        Ok(Opened { store: Self::Sqlite(Box::new(sqlite)), device, restored })
    }

    /// Performs the operations in one transaction that is on disk when this returns.
    pub(crate) async fn commit(self, operations: Vec<StoreOp>) -> Result<Self, StoreError> {
        match self {
            Self::Memory => Ok(self),
            Self::Sqlite(mut sqlite) => {
                let work = move || sqlite.commit(&operations).map(|()| Self::Sqlite(sqlite));
                tokio::task::spawn_blocking(work).await.expect("the store does not panic and is not cancelled")
            }
        }
    }
}

/// A device id that no other device of the user is likely to have, positive as an i64 too.
fn random_device() -> DeviceId {
    let mut bytes = [0; 8];
    crate::entropy::fill(&mut bytes);
    DeviceId::new((u64::from_le_bytes(bytes) >> 1).max(1)).expect("at least one")
}

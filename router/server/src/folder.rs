//! The data folder: who holds it, which format it has, where its parts lie.
//!
//! ```text
//! LOCK        held by the running server
//! VERSION     format and number of shards, text
//! journal/    segments and their manifest
//! state/      the state store
//! set-aside/  torn tails that recovery cut off
//! reserve     space for the time when the disk is full
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use switchyard_schema::ids::ShardCount;

use crate::segment_file::replace;

/// The format that this binary writes and the newest that it reads.
pub const FORMAT: u32 = 1;
const PROBE_BYTES: usize = 4096;

/// An open data folder. Its lock is held until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    shards: ShardCount,
    _lock: File,
}

/// Why a data folder cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server runs on it.
    #[error(
        "the data folder {path} is locked by another running switchyard; stop that one, or choose another folder with --data"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "the data folder {path} has format {found}, and this version of switchyard knows formats up to {FORMAT}; run the \
         version that wrote it, or a newer one"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// `VERSION` cannot be understood, or is gone from a folder with data.
    #[error("{path} does not say which format the data folder has; restore that file from a backup")]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// Not empty, and no data folder.
    #[error("{path} is neither empty nor a data folder of switchyard; choose another folder with --data")]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The file system has no O_DIRECT.
    #[error(
        "{path} lies on a file system without O_DIRECT (as tmpfs), on which nothing can be made durable; choose a folder on \
         a disk with --data"
    )]
    NoDirectIo {
        /// The folder.
        path: PathBuf,
    },
    /// Another error of the file system.
    #[error("cannot {action} {path}: {source}; check the path, its permissions and the free space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DataFolder {
    /// Opens the folder at `path`, making it with `shards_when_new` shards when it is absent or empty.
    ///
    /// # Errors
    /// What [`OpenError`] lists.
    pub fn open(path: &Path, shards_when_new: ShardCount) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(at("make", path))?;
        let path = path.canonicalize().map_err(at("open", path))?;
        let lock = lock(&path)?;
        let version = path.join("VERSION");
        let shards = match fs::read_to_string(&version) {
            Ok(text) => parse_version(&text, &version, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refuse_foreign(&path)?;
                if has_data(&path).map_err(at("read", &path))? {
                    return Err(OpenError::Version { path: version });
                }
                probe_direct_io(&path)?;
                make_folders(&path)?;
                let text = format!("switchyard {FORMAT}\nshards {}\n", shards_when_new.get());
                replace(&version, text.as_bytes()).map_err(at("write", &version))?;
                shards_when_new
            }
            Err(error) => return Err(at("read", &version)(error)),
        };
        probe_direct_io(&path)?;
        make_folders(&path)?;
        Ok(Self { path, shards, _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many shards its data is divided into.
    #[must_use]
    pub const fn shards(&self) -> ShardCount {
        self.shards
    }

    /// Where segments and their manifest lie.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the state store lies.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Where torn tails are put.
    #[must_use]
    pub fn set_aside(&self) -> PathBuf {
        self.path.join("set-aside")
    }

    /// The file that sets space aside.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.path.join("reserve")
    }

    /// A file with a block of data, from which an executor learns its device.
    #[must_use]
    pub fn probe(&self) -> PathBuf {
        self.path.join("journal").join("probe")
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_path_buf();
    move |source| OpenError::Io { action, path, source }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join("LOCK");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name).map_err(at("open", &name))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path: path.to_path_buf() }),
        Err(error) => Err(at("lock", &name)(error.into())),
    }
}

fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    // A first start that was cut short leaves the lock and our empty folders, and keys may be put in before it.
    let ours =
        ["LOCK", "VERSION.new", "journal", "state", "set-aside", "keys", "tls", "quic-reset.key", "quic-reset.new"];
    for entry in fs::read_dir(path).map_err(at("read", path))? {
        let entry = entry.map_err(at("read", path))?;
        if !ours.iter().any(|name| entry.file_name() == *name) {
            return Err(OpenError::Foreign { path: path.to_path_buf() });
        }
    }
    Ok(())
}

/// Whether a server has run on the folder: it had its `VERSION` before the first segment or row was written.
fn has_data(path: &Path) -> io::Result<bool> {
    for name in ["journal", "state"] {
        match fs::read_dir(path.join(name)) {
            Ok(mut entries) => {
                if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "probe")) {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn make_folders(path: &Path) -> Result<(), OpenError> {
    for name in ["journal", "state", "set-aside"] {
        let folder = path.join(name);
        fs::create_dir_all(&folder).map_err(at("make", &folder))?;
    }
    let probe = path.join("journal").join("probe");
    fs::write(&probe, [0xa5; PROBE_BYTES]).map_err(at("write", &probe))?;
    File::open(&probe).and_then(|file| file.sync_all()).map_err(at("write", &probe))
}

fn probe_direct_io(path: &Path) -> Result<(), OpenError> {
    let name = path.join("journal").join("probe");
    fs::create_dir_all(path.join("journal")).map_err(at("make", path))?;
    let flags = i32::try_from(OFlags::DIRECT.bits()).expect("open flags are small");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(&name);
    let in_memory = rustix::fs::statfs(path).is_ok_and(|about| about.f_type == TMPFS_MAGIC);
    match opened {
        Ok(_) if !in_memory => Ok(()),
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            Err(at("open", &name)(error))
        }
        _ => Err(OpenError::NoDirectIo { path: path.to_path_buf() }),
    }
}

/// `TMPFS_MAGIC` of linux/magic.h. Recent kernels open files with O_DIRECT on tmpfs; it is memory all the same.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

fn parse_version(text: &str, file: &Path, folder: &Path) -> Result<ShardCount, OpenError> {
    let damaged = || OpenError::Version { path: file.to_path_buf() };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let format: u32 = field("switchyard").and_then(|word| word.parse().ok()).ok_or_else(damaged)?;
    if format > FORMAT {
        return Err(OpenError::Newer { path: folder.to_path_buf(), found: format });
    }
    field("shards").and_then(|word| word.parse().ok()).and_then(ShardCount::new).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn shards(count: u16) -> ShardCount {
        ShardCount::new(count).expect("in range")
    }

    #[test]
    fn given_a_new_folder_when_opened_again_then_its_shard_count_stays() {
        let path = testing::folder("folder-new");
        assert_eq!(DataFolder::open(&path, shards(64)).expect("new").shards(), shards(64));
        assert_eq!(DataFolder::open(&path, shards(8)).expect("old").shards(), shards(64));
    }

    #[test]
    fn given_an_open_folder_when_opened_a_second_time_then_it_is_locked() {
        let path = testing::folder("folder-locked");
        let _held = DataFolder::open(&path, shards(64)).expect("the first");
        assert!(matches!(DataFolder::open(&path, shards(64)), Err(OpenError::Locked { .. })));
    }

    #[test]
    fn given_other_formats_when_opened_then_the_refusal_says_which() {
        let path = testing::folder("folder-newer");
        drop(DataFolder::open(&path, shards(64)).expect("new"));
        fs::write(path.join("VERSION"), "switchyard 9\nshards 64\n").expect("written");
        assert!(matches!(DataFolder::open(&path, shards(64)), Err(OpenError::Newer { found: 9, .. })));
        fs::write(path.join("VERSION"), "nonsense").expect("written");
        assert!(matches!(DataFolder::open(&path, shards(64)), Err(OpenError::Version { .. })));
    }

    #[test]
    fn given_data_without_a_version_when_opened_then_it_is_not_taken_for_a_new_folder() {
        let path = testing::folder("folder-no-version");
        drop(DataFolder::open(&path, shards(64)).expect("new"));
        fs::remove_file(path.join("VERSION")).expect("removed");
        drop(DataFolder::open(&path, shards(64)).expect("a first start that was cut short"));
        fs::write(path.join("state").join("rows"), "data").expect("written");
        fs::remove_file(path.join("VERSION")).expect("removed");
        assert!(matches!(DataFolder::open(&path, shards(64)), Err(OpenError::Version { .. })));
    }

    #[test]
    fn given_a_folder_of_somebody_else_then_it_is_left_alone() {
        let path = testing::folder("folder-foreign");
        fs::write(path.join("thesis.tex"), "precious").expect("written");
        assert!(matches!(DataFolder::open(&path, shards(64)), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn given_a_folder_in_memory_then_it_is_refused() {
        let path = Path::new("/dev/shm").join(format!("switchyard-folder-{}", std::process::id()));
        let opened = DataFolder::open(&path, shards(64));
        let _ = fs::remove_dir_all(&path);
        assert!(matches!(opened, Err(OpenError::NoDirectIo { .. })));
    }
}

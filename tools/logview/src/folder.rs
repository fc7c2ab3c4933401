//! The data folder as this program sees it: version, lock, manifest, segments.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use switchyard_log::manifest::{FILE_NAME, Manifest, ManifestDamage};
use switchyard_log::recovery::{Mode, Recovered, RecoveryError, Visitor, recover};
use switchyard_log::segment::{file_name, number_of_file};
use switchyard_log::storage::{SegmentFile, Storage};
use switchyard_schema::ids::{Millis, ShardCount};

/// The newest format of a data folder that this binary reads.
const FORMAT: u32 = 1;

/// A data folder.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    shards: ShardCount,
}

/// Why a data folder cannot be looked at, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0} is not a data folder of switchyard: it has no file VERSION; give the folder that `--data` names")]
    Foreign(PathBuf),
    #[error("{0} does not say which format the folder has; restore that file from a backup")]
    Version(PathBuf),
    #[error(
        "{path} has format {found}, this version knows formats up to {FORMAT}; use the logview of the newer version"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("a server is using {0}; stop it first, repair needs the folder for itself")]
    Locked(PathBuf),
    #[error("cannot read {path}")]
    Io { path: PathBuf, source: io::Error },
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = path.join("VERSION");
        let text = fs::read_to_string(&file).map_err(|source| match source.kind() {
            ErrorKind::NotFound => OpenError::Foreign(path.to_path_buf()),
            _ => OpenError::Io { path: file.clone(), source },
        })?;
        let mut lines = text.lines();
        let mut field = |name| lines.next()?.strip_prefix(name)?.trim().parse::<u32>().ok();
        let format = field("switchyard ").ok_or_else(|| OpenError::Version(file.clone()))?;
        if format > FORMAT {
            return Err(OpenError::Newer { path: path.to_path_buf(), found: format });
        }
        let shards = field("shards ").and_then(|count| ShardCount::new(u16::try_from(count).ok()?));
        let shards = shards.ok_or(OpenError::Version(file))?;
        Ok(Self { path: path.to_path_buf(), shards })
    }

    /// Takes the folder from any server; held while the file lives.
    pub(crate) fn lock(&self) -> Result<File, OpenError> {
        let path = self.path.join("LOCK");
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|source| OpenError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(self.path.clone())),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
        }
    }

    /// Whether a server holds the folder just now. Leaves no trace: the lock file is only opened for reading.
    pub(crate) fn is_live(&self) -> bool {
        let Ok(file) = File::open(self.path.join("LOCK")) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.journal().join(FILE_NAME)
    }

    /// The manifest; `Ok(None)` when there is none.
    pub(crate) fn manifest(&self) -> Result<Result<Option<Manifest>, ManifestDamage>, OpenError> {
        let path = self.manifest_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(Manifest::decode(&bytes).map(Some)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ok(None)),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// The segments, or only one of them.
    pub(crate) fn files(&self, only: Option<u32>) -> Files {
        Files { path: self.journal(), only, open: RefCell::new(None) }
    }

    /// Reads every segment, whatever the state store has.
    pub(crate) fn read(
        &self,
        manifest: Option<Manifest>,
        only: Option<u32>,
        visitor: &mut dyn Visitor,
    ) -> Result<Recovered, RecoveryError<io::Error>> {
        recover(&self.files(only), manifest, self.shards, now(), &Mode::Verify, visitor)
    }
}

/// The time of the system.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The segments' files.
pub(crate) struct Files {
    path: PathBuf,
    only: Option<u32>,
    open: RefCell<Option<(u32, File)>>,
}

impl Storage for Files {
    type Error = io::Error;

    fn segments(&self) -> io::Result<Vec<SegmentFile>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(number_of_file) else { continue };
            if self.only.is_none_or(|only| only == number) {
                let bytes = u32::try_from(entry.metadata()?.len()).unwrap_or(u32::MAX);
                segments.push(SegmentFile { number, bytes });
            }
        }
        Ok(segments)
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<()> {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_none_or(|(number, _)| *number != segment) {
            *open = Some((segment, File::open(self.path.join(file_name(segment)))?));
        }
        let (_, file) = open.as_ref().expect("just opened");
        file.read_exact_at(buffer, u64::from(offset))
    }
}

//! The tree of files that `sysctl(8)` reads and writes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::limits::SYSCTL_BYTES_MAX;
use crate::value::Value;

/// The tree, at any place.
#[derive(Clone, Debug)]
pub struct SysctlTree {
    root: PathBuf,
}

/// Why a sysctl could not be read or written, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// This kernel, or this network namespace, does not have it.
    #[error("{key} does not exist on this kernel, or not in this network namespace")]
    Absent {
        /// Its name.
        key: String,
    },
    /// There is something else than numbers.
    #[error("{key} is `{text}`, and numbers were expected")]
    NotNumbers {
        /// Its name.
        key: String,
        /// What it is.
        text: String,
    },
    /// The kernel took the value and made another of it.
    #[error("{key} cannot be {wanted}: the kernel makes {is} of it, and limits what is possible")]
    Changed {
        /// Its name.
        key: String,
        /// What was written.
        wanted: Value,
        /// What it is now.
        is: Value,
    },
    /// The file cannot be used.
    #[error("{key} cannot be {action}: {source}; writing takes root, in the host's own network namespace")]
    Io {
        /// Its name.
        key: String,
        /// `read` or `written`.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl SysctlTree {
    /// `/proc/sys`.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::at(Path::new("/proc/sys"))
    }

    /// A tree somewhere else.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`SysctlError`].
    pub fn read(&self, key: &str) -> Result<Value, SysctlError> {
        let (mut text, path) = (String::new(), self.path(key));
        let key = key.to_owned();
        let read = File::open(path).and_then(|file| file.take(SYSCTL_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => Value::parse(&text).ok_or_else(|| SysctlError::NotNumbers { key, text: text.trim().to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SysctlError::Absent { key }),
            Err(source) => Err(SysctlError::Io { key, action: "read", source }),
        }
    }

    /// Whether this sysctl exists and counts something.
    #[must_use]
    pub fn counts(&self, key: &str) -> bool {
        self.read(key).is_ok_and(|count| count.numbers()[0] > 0)
    }

    /// Writes a value, and reads it back.
    ///
    /// # Errors
    /// [`SysctlError`].
    pub fn write(&self, key: &str, value: &Value) -> Result<(), SysctlError> {
        let path = self.path(key);
        if !path.exists() {
            // Never make what is not there: in a folder of files that would even succeed.
            return Err(SysctlError::Absent { key: key.to_owned() });
        }
        let written = fs::write(path, format!("{value}\n"));
        written.map_err(|source| SysctlError::Io { key: key.to_owned(), action: "written", source })?;
        let is = self.read(key)?;
        if is == *value { Ok(()) } else { Err(SysctlError::Changed { key: key.to_owned(), wanted: value.clone(), is }) }
    }

    /// The file of a sysctl.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key.replace('.', "/"))
    }
}

//! The values that `tune apply` replaced, in a file, so that `tune revert` can put them back.
//!
//! The file is made as a whole and never over another one: the old values of a first `apply` are the host's own, those of
//! a second would be ours.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::limits::STATE_BYTES_MAX;
use crate::value::Value;

const HEADER: &str = "# What `tune apply` replaced. `tune revert --yes` puts it back and removes this file.\n";

/// Old values, and what was written over them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The profile that was applied.
    pub profile: String,
    /// The tree that was written to.
    pub root: PathBuf,
    /// `before` is the old value, `after` the one written.
    pub changes: Vec<Change>,
}

/// Where old values are remembered.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

/// Why values cannot be remembered or found again, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// An earlier `apply` has not been reverted.
    #[error(
        "{} remembers the values that an earlier apply replaced, and they would be lost; `tune revert --yes` puts them back \
         first, or name another file with --state", .path.display()
    )]
    Remembers {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to put back.
    #[error(
        "{} does not exist: nothing was applied, or it was reverted, or another file was named with --state", .path.display()
    )]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// The file is not one of ours.
    #[error("{} is damaged ({reason}); the old values may still be read in it: put them back with sysctl -w", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system.
    #[error("cannot {action} {}: {source}; run as root, or name another file with --state", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    profile: String,
    root: PathBuf,
    value: Vec<RawChange>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChange {
    key: String,
    before: String,
    after: String,
}

impl StateFile {
    /// At this path, whether it exists or not.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// [`StateError::Remembers`] when it exists; otherwise of the file system.
    pub fn remember(&self, remembered: &Remembered) -> Result<(), StateError> {
        let raw = Raw {
            profile: remembered.profile.clone(),
            root: remembered.root.clone(),
            value: remembered.changes.iter().map(RawChange::of).collect(),
        };
        let text = toml::to_string(&raw).expect("names and numbers can be written as TOML");
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(self.io("make the folder of"))?;
        let aside = self.path.with_extension(format!("new-{}", std::process::id()));
        let linked = File::create(&aside)
            .and_then(|mut file| {
                file.write_all(HEADER.as_bytes())?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            // Unlike a rename, a link never replaces what is there.
            .and_then(|()| fs::hard_link(&aside, &self.path));
        let _ = fs::remove_file(&aside);
        match linked {
            Ok(()) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(self.io("sync the folder of")),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StateError::Remembers { path: self.path.clone() })
            }
            Err(source) => Err(self.io("write")(source)),
        }
    }

    /// Whether old values are remembered.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn recall(&self) -> Result<Remembered, StateError> {
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|file| file.take(STATE_BYTES_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Nothing { path: self.path.clone() });
            }
            read => read.map_err(self.io("read"))?,
        };
        let damaged = |reason: String| StateError::Damaged { path: self.path.clone(), reason };
        let raw: Raw = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        let changes = raw.value.into_iter().map(|value| value.parse().map_err(damaged)).collect::<Result<_, _>>()?;
        Ok(Remembered { profile: raw.profile, root: raw.root, changes })
    }

    /// Removes the file.
    ///
    /// # Errors
    /// Of the file system.
    pub fn forget(&self) -> Result<(), StateError> {
        fs::remove_file(&self.path).map_err(self.io("remove"))
    }

    fn io(&self, action: &'static str) -> impl Fn(io::Error) -> StateError {
        let path = self.path.clone();
        move |source| StateError::Io { action, path: path.clone(), source }
    }
}

impl RawChange {
    fn of(change: &Change) -> Self {
        Self { key: change.key.clone(), before: change.before.to_string(), after: change.after.to_string() }
    }

    /// The key becomes a path below `/proc/sys`, so it is looked at as closely as one.
    fn parse(self) -> Result<Change, String> {
        let is_key = |key: &str| {
            key.contains('.') && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !is_key(&self.key) {
            return Err(format!("`{}` is no sysctl", self.key));
        }
        let value = |text: &str| Value::parse(text).ok_or_else(|| format!("`{text}` is no value of {}", self.key));
        let (before, after) = (value(&self.before)?, value(&self.after)?);
        Ok(Change { key: self.key, before, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_remembered_values_when_recalled_then_they_are_the_same_and_cannot_be_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFile::at(&folder.path().join("deep/down/tuning.toml"));
        assert!(matches!(state.recall(), Err(StateError::Nothing { .. })));
        let change = Change {
            key: "net.core.somaxconn".to_owned(),
            before: Value::new(vec![128]),
            after: Value::new(vec![4_096]),
        };
        let first =
            Remembered { profile: "low-latency".to_owned(), root: PathBuf::from("/proc/sys"), changes: vec![change] };
        state.remember(&first).expect("written");
        let second = Remembered { changes: Vec::new(), ..first.clone() };
        assert!(matches!(state.remember(&second), Err(StateError::Remembers { .. })));
        assert_eq!(state.recall().expect("it is there"), first);
        assert_eq!(
            fs::read_dir(folder.path().join("deep/down")).expect("it exists").count(),
            1,
            "nothing else is left"
        );
        state.forget().expect("removed");
        assert!(!state.exists());
    }

    #[test]
    fn given_a_file_that_would_write_elsewhere_when_recalled_then_it_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tuning.toml");
        for (key, before) in [("/etc/passwd", "1"), ("../x", "1"), ("vm", "1"), ("vm.swappiness", "root::0:0")] {
            let text = format!(
                "profile = \"x\"\nroot = \"/proc/sys\"\n[[value]]\nkey = \"{key}\"\nbefore = \"{before}\"\nafter = \"2\"\n"
            );
            fs::write(&path, text).expect("written");
            assert!(matches!(StateFile::at(&path).recall(), Err(StateError::Damaged { .. })), "{key}");
        }
    }
}

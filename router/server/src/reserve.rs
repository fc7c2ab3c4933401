//! Space set aside for a full disk: a file of its own, given up when the disk has no more, so that the state store can
//! take a snapshot and do its own housekeeping then. It is made again before the journal takes more space.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// The reserve of a data folder.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_held: Mutex<bool>,
}

impl Reserve {
    /// The reserve in the file `path`, as it was left.
    pub(crate) fn new(path: PathBuf, bytes: u64) -> Self {
        let is_held = bytes == 0 || fs::metadata(&path).is_ok_and(|about| about.len() == bytes);
        Self { path, bytes, is_held: Mutex::new(is_held) }
    }

    /// Sets the space aside, if that was not done yet. With less space than that and `beside`, nothing is tried.
    pub(crate) fn hold(&self, beside: u64) -> io::Result<()> {
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_held {
            return Ok(());
        }
        if free_bytes(&self.path)? < self.bytes + beside {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?;
        let made = fallocate(&file, FallocateFlags::empty(), 0, self.bytes).map_err(io::Error::from);
        if let Err(error) = made.and_then(|()| file.sync_all()) {
            let _ = fs::remove_file(&self.path);
            return Err(error);
        }
        *is_held = true;
        Ok(())
    }

    /// Frees the space.
    pub(crate) fn give_up(&self) {
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_held && self.bytes > 0 && fs::remove_file(&self.path).is_ok() {
            *is_held = false;
            tracing::warn!(bytes = self.bytes, "the disk is full; the space that was set aside for that is given up");
        }
    }
}

/// Space that is free on the disk of `path`, or of its folder.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let about = statvfs(path).or_else(|_| statvfs(path.parent().unwrap_or(path)))?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Whether there was no space, as opposed to a disk that fails.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether the disk fails or takes no writes any more: trying again would only hide it.
pub(crate) fn is_broken(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ReadOnlyFilesystem || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_errors_of_a_disk_then_full_ones_and_failing_ones_are_told_apart() {
        for (errno, full, broken) in [
            (Errno::NOSPC, true, false),
            (Errno::DQUOT, true, false),
            (Errno::IO, false, true),
            (Errno::ROFS, false, true),
            (Errno::MFILE, false, false),
        ] {
            let error = io::Error::from(errno);
            assert_eq!((is_full(&error), is_broken(&error)), (full, broken), "{error}");
        }
    }

    #[test]
    fn given_a_reserve_when_given_up_and_held_again_then_its_file_comes_and_goes() {
        let path = crate::testing::folder("reserve").join("reserve");
        let reserve = Reserve::new(path.clone(), 1 << 20);
        reserve.hold(0).expect("there is space");
        assert_eq!(fs::metadata(&path).expect("a file").len(), 1 << 20);
        let found = Reserve::new(path.clone(), 1 << 20);
        found.give_up();
        assert!(!path.exists());
        assert!(is_full(&found.hold(u64::MAX >> 1).expect_err("no disk has so much")));
        assert!(!path.exists());
        found.hold(0).expect("there is space");
        assert!(path.exists());
    }
}

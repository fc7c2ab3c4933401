//! System calls without a safe form. The only file of this crate with unsafe code.

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a descriptor table of its own, a copy of the one it shared: the limit of a table then holds
/// for this thread alone.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn own_descriptors() -> io::Result<()> {
    // SAFETY: `unshare(CLONE_FILES)` is unsafe because descriptors that other threads make later mean nothing here. The
    // threads that call this do so before they open anything, and get no descriptor from others.
    Ok(unsafe { unshare_unsafe(UnshareFlags::FILES) }?)
}

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

/// Makes the calling thread one that runs when nothing else wants its processor, and stops as soon as something does
/// (`SCHED_IDLE`, sched(7)). The lowest nice value is not that: such a thread keeps a processor for the rest of its slice, some
/// milliseconds, whoever wakes up meanwhile.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn run_when_idle() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a value that lives until the call returns; 0 means the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

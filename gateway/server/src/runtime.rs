//! One thread's io_uring runtime.

use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use crate::limits::{COMPLETION_ENTRIES, RING_ENTRIES};

/// The runtime of the calling thread, which must be the one that uses it: the ring accepts no other.
///
/// Monoio sets no ring flags of its own. One issuer lets the kernel skip locks; cooperative task work, with the flag that
/// tells when there is some, spares an interrupt per completion. Deferred task work is left out on purpose: with it a ring
/// starves while tasks never run out.
///
/// # Errors
/// When io_uring is missing, disabled, or out of locked memory.
pub(crate) fn build() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_cqsize(COMPLETION_ENTRIES);
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(RING_ENTRIES).enable_timer().build()
}

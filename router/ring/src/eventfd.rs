//! An eventfd: the wake action of a thread that waits in io_uring, or in a blocking read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// A kernel counter that one thread reads and others add to. Clones share it.
///
/// Make it before a thread gets a descriptor table of its own, so that every thread has it.
#[derive(Clone, Debug)]
pub struct EventFd {
    descriptor: Arc<OwnedFd>,
}

impl EventFd {
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { descriptor: Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?) })
    }

    /// Makes the next or current read return. Never blocks in practice: the counter would have to reach 2⁶⁴ − 1.
    ///
    /// # Panics
    /// When the descriptor is not writable, which only a closed descriptor explains: our own bug.
    pub fn signal(&self) {
        loop {
            match rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes()) {
                Ok(_) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("an eventfd cannot be written: {error}"),
            }
        }
    }

    /// Blocks until somebody signalled, and takes all signals so far.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn wait(&self) -> io::Result<()> {
        let mut counter = [0; 8];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut counter))?;
        Ok(())
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

//! A core's own io_uring: the batch in flight, and the bell.
//!
//! These two are what a core's loop waits for nearly all of the time, so they share one ring, and one system call submits
//! the batch and sleeps until it is durable or somebody rings. Everything else that a core does with files (opening,
//! making segments, reading history) is glommio's; see `docs/adr/0008-commits-have-their-own-ring.md`.
//!
//! A batch is one write with `RWF_DSYNC`: it completes when its bytes, and what is needed to find them again, are on the
//! disk, as after a fdatasync of just that range (`pwritev2(2)`).
//!
//! One of the driver modules with unsafe code: the kernel reads and writes memory that this module keeps until the
//! completion is there.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::io::{DmaBuffer, DmaFile};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use rustix::io::Errno;
use switchyard_log::batch::SealedBatch;
use switchyard_ring::EventFd;

use crate::limits::COMMIT_RING_ENTRIES;

const BELL: u64 = 1;
const WRITE: u64 = 2;
/// `RWF_DSYNC` of `linux/fs.h`.
const DURABLE: i32 = 2;

/// Memory that a batch is built in and written from.
#[derive(Debug)]
pub(crate) struct BatchMemory(DmaBuffer);

impl BatchMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(glommio::allocate_dma_buffer(bytes))
    }
}

impl AsRef<[u8]> for BatchMemory {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsMut<[u8]> for BatchMemory {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_bytes_mut()
    }
}

/// How a batch ended.
#[derive(Debug)]
pub(crate) struct Committed {
    /// `Ok`: the batch is durable. Otherwise it may or may not be on disk, and the journal has failed.
    pub(crate) result: io::Result<()>,
    pub(crate) took: Duration,
    pub(crate) records: u32,
    pub(crate) bytes: u32,
}

/// The batch in flight, with everything that the kernel uses.
#[derive(Debug)]
struct InFlight {
    /// Keeps the descriptor open.
    _file: Rc<DmaFile>,
    memory: BatchMemory,
    bytes: u32,
    records: u32,
    begun: Instant,
}

/// The ring of one core. Used only by the thread that made it.
pub(crate) struct CommitRing {
    ring: IoUring,
    bell: EventFd,
    /// Where the kernel puts the bell's counter.
    counter: Box<[u8; 8]>,
    /// A read of the bell is under way.
    listens: bool,
    in_flight: Option<InFlight>,
    /// A batch that has ended and was not taken.
    committed: Option<Committed>,
}

impl CommitRing {
    /// A ring for the calling thread. `bell` ends its waits.
    ///
    /// # Errors
    /// When the kernel gives no io_uring.
    pub(crate) fn new(bell: EventFd) -> io::Result<Self> {
        let ring = make_ring()?;
        Ok(Self { ring, bell, counter: Box::default(), listens: false, in_flight: None, committed: None })
    }

    /// Begins to write a batch and to make it durable, with the next [`CommitRing::submit`] or [`CommitRing::wait`].
    ///
    /// # Panics
    /// When another is in flight: there is one at a time.
    pub(crate) fn begin(&mut self, file: Rc<DmaFile>, batch: SealedBatch<BatchMemory>) {
        assert!(self.in_flight.is_none() && self.committed.is_none(), "one batch is in flight at a time");
        let SealedBatch { buffer: memory, bytes, position, header, .. } = batch;
        let descriptor = Fd(file.as_raw_fd());
        let (begun, records) = (Instant::now(), header.record_count);
        let in_flight = InFlight { _file: file, memory, bytes, records, begun };
        let content = &in_flight.memory.as_ref()[..bytes as usize];
        let write = opcode::Write::new(descriptor, content.as_ptr(), bytes)
            .offset(u64::from(position.offset))
            .rw_flags(DURABLE)
            .build();
        self.in_flight = Some(in_flight);
        // SAFETY: `in_flight` owns the memory and keeps the file open. It is dropped when the completion is there, and never
        // before: dropping the ring earlier leaks it.
        unsafe { self.push(&write.user_data(WRITE)) };
    }

    /// Whether a batch is in flight, or has ended and was not taken.
    pub(crate) const fn is_writing(&self) -> bool {
        self.in_flight.is_some() || self.committed.is_some()
    }

    /// The batch in flight, when it has ended.
    pub(crate) fn poll(&mut self) -> Option<Committed> {
        self.reap();
        self.committed.take()
    }

    /// Whether there is something that [`CommitRing::poll`] would give.
    pub(crate) fn has_committed(&mut self) -> bool {
        self.reap();
        self.committed.is_some()
    }

    /// Hands the kernel what was begun.
    ///
    /// # Errors
    /// Those of `io_uring_enter`.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        if self.ring.submission().is_empty() { Ok(()) } else { again_if_interrupted(self.ring.submit()) }
    }

    /// Submits, and sleeps until the bell rings, the batch has ended, or `at_most` has passed.
    ///
    /// # Errors
    /// Those of `io_uring_enter`.
    pub(crate) fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        if !self.listens {
            self.listens = true;
            let counter = self.counter.as_mut_ptr();
            let read = opcode::Read::new(Fd(self.bell.as_raw_fd()), counter, 8).build().user_data(BELL);
            // SAFETY: the ring owns the counter and the bell, and reads the counter nowhere; its drop leaks the counter
            // while the read is under way.
            unsafe { self.push(&read) };
        }
        let timeout = Timespec::from(at_most);
        let arguments = SubmitArgs::new().timespec(&timeout);
        again_if_interrupted(self.ring.submitter().submit_with_args(1, &arguments))
    }

    /// # Safety
    /// What the entry points to must stay where it is until its completion.
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("at most two entries are under way, and the queue holds more");
    }

    fn reap(&mut self) {
        if self.ring.submission().taskrun() {
            // Completions wait until this thread enters the kernel; they are found in the next round at the latest.
            let _ = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&Timespec::new()));
        }
        for completion in self.ring.completion() {
            let result = match completion.result() {
                number @ ..0 => Err(io::Error::from_raw_os_error(-number)),
                number => Ok(number.unsigned_abs()),
            };
            match completion.user_data() {
                BELL => self.listens = false,
                WRITE => {
                    let in_flight = self.in_flight.take().expect("a write belongs to a batch");
                    self.committed = Some(in_flight.end(result));
                }
                other => unreachable!("no entry is numbered {other}"),
            }
        }
    }
}

impl InFlight {
    /// A short write is a failure: half a batch is on disk, and nobody may write there again.
    fn end(self, written: io::Result<u32>) -> Committed {
        let Self { bytes, records, begun, .. } = self;
        let result = written.and_then(|written| {
            let short = || io::Error::new(io::ErrorKind::WriteZero, format!("{written} of {bytes} bytes were written"));
            if written == bytes { Ok(()) } else { Err(short()) }
        });
        Committed { result, took: begun.elapsed(), records, bytes }
    }
}

impl Drop for CommitRing {
    /// The kernel may still use the memory of what is under way, which happens only when the loop panicked.
    fn drop(&mut self) {
        std::mem::forget(self.in_flight.take());
        if self.listens {
            std::mem::forget(std::mem::take(&mut self.counter));
        }
    }
}

impl std::fmt::Debug for CommitRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitRing").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// A ring as commits use it.
///
/// # Errors
/// When the kernel gives no io_uring.
pub(crate) fn make_ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    builder.build(COMMIT_RING_ENTRIES)
}

/// Running out of time and being interrupted are no errors of a wait: the caller looks again.
fn again_if_interrupted(entered: io::Result<usize>) -> io::Result<()> {
    let Err(error) = entered else { return Ok(()) };
    match Errno::from_io_error(&error) {
        Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => Ok(()),
        _ => Err(error),
    }
}

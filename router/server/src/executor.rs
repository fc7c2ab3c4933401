//! The glommio executor of a router core, set up so that none of its traps is hit.
//!
//! - `io_memory` and ring depth are small: the memory is locked, and the usual limit is 8 MiB for the whole process.
//! - The loop runs in a task queue that *matters for latency*: glommio then always writes its eventfd on a wake from
//!   another thread. The preemption timer that comes with it is so long that it never fires (see [`LATENCY_MS`]).
//! - glommio asks a device once whether it can poll, by reading the first file it opens on it, and keeps the answer for
//!   the life of the process. If that file is empty the read succeeds and the answer is wrong: every commit then takes
//!   4 ms and reads fail. So each core opens a file with a block of data first ([`settle_polling`]).

use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::io::DmaFile;
use glommio::timer::Timer;
use glommio::{GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, Shares};
use io_uring::{Probe, opcode};

use crate::commit_ring;
use crate::limits::{IO_MEMORY_BYTES, LATENCY_MS, MEMLOCK_BYTES_MIN, RING_DEPTH, STARTING_LOOK_MS};

/// How a core's thread runs.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// The CPU to pin the thread to; `None` lets it float.
    pub cpu: Option<usize>,
}

/// Why an executor cannot be made, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The limit on locked memory is too low.
    #[error(
        "a router core cannot lock memory for io_uring (limit {limit} bytes, at least {MEMLOCK_BYTES_MIN} per core are \
         needed); raise it: `ulimit -l 8192`, or LimitMEMLOCK=8M in the systemd unit"
    )]
    Memlock {
        /// The limit in force.
        limit: u64,
    },
    /// The kernel refuses io_uring.
    #[error(
        "io_uring is not available ({0}); it needs Linux 6.1 or newer and kernel.io_uring_disabled = 0, and containers \
         must allow the io_uring_* system calls"
    )]
    NoIoUring(#[source] io::Error),
    /// The CPU does not exist or may not be used.
    #[error("a router core cannot be pinned to CPU {cpu}: {reason}; choose other CPUs or unset the pinning")]
    Pinning {
        /// The CPU asked for.
        cpu: usize,
        /// What the system says.
        reason: String,
    },
    /// Anything else.
    #[error("a router core cannot start: {0}")]
    Other(#[source] io::Error),
}

/// Makes the executor of the calling thread.
///
/// # Errors
/// What [`ExecutorError`] lists.
pub fn make(config: &ExecutorConfig) -> Result<LocalExecutor, ExecutorError> {
    // glommio checks this too, but hides it in a text.
    let limit = memlock_limit();
    if limit < MEMLOCK_BYTES_MIN {
        return Err(ExecutorError::Memlock { limit });
    }
    let placement = config.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(Duration::from_millis(LATENCY_MS))
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    builder.make().map_err(|error| explain(error, config.cpu))
}

/// What glommio asks its rings for, and refuses to start without.
const OPERATIONS: &[(&str, u8)] = &[
    ("NOP", opcode::Nop::CODE),
    ("READV", opcode::Readv::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("POLL_REMOVE", opcode::PollRemove::CODE),
    ("SENDMSG", opcode::SendMsg::CODE),
    ("RECVMSG", opcode::RecvMsg::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("TIMEOUT_REMOVE", opcode::TimeoutRemove::CODE),
    ("ACCEPT", opcode::Accept::CODE),
    ("LINK_TIMEOUT", opcode::LinkTimeout::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("OPENAT", opcode::OpenAt::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("STATX", opcode::Statx::CODE),
    ("READ", opcode::Read::CODE),
    ("WRITE", opcode::Write::CODE),
    ("SEND", opcode::Send::CODE),
    ("RECV", opcode::Recv::CODE),
];

/// Makes a ring as a core's commits use, and asks for everything that glommio's rings are asked for. What this kernel lacks
/// is returned: operations, and `EXT_ARG`, a wait with a timeout.
///
/// # Errors
/// When no such ring can be made: io_uring is missing or disabled, or the kernel is too old for how it is set up.
pub fn missing_ring_operations() -> io::Result<Vec<&'static str>> {
    let ring = commit_ring::make_ring()?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let waits = ring.params().is_feature_ext_arg();
    let missing = OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code)).map(|(name, _)| *name);
    Ok(missing.chain((!waits).then_some("EXT_ARG")).collect())
}

/// Runs `future` to its end in a task queue that matters for latency.
pub fn run<T: 'static>(executor: &LocalExecutor, future: impl Future<Output = T> + 'static) -> T {
    executor.run(async move {
        let latency = Latency::Matters(Duration::from_millis(LATENCY_MS));
        let queue = glommio::executor().create_task_queue(Shares::Static(1000), latency, "router");
        let task = glommio::spawn_local_into(future, queue).expect("the queue was just made");
        // The executor then always has a timer: it never sleeps for good on a wake-up that went missing.
        watched(|_| false, task).await
    })
}

/// Lets glommio find out whether the device polls, on a file that has something to read. Must come before any other
/// file of that device is opened through glommio.
///
/// # Errors
/// When the file cannot be opened with O_DIRECT or read.
pub async fn settle_polling(non_empty: &Path) -> io::Result<()> {
    let file = DmaFile::open(non_empty).await.map_err(io_error)?;
    let read = file.read_at_aligned(0, 4096).await;
    file.close().await.map_err(io_error)?;
    if read.map_err(io_error)?.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file to learn the device from is empty"));
    }
    Ok(())
}

/// Runs `future`, looking at it when `heard` says so and every [`STARTING_LOOK_MS`], whatever wakes it: nothing else would
/// end a sleep that a lost wake-up made too long.
pub(crate) async fn watched<T>(heard: impl Fn(&Waker) -> bool, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        let mut timer = pin!(Timer::new(Duration::from_millis(STARTING_LOOK_MS)));
        let looked = poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if heard(context.waker()) => Poll::Ready(None),
            Poll::Pending => timer.as_mut().poll(context).map(|_| None),
        });
        if let Some(value) = looked.await {
            return value;
        }
    }
}

/// glommio's error as a plain one, the operating system's number kept where there is one.
#[must_use]
pub fn io_error<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::IoError(error) => error,
        GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::from(other),
    }
}

fn explain(error: GlommioError<()>, cpu: Option<usize>) -> ExecutorError {
    match (error, cpu) {
        (GlommioError::BuilderError(reason), Some(cpu)) => ExecutorError::Pinning { cpu, reason: reason.to_string() },
        (error, _) => {
            let error = io_error(error);
            match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => ExecutorError::NoIoUring(error),
                Some(rustix::io::Errno::NOMEM) => ExecutorError::Memlock { limit: memlock_limit() },
                _ => ExecutorError::Other(error),
            }
        }
    }
}

fn memlock_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current.unwrap_or(u64::MAX)
}

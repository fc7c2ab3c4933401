//! Starting gateway threads, and what the rest of the process does with them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use switchyard_gateway_core::auth::KeySet;
use switchyard_ring::EventFd;

use crate::config::{GatewayConfig, ThreadParts};
use crate::control::{Control, DrainPlan};
use crate::counters::Counters;
use crate::limits::{LinkSizes, QUIC_THREADS_MAX, RINGS_LOCKED_BYTES};
use crate::links::Routers;
use crate::poll_ring::PollRing;
use crate::quic::{Quic, Startup};
use crate::state::{Parts, State};
use crate::thread::{Addresses, Listeners};
use crate::{runtime, sys, thread};

/// Why a gateway could not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The address cannot be bound.
    #[error("cannot listen at {address}: {source}; {}, or choose another address with {flag}", way_out(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The option that names another.
        flag: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// QUIC cannot be encrypted.
    #[error("cannot set up the encryption of QUIC: {0}")]
    Tls(rustls::Error),
    /// There are more threads than a connection id can name.
    #[error("QUIC works with up to {QUIC_THREADS_MAX} gateway threads, not {0}; set gateway.cores, or leave QUIC out")]
    QuicThreads(u16),
    /// No io_uring for a thread.
    #[error(
        "cannot set up io_uring: {0}; the kernel must be 6.1 or newer and allow it (sysctl kernel.io_uring_disabled=0)"
    )]
    IoUring(io::Error),
    /// The limit on locked memory leaves no room for a thread's ring.
    #[error(
        "a gateway thread cannot lock memory for its io_uring: each needs {} KiB, beside what the router cores have locked; \
         raise the limit: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit",
        RINGS_LOCKED_BYTES / 1024
    )]
    Memlock,
    /// A thread could not be placed or made.
    #[error("cannot start a gateway thread: {0}")]
    Thread(io::Error),
    /// No thread was asked for, or more than a session's name can tell apart.
    #[error("a gateway has 1 to 65535 threads, not {0}")]
    ThreadCount(usize),
}

/// What lets an address be bound that the kernel has refused.
fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "for a port below 1024 give the server CAP_NET_BIND_SERVICE, as packaging/switchyard.service says"
        }
        _ => "stop what runs there",
    }
}

impl SpawnError {
    fn of_ring(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::OutOfMemory { Self::Memlock } else { Self::IoUring(error) }
    }
}

/// Gateway threads ended before they were told to.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} gateway threads failed; the log says why")]
pub struct ThreadsFailed(pub usize);

/// Makes a small ring and lets it go: whether this host has io_uring at all. Whoever starts other users of io_uring before
/// the gateway asks first, for some of them can only panic. A lack of memory is theirs to report.
///
/// # Errors
/// [`SpawnError::IoUring`].
pub fn check_io_uring() -> Result<(), SpawnError> {
    const ENTRIES: u32 = 8;
    match io_uring::IoUring::new(ENTRIES) {
        Err(error) if error.kind() != io::ErrorKind::OutOfMemory => Err(SpawnError::IoUring(error)),
        Err(_) | Ok(_) => Ok(()),
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    addresses: Addresses,
    control: Arc<Control>,
    connections_max: u32,
    connections_per_thread_max: u32,
    /// Connections of all threads.
    occupied: Arc<AtomicU32>,
    threads: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    handle: JoinHandle<io::Result<()>>,
    event: EventFd,
    counters: Arc<Counters>,
}

impl Gateway {
    /// Starts one thread for each of `parts`. Returns when all of them listen.
    ///
    /// # Errors
    /// [`SpawnError`], with every thread that had started ended again.
    ///
    /// # Panics
    /// When the threads' parts do not all name the same number of router cores, one at least.
    pub fn spawn(config: GatewayConfig, keys: Arc<KeySet>, parts: Vec<ThreadParts>) -> Result<Self, SpawnError> {
        let threads = u16::try_from(parts.len()).ok().filter(|&threads| threads > 0);
        let threads = threads.ok_or(SpawnError::ThreadCount(parts.len()))?;
        let router_cores = parts[0].routers.len();
        assert!(
            parts.iter().all(|thread| thread.routers.len() == router_cores),
            "each has a link with every router core"
        );
        let credits_per_pair = LinkSizes::of(usize::from(threads), router_cores).credits_per_pair;
        let addresses = Addresses {
            plain: config.listen,
            tls: config.tls.as_ref().map(|tls| tls.listen),
            quic: config.quic.as_ref().map(|quic| quic.listen),
        };
        for address in std::iter::once(addresses.plain).chain(addresses.tls) {
            sys::probe(address).map_err(|source| addresses.listen_error(address, source))?;
        }
        let events = parts.iter().map(|thread| thread.doorbell.event.clone());
        let heartbeat_ms = config.session.heartbeat_ms;
        let prepare = |quic| Startup::prepare(quic, config.echo, threads, heartbeat_ms, events);
        let quic = config.quic.as_ref().map(prepare).transpose()?;
        let control = Arc::new(Control::new(keys.clone()));
        let mut gateway = Self {
            addresses,
            control,
            connections_max: config.connections_max,
            connections_per_thread_max: config.connections_per_thread_max,
            occupied: Arc::default(),
            threads: Vec::new(),
        };
        let config = Arc::new(config);
        for (index, parts) in (0..).zip(parts) {
            // The first thread finds the ports when none were named. Sockets that share a port are numbered as they are bound,
            // and the kernel steers QUIC by that number.
            let started =
                gateway.start((index, threads), parts, credits_per_pair, quic.clone(), config.clone(), keys.clone());
            if let Err(error) = started {
                gateway.drain(DrainPlan { deadline: std::time::Instant::now() });
                // Why it cannot start is the news; a thread that failed as well is in the log.
                let _ = gateway.join();
                return Err(error);
            }
        }
        Ok(gateway)
    }

    fn start(
        &mut self,
        (index, threads): (u16, u16),
        parts: ThreadParts,
        credits_per_pair: usize,
        quic: Option<Startup>,
        config: Arc<GatewayConfig>,
        keys: Arc<KeySet>,
    ) -> Result<(), SpawnError> {
        let ThreadParts { doorbell, routers, processor } = parts;
        let threads = u32::from(threads);
        let counters = Arc::new(Counters::default());
        // A thread may hold more than its share, all together no more than the sum.
        let (share, rest) = (config.connections_max / threads, config.connections_max % threads);
        counters.connections_max.set(u64::from(share + u32::from(u32::from(index) < rest)));
        let event = doorbell.event.clone();
        let addresses = self.addresses;
        let state_parts = Parts {
            index,
            routers: Routers::new(config.shards, routers, credits_per_pair),
            parker: doorbell.parker,
            control: self.control.clone(),
            keys,
            counters: counters.clone(),
            occupied: self.occupied.clone(),
            seed: RandomState::new().hash_one(index),
            threads,
            config,
        };
        let (report, reported) = mpsc::channel();
        let thread_event = event.clone();
        let handle = std::thread::Builder::new()
            .name(format!("gateway-{index}"))
            .spawn(move || {
                let placed = place(&state_parts, quic, processor, addresses, &thread_event);
                let Placed { listeners, runtime, polls, quic, .. } = match placed {
                    Ok(placed) => {
                        let _ = report.send(Ok(placed.addresses));
                        placed
                    }
                    Err(error) => {
                        let _ = report.send(Err(error));
                        return Ok(());
                    }
                };
                thread::main(State::new(state_parts, polls, quic), thread_event, listeners, runtime)
            })
            .map_err(SpawnError::Thread)?;
        self.addresses = reported
            .recv()
            .unwrap_or_else(|_| Err(SpawnError::Thread(io::Error::other("the thread ended while it started"))))?;
        self.threads.push(Running { handle, event, counters });
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.addresses.plain
    }

    /// Where it listens for those who speak TLS.
    #[must_use]
    pub const fn local_tls_address(&self) -> Option<SocketAddr> {
        self.addresses.tls
    }

    /// Where it listens for QUIC.
    #[must_use]
    pub const fn local_quic_address(&self) -> Option<SocketAddr> {
        self.addresses.quic
    }

    /// Each thread's counters.
    pub fn counters(&self) -> impl ExactSizeIterator<Item = &Arc<Counters>> {
        self.threads.iter().map(|thread| &thread.counters)
    }

    /// From now on tokens are verified with these keys. Sessions that are open stay open.
    pub fn reload_keys(&self, keys: Arc<KeySet>) {
        self.order(|orders| orders.keys = keys);
    }

    /// Leaves: takes no more connections, tells clients when to connect again, writes what waits, and ends the threads
    /// when the last connection has ended or the plan's deadline has passed. A second plan replaces the first.
    pub fn drain(&self, plan: DrainPlan) {
        self.order(|orders| orders.drain = Some(plan));
    }

    /// Whether every thread runs. Before a drain anything else means that one has failed: its connections are closed, the
    /// other threads go on.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.threads.iter().all(|thread| !thread.handle.is_finished())
    }

    /// Whether there is no room for another connection, neither in the sum nor in any thread that runs. When none runs, room
    /// is not what is missing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let per_thread_max = u64::from(self.connections_per_thread_max);
        // One that has ended holds nothing, and takes nothing.
        let mut running = self.threads.iter().filter(|thread| !thread.handle.is_finished()).peekable();
        self.occupied.load(Ordering::Relaxed) >= self.connections_max
            || running.peek().is_some() && running.all(|thread| thread.counters.open.get() >= per_thread_max)
    }

    /// Whether every thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(|thread| thread.handle.is_finished())
    }

    /// Waits until every thread has ended, which takes a [`Gateway::drain`].
    ///
    /// # Errors
    /// [`ThreadsFailed`] when some ended otherwise; the log says why.
    pub fn join(self) -> Result<(), ThreadsFailed> {
        let mut failed = 0;
        for (index, thread) in self.threads.into_iter().enumerate() {
            match thread.handle.join() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => tracing::error!(%error, index, "a gateway thread failed"),
                // What it said is in the log already, with the place.
                Err(_) => tracing::error!(index, "a gateway thread ended with a panic"),
            }
            failed += 1;
        }
        if failed == 0 { Ok(()) } else { Err(ThreadsFailed(failed)) }
    }

    fn order(&self, change: impl FnOnce(&mut crate::control::Orders)) {
        self.control.change(change);
        self.threads.iter().for_each(|thread| thread.event.signal());
    }
}

/// What a thread has before it runs.
struct Placed {
    addresses: Addresses,
    listeners: Listeners,
    runtime: monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>,
    polls: PollRing,
    quic: Option<Box<Quic>>,
}

impl Addresses {
    fn listen_error(self, address: SocketAddr, source: io::Error) -> SpawnError {
        let flag = if self.tls == Some(address) { "--listen-wss" } else { "--listen-ws" };
        SpawnError::Listen { address, flag, source }
    }
}

/// What a thread does first: its place, its descriptors, its listeners, its rings.
fn place(
    parts: &Parts,
    quic: Option<Startup>,
    processor: Option<usize>,
    addresses: Addresses,
    event: &EventFd,
) -> Result<Placed, SpawnError> {
    if parts.config.own_descriptors {
        sys::own_descriptors().map_err(SpawnError::Thread)?;
    }
    if let Some(processor) = processor {
        sys::pin_to(processor).map_err(SpawnError::Thread)?;
    }
    let listen_error = |(address, source)| addresses.listen_error(address, source);
    let listeners = Listeners::open(addresses, parts.threads).map_err(listen_error)?;
    let tcp = listeners.addresses().map_err(|source| listen_error((addresses.plain, source)))?;
    let quic = quic.zip(addresses.quic).map(|(quic, address)| quic.open(address, parts)).transpose()?;
    let (quic_address, quic) = quic.unzip();
    let addresses = Addresses { quic: quic_address, ..tcp };
    let runtime = runtime::build().map_err(SpawnError::of_ring)?;
    let polls = PollRing::new(event).map_err(SpawnError::of_ring)?;
    Ok(Placed { addresses, listeners, runtime, polls, quic })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EACCES` and `EADDRINUSE` of bind(2).
    #[test]
    fn given_an_address_that_cannot_be_bound_then_the_error_says_whether_a_right_is_missing_or_somebody_is_there() {
        let address = SocketAddr::from(([0, 0, 0, 0], 443));
        for (number, expect) in [(13, "CAP_NET_BIND_SERVICE"), (98, "stop what runs there")] {
            let source = io::Error::from_raw_os_error(number);
            let error = SpawnError::Listen { address, flag: "--listen-wss", source }.to_string();
            assert!(error.contains(expect) && error.ends_with("another address with --listen-wss"), "{error}");
        }
    }

    /// `ENOMEM` and `EPERM` of io_uring_setup(2).
    #[test]
    fn given_a_ring_that_cannot_be_made_then_the_error_says_which_limit_or_setting_is_in_the_way() {
        for (number, expect) in [(12, "ulimit -l unlimited"), (1, "kernel.io_uring_disabled=0")] {
            let error = SpawnError::of_ring(io::Error::from_raw_os_error(number)).to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}

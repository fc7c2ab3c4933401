//! The threads of a large run. A descriptor table holds only so many sockets (`ulimit -n`, often 20,000), so when a run
//! needs more there are as many threads as it takes, each with a table of its own. The main thread gives the orders and
//! reads what they count.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::SwarmError;
use crate::event_loop::{self, Work};
use crate::limits::{CPU_READING_PAUSE, DESCRIPTORS_RESERVED, THREAD_STACK_BYTES, THREADS_MAX};
use crate::process;
use crate::sys;
use crate::tally::{Count, Tally, Totals, totals};
use crate::transport::Transport;

/// How a run is divided.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Connections of all threads.
    pub count: u32,
    /// Threads.
    pub threads: u32,
    /// Descriptors that a table may hold.
    pub table: u32,
}

impl Layout {
    /// As many threads as asked for, or as many as the limit of a descriptor table makes necessary. Raises that limit as
    /// far as the kernel allows.
    ///
    /// # Errors
    /// When it would take more threads than is sensible.
    pub fn new(count: u32, threads: u32) -> Result<Self, SwarmError> {
        process::raise_descriptor_limit();
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let table = u32::try_from(limit).unwrap_or(u32::MAX);
        Self::within(count, threads, table)
    }

    fn within(count: u32, threads: u32, table: u32) -> Result<Self, SwarmError> {
        let room = table.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        let threads = threads.clamp(1, count.max(1)).max(count.div_ceil(room));
        if threads > THREADS_MAX {
            return Err(SwarmError::Server(format!(
                "{count} connections take {threads} threads with {table} descriptors each; raise `ulimit -n`"
            )));
        }
        Ok(Self { count, threads, table })
    }

    /// Connections of one thread: every `threads`-th is its own.
    #[must_use]
    pub const fn count_of(&self, thread: u32) -> u32 {
        (self.count + self.threads - 1 - thread) / self.threads
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, threads, table } = self;
        match threads {
            1 => write!(f, "{count} connections on one thread"),
            _ => write!(
                f,
                "{count} connections on {threads} threads, each with its own descriptor table (a table holds {table})"
            ),
        }
    }
}

/// What all threads are to do.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Open the connections.
    Open,
    /// Exchange messages.
    Talk,
    /// The same, and what is due from now on is measured.
    Measure,
    /// Send nothing more, take what is still on its way.
    Settle,
    /// Ask every connection whether it is alive.
    Ask,
    /// Drop every connection and come back, for the n-th time.
    Storm(u32),
    /// Close everything and end.
    Stop,
}

/// What to do, and since when.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) stage: Stage,
    pub(crate) given: Instant,
}

/// The present order, and the clock that all threads share.
#[derive(Debug)]
pub(crate) struct Orders {
    /// Each thread looks once a turn.
    present: Mutex<Order>,
    begun: Instant,
}

impl Orders {
    fn new() -> Self {
        let begun = Instant::now();
        Self { present: Mutex::new(Order { stage: Stage::Open, given: begun }), begun }
    }

    /// What a thread begins with, however late it comes to look for another.
    pub(crate) const fn first(&self) -> Order {
        Order { stage: Stage::Open, given: self.begun }
    }

    pub(crate) fn present(&self) -> Order {
        *self.lock()
    }

    /// When the run began.
    pub(crate) const fn begun(&self) -> Instant {
        self.begun
    }

    pub(crate) fn give(&self, stage: Stage) {
        *self.lock() = Order { stage, given: Instant::now() };
    }

    /// An order is whole at any time, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's place in the run.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) thread: u32,
    pub(crate) layout: Layout,
    pub(crate) orders: Arc<Orders>,
    pub(crate) tally: Arc<Tally>,
    cpu_read: Instant,
}

impl Seat {
    /// The number in the whole run of this thread's `local`-th connection.
    pub(crate) const fn global(&self, local: u32) -> u32 {
        local * self.layout.threads + self.thread
    }

    /// Counts something that is wrong, and what it is.
    pub(crate) fn fault(&self, count: &Count, what: impl Into<String>) {
        count.add(1);
        self.tally.count_reason(what.into());
    }

    /// Notes now and then what processor time the calling thread has used.
    pub(crate) fn note_cpu(&mut self, now: Instant) {
        if now.saturating_duration_since(self.cpu_read) < CPU_READING_PAUSE {
            return;
        }
        self.cpu_read = now;
        let used = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        self.tally.counts.cpu_us.set(u64::try_from(used.as_micros()).unwrap_or(u64::MAX));
    }
}

/// A thread's work, and what is left of it at the end.
pub(crate) trait Member: Work {
    type Left: Send + 'static;
    /// The loop has ended.
    fn finish(self) -> Result<Self::Left, SwarmError>;
}

/// The running threads. They are told to stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Crew<L> {
    handles: Vec<JoinHandle<Result<L, SwarmError>>>,
    pub(crate) tallies: Vec<Arc<Tally>>,
    pub(crate) orders: Arc<Orders>,
}

impl<L: Send + 'static> Crew<L> {
    /// Starts the threads; each makes its own work, on itself.
    ///
    /// # Errors
    /// When the machine gives no more threads.
    pub(crate) fn start<M, F>(layout: Layout, transport: &Transport, make: F) -> Result<Self, SwarmError>
    where
        M: Member<Left = L>,
        F: Fn(Seat) -> M + Send + Clone + 'static,
    {
        let mut crew = Self { handles: Vec::new(), tallies: Vec::new(), orders: Arc::new(Orders::new()) };
        for thread in 0..layout.threads {
            let (tally, make, transport) = (Arc::new(Tally::default()), make.clone(), transport.clone());
            let (orders, cpu_read) = (Arc::clone(&crew.orders), crew.orders.begun);
            let seat = Seat { thread, layout, orders, tally: Arc::clone(&tally), cpu_read };
            let handle = std::thread::Builder::new()
                .name(format!("swarm-{thread}"))
                .stack_size(THREAD_STACK_BYTES)
                .spawn(move || {
                    if layout.threads > 1 {
                        sys::own_descriptors().map_err(SwarmError::io("a descriptor table of a thread's own"))?;
                    }
                    let mut work = make(seat);
                    event_loop::run_over(&transport, &mut work).map_err(SwarmError::io("epoll"))?;
                    work.finish()
                })
                .map_err(SwarmError::io("starting a thread"))?;
            crew.handles.push(handle);
            crew.tallies.push(tally);
        }
        Ok(crew)
    }

    pub(crate) fn totals(&self) -> Totals {
        totals(self.tallies.iter().map(AsRef::as_ref))
    }

    /// The processor time of each thread in microseconds.
    pub(crate) fn cpu_us(&self) -> Vec<u64> {
        self.tallies.iter().map(|tally| tally.counts.cpu_us.get()).collect()
    }

    /// Whether a thread has ended by itself; [`Crew::stop`] then says why.
    pub(crate) fn is_broken(&self) -> bool {
        self.handles.iter().any(JoinHandle::is_finished)
    }

    /// Ends the run; what the threads leave, in their order.
    ///
    /// # Errors
    /// Of the first thread that failed.
    pub(crate) fn stop(&mut self) -> Result<Vec<L>, SwarmError> {
        self.orders.give(Stage::Stop);
        let join = |handle: JoinHandle<_>| {
            handle.join().map_err(|_| SwarmError::Server("a thread of the swarm panicked".to_owned()))?
        };
        let left: Vec<_> = self.handles.drain(..).map(join).collect();
        left.into_iter().collect()
    }
}

impl<L> Drop for Crew<L> {
    fn drop(&mut self) {
        self.orders.give(Stage::Stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_more_connections_than_a_table_holds_when_divided_then_there_are_enough_threads_and_each_has_its_part() {
        for (count, asked, table, expect) in [
            (15_000, 1, 20_000, 1),
            (15_000, 4, 20_000, 4),
            (1_000_000, 2, 20_000, 51),
            (2, 8, 1_024, 2),
            (0, 1, 64, 1),
        ] {
            let layout = Layout::within(count, asked, table).expect("it is possible");
            assert_eq!(layout.threads, expect, "{count} connections, {asked} threads, tables of {table}");
            let parts: Vec<u32> = (0..layout.threads).map(|thread| layout.count_of(thread)).collect();
            assert_eq!(parts.iter().sum::<u32>(), count);
            assert!(parts.iter().all(|part| count < table || part + DESCRIPTORS_RESERVED <= table), "{parts:?}");
        }
        assert!(Layout::within(10_000_000, 1, 1_024).unwrap_err().to_string().contains("ulimit -n"));
    }
}

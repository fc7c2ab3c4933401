//! One gateway thread: its tasks, and the state that they share.
//!
//! What has happened to connections, timers and links is handled by the *turn*: a task of its own that is woken by the
//! others and so runs behind every task of the same wake-up. Frames that arrived together are answered with one write per
//! connection, and each router core is woken once. The others only wait: for connections to accept, for the doorbell (a
//! router core, or a socket that became ready), for the time of a timer.
//!
//! No task wakes itself: monoio would put it in front of all others. A turn that could not finish signals the thread's own
//! eventfd and goes on after the ring has been looked at.
//!
//! A panic ends the thread, and its clients must notice at once, for they have another thread to go to. The tasks are
//! leaked then, with everything they hold: the thread's descriptors would be closed, but a ring that is still mapped keeps
//! its files, and those of its polls, until the process ends. So the state is taken from the tasks and dropped ([`main`]).

use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};

use monoio::net::TcpListener;
use switchyard_ring::EventFd;

use crate::accept;
use crate::alarm::Alarm;
use crate::limits::LISTEN_BACKLOG;
use crate::state::{State, TurnEnd};
use crate::sys;

/// What the tasks of a thread share.
#[derive(Debug)]
pub(crate) struct Thread {
    /// `None` once a task has panicked.
    state: RefCell<Option<State>>,
    turn: TurnSignal,
    event: EventFd,
    /// The listeners that tasks accept from, to end them.
    listeners: Listeners,
    alarm: Alarm,
    finished: Cell<bool>,
}

/// The listeners of a thread.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) plain: std::net::TcpListener,
    /// The one that speaks TLS.
    pub(crate) tls: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Opens them, each sharing its port with those of `threads` threads.
    ///
    /// # Errors
    /// Those of `bind` and `listen`, with the address.
    pub(crate) fn open(addresses: Addresses, threads: u32) -> Result<Self, (SocketAddr, io::Error)> {
        let open = |address| sys::listener(address, LISTEN_BACKLOG, threads).map_err(|error| (address, error));
        Ok(Self { plain: open(addresses.plain)?, tls: addresses.tls.map(open).transpose()? })
    }

    /// Where they listen; they are of TCP.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn addresses(&self) -> io::Result<Addresses> {
        let tls = self.tls.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        Ok(Addresses { plain: self.plain.local_addr()?, tls, quic: None })
    }

    fn try_clone(&self) -> io::Result<Self> {
        let tls = self.tls.as_ref().map(std::net::TcpListener::try_clone).transpose()?;
        Ok(Self { plain: self.plain.try_clone()?, tls })
    }

    fn end(&self) {
        std::iter::once(&self.plain).chain(&self.tls).for_each(sys::end_listener);
    }
}

/// Where a gateway listens.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) plain: SocketAddr,
    /// For those who speak TLS.
    pub(crate) tls: Option<SocketAddr>,
    /// For QUIC, over UDP.
    pub(crate) quic: Option<SocketAddr>,
}

/// Asks for a turn, any number of times.
#[derive(Debug, Default)]
struct TurnSignal {
    wanted: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl TurnSignal {
    fn request(&self) {
        if !self.wanted.replace(true)
            && let Some(waiting) = self.waiting.take()
        {
            waiting.wake();
        }
    }

    async fn wanted(&self) {
        poll_fn(|context| {
            if self.wanted.get() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Thread {
    pub(crate) fn new(state: State, event: EventFd, listeners: Listeners) -> Self {
        let (turn, alarm) = (TurnSignal::default(), Alarm::default());
        Self { state: RefCell::new(Some(state)), turn, event, listeners, alarm, finished: Cell::new(false) }
    }

    /// What the tasks work on.
    fn state(&self) -> RefMut<'_, State> {
        RefMut::map(self.state.borrow_mut(), |state| state.as_mut().expect("no task runs after one has panicked"))
    }

    /// Whether the thread takes no more connections.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state().is_leaving()
    }

    pub(crate) fn on_accept_paused(&self) {
        self.state().counters().accept_pauses.add(1);
    }

    /// Takes a connection in.
    pub(crate) fn open(&self, socket: OwnedFd, secured: bool) {
        self.state().on_accepted(socket, secured);
        self.turn.request();
    }
}

/// The whole life of a gateway thread. Answers when it has drained or was stopped.
///
/// # Errors
/// When a listener cannot be used with the ring.
pub(crate) async fn run(thread: Rc<Thread>, listeners: Listeners) -> io::Result<()> {
    let accept = |listener, secured| {
        let listener = TcpListener::from_std(listener)?;
        io::Result::Ok(monoio::spawn(accept::run(thread.clone(), listener, secured)))
    };
    let accepting = accept(listeners.plain, false)?;
    let accepting_tls = listeners.tls.map(|listener| accept(listener, true)).transpose()?;
    let listening = monoio::spawn(listen_for_doorbell(thread.clone()));
    let sleeping = monoio::spawn(sleep(thread.clone()));
    let mut accepts = true;
    // Nobody may ever connect: the first turn sets the alarm.
    thread.turn.request();
    loop {
        thread.turn.wanted().await;
        let end = thread.state().turn();
        thread.turn.wanted.set(false);
        if accepts && thread.is_leaving() {
            thread.listeners.end();
            accepts = false;
        }
        match end {
            TurnEnd::Idle => thread.alarm.set_at_most(thread.state().longest_sleep()),
            TurnEnd::MoreToDo => thread.event.signal(),
            TurnEnd::Finished => break,
        }
    }
    // Tasks that are still there when the runtime ends would never be freed: their polls keep the ring alive.
    thread.finished.set(true);
    thread.event.signal();
    thread.alarm.wake();
    accepting.await;
    if let Some(accepting) = accepting_tls {
        accepting.await;
    }
    listening.await;
    sleeping.await;
    Ok(())
}

/// Asks for a turn whenever somebody has rung. The read goes through the ring, so it wakes a parked thread and costs a
/// busy one nothing; a foreign waker would do neither.
async fn listen_for_doorbell(thread: Rc<Thread>) {
    let Ok(event) = thread.event.as_fd().try_clone_to_owned().map(std::fs::File::from) else { return };
    let Ok(event) = monoio::fs::File::from_std(event) else { return };
    let mut counter = vec![0; 8];
    while !thread.finished.get() {
        let result;
        (result, counter) = event.read_at(counter, 0).await;
        if result.is_err() {
            return;
        }
        thread.turn.request();
    }
}

/// Asks for a turn when the time of a timer has come.
async fn sleep(thread: Rc<Thread>) {
    thread.alarm.run(|| thread.turn.request(), || thread.finished.get()).await;
}

/// Runs a thread to its end.
///
/// # Errors
/// When io_uring cannot be used.
///
/// # Panics
/// When one of its tasks does. Its connections are closed then, and the kernel gives it no more.
pub(crate) fn main(
    state: State,
    event: EventFd,
    listeners: Listeners,
    mut runtime: monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>,
) -> io::Result<()> {
    let thread = Rc::new(Thread::new(state, event, listeners.try_clone()?));
    let tasks = run(thread.clone(), listeners);
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(tasks))).unwrap_or_else(|panic| {
        // It would go on to get its part of the connections that come.
        thread.listeners.end();
        drop(thread.state.take());
        resume_unwind(panic)
    })
}

//! One gateway thread: its tasks, and the state that they share.
//!
//! Each connection has a task that waits until its socket is readable; what it then received is handled at once, and
//! whatever that means for others (messages to the router, frames to write) is left for the *turn*. The turn is a task of
//! its own that is woken by the others and so runs behind every task of the same wake-up: frames that arrived together
//! are answered with one write per connection, and each router core is woken once.
//!
//! No task wakes itself: monoio would put it in front of all others. A turn that could not finish signals the thread's own
//! eventfd and goes on after the ring has been looked at.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::net::{TcpListener, TcpStream};
use switchyard_gateway_core::limits::WHEEL_TICK_MS;
use switchyard_gateway_core::wheel::Slot;
use switchyard_ring::EventFd;

use crate::accept;
use crate::limits::LISTEN_BACKLOG;
use crate::state::{Next, State, TurnEnd};
use crate::sys;

/// What the tasks of a thread share.
#[derive(Debug)]
pub(crate) struct Thread {
    state: RefCell<State>,
    turn: TurnSignal,
    event: EventFd,
    finished: Cell<bool>,
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
    pub(crate) fn new(state: State, event: EventFd) -> Self {
        Self { state: RefCell::new(state), turn: TurnSignal::default(), event, finished: Cell::new(false) }
    }

    /// Whether the thread takes no more connections.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state.borrow().is_leaving()
    }

    pub(crate) fn on_accept_paused(&self) {
        self.state.borrow().counters().accept_pauses.add(1);
    }

    /// Takes a connection in.
    pub(crate) fn open(self: &Rc<Self>, stream: TcpStream) {
        let stream = Rc::new(stream);
        let slot = self.state.borrow_mut().on_accepted(&stream);
        if let Some(slot) = slot {
            monoio::spawn(connection(self.clone(), slot, stream));
        }
        self.turn.request();
    }
}

/// The whole life of a gateway thread. Answers when it has drained or was stopped.
///
/// # Errors
/// When the listener cannot be used with the ring.
pub(crate) async fn run(thread: Rc<Thread>, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = Rc::new(TcpListener::from_std(listener)?);
    let accepting = monoio::spawn(accept::run(thread.clone(), listener.clone()));
    let listening = monoio::spawn(listen_for_doorbell(thread.clone()));
    let ticking = monoio::spawn(tick(thread.clone()));
    let mut accepts = true;
    loop {
        thread.turn.wanted().await;
        let end = thread.state.borrow_mut().turn();
        for slot in thread.state.borrow_mut().take_blocked() {
            monoio::spawn(wait_until_writable(thread.clone(), slot.0, slot.1, slot.2));
        }
        if let Some(pause) = thread.state.borrow_mut().linger_sleep() {
            monoio::spawn(end_lingering(thread.clone(), pause));
        }
        thread.turn.wanted.set(false);
        if accepts && thread.is_leaving() {
            sys::end_listener(&listener);
            accepts = false;
        }
        match end {
            TurnEnd::Idle => {}
            TurnEnd::MoreToDo => thread.event.signal(),
            TurnEnd::Finished => break,
        }
    }
    // Tasks that are still there when the runtime ends would never be freed: their polls keep the ring alive.
    thread.finished.set(true);
    thread.event.signal();
    accepting.await;
    listening.await;
    ticking.await;
    Ok(())
}

/// Opens the thread's listener.
///
/// # Errors
/// Those of `bind` and `listen`.
pub(crate) fn listener(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    sys::listener(address, LISTEN_BACKLOG)
}

/// One connection, from its first byte to its last.
async fn connection(thread: Rc<Thread>, slot: Slot, stream: Rc<TcpStream>) {
    while stream.readable(false).await.is_ok() {
        let next = thread.state.borrow_mut().on_readable(slot, &stream);
        thread.turn.request();
        match next {
            Next::Read => {}
            Next::Pause => poll_fn(|context| thread.state.borrow_mut().poll_resumed(slot, context)).await,
            Next::End => break,
        }
    }
    drop(stream);
    thread.state.borrow_mut().on_ended(slot);
    thread.turn.request();
}

/// Waits until a socket takes more again.
async fn wait_until_writable(thread: Rc<Thread>, slot: Slot, epoch: u32, stream: Rc<TcpStream>) {
    // An error shows again with the next write.
    let _ = stream.writable(false).await;
    drop(stream);
    thread.state.borrow_mut().on_writable(slot, epoch);
    thread.turn.request();
}

/// Asks for a turn when something has lingered for long enough.
async fn end_lingering(thread: Rc<Thread>, pause: Duration) {
    monoio::time::sleep(pause).await;
    thread.state.borrow_mut().linger_timer = false;
    thread.turn.request();
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

/// Moves the timing wheel on, and tries what did not fit again.
async fn tick(thread: Rc<Thread>) {
    while !thread.finished.get() {
        monoio::time::sleep(Duration::from_millis(WHEEL_TICK_MS)).await;
        thread.state.borrow_mut().on_tick();
        thread.turn.request();
    }
}

/// Builds a thread's state and runs it to its end.
///
/// # Errors
/// When io_uring cannot be used.
pub(crate) fn main(
    state: State,
    event: EventFd,
    listener: std::net::TcpListener,
    mut runtime: monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>,
) -> io::Result<()> {
    runtime.block_on(run(Rc::new(Thread::new(state, event)), listener))
}

//! Where the threads of a run wait for each other, and the main thread for all of them, while it looks after other
//! things once a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// The gates of a run.
#[derive(Debug)]
pub(super) struct Gates {
    /// All sessions of a thread are welcome.
    pub(super) connected: Gate,
    /// A thread has sent its last message.
    pub(super) measured: Gate,
    is_broken_off: AtomicBool,
}

/// Opened by the main thread once every thread stands before it.
#[derive(Debug)]
pub(super) struct Gate {
    threads: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: u32,
    open: bool,
}

impl Gates {
    pub(super) fn new(threads: u32) -> Self {
        Self { connected: Gate::new(threads), measured: Gate::new(threads), is_broken_off: AtomicBool::new(false) }
    }

    /// There is no sense in going on: nobody waits for anybody any more, and every thread ends within a turn.
    pub(super) fn break_off(&self) {
        self.is_broken_off.store(true, Ordering::Release);
        self.connected.open();
        self.measured.open();
    }

    pub(super) fn is_broken_off(&self) -> bool {
        self.is_broken_off.load(Ordering::Acquire)
    }
}

impl Gate {
    fn new(threads: u32) -> Self {
        Self { threads, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Of a thread: waits until the gate is open.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        state.arrived += 1;
        self.changed.notify_all();
        while !state.open {
            state = self.changed.wait(state).expect("nobody panics at a gate");
        }
    }

    /// Of the main thread: waits for all threads until `deadline`, or until the gate is open; whether they are there.
    pub(super) fn all_arrive_by(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        while state.arrived < self.threads && !state.open {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).expect("nobody panics at a gate").0;
        }
        true
    }

    /// Lets everybody pass, those who come later too.
    pub(super) fn open(&self) {
        self.state().open = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics at a gate")
    }
}

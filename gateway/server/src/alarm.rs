//! When the thread must look at its timers next, and the one task that sleeps until then.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::time::Instant;

/// The alarm of one thread.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Cell<Option<Instant>>,
    /// The time was changed since the sleeping task looked.
    changed: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
}

impl Alarm {
    /// Rings after this time at the latest. One that is set to ring earlier stays as it is: whoever is woken too early looks
    /// and sets it again.
    pub(crate) fn set_at_most(&self, after: Duration) {
        let at = Instant::now() + after;
        if self.at.get().is_none_or(|set| at < set) {
            self.at.set(Some(at));
            self.changed.set(true);
            self.wake();
        }
    }

    /// Lets the sleeping task look around.
    pub(crate) fn wake(&self) {
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }

    /// Calls `on_ring` whenever the alarm rings, until `is_over` says so.
    pub(crate) async fn run(&self, on_ring: impl Fn(), is_over: impl Fn() -> bool) {
        let mut sleep = pin!(monoio::time::sleep(Duration::ZERO));
        while !is_over() {
            let rang = poll_fn(|context| {
                if is_over() {
                    return Poll::Ready(false);
                }
                let Some(at) = self.at.get() else {
                    *self.sleeper.borrow_mut() = Some(context.waker().clone());
                    return Poll::Pending;
                };
                if self.changed.take() {
                    sleep.as_mut().reset(at);
                }
                let slept = sleep.as_mut().poll(context);
                if slept.is_pending() {
                    *self.sleeper.borrow_mut() = Some(context.waker().clone());
                }
                slept.map(|()| true)
            });
            if rang.await {
                self.at.set(None);
                on_ring();
            }
        }
    }
}

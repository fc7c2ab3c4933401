//! A coalesced wake-up: many threads wake one that serves many links, and pay a system call only when it sleeps.
//!
//! The consumer, when it has found all its links empty:
//! ```text
//! parker.prepare_park();            // from here on a notify wakes
//! if every link is still empty { wait until the wake action happens }
//! parker.awake();                   // from here on a notify costs one atomic swap
//! ```
//! A producer pushes what it has for that consumer in this turn, then calls [`Waker::notify`] once.
//!
//! # Why no wake-up is lost
//!
//! Both sides change the one flag by swapping, so all swaps have one order, and a swap sees everything that happened
//! before an earlier one. If the producer's swap comes after the consumer's `prepare_park`, the producer (or another
//! one before it) finds the flag set and wakes. If it comes before, the consumer's swap sees the push, and the check
//! that follows finds the message.
//!
//! What waking means is the consumer's business: a gateway reads an [`EventFd`](crate::EventFd) through its ring, a
//! router core has a task's waker called. The action must not be forgotten when it comes early: it may run any time
//! after `prepare_park`, before the consumer really waits, and once more than needed.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::sync::{Arc, AtomicBool};

/// Makes the two ends. `action` wakes the consumer, from any thread; it must not block.
#[must_use]
pub fn pair(action: impl Fn() + Send + Sync + 'static) -> (Parker, Waker) {
    let shared = Arc::new(Shared { sleeping: AtomicBool::new(false), action: Box::new(action) });
    (Parker { shared: shared.clone() }, Waker { shared })
}

struct Shared {
    sleeping: AtomicBool,
    action: Box<dyn Fn() + Send + Sync>,
}

/// The end of the thread that sleeps.
pub struct Parker {
    shared: Arc<Shared>,
}

impl Parker {
    /// From now on a notify wakes. Look at every link once more before waiting.
    pub fn prepare_park(&self) {
        self.shared.sleeping.swap(true, Ordering::AcqRel);
    }

    /// This thread runs: a notify need not wake it.
    pub fn awake(&self) {
        self.shared.sleeping.swap(false, Ordering::AcqRel);
    }
}

impl fmt::Debug for Parker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parker").finish_non_exhaustive()
    }
}

/// The end of the threads that push. Cheap to clone.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

impl Waker {
    /// Makes sure that the consumer looks at its links after everything this thread has pushed.
    pub fn notify(&self) {
        if self.shared.sleeping.swap(false, Ordering::AcqRel) {
            (self.shared.action)();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn given_a_sleeping_consumer_when_notified_twice_then_it_is_woken_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = woken.clone();
        let (parker, waker) = super::pair(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        waker.notify();
        assert_eq!(woken.load(Ordering::Relaxed), 0, "it runs");
        parker.prepare_park();
        waker.notify();
        waker.clone().notify();
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        parker.prepare_park();
        parker.awake();
        waker.notify();
        assert_eq!(woken.load(Ordering::Relaxed), 1, "it runs again");
    }
}

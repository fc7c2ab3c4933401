//! The shared-memory parts that the rest of this crate is built from, and their stand-ins under `cfg(loom)`.
//!
//! Loom explores the interleavings of what it can see. It cannot see into rtrb, so under loom the ring is a model with the
//! same promises: bounded, and a push happens before the pop that takes its value.

#[cfg(not(loom))]
pub(crate) use rtrb::{Consumer as PopEnd, Producer as PushEnd, RingBuffer};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, atomic::AtomicBool};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, atomic::AtomicBool};
#[cfg(loom)]
pub(crate) use model::{PopEnd, PushEnd, RingBuffer};

#[cfg(loom)]
mod model {
    use std::collections::VecDeque;

    use loom::sync::{Arc, Mutex};

    /// Makes a bounded ring that loom understands.
    pub(crate) struct RingBuffer;

    #[derive(Debug)]
    pub(crate) struct PushEnd<T> {
        items: Arc<Mutex<VecDeque<T>>>,
        capacity: usize,
    }

    #[derive(Debug)]
    pub(crate) struct PopEnd<T> {
        items: Arc<Mutex<VecDeque<T>>>,
    }

    impl RingBuffer {
        pub(crate) fn new<T>(capacity: usize) -> (PushEnd<T>, PopEnd<T>) {
            let items = Arc::new(Mutex::new(VecDeque::new()));
            (PushEnd { items: items.clone(), capacity }, PopEnd { items })
        }
    }

    impl<T> PushEnd<T> {
        pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
            let mut items = self.items.lock().expect("no thread panics with the lock");
            if items.len() == self.capacity {
                return Err(item);
            }
            items.push_back(item);
            Ok(())
        }

        pub(crate) fn slots(&self) -> usize {
            self.capacity - self.items.lock().expect("no thread panics with the lock").len()
        }

        pub(crate) fn cached_slots(&self) -> usize {
            self.slots()
        }
    }

    impl<T> PopEnd<T> {
        pub(crate) fn pop(&mut self) -> Result<T, ()> {
            self.items.lock().expect("no thread panics with the lock").pop_front().ok_or(())
        }

        pub(crate) fn slots(&self) -> usize {
            self.items.lock().expect("no thread panics with the lock").len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.slots() == 0
        }
    }
}

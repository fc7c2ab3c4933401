//! The shared-memory parts that the rest of this crate is built from, and their stand-ins under `cfg(loom)`.
//!
//! Loom explores the interleavings of what it can see. It cannot see into crossbeam, so under loom the queue is a model
//! with the same promises: bounded, and a push happens before the pop that takes its value.

#[cfg(not(loom))]
pub(crate) use crossbeam_queue::ArrayQueue;
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, atomic::AtomicBool};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, atomic::AtomicBool};
#[cfg(loom)]
pub(crate) use model::ArrayQueue;

#[cfg(loom)]
mod model {
    use std::collections::VecDeque;

    use loom::sync::Mutex;

    /// A bounded queue that loom understands.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        items: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self { items: Mutex::new(VecDeque::new()), capacity }
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            let mut items = self.items.lock().expect("no thread panics with the lock");
            if items.len() == self.capacity {
                return Err(item);
            }
            items.push_back(item);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.items.lock().expect("no thread panics with the lock").pop_front()
        }

        pub(crate) fn len(&self) -> usize {
            self.items.lock().expect("no thread panics with the lock").len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}

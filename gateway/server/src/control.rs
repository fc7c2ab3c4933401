//! What the rest of the process orders gateway threads to do.
//!
//! Orders are a state, not a queue: the newest keys, whether to drain, whether to stop. A thread looks at one number per
//! turn and takes the lock only when it has changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use switchyard_gateway_core::auth::KeySet;

/// How to leave. Clients are told when to come back, one after the other ([`switchyard_gateway_core::comebacks`]).
#[derive(Copy, Clone, Debug)]
pub struct DrainPlan {
    /// When connections that are still open are closed the hard way.
    pub deadline: Instant,
}

/// What threads are to do now.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) keys: Arc<KeySet>,
    pub(crate) drain: Option<DrainPlan>,
}

/// The orders of all threads of a gateway.
#[derive(Debug)]
pub(crate) struct Control {
    version: AtomicU64,
    orders: Mutex<Orders>,
}

impl Control {
    pub(crate) const fn new(keys: Arc<KeySet>) -> Self {
        Self { version: AtomicU64::new(1), orders: Mutex::new(Orders { keys, drain: None }) }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.lock();
        change(&mut orders);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The orders, when they are newer than `seen`.
    pub(crate) fn newer_than(&self, seen: &mut u64) -> Option<Orders> {
        if self.version.load(Ordering::Acquire) == *seen {
            return None;
        }
        let orders = self.lock();
        *seen = self.version.load(Ordering::Acquire);
        Some(orders.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

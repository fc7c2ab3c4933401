//! The two clocks that sessions are given: a monotonic one for timeouts, the wall clock for tokens and Welcome.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use switchyard_gateway_core::session::Now;
use switchyard_schema::ids::Millis;

/// Reads both clocks.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Both times now.
    pub(crate) fn now(&self) -> Now {
        self.at(Instant::now())
    }

    /// Both times, when the monotonic clock has just been read. The wall clock is zero when it is set before the Unix epoch.
    pub(crate) fn at(&self, instant: Instant) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: millis(instant.saturating_duration_since(self.start)), unix: millis(since_epoch) }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

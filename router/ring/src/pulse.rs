//! A sign of life that one thread gives as it works, and that any other may look at.
//!
//! Every thread of the message path works in short turns and sleeps for a moment at most, so one that has given no sign
//! for [`STALL_AFTER_MS`] does not work: its disk, its memory or its processor does not answer, or it has an endless loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::STALL_AFTER_MS;

/// When a thread was last seen to work. One thread beats, others look; time is an argument.
#[derive(Debug)]
pub struct Pulse {
    begun: Instant,
    /// Milliseconds from `begun` to the newest beat.
    last_ms: AtomicU64,
}

impl Pulse {
    /// A thread that works now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { begun: now, last_ms: AtomicU64::new(0) }
    }

    /// The thread works. Answers how long it did not, when that was a stall.
    pub fn beat(&self, now: Instant) -> Option<Duration> {
        let stall = self.stall(now);
        self.last_ms.store(self.ms_at(now), Ordering::Relaxed);
        stall
    }

    /// How long the thread has given no sign of life. It may just sleep, for less than a second.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        Duration::from_millis(self.ms_at(now).saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    /// The silence, when it is too long for a thread that works.
    #[must_use]
    pub fn stall(&self, now: Instant) -> Option<Duration> {
        Some(self.silence(now)).filter(|silence| *silence >= Duration::from_millis(STALL_AFTER_MS))
    }

    fn ms_at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_thread_that_is_silent_when_looked_at_then_it_has_stalled_from_the_limit_on_until_it_beats() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let pulse = Pulse::new(begun);
        assert_eq!(pulse.beat(at(500)), None);
        assert_eq!((pulse.silence(at(500)), pulse.stall(at(500))), (Duration::ZERO, None));
        assert_eq!(pulse.stall(at(500 + STALL_AFTER_MS - 1)), None);
        let limit = Duration::from_millis(STALL_AFTER_MS);
        assert_eq!(pulse.stall(at(500 + STALL_AFTER_MS)), Some(limit));
        assert_eq!(pulse.beat(at(500 + STALL_AFTER_MS)), Some(limit), "the thread itself learns of it");
        assert_eq!(pulse.stall(at(501 + STALL_AFTER_MS)), None);
    }

    #[test]
    fn given_somebody_who_looks_with_an_older_time_than_the_newest_beat_then_there_is_no_silence() {
        let begun = Instant::now();
        let pulse = Pulse::new(begun);
        assert_eq!(pulse.beat(begun + Duration::from_secs(1)), None);
        assert_eq!(pulse.silence(begun), Duration::ZERO);
    }
}

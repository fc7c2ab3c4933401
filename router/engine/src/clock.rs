//! The clock of a router core: the wall clock, made steady.
//!
//! Everything that a core waits for (a retry, a batch's company, a fact told again) is reckoned on the clock that also dates
//! messages. A wall clock may be set back, and whatever was due would then wait until it has caught up: for hours. So a step
//! back is walked off instead: the steady clock goes on a little slower than time until the wall clock is there.

use std::time::Duration;

use switchyard_schema::ids::Millis;

/// By what part of time the clock is slower while it is ahead of the wall clock: an hour is walked off in eight.
const SLOWER_PART: u32 = 8;

/// Never goes back, and never stands still for longer than time itself.
#[derive(Copy, Clone, Debug, Default)]
pub struct SteadyClock {
    told: Duration,
    read_at: Duration,
}

impl SteadyClock {
    /// The time now. `wall` is the Unix clock, `monotonic` a clock that never jumps, whatever it counts from.
    pub fn read(&mut self, wall: Duration, monotonic: Duration) -> Millis {
        let passed = monotonic.saturating_sub(self.read_at);
        self.read_at = monotonic;
        self.told = wall.max(self.told.saturating_add(passed - passed / SLOWER_PART));
        Millis(u64::try_from(self.told.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn given_a_wall_clock_that_only_advances_then_it_is_told() {
        let mut clock = SteadyClock::default();
        for second in [1_000, 1_000, 1_001, 9_000] {
            assert_eq!(clock.read(s(second), s(second - 1_000)), Millis(second * 1_000));
        }
    }

    #[test]
    fn given_a_step_back_when_time_passes_then_the_clock_goes_on_and_the_wall_clock_catches_up() {
        let mut clock = SteadyClock::default();
        assert_eq!(clock.read(s(10_000), s(0)), Millis(10_000_000));
        assert_eq!(clock.read(s(6_408), s(8)), Millis(10_007_000), "an hour back");
        let mut last = Millis(0);
        for second in 9..=8 * 3_600 + 8 {
            let told = clock.read(s(6_400 + second), s(second));
            assert!(told > last);
            last = told;
        }
        assert_eq!(last, Millis((6_400 + 8 * 3_600 + 8) * 1_000));
    }

    #[test]
    fn given_reads_close_together_after_a_step_back_then_no_time_is_lost() {
        let mut clock = SteadyClock::default();
        clock.read(s(10_000), s(0));
        for micros in 1..=1_000_000 {
            clock.read(s(0), Duration::from_micros(micros));
        }
        assert!(clock.read(s(0), s(1)) >= Millis(10_000_875));
    }
}

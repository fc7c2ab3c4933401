//! When the messages of an open loop are due, whatever comes back. Latency counts from there: who counts from the moment
//! of sending lets a slow server hide what it made others wait (coordinated omission).

use std::time::{Duration, Instant};

/// Message `n` of all threads is due `n / rate` after the beginning; this is one thread's part of them.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Schedule {
    begun: Instant,
    per_second: f64,
    next: u64,
    step: u64,
}

impl Schedule {
    /// The messages of one thread of several, at a rate of all together.
    pub(crate) fn new(begun: Instant, per_second: f64, (thread, threads): (u32, u32)) -> Self {
        Self { begun, per_second, next: thread.into(), step: threads.max(1).into() }
    }

    /// When the next message is due.
    pub(crate) fn due(&self) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "2^53 messages are more than a run has")]
        let after_s = self.next as f64 / self.per_second;
        self.begun + Duration::from_secs_f64(after_s)
    }

    /// The next message was sent.
    pub(crate) fn advance(&mut self) {
        self.next += self.step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_threads_that_share_a_rate_when_scheduled_then_together_they_send_evenly_and_do_not_drift() {
        let begun = Instant::now();
        let mut threads: Vec<Schedule> = (0..3).map(|thread| Schedule::new(begun, 1_000.0, (thread, 3))).collect();
        let mut due: Vec<Duration> = Vec::new();
        for schedule in &mut threads {
            for _ in 0..1_000 {
                due.push(schedule.due() - begun);
                schedule.advance();
            }
        }
        due.sort();
        for (message, due) in (0..).zip(due) {
            let expect = Duration::from_millis(message);
            assert!(due.abs_diff(expect) < Duration::from_micros(1), "message {message} is due after {due:?}");
        }
    }
}

//! When the messages of an open loop are due, whatever comes back. Latency counts from there: who counts from the moment
//! of sending lets a slow server hide what it made others wait (coordinated omission). For the same reason a message that
//! could not be sent before the run ended counts with the time it had waited by then, the least that it can be.

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

    /// When the next message is due, if that is so by `now`; it is then the turn of the one after it.
    fn take_due(&mut self, now: Instant) -> Option<Instant> {
        let due = Some(self.due()).filter(|due| *due <= now)?;
        self.advance();
        Some(due)
    }

    /// When each message was due that was due before `until` and was never sent.
    fn unsent(mut self, until: Instant) -> impl Iterator<Item = Instant> {
        std::iter::from_fn(move || {
            let due = Some(self.due()).filter(|due| *due < until)?;
            self.advance();
            Some(due)
        })
    }
}

/// The messages that one sender, or several who stand in for each other, must send: which have come due, and which of them
/// are owed because there are as many under way as may be. Nobody else sends them instead.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Paced {
    coming: Schedule,
    owed: Schedule,
}

impl Paced {
    /// Of the n-th of so many who send in turn, at a rate of all together.
    pub(crate) fn new(begun: Instant, per_second: f64, place: (u32, u32)) -> Self {
        let schedule = Schedule::new(begun, per_second, place);
        Self { coming: schedule, owed: schedule }
    }

    /// When the next message comes due.
    pub(crate) fn next_due(&self) -> Instant {
        self.coming.due()
    }

    /// When the next message came due, if that is so by `now`; it is owed from then on.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Instant> {
        self.coming.take_due(now)
    }

    /// When the oldest message came due that is not sent.
    pub(crate) fn oldest_owed(&self) -> Option<Instant> {
        let due = self.owed.due();
        (due < self.coming.due()).then_some(due)
    }

    /// The oldest message was sent.
    pub(crate) fn on_sent(&mut self) {
        self.owed.advance();
    }

    /// When each message was due that was due before `until` and was never sent.
    pub(crate) fn unsent(self, until: Instant) -> impl Iterator<Item = Instant> {
        self.owed.unsent(until)
    }
}

/// What the reader of a report must know when messages that were due were never sent.
pub(crate) fn caution_of(unsent: u64) -> Option<String> {
    (unsent > 0).then(|| {
        format!(
            "{unsent} messages that were due were never sent, because those before them had no answer; their latency \
             counts until the end of the run, and was in truth longer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_schedule_that_fell_behind_when_it_ends_then_everything_due_before_the_end_is_unsent() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(begun, 100.0, (0, 2));
        schedule.advance();
        let waited: Vec<u128> = schedule
            .unsent(begun + Duration::from_millis(100))
            .map(|due| due.saturating_duration_since(begun).as_millis())
            .collect();
        assert_eq!(waited, [20, 40, 60, 80]);
        assert_eq!((caution_of(0), caution_of(4).is_some()), (None, true));
    }

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

    #[test]
    fn given_pairs_that_take_turns_when_one_may_not_send_then_it_owes_its_own_messages_and_no_others() {
        let begun = Instant::now();
        let after = |paced: Instant| (paced - begun).as_millis();
        let mut second = Paced::new(begun, 100.0, (1, 4));
        assert_eq!((after(second.next_due()), second.oldest_owed()), (10, None));
        assert_eq!(second.take_due(begun + Duration::from_millis(9)), None);
        let taken: Vec<u128> =
            std::iter::from_fn(|| second.take_due(begun + Duration::from_millis(50))).map(after).collect();
        assert_eq!(taken, [10, 50]);
        assert_eq!(second.oldest_owed().map(after), Some(10));
        second.on_sent();
        assert_eq!((second.oldest_owed().map(after), after(second.next_due())), (Some(50), 90));
        let unsent: Vec<u128> = second.unsent(begun + Duration::from_millis(130)).map(after).collect();
        assert_eq!(unsent, [50, 90]);
    }
}

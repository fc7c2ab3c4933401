//! Which threads make no progress: told to the log when it begins, and to whoever asks for health as long as it lasts. That
//! it is over the thread says itself.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use switchyard_ring::Pulse;

/// A thread of the message path.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Thread {
    Gateway(usize),
    Router(usize),
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(index) => write!(f, "gateway thread {index}"),
            Self::Router(index) => write!(f, "router core {index}"),
        }
    }
}

/// A thread that stands still.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Stall {
    thread: Thread,
    silence: Duration,
}

impl Stall {
    /// Those of some threads that stand still.
    pub(super) fn among<'a>(
        pulses: impl Iterator<Item = (Thread, &'a Pulse)>,
        now: Instant,
    ) -> impl Iterator<Item = Self> {
        pulses.filter_map(move |(thread, pulse)| pulse.stall(now).map(|silence| Self { thread, silence }))
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.thread {
            Thread::Gateway(_) => "whoever is connected there waits",
            Thread::Router(_) => "sends and fetches that need it wait",
        };
        let (thread, seconds) = (self.thread, self.silence.as_secs_f64());
        write!(f, "{thread}: no progress for {seconds:.1} s, {whom}; see the disk, the kernel's log and the load")
    }
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    still: BTreeSet<Thread>,
}

impl Watchdog {
    /// Those of the threads that stand still now which did not at the last look.
    pub(super) fn begun(&mut self, stalls: Vec<Stall>) -> Vec<Stall> {
        let before = std::mem::replace(&mut self.still, stalls.iter().map(|stall| stall.thread).collect());
        stalls.into_iter().filter(|stall| !before.contains(&stall.thread)).collect()
    }
}

#[cfg(test)]
mod tests {
    use switchyard_ring::limits::STALL_AFTER_MS;

    use super::*;

    #[test]
    fn given_a_thread_that_stands_still_when_looked_at_again_and_again_then_it_is_told_once_each_time_it_begins() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let (gateway, router) = (Pulse::new(begun), Pulse::new(begun));
        let mut watchdog = Watchdog::default();
        let mut look = |ms| {
            let threads = [(Thread::Gateway(0), &gateway), (Thread::Router(1), &router)];
            let stalls = Stall::among(threads.into_iter(), at(ms)).collect();
            watchdog.begun(stalls).iter().map(|stall| stall.to_string().split(',').next().unwrap().to_owned()).collect()
        };
        let none: [&str; 0] = [];
        let told: Vec<String> = look(100);
        assert_eq!(told, none);
        gateway.beat(at(1_000));
        assert_eq!(look(STALL_AFTER_MS), ["router core 1: no progress for 2.0 s"]);
        assert_eq!(look(STALL_AFTER_MS + 250), none);
        assert_eq!(look(1_000 + STALL_AFTER_MS), ["gateway thread 0: no progress for 2.0 s"]);
        router.beat(at(3_500));
        gateway.beat(at(3_500));
        assert_eq!(look(3_600), none);
        assert_eq!(look(3_500 + STALL_AFTER_MS).len(), 2);
    }
}

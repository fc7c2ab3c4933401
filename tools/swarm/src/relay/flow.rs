//! The datagrams of one client in one direction: what becomes of each.

use std::time::{Duration, Instant};

use switchyard_client_core::backoff::Chance;

use super::{RelayOptions, Share};
use crate::limits::RELAY_OVERTAKEN_FOR;

/// One direction of one client.
#[derive(Debug)]
pub(super) struct Flow {
    chance: Chance,
    /// When the last one that keeps its place leaves.
    last_due: Option<Instant>,
}

/// What becomes of a datagram.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is lost.
    Lost,
    /// It leaves then, behind those before it.
    Due(Instant),
    /// It leaves then, and those behind it need not wait.
    Overtaken(Instant),
}

impl Flow {
    /// The `number`-th flow of a relay with this seed.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self { chance: Chance::new(Chance::new(seed.wrapping_add(number)).up_to(u64::MAX)), last_due: None }
    }

    /// The next datagram comes.
    pub(super) fn on_datagram(&mut self, options: &RelayOptions, now: Instant) -> Fate {
        // All is drawn for each, so that one option does not change what another one does.
        let [lost, overtaken] = [(); 2].map(|()| self.chance.up_to(Share::DRAW_MAX));
        let jitter_us = self.chance.up_to(u64::try_from(options.jitter.as_micros()).unwrap_or(u64::MAX));
        if options.loss.takes(lost) {
            return Fate::Lost;
        }
        let due = now + options.delay + Duration::from_micros(jitter_us);
        if options.reorder.takes(overtaken) {
            return Fate::Overtaken(due + RELAY_OVERTAKEN_FOR);
        }
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.last_due = Some(due);
        Fate::Due(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 10_000;

    fn fates(options: &RelayOptions, number: u64) -> Vec<Fate> {
        let (mut flow, begun) = (Flow::new(options.seed, number), Instant::now());
        let times = (0..COUNT as u64).map(|ms| begun + Duration::from_millis(ms));
        times.map(|now| flow.on_datagram(options, now)).collect()
    }

    fn lost_of(fates: &[Fate]) -> Vec<usize> {
        (0..fates.len()).filter(|&index| fates[index] == Fate::Lost).collect()
    }

    #[test]
    fn given_a_seed_when_datagrams_come_then_the_same_are_lost_in_every_run_whatever_else_happens_to_them() {
        let options = RelayOptions { loss: Share::percent(1), seed: 7, ..RelayOptions::default() };
        let lost = lost_of(&fates(&options, 3));
        assert!((50..150).contains(&lost.len()), "about one of a hundred: {}", lost.len());
        assert_eq!(lost_of(&fates(&options, 3)), lost);
        let worse = RelayOptions { jitter: Duration::from_millis(5), reorder: Share::percent(10), ..options };
        assert_eq!(lost_of(&fates(&worse, 3)), lost);
        assert_ne!(lost_of(&fates(&options, 4)), lost, "another flow");
        assert_ne!(lost_of(&fates(&RelayOptions { seed: 8, ..options }, 3)), lost, "another seed");
    }

    #[test]
    fn given_jitter_when_datagrams_come_then_only_those_leave_out_of_order_that_are_to_be_overtaken() {
        let delay = Duration::from_millis(20);
        let options = RelayOptions { delay, jitter: Duration::from_millis(9), ..RelayOptions::default() };
        let dues = |fates: Vec<Fate>| -> Vec<Instant> {
            let due = |fate| match fate {
                Fate::Due(at) | Fate::Overtaken(at) => at,
                Fate::Lost => panic!("nothing is lost"),
            };
            fates.into_iter().map(due).collect()
        };
        assert!(dues(fates(&options, 0)).is_sorted());
        let options = RelayOptions { reorder: Share::percent(5), ..options };
        let all = fates(&options, 0);
        let overtaken = all.iter().filter(|fate| matches!(fate, Fate::Overtaken(_))).count();
        assert!((300..700).contains(&overtaken), "about five of a hundred: {overtaken}");
        assert!(!dues(all).is_sorted());
    }
}

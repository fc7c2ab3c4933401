//! What one machine did and saw of a run. Those of several make one, as if one machine had done it all.

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::merge::merged;
use crate::reading::Costs;
use crate::tally::{Reasons, Totals};

merged! {
    /// The part of one machine, or of several.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(crate) struct Part {
        pub(super) threads: u32,
        /// Connections that were open before the first storm.
        pub(super) opened: u64,
        /// At the end.
        pub(super) totals: Totals,
        pub(super) rounds: Vec<Round>,
        pub(super) reasons: Reasons,
    }
}

merged! {
    /// One storm.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Round {
        /// Connections that were back.
        pub(super) back: u64,
        /// Whether those were all.
        pub(super) whole: bool,
        /// From the cut until a connection was back.
        pub(super) latency: Latencies,
        pub(super) attempts: u64,
        pub(super) failed_attempts: u64,
        pub(super) refused: u64,
        pub(super) dropped: u64,
        pub(super) reasons: Reasons,
        /// From the cut until all were back.
        pub(super) costs: Costs,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::{FRAME_BYTES_MAX, REASONS_MAX, STORM_ROUNDS_MAX};
    use crate::merge::Merge as _;

    fn round(whole: bool, seconds: f64, back_after: impl IntoIterator<Item = Duration>) -> Round {
        let mut latency = Latencies::default();
        back_after.into_iter().for_each(|after| latency.record(after));
        Round {
            back: latency.percentiles().count,
            whole,
            latency,
            attempts: 3,
            failed_attempts: 1,
            refused: 1,
            dropped: 0,
            reasons: (0..=REASONS_MAX).map(|code| (format!("closed with code {:04}", 4_000 + code), 1)).collect(),
            costs: Costs { seconds, ..Costs::default() },
        }
    }

    fn part(rounds: Vec<Round>) -> Part {
        let totals = Totals { open: 2, opened: 4, alive: 2, ..Totals::default() };
        Part { threads: 1, opened: 2, totals, rounds, reasons: Reasons::new() }
    }

    #[test]
    fn given_storms_on_two_machines_when_merged_then_each_is_over_when_the_slower_machine_is_back() {
        let ms = Duration::from_millis;
        let mut all = part(vec![round(true, 0.2, [ms(100), ms(200)]), round(true, 0.4, [ms(300), ms(400)])]);
        all.merge(part(vec![round(true, 0.5, [ms(100), ms(500)]), round(false, 0.1, [ms(100)])]));
        assert_eq!((all.threads, all.opened, all.totals.alive), (2, 4, 4));
        let [first, second] = &all.rounds[..] else { panic!("two storms, not {:?}", all.rounds) };
        assert_eq!((first.back, first.whole, first.costs.seconds.to_string()), (4, true, "0.5".to_owned()));
        assert!(first.latency.percentiles().max_us >= 500_000, "{first:?}");
        assert_eq!((second.back, second.whole, second.attempts), (3, false, 6));
    }

    #[test]
    fn given_as_many_storms_as_a_run_may_have_when_handed_in_then_they_fit_into_a_frame() {
        // Every step of the histogram is in use.
        let everywhere = || (0..3_000).map(|step| Duration::from_secs_f64(1e-6 * 1.007_f64.powi(step)));
        let rounds = vec![round(true, 60.0, everywhere()); STORM_ROUNDS_MAX as usize];
        let json = serde_json::to_vec(&part(rounds)).expect("plain data");
        assert!(json.len() < FRAME_BYTES_MAX as usize / 2, "{} bytes", json.len());
    }
}

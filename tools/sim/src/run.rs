//! One run of one seed, and what became of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::canary::Canary;
use crate::fault::FaultCounts;
use crate::plan::Plan;
use crate::shared::Shared;
use crate::world::World;

/// How to run.
#[derive(Copy, Clone, Debug, Default)]
pub struct Options {
    /// Keep the lines of the story.
    pub told: bool,
    /// Seed a defect.
    pub canary: Option<Canary>,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What did not hold.
    pub failure: Option<String>,
    /// The same for two runs that went the same way.
    pub hash: u64,
    /// The faults that happened.
    pub faults: FaultCounts,
    /// How long it was, in virtual milliseconds.
    pub virtual_ms: u64,
    /// Messages that were sent.
    pub messages: usize,
    /// The story, when it was to be told.
    pub story: Vec<String>,
}

/// Runs a seed. A panic of the code under test is a failure like any other.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    run_plan(Plan::new(seed), options)
}

fn run_plan(plan: Plan, options: &Options) -> Outcome {
    let mut shared = Shared::new(plan, options.told);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(&mut shared, options.canary);
        world.run(&mut shared);
    }));
    let failure = match ran {
        Ok(()) => shared.truth.failure().map(str::to_owned),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            Some(format!("panic: {text}"))
        }
    };
    let mut story = vec![format!("{:#?}", shared.plan)];
    story.extend_from_slice(shared.story.lines());
    Outcome {
        failure,
        hash: shared.story.hash(),
        faults: shared.counts,
        virtual_ms: shared.agenda.now_us() / 1000,
        messages: shared.truth.sent.len(),
        story: if options.told { story } else { Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use switchyard_schema::error::ErrorCode;

    use super::*;
    use crate::plan::Span;

    /// Pages of 100 texts of up to 4,000 characters, over connections that carry less than 20 KB in a second.
    #[test]
    fn given_pages_that_arrive_in_pieces_for_longer_than_two_heartbeats_then_their_connections_last() {
        let plan = Plan {
            users: 2,
            devices_max: 1,
            gateways: 1,
            heartbeat_ms: 2_000,
            token_ms: 3_600_000,
            network: Span { low_us: 20_000, high_us: 200_000, slow_per_mille: 0 },
            window_bytes: 2 << 10,
            person_ms: 50,
            sends_per_device: 100,
            text_chars_max: 4_000,
            faults_ms: 10_000,
            faults: Vec::new(),
            ..Plan::new(1)
        };
        let outcome = run_plan(plan, &Options { told: true, ..Options::default() });
        assert_eq!(outcome.failure, None);
        let given_up = outcome.story.iter().find(|line| line.contains(ErrorCode::HeartbeatTimeout.name()));
        assert_eq!(given_up, None);
    }
}

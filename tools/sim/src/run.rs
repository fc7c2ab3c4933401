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
    let mut shared = Shared::new(Plan::new(seed), options.told);
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

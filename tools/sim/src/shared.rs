//! What every part of a run has in hand: time, chance, the story, the truth.

use crate::agenda::Agenda;
use crate::fault::FaultCounts;
use crate::plan::Plan;
use crate::random::Random;
use crate::story::Story;
use crate::truth::Truth;

/// What went wrong below the server and explains that it refuses or does not answer.
#[derive(Copy, Clone, Debug, Default)]
pub struct Trouble {
    /// Reads of the journal that failed.
    pub reads: u64,
    /// Requests to the state store that failed.
    pub store: u64,
    /// Regions of durable data that were changed.
    pub damaged: u64,
    /// Starts that found damage, and reads that met it.
    pub damage_shown: u64,
}

/// What every part of a run has in hand.
#[derive(Debug)]
pub struct Shared {
    /// What the seed decided.
    pub plan: Plan,
    /// Virtual time.
    pub agenda: Agenda,
    /// Chance.
    pub random: Random,
    /// What happened.
    pub story: Story,
    /// What must hold.
    pub truth: Truth,
    /// The faults so far.
    pub counts: FaultCounts,
    /// What explains missing answers.
    pub trouble: Trouble,
    /// Which start of the server is the newest.
    pub life: u64,
    /// The faults have stopped.
    pub calm: bool,
}

impl Shared {
    /// At the beginning of a run.
    #[must_use]
    pub fn new(plan: Plan, told: bool) -> Self {
        Self {
            agenda: Agenda::default(),
            random: Random::new(plan.seed ^ 0x5117_c47a_4d00_0000),
            story: Story::new(told),
            truth: Truth::default(),
            counts: FaultCounts::default(),
            trouble: Trouble::default(),
            life: 0,
            calm: false,
            plan,
        }
    }
}

/// Tells a line of the story at the present time.
#[macro_export]
macro_rules! tell {
    ($shared:expr, $($line:tt)*) => {{
        let at_us = $shared.agenda.now_us();
        $shared.story.tell(at_us, format_args!($($line)*));
    }};
}

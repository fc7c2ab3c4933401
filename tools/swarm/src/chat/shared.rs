//! Pairs on several machines: both of a pair are on one, where their messages are checked; all measure at the same time.

use super::part::Part;
use super::report::ChatReport;
use super::{ChatOptions, Pace, take_part};
use crate::SwarmError;
use crate::company::Company;
use crate::sample::Observer;
use crate::workers::{self, Access, Place, Shared, Task, part_of_rate};

/// Runs it on other machines, on each of which `swarm worker` listens at the address given. This machine only leads; the
/// server's process is looked for here.
///
/// # Errors
/// When the run cannot be made, or a worker refuses, fails or falls silent. What the server did wrong stands in the report
/// ([`ChatReport::faults`]).
pub fn run_on(
    workers: &[String],
    options: &ChatOptions,
    access: &Access,
    observer: Observer<'_>,
) -> Result<ChatReport, SwarmError> {
    let led = workers::lead(workers, options, access, observer)?;
    Ok(ChatReport::new(options, workers.len(), led.part, &led.readings))
}

impl Shared for ChatOptions {
    type Part = Part;

    const PIECES: &'static str = "pairs";
    const TOGETHER: u32 = 1;
    const USERS_EACH: u32 = 2;

    fn pieces(&self) -> u32 {
        self.pairs
    }

    fn with_pieces(&self, pairs: u32) -> Self {
        let pace = match self.pace {
            Pace::Depth { depth, until } => Pace::Depth { depth, until },
            Pace::PerSecond(rate) => Pace::PerSecond(part_of_rate(rate, pairs, self.pairs)),
        };
        Self { pairs, pace, ..self.clone() }
    }

    fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    fn into_task(self) -> Task {
        Task::Chat(self)
    }

    fn take_part(self, place: Place, company: Box<dyn Company>) -> Result<Part, SwarmError> {
        let signer = place.signer()?;
        let sources = place.sources.unwrap_or(self.sources);
        let options = Self { address: place.target.address, sources, server_pid: None, ..self };
        take_part(&options, (place.first_user, &signer), &mut |_| {}, company).map(|(part, _)| part)
    }
}

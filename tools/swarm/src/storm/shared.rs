//! Storms from several machines: all open their share of the connections, and each storm begins everywhere when whoever
//! leads the run says so and is over when everybody is back everywhere.

use super::part::Part;
use super::report::StormReport;
use super::{StormOptions, take_part};
use crate::SwarmError;
use crate::company::Company;
use crate::sample::Observer;
use crate::workers::{self, Access, Place, Shared, Task, part_of_rate};

/// Runs it on other machines, on each of which `swarm worker` listens at the address given. This machine only leads; the
/// server's process is looked for here.
///
/// # Errors
/// When the run cannot be made, or a worker refuses, fails or falls silent. What the server did wrong is in the report.
pub fn run_on(
    workers: &[String],
    options: &StormOptions,
    access: &Access,
    observer: Observer<'_>,
) -> Result<StormReport, SwarmError> {
    let led = workers::lead(workers, options, access, observer)?;
    Ok(StormReport::new(options, workers.len(), led.part, &led.readings))
}

impl Shared for StormOptions {
    type Part = Part;

    const PIECES: &'static str = "connections";
    const TOGETHER: u32 = 1;
    const USERS_EACH: u32 = 1;

    fn pieces(&self) -> u32 {
        self.count
    }

    fn with_pieces(&self, count: u32) -> Self {
        let opens_per_s = self.opens_per_s.map(|rate| part_of_rate(rate, count, self.count));
        Self { count, opens_per_s, ..self.clone() }
    }

    fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    fn into_task(self) -> Task {
        Task::Storm(self)
    }

    fn take_part(self, place: Place, company: Box<dyn Company>) -> Result<Part, SwarmError> {
        let signer = place.signer()?;
        let sources = place.sources.unwrap_or(self.sources);
        let options = Self { address: place.target.address, sources, server_pid: None, ..self };
        take_part(&options, (place.first_user, signer), &mut |_| {}, company).map(|(part, _)| part)
    }
}

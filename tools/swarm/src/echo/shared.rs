//! Echoes to several machines: all open their share of the connections, send their share of the rate, and measure at the
//! same time.

use super::part::Part;
use super::report::EchoReport;
use super::{EchoOptions, EchoPace, take_part};
use crate::SwarmError;
use crate::company::Company;
use crate::sample::Observer;
use crate::workers::{self, Access, Place, Shared, Task, part_of_rate};

/// Runs it on other machines, on each of which `swarm worker` listens at the address given, against `url` as each of them
/// sees it. This machine only leads; the server's process is looked for here.
///
/// # Errors
/// When the run cannot be made, not every connection can be opened, or a worker refuses, fails or falls silent. What the
/// server did wrong afterwards is in the report.
pub fn run_on(
    workers: &[String],
    options: &EchoOptions,
    url: &str,
    observer: Observer<'_>,
) -> Result<EchoReport, SwarmError> {
    let access = Access { url: url.to_owned(), key: None };
    let led = workers::lead(workers, options, &access, observer)?;
    Ok(EchoReport::new(options, workers.len(), led.part, &led.readings))
}

impl Shared for EchoOptions {
    type Part = Part;

    const PIECES: &'static str = "connections";
    const TOGETHER: u32 = 1;
    const USERS_EACH: u32 = 0;

    fn pieces(&self) -> u32 {
        self.connections
    }

    fn with_pieces(&self, connections: u32) -> Self {
        let pace = match self.pace {
            EchoPace::Depth(depth) => EchoPace::Depth(depth),
            EchoPace::PerSecond(rate) => EchoPace::PerSecond(part_of_rate(rate, connections, self.connections)),
        };
        Self { connections, pace, ..self.clone() }
    }

    fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    fn into_task(self) -> Task {
        Task::Echo(self)
    }

    fn take_part(self, place: Place, company: Box<dyn Company>) -> Result<Part, SwarmError> {
        let sources = place.sources.unwrap_or(self.sources);
        let options = Self { target: place.target, sources, server_pid: None, ..self };
        take_part(&options, &mut |_| {}, company).map(|(part, _)| part)
    }
}

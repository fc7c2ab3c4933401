//! One run on several machines: each opens its share of the connections, whose messages stay among themselves and are
//! checked there; all hold them at the same time, and what they found becomes one report.

use super::part::Part;
use super::report::ConnectReport;
use super::server_side::{Noting, ServerSide};
use super::{ConnectOptions, take_part};
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
    options: &ConnectOptions,
    access: &Access,
    observer: Observer<'_>,
) -> Result<ConnectReport, SwarmError> {
    let mut noting = Noting::new(options.server_pid);
    let led = workers::lead(workers, options, access, &mut |sample| {
        noting.look(sample.open);
        observer(sample);
    })?;
    noting.end(led.part.totals.open);
    let server = ServerSide::new(&led.readings, noting.course);
    Ok(ConnectReport::new(options, workers.len(), led.part, server))
}

impl Shared for ConnectOptions {
    type Part = Part;

    const PIECES: &'static str = "connections";
    const TOGETHER: u32 = 2;
    const USERS_EACH: u32 = 1;

    fn pieces(&self) -> u32 {
        self.count
    }

    fn with_pieces(&self, count: u32) -> Self {
        let part = |rate| part_of_rate(rate, count, self.count);
        Self {
            count,
            opens_per_s: self.opens_per_s.map(part),
            messages_per_s: part(self.messages_per_s),
            ..self.clone()
        }
    }

    fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    fn into_task(self) -> Task {
        Task::Connect(self)
    }

    fn take_part(self, place: Place, company: Box<dyn Company>) -> Result<Part, SwarmError> {
        let signer = place.signer()?;
        let sources = place.sources.unwrap_or(self.sources);
        let options = Self { address: place.target.address, sources, server_pid: None, ..self };
        let mut noting = Noting::new(None);
        take_part(&options, (place.first_user, signer), &mut |_| {}, company, &mut noting).map(|(part, _)| part)
    }
}

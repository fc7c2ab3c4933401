//! What every run is asked that several machines can share.

use std::fmt;

use clap::Args;

#[derive(Args)]
pub(super) struct Machines {
    /// Machines that share the run, each with a `swarm worker`: a:9000,b:9000. Each connects to --url as it sees it, with
    /// --threads threads, and from its own `swarm worker --sources` or else from --sources; this machine leads, and looks
    /// for the server's process.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    pub(super) workers: Vec<String>,
}

impl Machines {
    /// Whether this machine does all by itself.
    pub(super) const fn is_alone(&self) -> bool {
        self.workers.is_empty()
    }

    /// Says what will be divided among them.
    pub(super) fn announce(&self, what: impl fmt::Display) {
        eprintln!("swarm: {what} on {} workers", self.workers.len());
    }
}

//! `swarm worker`.

use std::net::{SocketAddr, TcpListener};

use clap::Args;
use switchyard_swarm::routes::Sources;
use switchyard_swarm::{SwarmError, workers};

/// What comes after the options.
const MORE: &str = "\
A worker takes one share at a time and is then free for the next, of whichever command: connect, storm, chat or echo. It
checks the messages of its own connections; the leader adds up counts and latency histograms. Both must be of one version.

From one address, a machine has as many connections to a server as it has local ports, 28,232 unless the range was
widened. A larger share comes from several addresses of the machine.

Example, on two machines with twenty addresses each and a third that leads:
  swarm worker --listen 10.0.0.6:9000 --sources 10.0.1.1-10.0.1.20
  swarm worker --listen 10.0.0.7:9000 --sources 10.0.2.1-10.0.2.20
  swarm connect --url 10.0.0.1:7400 --data D --count 500000 --workers 10.0.0.6:9000,10.0.0.7:9000";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct WorkerArguments {
    /// Where to wait for whoever leads a run: ADDRESS:PORT, on a private network. The line is neither encrypted nor
    /// authenticated: whoever reaches it may have this machine connect anywhere, and the server's development key passes
    /// over it.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Addresses of this machine to connect from, such as 10.0.0.5,10.0.0.6 or 127.0.1.1-127.0.1.20, whatever the leader's
    /// --sources are; those when not given.
    #[arg(long)]
    sources: Option<Sources>,
}

/// Serves until the process is ended.
pub(crate) fn run(arguments: &WorkerArguments) -> Result<bool, SwarmError> {
    let what = || format!("listening on {}", arguments.listen);
    let failed = |source| SwarmError::Io { what: what(), source };
    let listener = TcpListener::bind(arguments.listen).map_err(failed)?;
    println!("listening worker {}", listener.local_addr().map_err(failed)?);
    workers::serve(&listener, arguments.sources.as_ref(), |said| eprintln!("swarm: {said}")).map(|()| true)
}

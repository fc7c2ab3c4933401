//! `swarm connect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::connect::{self, ConnectOptions};
use switchyard_swarm::crew::Layout;
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::routes::Sources;
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::{Signer, read_key};

use super::{rate, rate_or_none, time};

/// What comes after the options.
const MORE: &str = "\
How it goes: all connections are opened and authenticated; messages flow between random pairs for as long as they are held,
heartbeats are answered; what is under way gets time to arrive; at last each connection is pinged, and only one that
answers is alive. A descriptor table holds so many sockets (`ulimit -n`): a run that needs more takes more threads, each
with a table of its own. Latencies count from when a message was due. The result names the swarm, or the machine that it
shares with the server, when that and not the server was the limit.

Examples:
  swarm connect --url 127.0.0.1:7400 --data D --count 10000 --hold 30s --server-pid PID
  swarm connect --url 127.0.0.1:7400 --data D --count 1000000 --hold 10m --sources 127.0.1.1-127.0.1.80 \\
        --destinations 1 --expect 'lost==0' --expect 'p99<100ms'
  swarm connect --url 10.0.0.1:7400 --data D --count 100000 --sources 10.0.0.5-10.0.0.9 --html report.html
  swarm connect --url 10.0.0.1:7400 --data D --count 50000 --workers 10.0.0.6:9000,10.0.0.7:9000";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct ConnectArguments {
    /// Where the server listens: HOST:PORT. A large run goes to many addresses of 127.0.0.0/8, so the server must listen
    /// on 0.0.0.0.
    #[arg(long)]
    url: String,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    data: PathBuf,
    /// Connections.
    #[arg(long)]
    count: u32,
    /// Connections begun per second; as fast as the server answers when not given.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How long they are held once all are open, such as 30s or 10m.
    #[arg(long, value_parser = time, default_value = "10s")]
    hold: Duration,
    /// Messages a second between random pairs meanwhile; 0 for none.
    #[arg(long, value_parser = rate_or_none, default_value = "2000")]
    message_rate: f64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Threads of the swarm; more when a descriptor table holds too few connections.
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Addresses to spread the connections over; as many as keep each under half of the local ports when not given.
    #[arg(long)]
    destinations: Option<u32>,
    /// Addresses of this machine to connect from, such as 10.0.0.5,10.0.0.6 or 127.0.1.1-127.0.1.20; the kernel's choice
    /// when not given. Threads that share a port on 0.0.0.0 by the kernel's own rule get uneven parts from one source and
    /// many destinations, and even ones from many sources.
    #[arg(long)]
    sources: Option<Sources>,
    /// The server's process id, to report its memory and processor time.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Machines that share the run, each with a `swarm worker`: a:9000,b:9000. Each connects to --url as it sees it, with
    /// --threads threads, to --destinations, and from its own `swarm worker --sources` or else from --sources; this machine
    /// leads, and looks for the server's process.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    workers: Vec<String>,
    #[command(flatten)]
    report: ReportArguments,
}

pub(crate) fn run(arguments: &ConnectArguments) -> Result<Outcome, SwarmError> {
    let options = ConnectOptions {
        address: Target::parse(&arguments.url)?.address,
        count: arguments.count,
        threads: arguments.threads,
        destinations: arguments.destinations,
        sources: arguments.sources.clone().unwrap_or_default(),
        opens_per_s: arguments.rate,
        hold: arguments.hold,
        messages_per_s: arguments.message_rate,
        text_bytes: arguments.bytes,
        server_pid: arguments.server_pid,
    };
    let subject = Subject::new("connect", &arguments.url);
    if arguments.workers.is_empty() {
        let signer = Signer::of_data(&arguments.data)?;
        eprintln!("swarm: {}", Layout::new(arguments.count, arguments.threads)?);
        return report::watch(&arguments.report, subject, |observer| connect::run(&options, signer, observer));
    }
    let key = read_key(&arguments.data)?;
    eprintln!("swarm: {} connections on {} workers", arguments.count, arguments.workers.len());
    report::watch(&arguments.report, subject, |observer| {
        connect::run_on(&arguments.workers, &options, (&arguments.url, &key), observer)
    })
}

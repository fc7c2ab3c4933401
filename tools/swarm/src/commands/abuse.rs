//! `swarm abuse`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use switchyard_swarm::SwarmError;
use switchyard_swarm::abuse::{self, AbuseOptions, Doors, Kind};
use switchyard_swarm::target::Target;
use switchyard_swarm::time;
use switchyard_swarm::tokens::Signer;

use super::{print, rate};

#[derive(Args)]
pub(crate) struct AbuseArguments {
    /// Where the server listens: HOST:PORT. It must have rate limits: a configuration file that names them, with --dev.
    #[arg(long)]
    url: String,
    /// Where it speaks QUIC: HOST:PORT. Without it the kinds of abuse that need it are left out.
    #[arg(long)]
    quic: Option<SocketAddr>,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    data: PathBuf,
    /// The server's process id.
    #[arg(long)]
    server_pid: u32,
    /// The kinds of abuse, one after the other; all of them when none is named.
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// Pairs of well-behaved users.
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u32).range(1..))]
    pairs: u32,
    /// Messages a second of all pairs together.
    #[arg(long, value_parser = rate, default_value = "400")]
    rate: f64,
    /// How long each measurement takes, such as 5s; seconds when it is a plain number.
    #[arg(long, value_parser = time::parse_some, default_value = "5s")]
    duration: Duration,
}

pub(crate) fn run(arguments: AbuseArguments) -> Result<bool, SwarmError> {
    let AbuseArguments { url, quic, data, server_pid, kind, pairs, rate, duration } = arguments;
    if kind.contains(&Kind::Initials) && quic.is_none() {
        return Err(SwarmError::Arguments(
            "--kind initials needs --quic HOST:PORT, where the server speaks QUIC".to_owned(),
        ));
    }
    let all = Kind::ALL.into_iter().filter(|&kind| kind != Kind::Initials || quic.is_some());
    let kinds = if kind.is_empty() { all.collect() } else { kind };
    let doors = Doors { websocket: Target::parse(&url)?.address, quic };
    let options = AbuseOptions { doors, server_pid, kinds, pairs, rate, measured: duration };
    let report = abuse::run(&options, &Signer::of_data(&data)?)?;
    eprintln!("{}", report.table());
    print(&report);
    Ok(!report.any_faults())
}

//! What the runs of very many connections are asked alike.

use std::path::PathBuf;

use clap::{Args, value_parser};
use switchyard_swarm::limits::DESTINATIONS_MAX;
use switchyard_swarm::routes::Sources;

use super::over::Over;
use super::rate;

#[derive(Args)]
pub(super) struct Many {
    /// Where the server listens: HOST:PORT. A large run goes to many addresses of 127.0.0.0/8, so the server must listen
    /// on 0.0.0.0.
    #[arg(long)]
    pub(super) url: String,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    pub(super) data: PathBuf,
    /// Connections.
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    pub(super) count: u32,
    /// Connections begun per second until all are open for the first time; as fast as the server answers when not given.
    #[arg(long, value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Threads of the swarm; more when a descriptor table holds too few connections.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub(super) threads: u32,
    /// Addresses to spread the connections of a machine over; as many as keep each under half of the local ports when not given.
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(DESTINATIONS_MAX)))]
    pub(super) destinations: Option<u32>,
    /// Addresses of this machine to connect from, such as 10.0.0.5,10.0.0.6 or 127.0.1.1-127.0.1.20; the kernel's choice
    /// when not given. Threads that share a port on 0.0.0.0 by the kernel's own rule get uneven parts from one source and
    /// many destinations, and even ones from many sources.
    #[arg(long)]
    pub(super) sources: Option<Sources>,
    #[command(flatten)]
    pub(super) over: Over,
    /// The server's process id, to report its memory and processor time.
    #[arg(long)]
    pub(super) server_pid: Option<u32>,
}

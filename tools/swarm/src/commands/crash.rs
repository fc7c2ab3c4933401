//! `swarm crash`.

use std::path::PathBuf;

use clap::{Args, value_parser};
use switchyard_swarm::SwarmError;
use switchyard_swarm::crash::{self, CrashOptions};

use super::print;

#[derive(Args)]
pub(crate) struct CrashArguments {
    /// The `switchyard` binary.
    #[arg(long)]
    server: PathBuf,
    /// The data folder, which is emptied first; on a disk, not tmpfs.
    #[arg(long)]
    data: PathBuf,
    /// Kills.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Users, an even number.
    #[arg(long, default_value_t = 50, value_parser = in_pairs)]
    clients: u32,
    /// Messages of all users in one round.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(1..))]
    sends: u32,
}

pub(crate) fn run(arguments: CrashArguments) -> Result<bool, SwarmError> {
    let CrashArguments { server, data, rounds, clients, sends } = arguments;
    let report = crash::run(&CrashOptions { binary: server, data, rounds, clients, sends })?;
    print(&report);
    Ok(true)
}

/// A number of users of whom each has a partner.
fn in_pairs(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(users) if users > 0 && users.is_multiple_of(2) => Ok(users),
        Ok(_) => Err("users talk in pairs: it should be an even number, 2 at least".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

//! kill -9 in the middle of many sends, judged by what the clients saw.
//!
//! Clients talk in pairs, both ways; some users have a second device that only listens. In each round the server is
//! killed at a random point, restarted with another number of cores, and the clients connect again, repeat what was not
//! accepted and go on. Every device keeps a journal of what it saw, by sequence number; no server is asked what is true
//! until the end of the round. Then:
//!
//! - what a device saw is what the restarted server's history says, message for message (nobody saw anything that the
//!   server no longer knows, and no sequence number ever named two messages);
//! - every accepted message is in the journal of every device of both users;
//! - the history holds each send exactly once, without gaps.

mod device;
mod round;
mod verdict;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::SwarmError;
use crate::process;
use crate::server::{Server, ServerOptions, fresh_folder};
use crate::tokens::Signer;

use round::Round;

/// (gateway threads, router threads) of one start after the other.
const CORES: [(u16, u16); 5] = [(1, 1), (2, 2), (1, 3), (2, 1), (1, 2)];

/// What to do.
#[derive(Clone, Debug)]
pub struct CrashOptions {
    /// The `switchyard` binary.
    pub binary: PathBuf,
    /// The data folder, which is emptied first. On a disk, not tmpfs.
    pub data: PathBuf,
    /// Kills.
    pub rounds: u32,
    /// Users, an even number.
    pub clients: u32,
    /// Messages of all users in one round.
    pub sends: u32,
}

/// What was seen. A breach of what must hold is an error instead.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CrashReport {
    /// Kills.
    pub rounds: u32,
    /// Messages sent, accepted and found on every device.
    pub messages: u64,
    /// Of those, accepted before the kill of their round.
    pub accepted_before_kill: u64,
    /// Sends that were repeated because their answer was lost with the server.
    pub repeated: u64,
    /// Deliveries that a device already had.
    pub delivered_again: u64,
    /// Devices whose journals were compared.
    pub devices: usize,
    /// From the start of a server to `ready` after each kill, in milliseconds.
    pub restart_ms: Vec<u64>,
    /// (gateway threads, router threads) after each kill.
    pub cores: Vec<(u16, u16)>,
}

/// Runs all rounds.
///
/// # Errors
/// The first breach of what must hold, in words, or why the run could not be made.
pub fn run(options: &CrashOptions) -> Result<CrashReport, SwarmError> {
    process::raise_descriptor_limit();
    fresh_folder(&options.data)?;
    let mut starts = CORES.iter().copied().cycle();
    let mut start = |report: Option<&mut CrashReport>| {
        let cores = starts.next().expect("a cycle has no end");
        let (binary, data) = (options.binary.clone(), options.data.clone());
        let server =
            Server::start(&ServerOptions { binary, data, cores: Some(cores), rate_limits: false, quic: false })?;
        if let Some(report) = report {
            report.restart_ms.push(millis(server.start_took));
            report.cores.push(cores);
        }
        Ok::<Server, SwarmError>(server)
    };
    let mut report = CrashReport::default();
    let mut server = start(None)?;
    let signer = Signer::of_data(&options.data)?;
    let mut devices = device::all(options.clients, &signer);
    report.devices = devices.len();
    for number in 1..=options.rounds {
        let round = Round::new(number, options.clients, options.sends);
        let fail = |breach: String| SwarmError::Server(format!("round {number}: {breach}"));
        devices = work::until_kill(devices, &round, server.websocket).map_err(fail)?;
        server.kill();
        report.accepted_before_kill += devices.iter().map(|device| device.accepted_in(&round)).sum::<u64>();
        server = start(Some(&mut report))?;
        devices = work::until_complete(devices, &round, server.websocket).map_err(fail)?;
        verdict::check(&devices, &round, server.websocket).map_err(fail)?;
        report.rounds = number;
        report.messages += round.messages();
    }
    server.stop()?;
    report.repeated = devices.iter().map(|device| device.repeated).sum();
    report.delivered_again = devices.iter().map(|device| device.delivered_again).sum();
    Ok(report)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

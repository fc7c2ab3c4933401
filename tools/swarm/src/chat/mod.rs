//! Pairs of users that talk, with every message checked: each is accepted, arrives once, in order, and is receipted.
//!
//! A *routed message* is one Send, its Accepted, the Deliver, the recipient's Ack and the sender's Receipt; with
//! recipients offline it is the Send and its Accepted. Only what begins and ends while the run is measured is counted.

mod pair;
mod report;
mod work;

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::SwarmError;
use crate::process::{self, Usage, usage};
use crate::tokens::Signer;

use report::ThreadReport;
pub use report::{ChatReport, Faults};
use work::ChatWork;

/// How fast messages are sent.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Pace {
    /// Every pair has this many messages under way.
    Depth {
        /// How many.
        depth: u32,
        /// What ends one and lets the next be sent.
        until: Until,
    },
    /// So many messages a second by all pairs together, whatever comes back; latencies count from the time a message
    /// was due, so that a slow server cannot hide (coordinated omission).
    PerSecond(f64),
}

/// What lets a sender send its next message.
#[derive(Copy, Clone, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Until {
    /// Its Accepted: the send is answered, as a device's window of unanswered sends counts it.
    Accepted,
    /// The Receipt of a recipient who is connected: the whole way, one message after the other.
    Receipt,
}

/// When a run ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Length {
    /// After a warm-up and this time of measuring.
    Time {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        measured: Duration,
    },
    /// When each pair has sent so many messages, all measured.
    Messages(u64),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// The server.
    pub address: SocketAddr,
    /// Pairs, each of a sender and a recipient who know nobody else.
    pub pairs: u32,
    /// How fast.
    pub pace: Pace,
    /// How long.
    pub length: Length,
    /// Bytes of the text of a message, at least [`TEXT_BYTES_MIN`].
    pub text_bytes: usize,
    /// Whether recipients are connected.
    pub recipients_online: bool,
    /// Recipients acknowledge every so many messages.
    pub ack_every: u32,
    /// Threads that drive the sockets.
    pub threads: u32,
    /// The server's process, to report what it costs.
    pub server_pid: Option<u32>,
}

/// Bytes of a text that hold the message's number.
pub const TEXT_BYTES_MIN: usize = 16;

/// Runs it.
///
/// # Errors
/// When the run cannot be made. What the server did wrong stands in the report ([`ChatReport::faults`]).
pub fn run(options: &ChatOptions, signer: &Signer) -> Result<ChatReport, SwarmError> {
    process::raise_descriptor_limit();
    // Users nobody had before, so that every conversation begins at sequence number 1.
    let first_user = (process::random() >> 1) | (1 << 40);
    let threads = options.threads.clamp(1, options.pairs.max(1));
    let (connected, measured) =
        (Arc::new(Barrier::new(threads as usize + 1)), Arc::new(Barrier::new(threads as usize + 1)));
    let mut workers = Vec::new();
    for thread in 0..threads {
        let work = ChatWork::new(
            options,
            signer,
            first_user,
            (thread, threads),
            Arc::clone(&connected),
            Arc::clone(&measured),
        );
        workers.push(thread::spawn(move || work.run()));
    }
    connected.wait();
    let cost = |pid| usage(pid).unwrap_or_default();
    if let Length::Time { warm_up, .. } = options.length {
        thread::sleep(warm_up);
    }
    let (server_before, own_before, begun) = (options.server_pid.map(cost), cost(std::process::id()), Instant::now());
    if let Length::Time { measured, .. } = options.length {
        thread::sleep(measured);
    } else {
        measured.wait();
    }
    let (server_after, own_after, took) = (options.server_pid.map(cost), cost(std::process::id()), begun.elapsed());
    if let Length::Time { .. } = options.length {
        measured.wait();
    }
    let mut total = ThreadReport::default();
    for worker in workers {
        total.add(worker.join().map_err(|_| SwarmError::Server("a thread of the swarm panicked".to_owned()))??);
    }
    let between = |before: Usage, after: Usage| after.cpu.saturating_sub(before.cpu);
    Ok(ChatReport::new(
        options,
        total,
        took,
        server_before.zip(server_after).map(|(before, after)| (between(before, after), after.rss_bytes)),
        between(own_before, own_after),
    ))
}

//! Pairs of users that talk, with every message checked: each is accepted, arrives once, in order, and is receipted.
//!
//! A *routed message* is one Send, its Accepted, the Deliver, the recipient's Ack and the sender's Receipt; with
//! recipients offline it is the Send and its Accepted. A closed loop counts what comes back while the run is measured; an
//! open loop measures each message that was due in that time, from when it was due and however late it comes back.

mod course;
mod figures;
mod gate;
mod pair;
mod report;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::SwarmError;
use crate::limits::LOOK_PAUSE;
use crate::process::{self, Usage, usage};
use crate::sample::Observer;
use crate::stamp;
use crate::tokens::Signer;
use crate::transport::TransportOptions;
use crate::users;

use course::Course;
use gate::Gate;
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
#[derive(Clone, PartialEq, Debug)]
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
    /// Recipients acknowledge every so many messages, or as many as a sender has under way until a receipt.
    pub ack_every: u32,
    /// Threads that drive the sockets.
    pub threads: u32,
    /// What the connections are spoken over.
    pub transport: TransportOptions,
    /// The server's process, to report what it costs.
    pub server_pid: Option<u32>,
}

impl ChatOptions {
    /// A run on one thread, of pairs that are both connected and have one message of 100 bytes under way, each of them
    /// acknowledged: five seconds after one to warm up.
    #[must_use]
    pub fn new(address: SocketAddr, pairs: u32) -> Self {
        Self {
            address,
            pairs,
            pace: Pace::Depth { depth: 1, until: Until::Accepted },
            length: Length::Time { warm_up: Duration::from_secs(1), measured: Duration::from_secs(5) },
            text_bytes: 100,
            recipients_online: true,
            ack_every: 1,
            threads: 1,
            transport: TransportOptions::default(),
            server_pid: None,
        }
    }

    /// A thread without a pair would have nothing to do.
    fn threads_used(&self) -> u32 {
        self.threads.clamp(1, self.pairs.max(1))
    }
}

/// Bytes of a text that hold the message's number.
pub const TEXT_BYTES_MIN: usize = stamp::DIGITS;

/// Runs it, and tells `observer` each second how it stands, from the first connection to the last answer.
///
/// # Errors
/// When the run cannot be made. What the server did wrong stands in the report ([`ChatReport::faults`]).
pub fn run(options: &ChatOptions, signer: &Signer, observer: Observer<'_>) -> Result<ChatReport, SwarmError> {
    process::raise_descriptor_limit();
    let way = options.transport.open(options.address)?;
    let options = &ChatOptions { address: way.address, ..options.clone() };
    // Users nobody had before, so that every conversation begins at sequence number 1.
    let first_user = users::first_user();
    let threads = options.threads_used();
    let (connected, measured) = (Arc::new(Gate::new(threads)), Arc::new(Gate::new(threads)));
    let mut course = Course::begin(threads, options.server_pid, observer);
    let mut workers = Vec::new();
    for thread in 0..threads {
        let gates = (Arc::clone(&connected), Arc::clone(&measured));
        let line = (&way.transport, course.published(thread));
        let work = ChatWork::new(options, signer, first_user, (thread, threads), gates, line);
        let transport = way.transport.clone();
        workers.push(thread::spawn(move || work.run(&transport)));
    }
    // Before the last gate is open a thread ends only by a panic, and then it never comes to the gate.
    let panicked = || workers.iter().any(JoinHandle::is_finished);
    course.until_all_at(&connected, panicked);
    connected.open();
    let cost = |pid| usage(pid).unwrap_or_default();
    let costs = || (options.server_pid.map(cost), cost(std::process::id()), Instant::now());
    if let Length::Time { warm_up, .. } = options.length {
        course.until(Instant::now() + warm_up);
    }
    let (server_before, own_before, begun) = costs();
    if let Length::Time { measured, .. } = options.length {
        course.until(begun + measured);
    } else {
        course.until_all_at(&measured, panicked);
    }
    let (server_after, own_after, ended) = costs();
    measured.open();
    while !workers.iter().all(JoinHandle::is_finished) {
        course.until(Instant::now() + LOOK_PAUSE);
    }
    course.end();
    let mut total = ThreadReport::default();
    for worker in workers {
        total.add(worker.join().map_err(|_| SwarmError::Server("a thread of the swarm panicked".to_owned()))??);
    }
    let between = |before: Usage, after: Usage| after.cpu.saturating_sub(before.cpu);
    Ok(ChatReport::new(
        options,
        total,
        ended - begun,
        server_before.zip(server_after).map(|(before, after)| (between(before, after), after.rss_bytes)),
        between(own_before, own_after),
    ))
}

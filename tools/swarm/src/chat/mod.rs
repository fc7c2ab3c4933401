//! Pairs of users that talk, with every message checked: each is accepted, arrives once, in order, and is receipted.
//!
//! A *routed message* is one Send, its Accepted, the Deliver, the recipient's Ack and the sender's Receipt; with
//! recipients offline it is the Send and its Accepted. A closed loop counts what comes back while the run is measured; an
//! open loop measures each message that was due in that time, from when it was due and however late it comes back.

mod course;
mod figures;
mod gate;
mod pair;
mod part;
mod report;
mod shared;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::company::{Alone, Company, Point};
use crate::limits::LOOK_PAUSE;
use crate::merge::merge_all;
use crate::process;
use crate::reading::{Costs, Readings};
use crate::routes::Sources;
use crate::sample::Observer;
use crate::stamp;
use crate::tokens::Signer;
use crate::transport::TransportOptions;
use crate::users;

use course::Course;
use gate::Gates;
use part::{Found, Part};
pub use report::{ChatReport, Faults};
pub use shared::run_on;
use work::ChatWork;

/// How fast messages are sent.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
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
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
pub enum Until {
    /// Its Accepted: the send is answered, as a device's window of unanswered sends counts it.
    Accepted,
    /// The Receipt of a recipient who is connected: the whole way, one message after the other.
    Receipt,
}

/// When a run ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ChatOptions {
    /// The server.
    pub address: SocketAddr,
    /// Where the connections come from; wherever the kernel says when empty.
    pub sources: Sources,
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
    /// Threads that drive the sockets, on each machine.
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
            sources: Sources::default(),
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

    /// Connections of a pair.
    fn of_pair(&self) -> u32 {
        1 + u32::from(self.recipients_online)
    }

    /// A thread without a pair would have nothing to do.
    fn threads_used(&self) -> u32 {
        self.threads.clamp(1, self.pairs.max(1))
    }
}

/// Bytes of a text that hold the message's number.
pub const TEXT_BYTES_MIN: usize = stamp::DIGITS;

/// Runs it on this machine, and tells `observer` each second how it stands, from the first connection to the last answer.
///
/// # Errors
/// When the run cannot be made. What the server did wrong stands in the report ([`ChatReport::faults`]).
pub fn run(options: &ChatOptions, signer: &Signer, observer: Observer<'_>) -> Result<ChatReport, SwarmError> {
    // Users nobody had before, so that every conversation begins at sequence number 1.
    let users = (users::first_user(), signer);
    let (part, readings) = take_part(options, users, observer, Box::new(Alone::default()))?;
    Ok(ChatReport::new(options, 0, part, &readings))
}

/// Does this machine's part of a run, in step with the others when there are any.
fn take_part(
    options: &ChatOptions,
    users: (u64, &Signer),
    observer: Observer<'_>,
    company: Box<dyn Company>,
) -> Result<(Part, Readings), SwarmError> {
    process::raise_descriptor_limit();
    let way = options.transport.open(options.address)?;
    let threads = options.threads_used();
    let connections = options.pairs.saturating_mul(options.of_pair());
    let routes = Arc::new(way.routes(connections, Some(1), &options.sources)?);
    let gates = Arc::new(Gates::new(threads));
    let mut course = Course::begin((threads, Arc::clone(&gates)), options.server_pid, observer, company);
    let mut crew = Crew { gates: Arc::clone(&gates), handles: Vec::new() };
    for thread in 0..threads {
        let line = (&way.transport, course.published(thread));
        let shared = (Arc::clone(&routes), Arc::clone(&gates));
        let work = ChatWork::new(options, users, (thread, threads), shared, line);
        let transport = way.transport.clone();
        crew.handles.push(thread::spawn(move || work.run(&transport)));
    }
    let conducted = conduct(options.length, &mut course, &crew);
    if conducted.is_err() {
        gates.break_off();
    }
    // Why a thread has failed says more than that one has.
    let found = crew.join()?;
    conducted?;
    let readings = course.end();
    let costs = readings.between(Point::Due, Point::Held);
    let busiest_thread_percent = costs.swarm_cpu_percent / f64::from(threads);
    Ok((Part { threads, found, costs: Costs { busiest_thread_percent, ..costs } }, readings))
}

/// Brings the threads from gate to gate, in step with the other machines.
fn conduct(length: Length, course: &mut Course<'_>, crew: &Crew) -> Result<(), SwarmError> {
    // Before the last gate is open a thread ends only by a panic, and then it never comes to the gate.
    course.until_all_at(|gates| &gates.connected, || crew.has_lost_one())?;
    course.meet(Point::Opened)?;
    crew.gates.connected.open();
    if let Length::Time { warm_up, .. } = length {
        course.until(Instant::now() + warm_up)?;
    }
    let begun = course.meet(Point::Due)?;
    if let Length::Time { measured, .. } = length {
        course.until(begun + measured)?;
    } else {
        course.until_all_at(|gates| &gates.measured, || crew.has_lost_one())?;
    }
    course.note(Point::Held);
    crew.gates.measured.open();
    course.meet(Point::Held)?;
    while !crew.handles.iter().all(JoinHandle::is_finished) {
        course.until(Instant::now() + LOOK_PAUSE)?;
    }
    Ok(())
}

/// The threads of a run. They end early when this is dropped.
struct Crew {
    gates: Arc<Gates>,
    handles: Vec<JoinHandle<Result<Found, SwarmError>>>,
}

impl Crew {
    /// Whether a thread has ended.
    fn has_lost_one(&self) -> bool {
        self.handles.iter().any(JoinHandle::is_finished)
    }

    /// What the threads found, when all have ended.
    fn join(mut self) -> Result<Found, SwarmError> {
        let panicked = |_| SwarmError::Server("a thread of the swarm panicked".to_owned());
        let found = self.handles.drain(..).map(|handle| handle.join().map_err(panicked)?).collect::<Vec<_>>();
        let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(merge_all(found).unwrap_or_default())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.gates.break_off();
    }
}

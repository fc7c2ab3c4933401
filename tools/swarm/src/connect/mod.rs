//! Very many connections to one server: opened, authenticated, held alive, with messages between random pairs, and asked at
//! the end whether each is still there.
//!
//! The run has stages. All connections are opened; the server's memory is read when it has calmed down; messages flow at
//! the asked rate for as long as the connections are held; what is still on its way gets time to arrive; at last each
//! connection is pinged, and only one that answers counts as alive. Several machines may share a run ([`run_on`]).

mod figures;
mod part;
mod report;
mod server_side;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::company::{Alone, Company, Point};
use crate::conduct::{Conductor, Progress};
use crate::crew::{Layout, Stage};
use crate::fleet::{Fleet, Left, Plan, TalkPlan};
use crate::limits::{CALM, OPENING_MAX, PATIENCE, TURN_PAUSE_MAX};
use crate::random::random;
use crate::reading::Readings;
use crate::routes::Sources;
use crate::sample::Observer;
use crate::tokens::Signer;
use crate::transport::TransportOptions;
use crate::users;

use part::Part;
pub use report::{ConnectReport, Course, MemoryReport, MessagesReport};
use server_side::{Noting, ServerSide};
pub use shared::run_on;

/// What to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConnectOptions {
    /// The server.
    pub address: SocketAddr,
    /// Connections.
    pub count: u32,
    /// Threads of the swarm on each machine; more when a descriptor table holds too few connections.
    pub threads: u32,
    /// Addresses to spread them over; as many as it takes when missing.
    pub destinations: Option<u32>,
    /// Where the connections come from; wherever the kernel says when empty.
    pub sources: Sources,
    /// Connections begun per second; as fast as they are answered when missing.
    pub opens_per_s: Option<f64>,
    /// How long they are held once all are open.
    pub hold: Duration,
    /// Messages a second meanwhile, of all pairs together; 0 for none.
    pub messages_per_s: f64,
    /// Bytes of a message's text; more when it is too short for a number and a time.
    pub text_bytes: usize,
    /// What the connections are spoken over.
    pub transport: TransportOptions,
    /// The server's process, to report what it costs.
    pub server_pid: Option<u32>,
}

impl ConnectOptions {
    /// A run on one thread, from and to as many addresses as the kernel and the number of connections make necessary, held
    /// for ten seconds with 2,000 messages of 100 bytes a second.
    #[must_use]
    pub fn new(address: SocketAddr, count: u32) -> Self {
        Self {
            address,
            count,
            threads: 1,
            destinations: None,
            sources: Sources::default(),
            opens_per_s: None,
            hold: Duration::from_secs(10),
            messages_per_s: 2_000.0,
            text_bytes: 100,
            transport: TransportOptions::default(),
            server_pid: None,
        }
    }
}

/// Runs it on this machine. The observer is told once a second.
///
/// # Errors
/// When the run cannot be made. What the server did wrong is in the report.
pub fn run(options: &ConnectOptions, signer: Signer, observer: Observer<'_>) -> Result<ConnectReport, SwarmError> {
    let (users, company) = ((users::first_user(), signer), Box::new(Alone::default()));
    let mut noting = Noting::new(options.server_pid);
    let (part, readings) = take_part(options, users, observer, company, &mut noting)?;
    Ok(ConnectReport::new(options, 0, part, ServerSide::new(&readings, noting.course)))
}

/// Does this machine's part of a run, in step with the others when there are any.
fn take_part(
    options: &ConnectOptions,
    (first_user, signer): (u64, Signer),
    observer: Observer<'_>,
    company: Box<dyn Company>,
    noting: &mut Noting,
) -> Result<(Part, Readings), SwarmError> {
    let layout = Layout::new(options.count, options.threads)?;
    let way = options.transport.open(options.address)?;
    let routes = way.routes(layout.count, options.destinations, &options.sources)?;
    let talk = (options.messages_per_s > 0.0).then(|| TalkPlan {
        per_second: options.messages_per_s,
        text_bytes: options.text_bytes,
        seed: random(),
    });
    let number_of_destinations = routes.destinations();
    let plan = Arc::new(Plan {
        first_user,
        routes,
        transport: way.transport.clone(),
        signer,
        opens_per_s: options.opens_per_s,
        opening_max: OPENING_MAX,
        returns: false,
        talk,
    });
    let make = move |seat| Fleet::new(seat, Arc::clone(&plan));
    let mut conductor = Conductor::begin((layout, &way.transport), make, options.server_pid, observer, company)?;
    let all_open = open(&mut conductor, u64::from(options.count), noting)?;
    let all_open = conductor.meet(Point::Opened, all_open)?;
    conductor.pass(CALM)?;
    let mut delivered = 0;
    if conductor.meet(Point::Calm, all_open)? {
        conductor.give(Stage::Talk);
        // The first message is due when every thread has heard of it.
        conductor.pass(TURN_PAUSE_MAX)?;
        conductor.meet(Point::Due, true)?;
        let delivered_before = conductor.totals().delivered;
        conductor.pass(options.hold)?;
        // What comes later is of the hold, but neither its time nor its processor time is.
        delivered = conductor.totals().delivered - delivered_before;
        conductor.note(Point::Held);
        conductor.settle()?;
        conductor.meet(Point::Held, true)?;
        conductor.wait(PATIENCE, |totals| Progress {
            is_done: totals.delivered + totals.refused_messages >= totals.sent && totals.accepted >= totals.delivered,
            at: totals.delivered + totals.accepted,
        })?;
    }
    conductor.meet(Point::Arrived, true)?;
    conductor.ask()?;
    // A machine that closed its connections earlier would spare the server the last of the others'.
    conductor.meet(Point::Closing, true)?;
    let totals = conductor.totals();
    let (left, finish) = conductor.stop()?;
    let readings = finish.readings.clone();
    let part = Part::new((layout.threads, number_of_destinations), (totals, delivered), &left, finish);
    Ok((part, readings))
}

/// Waits until everybody is open or nothing moves any more; whether everybody is.
fn open(conductor: &mut Conductor<'_, Left>, count: u64, noting: &mut Noting) -> Result<bool, SwarmError> {
    conductor.wait(PATIENCE, |totals| {
        noting.look(totals.open);
        Progress { is_done: totals.open + totals.given_up + totals.dropped >= count, at: totals.opened }
    })?;
    let open = conductor.totals().open;
    noting.end(open);
    Ok(open == count)
}

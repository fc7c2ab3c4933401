//! Reconnect storms: very many connections are cut off at once, as by a power cut or a network that comes back, and all
//! return as clients do, after full-jitter back-off and no earlier than the server asks for.

mod figures;
mod part;
mod report;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::company::{Alone, Company, Point};
use crate::conduct::{Conductor, Progress, Waited};
use crate::crew::{Layout, Stage};
use crate::fleet::{Fleet, Left, Plan};
use crate::limits::{CALM, OPENING_MAX, PATIENCE};
use crate::reading::{Costs, Readings};
use crate::routes::Sources;
use crate::sample::Observer;
use crate::tally::Reasons;
use crate::tokens::Signer;
use crate::transport::TransportOptions;
use crate::users;

use part::{Part, Round};
pub use report::{RoundReport, StormReport};
pub use shared::run_on;

/// What to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StormOptions {
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
    /// Connections begun per second before the first storm; as fast as they are answered when missing.
    pub opens_per_s: Option<f64>,
    /// Storms, one after the other.
    pub rounds: u32,
    /// What the connections are spoken over.
    pub transport: TransportOptions,
    /// The server's process, to report what it costs.
    pub server_pid: Option<u32>,
}

/// Runs it on this machine. The observer is told once a second; latencies are from the cut until a connection was back.
///
/// # Errors
/// When the run cannot be made. What the server did wrong is in the report.
pub fn run(options: &StormOptions, signer: Signer, observer: Observer<'_>) -> Result<StormReport, SwarmError> {
    let (users, company) = ((users::first_user(), signer), Box::new(Alone::default()));
    let (part, readings) = take_part(options, users, observer, company)?;
    Ok(StormReport::new(options, 0, part, &readings))
}

/// Does this machine's part of a run, in step with the others when there are any.
fn take_part(
    options: &StormOptions,
    (first_user, signer): (u64, Signer),
    observer: Observer<'_>,
    company: Box<dyn Company>,
) -> Result<(Part, Readings), SwarmError> {
    let layout = Layout::new(options.count, options.threads)?;
    let way = options.transport.open(options.address)?;
    let routes = way.routes(layout.count, options.destinations, &options.sources)?;
    let plan = Arc::new(Plan {
        first_user,
        routes,
        transport: way.transport.clone(),
        signer,
        opens_per_s: options.opens_per_s,
        opening_max: OPENING_MAX,
        returns: true,
        talk: None,
    });
    let make = move |seat| Fleet::new(seat, Arc::clone(&plan));
    let mut conductor = Conductor::begin((layout, &way.transport), make, options.server_pid, observer, company)?;
    let all_here = all_open(&mut conductor, layout.count)?;
    let opened = conductor.totals().open;
    let mut whole = conductor.meet(Point::Opened, all_here)?;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        if !whole {
            break;
        }
        conductor.pass(CALM)?;
        let seen = storm(&mut conductor, layout, round)?;
        whole = conductor.meet(Point::Back(round), seen.whole)?;
        rounds.push(seen);
    }
    conductor.ask()?;
    // A machine that closed its connections earlier would spare the server the last of the others'.
    conductor.meet(Point::Closing, true)?;
    let totals = conductor.totals();
    let (_, finish) = conductor.stop()?;
    for (number, round) in (1..).zip(&mut rounds) {
        round.costs = finish.readings.between(Point::Cut(number), Point::Back(number));
    }
    Ok((Part { threads: layout.threads, opened, totals, rounds, reasons: finish.reasons }, finish.readings))
}

/// Cuts everybody off, when that is to be on every machine, and waits until all are back. What it cost is known later.
fn storm(conductor: &mut Conductor<'_, Left>, layout: Layout, round: u32) -> Result<Round, SwarmError> {
    let Layout { count, threads, .. } = layout;
    conductor.meet(Point::Cut(round), true)?;
    let (totals, reasons) = (conductor.totals(), conductor.reasons());
    // What was measured so far is of other rounds.
    conductor.take_latency();
    conductor.give(Stage::Storm(round));
    // The threads hear of it within one pause of theirs; until then everybody still looks open.
    let cuts = u64::from(threads) * u64::from(round);
    conductor.wait(PATIENCE, |now| Progress { is_done: now.cuts == cuts, at: now.cuts })?;
    let whole = all_open(conductor, count)?;
    conductor.note(Point::Back(round));
    let (now, latency) = (conductor.totals(), conductor.take_latency());
    let mut met = Reasons::new();
    for (reason, times) in conductor.reasons() {
        let before = reasons.get(&reason).copied().unwrap_or_default();
        if times > before {
            met.insert(reason, times - before);
        }
    }
    Ok(Round {
        back: now.open,
        whole,
        latency,
        attempts: now.attempts - totals.attempts,
        failed_attempts: now.failed_attempts - totals.failed_attempts,
        refused: now.refused - totals.refused,
        dropped: now.dropped - totals.dropped,
        reasons: met,
        costs: Costs::default(),
    })
}

/// Waits until everybody is open or nothing moves any more; whether everybody is.
fn all_open(conductor: &mut Conductor<'_, Left>, count: u32) -> Result<bool, SwarmError> {
    let count = u64::from(count);
    let waited = conductor
        .wait(PATIENCE, |totals| Progress { is_done: totals.open + totals.given_up >= count, at: totals.opened })?;
    Ok(waited == Waited::Done && conductor.totals().open == count)
}

//! Reconnect storms: very many connections are cut off at once, as by a power cut or a network that comes back, and all
//! return as clients do, after full-jitter back-off and no earlier than the server asks for.

mod figures;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::SwarmError;
use crate::conduct::{Conductor, Progress, Waited};
use crate::crew::{Crew, Layout, Stage};
use crate::fleet::{Fleet, Left, Plan};
use crate::limits::{CALM, OPENING_MAX, PATIENCE};
use crate::routes::Sources;
use crate::sample::Observer;
use crate::tally::Reasons;
use crate::tokens::Signer;
use crate::transport::TransportOptions;
use crate::users;

pub use report::{RoundReport, StormReport};

/// What to do.
#[derive(Clone, Debug)]
pub struct StormOptions {
    /// The server.
    pub address: SocketAddr,
    /// How the connections are divided over threads.
    pub layout: Layout,
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

/// Runs it. The observer is told once a second; latencies are from the cut until a connection was back.
///
/// # Errors
/// When the run cannot be made. What the server did wrong is in the report.
pub fn run(options: &StormOptions, signer: Signer, observer: Observer<'_>) -> Result<StormReport, SwarmError> {
    let layout = options.layout;
    let way = options.transport.open(options.address)?;
    let routes = way.routes(layout.count, options.destinations, &options.sources)?;
    let plan = Arc::new(Plan {
        first_user: users::first_user(),
        routes,
        transport: way.transport.clone(),
        signer,
        opens_per_s: options.opens_per_s,
        opening_max: OPENING_MAX,
        returns: true,
        talk: None,
    });
    let crew = Crew::start(layout, &way.transport, move |seat| Fleet::new(seat, Arc::clone(&plan)))?;
    let mut conductor = Conductor::new(crew, options.server_pid, observer);
    let mut whole = all_open(&mut conductor, layout.count)?;
    let opened = conductor.totals().open;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        if whole != Waited::Done {
            break;
        }
        conductor.pass(CALM)?;
        rounds.push(storm(&mut conductor, layout, round)?);
        whole = if rounds.last().is_some_and(|round| round.seconds.is_some()) { Waited::Done } else { Waited::Stuck };
    }
    conductor.ask()?;
    let (totals, reading) = (conductor.totals(), conductor.reading());
    let (_, finish) = conductor.stop()?;
    Ok(StormReport {
        count: layout.count,
        threads: layout.threads,
        opened,
        alive: totals.alive,
        dropped: totals.dropped,
        given_up: totals.given_up,
        rounds,
        server_rss_bytes: reading.server.map(|usage| usage.rss_bytes),
        reasons: finish.reasons,
    })
}

/// Cuts everybody off and waits until all are back.
fn storm(conductor: &mut Conductor<'_, Left>, layout: Layout, round: u32) -> Result<RoundReport, SwarmError> {
    let Layout { count, threads, .. } = layout;
    let (before, totals, reasons) = (conductor.reading(), conductor.totals(), conductor.reasons());
    // What was measured so far is of other rounds.
    conductor.take_latency();
    conductor.give(Stage::Storm(round));
    // The threads hear of it within one pause of theirs; until then everybody still looks open.
    let cuts = u64::from(threads) * u64::from(round);
    conductor.wait(PATIENCE, |now| Progress { is_done: now.cuts == cuts, at: now.cuts })?;
    let waited = all_open(conductor, count)?;
    let (now, costs) = (conductor.totals(), conductor.reading().since(&before));
    let latency = conductor.take_latency();
    let mut met = Reasons::new();
    for (reason, times) in conductor.reasons() {
        let before = reasons.get(&reason).copied().unwrap_or_default();
        if times > before {
            met.insert(reason, times - before);
        }
    }
    Ok(RoundReport {
        round,
        back: now.open,
        seconds: (waited == Waited::Done).then_some(costs.seconds),
        back_after: latency.percentiles(),
        attempts: now.attempts - totals.attempts,
        failed_attempts: now.failed_attempts - totals.failed_attempts,
        refused: now.refused - totals.refused,
        dropped: now.dropped - totals.dropped,
        reasons: met,
        bottleneck: costs.bottleneck(&Default::default()),
        costs,
    })
}

/// Waits until everybody is open or nothing moves any more.
fn all_open(conductor: &mut Conductor<'_, Left>, count: u32) -> Result<Waited, SwarmError> {
    let count = u64::from(count);
    let waited = conductor
        .wait(PATIENCE, |totals| Progress { is_done: totals.open + totals.given_up >= count, at: totals.opened })?;
    Ok(if conductor.totals().open == count { waited } else { Waited::Stuck })
}

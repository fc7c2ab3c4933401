//! Plain WebSocket echo, against `/echo` or any other server: messages a second, latency and what the server pays for it.
//!
//! The loop is closed (each connection has so many messages under way) or open (so many messages a second, whatever comes
//! back). A message is measured when it was due after the warm-up, and its latency counts from then, however late it
//! comes back.

mod part;
mod report;
mod shared;
mod work;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::company::{Alone, Company, Point};
use crate::conduct::{Conductor, Finish, Progress};
use crate::crew::{Layout, Stage};
use crate::limits::{ECHO_PATIENCE, PATIENCE, TURN_PAUSE_MAX};
use crate::reading::Readings;
use crate::routes::{Routes, Sources};
use crate::sample::Observer;
use crate::tally::said;
use crate::target::Target;
use crate::transport::Transport;

use part::Part;
pub use report::EchoReport;
pub use shared::run_on;
use work::EchoWork;

/// How fast messages are sent.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum EchoPace {
    /// Every connection has this many under way.
    Depth(u32),
    /// So many a second by all connections together.
    PerSecond(f64),
}

/// What to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EchoOptions {
    /// The server, and what to ask it for.
    pub target: Target,
    /// Where the connections come from; wherever the kernel says when empty.
    pub sources: Sources,
    /// Connections.
    pub connections: u32,
    /// Threads of the swarm on each machine; more when a descriptor table holds too few connections.
    pub threads: u32,
    /// How fast.
    pub pace: EchoPace,
    /// Bytes of a message.
    pub bytes: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
    /// The server's process, to report what it costs.
    pub server_pid: Option<u32>,
}

/// Runs it on this machine. The observer is told once a second.
///
/// # Errors
/// When not every connection can be opened. What the server did wrong afterwards is in the report.
pub fn run(options: &EchoOptions, observer: Observer<'_>) -> Result<EchoReport, SwarmError> {
    let (part, readings) = take_part(options, observer, Box::new(Alone::default()))?;
    Ok(EchoReport::new(options, 0, part, &readings))
}

/// Does this machine's part of a run, in step with the others when there are any.
fn take_part(
    options: &EchoOptions,
    observer: Observer<'_>,
    company: Box<dyn Company>,
) -> Result<(Part, Readings), SwarmError> {
    let layout = Layout::new(options.connections, options.threads)?;
    let routes = Arc::new(Routes::new(options.target.address, layout.count, None, &options.sources)?);
    let (shared, server_pid) = (Arc::new(options.clone()), options.server_pid);
    let make = move |seat| EchoWork::new(seat, Arc::clone(&shared), Arc::clone(&routes));
    let mut conductor = Conductor::begin((layout, &Transport::Ws), make, server_pid, observer, company)?;
    let count = u64::from(layout.count);
    conductor.wait(PATIENCE, |totals| Progress {
        is_done: totals.open + totals.given_up + totals.dropped >= count,
        at: totals.open,
    })?;
    let open = conductor.totals().open;
    if open < count {
        let why = said(&conductor.reasons());
        return Err(SwarmError::Server(format!("only {open} of {count} connections were opened ({why})")));
    }
    conductor.meet(Point::Opened, true)?;
    conductor.give(Stage::Talk);
    // The first message of an open loop is due when every thread has heard of it.
    conductor.pass(TURN_PAUSE_MAX + options.warm_up)?;
    conductor.meet(Point::Due, true)?;
    conductor.give(Stage::Measure);
    let delivered_before = conductor.totals().delivered;
    conductor.pass(options.measured)?;
    conductor.note(Point::Held);
    let messages = conductor.totals().delivered - delivered_before;
    conductor.settle()?;
    conductor.meet(Point::Held, true)?;
    conductor.wait(ECHO_PATIENCE, |totals| Progress {
        is_done: totals.delivered + totals.cut_off >= totals.sent,
        at: totals.delivered,
    })?;
    conductor.meet(Point::Closing, true)?;
    let totals = conductor.totals();
    let (_, Finish { reasons, latency, lateness, readings }) = conductor.stop()?;
    let costs = readings.between(Point::Due, Point::Held);
    Ok((Part { threads: layout.threads, totals, messages, latency, lateness, reasons, costs }, readings))
}

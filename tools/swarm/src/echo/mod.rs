//! Plain WebSocket echo, against `/echo` or any other server: messages a second, latency and what the server pays for it.
//!
//! The loop is closed (each connection has so many messages under way) or open (so many messages a second, whatever comes
//! back). A message is measured when it was due after the warm-up, and its latency counts from then, however late it
//! comes back.

mod report;
mod work;

use std::sync::Arc;
use std::time::Duration;

use crate::SwarmError;
use crate::conduct::{Conductor, Progress};
use crate::crew::{Crew, Layout, Stage};
use crate::limits::{ECHO_PATIENCE, PATIENCE, TURN_PAUSE_MAX};
use crate::routes::{Routes, Sources};
use crate::sample::Observer;
use crate::tally::said;
use crate::target::Target;
use crate::transport::Transport;

pub use report::EchoReport;
use work::EchoWork;

/// How fast messages are sent.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum EchoPace {
    /// Every connection has this many under way.
    Depth(u32),
    /// So many a second by all connections together.
    PerSecond(f64),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct EchoOptions {
    /// The server, and what to ask it for.
    pub target: Target,
    /// Where the connections come from; wherever the kernel says when empty.
    pub sources: Sources,
    /// How the connections are divided over threads.
    pub layout: Layout,
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

/// Runs it. The observer is told once a second.
///
/// # Errors
/// When not every connection can be opened. What the server did wrong afterwards is in the report.
pub fn run(options: &EchoOptions, observer: Observer<'_>) -> Result<EchoReport, SwarmError> {
    let layout = options.layout;
    let routes = Arc::new(Routes::new(options.target.address, layout.count, None, &options.sources)?);
    let (shared, server_pid) = (Arc::new(options.clone()), options.server_pid);
    let crew =
        Crew::start(layout, &Transport::Ws, move |seat| EchoWork::new(seat, Arc::clone(&shared), Arc::clone(&routes)))?;
    let mut conductor = Conductor::new(crew, server_pid, observer);
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
    conductor.give(Stage::Talk);
    // The first message of an open loop is due when every thread has heard of it.
    conductor.pass(TURN_PAUSE_MAX + options.warm_up)?;
    conductor.give(Stage::Measure);
    let (before, totals_before) = (conductor.reading(), conductor.totals());
    conductor.pass(options.measured)?;
    let (after, totals_after) = (conductor.reading(), conductor.totals());
    conductor.settle()?;
    conductor.wait(ECHO_PATIENCE, |totals| Progress {
        is_done: totals.delivered + totals.cut_off >= totals.sent,
        at: totals.delivered,
    })?;
    let totals = conductor.totals();
    let (_, finish) = conductor.stop()?;
    let messages = totals_after.delivered - totals_before.delivered;
    Ok(EchoReport::new(options, messages, &totals, &finish, (&before, &after)))
}

//! Very many connections to one server: opened, authenticated, held alive, with messages between random pairs, and asked at
//! the end whether each is still there.
//!
//! The run has stages. All connections are opened; the server's memory is read when it has calmed down; messages flow at
//! the asked rate for as long as the connections are held; what is still on its way gets time to arrive; at last each
//! connection is pinged, and only one that answers counts as alive.

mod figures;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::SwarmError;
use crate::conduct::{Conductor, Progress, Waited};
use crate::crew::{Crew, Layout, Stage};
use crate::fleet::{Fleet, Left, Plan, TEXT_BYTES_MIN, TalkPlan};
use crate::limits::{CALM, OPENING_MAX, PATIENCE};
use crate::process;
use crate::reading::Reading;
use crate::routes::{Routes, Sources};
use crate::sample::Observer;
use crate::tokens::Signer;

use report::Gathered;
pub use report::{ConnectReport, Course, MemoryReport, MessagesReport};

/// What to do.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server.
    pub address: SocketAddr,
    /// How the connections are divided over threads.
    pub layout: Layout,
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
    /// Bytes of a message's text, at least [`ConnectOptions::TEXT_BYTES_MIN`].
    pub text_bytes: usize,
    /// The server's process, to report what it costs.
    pub server_pid: Option<u32>,
}

impl ConnectOptions {
    /// Bytes of a text that hold a message's number and time.
    pub const TEXT_BYTES_MIN: usize = TEXT_BYTES_MIN;
}

/// Numbers of connections at which the server's memory is noted while they are being opened.
const COURSE: [u64; 10] = [1_000, 5_000, 10_000, 15_000, 50_000, 100_000, 200_000, 300_000, 500_000, 1_000_000];

/// Runs it. The observer is told once a second.
///
/// # Errors
/// When the run cannot be made. What the server did wrong is in the report.
pub fn run(options: &ConnectOptions, signer: Signer, observer: Observer<'_>) -> Result<ConnectReport, SwarmError> {
    let layout = options.layout;
    let routes = Routes::new(options.address, layout.count, options.destinations, &options.sources)?;
    let talk = (options.messages_per_s > 0.0).then(|| TalkPlan {
        per_second: options.messages_per_s,
        text_bytes: options.text_bytes,
        seed: process::random(),
    });
    let number_of_destinations = routes.destinations();
    let plan = Arc::new(Plan {
        first_user: process::first_user(),
        routes,
        signer,
        opens_per_s: options.opens_per_s,
        opening_max: OPENING_MAX,
        returns: false,
        talk,
    });
    let before = Reading::take(options.server_pid, Vec::new());
    let crew = Crew::start(layout, move |seat| Fleet::new(seat, Arc::clone(&plan)))?;
    let mut conductor = Conductor::new(crew, options.server_pid, observer);
    let (all_open, course) = open(&mut conductor, layout.count)?;
    let opened = conductor.reading();
    conductor.pass(CALM)?;
    let calm = conductor.reading();
    if all_open {
        conductor.give(Stage::Talk);
        conductor.pass(options.hold)?;
        conductor.settle()?;
        conductor.wait(PATIENCE, |totals| Progress {
            is_done: totals.delivered + totals.refused_messages >= totals.sent && totals.accepted >= totals.delivered,
            at: totals.delivered + totals.accepted,
        })?;
    }
    let held = conductor.reading();
    conductor.give(Stage::Ask);
    let open_now = conductor.totals().open;
    conductor
        .wait(PATIENCE, |totals| Progress { is_done: totals.alive >= open_now.min(totals.open), at: totals.alive })?;
    let totals = conductor.totals();
    let (left, finish) = conductor.stop()?;
    let readings = [before, opened, calm, held];
    Ok(ConnectReport::new(options, &Gathered { totals, left, finish, readings, course, number_of_destinations }))
}

/// Waits until everybody is open or nothing moves any more.
fn open(conductor: &mut Conductor<'_, Left>, count: u32) -> Result<(bool, Vec<Course>), SwarmError> {
    let mut course: Vec<Course> = Vec::new();
    let count = u64::from(count);
    let mut noted = 0;
    loop {
        let next = COURSE.get(noted).copied().filter(|&next| next < count).unwrap_or(count);
        let waited = conductor.wait(PATIENCE, |totals| Progress {
            is_done: totals.open >= next || totals.open + totals.given_up + totals.dropped >= count,
            at: totals.opened,
        })?;
        let open = conductor.totals().open;
        let reading = conductor.reading();
        course.extend(reading.server.map(|server| Course { open, rss_bytes: server.rss_bytes }));
        noted += 1;
        if waited == Waited::Stuck || open < next || next == count {
            return Ok((open == count, course));
        }
    }
}

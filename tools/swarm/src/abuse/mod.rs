//! What well-behaved clients notice while others abuse the server: pairs talk at a modest rate, in peace and under each kind of
//! abuse by turns, in one run.
//!
//! The abuse comes from addresses of its own (127.1.x.y), as it would from elsewhere. Abusers have processors of their own
//! there, which the server does not lose to them: here they run when nobody else wants one (`SCHED_IDLE`), and sign their
//! tokens beforehand. What the kernel does for them still shares the machine, so what is measured is an upper bound.

mod flood;
mod initials;
mod kinds;
mod unread;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::SwarmError;
use crate::chat::{self, ChatOptions, ChatReport, Length, Pace};
use crate::process::{self, usage};
use crate::tokens::Signer;

pub use kinds::{Doors, Kind};

/// Abuse goes on for so long before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Clone, Debug)]
pub struct AbuseOptions {
    /// The server, which must have rate limits.
    pub doors: Doors,
    /// Its process.
    pub server_pid: u32,
    /// The kinds of abuse, each measured by itself.
    pub kinds: Vec<Kind>,
    /// Pairs of well-behaved users.
    pub pairs: u32,
    /// Messages a second of all pairs together.
    pub rate: f64,
    /// How long each measurement takes.
    pub measured: Duration,
}

/// What one measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What kind of abuse there was; none in peace.
    pub kind: Option<Kind>,
    /// From Send to Accepted, median.
    pub accepted_p50_us: u64,
    /// From Send to Accepted.
    pub accepted_p99_us: u64,
    /// From Send to Deliver.
    pub delivered_p99_us: u64,
    /// How much worse `accepted_p99_us` is than the median of those in peace.
    pub times_quiet: f64,
    /// What the abusers did: connections, frames or bytes, as the kind says.
    pub abused: u64,
    /// How much more memory the server had at the end than before.
    pub server_growth_bytes: i64,
    /// What went wrong for the well-behaved.
    pub faults: chat::Faults,
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct AbuseReport {
    /// Each kind, in peace before it and after the last.
    pub measured: Vec<Measured>,
}

impl AbuseReport {
    /// Whether anything went wrong for the well-behaved.
    #[must_use]
    pub fn any_faults(&self) -> bool {
        self.measured.iter().any(|measured| measured.faults.any())
    }

    /// The figures as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table =
            String::from("| abuse | accepted p50 / p99 ms | delivered p99 ms | × quiet | abused | growth MiB |\n");
        table.push_str("|---|---|---|---|---|---|\n");
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let millis = |us: u64| us as f64 / 1e3;
        for one in &self.measured {
            let kind = one.kind.map_or("none", Kind::name);
            table.push_str(&format!(
                "| {kind} | {:.1} / {:.1} | {:.1} | {:.1} | {} | {} |\n",
                millis(one.accepted_p50_us),
                millis(one.accepted_p99_us),
                millis(one.delivered_p99_us),
                one.times_quiet,
                one.abused,
                one.server_growth_bytes / (1 << 20),
            ));
        }
        table
    }
}

/// Runs it.
///
/// # Errors
/// When the run cannot be made. What the well-behaved met stands in the report.
pub fn run(options: &AbuseOptions, signer: &Signer) -> Result<AbuseReport, SwarmError> {
    process::raise_descriptor_limit();
    let mut measured = Vec::new();
    for &kind in &options.kinds {
        measured.push(measure(options, signer, None)?);
        measured.push(measure(options, signer, Some(kind))?);
    }
    measured.push(measure(options, signer, None)?);
    let mut quiet: Vec<u64> = measured.iter().filter(|one| one.kind.is_none()).map(|one| one.accepted_p99_us).collect();
    quiet.sort_unstable();
    let quiet = quiet[quiet.len() / 2];
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    measured.iter_mut().for_each(|one| one.times_quiet = one.accepted_p99_us as f64 / quiet.max(1) as f64);
    Ok(AbuseReport { measured })
}

fn measure(options: &AbuseOptions, signer: &Signer, kind: Option<Kind>) -> Result<Measured, SwarmError> {
    let before = usage(options.server_pid)?.rss_bytes;
    let stop = AtomicBool::new(false);
    let (report, abused) = thread::scope(|scope| {
        let stop = &stop;
        let abuser = kind.map(|kind| {
            scope.spawn(move || {
                process::yield_to_others()?;
                kinds::run(kind, options.doors, signer, stop)
            })
        });
        let report = chat::run(&chat_options(options), signer, &mut |_| {});
        stop.store(true, Ordering::Relaxed);
        let abused = abuser.map_or(Ok(0), |abuser| abuser.join().expect("abusers do not panic"));
        (report, abused)
    });
    let (report, abused): (ChatReport, u64) = (report?, abused?);
    let growth = i64::try_from(usage(options.server_pid)?.rss_bytes).unwrap_or(i64::MAX)
        - i64::try_from(before).unwrap_or(i64::MAX);
    Ok(Measured {
        kind,
        accepted_p50_us: report.accepted.p50_us,
        accepted_p99_us: report.accepted.p99_us,
        delivered_p99_us: report.delivered.p99_us,
        times_quiet: 1.0,
        abused,
        server_growth_bytes: growth,
        faults: report.faults,
    })
}

fn chat_options(options: &AbuseOptions) -> ChatOptions {
    ChatOptions {
        pace: Pace::PerSecond(options.rate),
        length: Length::Time { warm_up: WARM_UP, measured: options.measured },
        server_pid: Some(options.server_pid),
        ..ChatOptions::new(options.doors.websocket, options.pairs)
    }
}

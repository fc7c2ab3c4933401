//! `switchyard top`: a running server, live. On a terminal a picture, piped a line per interval.
//!
//! ```text
//! fetch (/stats over loopback) ──► Reading ──► Picture::between(two of them) ──► screen, or plain
//! ```

mod fetch;
mod model;
mod plain;
mod reading;
mod screen;
mod units;
mod view;

use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fetch::FetchError;
use model::Picture;
use reading::Reading;

/// What to show, and how often.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Options {
    /// The server's admin listener.
    pub(crate) admin: SocketAddr,
    /// Between two pictures.
    pub(crate) interval: Duration,
    /// Ends after so many.
    pub(crate) count: Option<u64>,
}

/// Shows the server until it is told to stop.
///
/// # Errors
/// When the server does not answer; the text says what to do. On a terminal only at the beginning: later it is awaited.
pub(crate) fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let sampler = Sampler::begin(options)?;
    if io::stdout().is_terminal() { screen::run(sampler) } else { plain::run(sampler) }
}

/// Reads the server at regular times.
#[derive(Debug)]
pub(crate) struct Sampler {
    options: Options,
    last: Reading,
    next_at: Instant,
    taken: u64,
}

impl Sampler {
    fn begin(options: Options) -> Result<Self, FetchError> {
        let last = fetch::stats(options.admin)?;
        Ok(Self { options, last, next_at: Instant::now() + options.interval, taken: 0 })
    }

    /// Whether as many pictures were taken as were asked for.
    fn is_done(&self) -> bool {
        self.options.count.is_some_and(|count| self.taken >= count)
    }

    /// How long it is until the next picture is due.
    fn due_in(&self) -> Duration {
        self.next_at.saturating_duration_since(Instant::now())
    }

    /// What happened since the last one; `None` when the server was started anew meanwhile.
    fn take(&mut self) -> Result<Option<Picture>, FetchError> {
        // Pictures that were missed are not made up for.
        self.next_at = (self.next_at + self.options.interval).max(Instant::now());
        let reading = fetch::stats(self.options.admin)?;
        let picture = Picture::between(&self.last, &reading);
        self.last = reading;
        self.taken += u64::from(picture.is_some());
        Ok(picture)
    }
}

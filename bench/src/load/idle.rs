//! Connections that become ready and say nothing more: what one costs the server in memory.

use std::time::{Duration, Instant};

use switchyard_swarm::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use switchyard_swarm::process::{self, usage};

use super::Target;
use super::line::Line;
use crate::client::{Client, Said};
use crate::limits::{OPENING_MAX, PATIENCE, SETTLE};
use crate::table::Idle;

/// Opens `first` connections, then the rest of `count`, and reads the server's memory after both.
///
/// # Errors
/// A sentence about what went wrong.
pub fn run<C: Client>(
    first: usize,
    count: usize,
    target: &Target,
    client: impl FnMut(u64) -> C,
) -> Result<Idle, String> {
    process::raise_descriptor_limit();
    let mut work = IdleWork {
        stages: [first, count],
        readings: Vec::new(),
        settled_at: None,
        target: *target,
        client,
        lines: Vec::new(),
        opened: 0,
        ready: 0,
        progress: Instant::now(),
        failed: None,
    };
    event_loop::run(&mut work).map_err(|error| error.to_string())?;
    match (work.failed, &work.readings[..]) {
        (None, &[before, after]) => Ok(Idle::new(before, after, count - first)),
        (failed, _) => Err(failed.unwrap_or_else(|| "the run ended without a result".to_owned())),
    }
}

struct IdleWork<C, F> {
    /// Connections at each reading.
    stages: [usize; 2],
    /// The server's memory then.
    readings: Vec<u64>,
    settled_at: Option<Instant>,
    target: Target,
    client: F,
    /// By socket.
    lines: Vec<Option<Line<C>>>,
    opened: usize,
    ready: usize,
    progress: Instant,
    failed: Option<String>,
}

impl<C: Client, F: FnMut(u64) -> C> IdleWork<C, F> {
    fn step(&mut self, sockets: &mut Sockets, now: Instant) -> Result<(), String> {
        let Some(&wanted) = self.stages.get(self.readings.len()) else { return Ok(()) };
        while self.opened < wanted && self.opened - self.ready < OPENING_MAX {
            let id = sockets.connect(self.target.address).map_err(|error| format!("connecting: {error}"))?;
            if self.lines.len() <= id {
                self.lines.resize_with(id + 1, || None);
            }
            self.lines[id] = Some(Line::new((self.client)(self.opened as u64)));
            self.opened += 1;
        }
        match self.settled_at {
            Some(at) if now >= at => {
                let usage = usage(self.target.pid).map_err(|error| error.to_string())?;
                self.readings.push(usage.rss_bytes);
                (self.settled_at, self.progress) = (None, now);
            }
            None if self.ready >= wanted => self.settled_at = Some(now + SETTLE),
            None if now > self.progress + PATIENCE => {
                return Err(format!("no connection became ready for {PATIENCE:?}, after {}", self.ready));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<C: Client, F: FnMut(u64) -> C> Work for IdleWork<C, F> {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let Some(line) = self.lines[id].as_mut() {
            line.start(sockets, id);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let Some(line) = self.lines[id].as_mut() else { return };
        let (ready, progress) = (&mut self.ready, &mut self.progress);
        let result = line.on_bytes(sockets, id, bytes, |said| {
            if said == Said::Ready {
                *ready += 1;
                *progress = Instant::now();
            }
            Ok(())
        });
        self.failed = self.failed.take().or(result.err());
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, ended: Ended) {
        self.lines[id] = None;
        let (ready, opened) = (self.ready, self.opened);
        self.failed = Some(format!("a connection ended ({ended:?}) when {ready} of {opened} had been ready"));
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.failed.is_none() {
            self.failed = self.step(sockets, now).err();
        }
        if self.failed.is_some() || self.readings.len() == self.stages.len() {
            return Turn::Stop;
        }
        Turn::By(self.settled_at.unwrap_or(now + Duration::from_millis(20)))
    }
}

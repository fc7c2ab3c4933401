//! Connections that are opened, become ready and are ended at once (by a reset, as the event loop ends all of them), a few at a time, as fast as the server takes them.

use std::time::{Duration, Instant};

use switchyard_swarm::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};

use super::line::Line;
use super::run::Run;
use super::{Target, Times};
use crate::client::{Client, Said};
use crate::limits::PATIENCE;
use crate::table::Measured;

/// Runs it with this many connections under way; `client` makes the end of the connection with this number.
///
/// # Errors
/// A sentence about what went wrong.
pub fn run<C: Client>(
    at_once: usize,
    target: &Target,
    times: Times,
    client: impl FnMut(u64) -> C,
) -> Result<Measured, String> {
    let run = Run::new(target, times);
    let mut work = ConnectWork {
        at_once,
        target: *target,
        client,
        lines: Vec::new(),
        open: 0,
        opened: 0,
        done: 0,
        progress: Instant::now(),
        run,
        result: None,
    };
    event_loop::run(&mut work).map_err(|error| error.to_string())?;
    work.result.unwrap_or_else(|| Err("the run ended without a result".to_owned()))
}

struct Opening<C> {
    line: Line<C>,
    since: Instant,
    ready: bool,
}

struct ConnectWork<C, F> {
    at_once: usize,
    target: Target,
    client: F,
    /// By socket.
    lines: Vec<Option<Opening<C>>>,
    open: usize,
    opened: u64,
    done: u64,
    progress: Instant,
    run: Run,
    result: Option<Result<Measured, String>>,
}

impl<C: Client, F: FnMut(u64) -> C> ConnectWork<C, F> {
    fn open_more(&mut self, sockets: &mut Sockets) -> Result<(), String> {
        while self.open < self.at_once {
            let since = Instant::now();
            let id = sockets.connect(self.target.address).map_err(|error| format!("connecting: {error}"))?;
            if self.lines.len() <= id {
                self.lines.resize_with(id + 1, || None);
            }
            self.lines[id] = Some(Opening { line: Line::new((self.client)(self.opened)), since, ready: false });
            self.opened += 1;
            self.open += 1;
        }
        Ok(())
    }

    fn on_turn_inner(&mut self, sockets: &mut Sockets, now: Instant) -> Result<Option<Measured>, String> {
        if !self.run.has_begun() {
            self.run.begin(now);
        }
        if now > self.progress + PATIENCE {
            return Err(format!("no connection became ready for {PATIENCE:?}, after {}", self.done));
        }
        self.open_more(sockets)?;
        self.run.advance(now, self.done).map_err(|error| error.to_string())
    }
}

impl<C: Client, F: FnMut(u64) -> C> Work for ConnectWork<C, F> {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let Some(opening) = self.lines[id].as_mut() {
            opening.line.start(sockets, id);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let Some(Opening { line, since, ready }) = self.lines[id].as_mut() else { return };
        let result = line.on_bytes(sockets, id, bytes, |said| {
            *ready |= said == Said::Ready;
            Ok(())
        });
        if let Err(error) = result {
            self.result = Some(Err(error));
        } else if *ready {
            let now = Instant::now();
            self.run.record(*since, now);
            self.progress = now;
            self.done += 1;
            self.open -= 1;
            self.lines[id] = None;
            sockets.close(id);
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, ended: Ended) {
        self.lines[id] = None;
        self.result = Some(Err(format!("a connection ended ({ended:?}) after {} had been ready", self.done)));
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.result.is_none() {
            self.result = self.on_turn_inner(sockets, now).transpose();
        }
        match self.result {
            Some(_) => Turn::Stop,
            None => Turn::By(self.run.next().unwrap_or(now + Duration::from_millis(20))),
        }
    }
}

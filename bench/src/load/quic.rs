//! The loads over QUIC, on the clients of [`crate::quic`]: echoes on the stream that each connection has, handshakes, and
//! connections that are held.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_gateway_core::handshake::ECHO_PROTOCOL;
use switchyard_swarm::process::usage;

use super::run::Run;
use super::{Target, Times};
use crate::client::StreamEcho;
use crate::limits::{PATIENCE, SETTLE};
use crate::quic::tls::{Tickets, returning, strangers};
use crate::quic::{Happened, Phones};
use crate::table::{Idle, Measured};

/// How long a turn waits for something to happen.
const TURN: Duration = Duration::from_millis(5);
/// Connections that are opening at a time: fewer than those of which a server asks for a proof of the address first.
const CONNECTING: usize = 16;
/// What a connection says that is closed then: it is open at both ends when this has come back.
const MESSAGE: &[u8] = b"x";

/// Echoes to so many connections, of which each keeps `depth` messages under way.
///
/// # Errors
/// A sentence about what went wrong; a message out of order counts.
pub fn echoes(
    connections: usize,
    depth: u64,
    payload_bytes: usize,
    target: &Target,
    times: Times,
) -> Result<Measured, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut phones = Phones::new(target.address, Arc::new(strangers(ECHO_PROTOCOL))).map_err(text)?;
    let mut run = Run::new(target, times);
    let echo = StreamEcho::new(payload_bytes);
    let mut flows: Vec<Flow> = (0..connections).map(|_| Flow::default()).collect();
    for _ in 0..connections {
        phones.connect().map_err(text)?;
    }
    let (mut ready, mut done, mut failed) = (0, 0, None);
    let patience = Instant::now() + PATIENCE;
    loop {
        phones
            .turn(TURN, &mut |id, happened, out| match happened {
                Happened::Connected => ready += 1,
                Happened::Bytes(bytes) => {
                    let now = Instant::now();
                    match flows[id].take(&echo, bytes, now, &mut run) {
                        Ok(count) => {
                            done += count;
                            flows[id].fill(&echo, depth, now, out);
                        }
                        Err(reason) => failed = Some(reason),
                    }
                }
                Happened::Ended(reason) => failed = Some(format!("a connection ended: {reason}")),
            })
            .map_err(text)?;
        if let Some(reason) = failed {
            return Err(reason);
        }
        let now = Instant::now();
        if !run.has_begun() && ready == connections {
            run.begin(now);
            for (id, flow) in flows.iter_mut().enumerate() {
                let mut out = Vec::new();
                flow.fill(&echo, depth, now, &mut out);
                phones.say(id, &out);
            }
        } else if !run.has_begun() && now > patience {
            return Err(format!("only {ready} of {connections} connections are ready"));
        }
        if let Some(measured) = run.advance(now, done).map_err(|error| error.to_string())? {
            return Ok(measured);
        }
    }
}

/// What one connection has sent, and what has come back.
#[derive(Default)]
struct Flow {
    sent: u64,
    received: u64,
    /// When what has not come back was sent.
    sent_at: VecDeque<Instant>,
    /// The beginning of a message that is not whole.
    rest: Vec<u8>,
}

impl Flow {
    /// Sends what may be sent now.
    fn fill(&mut self, echo: &StreamEcho, depth: u64, now: Instant, out: &mut Vec<u8>) {
        for _ in 0..depth - (self.sent - self.received) {
            self.sent += 1;
            self.sent_at.push_back(now);
            echo.put_message(self.sent, out);
        }
    }

    /// Takes what has come; answers how many messages that made whole.
    fn take(&mut self, echo: &StreamEcho, bytes: &[u8], now: Instant, run: &mut Run) -> Result<u64, String> {
        let Self { received, sent_at, rest, .. } = self;
        let before = *received;
        rest.extend_from_slice(bytes);
        echo.take(rest, |number| {
            if number != *received + 1 {
                return Err(format!("message {number} came after message {received}"));
            }
            *received = number;
            if let Some(since) = sent_at.pop_front() {
                run.record(since, now);
            }
            Ok(())
        })?;
        Ok(*received - before)
    }
}

/// Whether clients that connect have been there before.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// They have not.
    Full,
    /// They bring a ticket.
    Resumed,
}

/// Connections that are opened, echo one message and are closed, a few at a time, as fast as the server takes them.
///
/// # Errors
/// A sentence about what went wrong.
pub fn handshakes(handshake: Handshake, target: &Target, times: Times) -> Result<Measured, String> {
    let text = |error: std::io::Error| error.to_string();
    let tickets = Arc::new(Tickets::default());
    let tls = match handshake {
        Handshake::Full => strangers(ECHO_PROTOCOL),
        Handshake::Resumed => returning(ECHO_PROTOCOL, tickets.clone()),
    };
    let mut phones = Phones::new(target.address, Arc::new(tls)).map_err(text)?;
    let mut run = Run::new(target, times);
    run.begin(Instant::now());
    let mut opening: HashMap<usize, Instant> = HashMap::new();
    let (mut done, mut progress, mut failed) = (0, Instant::now(), None);
    loop {
        while opening.len() < CONNECTING {
            let now = Instant::now();
            opening.insert(phones.connect().map_err(text)?, now);
        }
        let mut through = Vec::new();
        phones
            .turn(TURN, &mut |id, happened, out| match happened {
                Happened::Connected => out.extend_from_slice(MESSAGE),
                Happened::Bytes(_) => through.push(id),
                Happened::Ended(reason) if opening.contains_key(&id) => failed = Some(reason),
                Happened::Ended(_) => {}
            })
            .map_err(text)?;
        if let Some(reason) = failed {
            return Err(format!("a connection ended after {done} had been ready: {reason}"));
        }
        let now = Instant::now();
        for id in through {
            if let Some(since) = opening.remove(&id) {
                run.record(since, now);
                (done, progress) = (done + 1, now);
            }
            phones.close(id);
        }
        if now > progress + PATIENCE {
            return Err(format!("no connection became ready for {PATIENCE:?}, after {done}"));
        }
        if let Some(measured) = run.advance(now, done).map_err(|error| error.to_string())? {
            // The first ones have none, and those that come before a ticket has.
            return match tickets.missed() {
                missed if handshake == Handshake::Resumed && missed > 2 * CONNECTING as u64 + done / 100 => {
                    Err(format!("{missed} of {done} handshakes had no ticket"))
                }
                _ => Ok(measured),
            };
        }
    }
}

/// Opens `first` connections, then the rest of `count`, each of which says one thing and is answered, and reads the server's
/// memory after both.
///
/// # Errors
/// A sentence about what went wrong.
pub fn idle(
    first: usize,
    count: usize,
    target: &Target,
    protocol: &str,
    mut say: impl FnMut(usize) -> Vec<u8>,
) -> Result<Idle, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut phones = Phones::new(target.address, Arc::new(strangers(protocol))).map_err(text)?;
    let (mut opened, mut ready, mut readings) = (0, 0, Vec::new());
    for wanted in [first, count] {
        let (mut progress, mut settled) = (Instant::now(), None);
        while settled.is_none_or(|at| Instant::now() < at) {
            while opened < wanted && opened - ready < CONNECTING {
                phones.connect().map_err(text)?;
                opened += 1;
            }
            let (before, mut failed) = (ready, None);
            phones
                .turn(TURN, &mut |id, happened, out| match happened {
                    Happened::Connected => out.extend_from_slice(&say(id)),
                    Happened::Bytes(_) => ready += 1,
                    Happened::Ended(reason) => failed = Some(reason),
                })
                .map_err(text)?;
            let now = Instant::now();
            progress = if ready > before { now } else { progress };
            if let Some(reason) = failed {
                return Err(format!("a connection ended when {ready} of {opened} had been ready: {reason}"));
            } else if ready == wanted {
                settled.get_or_insert(now + SETTLE);
            } else if now > progress + PATIENCE {
                return Err(format!("only {ready} of {opened} connections are ready"));
            }
        }
        readings.push(usage(target.pid).map_err(|error| error.to_string())?.rss_bytes);
    }
    Ok(Idle::new(readings[0], readings[1], count - first))
}

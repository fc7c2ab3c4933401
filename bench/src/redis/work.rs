//! Pairs of a publisher and a subscriber, or lone appenders, on the event loop of the swarm.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use switchyard_swarm::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use switchyard_swarm::latency::Latencies;
use switchyard_swarm::process::{Usage, usage};

use super::resp::{Reply, parse, put_command};
use crate::table::Measured;

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Digits at the start of a payload that hold its number.
const NUMBER_DIGITS: usize = 16;

/// What Redis is asked to do.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RedisLoad {
    /// PUBLISH to a channel with one subscriber; done when both the reply and the message have come.
    PubSub,
    /// XADD to a stream; done when the reply has come.
    Append,
}

/// How.
#[derive(Copy, Clone, Debug)]
pub struct RedisOptions {
    /// Where Redis listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// What.
    pub load: RedisLoad,
    /// Senders.
    pub pairs: usize,
    /// Messages under way per sender.
    pub depth: u64,
    /// Bytes of a payload.
    pub text_bytes: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
}

/// Runs it.
///
/// # Errors
/// A sentence about what went wrong; a message out of order counts.
pub fn run(options: &RedisOptions) -> Result<Measured, String> {
    let mut work = RedisWork {
        options: *options,
        pairs: (0..options.pairs).map(|_| Pair::default()).collect(),
        owners: Vec::new(),
        ready: 0,
        phase: Phase::Connecting,
        deadline: Instant::now() + PATIENCE,
        payload: vec![b'x'; options.text_bytes.max(NUMBER_DIGITS)],
        latencies: Latencies::default(),
        begun: Snapshot::default(),
        result: None,
    };
    event_loop::run(&mut work).map_err(|error| error.to_string())?;
    work.result.unwrap_or_else(|| Err("the run ended without a result".to_owned()))
}

#[derive(Default)]
struct Pair {
    sender: SocketId,
    sent: u64,
    replied: u64,
    received: u64,
    sent_at: VecDeque<Instant>,
    done: u64,
}

struct Owner {
    pair: usize,
    sends: bool,
    /// The start of a reply that has not come whole.
    rest: Vec<u8>,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Phase {
    Connecting,
    WarmUp { until: Instant },
    Measuring { until: Instant },
}

#[derive(Default)]
struct Snapshot {
    at: Option<Instant>,
    done: u64,
    server: Usage,
}

struct RedisWork {
    options: RedisOptions,
    pairs: Vec<Pair>,
    owners: Vec<Option<Owner>>,
    /// Sockets that may be used: connected, and subscribed where they are to be.
    ready: usize,
    phase: Phase,
    deadline: Instant,
    payload: Vec<u8>,
    latencies: Latencies,
    begun: Snapshot,
    result: Option<Result<Measured, String>>,
}

impl RedisWork {
    fn sockets_wanted(&self) -> usize {
        if self.options.load == RedisLoad::PubSub { 2 * self.pairs.len() } else { self.pairs.len() }
    }

    fn connect_all(&mut self, sockets: &mut Sockets) -> std::io::Result<()> {
        for pair in 0..self.pairs.len() {
            for sends in [true, false] {
                if !sends && self.options.load == RedisLoad::Append {
                    continue;
                }
                let id = sockets.connect(self.options.address)?;
                if self.owners.len() <= id {
                    self.owners.resize_with(id + 1, || None);
                }
                self.owners[id] = Some(Owner { pair, sends, rest: Vec::new() });
                if sends {
                    self.pairs[pair].sender = id;
                }
            }
        }
        Ok(())
    }

    fn fill(&mut self, sockets: &mut Sockets, pair: usize, now: Instant) {
        let name = format!("bench:{pair}");
        let state = &mut self.pairs[pair];
        while state.sent - state.done < self.options.depth {
            let Some(out) = sockets.out(state.sender) else { return };
            state.sent += 1;
            state.sent_at.push_back(now);
            let digits = format!("{:016}", state.sent);
            self.payload[..NUMBER_DIGITS].copy_from_slice(digits.as_bytes());
            match self.options.load {
                RedisLoad::PubSub => put_command(out, &[b"PUBLISH", name.as_bytes(), &self.payload]),
                RedisLoad::Append => put_command(out, &[b"XADD", name.as_bytes(), b"*", b"m", &self.payload]),
            }
        }
    }

    /// Takes the replies out of `bytes`; gives how many bytes they were.
    fn on_replies(&mut self, id: SocketId, bytes: &[u8]) -> Result<usize, String> {
        let Some(Owner { pair, sends, .. }) = self.owners[id] else { return Ok(bytes.len()) };
        let mut at = 0;
        while at < bytes.len()
            && let Some((reply, used)) = parse(&bytes[at..])
        {
            at += used;
            let pair = &mut self.pairs[pair];
            match reply {
                Reply::Error(text) => return Err(String::from_utf8_lossy(text).into_owned()),
                Reply::Text(_) if sends => pair.replied += 1,
                Reply::Array { last } if !sends && last.len() == self.payload.len() => {
                    pair.received += 1;
                    if last[..NUMBER_DIGITS] != *format!("{:016}", pair.received).as_bytes() {
                        return Err(format!("Redis delivered out of order after message {}", pair.received));
                    }
                }
                // The reply to SUBSCRIBE.
                _ => self.ready += 1,
            }
        }
        Ok(at)
    }

    fn complete(&mut self, pair: usize, now: Instant) {
        let measuring = matches!(self.phase, Phase::Measuring { .. });
        let pair = &mut self.pairs[pair];
        let done = if self.options.load == RedisLoad::PubSub { pair.replied.min(pair.received) } else { pair.replied };
        while pair.done < done {
            pair.done += 1;
            let sent = pair.sent_at.pop_front().unwrap_or(now);
            if measuring {
                self.latencies.record(now - sent);
            }
        }
    }

    fn advance(&mut self, sockets: &mut Sockets, now: Instant) -> Result<(), String> {
        let usage = || usage(self.options.pid).map_err(|error| error.to_string());
        let done = self.pairs.iter().map(|pair| pair.done).sum();
        match self.phase {
            Phase::Connecting if self.owners.is_empty() => {
                self.connect_all(sockets).map_err(|error| format!("connecting: {error}"))?;
            }
            Phase::Connecting if self.ready == self.sockets_wanted() => {
                self.phase = Phase::WarmUp { until: now + self.options.warm_up };
                for pair in 0..self.pairs.len() {
                    self.fill(sockets, pair, now);
                }
            }
            Phase::Connecting if now > self.deadline => return Err("Redis does not take the connections".to_owned()),
            Phase::WarmUp { until } if now >= until => {
                self.begun = Snapshot { at: Some(now), done, server: usage()? };
                self.phase = Phase::Measuring { until: now + self.options.measured };
            }
            Phase::Measuring { until } if now >= until => {
                let took = self.begun.at.map_or(self.options.measured, |at| now - at);
                let cpu = usage()?.cpu.saturating_sub(self.begun.server.cpu);
                self.result = Some(Ok(Measured::new(done - self.begun.done, took, cpu, &self.latencies.percentiles())));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Work for RedisWork {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        match self.owners[id] {
            Some(Owner { pair, sends: false, .. }) => {
                if let Some(out) = sockets.out(id) {
                    put_command(out, &[b"SUBSCRIBE", format!("bench:{pair}").as_bytes()]);
                }
            }
            _ => self.ready += 1,
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let now = Instant::now();
        let Some(owner) = self.owners[id].as_mut() else { return };
        let pair = owner.pair;
        let mut rest = std::mem::take(&mut owner.rest);
        let result = if rest.is_empty() {
            self.on_replies(id, bytes).map(|used| rest.extend_from_slice(&bytes[used..]))
        } else {
            rest.extend_from_slice(bytes);
            self.on_replies(id, &rest).map(|used| drop(rest.drain(..used)))
        };
        if let Some(owner) = self.owners[id].as_mut() {
            owner.rest = rest;
        }
        if let Err(error) = result {
            self.result = Some(Err(error));
        }
        self.complete(pair, now);
        if self.phase != Phase::Connecting {
            self.fill(sockets, pair, now);
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, _: Ended) {
        self.owners[id] = None;
        self.result = Some(Err("Redis closed a connection".to_owned()));
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if let Err(error) = self.advance(sockets, now) {
            self.result = Some(Err(error));
        }
        match self.phase {
            _ if self.result.is_some() => Turn::Stop,
            Phase::Connecting => Turn::By(now + Duration::from_millis(20)),
            Phase::WarmUp { until } | Phase::Measuring { until } => Turn::By(until),
        }
    }
}

//! Many authenticated connections that say nothing: what one costs the server in memory.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use switchyard_schema::frame::ServerFrame;
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::wire::{Encoder, parse_server};

use crate::SwarmError;
use crate::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use crate::process::{self, usage};
use crate::session::{Incoming, Session};
use crate::tokens::Signer;

/// Connections that may be under way at once.
const CONNECTING_MAX: usize = 200;
/// How long the server gets to calm down before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the next Welcome may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug)]
pub struct IdleOptions {
    /// The server.
    pub address: SocketAddr,
    /// Its process.
    pub server_pid: u32,
    /// Connections at the first reading.
    pub first: usize,
    /// Connections at the second reading.
    pub count: usize,
    /// Keep the connections, answering pings, until this becomes true.
    pub hold_until: Option<Arc<AtomicBool>>,
}

/// What was read.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    /// Connections at the first reading.
    pub first: usize,
    /// The server's resident memory then.
    pub first_rss_bytes: u64,
    /// Connections at the second reading.
    pub count: usize,
    /// The server's resident memory then.
    pub rss_bytes: u64,
    /// Difference of memory over difference of connections.
    pub bytes_per_connection: f64,
    /// Connections, with upgrade and Hello, made per second.
    pub connects_per_s: f64,
    /// Connections that the server closed.
    pub disconnected: usize,
}

/// Opens the connections and reads the server's memory.
///
/// # Errors
/// When connections are refused.
pub fn run(options: &IdleOptions, signer: &Signer) -> Result<IdleReport, SwarmError> {
    process::raise_descriptor_limit();
    let mut work = IdleWork {
        options: options.clone(),
        signer,
        first_user: (process::random() >> 1) | (1 << 40),
        sessions: Vec::new(),
        opened: 0,
        welcomed: 0,
        disconnected: 0,
        readings: VecDeque::new(),
        settle_until: None,
        begun: Instant::now(),
        connecting_took: Duration::ZERO,
        progress: Instant::now(),
        encoder: Encoder::new(),
        scratch: Vec::new(),
        failed: None,
    };
    event_loop::run(&mut work).map_err(SwarmError::io("epoll"))?;
    match (work.failed, work.readings.pop_front(), work.readings.pop_front()) {
        (None, Some(first_rss_bytes), Some(rss_bytes)) => {
            Ok(report(options, first_rss_bytes, rss_bytes, work.connecting_took, work.disconnected))
        }
        (failed, ..) => Err(SwarmError::Server(failed.unwrap_or_default())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn report(
    options: &IdleOptions,
    first_rss_bytes: u64,
    rss_bytes: u64,
    took: Duration,
    disconnected: usize,
) -> IdleReport {
    let added = options.count.saturating_sub(options.first).max(1);
    IdleReport {
        first: options.first,
        first_rss_bytes,
        count: options.count,
        rss_bytes,
        bytes_per_connection: (rss_bytes as f64 - first_rss_bytes as f64) / added as f64,
        connects_per_s: options.count as f64 / took.as_secs_f64(),
        disconnected,
    }
}

struct IdleWork<'s> {
    options: IdleOptions,
    signer: &'s Signer,
    first_user: u64,
    sessions: Vec<Option<Session>>,
    opened: usize,
    welcomed: usize,
    disconnected: usize,
    /// The server's memory at `first` and at `count` connections.
    readings: VecDeque<u64>,
    settle_until: Option<Instant>,
    begun: Instant,
    connecting_took: Duration,
    progress: Instant,
    encoder: Encoder,
    scratch: Vec<u8>,
    failed: Option<String>,
}

impl IdleWork<'_> {
    /// How many connections the next reading wants.
    fn target(&self) -> usize {
        if self.readings.is_empty() { self.options.first } else { self.options.count }
    }

    fn connect_more(&mut self, sockets: &mut Sockets) {
        while self.opened < self.target() && self.opened - self.welcomed < CONNECTING_MAX {
            let user = UserId::new(self.first_user + self.opened as u64).expect("not zero");
            let device = DeviceId::new(1).expect("not zero");
            match sockets.connect(self.options.address) {
                Ok(id) => {
                    if self.sessions.len() <= id {
                        self.sessions.resize_with(id + 1, || None);
                    }
                    self.sessions[id] = Some(Session::new(user, device, self.signer.token(user), process::random()));
                    self.opened += 1;
                }
                Err(error) => return self.failed = Some(format!("connecting: {error}")),
            }
        }
    }

    fn read_memory(&mut self) {
        match usage(self.options.server_pid) {
            Ok(usage) => self.readings.push_back(usage.rss_bytes),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }
}

impl Work for IdleWork<'_> {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let (Some(session), Some(out)) = (self.sessions[id].as_mut(), sockets.out(id)) {
            session.start(out);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let Some(session) = self.sessions[id].as_mut() else { return };
            match session.decode(&mut bytes[at..], &mut self.encoder, &mut self.scratch) {
                Ok(decoded) => {
                    at += decoded.consumed;
                    if let Some(Incoming::Frame(frame)) = decoded.incoming {
                        match parse_server(&frame) {
                            Ok(ServerFrame::Welcome(_)) => {
                                self.welcomed += 1;
                                self.progress = Instant::now();
                            }
                            other => self.failed = Some(format!("expected a Welcome, got {other:?}")),
                        }
                    }
                }
                Err(error) => return self.failed = Some(error),
            }
        }
        if !self.scratch.is_empty()
            && let Some(out) = sockets.out(id)
        {
            out.append(&mut self.scratch);
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, _: Ended) {
        self.sessions[id] = None;
        self.disconnected += 1;
        if self.readings.len() < 2 {
            self.failed = Some("the server closed a connection".to_owned());
        }
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.failed.is_some() {
            return Turn::Stop;
        }
        if self.readings.len() == 2 {
            let held = self.options.hold_until.as_ref().is_some_and(|told| !told.load(Ordering::Relaxed));
            return if held { Turn::By(now + Duration::from_millis(100)) } else { Turn::Stop };
        }
        match self.settle_until {
            Some(until) if now >= until => {
                self.settle_until = None;
                self.read_memory();
                (self.begun, self.progress) = (Instant::now(), Instant::now());
            }
            None if self.welcomed >= self.target() => {
                self.connecting_took += self.begun.elapsed();
                self.settle_until = Some(now + SETTLE);
            }
            None if now > self.progress + PATIENCE => {
                self.failed = Some(format!("no Welcome in {PATIENCE:?} after {} connections", self.welcomed));
            }
            _ => {}
        }
        self.connect_more(sockets);
        Turn::By(self.settle_until.unwrap_or(now + Duration::from_millis(100)))
    }
}

//! Sessions that say nothing and are held until told, for the bench of what one costs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use switchyard_schema::frame::ServerFrame;
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::wire::{Encoder, parse_server};

use crate::SwarmError;
use crate::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use crate::limits::{CONNECTING_MAX, PATIENCE, TURN_PAUSE_MAX};
use crate::process;
use crate::random::random;
use crate::session::{Incoming, Session};
use crate::tokens::Signer;
use crate::users;

/// Opens `count` sessions and keeps them, answering pings, until `leave` becomes true.
///
/// # Errors
/// When a session does not open or ends earlier.
pub fn hold(address: SocketAddr, count: usize, signer: &Signer, leave: &AtomicBool) -> Result<(), SwarmError> {
    process::raise_descriptor_limit();
    let mut work = IdleWork {
        address,
        count,
        signer,
        leave,
        first_user: users::first_user(),
        sessions: Vec::new(),
        opened: 0,
        welcomed: 0,
        progress: Instant::now(),
        encoder: Encoder::new(),
        scratch: Vec::new(),
        failed: None,
    };
    event_loop::run(&mut work).map_err(SwarmError::io("epoll"))?;
    work.failed.map_or(Ok(()), |why| Err(SwarmError::Server(why)))
}

struct IdleWork<'r> {
    address: SocketAddr,
    count: usize,
    signer: &'r Signer,
    leave: &'r AtomicBool,
    first_user: u64,
    /// By socket.
    sessions: Vec<Option<Session>>,
    opened: usize,
    welcomed: usize,
    /// When the last session was welcomed.
    progress: Instant,
    encoder: Encoder,
    scratch: Vec<u8>,
    failed: Option<String>,
}

impl IdleWork<'_> {
    fn connect_more(&mut self, sockets: &mut Sockets) {
        while self.opened < self.count && self.opened - self.welcomed < CONNECTING_MAX {
            let user = UserId::new(self.first_user + self.opened as u64).expect("not zero");
            let device = DeviceId::new(1).expect("not zero");
            match sockets.connect(self.address) {
                Ok(id) => {
                    if self.sessions.len() <= id {
                        self.sessions.resize_with(id + 1, || None);
                    }
                    self.sessions[id] = Some(Session::new(user, device, self.signer.token(user), random()));
                    self.opened += 1;
                }
                Err(error) => return self.failed = Some(format!("connecting: {error}")),
            }
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
        self.failed = Some("the server closed a connection".to_owned());
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.failed.is_none() && self.welcomed < self.count && now > self.progress + PATIENCE {
            self.failed = Some(format!("no Welcome in {PATIENCE:?} after {} connections", self.welcomed));
        }
        if self.failed.is_some() || self.leave.load(Ordering::Relaxed) {
            return Turn::Stop;
        }
        self.connect_more(sockets);
        Turn::By(now + TURN_PAUSE_MAX)
    }
}

//! Compares what every device saw with the history that the restarted server gives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use switchyard_schema::body;
use switchyard_schema::frame::{ClientFrame, Fetch, FetchRange, Page, ServerFrame};
use switchyard_schema::ids::{DeviceId, Sequence};
use switchyard_schema::limits::PAGE_MESSAGES_MAX;
use switchyard_schema::wire::{Encoder, parse_server};

use super::device::{Device, Seen};
use super::round::{Name, Round, conversation, user};
use crate::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use crate::limits::{CRASH_PATIENCE, TURN_PAUSE_MAX};
use crate::random::random;
use crate::session::{Incoming, Session};

/// What must hold at the end of a round.
pub(super) fn check(devices: &[Device], round: &Round, address: SocketAddr) -> Result<(), String> {
    let histories = Reader::read_all(devices, address)?;
    for device in devices {
        let history = &histories[&(device.client & !1)];
        for (sequence, seen) in &device.seen {
            if history.get(sequence) != Some(seen) {
                let known = history.get(sequence);
                return Err(format!("{}: saw {seen:?} as {sequence}, the server has {known:?}", device.state()));
            }
        }
        if device.seen.len() != history.len() {
            return Err(format!("{}: saw {} of {} messages", device.state(), device.seen.len(), history.len()));
        }
    }
    for (client, history) in &histories {
        let head = round.head();
        if history.len() as u64 != head || history.keys().next_back() != Some(&head) {
            return Err(format!("the conversation of client {client} has {} messages, not {head}", history.len()));
        }
        let names: BTreeSet<Name> = history.values().map(|seen| seen.name).collect();
        if names.len() != history.len() {
            return Err(format!("the conversation of client {client} holds a send twice"));
        }
        let ids: Vec<_> = history.values().map(|seen| seen.message).collect();
        if !ids.is_sorted_by(|one, next| one < next) {
            return Err(format!("message ids go back in the conversation of client {client}"));
        }
    }
    for device in devices {
        let history = &histories[&(device.client & !1)];
        let names: BTreeSet<Name> = history.values().map(|seen| seen.name).collect();
        if let Some(lost) = device.accepted.difference(&names).next() {
            return Err(format!("{}: {lost:?} was accepted and is gone", device.state()));
        }
    }
    Ok(())
}

type History = BTreeMap<u64, Seen>;

/// Reads the whole history of every pair by Fetch, on a device of its own.
struct Reader {
    address: SocketAddr,
    waiting: Vec<(u32, Session)>,
    /// By socket: the pair's first client and its session.
    sessions: Vec<Option<(u32, Session)>>,
    histories: BTreeMap<u32, History>,
    unfinished: usize,
    deadline: Instant,
    encoder: Encoder,
    scratch: Vec<u8>,
    failed: Option<String>,
}

impl Reader {
    fn read_all(devices: &[Device], address: SocketAddr) -> Result<BTreeMap<u32, History>, String> {
        let reader_device = DeviceId::new(8).expect("not zero");
        let first_of_pair =
            devices.iter().filter(|device| device.client % 2 == 0 && device.session.device().get() == 1);
        let waiting: Vec<(u32, Session)> = first_of_pair
            .map(|device| {
                let token = device.session.token().to_owned();
                (device.client, Session::new(user(device.client), reader_device, token, random()))
            })
            .collect();
        let mut reader = Self {
            address,
            unfinished: waiting.len(),
            waiting,
            sessions: Vec::new(),
            histories: BTreeMap::new(),
            deadline: Instant::now() + CRASH_PATIENCE,
            encoder: Encoder::new(),
            scratch: Vec::new(),
            failed: None,
        };
        event_loop::run(&mut reader).map_err(|error| format!("epoll: {error}"))?;
        reader.failed.map_or(Ok(reader.histories), Err)
    }

    fn on_frame(&mut self, id: SocketId, bytes: &[u8]) -> Result<(), String> {
        let Some(client) = self.sessions[id].as_ref().map(|(client, _)| *client) else { return Ok(()) };
        match parse_server(bytes).map_err(|error| error.to_string())? {
            ServerFrame::Welcome(_) => self.ask(id, client, 0),
            ServerFrame::Page(page) => {
                let last = self.on_page(client, &page)?;
                if page.more {
                    self.ask(id, client, last);
                } else {
                    self.unfinished -= 1;
                }
            }
            ServerFrame::Error(error) if !error.code.fatal() => {}
            ServerFrame::Error(error) => return Err(format!("refused: {:?} {}", error.code, error.reason)),
            _ => {}
        }
        Ok(())
    }

    fn on_page(&mut self, client: u32, page: &Page<'_>) -> Result<u64, String> {
        let history = self.histories.entry(client).or_default();
        for message in &page.messages {
            let name = body::parse(&message.body).ok().and_then(|body| body.text).and_then(Name::of_text);
            let name = name.ok_or_else(|| format!("message {:?} of the history says nothing", message.sequence))?;
            let sequence = message.sequence.0;
            if sequence != history.len() as u64 + 1 {
                return Err(format!("the history of client {client} goes from {} to {sequence}", history.len()));
            }
            history.insert(sequence, Seen { message: message.message, name });
        }
        Ok(history.len() as u64)
    }

    fn ask(&mut self, id: SocketId, client: u32, after: u64) {
        let Some((_, session)) = self.sessions[id].as_mut() else { return };
        let fetch = Fetch {
            request: after,
            conversation: conversation(client),
            range: FetchRange::After(Sequence(after)),
            limit: PAGE_MESSAGES_MAX,
        };
        session.send(&ClientFrame::Fetch(fetch), &mut self.encoder, &mut self.scratch);
    }
}

impl Work for Reader {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let (Some((_, session)), Some(out)) = (self.sessions[id].as_mut(), sockets.out(id)) {
            session.start(out);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let Some((_, session)) = self.sessions[id].as_mut() else { return };
            let result = session.decode(&mut bytes[at..], &mut self.encoder, &mut self.scratch).and_then(|decoded| {
                at += decoded.consumed;
                match decoded.incoming {
                    Some(Incoming::Frame(frame)) => self.on_frame(id, &frame),
                    _ => Ok(()),
                }
            });
            if let Err(error) = result {
                return self.failed = Some(format!("reading the history: {error}"));
            }
        }
        if !self.scratch.is_empty()
            && let Some(out) = sockets.out(id)
        {
            out.append(&mut self.scratch);
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, _: SocketId, _: Ended) {
        self.failed = Some("the server closed while its history was read".to_owned());
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.failed.is_some() || self.unfinished == 0 {
            return Turn::Stop;
        }
        if now >= self.deadline {
            self.failed = Some(format!("reading the histories took more than {CRASH_PATIENCE:?}"));
            return Turn::Stop;
        }
        for entry in std::mem::take(&mut self.waiting) {
            match sockets.connect(self.address) {
                Ok(id) => {
                    if self.sessions.len() <= id {
                        self.sessions.resize_with(id + 1, || None);
                    }
                    self.sessions[id] = Some(entry);
                }
                Err(error) => self.failed = Some(format!("connecting: {error}")),
            }
        }
        Turn::By(now + TURN_PAUSE_MAX)
    }
}

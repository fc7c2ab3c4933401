//! The kinds of abuse, each until it is told to stop.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use switchyard_gateway_core::ws::{Opcode, encode};
use switchyard_schema::body;
use switchyard_schema::frame::{ClientFrame, Fetch, FetchRange, Send};
use switchyard_schema::ids::{ClientMessageId, ConversationId, Sequence, UserId};
use switchyard_schema::wire::Encoder;

use super::flood::{Flood, abusers, begin, connect, open};
use super::{initials, unread};
use crate::SwarmError;
use crate::random::random;
use crate::tokens::Signer;

/// Connections that are open at a time and say nothing.
const SILENT: usize = 10_000;
/// Such connections opened before the abuser looks around.
const SILENT_BATCH: usize = 100;
/// Sessions that flood.
const FLOODING: usize = 10;
/// Connections that send a byte at a time.
const TRICKLING: usize = 500;
/// Sessions that come back at once.
const RETURNING: usize = 500;
/// Frames that a flood consists of, over and over.
const FRAMES: usize = 200;
/// Abusers share the machine, so they rest when nothing moves.
pub(super) const REST: Duration = Duration::from_millis(2);

/// The head of a masked binary frame whose payload would be 2⁶² bytes (RFC 6455 §5.2).
const OVERSIZE: &[u8] = &[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A masked binary frame with the bit that means compressed, which nobody negotiated (RFC 7692 §6).
const COMPRESSED: &[u8] = &[0xc2, 0x82, 0, 0, 0, 0, b'h', b'i'];

/// A kind of abuse.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 10,000 connections that never say Hello, opened again as the server closes them. Counts connections.
    Silent,
    /// Connections that are dropped without a word, as many as can be opened, the newest 10,000 of them open. Counts connections.
    Churn,
    /// Handshakes of one byte at a time on 500 connections. Counts bytes.
    Trickle,
    /// Frames of one byte at a time on 500 open sessions. Counts bytes.
    Crumbs,
    /// Ten sessions that ping without end. Counts bytes.
    Pings,
    /// Ten sessions that send without end. Counts bytes.
    Sends,
    /// Ten sessions that fetch without end. Counts bytes.
    Fetches,
    /// Ten sessions that fetch without end and read nothing. Counts bytes.
    Deaf,
    /// Ten sessions that acknowledge whatever is delivered to them and read nothing of it. Counts bytes sent to them.
    Unread,
    /// Ten sessions that send a frame far over the limit, and come back when they are closed. Counts sessions.
    Oversize,
    /// Ten sessions that send a frame that looks compressed, and come back when they are closed. Counts sessions.
    Compressed,
    /// 500 sessions that break off and come back all at once, again and again. Counts sessions.
    Reconnect,
    /// QUIC handshakes that are begun from forged addresses, 2,000 a second, and never go on. Counts handshakes.
    Initials,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Silent,
        Self::Churn,
        Self::Trickle,
        Self::Crumbs,
        Self::Pings,
        Self::Sends,
        Self::Fetches,
        Self::Deaf,
        Self::Unread,
        Self::Oversize,
        Self::Compressed,
        Self::Reconnect,
        Self::Initials,
    ];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Churn => "churn",
            Self::Trickle => "trickle",
            Self::Crumbs => "crumbs",
            Self::Pings => "pings",
            Self::Sends => "sends",
            Self::Fetches => "fetches",
            Self::Deaf => "deaf",
            Self::Unread => "unread",
            Self::Oversize => "oversize",
            Self::Compressed => "compressed",
            Self::Reconnect => "reconnect",
            Self::Initials => "initials",
        }
    }
}

/// Where a server listens.
#[derive(Copy, Clone, Debug)]
pub struct Doors {
    /// For WebSockets.
    pub websocket: SocketAddr,
    /// For QUIC, where it is spoken.
    pub quic: Option<SocketAddr>,
}

/// Abuses the server until told to stop; answers how much.
pub(super) fn run(kind: Kind, doors: Doors, signer: &Signer, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let server = doors.websocket;
    match kind {
        Kind::Silent => silent(server, stop),
        Kind::Churn => churn(server, stop),
        Kind::Trickle => trickle(server, stop),
        Kind::Crumbs => crumbs(server, signer, stop),
        Kind::Pings => flood(server, signer, stop, &pings(), true),
        Kind::Sends => flood(server, signer, stop, &frames(send_to), true),
        Kind::Fetches => flood(server, signer, stop, &frames(fetch_from), true),
        Kind::Deaf => flood(server, signer, stop, &frames(fetch_from), false),
        Kind::Unread => unread::run(server, signer, stop),
        Kind::Oversize => refused(server, signer, stop, OVERSIZE),
        Kind::Compressed => refused(server, signer, stop, COMPRESSED),
        Kind::Reconnect => reconnect(server, signer, stop),
        Kind::Initials => initials::run(doors.quic.ok_or_else(unspoken)?, stop),
    }
}

fn unspoken() -> SwarmError {
    SwarmError::Server("it is not known where the server speaks QUIC".to_owned())
}

fn silent(server: SocketAddr, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let mut connections: VecDeque<Flood> = VecDeque::new();
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        // The server closes the oldest first.
        while connections.front_mut().is_some_and(|oldest| !oldest.is_open()) {
            connections.pop_front();
        }
        for _ in 0..SILENT_BATCH.min(SILENT - connections.len()) {
            connections.push_back(connect(server, opened).map(Flood::new)?);
            opened += 1;
        }
        thread::sleep(REST);
    }
    Ok(opened)
}

fn churn(server: SocketAddr, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let mut connections: VecDeque<TcpStream> = VecDeque::new();
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..SILENT_BATCH {
            connections.push_back(connect(server, opened)?);
            opened += 1;
        }
        while connections.len() > SILENT {
            connections.pop_front();
        }
        thread::sleep(REST);
    }
    Ok(opened)
}

fn trickle(server: SocketAddr, stop: &AtomicBool) -> Result<u64, SwarmError> {
    const REQUEST: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: swarm\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let again = |number| connect(server, number).map(Flood::new);
    let connections = (0..TRICKLING as u64).map(again).collect::<Result<Vec<_>, SwarmError>>()?;
    byte_by_byte(connections, REQUEST, REQUEST.len(), stop, again)
}

fn crumbs(server: SocketAddr, signer: &Signer, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let abusers = abusers(TRICKLING, signer);
    let again = |number: u64| {
        let abuser = &abusers[usize::try_from(number).expect("there are few")];
        open(server, number, abuser)
    };
    let mut sessions = Vec::new();
    for number in 0..TRICKLING as u64 {
        if stop.load(Ordering::Relaxed) {
            return Ok(0);
        }
        sessions.push(again(number)?);
    }
    let bytes = frames(send_to);
    let frame_bytes = bytes.len() / FRAMES;
    byte_by_byte(sessions, &bytes, frame_bytes, stop, again)
}

/// Writes `bytes` over and over on every connection, one byte of each in turn; those that are closed are opened `again`. Each
/// begins a byte after the one before, but for those a whole frame apart, so that their frames do not all become whole at the same
/// moment: that would be a burst of well-formed frames, which is another thing.
fn byte_by_byte(
    mut connections: Vec<Flood>,
    bytes: &[u8],
    frame_bytes: usize,
    stop: &AtomicBool,
    again: impl Fn(u64) -> Result<Flood, SwarmError>,
) -> Result<u64, SwarmError> {
    let mut sent_bytes = 0;
    let mut rounds = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        rounds += 1;
        let begun = |(index, _): &(usize, &mut Flood)| index % frame_bytes < rounds;
        for (index, connection) in connections.iter_mut().enumerate().filter(begun) {
            let place = usize::try_from(connection.sent_bytes()).unwrap_or_default() % bytes.len();
            match connection.pour(&bytes[place..=place]) {
                Some(bytes) => sent_bytes += bytes,
                None => *connection = again(index as u64)?,
            }
        }
        thread::sleep(REST);
    }
    Ok(sent_bytes)
}

/// Sessions that write `frames` over and over, as far as the server takes it.
fn flood(
    server: SocketAddr,
    signer: &Signer,
    stop: &AtomicBool,
    frames: &[u8],
    reads: bool,
) -> Result<u64, SwarmError> {
    let abusers = abusers(FLOODING, signer);
    let again = |number: usize| open(server, number as u64, &abusers[number]);
    let mut sessions = (0..FLOODING).map(again).collect::<Result<Vec<_>, SwarmError>>()?;
    let mut sent_bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut moved = 0;
        for (number, session) in sessions.iter_mut().enumerate() {
            if reads {
                session.read_all();
            }
            match session.pour(frames) {
                Some(bytes) => moved += bytes,
                None => *session = again(number)?,
            }
        }
        sent_bytes += moved;
        if moved == 0 {
            thread::sleep(REST);
        }
    }
    Ok(sent_bytes)
}

/// Sessions that say one thing which closes them, each again as soon as it is closed.
fn refused(server: SocketAddr, signer: &Signer, stop: &AtomicBool, frame: &[u8]) -> Result<u64, SwarmError> {
    let abusers = abusers(FLOODING, signer);
    let mut closed = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut sessions = Vec::new();
        for (number, abuser) in (0..).zip(&abusers) {
            // Each time from other addresses: the limit of one would end the abuse.
            let mut session = open(server, closed + number, abuser)?;
            // It takes a few bytes at once.
            session.pour(frame);
            sessions.push(session);
        }
        for mut session in sessions {
            while session.is_open() && !stop.load(Ordering::Relaxed) {
                thread::sleep(REST);
            }
            closed += 1;
        }
    }
    Ok(closed)
}

fn reconnect(server: SocketAddr, signer: &Signer, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let abusers = abusers(RETURNING, signer);
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut connections = Vec::new();
        for (number, abuser) in (0..).zip(&abusers) {
            connections.push(begin(server, number, abuser)?);
        }
        for connection in connections {
            if connection.finish().is_ok() {
                opened += 1;
            }
        }
    }
    Ok(opened)
}

fn pings() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1_000 {
        encode::put_masked(&mut bytes, Opcode::Ping, &[], [0; 4]);
    }
    bytes
}

/// [`FRAMES`] frames of one kind and one length, each between two strangers.
fn frames(frame: fn(ConversationId, u64) -> ClientFrame<'static>) -> Vec<u8> {
    let (mut bytes, mut encoder) = (Vec::new(), Encoder::default());
    for number in 0..FRAMES as u64 {
        // A conversation of strangers: the server must look before it can refuse.
        let stranger = || UserId::new(random() | 1).expect("it is not 0");
        let conversation = ConversationId::direct(stranger(), stranger());
        encode::put_masked(&mut bytes, Opcode::Binary, encoder.client(&frame(conversation, number)), [0; 4]);
    }
    bytes
}

fn send_to(conversation: ConversationId, number: u64) -> ClientFrame<'static> {
    let client_message_id = ClientMessageId(u128::from(number).to_be_bytes());
    ClientFrame::Send(Send { client_message_id, conversation, body: body::text("flood").into() })
}

fn fetch_from(conversation: ConversationId, request: u64) -> ClientFrame<'static> {
    ClientFrame::Fetch(Fetch { request, conversation, range: FetchRange::After(Sequence::ZERO), limit: 100 })
}

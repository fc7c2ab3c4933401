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

use super::flood::{Flood, connect, open};
use crate::SwarmError;
use crate::process;
use crate::tokens::Signer;

/// Connections that are open at a time and say nothing.
const SILENT: usize = 10_000;
/// Sessions that flood.
const FLOODING: usize = 10;
/// Connections that send a byte at a time.
const TRICKLING: usize = 500;
/// Sessions that come back at once.
const RETURNING: usize = 500;
/// Abusers share the machine, so they rest when nothing moves.
const REST: Duration = Duration::from_millis(2);

/// A kind of abuse.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 10,000 connections that never say Hello, opened again as they are closed. Counts connections.
    Silent,
    /// Handshakes of one byte at a time on 500 connections. Counts bytes.
    Trickle,
    /// Ten sessions that ping without end. Counts bytes.
    Pings,
    /// Ten sessions that send without end. Counts bytes.
    Sends,
    /// Ten sessions that fetch without end. Counts bytes.
    Fetches,
    /// Ten sessions that fetch without end and read nothing. Counts bytes.
    Deaf,
    /// 500 sessions that break off and come back all at once, again and again. Counts sessions.
    Reconnect,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Silent, Self::Trickle, Self::Pings, Self::Sends, Self::Fetches, Self::Deaf, Self::Reconnect];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Trickle => "trickle",
            Self::Pings => "pings",
            Self::Sends => "sends",
            Self::Fetches => "fetches",
            Self::Deaf => "deaf",
            Self::Reconnect => "reconnect",
        }
    }
}

/// Abuses the server until told to stop; answers how much.
pub(super) fn run(kind: Kind, server: SocketAddr, signer: &Signer, stop: &AtomicBool) -> Result<u64, SwarmError> {
    match kind {
        Kind::Silent => silent(server, stop),
        Kind::Trickle => trickle(server, stop),
        Kind::Pings => flood(server, signer, stop, &pings(), true),
        Kind::Sends => flood(server, signer, stop, &frames(send_to), true),
        Kind::Fetches => flood(server, signer, stop, &frames(fetch_from), true),
        Kind::Deaf => flood(server, signer, stop, &frames(fetch_from), false),
        Kind::Reconnect => reconnect(server, signer, stop),
    }
}

fn silent(server: SocketAddr, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let mut connections: VecDeque<TcpStream> = VecDeque::new();
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        // A batch at a time: the well-behaved share this machine's processors with the abusers.
        for _ in 0..100 {
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
    let mut connections = Vec::new();
    for number in 0..TRICKLING as u64 {
        connections.push(Flood::new(connect(server, number)?));
    }
    let mut sent_bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        for (number, connection) in (0..).zip(&mut connections) {
            let place = usize::try_from(connection.sent_bytes()).unwrap_or_default() % REQUEST.len();
            match connection.pour(&REQUEST[place..=place]) {
                Some(bytes) => sent_bytes += bytes,
                None => *connection = Flood::new(connect(server, number)?),
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
    let users = first_user();
    let mut sessions = Vec::new();
    for number in 0..FLOODING as u64 {
        sessions.push(Flood::new(open(server, number, users + number, signer)?));
    }
    let mut sent_bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut moved = 0;
        for (number, session) in (0..).zip(&mut sessions) {
            if reads {
                session.read_all();
            }
            match session.pour(frames) {
                Some(bytes) => moved += bytes,
                None => *session = Flood::new(open(server, number, users + number, signer)?),
            }
        }
        sent_bytes += moved;
        if moved == 0 {
            thread::sleep(REST);
        }
    }
    Ok(sent_bytes)
}

fn reconnect(server: SocketAddr, signer: &Signer, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let users = first_user();
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut connections = Vec::new();
        for number in 0..RETURNING as u64 {
            connections.push(super::flood::begin(server, number, users + number, signer)?);
        }
        for connection in connections {
            if connection.finish().is_ok() {
                opened += 1;
            }
        }
    }
    Ok(opened)
}

fn first_user() -> u64 {
    (process::random() >> 1) | (1 << 41)
}

fn pings() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1_000 {
        encode::put_masked(&mut bytes, Opcode::Ping, &[], [0; 4]);
    }
    bytes
}

/// Many frames of one kind, each between the first abuser and a stranger.
fn frames(frame: fn(ConversationId, u64) -> ClientFrame<'static>) -> Vec<u8> {
    let (mut bytes, mut encoder) = (Vec::new(), Encoder::default());
    for number in 0..200 {
        // A conversation of strangers: the server must look before it can refuse.
        let stranger = |offset| UserId::new(first_user() + offset).expect("it is far from 0");
        let conversation = ConversationId::direct(stranger(0), stranger(1));
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

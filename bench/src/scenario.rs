//! What is compared: each scenario is one kind of work, done by everybody who can do it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchyard_gateway_core::framing;
use switchyard_gateway_core::handshake::{ECHO_PROTOCOL, Form};
use switchyard_schema::frame::{ClientFrame, Hello};
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::wire::Encoder;
use switchyard_swarm::chat::{self, ChatOptions, Length, Pace};
use switchyard_swarm::tokens::Signer;

use crate::client::{Command, EchoClient, NatsClient, RedisClient, Role, SessionClient};
use crate::limits::{RETURNING_USERS, TAIL_WARM_UP};
use crate::load::messages::{MessageLoad, Until};
use crate::load::quic::{self, Handshake};
use crate::load::{Target, Times, connects, idle, messages};
use crate::server::{Kind, Running};
use crate::table::{Idle, Measured};

/// Payload of an echo.
const ECHO_BYTES: usize = 64;
/// Payload of a message from one to another.
const MESSAGE_BYTES: usize = 100;
/// Connections, or pairs of them, that talk.
const TALKING: usize = 64;
/// Connections that are opening at a time where connecting is measured.
const CONNECTING: usize = 64;
/// At this depth a recipient of ours may ack every eighth message, as the definition of a routed message has it.
const ACK_EVERY_WHEN_DEEP: u32 = 8;
/// Users that connect: far from those the swarm takes.
const FIRST_USER: u64 = 1 << 32;

/// A kind of work.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Echoes to 64 connections.
    Echo {
        /// Messages under way on each.
        depth: u64,
    },
    /// Echoes to 64 connections over QUIC.
    QuicEcho {
        /// Messages under way on each.
        depth: u64,
    },
    /// QUIC connections that are opened, echo one message and are closed.
    QuicConnect(Handshake),
    /// Connections that are opened and ended.
    Connect,
    /// Messages from 64 senders to a receiver each.
    Route {
        /// Messages under way from each sender.
        depth: u64,
    },
    /// One message at a time from one sender to many receivers.
    FanOut {
        /// How many.
        receivers: usize,
    },
    /// Messages that are answered once they are durable, one at a time from each sender.
    Accept {
        /// Senders.
        senders: usize,
    },
}

/// Who takes part, and how.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Contender {
    /// What the table calls it.
    pub name: &'static str,
    /// The server.
    pub kind: Kind,
    /// Whether its connections are authenticated sessions: ours, where it is not the plain echo.
    pub session: bool,
}

const fn contender(name: &'static str, kind: Kind) -> Contender {
    Contender { name, kind, session: false }
}

const fn session(name: &'static str) -> Contender {
    Contender { name, kind: Kind::Switchyard, session: true }
}

/// One comparison.
#[derive(Copy, Clone, Debug)]
pub struct Scenario {
    /// What the table calls it.
    pub name: &'static str,
    /// What is done.
    pub work: Work,
    /// By whom; ours first, where we can.
    pub contenders: &'static [Contender],
}

const ECHOES: &[Contender] = &[
    contender("Switchyard /echo", Kind::Switchyard),
    contender("tokio-tungstenite", Kind::TokioTungstenite),
    contender("fastwebsockets", Kind::Fastwebsockets),
];

const CONNECTS: &[Contender] = &[ECHOES[0], ECHOES[1], ECHOES[2], session("Switchyard session (signed token)")];

const QUIC_ECHOES: &[Contender] =
    &[contender("Switchyard", Kind::SwitchyardQuic), contender("quinn on tokio", Kind::Quinn)];

const ROUTERS: &[Contender] = &[
    session("Switchyard (durable, receipts)"),
    contender("Redis pub/sub (not durable)", Kind::Redis),
    contender("NATS (not durable)", Kind::Nats),
];

const FANS: &[Contender] = &[ROUTERS[1], ROUTERS[2]];

const STORES: &[Contender] =
    &[session("Switchyard, recipients offline"), contender("Redis XADD, appendfsync always", Kind::Redis)];

const IDLERS: &[Contender] = &[
    session("Switchyard session"),
    ECHOES[0],
    ECHOES[1],
    ECHOES[2],
    contender("Redis, one subscription", Kind::Redis),
    contender("NATS, one subscription", Kind::Nats),
];

const QUIC_IDLERS: &[Contender] = &[
    Contender { name: "Switchyard session over QUIC", kind: Kind::SwitchyardQuic, session: true },
    contender("Switchyard echo over QUIC", Kind::SwitchyardQuic),
    QUIC_ECHOES[1],
];

/// Echoes.
pub const ECHO: &[Scenario] = &[
    Scenario { name: "echo 64 B, depth 1", work: Work::Echo { depth: 1 }, contenders: ECHOES },
    Scenario { name: "echo 64 B, depth 16", work: Work::Echo { depth: 16 }, contenders: ECHOES },
];

/// Connecting.
pub const CONNECT: &[Scenario] = &[Scenario { name: "connect and end", work: Work::Connect, contenders: CONNECTS }];

/// The same over QUIC.
pub const QUIC: &[Scenario] = &[
    Scenario { name: "QUIC echo 64 B, depth 1", work: Work::QuicEcho { depth: 1 }, contenders: QUIC_ECHOES },
    Scenario { name: "QUIC echo 64 B, depth 16", work: Work::QuicEcho { depth: 16 }, contenders: QUIC_ECHOES },
    Scenario { name: "QUIC full handshake", work: Work::QuicConnect(Handshake::Full), contenders: QUIC_ECHOES },
    Scenario { name: "QUIC resumed handshake", work: Work::QuicConnect(Handshake::Resumed), contenders: QUIC_ECHOES },
];

/// From one to another.
pub const ROUTE: &[Scenario] = &[
    Scenario { name: "route 1:1, 100 B, depth 1", work: Work::Route { depth: 1 }, contenders: ROUTERS },
    Scenario { name: "route 1:1, 100 B, depth 16", work: Work::Route { depth: 16 }, contenders: ROUTERS },
];

/// From one to many: ours has no groups yet.
pub const FAN_OUT: &[Scenario] = &[Scenario {
    name: "fan-out 1→1,000, 100 B, per delivery",
    work: Work::FanOut { receivers: 1_000 },
    contenders: FANS,
}];

/// Durable accepts.
pub const ACCEPT: &[Scenario] = &[
    Scenario { name: "durable accepts, 64 senders", work: Work::Accept { senders: 64 }, contenders: STORES },
    Scenario { name: "durable accepts, 1,024 senders", work: Work::Accept { senders: 1_024 }, contenders: STORES },
];

/// What an idle connection costs; connections at the first and at the second reading of memory.
pub const IDLE: (usize, usize, &[Contender]) = (1_000, 10_000, IDLERS);

/// The same over QUIC.
pub const QUIC_IDLE: (usize, usize, &[Contender]) = (1_000, 10_000, QUIC_IDLERS);

impl Contender {
    /// Does `work` once.
    ///
    /// # Errors
    /// A sentence about what went wrong; a message lost or out of order counts.
    pub fn run(&self, work: Work, server: &Running, times: Times) -> Result<Measured, String> {
        let target = server.target();
        let signer = self.signer(server);
        match (work, signer) {
            (Work::QuicEcho { depth }, _) => quic::echoes(TALKING, depth, ECHO_BYTES, &target, times),
            (Work::QuicConnect(handshake), _) => quic::handshakes(handshake, &target, times),
            (Work::Connect, None) => connects::run(CONNECTING, &target, times, |_| EchoClient::new(ECHO_BYTES)),
            (Work::Connect, Some(signer)) => {
                connects::run(CONNECTING, &target, times, sessions(signer, RETURNING_USERS))
            }
            (Work::Route { depth }, Some(signer)) => talk(&target, signer, TALKING, depth, true, times),
            (Work::Accept { senders }, Some(signer)) => talk(&target, signer, senders, 1, false, times),
            (work, _) => {
                let load = work.message_load(self.kind);
                match self.kind {
                    Kind::Redis => messages::run(load, &target, times, |role| work.redis(role)),
                    Kind::Nats => messages::run(load, &target, times, |role| NatsClient::new(role, MESSAGE_BYTES)),
                    Kind::Switchyard | Kind::TokioTungstenite | Kind::Fastwebsockets => {
                        messages::run(load, &target, times, |_| EchoClient::new(ECHO_BYTES))
                    }
                    Kind::SwitchyardQuic | Kind::Quinn => unreachable!("they are met over QUIC alone"),
                }
            }
        }
    }

    /// Holds connections without traffic.
    ///
    /// # Errors
    /// A sentence about what went wrong.
    pub fn idle(&self, first: usize, count: usize, server: &Running) -> Result<Idle, String> {
        let target = server.target();
        let listener = |number| Role { sender: usize::try_from(number).expect("a count of connections"), sends: false };
        match (self.kind, self.signer(server)) {
            (Kind::SwitchyardQuic, Some(signer)) => {
                quic::idle(first, count, &target, Form::Binary.subprotocol(), hellos(signer))
            }
            (Kind::SwitchyardQuic | Kind::Quinn, None) => {
                quic::idle(first, count, &target, ECHO_PROTOCOL, |_| b"x".to_vec())
            }
            (_, Some(signer)) => idle::run(first, count, &target, sessions(signer, count)),
            (Kind::Redis, _) => {
                let client = |number| RedisClient::new(listener(number), Command::Publish, MESSAGE_BYTES);
                idle::run(first, count, &target, client)
            }
            (Kind::Nats, _) => {
                idle::run(first, count, &target, |number| NatsClient::new(listener(number), MESSAGE_BYTES))
            }
            _ => idle::run(first, count, &target, |_| EchoClient::new(ECHO_BYTES)),
        }
    }

    fn signer<'s>(&self, server: &'s Running) -> Option<&'s Signer> {
        match server {
            Running::Switchyard(_, signer) if self.session => Some(signer),
            _ => None,
        }
    }
}

impl Work {
    /// How long it goes on before it is measured: as long as was `asked` for, and where messages are kept until the memory
    /// for the newest is full.
    #[must_use]
    pub fn warm_up(self, asked: Duration) -> Duration {
        match self {
            Self::Route { .. } | Self::Accept { .. } => asked.max(TAIL_WARM_UP),
            Self::Echo { .. } | Self::QuicEcho { .. } | Self::QuicConnect(_) | Self::Connect | Self::FanOut { .. } => {
                asked
            }
        }
    }

    fn message_load(self, kind: Kind) -> MessageLoad {
        let (senders, receivers, depth) = match self {
            Self::Echo { depth } => (TALKING, 0, depth),
            Self::Route { depth } => (TALKING, 1, depth),
            Self::FanOut { receivers } => (1, receivers, 1),
            Self::Accept { senders } => (senders, 0, 1),
            Self::QuicEcho { .. } | Self::QuicConnect(_) | Self::Connect => unreachable!("it has a load of its own"),
        };
        let until = match (self, kind) {
            (Self::Accept { .. }, _) => Until::Answered,
            (Self::Route { .. } | Self::FanOut { .. }, Kind::Redis) => Until::AnsweredAndDelivered,
            _ => Until::Delivered,
        };
        MessageLoad { senders, receivers, until, depth }
    }

    fn redis(self, role: Role) -> RedisClient {
        let command = if matches!(self, Self::Accept { .. }) { Command::Append } else { Command::Publish };
        RedisClient::new(role, command, MESSAGE_BYTES)
    }
}

/// Sessions of so many users in turn, whose tokens are signed in advance.
fn sessions(signer: &Signer, users: usize) -> impl FnMut(u64) -> SessionClient {
    let users: Vec<(UserId, String)> = (0..users as u64)
        .map(|number| UserId::new(FIRST_USER + number).expect("not zero"))
        .map(|user| (user, signer.token(user)))
        .collect();
    let encoder = Rc::new(RefCell::new(Encoder::new()));
    move |number| {
        let place = usize::try_from(number % users.len() as u64).expect("a place in a Vec");
        let (user, token) = &users[place];
        SessionClient::new(*user, token.clone(), encoder.clone())
    }
}

/// What sessions over QUIC begin with, each of a user of its own.
fn hellos(signer: &Signer) -> impl FnMut(usize) -> Vec<u8> {
    let (mut encoder, device) = (Encoder::new(), DeviceId::new(1).expect("not zero"));
    move |number| {
        let user = UserId::new(FIRST_USER + number as u64).expect("not zero");
        let token = Some(signer.token(user).into());
        framing::frame(encoder.client(&ClientFrame::Hello(Hello { token, device }))).to_vec()
    }
}

/// Ours, over the swarm, which checks every message: Send and Accepted, and where recipients are online also Deliver, Ack
/// and Receipt.
fn talk(
    target: &Target,
    signer: &Signer,
    senders: usize,
    depth: u64,
    recipients_online: bool,
    times: Times,
) -> Result<Measured, String> {
    let depth = u32::try_from(depth).expect("a depth is small");
    let options = ChatOptions {
        pace: Pace::Depth { depth, until: chat::Until::Accepted },
        length: Length::Time { warm_up: times.warm_up, measured: times.measured },
        text_bytes: MESSAGE_BYTES,
        recipients_online,
        ack_every: if depth > 1 { ACK_EVERY_WHEN_DEEP } else { 1 },
        server_pid: Some(target.pid),
        ..ChatOptions::new(target.address, u32::try_from(senders).expect("senders are few"))
    };
    let report = chat::run(&options, signer, &mut |_| {}).map_err(|error| error.to_string())?;
    if report.faults.any() {
        return Err(format!("Switchyard did wrong: {:?}", report.faults));
    }
    let latency = if recipients_online { report.delivered } else { report.accepted };
    let server_cpu_us = report.server_cpu_us_per_message.unwrap_or_default();
    Ok(Measured {
        server_cpu_us,
        per_s: report.messages_per_s,
        p50_us: latency.p50_us,
        p99_us: latency.p99_us,
        server_busy: server_cpu_us * report.messages_per_s / 1e6,
        load_busy: report.swarm_cpu_us_per_message * report.messages_per_s / 1e6,
    })
}

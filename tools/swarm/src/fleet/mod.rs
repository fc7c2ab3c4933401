//! Very many light sessions on one thread: opened in order, kept alive, brought back when asked for.
//!
//! A session that says nothing is a hundred bytes here: its socket's place, sixteen bytes of WebSocket, and what it has
//! sent and got. Tokens are signed when they are needed and forgotten, unless the run will need them again.

mod opening;
mod pairing;
mod talk;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use switchyard_schema::frame::{ClientFrame, ErrorFrame, Regarding, ServerFrame};
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use switchyard_schema::wire::{Encoder, parse_server};

use crate::SwarmError;
use crate::crew::{self, Order, Seat, Stage};
use crate::ending::Ending;
use crate::event_loop::{Ended, SocketId, Sockets, Turn, Work};
use crate::limits::{ASKED_MAX, OPENS_PER_TURN_MAX, SENDS_PER_TURN_MAX, TURN_PAUSE_MAX};
use crate::random::random;
use crate::routes::Routes;
use crate::schedule::Schedule;
use crate::session::{put_frame, put_hello, request};
use crate::tokens::Signer;
use crate::transport::Transport;
use crate::wire::{Framing, Said, Wire, put_ping, put_pong};

use opening::Opening;
pub(crate) use pairing::Pairing;
use talk::Talk;
pub(crate) use talk::{Account, TalkPlan};

/// What the fleets of all threads have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Users have the numbers from here on.
    pub(crate) first_user: u64,
    pub(crate) routes: Routes,
    pub(crate) transport: Transport,
    pub(crate) signer: Signer,
    /// Connections begun per second by all threads; as many as go when missing.
    pub(crate) opens_per_s: Option<f64>,
    /// Connections under way at once, of all threads.
    pub(crate) opening_max: u32,
    /// Whether connections that end come back.
    pub(crate) returns: bool,
    /// Messages, if there are any.
    pub(crate) talk: Option<TalkPlan>,
}

/// The sessions of one thread.
#[derive(Debug)]
pub(crate) struct Fleet {
    seat: Seat,
    plan: Arc<Plan>,
    members: Vec<Member>,
    /// By socket.
    owners: Vec<u32>,
    opening: Opening,
    opening_max: u64,
    order: Order,
    talk: Option<Talk>,
    /// What the server said to a connection before it ended.
    told: HashMap<u32, Told>,
    /// Kept only when members come back.
    tokens: Vec<Option<Box<str>>>,
    /// Asked whether they are alive: the next one, and how many have not answered.
    next_asked: u32,
    unanswered: u32,
    encoder: Encoder,
    framing: Framing,
    failed: Option<SwarmError>,
}

#[derive(Debug, Default)]
struct Member {
    wire: Wire,
    socket: u32,
    state: State,
    /// Attempts so far; what counts is only whether it changed.
    attempt: u8,
    /// Attempts that failed in a row.
    failures: u8,
    is_asked: bool,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum State {
    /// Not connected, and to be tried some time.
    #[default]
    Away,
    Opening,
    Open,
    /// Not connected, and not to be tried.
    Gone,
}

#[derive(Copy, Clone, Debug)]
struct Told {
    ending: Ending,
    hint_ms: Option<u32>,
}

/// What is left of a fleet.
#[derive(Debug)]
pub(crate) struct Left {
    /// What each member has sent and got; empty when nothing was to be said.
    pub(crate) accounts: Vec<Account>,
    /// Which members were open.
    pub(crate) open: Vec<bool>,
    pub(crate) pairing: Option<Pairing>,
}

impl Fleet {
    pub(crate) fn new(seat: Seat, plan: Arc<Plan>) -> Self {
        let (place, count) = ((seat.thread, seat.layout.threads), seat.layout.count_of(seat.thread));
        let schedule = plan.opens_per_s.map(|rate| Schedule::new(seat.orders.begun(), rate, place));
        let mut members = Vec::new();
        members.resize_with(count as usize, Member::default);
        Self {
            members,
            owners: Vec::with_capacity(count as usize),
            opening: Opening::new(count, schedule, random()),
            opening_max: u64::from(plan.opening_max.div_ceil(seat.layout.threads).max(1)),
            order: seat.orders.first(),
            talk: plan.talk.map(|talk| Talk::new(talk, plan.first_user, &seat)),
            told: HashMap::new(),
            tokens: Vec::new(),
            next_asked: 0,
            unanswered: 0,
            encoder: Encoder::new(),
            framing: plan.transport.framing(),
            failed: None,
            seat,
            plan,
        }
    }

    fn user(&self, member: u32) -> UserId {
        user(self.plan.first_user, self.seat.global(member))
    }

    /// Does what a new order says.
    fn on_order(&mut self, sockets: &mut Sockets, order: Order) {
        self.order = order;
        let given = order.given;
        match order.stage {
            Stage::Talk => {
                if let Some(talk) = &mut self.talk {
                    // By then every thread has heard of it; what was due earlier would be late by the swarm's own fault.
                    talk.on_begin(given + TURN_PAUSE_MAX, &self.seat);
                }
            }
            Stage::Settle => self.on_settle(sockets, given),
            Stage::Storm(_) => self.on_storm(sockets, given),
            _ => {}
        }
    }

    /// Sends what was due before the order was given, as far as it may be sent, and nothing more.
    fn on_settle(&mut self, sockets: &mut Sockets, given: Instant) {
        while self.send_due(sockets, given) {}
        if let Some(talk) = &mut self.talk {
            talk.on_end(given, &self.seat);
        }
        self.seat.tally.counts.settled.add(1);
    }

    /// Cuts everybody off, and lets them come back as clients do.
    fn on_storm(&mut self, sockets: &mut Sockets, now: Instant) {
        self.opening.on_storm();
        // Nobody waits for others to be back first.
        self.opening_max = u64::MAX;
        self.told.clear();
        let counts = &self.seat.tally.counts;
        counts.open.set(0);
        counts.opening.set(0);
        counts.cuts.add(1);
        for (number, member) in (0..).zip(&mut self.members) {
            if matches!(member.state, State::Opening | State::Open) {
                sockets.close(member.socket as SocketId);
            }
            if member.state != State::Gone {
                (member.state, member.failures) = (State::Away, 0);
                self.opening.come_back(number, 0, None, now);
            }
        }
    }

    /// Begins what is due. `true` when there is more than one turn's worth.
    fn open_some(&mut self, sockets: &mut Sockets, now: Instant) -> bool {
        while let Some((number, attempt)) = self.opening.take_expired(now) {
            let member = &self.members[number as usize];
            if member.state == State::Opening && member.attempt == attempt {
                self.end(sockets, number, Ending::TimedOut, now);
            }
        }
        for _ in 0..OPENS_PER_TURN_MAX {
            if self.seat.tally.counts.opening.get() >= self.opening_max {
                return false;
            }
            let Some(number) = self.opening.take_due(now) else { return false };
            self.attempt(sockets, number, now);
        }
        true
    }

    fn attempt(&mut self, sockets: &mut Sockets, number: u32, now: Instant) {
        let route = self.plan.routes.of(self.seat.global(number));
        let member = &mut self.members[number as usize];
        member.attempt = member.attempt.wrapping_add(1);
        member.state = State::Opening;
        self.opening.on_attempt(number, member.attempt, now);
        self.seat.tally.counts.attempts.add(1);
        self.seat.tally.counts.opening.add(1);
        match sockets.connect(route) {
            Ok(id) => {
                member.socket = u32::try_from(id).expect("a descriptor table holds fewer");
                self.owners.resize(self.owners.len().max(id + 1), 0);
                self.owners[id] = number;
            }
            Err(error) if is_of_this_machine(&error) => {
                self.failed = Some(SwarmError::Io { what: "opening a socket".to_owned(), source: error });
            }
            Err(error) => self.on_ended(number, Ending::Io(error.kind()), now),
        }
    }

    fn on_welcome(&mut self, number: u32, now: Instant) {
        let member = &mut self.members[number as usize];
        (member.state, member.failures) = (State::Open, 0);
        let tally = &self.seat.tally;
        tally.counts.opening.subtract(1);
        tally.counts.open.add(1);
        tally.counts.opened.add(1);
        if let Stage::Storm(_) = self.order.stage {
            tally.record_latency(now.saturating_duration_since(self.order.given));
        }
    }

    /// Ends a connection from here.
    fn end(&mut self, sockets: &mut Sockets, number: u32, ending: Ending, now: Instant) {
        sockets.close(self.members[number as usize].socket as SocketId);
        self.on_ended(number, ending, now);
    }

    /// A connection has ended, or an attempt failed; a reason that the server gave counts more than how it ended.
    fn on_ended(&mut self, number: u32, ending: Ending, now: Instant) {
        let Told { ending, hint_ms } = self.told.remove(&number).unwrap_or(Told { ending, hint_ms: None });
        let member = &mut self.members[number as usize];
        let (tally, counts) = (&self.seat.tally, &self.seat.tally.counts);
        tally.count_reason(ending.to_string());
        let was_open = member.state == State::Open;
        if was_open {
            counts.open.subtract(1);
            counts.dropped.add(1);
        } else {
            counts.opening.subtract(1);
            counts.failed_attempts.add(1);
            counts.refused.add(u64::from(ending.is_refusal()));
        }
        if std::mem::take(&mut member.is_asked) {
            self.unanswered -= 1;
        }
        if ending.may_come_back() && (self.plan.returns || !was_open) {
            member.state = State::Away;
            self.opening.come_back(number, member.failures, hint_ms, now);
            member.failures = member.failures.saturating_add(1);
        } else {
            member.state = State::Gone;
            counts.given_up.add(u64::from(!was_open));
        }
    }

    fn on_said(&mut self, sockets: &mut Sockets, id: SocketId, number: u32, said: Said<'_>, now: Instant) {
        match said {
            Said::Upgraded => self.say_hello(sockets, id, number),
            Said::Ping(payload) => {
                self.seat.tally.counts.heartbeats.add(1);
                if let (Some(out), Framing::WebSocket(masks)) = (sockets.out(id), &mut self.framing) {
                    put_pong(out, &payload, masks);
                }
            }
            Said::Pong => self.on_pong(number),
            Said::Close { code } => self.end(sockets, number, Ending::CloseCode(code), now),
            Said::Text(_) => self.end(sockets, number, Ending::Breach, now),
            Said::Binary(bytes) => match parse_server(&bytes) {
                Ok(frame) => self.on_frame(sockets, id, number, &frame, now),
                Err(_) => self.end(sockets, number, Ending::Breach, now),
            },
        }
    }

    fn on_pong(&mut self, number: u32) {
        if std::mem::take(&mut self.members[number as usize].is_asked) {
            self.unanswered -= 1;
            self.seat.tally.counts.alive.add(1);
        }
    }

    fn on_frame(&mut self, sockets: &mut Sockets, id: SocketId, number: u32, frame: &ServerFrame<'_>, now: Instant) {
        match (frame, &mut self.talk) {
            (ServerFrame::Welcome(_), _) => self.on_welcome(number, now),
            (ServerFrame::Error(error), _) => self.on_error(sockets, number, error, now),
            (ServerFrame::Drain { reconnect_after_ms }, _) => {
                self.told.insert(number, Told { ending: Ending::Drained, hint_ms: Some(*reconnect_after_ms) });
            }
            (ServerFrame::Accepted(accepted), Some(talk)) => talk.on_accepted(number, accepted, &self.seat),
            (ServerFrame::Deliver(deliver), Some(talk)) => {
                let ack = talk.on_deliver(number, deliver, now, &self.seat);
                if let Some(out) = sockets.out(id) {
                    put_frame(out, &ClientFrame::Ack(ack), &mut self.encoder, &mut self.framing);
                }
            }
            (ServerFrame::Pong { .. }, _) => self.on_pong(number),
            (ServerFrame::Receipt(_), _) => {}
            // Users of a run have no history and ask for none.
            (ServerFrame::Accepted(_) | ServerFrame::Deliver(_) | ServerFrame::Page(_), _) => {
                self.end(sockets, number, Ending::Breach, now);
            }
        }
    }

    fn on_error(&mut self, sockets: &mut Sockets, number: u32, error: &ErrorFrame<'_>, now: Instant) {
        let told = Told { ending: Ending::Refused(error.code), hint_ms: error.retry_after_ms };
        match (error.regarding, &mut self.talk) {
            (Regarding::Send(id), Some(talk)) => {
                self.seat.tally.count_reason(format!("a message: {}", error.code.name()));
                talk.on_refused(number, id, &self.seat);
            }
            _ if error.code.fatal() || self.members[number as usize].state == State::Opening => {
                self.told.insert(number, told);
                self.end(sockets, number, told.ending, now);
            }
            // The session goes on, and perhaps not for long.
            _ => drop(self.told.insert(number, told)),
        }
    }

    fn say_hello(&mut self, sockets: &mut Sockets, id: SocketId, number: u32) {
        let (user, device) = (self.user(number), DeviceId::new(1).expect("one is not zero"));
        let Some(out) = sockets.out(id) else { return };
        let token: Cow<'_, str> = if self.plan.returns {
            self.tokens.resize(self.members.len(), None);
            let kept = &mut self.tokens[number as usize];
            Cow::Borrowed(kept.get_or_insert_with(|| self.plan.signer.token(user).into()))
        } else {
            Cow::Owned(self.plan.signer.token(user))
        };
        put_hello(out, device, &token, &mut self.encoder, &mut self.framing);
    }

    /// Sends what is due by `until`. `true` when there is more than one turn's worth.
    fn send_due(&mut self, sockets: &mut Sockets, until: Instant) -> bool {
        let Some(talk) = &mut self.talk else { return false };
        talk.notice(until, Instant::now(), &self.seat);
        for _ in 0..SENDS_PER_TURN_MAX {
            let is_open = |member: u32| self.members[member as usize].state == State::Open;
            let Some(due) = talk.take_due(&self.seat, is_open) else { return false };
            if let Some(out) = sockets.out(self.members[due.member as usize].socket as SocketId) {
                put_frame(out, &talk.send(&due, &self.seat), &mut self.encoder, &mut self.framing);
            }
        }
        true
    }

    /// Asks those who are open whether they are alive, a few at a time.
    fn ask(&mut self, sockets: &mut Sockets) {
        while self.unanswered < ASKED_MAX
            && let Some(member) = self.members.get_mut(self.next_asked as usize)
        {
            self.next_asked += 1;
            if member.state == State::Open
                && let Some(out) = sockets.out(member.socket as SocketId)
            {
                match &mut self.framing {
                    Framing::WebSocket(masks) => put_ping(out, masks),
                    // A stream has no pings of its own.
                    Framing::Stream => {
                        put_frame(out, &ClientFrame::Ping { nonce: 1 }, &mut self.encoder, &mut self.framing);
                    }
                }
                member.is_asked = true;
                self.unanswered += 1;
            }
        }
    }
}

impl Work for Fleet {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        let number = self.owners[id];
        let user = self.user(number);
        let wire = &mut self.members[number as usize].wire;
        match (&self.framing, sockets.out(id)) {
            (Framing::WebSocket(_), Some(out)) => wire.start(&request(user), out),
            (Framing::Stream, _) => {
                wire.start_stream();
                self.say_hello(sockets, id, number);
            }
            (_, None) => {}
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let (now, number, mut at) = (Instant::now(), self.owners[id], 0);
        let user = self.user(number);
        while at < bytes.len() && sockets.holds(id) {
            let wire = &mut self.members[number as usize].wire;
            match wire.decode(&mut bytes[at..], &request(user), SERVER_FRAME_BYTES_MAX) {
                Ok(step) => {
                    at += step.consumed;
                    if let Some(said) = step.said {
                        self.on_said(sockets, id, number, said, now);
                    }
                }
                Err(error) => {
                    let (ending, hint_ms) = Ending::of_wire(&error);
                    self.told.insert(number, Told { ending, hint_ms });
                    self.end(sockets, number, ending, now);
                }
            }
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, ended: Ended) {
        let (number, ending) = (self.owners[id], Ending::of(ended));
        if let Ended::Code { come_back_ms: hint_ms @ Some(_), .. } = ended {
            self.told.entry(number).or_insert(Told { ending, hint_ms });
        }
        self.on_ended(number, ending, Instant::now());
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        self.seat.note_cpu(now);
        self.seat.tally.counts.migrations.set(sockets.migrations());
        if self.owners.is_empty() {
            sockets.reserve(self.members.len());
        }
        let order = self.seat.orders.present();
        if order != self.order {
            self.on_order(sockets, order);
        }
        let stage = order.stage;
        if stage == Stage::Stop || self.failed.is_some() {
            return Turn::Stop;
        }
        let mut more = self.open_some(sockets, now);
        match stage {
            Stage::Talk => more |= self.send_due(sockets, now),
            Stage::Ask => self.ask(sockets),
            _ => {}
        }
        let next = self.talk.as_ref().and_then(Talk::next_due).into_iter().chain(self.opening.next_due()).min();
        match next {
            _ if more => Turn::By(now),
            Some(next) if next > now => Turn::By(next),
            // What is due and cannot be done waits for an answer, or for its turn.
            _ => Turn::By(now + TURN_PAUSE_MAX),
        }
    }
}

impl crew::Member for Fleet {
    type Left = Left;

    fn finish(self) -> Result<Left, SwarmError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let open = self.members.iter().map(|member| member.state == State::Open).collect();
        let (accounts, pairing) = self.talk.map(Talk::into_accounts).unzip();
        Ok(Left { accounts: accounts.unwrap_or_default(), open, pairing })
    }
}

/// The user with this number.
fn user(first_user: u64, number: u32) -> UserId {
    UserId::new(first_user + u64::from(number)).expect("users of a run are far from zero")
}

/// Whether an attempt failed because this machine has no more to give, so that every other would fail too.
fn is_of_this_machine(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

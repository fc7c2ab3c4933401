//! The pairs of one thread on their sockets.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_schema::body;
use switchyard_schema::frame::{Ack, ClientFrame, Send, ServerFrame};
use switchyard_schema::ids::{ClientMessageId, DeviceId, Sequence, UserId};
use switchyard_schema::limits::PENDING_SENDS_MAX;
use switchyard_schema::wire::{Encoder, parse_server};

use super::course::Published;
use super::gate::Gates;
use super::pair::{Pair, Recorder, Window};
use super::part::Found;
use super::{ChatOptions, Length, Pace, TEXT_BYTES_MIN, Until};
use crate::SwarmError;
use crate::ending::Ending;
use crate::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use crate::latency::Latencies;
use crate::limits::{CHAT_PATIENCE, CONNECTING_MAX, LATENCIES_PAUSE, SENDS_PER_TURN_MAX, TURN_PAUSE_MAX};
use crate::routes::Routes;
use crate::sample::Sample;
use crate::schedule::Paced;
use crate::session::{Incoming, Session};
use crate::stamp;
use crate::tokens::Signer;
use crate::transport::Transport;

const DEVICE: u64 = 1;

pub(super) struct ChatWork {
    options: ChatOptions,
    routes: Arc<Routes>,
    gates: Arc<Gates>,
    published: Published,
    counts: Sample,
    /// Latencies since they were last published.
    latencies: Latencies,
    latencies_at: Instant,
    pairs: Vec<Pair>,
    /// Not yet connected, the next one last.
    waiting: Vec<Member>,
    /// By socket.
    members: Vec<Option<Member>>,
    /// Sockets of the senders, by pair.
    senders: Vec<SocketId>,
    /// Sockets of the recipients, by pair.
    recipients: Vec<SocketId>,
    connecting: usize,
    welcomed: usize,
    phase: Phase,
    /// When it is given up to wait for what this phase waits for.
    deadline: Instant,
    /// Answers of the server when it was last put off.
    answers: u64,
    /// The messages of each pair in an open loop, and whose turn is next.
    paced: Vec<Paced>,
    next_pair: usize,
    /// Of an open loop: messages that were due earlier are not measured.
    measured_from: Instant,
    place: (u32, u32),
    body: Vec<u8>,
    encoder: Encoder,
    scratch: Vec<u8>,
    found: Found,
    failed: Option<String>,
}

struct Member {
    /// In the whole run.
    number: u32,
    session: Session,
    pair: usize,
    sends: bool,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    WarmUp { until: Instant },
    Measuring { until: Option<Instant> },
    Finishing,
}

impl ChatWork {
    pub(super) fn new(
        options: &ChatOptions,
        (first_user, signer): (u64, &Signer),
        (thread, threads): (u32, u32),
        (routes, gates): (Arc<Routes>, Arc<Gates>),
        (transport, published): (&Transport, Published),
    ) -> Self {
        let device = DeviceId::new(DEVICE).expect("not zero");
        let (mut pairs, mut waiting) = (Vec::new(), Vec::new());
        for number in (thread..options.pairs).step_by(threads as usize) {
            let user = |offset| UserId::new(first_user + 2 * u64::from(number) + offset).expect("not zero");
            let (sender, recipient) = (user(0), user(1));
            let member = |user, sends: bool| Member {
                number: number * options.of_pair() + u32::from(!sends),
                session: Session::framed(user, device, signer.token(user), transport.framing()),
                pair: pairs.len(),
                sends,
            };
            waiting.push(member(sender, true));
            if options.recipients_online {
                waiting.push(member(recipient, false));
            }
            pairs.push(Pair::new(sender, recipient, options.recipients_online));
        }
        let now = Instant::now();
        Self {
            body: body::text(&"x".repeat(options.text_bytes.max(TEXT_BYTES_MIN))),
            senders: vec![0; pairs.len()],
            recipients: vec![0; pairs.len()],
            options: options.clone(),
            routes,
            gates,
            published,
            counts: Sample::default(),
            latencies: Latencies::default(),
            latencies_at: now,
            pairs,
            waiting,
            members: Vec::new(),
            connecting: 0,
            welcomed: 0,
            phase: Phase::Connecting,
            deadline: now + CHAT_PATIENCE,
            answers: 0,
            paced: Vec::new(),
            measured_from: now,
            place: (thread, threads),
            next_pair: 0,
            encoder: Encoder::new(),
            scratch: Vec::new(),
            found: Found::default(),
            failed: None,
        }
    }

    pub(super) fn run(mut self, transport: &Transport) -> Result<Found, SwarmError> {
        let result = event_loop::run_over(transport, &mut self).map_err(SwarmError::io("epoll"));
        self.publish(true);
        // Whatever happened, the main thread must not be left waiting at a gate.
        if result.is_err() || self.failed.is_some() {
            self.gates.break_off();
        }
        if self.phase != Phase::Finishing {
            self.gates.measured.pass();
        }
        result?;
        if let Some(failed) = self.failed {
            return Err(SwarmError::Server(failed));
        }
        for pair in &self.pairs {
            pair.on_end(&mut self.found.faults);
            self.found.total_messages += pair.routed();
        }
        Ok(self.found)
    }

    fn connect_more(&mut self, sockets: &mut Sockets) {
        while self.connecting < CONNECTING_MAX
            && let Some(member) = self.waiting.pop()
        {
            match sockets.connect(self.routes.of(member.number)) {
                Ok(id) => {
                    let places = if member.sends { &mut self.senders } else { &mut self.recipients };
                    places[member.pair] = id;
                    if self.members.len() <= id {
                        self.members.resize_with(id + 1, || None);
                    }
                    self.members[id] = Some(member);
                    self.connecting += 1;
                }
                Err(error) => return self.failed = Some(format!("connecting: {error}")),
            }
        }
    }

    /// Lets the main thread know how it stands: every turn, since a count that is late shows as a rate that was not.
    fn publish(&mut self, with_latencies: bool) {
        let faults = &self.found.faults;
        let ended = faults.disconnected;
        let counts = Sample {
            open: (self.welcomed as u64).saturating_sub(ended),
            opening: self.connecting as u64,
            dropped: ended,
            refused: faults.refused,
            ..self.counts
        };
        let mut progress = self.published.lock().expect("nobody panics while it reads");
        progress.counts = counts;
        if with_latencies {
            progress.latencies.add(&std::mem::take(&mut self.latencies));
        }
    }

    fn routed(&self) -> u64 {
        self.pairs.iter().map(Pair::routed).sum()
    }

    /// A counted run goes on for as long as the server answers, or owes nothing because the next message is not yet due.
    fn note_progress(&mut self, now: Instant) {
        let (answers, is_open) = (self.pairs.iter().map(Pair::answers).sum(), !self.paced.is_empty());
        if answers != self.answers || (is_open && self.pairs.iter().all(Pair::is_answered)) {
            self.answers = answers;
            self.deadline = now + CHAT_PATIENCE;
        }
    }

    /// Moves on to the next phase when its time has come.
    fn advance(&mut self, sockets: &mut Sockets, now: Instant) {
        match self.phase {
            Phase::Connecting if self.welcomed == self.members.len() && self.waiting.is_empty() => {
                self.gates.connected.pass();
                let now = Instant::now();
                self.measured_from = now;
                self.deadline = now + CHAT_PATIENCE;
                self.pace(now);
                self.phase = match self.options.length {
                    Length::Time { warm_up, .. } => Phase::WarmUp { until: now + warm_up },
                    Length::Messages(_) => Phase::Measuring { until: None },
                };
                for pair in 0..self.pairs.len() {
                    self.fill(sockets, pair, now);
                }
            }
            Phase::WarmUp { until } if now >= until => {
                let Length::Time { measured, .. } = self.options.length else {
                    unreachable!("only timed runs warm up")
                };
                // Subtracted again when the measuring ends.
                self.found.messages = self.routed();
                self.measured_from = until;
                self.phase = Phase::Measuring { until: Some(until + measured) };
            }
            Phase::Measuring { until: Some(until) } if now >= until => {
                // Whatever is due at this moment is not of the measured time any more.
                while self.send_due(sockets, until - Duration::from_nanos(1)) {}
                self.count_unsent(until);
                self.finish(sockets, now);
            }
            Phase::Measuring { until: None } if self.pairs.iter().all(|pair| self.is_complete(pair)) => {
                self.finish(sockets, now);
            }
            _ => {}
        }
    }

    /// Stops sending, and has recipients acknowledge all they have.
    fn finish(&mut self, sockets: &mut Sockets, now: Instant) {
        self.found.messages = self.routed() - self.found.messages;
        self.phase = Phase::Finishing;
        self.paced.clear();
        self.deadline = now + CHAT_PATIENCE;
        self.gates.measured.pass();
        for pair in 0..self.pairs.len() {
            self.acknowledge(sockets, pair);
        }
    }

    fn is_complete(&self, pair: &Pair) -> bool {
        matches!(self.options.length, Length::Messages(count) if pair.routed() >= count)
    }

    /// When the next message of an open loop is due, or it is time to look around.
    fn next_due(&self, now: Instant) -> Instant {
        let pause = now + TURN_PAUSE_MAX;
        self.paced.get(self.next_pair).map_or(pause, |paced| paced.next_due().min(pause))
    }

    /// Which messages the result is made from now.
    fn window(&self) -> Window {
        let from = self.measured_from;
        match (self.options.pace, self.phase) {
            (Pace::Depth { .. }, Phase::Measuring { .. }) => Window::Open,
            (Pace::PerSecond(_), Phase::Measuring { until }) => Window::Due { from, until },
            // What was sent too late is never sent: whatever comes was due in time.
            (Pace::PerSecond(_), Phase::Finishing) => Window::Due { from, until: None },
            _ => Window::Closed,
        }
    }

    /// How many messages a pair sends in the whole run.
    const fn count_max(&self) -> u64 {
        match self.options.length {
            Length::Messages(count) => count,
            Length::Time { .. } => u64::MAX,
        }
    }

    /// Sends what a pair may send now.
    fn fill(&mut self, sockets: &mut Sockets, pair: usize, now: Instant) {
        let Pace::Depth { depth, until } = self.options.pace else { return };
        if !matches!(self.phase, Phase::WarmUp { .. } | Phase::Measuring { .. }) {
            return;
        }
        let count_max = self.count_max();
        let under_way = |pair: &Pair| match until {
            Until::Accepted => pair.unanswered(),
            Until::Receipt => pair.pending(),
        };
        while under_way(&self.pairs[pair]) < u64::from(depth) && self.pairs[pair].sent < count_max {
            if !self.send(sockets, pair, now) {
                return;
            }
        }
    }

    /// Begins an open loop, if that is the pace.
    fn pace(&mut self, begun: Instant) {
        let Pace::PerSecond(rate) = self.options.pace else { return };
        let (thread, threads) = self.place;
        let numbers = (thread..self.options.pairs).step_by(threads as usize);
        self.paced = numbers.map(|number| Paced::new(begun, rate, (number, self.options.pairs))).collect();
    }

    /// Sends what is due in an open loop. `true` when there is more than one turn's worth.
    fn send_due(&mut self, sockets: &mut Sockets, now: Instant) -> bool {
        if self.paced.is_empty() || !matches!(self.phase, Phase::WarmUp { .. } | Phase::Measuring { .. }) {
            return false;
        }
        for _ in 0..SENDS_PER_TURN_MAX {
            let pair = self.next_pair;
            let Some(due) = self.paced[pair].take_due(now) else { return false };
            if self.window().holds(due) {
                self.found.late.record(now.saturating_duration_since(due));
            }
            self.next_pair = (pair + 1) % self.pairs.len();
            self.send_owed(sockets, pair);
        }
        true
    }

    /// Sends what a pair owes in an open loop, as far as it may.
    fn send_owed(&mut self, sockets: &mut Sockets, pair: usize) {
        let count_max = self.count_max();
        while self.pairs[pair].unanswered() < u64::from(PENDING_SENDS_MAX)
            && self.pairs[pair].sent < count_max
            && let Some(due) = self.paced.get(pair).and_then(Paced::oldest_owed)
            && self.send(sockets, pair, due)
        {
            self.paced[pair].on_sent();
        }
    }

    /// Counts what was due before `until` and was not sent by then.
    fn count_unsent(&mut self, until: Instant) {
        let window = self.window();
        let mut recorder = Recorder {
            window,
            online: self.options.recipients_online,
            found: &mut self.found,
            counts: &mut self.counts,
            latencies: &mut self.latencies,
        };
        for due in self.paced.drain(..).flat_map(|paced| paced.unsent(until)) {
            recorder.unsent(due, until);
        }
    }

    /// `false` when the connection is gone.
    fn send(&mut self, sockets: &mut Sockets, pair: usize, at: Instant) -> bool {
        let id = self.senders[pair];
        let (Some(member), Some(out)) = (self.members[id].as_mut(), sockets.out(id)) else { return false };
        let number = self.pairs[pair].on_sent(at);
        self.counts.sent += 1;
        stamp::put(&mut self.body, 0, number);
        let frame = ClientFrame::Send(Send {
            client_message_id: ClientMessageId(u128::from(number).to_be_bytes()),
            conversation: self.pairs[pair].conversation,
            body: Cow::Borrowed(&self.body),
        });
        member.session.send(&frame, &mut self.encoder, out);
        true
    }

    /// Has the recipient of a pair acknowledge when it is time.
    fn acknowledge(&mut self, sockets: &mut Sockets, pair: usize) {
        let enough = match self.options.pace {
            _ if self.phase == Phase::Finishing || self.options_end(pair) => 1,
            // A sender that waits for receipts sends nothing more to fill an Ack.
            Pace::Depth { depth, until: Until::Receipt } => self.options.ack_every.min(depth),
            _ => self.options.ack_every,
        };
        if self.pairs[pair].unacknowledged() < u64::from(enough.max(1)) {
            return;
        }
        let id = self.recipients[pair];
        let (Some(member), Some(out)) = (self.members[id].as_mut(), sockets.out(id)) else { return };
        let ack = Ack {
            conversation: self.pairs[pair].conversation,
            delivered: Some(Sequence(self.pairs[pair].acknowledge())),
            read: None,
        };
        member.session.send(&ClientFrame::Ack(ack), &mut self.encoder, out);
    }

    /// Whether a pair has sent the last message of a counted run, so that none will follow to fill an Ack.
    fn options_end(&self, pair: usize) -> bool {
        matches!(self.options.length, Length::Messages(count) if self.pairs[pair].sent >= count)
    }

    fn on_frame(&mut self, sockets: &mut Sockets, member: usize, now: Instant, bytes: &[u8]) {
        let frame = match parse_server(bytes) {
            Ok(frame) => frame,
            Err(error) => return self.failed = Some(format!("a frame of the server: {error}")),
        };
        let Some(Member { pair: index, sends, .. }) = self.members[member] else { return };
        let mut recorder = Recorder {
            window: self.window(),
            online: self.options.recipients_online,
            found: &mut self.found,
            counts: &mut self.counts,
            latencies: &mut self.latencies,
        };
        let pair = &mut self.pairs[index];
        match frame {
            ServerFrame::Accepted(accepted) => pair.on_accepted(now, &accepted, &mut recorder),
            ServerFrame::Deliver(deliver) => {
                pair.on_deliver(now, &deliver, &mut recorder);
                self.acknowledge(sockets, index);
            }
            ServerFrame::Receipt(receipt) if sends => pair.on_receipt(now, &receipt, &mut recorder),
            ServerFrame::Receipt(_) | ServerFrame::Pong { .. } => {}
            ServerFrame::Welcome(_) => {
                self.welcomed += 1;
                self.connecting -= 1;
            }
            ServerFrame::Error(error) => {
                self.found.faults.refused += 1;
                self.found.faults.note(|| format!("refused: {:?} {}", error.code, error.reason));
            }
            ServerFrame::Page(_) | ServerFrame::Drain { .. } => {
                self.failed = Some("the server drains, or sent a page nobody asked for".to_owned());
            }
        }
    }
}

impl Work for ChatWork {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let (Some(member), Some(out)) = (self.members[id].as_mut(), sockets.out(id)) {
            member.session.open(&mut self.encoder, out);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let (now, mut at) = (Instant::now(), 0);
        while at < bytes.len() {
            let Some(member) = self.members[id].as_mut() else { return };
            let decoded = match member.session.decode(&mut bytes[at..], &mut self.encoder, &mut self.scratch) {
                Ok(decoded) => decoded,
                Err(error) => return self.failed = Some(error),
            };
            at += decoded.consumed;
            match decoded.incoming {
                None => {}
                Some(Incoming::Frame(frame)) => self.on_frame(sockets, id, now, &frame),
                Some(Incoming::Close { code }) => {
                    self.found.faults.note(|| format!("closed by the server with code {code:?}"));
                }
            }
        }
        if !self.scratch.is_empty()
            && let Some(out) = sockets.out(id)
        {
            out.append(&mut self.scratch);
        }
        if let Some(Member { pair, sends, .. }) = self.members[id]
            && sends
        {
            self.fill(sockets, pair, now);
            self.send_owed(sockets, pair);
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, ended: Ended) {
        self.members[id] = None;
        self.found.faults.disconnected += 1;
        self.found.faults.note(|| format!("a connection ended: {}", Ending::of(ended)));
        if self.phase == Phase::Connecting {
            self.failed = Some(self.found.faults.first.clone().unwrap_or_default());
        }
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        self.found.migrations = sockets.migrations();
        self.connect_more(sockets);
        self.advance(sockets, now);
        let more = self.send_due(sockets, now);
        let with_latencies = now >= self.latencies_at;
        self.publish(with_latencies);
        if with_latencies {
            if self.phase == (Phase::Measuring { until: None }) {
                self.note_progress(now);
            }
            self.latencies_at = now + LATENCIES_PAUSE;
        }
        if self.failed.is_some() || self.gates.is_broken_off() {
            return Turn::Stop;
        }
        match self.phase {
            Phase::Connecting if now >= self.deadline => {
                let (welcomed, wanted) = (self.welcomed, self.members.len() + self.waiting.len());
                self.failed = Some(format!("only {welcomed} of {wanted} sessions were welcomed in {CHAT_PATIENCE:?}"));
                Turn::Stop
            }
            Phase::Finishing if now >= self.deadline || self.pairs.iter().all(|pair| pair.pending() == 0) => Turn::Stop,
            Phase::Measuring { until: None } if self.found.faults.any() || now >= self.deadline => {
                self.found.messages = self.routed();
                Turn::Stop
            }
            _ if more => Turn::By(now),
            Phase::WarmUp { until } | Phase::Measuring { until: Some(until) } => {
                Turn::By(until.min(self.next_due(now)))
            }
            _ => Turn::By(self.next_due(now)),
        }
    }
}

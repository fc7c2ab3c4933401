//! Senders that each keep a number of messages under way: echoed to themselves, passed on to receivers of their own, or
//! only answered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use switchyard_swarm::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use switchyard_swarm::process;

use super::line::Line;
use super::run::Run;
use super::{Target, Times};
use crate::client::{Role, Said, Sender};
use crate::limits::{OPENING_MAX, PATIENCE};
use crate::table::Measured;

/// What completes a message, and lets the next be sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Until {
    /// The server's answer.
    Answered,
    /// It has arrived wherever it should.
    Delivered,
    /// Both.
    AnsweredAndDelivered,
}

/// Who sends how much to whom.
#[derive(Copy, Clone, Debug)]
pub struct MessageLoad {
    /// Senders.
    pub senders: usize,
    /// Connections beside each sender's own that get what it sends; with none it gets it itself.
    pub receivers: usize,
    /// What completes a message.
    pub until: Until,
    /// Messages under way per sender.
    pub depth: u64,
}

/// Runs it; `client` makes each connection's end. Deliveries are counted, where there are several for each message.
///
/// # Errors
/// A sentence about what went wrong; a message out of order counts.
pub fn run<C: Sender>(
    load: MessageLoad,
    target: &Target,
    times: Times,
    client: impl FnMut(Role) -> C,
) -> Result<Measured, String> {
    process::raise_descriptor_limit();
    let mut work = MessageWork {
        load,
        target: *target,
        client,
        flows: (0..load.senders).map(|_| Flow::default()).collect(),
        lines: Vec::new(),
        opened: 0,
        ready: 0,
        progress: Instant::now(),
        done: 0,
        run: Run::new(target, times),
        result: None,
    };
    event_loop::run(&mut work).map_err(|error| error.to_string())?;
    work.result.unwrap_or_else(|| Err("the run ended without a result".to_owned()))
}

/// What one sender has sent, and what has come of it.
#[derive(Debug, Default)]
struct Flow {
    socket: SocketId,
    sent: u64,
    answered: u64,
    /// At all receivers together.
    delivered: u64,
    done: u64,
    /// When what is not done was sent.
    sent_at: VecDeque<Instant>,
}

struct Member<C> {
    line: Line<C>,
    role: Role,
    /// The last message that arrived here.
    received: u64,
}

struct MessageWork<C, F> {
    load: MessageLoad,
    target: Target,
    client: F,
    flows: Vec<Flow>,
    /// By socket.
    lines: Vec<Option<Member<C>>>,
    opened: usize,
    ready: usize,
    progress: Instant,
    /// Messages done.
    done: u64,
    run: Run,
    result: Option<Result<Measured, String>>,
}

impl<C: Sender, F: FnMut(Role) -> C> MessageWork<C, F> {
    fn connections(&self) -> usize {
        self.load.senders * (1 + self.load.receivers)
    }

    fn open_more(&mut self, sockets: &mut Sockets) -> Result<(), String> {
        while self.opened < self.connections() && self.opened - self.ready < OPENING_MAX {
            let per_sender = 1 + self.load.receivers;
            let role = Role { sender: self.opened / per_sender, sends: self.opened.is_multiple_of(per_sender) };
            let id = sockets.connect(self.target.address).map_err(|error| format!("connecting: {error}"))?;
            if role.sends {
                self.flows[role.sender].socket = id;
            }
            if self.lines.len() <= id {
                self.lines.resize_with(id + 1, || None);
            }
            self.lines[id] = Some(Member { line: Line::new((self.client)(role)), role, received: 0 });
            self.opened += 1;
        }
        Ok(())
    }

    /// Sends what a sender may send now.
    fn fill(&mut self, sockets: &mut Sockets, sender: usize, now: Instant) {
        let flow = &mut self.flows[sender];
        let room = self.load.depth - (flow.sent - flow.done);
        let (Some(member), Some(out)) = (self.lines[flow.socket].as_mut(), sockets.out(flow.socket)) else { return };
        for _ in 0..room {
            flow.sent += 1;
            flow.sent_at.push_back(now);
            member.line.client.put_message(flow.sent, out);
        }
    }

    /// Counts the messages of a sender that are done by now.
    fn complete(&mut self, sender: usize, now: Instant) {
        let flow = &mut self.flows[sender];
        let delivered = flow.delivered / self.load.receivers.max(1) as u64;
        let done = match self.load.until {
            Until::Answered => flow.answered,
            Until::Delivered => delivered,
            Until::AnsweredAndDelivered => flow.answered.min(delivered),
        };
        while flow.done < done
            && let Some(since) = flow.sent_at.pop_front()
        {
            flow.done += 1;
            self.done += 1;
            self.run.record(since, now);
        }
    }

    fn on_turn_inner(&mut self, sockets: &mut Sockets, now: Instant) -> Result<Option<Measured>, String> {
        if self.run.has_begun() {
            let deliveries = self.done * self.load.receivers.max(1) as u64;
            return self.run.advance(now, deliveries).map_err(|error| error.to_string());
        }
        if self.ready == self.connections() {
            self.run.begin(now);
            (0..self.flows.len()).for_each(|sender| self.fill(sockets, sender, now));
        } else if now > self.progress + PATIENCE {
            return Err(format!("only {} of {} connections are ready", self.ready, self.connections()));
        } else {
            self.open_more(sockets)?;
        }
        Ok(None)
    }
}

impl<C: Sender, F: FnMut(Role) -> C> Work for MessageWork<C, F> {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let Some(member) = self.lines[id].as_mut() {
            member.line.start(sockets, id);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let now = Instant::now();
        let Some(Member { line, role, received }) = self.lines[id].as_mut() else { return };
        let sender = role.sender;
        let flow = &mut self.flows[sender];
        let ready = &mut self.ready;
        let result = line.on_bytes(sockets, id, bytes, |said| {
            match said {
                Said::Ready => *ready += 1,
                Said::Answered => flow.answered += 1,
                Said::Delivered(number) if number == *received + 1 => {
                    *received = number;
                    flow.delivered += 1;
                }
                Said::Delivered(number) => return Err(format!("message {number} came after message {received}")),
            }
            Ok(())
        });
        if let Err(error) = result {
            self.result = Some(Err(error));
        } else if self.run.has_begun() {
            self.complete(sender, now);
            self.fill(sockets, sender, now);
        } else {
            self.progress = now;
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, ended: Ended) {
        self.lines[id] = None;
        let (ready, opened) = (self.ready, self.opened);
        self.result = Some(Err(format!("a connection ended ({ended:?}) when {ready} of {opened} had been ready")));
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.result.is_none() {
            self.result = self.on_turn_inner(sockets, now).transpose();
        }
        match self.result {
            Some(_) => Turn::Stop,
            None => Turn::By(self.run.next().unwrap_or(now + Duration::from_millis(20))),
        }
    }
}

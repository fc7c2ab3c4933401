//! One device: its journal of what it saw, its outbox, and what it says next.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::body;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Accepted, Ack, ClientFrame, Deliver, Regarding, Send, ServerFrame};
use switchyard_schema::ids::{DeviceId, MessageId, Sequence};
use switchyard_schema::wire::{Encoder, parse_server};

use super::round::{Name, Round, conversation, user};
use crate::limits::CRASH_SENDS_PENDING_MAX;
use crate::random::random;
use crate::session::Session;
use crate::tokens::Signer;

/// Every so many clients have a second device that listens.
const LISTENER_EVERY: u32 = 5;

#[derive(Debug)]
pub(super) struct Device {
    pub(super) client: u32,
    pub(super) session: Session,
    /// A device that never sends.
    listener: bool,
    /// By sequence number: which message it was, as this device saw it.
    pub(super) seen: BTreeMap<u64, Seen>,
    /// Everything up to here was seen.
    pub(super) contiguous: u64,
    /// Names of this device's sends that were accepted.
    pub(super) accepted: BTreeSet<Name>,
    /// Sent in this session and not answered.
    pending: BTreeSet<Name>,
    /// To be sent, the next one last.
    outbox: Vec<Name>,
    /// Passed over by a Deliver: must turn out to be this device's own, whose Accepted was lost with the server. The
    /// protocol lets a lost Accepted come as the answer to the repeat.
    owed: BTreeSet<u64>,
    last_delivered: u64,
    acknowledged: u64,
    welcomed: bool,
    pub(super) repeated: u64,
    pub(super) delivered_again: u64,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) message: MessageId,
    pub(super) name: Name,
}

/// All devices of all clients.
pub(super) fn all(clients: u32, signer: &Signer) -> Vec<Device> {
    let mut devices = Vec::new();
    for client in 0..clients {
        devices.push(Device::new(client, 1, signer));
        if client % LISTENER_EVERY == 0 {
            devices.push(Device::new(client, 2, signer));
        }
    }
    devices
}

impl Device {
    fn new(client: u32, device: u64, signer: &Signer) -> Self {
        let user = user(client);
        let id = DeviceId::new(device).expect("not zero");
        Self {
            client,
            session: Session::new(user, id, signer.token(user), random()),
            listener: device != 1,
            seen: BTreeMap::new(),
            contiguous: 0,
            accepted: BTreeSet::new(),
            pending: BTreeSet::new(),
            outbox: Vec::new(),
            owed: BTreeSet::new(),
            last_delivered: 0,
            acknowledged: 0,
            welcomed: false,
            repeated: 0,
            delivered_again: 0,
        }
    }

    /// Fills the outbox with the sends of a round.
    pub(super) fn on_round(&mut self, round: &Round) {
        if !self.listener {
            let name = |number| Name { round: round.number, client: self.client, number };
            self.outbox = (1..=round.sends_per_client).rev().map(name).collect();
        }
    }

    /// The connection is gone: whatever was not answered is sent again, first of all and in its old order.
    pub(super) fn on_disconnect(&mut self) {
        self.repeated += self.pending.len() as u64;
        self.outbox.extend(std::mem::take(&mut self.pending).into_iter().rev());
        (self.last_delivered, self.acknowledged, self.welcomed) = (0, 0, false);
    }

    /// Messages of a round that this device knows to be accepted.
    pub(super) fn accepted_in(&self, round: &Round) -> u64 {
        self.accepted.iter().filter(|name| name.round == round.number).count() as u64
    }

    /// Whether all its sends are accepted and it has seen the whole conversation.
    pub(super) fn is_complete(&self, round: &Round) -> bool {
        self.outbox.is_empty() && self.pending.is_empty() && self.contiguous >= round.head()
    }

    /// In words, for an error.
    pub(super) fn state(&self) -> String {
        format!(
            "client {} device {}: seen up to {} (acknowledged {}), {} unanswered, {} to send",
            self.client,
            self.session.device(),
            self.contiguous,
            self.acknowledged,
            self.pending.len(),
            self.outbox.len()
        )
    }

    /// A frame of the server. An error is a breach of what must hold.
    pub(super) fn on_frame(&mut self, bytes: &[u8]) -> Result<(), String> {
        match parse_server(bytes).map_err(|error| format!("{}: {error}", self.state()))? {
            ServerFrame::Welcome(_) => self.welcomed = true,
            ServerFrame::Accepted(accepted) => self.on_accepted(&accepted)?,
            ServerFrame::Deliver(deliver) => self.on_deliver(&deliver)?,
            ServerFrame::Error(error) => match error.regarding {
                // Refused for now: nothing was stored, so it is sent again.
                Regarding::Send(id) if error.code.retry() => {
                    let name = Name::of_id(id);
                    if self.pending.remove(&name) {
                        self.outbox.push(name);
                    }
                }
                _ if matches!(error.code, ErrorCode::Draining | ErrorCode::SessionReplaced) => {}
                _ => return Err(format!("{}: refused: {:?} {}", self.state(), error.code, error.reason)),
            },
            ServerFrame::Receipt(_) | ServerFrame::Pong { .. } | ServerFrame::Drain { .. } | ServerFrame::Page(_) => {}
        }
        Ok(())
    }

    /// Whether the server knows this session.
    pub(super) const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// What it has to say now: acknowledgements, and messages if it may send.
    pub(super) fn speak(&mut self, may_send: bool, encoder: &mut Encoder, out: &mut Vec<u8>) {
        if !self.welcomed {
            return;
        }
        let conversation = conversation(self.client);
        if self.contiguous > self.acknowledged {
            self.acknowledged = self.contiguous;
            let ack = Ack { conversation, delivered: Some(Sequence(self.contiguous)), read: None };
            self.session.send(&ClientFrame::Ack(ack), encoder, out);
        }
        while may_send
            && self.pending.len() < CRASH_SENDS_PENDING_MAX
            && let Some(name) = self.outbox.pop()
        {
            let body = Cow::Owned(body::text(&name.text()));
            let send = Send { client_message_id: name.id(), conversation, body };
            self.session.send(&ClientFrame::Send(send), encoder, out);
            self.pending.insert(name);
        }
    }

    fn on_accepted(&mut self, accepted: &Accepted) -> Result<(), String> {
        let name = Name::of_id(accepted.client_message_id);
        if !self.pending.remove(&name) {
            return Err(format!("{}: {name:?} was accepted, but is not waiting for it", self.state()));
        }
        self.accepted.insert(name);
        self.note(accepted.sequence.0, Seen { message: accepted.message, name }).map(drop)
    }

    fn on_deliver(&mut self, deliver: &Deliver<'_>) -> Result<(), String> {
        let sequence = deliver.sequence.0;
        let text = body::parse(&deliver.body).ok().and_then(|body| body.text);
        let Some(name) = text.and_then(Name::of_text) else {
            return Err(format!("{}: message {sequence} says {text:?}", self.state()));
        };
        if deliver.sender != user(name.client) {
            return Err(format!("{}: message {sequence} of {:?} says {name:?}", self.state(), deliver.sender));
        }
        if sequence <= self.last_delivered {
            let last = self.last_delivered;
            return Err(format!("{}: message {sequence} was delivered after {last} in one session", self.state()));
        }
        self.last_delivered = sequence;
        if self.note(sequence, Seen { message: deliver.message, name })? {
            self.delivered_again += 1;
        }
        let missing = (self.contiguous + 1..sequence).filter(|number| !self.seen.contains_key(number));
        self.owed.extend(missing);
        if self.owed.len() > self.pending.len() + self.outbox.len() {
            return Err(format!("{}: message {sequence} was delivered, but not all before it", self.state()));
        }
        Ok(())
    }

    /// Notes what a sequence number named; `true` when that was known. An error when it named something else before.
    fn note(&mut self, sequence: u64, seen: Seen) -> Result<bool, String> {
        let before = self.seen.insert(sequence, seen);
        if let Some(before) = before
            && before != seen
        {
            return Err(format!("{}: sequence number {sequence} named {before:?}, now {seen:?}", self.state()));
        }
        if self.owed.remove(&sequence) && seen.name.client != self.client {
            return Err(format!("{}: message {sequence} of another was passed over by a later one", self.state()));
        }
        while self.seen.contains_key(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
        Ok(before.is_some())
    }
}

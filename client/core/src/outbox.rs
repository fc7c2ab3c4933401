//! Messages on their way out: kept until the server has accepted them or refused them for good, sent again with the
//! same client message id on every new connection, in order within each conversation.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::ids::{ClientMessageId, ConversationId, Millis};

use crate::effect::OutboxRow;
use crate::limits::{ANSWER_TIMEOUT_MS, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};

/// Why a message cannot be taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendRefused {
    /// The outbox holds as much as it may.
    #[error("the outbox is full; wait until messages have been accepted")]
    OutboxFull,
    /// The encoded body is too large for the server.
    #[error("the body is larger than a message may be; split it")]
    BodyTooLarge,
    /// A message with that id is already in the outbox.
    #[error("a message with that client message id is already on its way")]
    DuplicateId,
    /// The client has stopped.
    #[error("the client has stopped; make a new one")]
    Stopped,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Queued,
    InFlight { since: Millis },
    Waiting { until: Millis },
}

#[derive(Debug)]
struct Entry {
    row: OutboxRow,
    state: State,
    /// It left on some connection, or may have before the application was started: the server may have it.
    has_left: bool,
    refusals: u32,
}

/// The messages of one conversation.
#[derive(Debug, Default)]
struct Line {
    orders: BTreeSet<u64>,
    in_flight: u32,
    ready: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    in_flight_per_conversation: u32,
    entries: BTreeMap<u64, Entry>,
    orders: BTreeMap<ClientMessageId, u64>,
    lines: BTreeMap<ConversationId, Line>,
    /// The next message of each conversation that may send one.
    ready: BTreeSet<u64>,
    waiting: BTreeSet<(Millis, u64)>,
    in_flight: BTreeSet<(Millis, u64)>,
    bytes: usize,
    next_order: u64,
}

impl Outbox {
    pub(crate) fn new(in_flight_per_conversation: u32, restored: Vec<OutboxRow>) -> Self {
        let next_order = restored.iter().map(|row| row.order + 1).max().unwrap_or(0);
        let mut outbox = Self {
            in_flight_per_conversation: in_flight_per_conversation.max(1),
            entries: BTreeMap::new(),
            orders: BTreeMap::new(),
            lines: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            bytes: 0,
            next_order,
        };
        for row in restored {
            outbox.insert(row, true);
        }
        outbox
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a message; the row is what must be stored before it may leave.
    pub(crate) fn push(
        &mut self,
        client_message_id: ClientMessageId,
        conversation: ConversationId,
        body: bytes::Bytes,
    ) -> Result<OutboxRow, SendRefused> {
        if self.orders.contains_key(&client_message_id) {
            return Err(SendRefused::DuplicateId);
        }
        if self.entries.len() >= OUTBOX_MESSAGES_MAX || self.bytes + body.len() > OUTBOX_BYTES_MAX {
            return Err(SendRefused::OutboxFull);
        }
        let row = OutboxRow { order: self.next_order, client_message_id, conversation, body };
        self.next_order += 1;
        self.insert(row.clone(), false);
        Ok(row)
    }

    fn insert(&mut self, row: OutboxRow, has_left: bool) {
        let (order, conversation) = (row.order, row.conversation);
        self.bytes += row.body.len();
        self.orders.insert(row.client_message_id, order);
        self.lines.entry(conversation).or_default().orders.insert(order);
        self.entries.insert(order, Entry { row, state: State::Queued, has_left, refusals: 0 });
        self.refresh(conversation);
    }

    /// The next message that may leave, marked as sent. At most `window` are unanswered.
    pub(crate) fn next_to_send(&mut self, now: Millis, window: usize) -> Option<&OutboxRow> {
        if self.in_flight.len() >= window {
            return None;
        }
        let order = *self.ready.first()?;
        self.set_state(order, State::InFlight { since: now });
        Some(&self.entries[&order].row)
    }

    /// The conversations that may have messages of this outbox already, once for each such message.
    pub(crate) fn may_be_in(&self) -> impl Iterator<Item = ConversationId> + '_ {
        self.entries.values().filter(|entry| entry.has_left).map(|entry| entry.row.conversation)
    }

    /// The message was accepted, or refused for good.
    pub(crate) fn remove(&mut self, id: ClientMessageId) -> Option<OutboxRow> {
        let order = *self.orders.get(&id)?;
        self.set_state(order, State::Queued);
        self.orders.remove(&id);
        let row = self.entries.remove(&order).expect("an indexed order has its entry").row;
        self.bytes -= row.body.len();
        self.line(row.conversation).orders.remove(&order);
        self.refresh(row.conversation);
        if self.line(row.conversation).orders.is_empty() {
            self.lines.remove(&row.conversation);
        }
        Some(row)
    }

    /// The message was refused for now. Returns how often it has been, for the back-off; `None` when it is not here.
    pub(crate) fn refusals(&mut self, id: ClientMessageId) -> Option<u32> {
        let entry = self.entries.get_mut(self.orders.get(&id)?).expect("an indexed order has its entry");
        entry.refusals = entry.refusals.saturating_add(1);
        Some(entry.refusals)
    }

    /// Keeps the message, and those behind it, back until `until`.
    pub(crate) fn postpone(&mut self, id: ClientMessageId, until: Millis) {
        if let Some(&order) = self.orders.get(&id) {
            self.set_state(order, State::Waiting { until });
        }
    }

    /// The connection is gone: everything unanswered is sent again on the next.
    pub(crate) fn on_disconnected(&mut self) {
        for order in self.in_flight.iter().chain(&self.waiting).map(|&(_, order)| order).collect::<Vec<_>>() {
            self.set_state(order, State::Queued);
        }
    }

    /// Moves what has waited long enough, or was never answered, back into its line.
    pub(crate) fn on_time(&mut self, now: Millis) {
        while let Some(&(until, order)) = self.waiting.first()
            && until <= now
        {
            self.set_state(order, State::Queued);
        }
        while let Some(&(since, order)) = self.in_flight.first()
            && since.plus(ANSWER_TIMEOUT_MS) <= now
        {
            self.set_state(order, State::Queued);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let waiting = self.waiting.first().map(|&(until, _)| until);
        let unanswered = self.in_flight.first().map(|&(since, _)| since.plus(ANSWER_TIMEOUT_MS));
        waiting.into_iter().chain(unanswered).min()
    }

    fn line(&mut self, conversation: ConversationId) -> &mut Line {
        self.lines.get_mut(&conversation).expect("every message stands in the line of its conversation")
    }

    fn set_state(&mut self, order: u64, state: State) {
        let entry = self.entries.get_mut(&order).expect("a known order");
        let conversation = entry.row.conversation;
        let before = std::mem::replace(&mut entry.state, state);
        entry.has_left |= matches!(state, State::InFlight { .. });
        match before {
            State::Queued => {}
            State::InFlight { since } => {
                self.in_flight.remove(&(since, order));
                self.line(conversation).in_flight -= 1;
            }
            State::Waiting { until } => {
                self.waiting.remove(&(until, order));
            }
        }
        match state {
            State::Queued => {}
            State::InFlight { since } => {
                self.in_flight.insert((since, order));
                self.line(conversation).in_flight += 1;
            }
            State::Waiting { until } => {
                self.waiting.insert((until, order));
            }
        }
        self.refresh(conversation);
    }

    /// Works out anew which message of a conversation may leave next.
    fn refresh(&mut self, conversation: ConversationId) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        if let Some(order) = line.ready.take() {
            self.ready.remove(&order);
        }
        if line.in_flight >= self.in_flight_per_conversation {
            return;
        }
        let next = line.orders.iter().find(|order| !matches!(self.entries[order].state, State::InFlight { .. }));
        if let Some(&order) = next
            && self.entries[&order].state == State::Queued
        {
            line.ready = Some(order);
            self.ready.insert(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use switchyard_schema::ids::UserId;

    fn conversation(peer: u64) -> ConversationId {
        ConversationId::direct(UserId::new(1).unwrap(), UserId::new(peer).unwrap())
    }

    fn id(number: u8) -> ClientMessageId {
        ClientMessageId([number; 16])
    }

    fn outbox(in_flight: u32, messages: &[(u8, u64)]) -> Outbox {
        let mut outbox = Outbox::new(in_flight, Vec::new());
        for &(number, peer) in messages {
            outbox.push(id(number), conversation(peer), Bytes::from_static(b"x")).unwrap();
        }
        outbox
    }

    fn send_all(outbox: &mut Outbox, now: u64, window: usize) -> Vec<u8> {
        std::iter::from_fn(|| outbox.next_to_send(Millis(now), window).map(|row| row.client_message_id.0[0])).collect()
    }

    #[test]
    fn given_several_conversations_when_sending_then_each_has_one_in_flight_in_order() {
        let mut outbox = outbox(1, &[(1, 2), (2, 2), (3, 3), (4, 3)]);
        assert_eq!(send_all(&mut outbox, 0, 256), [1, 3]);
        outbox.remove(id(3));
        assert_eq!(send_all(&mut outbox, 0, 256), [4]);
        outbox.remove(id(1));
        assert_eq!(send_all(&mut outbox, 0, 256), [2]);
    }

    #[test]
    fn given_a_window_when_sending_then_never_more_are_unanswered() {
        let mut outbox = outbox(8, &[(1, 2), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(send_all(&mut outbox, 0, 3), [1, 2, 3]);
        outbox.remove(id(2));
        assert_eq!(send_all(&mut outbox, 0, 3), [4]);
    }

    #[test]
    fn given_a_refusal_for_now_when_others_are_behind_then_they_wait_too() {
        let mut outbox = outbox(1, &[(1, 2), (2, 2), (3, 3)]);
        assert_eq!(send_all(&mut outbox, 0, 256), [1, 3]);
        outbox.postpone(id(1), Millis(100));
        assert_eq!(send_all(&mut outbox, 0, 256), Vec::<u8>::new());
        assert_eq!(outbox.next_timeout(), Some(Millis(100)));
        outbox.on_time(Millis(100));
        assert_eq!(send_all(&mut outbox, 100, 256), [1]);
    }

    #[test]
    fn given_unanswered_sends_when_the_connection_goes_then_all_are_sent_again_in_order() {
        let mut outbox = outbox(2, &[(1, 2), (2, 2), (3, 2)]);
        assert_eq!(send_all(&mut outbox, 0, 256), [1, 2]);
        outbox.on_disconnected();
        assert_eq!(send_all(&mut outbox, 5, 256), [1, 2]);
    }

    #[test]
    fn given_no_answer_when_the_time_is_over_then_it_is_sent_again() {
        let mut outbox = outbox(1, &[(1, 2)]);
        assert_eq!(send_all(&mut outbox, 7, 256), [1]);
        outbox.on_time(Millis(6 + ANSWER_TIMEOUT_MS));
        assert_eq!(send_all(&mut outbox, 8, 256), Vec::<u8>::new());
        outbox.on_time(Millis(7 + ANSWER_TIMEOUT_MS));
        assert_eq!(send_all(&mut outbox, 9, 256), [1]);
    }

    #[test]
    fn given_restored_rows_when_more_are_pushed_then_the_order_continues() {
        let row = |order, number| OutboxRow {
            order,
            client_message_id: id(number),
            conversation: conversation(2),
            body: Bytes::new(),
        };
        let mut outbox = Outbox::new(8, vec![row(9, 9), row(4, 4)]);
        assert_eq!(outbox.push(id(1), conversation(2), Bytes::new()).unwrap().order, 10);
        assert_eq!(send_all(&mut outbox, 0, 256), [4, 9, 1]);
    }

    #[test]
    fn given_limits_when_they_are_reached_then_a_message_is_refused() {
        let mut outbox = outbox(1, &[(1, 2)]);
        assert_eq!(outbox.push(id(1), conversation(2), Bytes::new()), Err(SendRefused::DuplicateId));
        let large = Bytes::from(vec![0; OUTBOX_BYTES_MAX]);
        assert_eq!(outbox.push(id(2), conversation(2), large), Err(SendRefused::OutboxFull));
    }
}

//! The client: joins connection, outbox, conversations, acks and fetches.

mod connection;
mod incoming;
mod refused;
mod silence;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Ack, ClientFrame, FetchRange, Send, Welcome};
use switchyard_schema::ids::{ClientMessageId, ConversationId, Millis, Sequence, UserId};
use switchyard_schema::limits::BODY_BYTES_MAX;

use crate::acks::Acks;
use crate::backoff::{Backoff, Chance};
use crate::config::Config;
use crate::conversation::Conversation;
use crate::effect::{Effect, Restored, StoreOp};
use crate::event::{ConnectionState, Event, FailedSend, Message, RefusalCode};
use crate::fetches::{FetchRefused, Fetches};
use crate::limits::{ACKS_PER_TURN_MAX, CONVERSATIONS_MAX, INBOX_MESSAGES_MAX, SEND_FRAME_OVERHEAD_BYTES};
use crate::outbox::{Outbox, SendRefused};
use crate::token::Tokens;

use connection::Link;
pub use connection::Wait;

/// A device's side of a session, across connections.
///
/// After every call the driver performs the effects in order and arranges a call of [`Client::handle_timeout`] at
/// [`Client::next_timeout`]. All times are of one clock that does not go back.
#[derive(Debug)]
pub struct Client {
    config: Config,
    chance: Chance,
    link: Link,
    tokens: Tokens,
    attempts: u32,
    user: Option<UserId>,
    conversations: BTreeMap<ConversationId, Conversation>,
    outbox: Outbox,
    acks: Acks,
    fetches: Fetches,
    /// Messages given to the application and not taken yet.
    untaken: BTreeSet<(ConversationId, Sequence)>,
    restored_inbox: Vec<Message>,
    reported: ConnectionState,
    stall_told: bool,
}

impl Client {
    /// A client with what its store held. `seed` is its only source of chance. Nothing happens before
    /// [`Client::start`].
    #[must_use]
    pub fn new(config: Config, seed: u64, restored: Restored) -> Self {
        let mut conversations: BTreeMap<_, _> =
            restored.conversations.iter().map(|row| (row.conversation, Conversation::restored(row))).collect();
        for (conversation, watermark) in restored.watermarks {
            let known = conversations.entry(conversation).or_insert_with(|| Conversation::new(conversation));
            known.on_watermark(watermark);
        }
        let mut restored_inbox = restored.inbox;
        restored_inbox.sort_by_key(|message| (message.conversation, message.sequence));
        Self {
            chance: Chance::new(seed),
            link: Link::Idle,
            tokens: Tokens::default(),
            attempts: 0,
            user: restored.user,
            conversations,
            outbox: Outbox::new(config.sends_in_flight_per_conversation, restored.outbox),
            acks: Acks::new(config.ack_every_messages, config.ack_after_ms),
            fetches: Fetches::default(),
            untaken: restored_inbox.iter().map(|message| (message.conversation, message.sequence)).collect(),
            restored_inbox,
            reported: ConnectionState::Disconnected,
            stall_told: false,
            config,
        }
    }

    /// Begins: gives the application what it had not taken, then connects.
    pub fn start(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.link != Link::Idle {
            return;
        }
        out.extend(self.restored_inbox.drain(..).map(|message| Effect::Event(Event::MessageReceived(message))));
        self.open(now, out);
        self.settle(now, out);
    }

    /// Takes a message. It is in the outbox when the effects are performed, and [`Event::MessageAccepted`] or
    /// [`Event::SendFailed`] follows, whatever happens in between.
    ///
    /// # Errors
    /// When the message cannot be taken; nothing is kept of it then.
    pub fn send(
        &mut self,
        now: Millis,
        client_message_id: ClientMessageId,
        conversation: ConversationId,
        body: Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), SendRefused> {
        if matches!(self.link, Link::Stopped(_)) {
            return Err(SendRefused::Stopped);
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(SendRefused::BodyTooLarge);
        }
        let row = self.outbox.push(client_message_id, conversation, body)?;
        out.push(Effect::Store(StoreOp::PutOutbox(row)));
        self.settle(now, out);
        Ok(())
    }

    /// Everything up to `sequence` was read, as far as it has arrived.
    pub fn mark_read(&mut self, now: Millis, conversation: ConversationId, sequence: Sequence, out: &mut Vec<Effect>) {
        if let Some(known) = self.conversations.get_mut(&conversation)
            && known.on_read(sequence)
        {
            out.push(Effect::Store(StoreOp::PutConversation(known.row())));
            if self.link.is_connected() {
                self.acks.on_owed(now, conversation);
            }
            self.settle(now, out);
        }
    }

    /// Asks for a part of a conversation's history; the number returned is in the [`Event::Page`] or
    /// [`Event::FetchFailed`] that answers. The history is not part of the stream of received messages.
    ///
    /// # Errors
    /// When the request cannot be taken.
    pub fn fetch(
        &mut self,
        now: Millis,
        conversation: ConversationId,
        range: FetchRange,
        limit: u32,
        out: &mut Vec<Effect>,
    ) -> Result<u64, FetchRefused> {
        if matches!(self.link, Link::Stopped(_)) {
            return Err(FetchRefused::Stopped);
        }
        let request = self.fetches.push(conversation, range, limit)?;
        self.settle(now, out);
        Ok(request)
    }

    /// The application has taken a message: it does not come again after a restart.
    pub fn taken(&mut self, now: Millis, conversation: ConversationId, sequence: Sequence, out: &mut Vec<Effect>) {
        if self.untaken.remove(&(conversation, sequence)) {
            out.push(Effect::Store(StoreOp::DropInbox(conversation, sequence)));
            self.stall_told &= self.untaken.len() >= INBOX_MESSAGES_MAX;
            self.settle(now, out);
        }
    }

    /// Where the client stands.
    #[must_use]
    pub const fn state(&self) -> ConnectionState {
        self.link.state()
    }

    /// The user of the session, once a server has said so.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        self.user
    }

    /// Messages that are not accepted yet.
    #[must_use]
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }

    /// When to call [`Client::handle_timeout`] at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        let link = self.link.next_timeout();
        if matches!(self.link, Link::AwaitingToken) {
            return self.tokens.next_timeout();
        }
        if !self.link.is_connected() {
            return link;
        }
        let acks = if self.takes_more() { self.acks.next_timeout() } else { None };
        let parts = [
            link,
            self.tokens.next_timeout(),
            self.outbox.next_timeout(),
            acks,
            self.fetches.next_timeout(self.takes_more()),
        ];
        parts.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.on_link_time(now, out);
        self.on_token_time(now, out);
        if self.link.is_connected() {
            self.outbox.on_time(now);
            self.fetches.on_time(now);
        }
        self.settle(now, out);
    }

    /// Sends what may leave now and reports a changed state: the end of every input.
    fn settle(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if let Link::Connected(connected) = &self.link {
            let (welcome, leaving) = (connected.welcome, connected.leave_at.is_some());
            if !leaving {
                self.send_outbox(now, &welcome, out);
            }
            self.send_acks(now, ACKS_PER_TURN_MAX, out);
            self.send_fetches(now, out);
        }
        let state = self.link.state();
        if state != self.reported {
            self.reported = state;
            out.push(Effect::Event(Event::StateChanged(state)));
        }
    }

    fn send_outbox(&mut self, now: Millis, welcome: &Welcome, out: &mut Vec<Effect>) {
        let window = welcome.max_pending_sends.max(1) as usize;
        let body_bytes_max = (welcome.max_frame_bytes as usize).saturating_sub(SEND_FRAME_OVERHEAD_BYTES);
        while let Some(row) = self.outbox.next_to_send(now, window) {
            if row.body.len() > body_bytes_max {
                let id = row.client_message_id;
                self.fail_send(id, ErrorCode::TooLarge.into(), ErrorCode::TooLarge.reason(), out);
                continue;
            }
            out.push(Effect::Transmit(ClientFrame::Send(Send {
                client_message_id: row.client_message_id,
                conversation: row.conversation,
                body: Cow::Owned(row.body.to_vec()),
            })));
        }
    }

    fn fail_send(&mut self, id: ClientMessageId, code: RefusalCode, reason: &str, out: &mut Vec<Effect>) {
        if let Some(row) = self.outbox.remove(id) {
            let conversation = row.conversation;
            out.push(Effect::Store(StoreOp::DropOutbox(id)));
            let failed = FailedSend { client_message_id: id, conversation, code, reason: reason.to_owned() };
            out.push(Effect::Event(Event::SendFailed(failed)));
        }
    }

    /// Sends at most `most` Acks. None leaves while the application lags: that is what slows the server down.
    fn send_acks(&mut self, now: Millis, most: usize, out: &mut Vec<Effect>) {
        let Some(user) = self.user.filter(|_| self.takes_more()) else { return };
        let conversations = &self.conversations;
        for _ in 0..most {
            let confirmed = |id| conversations.get(&id).is_none_or(|known| known.is_confirmed(user));
            let Some(conversation) = self.acks.next_due(now, confirmed) else { return };
            out.extend(conversations.get(&conversation).and_then(ack_of).map(Effect::Transmit));
        }
    }

    fn send_fetches(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let room = self.takes_more();
        let Self { fetches, conversations, .. } = self;
        while let Some(fetch) = fetches.next_to_send(now, room, |id| {
            conversations.get(&id).filter(|known| known.has_gap()).map(|known| known.delivered())
        }) {
            out.push(Effect::Transmit(ClientFrame::Fetch(fetch)));
        }
    }

    /// Whether the application keeps up.
    fn takes_more(&self) -> bool {
        self.untaken.len() < INBOX_MESSAGES_MAX
    }

    fn backoff(&self) -> Backoff {
        Backoff { base_ms: self.config.backoff_base_ms, max_ms: self.config.backoff_max_ms }
    }

    /// The conversation, made when it is new; `None` when there are too many.
    fn conversation(&mut self, id: ConversationId) -> Option<&mut Conversation> {
        if !self.conversations.contains_key(&id) && self.conversations.len() >= CONVERSATIONS_MAX {
            return None;
        }
        Some(self.conversations.entry(id).or_insert_with(|| Conversation::new(id)))
    }
}

fn ack_of(conversation: &Conversation) -> Option<ClientFrame<'static>> {
    let delivered = Some(conversation.delivered()).filter(|&sequence| sequence > Sequence::ZERO)?;
    let read = Some(conversation.read()).filter(|&sequence| sequence > Sequence::ZERO);
    Some(ClientFrame::Ack(Ack { conversation: conversation.row().conversation, delivered: Some(delivered), read }))
}

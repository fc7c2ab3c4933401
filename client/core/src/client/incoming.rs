//! What the server says, once connected.

use switchyard_schema::frame::{Accepted, Deliver, Page, ServerFrame, Watermark};
use switchyard_schema::ids::{ClientMessageId, ConversationId, MessageId, Millis, Sequence};

use super::Client;
use super::connection::{Link, Wait};
use crate::conversation::{Arrival, Conversation};
use crate::effect::{Effect, StoreOp};
use crate::event::{AcceptedMessage, Event, HistoryPage, Message};
use crate::fetches::Purpose;
use crate::limits::{AHEAD_PATIENCE_MS, INBOX_MESSAGES_MAX, INBOX_OVERSHOOT_MAX};

/// What became of a message.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Fate {
    /// It arrived, or had arrived.
    Arrived,
    /// It was dropped, because something before it is missing or there is no room. It is fetched later.
    Dropped,
}

impl Client {
    /// A frame arrived.
    pub fn handle_frame(&mut self, now: Millis, frame: &ServerFrame<'_>, out: &mut Vec<Effect>) {
        self.handle_received(now);
        match (&self.link, frame) {
            (Link::Greeting { .. }, ServerFrame::Welcome(welcome)) => self.on_welcome(now, *welcome, out),
            (Link::Greeting { .. }, ServerFrame::Error(error)) => self.on_refused(now, &error.into(), out),
            (Link::Greeting { .. }, ServerFrame::Drain { reconnect_after_ms }) => {
                self.drop_connection(now, Wait::Exactly(u64::from(*reconnect_after_ms)), out);
            }
            (Link::Greeting { .. }, ServerFrame::Pong { .. }) => {}
            (Link::Greeting { .. }, _) | (Link::Connected(_), ServerFrame::Welcome(_)) => {
                self.drop_connection(now, Wait::Unknown, out);
            }
            (Link::Connected(_), frame) => self.on_frame(now, frame, out),
            // What arrived together with the frame that ended the connection.
            (_, _) => {}
        }
        self.settle(now, out);
    }

    fn on_frame(&mut self, now: Millis, frame: &ServerFrame<'_>, out: &mut Vec<Effect>) {
        match frame {
            ServerFrame::Accepted(accepted) => self.on_accepted(now, accepted, out),
            ServerFrame::Deliver(deliver) => {
                if self.on_message(now, deliver, out) == Fate::Dropped {
                    self.fetches.want_repair(deliver.conversation, now);
                }
            }
            ServerFrame::Receipt(receipt) => self.on_watermark(receipt.conversation, receipt.watermark, out),
            ServerFrame::Page(page) => self.on_page(now, page, out),
            ServerFrame::Error(error) => self.on_refused(now, &error.into(), out),
            ServerFrame::Drain { reconnect_after_ms } => self.on_drain(now, *reconnect_after_ms),
            ServerFrame::Welcome(_) | ServerFrame::Pong { .. } => {}
        }
    }

    fn on_accepted(&mut self, now: Millis, accepted: &Accepted, out: &mut Vec<Effect>) {
        self.tell_accepted(
            AcceptedMessage {
                client_message_id: accepted.client_message_id,
                conversation: accepted.conversation,
                message: accepted.message,
                sequence: accepted.sequence,
                time: accepted.time,
            },
            out,
        );
        self.on_own_message(now, accepted.conversation, (accepted.sequence, accepted.message), out);
    }

    /// The first news that a message of the outbox is durable ends its way; any later one is known.
    fn tell_accepted(&mut self, accepted: AcceptedMessage, out: &mut Vec<Effect>) {
        if self.outbox.remove(accepted.client_message_id).is_some() {
            out.push(Effect::Store(StoreOp::DropOutbox(accepted.client_message_id)));
            out.push(Effect::Event(Event::MessageAccepted(accepted)));
        }
    }

    /// A message of this device has its place: the stream need not bring it.
    fn on_own_message(
        &mut self,
        now: Millis,
        id: ConversationId,
        (sequence, message): (Sequence, MessageId),
        out: &mut Vec<Effect>,
    ) {
        let user = self.user;
        let Some(conversation) = self.conversation(id) else { return };
        let before = conversation.row();
        tell_lost(conversation, (sequence, message), out);
        conversation.on_accepted(sequence, user);
        let (row, gap) = (conversation.row(), conversation.has_gap());
        if row != before {
            out.push(Effect::Store(StoreOp::PutConversation(row)));
        }
        if gap {
            self.fetches.want_repair(id, now.plus(AHEAD_PATIENCE_MS));
        } else {
            self.fetches.on_repaired(id);
        }
    }

    /// A message of a conversation, from the stream or from a Page that repairs a gap.
    fn on_message(&mut self, now: Millis, deliver: &Deliver<'_>, out: &mut Vec<Effect>) -> Fate {
        let id = deliver.conversation;
        let own = self.own_id(deliver);
        let room = self.untaken.len() < INBOX_MESSAGES_MAX + INBOX_OVERSHOOT_MAX;
        let Some(conversation) = self.conversation(id) else {
            self.tell_stalled(out);
            return Fate::Arrived;
        };
        tell_lost(conversation, (deliver.sequence, deliver.message), out);
        let arrival = conversation.judge(deliver.sequence);
        if let Some(client_message_id) = own {
            let Deliver { message, sequence, time, .. } = *deliver;
            self.tell_accepted(AcceptedMessage { client_message_id, conversation: id, message, sequence, time }, out);
            self.on_own_message(now, id, (sequence, message), out);
            self.acks.on_message(now, id);
            return if arrival == Arrival::Early { Fate::Dropped } else { Fate::Arrived };
        }
        match arrival {
            Arrival::Known => {
                self.acks.on_message(now, id);
                Fate::Arrived
            }
            Arrival::Early => Fate::Dropped,
            Arrival::Next if !room => {
                self.tell_stalled(out);
                Fate::Dropped
            }
            Arrival::Next => {
                conversation.advance();
                let (row, gap) = (conversation.row(), conversation.has_gap());
                let message = Message::from_deliver(deliver);
                out.push(Effect::Store(StoreOp::PutInbox(message.clone())));
                out.push(Effect::Store(StoreOp::PutConversation(row)));
                out.push(Effect::Event(Event::MessageReceived(message)));
                self.untaken.insert((id, deliver.sequence));
                self.acks.on_message(now, id);
                if !gap {
                    self.fetches.on_repaired(id);
                }
                if !self.takes_more() {
                    self.tell_stalled(out);
                }
                Fate::Arrived
            }
        }
    }

    /// The client message id, when this very device sent the message.
    fn own_id(&self, deliver: &Deliver<'_>) -> Option<ClientMessageId> {
        let (device, client_message_id) = deliver.origin?;
        (self.user == Some(deliver.sender) && device == self.config.device).then_some(client_message_id)
    }

    fn on_watermark(&mut self, id: ConversationId, told: Watermark, out: &mut Vec<Effect>) {
        let user = self.user;
        let Some(conversation) = self.conversation(id) else { return };
        let moved = conversation.on_watermark(told);
        let confirmed = user == Some(told.member) && conversation.is_confirmed(told.member);
        if let Some(watermark) = moved {
            out.push(Effect::Store(StoreOp::PutWatermark(id, watermark)));
            out.push(Effect::Event(Event::ReceiptChanged { conversation: id, watermark }));
        }
        if confirmed {
            self.acks.on_confirmed(id);
        }
    }

    fn on_page(&mut self, now: Millis, page: &Page<'_>, out: &mut Vec<Effect>) {
        let Some(purpose) = self.fetches.on_answered(page.request) else { return };
        for &watermark in &page.watermarks {
            self.on_watermark(page.conversation, watermark, out);
        }
        match purpose {
            Purpose::Watermarks(_) => {}
            Purpose::App => {
                self.fetches.finish_app(page.request);
                out.push(Effect::Event(Event::Page(HistoryPage {
                    request: page.request,
                    conversation: page.conversation,
                    messages: page.messages.iter().map(Message::from_deliver).collect(),
                    void: page.void.clone(),
                    more: page.more,
                })));
            }
            Purpose::Repair(conversation) => self.on_repair(now, conversation, page, out),
        }
    }

    fn on_repair(&mut self, now: Millis, id: ConversationId, page: &Page<'_>, out: &mut Vec<Effect>) {
        let before = self.conversations.get(&id).map(|known| known.delivered());
        for message in page.messages.iter().filter(|message| message.conversation == id) {
            self.pass_voids(id, page, out);
            if self.on_message(now, message, out) == Fate::Dropped {
                break;
            }
        }
        self.pass_voids(id, page, out);
        let Some(conversation) = self.conversations.get(&id) else { return };
        let progress = before < Some(conversation.delivered());
        if !conversation.has_gap() {
            self.fetches.on_repaired(id);
        } else if progress {
            self.fetches.on_repair_progress(now, id);
        } else {
            self.retry_repair(now, id, 0);
        }
    }

    fn pass_voids(&mut self, id: ConversationId, page: &Page<'_>, out: &mut Vec<Effect>) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        for &void in &page.void {
            let Some(range) = conversation.on_void(void) else { continue };
            out.push(Effect::Store(StoreOp::PutConversation(conversation.row())));
            out.push(Effect::Event(Event::MessagesMissing { conversation: id, range }));
        }
    }

    pub(super) fn retry_repair(&mut self, now: Millis, id: ConversationId, wait_ms: u64) {
        let refusals = self.fetches.repair_refusals(id);
        let delay_ms = self.backoff().delay_ms(refusals, &mut self.chance).max(self.config.backoff_base_ms);
        self.fetches.postpone_repair(id, now.plus(wait_ms).plus(delay_ms));
    }
}

/// Looks whether the server gave a sequence number out twice, and says so.
fn tell_lost(conversation: &mut Conversation, placed: (Sequence, MessageId), out: &mut Vec<Effect>) {
    let Some(forgotten) = conversation.on_placed(placed.0, placed.1) else { return };
    let id = conversation.row().conversation;
    out.push(Effect::Store(StoreOp::PutConversation(conversation.row())));
    out.extend(forgotten.into_iter().map(|watermark| Effect::Store(StoreOp::PutWatermark(id, watermark))));
    out.push(Effect::Event(Event::HistoryLost { conversation: id, sequence: placed.0 }));
}

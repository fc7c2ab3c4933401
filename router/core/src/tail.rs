//! The budget of the memory tail: the newest messages of all conversations of a shard, oldest out first.

use std::collections::VecDeque;

use switchyard_schema::ids::{ConversationId, Sequence};

use crate::conversation::Conversation;
use crate::memory::Table;
use crate::peer::LiveMessage;

/// In which order messages came, and how many bytes they are.
#[derive(Debug)]
pub(crate) struct Tail {
    budget_bytes: usize,
    message_bytes: usize,
    /// Those of conversations that left memory keep their places, and count, until they are the oldest.
    order: VecDeque<Place>,
}

type Place = (ConversationId, Sequence);

impl Tail {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, message_bytes: 0, order: VecDeque::new() }
    }

    /// The conversation took a message into its tail.
    pub(crate) fn took(&mut self, message: &LiveMessage) {
        self.message_bytes += cost(message);
        self.order.push_back((message.record.conversation, message.record.sequence));
    }

    /// Drops the oldest messages while there are too many bytes. Pending ones stay: they are bounded by credits, and
    /// they leave in the order they came.
    pub(crate) fn trim(&mut self, conversations: &mut Table<ConversationId, Conversation>) {
        while self.bytes() > self.budget_bytes {
            let Some((id, sequence)) = self.order.front().copied() else { return };
            if let Some(conversation) = conversations.peek_mut(&id)
                && conversation.tail.front().is_some_and(|message| message.record.sequence == sequence)
            {
                if sequence > conversation.durable_head {
                    return;
                }
                let message = conversation.tail.pop_front().expect("it was just seen");
                self.message_bytes -= cost(&message);
                if conversation.tail.is_empty() {
                    conversation.tail = VecDeque::new();
                }
            }
            self.order.pop_front();
        }
    }

    /// A conversation left memory with its tail; its places in the order are found empty later.
    pub(crate) fn dropped(&mut self, conversation: &Conversation) {
        self.message_bytes -= conversation.tail.iter().map(cost).sum::<usize>();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.message_bytes + self.order.len() * size_of::<Place>()
    }
}

/// The frame holds the body; the rest is the list entry.
fn cost(message: &LiveMessage) -> usize {
    message.frame.websocket().len() + size_of::<LiveMessage>()
}

#[cfg(test)]
mod tests {
    use switchyard_schema::ids::{ClientMessageId, DeviceId, MessageId, UserId};
    use switchyard_schema::record::MessageRecord;
    use switchyard_schema::{body, encode};

    use super::*;
    use crate::memory::Met;

    fn user(id: u64) -> UserId {
        UserId::new(id).expect("not zero")
    }

    /// A conversation whose first message has just become durable.
    fn with_message(peer: u64) -> (ConversationId, Conversation) {
        let id = ConversationId::direct(user(1), user(peer));
        let message = MessageId::new(peer).expect("not zero");
        let (frame, body) = encode::deliver_draft(id, user(1), &body::text("hi")).stamp(message, Sequence(1));
        let (sender, device) = (user(1), DeviceId::new(1).expect("not zero"));
        let client_message_id = ClientMessageId([1; 16]);
        let record =
            MessageRecord { conversation: id, sequence: Sequence(1), message, sender, device, client_message_id, body };
        let mut conversation = Conversation::new(id);
        conversation.take(&record, Some(frame));
        conversation.durable_head = Sequence(1);
        (id, conversation)
    }

    #[test]
    fn given_conversations_that_leave_memory_when_others_come_then_their_places_do_not_pile_up() {
        const PLACES: usize = 100;
        let mut tail = Tail::new(PLACES * size_of::<Place>());
        let mut conversations = Table::new(0);
        for peer in 2..2 + 10 * PLACES as u64 {
            let (id, conversation) = with_message(peer);
            tail.took(conversation.tail.back().expect("it has one"));
            conversations.insert(id, conversation);
            tail.trim(&mut conversations);
            assert!(matches!(conversations.evict_one(0), Met::Spared), "it has just come");
            let Met::Evicted(_, gone) = conversations.evict_one(0) else { panic!("nothing holds it") };
            tail.dropped(&gone);
            assert!(tail.order.len() <= PLACES, "{} places of {} messages", tail.order.len(), peer - 1);
        }
        assert_eq!(tail.message_bytes, 0);
    }
}

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
    bytes: usize,
    order: VecDeque<(ConversationId, Sequence)>,
}

impl Tail {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, bytes: 0, order: VecDeque::new() }
    }

    /// The conversation took a message into its tail.
    pub(crate) fn took(&mut self, message: &LiveMessage) {
        self.bytes += cost(message);
        self.order.push_back((message.record.conversation, message.record.sequence));
    }

    /// Drops the oldest messages while there are too many bytes. Pending ones stay: they are bounded by credits, and
    /// they leave in the order they came.
    pub(crate) fn trim(&mut self, conversations: &mut Table<ConversationId, Conversation>) {
        while self.bytes > self.budget_bytes {
            let Some((id, sequence)) = self.order.front().copied() else { return };
            if let Some(conversation) = conversations.peek_mut(&id)
                && conversation.tail.front().is_some_and(|message| message.record.sequence == sequence)
            {
                if sequence > conversation.durable_head {
                    return;
                }
                let message = conversation.tail.pop_front().expect("it was just seen");
                self.bytes -= cost(&message);
                if conversation.tail.is_empty() {
                    conversation.tail = VecDeque::new();
                }
            }
            self.order.pop_front();
        }
    }

    /// A conversation left memory with its tail; its places in the order are found empty later.
    pub(crate) fn dropped(&mut self, conversation: &Conversation) {
        self.bytes -= conversation.tail.iter().map(cost).sum::<usize>();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The frame holds the body; the rest is the list entry and the place in the order.
fn cost(message: &LiveMessage) -> usize {
    message.frame.websocket().len() + size_of::<LiveMessage>() + size_of::<(ConversationId, Sequence)>()
}

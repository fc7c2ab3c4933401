//! A phone's own store: every operation is durable at once, as the client's driver promises.

use std::collections::BTreeMap;

use switchyard_client_core::{ConversationRow, Message, OutboxRow, Restored, StoreOp};
use switchyard_schema::frame::Watermark;
use switchyard_schema::ids::{ClientMessageId, ConversationId, Sequence, UserId};

/// What a phone keeps when its application is killed.
#[derive(Debug, Default)]
pub(crate) struct Flash {
    user: Option<UserId>,
    conversations: BTreeMap<ConversationId, ConversationRow>,
    watermarks: BTreeMap<(ConversationId, UserId), Watermark>,
    outbox: BTreeMap<ClientMessageId, OutboxRow>,
    inbox: BTreeMap<(ConversationId, Sequence), Message>,
}

impl Flash {
    pub(crate) fn apply(&mut self, operation: StoreOp) {
        match operation {
            StoreOp::PutUser(user) => self.user = Some(user),
            StoreOp::PutConversation(row) => _ = self.conversations.insert(row.conversation, row),
            StoreOp::PutWatermark(conversation, told) => {
                self.watermarks.insert((conversation, told.member), told);
            }
            StoreOp::PutOutbox(row) => _ = self.outbox.insert(row.client_message_id, row),
            StoreOp::DropOutbox(id) => _ = self.outbox.remove(&id),
            StoreOp::PutInbox(message) => _ = self.inbox.insert((message.conversation, message.sequence), message),
            StoreOp::DropInbox(conversation, sequence) => _ = self.inbox.remove(&(conversation, sequence)),
        }
    }

    pub(crate) fn restore(&self) -> Restored {
        Restored {
            user: self.user,
            conversations: self.conversations.values().copied().collect(),
            watermarks: self.watermarks.iter().map(|((conversation, _), told)| (*conversation, *told)).collect(),
            outbox: self.outbox.values().cloned().collect(),
            inbox: self.inbox.values().cloned().collect(),
        }
    }

    pub(crate) fn watermark(&self, conversation: ConversationId, member: UserId) -> Option<Watermark> {
        self.watermarks.get(&(conversation, member)).copied()
    }

    pub(crate) fn conversations(&self) -> impl Iterator<Item = &ConversationRow> {
        self.conversations.values()
    }
}

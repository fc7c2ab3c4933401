//! The memory tail: the newest messages of all conversations of a shard in one ring of bytes, oldest out first.
//!
//! Messages stay here for far longer than in a processor's cache. Kept one by one each would be found there by nobody when its
//! time is over, nor the place that the next one gets, and that was half of what a message cost a router core. In a ring what is
//! written and what is forgotten lie behind one another, which the processor foresees. What is on its way to sessions
//! ([`crate::peer::LiveMessage`]) is no part of it.

use std::collections::VecDeque;

use bytes::{Buf, BufMut};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Sequence, UserId};
use switchyard_schema::record::MessageRecord;

use crate::conversation::Conversation;
use crate::memory::Table;

/// Bytes in front of a body: its length, message id, sender, device and client message id.
const HEAD_BYTES: usize = 4 + 8 + 8 + 8 + 16;

/// Bytes of what stands in lists for a message: here, and at its conversation.
const LISTED_BYTES: usize = size_of::<ConversationId>() + size_of::<Place>();

/// Where a message lies: how many bytes went into the tail before it. Never used again.
pub(crate) type Place = u64;

/// The newest messages, and whose they are.
#[derive(Debug)]
pub(crate) struct Tail {
    budget_bytes: usize,
    ring: VecDeque<u8>,
    /// The place of the oldest message.
    oldest: Place,
    /// Whose the messages are, in order. Those of conversations that left memory stay until they are the oldest.
    owners: VecDeque<ConversationId>,
}

impl Tail {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, ring: VecDeque::new(), oldest: 0, owners: VecDeque::new() }
    }

    /// Takes a message in, for which the oldest make room. One that is larger than the whole tail is not kept, and then nothing
    /// is.
    pub(crate) fn keep(
        &mut self,
        message: &MessageRecord,
        conversations: &mut Table<ConversationId, Conversation>,
    ) -> Option<Place> {
        let bytes = HEAD_BYTES + message.body.len() + LISTED_BYTES;
        self.trim(self.budget_bytes.saturating_sub(bytes), conversations);
        if bytes > self.budget_bytes {
            return None;
        }
        if self.ring.capacity() == 0 {
            // All at once, so that it never grows; memory that no message has reached is not touched.
            self.ring.reserve_exact(self.budget_bytes);
        }
        let place = self.oldest + self.ring.len() as u64;
        let mut head = [0; HEAD_BYTES];
        let mut out = &mut head[..];
        out.put_u32_le(u32::try_from(message.body.len()).expect("a body is far below 4 GiB"));
        for word in [message.message.get(), message.sender.get(), message.device.get()] {
            out.put_u64_le(word);
        }
        out.put_slice(&message.client_message_id.0);
        self.ring.extend(&head);
        self.ring.extend(&message.body[..]);
        self.owners.push_back(message.conversation);
        Some(place)
    }

    /// The message that was kept there: that of this conversation with this sequence.
    pub(crate) fn get(&self, conversation: ConversationId, sequence: Sequence, place: Place) -> MessageRecord {
        let head: [u8; HEAD_BYTES] = self.copy(place);
        let mut rest = &head[..];
        let mut body = vec![0; rest.get_u32_le() as usize];
        self.copy_to(place + HEAD_BYTES as u64, &mut body);
        MessageRecord {
            conversation,
            sequence,
            message: MessageId::new(rest.get_u64_le()).expect("it was one"),
            sender: UserId::new(rest.get_u64_le()).expect("it was one"),
            device: DeviceId::new(rest.get_u64_le()).expect("it was one"),
            client_message_id: ClientMessageId(*rest.last_chunk().expect("it ends the head")),
            body: body.into(),
        }
    }

    /// Forgets the oldest messages while there are more bytes than these.
    fn trim(&mut self, most_bytes: usize, conversations: &mut Table<ConversationId, Conversation>) {
        while self.bytes() > most_bytes
            && let Some(owner) = self.owners.pop_front()
        {
            // One that left memory, or came again since, knows nothing of it.
            if let Some(conversation) = conversations.peek_mut(&owner)
                && conversation.tail.front() == Some(&self.oldest)
            {
                conversation.tail.pop_front();
                if conversation.tail.is_empty() {
                    conversation.tail = VecDeque::new();
                }
            }
            let bytes = HEAD_BYTES + u32::from_le_bytes(self.copy(self.oldest)) as usize;
            self.ring.drain(..bytes);
            self.oldest += bytes as u64;
        }
    }

    /// Lists included.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.len() + self.owners.len() * LISTED_BYTES
    }

    fn copy<const BYTES: usize>(&self, from: Place) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        self.copy_to(from, &mut out);
        out
    }

    fn copy_to(&self, from: Place, out: &mut [u8]) {
        let from = usize::try_from(from - self.oldest).expect("a ring lies in memory");
        let (first, second) = self.ring.as_slices();
        let in_first = first.len().saturating_sub(from).min(out.len());
        let (out_first, out_second) = out.split_at_mut(in_first);
        out_first.copy_from_slice(&first[from.min(first.len())..][..in_first]);
        out_second.copy_from_slice(&second[(from + in_first).saturating_sub(first.len())..][..out_second.len()]);
    }
}

#[cfg(test)]
mod tests {
    use switchyard_schema::body;

    use super::*;
    use crate::memory::Met;

    fn user(id: u64) -> UserId {
        UserId::new(id).expect("not zero")
    }

    /// The message with this sequence in the conversation with this user, of a length of its own.
    fn message(peer: u64, sequence: u64) -> MessageRecord {
        MessageRecord {
            conversation: ConversationId::direct(user(1), user(peer)),
            sequence: Sequence(sequence),
            message: MessageId::new(peer << 32 | sequence).expect("not zero"),
            sender: user(peer),
            device: DeviceId::new(1 + sequence % 3).expect("not zero"),
            client_message_id: ClientMessageId([u8::try_from(sequence % 251).expect("a byte"); 16]),
            body: body::text(&"x".repeat(1 + usize::try_from(sequence % 40).expect("small"))).into(),
        }
    }

    /// Sends and makes durable.
    fn send(tail: &mut Tail, conversations: &mut Table<ConversationId, Conversation>, sent: &MessageRecord) {
        let id = sent.conversation;
        if conversations.peek(&id).is_none() {
            conversations.insert(id, Conversation::new(id));
        }
        let kept = tail.keep(sent, conversations);
        let conversation = conversations.peek_mut(&id).expect("it is there");
        conversation.take(sent, kept);
        conversation.durable_head = sent.sequence;
    }

    #[test]
    fn given_messages_of_several_conversations_when_the_ring_goes_round_then_the_newest_are_as_they_were() {
        const BUDGET_BYTES: usize = 10_000;
        let (mut tail, mut conversations) = (Tail::new(BUDGET_BYTES), Table::new(0));
        for sequence in 1..=1_000 {
            for peer in 2..5 {
                send(&mut tail, &mut conversations, &message(peer, sequence));
                assert!(tail.bytes() <= BUDGET_BYTES);
            }
            for peer in 2..5 {
                let id = ConversationId::direct(user(1), user(peer));
                let conversation = conversations.peek(&id).expect("it is there");
                let kept = conversation.tail.len() as u64;
                assert_eq!(kept.min(10), sequence.min(10), "at least ten fit");
                for sequence in sequence + 1 - kept..=sequence {
                    let place = conversation.recent(Sequence(sequence)).expect("it is kept");
                    assert_eq!(tail.get(id, Sequence(sequence), place), message(peer, sequence));
                }
                assert_eq!(conversation.recent(Sequence(sequence - kept)), None);
            }
        }
        assert_eq!(tail.ring.capacity(), BUDGET_BYTES, "it never grew");
    }

    #[test]
    fn given_a_message_that_does_not_fit_then_nothing_is_kept_and_the_next_ones_are() {
        let (mut tail, mut conversations) = (Tail::new(500), Table::new(0));
        send(&mut tail, &mut conversations, &message(2, 1));
        let large = MessageRecord { body: vec![7; 1_000].into(), ..message(2, 2) };
        send(&mut tail, &mut conversations, &large);
        assert_eq!((tail.bytes(), tail.ring.capacity()), (0, 500), "nor does the ring grow for a moment");
        send(&mut tail, &mut conversations, &message(2, 3));
        let conversation = conversations.peek(&large.conversation).expect("it is there");
        assert_eq!([1, 2, 3].map(|sequence| conversation.recent(Sequence(sequence)).is_some()), [false, false, true]);
    }

    #[test]
    fn given_conversations_that_leave_memory_when_others_come_then_their_messages_do_not_pile_up() {
        const BUDGET_BYTES: usize = 10_000;
        let (mut tail, mut conversations) = (Tail::new(BUDGET_BYTES), Table::new(0));
        for peer in 2..1_000 {
            send(&mut tail, &mut conversations, &message(peer, 1));
            assert!(matches!(conversations.evict_one(0), Met::Spared), "it has just come");
            assert!(matches!(conversations.evict_one(0), Met::Evicted(..)), "nothing holds it");
            assert!(tail.bytes() <= BUDGET_BYTES, "{} bytes of {} messages", tail.bytes(), peer - 1);
        }
        // One of them comes again: what it left behind is not taken for its own.
        let back = message(999, 2);
        let mut conversation = Conversation::new(back.conversation);
        conversation.head = Sequence(1);
        conversations.insert(back.conversation, conversation);
        for sequence in 2..4 {
            send(&mut tail, &mut conversations, &message(999, sequence));
        }
        let conversation = conversations.peek(&back.conversation).expect("it is there");
        assert_eq!([1, 2, 3].map(|sequence| conversation.recent(Sequence(sequence)).is_some()), [false, true, true]);
    }
}

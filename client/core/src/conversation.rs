//! How far this device is in one conversation, and how far its members are.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::frame::{VoidRange, Watermark};
use switchyard_schema::ids::{ConversationId, MessageId, Sequence, UserId};

use crate::effect::ConversationRow;
use crate::limits::{AHEAD_MAX, WATERMARKS_PER_CONVERSATION_MAX};

/// What a sequence number is to this device.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The next one.
    Next,
    /// It has been here.
    Known,
    /// Something before it is missing.
    Early,
}

#[derive(Debug)]
pub(crate) struct Conversation {
    id: ConversationId,
    /// Everything up to here has arrived. `None` until the first message tells where this device starts.
    delivered: Option<Sequence>,
    /// Own messages above `delivered` that are known to be accepted.
    ahead: BTreeSet<Sequence>,
    read: Sequence,
    own_head: Sequence,
    /// What the server takes as delivered here without an Ack: an own message that is accepted as the next one.
    implied: Sequence,
    /// The newest message that is known to exist.
    known_head: Sequence,
    watermarks: BTreeMap<UserId, Watermark>,
    /// The message with the highest sequence number, and that number. Message ids grow with the sequence, so a higher id
    /// at or below that number means that the server counts anew.
    newest: Option<(Sequence, MessageId)>,
}

impl Conversation {
    pub(crate) fn new(id: ConversationId) -> Self {
        Self {
            id,
            delivered: None,
            ahead: BTreeSet::new(),
            read: Sequence::ZERO,
            own_head: Sequence::ZERO,
            implied: Sequence::ZERO,
            known_head: Sequence::ZERO,
            watermarks: BTreeMap::new(),
            newest: None,
        }
    }

    pub(crate) fn restored(row: &ConversationRow) -> Self {
        Self {
            delivered: row.delivered,
            read: row.read,
            own_head: row.own_head,
            known_head: row.delivered.unwrap_or_default(),
            newest: row.newest,
            ..Self::new(row.conversation)
        }
    }

    pub(crate) const fn row(&self) -> ConversationRow {
        let &Self { id: conversation, delivered, read, own_head, newest, .. } = self;
        ConversationRow { conversation, delivered, read, own_head, newest }
    }

    pub(crate) fn delivered(&self) -> Sequence {
        self.delivered.unwrap_or_default()
    }

    pub(crate) const fn read(&self) -> Sequence {
        self.read
    }

    /// Whether messages are known to exist that have not arrived.
    pub(crate) fn has_gap(&self) -> bool {
        self.delivered.is_some_and(|delivered| self.known_head > delivered)
    }

    /// A message has this place. When the server has given that place to another message before, the conversation begins
    /// again there; answers with the watermarks to forget then, set to nothing.
    pub(crate) fn on_placed(&mut self, sequence: Sequence, message: MessageId) -> Option<Vec<Watermark>> {
        let counted_anew = self.newest.is_some_and(|(newest, id)| sequence <= newest && message > id);
        if self.newest.is_none_or(|(newest, _)| sequence > newest) || counted_anew {
            self.newest = Some((sequence, message));
        }
        if !counted_anew {
            return None;
        }
        let before = Sequence(sequence.0.saturating_sub(1));
        let start = |member: &UserId| Watermark { member: *member, delivered: Sequence::ZERO, read: Sequence::ZERO };
        let forgotten = self.watermarks.keys().map(start).collect();
        *self = Self {
            delivered: Some(before),
            read: self.read.min(before),
            known_head: before,
            newest: self.newest,
            ..Self::new(self.id)
        };
        Some(forgotten)
    }

    /// Judges a message from the stream. The first one tells where this device starts.
    pub(crate) fn judge(&mut self, sequence: Sequence) -> Arrival {
        self.known_head = self.known_head.max(sequence);
        let delivered = *self.delivered.get_or_insert(Sequence(sequence.0.saturating_sub(1)));
        if sequence <= delivered || self.ahead.contains(&sequence) {
            Arrival::Known
        } else if sequence == delivered.next() {
            Arrival::Next
        } else {
            Arrival::Early
        }
    }

    /// The next message has arrived.
    pub(crate) fn advance(&mut self) {
        self.delivered = Some(self.delivered().next());
        self.absorb();
    }

    /// An own message was accepted at `sequence`: it need not arrive any more, and what was fully acknowledged before it
    /// stays so.
    pub(crate) fn on_accepted(&mut self, sequence: Sequence, user: Option<UserId>) {
        self.own_head = self.own_head.max(sequence);
        self.known_head = self.known_head.max(sequence);
        if self.delivered.is_none() && sequence == Sequence(1) {
            self.delivered = Some(Sequence::ZERO);
        }
        if user.is_some_and(|user| self.is_confirmed(user)) && self.delivered().next() == sequence {
            self.implied = sequence;
        }
        if self.delivered.is_none_or(|delivered| sequence > delivered) && self.ahead.len() < AHEAD_MAX {
            self.ahead.insert(sequence);
        }
        self.absorb();
    }

    /// Passes over numbers that hold nothing. Returns those that were really missing.
    pub(crate) fn on_void(&mut self, void: VoidRange) -> Option<VoidRange> {
        let next = self.delivered().next();
        if void.from > next || void.to < next {
            return None;
        }
        self.delivered = Some(void.to);
        self.known_head = self.known_head.max(void.to);
        self.absorb();
        Some(VoidRange { from: next, to: void.to })
    }

    /// The missing messages cannot be had; they count as arrived as soon as something newer comes.
    pub(crate) fn give_up_gap(&mut self) {
        self.delivered = Some(self.known_head);
        self.ahead.clear();
    }

    /// Marks as read up to `sequence`, no further than what has arrived. Returns whether that changed anything.
    pub(crate) fn on_read(&mut self, sequence: Sequence) -> bool {
        let read = sequence.min(self.delivered());
        let moved = read > self.read;
        self.read = self.read.max(read);
        moved
    }

    /// Takes a member's watermark; returns the joined one when it moved.
    pub(crate) fn on_watermark(&mut self, told: Watermark) -> Option<Watermark> {
        if !self.watermarks.contains_key(&told.member) && self.watermarks.len() >= WATERMARKS_PER_CONVERSATION_MAX {
            return None;
        }
        let start = Watermark { member: told.member, delivered: Sequence::ZERO, read: Sequence::ZERO };
        let known = self.watermarks.entry(told.member).or_insert(start);
        let read = known.read.max(told.read);
        let joined = Watermark { read, delivered: known.delivered.max(told.delivered).max(read), ..*known };
        (joined != *known).then(|| {
            *known = joined;
            joined
        })
    }

    /// Whether the server is known to have what this device would acknowledge.
    pub(crate) fn is_confirmed(&self, user: UserId) -> bool {
        let (delivered, read) =
            self.watermarks.get(&user).map_or((Sequence::ZERO, Sequence::ZERO), |own| (own.delivered, own.read));
        delivered.max(self.implied) >= self.delivered() && read >= self.read
    }

    /// Whether somebody has not read this user's newest message, as far as is known.
    pub(crate) fn awaits_receipt(&self, user: UserId) -> bool {
        if self.own_head == Sequence::ZERO {
            return false;
        }
        let reader = self.id.peer_of(user);
        let mut others = self.watermarks.values().filter(|other| match reader {
            Some(peer) => other.member == peer,
            None => other.member != user,
        });
        let lowest = others.by_ref().map(|other| other.read).min().unwrap_or_default();
        lowest < self.own_head
    }

    fn absorb(&mut self) {
        let Some(mut delivered) = self.delivered else { return };
        while let Some(&first) = self.ahead.first() {
            if first > delivered.next() {
                break;
            }
            self.ahead.pop_first();
            delivered = delivered.max(first);
        }
        self.delivered = Some(delivered);
        self.known_head = self.known_head.max(delivered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    fn conversation() -> Conversation {
        Conversation::new(ConversationId::direct(user(1), user(2)))
    }

    fn watermark(member: u64, delivered: u64, read: u64) -> Watermark {
        Watermark { member: user(member), delivered: Sequence(delivered), read: Sequence(read) }
    }

    #[test]
    fn given_a_new_device_when_the_first_message_arrives_then_the_device_starts_there() {
        let mut conversation = conversation();
        assert_eq!(conversation.judge(Sequence(41)), Arrival::Next);
        conversation.advance();
        assert_eq!(conversation.judge(Sequence(41)), Arrival::Known);
        assert_eq!(conversation.judge(Sequence(42)), Arrival::Next);
        assert_eq!(conversation.judge(Sequence(44)), Arrival::Early);
    }

    #[test]
    fn given_an_own_message_ahead_when_the_ones_before_arrive_then_it_is_passed_over() {
        let mut conversation = conversation();
        conversation.judge(Sequence(5));
        conversation.advance();
        conversation.on_accepted(Sequence(7), Some(user(1)));
        assert!(conversation.has_gap());
        assert_eq!(conversation.judge(Sequence(6)), Arrival::Next);
        conversation.advance();
        assert_eq!(conversation.delivered(), Sequence(7));
        assert_eq!(conversation.judge(Sequence(7)), Arrival::Known);
        assert!(!conversation.has_gap());
    }

    #[test]
    fn given_only_own_messages_when_a_device_starts_then_nothing_counts_as_missing_until_a_message_arrives() {
        let mut conversation = conversation();
        conversation.on_accepted(Sequence(9), Some(user(1)));
        assert!(!conversation.has_gap());
        assert_eq!(conversation.judge(Sequence(7)), Arrival::Next);
        conversation.advance();
        assert!(conversation.has_gap());
        assert_eq!(conversation.judge(Sequence(8)), Arrival::Next);
        conversation.advance();
        assert_eq!(conversation.delivered(), Sequence(9));
    }

    #[test]
    fn given_nothing_unconfirmed_when_an_own_message_is_accepted_next_then_it_needs_no_ack() {
        let mut conversation = conversation();
        conversation.on_accepted(Sequence(1), Some(user(1)));
        assert!(conversation.is_confirmed(user(1)));
        assert_eq!(conversation.judge(Sequence(2)), Arrival::Next);
        conversation.advance();
        conversation.on_accepted(Sequence(3), Some(user(1)));
        assert!(!conversation.is_confirmed(user(1)));
        conversation.on_watermark(watermark(1, 3, 0));
        assert!(conversation.is_confirmed(user(1)));
    }

    #[test]
    fn given_a_void_when_it_covers_the_next_number_then_only_the_missing_part_is_reported() {
        let mut conversation = conversation();
        conversation.judge(Sequence(5));
        conversation.advance();
        let void = |from, to| VoidRange { from: Sequence(from), to: Sequence(to) };
        assert_eq!(conversation.on_void(void(1, 5)), None);
        assert_eq!(conversation.on_void(void(7, 8)), None);
        assert_eq!(conversation.on_void(void(4, 8)), Some(void(6, 8)));
        assert_eq!(conversation.judge(Sequence(9)), Arrival::Next);
    }

    #[test]
    fn given_watermarks_out_of_order_when_joined_then_they_never_go_back() {
        let mut conversation = conversation();
        assert_eq!(conversation.on_watermark(watermark(2, 5, 3)), Some(watermark(2, 5, 3)));
        assert_eq!(conversation.on_watermark(watermark(2, 4, 2)), None);
        assert_eq!(conversation.on_watermark(watermark(2, 4, 6)), Some(watermark(2, 6, 6)));
    }

    #[test]
    fn given_own_messages_when_the_peer_has_read_them_then_no_receipt_is_awaited() {
        let mut conversation = conversation();
        assert!(!conversation.awaits_receipt(user(1)));
        conversation.on_accepted(Sequence(1), Some(user(1)));
        assert!(conversation.awaits_receipt(user(1)));
        conversation.on_watermark(watermark(1, 1, 1));
        assert!(conversation.awaits_receipt(user(1)), "the own watermark is not the peer's");
        conversation.on_watermark(watermark(2, 1, 1));
        assert!(!conversation.awaits_receipt(user(1)));
    }

    #[test]
    fn given_a_place_that_is_given_out_again_when_a_message_has_it_then_the_conversation_begins_again_there() {
        let id = |number| MessageId::new(number).unwrap();
        let mut conversation = conversation();
        for number in 1..=9 {
            assert_eq!(conversation.on_placed(Sequence(number), id(10 * number)), None);
            conversation.judge(Sequence(number));
            conversation.advance();
        }
        conversation.on_watermark(watermark(2, 9, 9));
        conversation.on_read(Sequence(9));
        for (number, message) in [(9, 90), (4, 40), (4, 89)] {
            assert_eq!(conversation.on_placed(Sequence(number), id(message)), None, "a repeat");
        }
        assert_eq!(conversation.on_placed(Sequence(4), id(91)), Some(vec![watermark(2, 0, 0)]));
        assert_eq!((conversation.delivered(), conversation.read()), (Sequence(3), Sequence(3)));
        assert_eq!(conversation.judge(Sequence(4)), Arrival::Next);
        conversation.advance();
        assert_eq!(conversation.on_placed(Sequence(5), id(92)), None, "it is told once");
        assert_eq!(conversation.on_watermark(watermark(2, 4, 1)), Some(watermark(2, 4, 1)));
    }

    #[test]
    fn given_reading_further_than_what_arrived_when_marked_then_it_is_clamped() {
        let mut conversation = conversation();
        conversation.judge(Sequence(1));
        conversation.advance();
        assert!(conversation.on_read(Sequence(9)));
        assert_eq!(conversation.read(), Sequence(1));
        assert!(!conversation.on_read(Sequence(1)));
    }
}

//! What must hold, whatever happens: kept from what phones sent and saw, never from the server's own word.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use switchyard_schema::frame::Watermark;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Sequence, UserId};
use switchyard_schema::record::CursorRecord;

/// A message that a person sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserId,
    /// Which phone.
    pub(crate) phone: usize,
    pub(crate) body: Bytes,
    /// The sender's phone was told that it is durable.
    pub(crate) accepted: bool,
}

/// A message as somebody saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) conversation: ConversationId,
    pub(crate) sequence: Sequence,
    pub(crate) message: MessageId,
    pub(crate) sender: UserId,
    pub(crate) body: &'a [u8],
}

type Place = (ConversationId, Sequence);

/// What must hold.
#[derive(Debug, Default)]
pub struct Truth {
    pub(crate) sent: BTreeMap<ClientMessageId, Sent>,
    by_body: HashMap<Bytes, ClientMessageId>,
    named: BTreeMap<Place, (MessageId, ClientMessageId)>,
    place_of: BTreeMap<ClientMessageId, Place>,
    ids: BTreeMap<MessageId, Place>,
    /// How far each member ever said that it is.
    acked: BTreeMap<(UserId, ConversationId), Sequence>,
    read: BTreeMap<(UserId, ConversationId), Sequence>,
    /// The highest watermark that anybody was told of each member.
    told: BTreeMap<(UserId, ConversationId), Watermark>,
    told_before_rest: BTreeMap<(UserId, ConversationId), Watermark>,
    taken_back: BTreeMap<(UserId, ConversationId), Watermark>,
    /// Cursors that are in the journal.
    cursors: BTreeMap<(UserId, DeviceId), BTreeMap<ConversationId, Sequence>>,
    /// The devices that ever asked for a session.
    greeted: BTreeSet<(UserId, DeviceId)>,
    failure: Option<String>,
}

impl Truth {
    /// Something does not hold. The first time is what the run fails with.
    pub(crate) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// Why the run fails.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// A person sent a message.
    pub(crate) fn on_send(&mut self, id: ClientMessageId, sent: Sent) {
        self.by_body.insert(sent.body.clone(), id);
        self.sent.insert(id, sent);
    }

    /// A phone was told that its message is durable.
    pub(crate) fn on_accepted(&mut self, id: ClientMessageId, place: Place, message: MessageId) {
        if self.sent.contains_key(&id) {
            self.name(place, message, id);
        } else {
            self.fail(format!("a send was accepted that nobody sent: {id}"));
        }
    }

    /// The sender's application was told so, which it is once.
    pub(crate) fn on_told(&mut self, id: ClientMessageId) {
        match self.sent.get_mut(&id) {
            Some(sent) if !sent.accepted => sent.accepted = true,
            Some(_) => self.fail(format!("{id} was reported as accepted twice")),
            None => self.fail(format!("{id} was reported as accepted, and nobody sent it")),
        }
    }

    /// Somebody saw a message. Gives the name its sender gave it.
    pub(crate) fn on_seen(&mut self, seen: &Seen<'_>) -> Option<ClientMessageId> {
        let Seen { conversation, sequence, message, sender, body } = *seen;
        let Some(&id) = self.by_body.get(body) else {
            self.fail(format!("{conversation} {} has a text that nobody sent", sequence.0));
            return None;
        };
        let sent = &self.sent[&id];
        if (sent.conversation, sent.sender) != (conversation, sender) {
            self.fail(format!("{id} was seen in {conversation} from {sender}, where it was not sent"));
        }
        self.name((conversation, sequence), message, id);
        Some(id)
    }

    fn name(&mut self, place: Place, message: MessageId, id: ClientMessageId) {
        let at = format!("{} {}", place.0, place.1.0);
        let named = *self.named.entry(place).or_insert((message, id));
        if named != (message, id) {
            self.fail(format!("{at} names two messages: {named:?} and {:?}", (message, id)));
        }
        let known = *self.place_of.entry(id).or_insert(place);
        if known != place {
            self.fail(format!("{id} was accepted twice: as {} {} and as {at}", known.0, known.1.0));
        }
        let known = *self.ids.entry(message).or_insert(place);
        if known != place {
            self.fail(format!("message id {message} was given twice: to {} {} and to {at}", known.0, known.1.0));
        }
    }

    /// A phone says how far it is.
    pub(crate) fn on_ack(&mut self, member: UserId, conversation: ConversationId, delivered: Sequence, read: Sequence) {
        let known = self.acked.entry((member, conversation)).or_default();
        *known = (*known).max(delivered).max(read);
        let known = self.read.entry((member, conversation)).or_default();
        *known = (*known).max(read);
    }

    /// Somebody was told how far a member is. Nobody is further than it said, but for what it sent itself.
    pub(crate) fn on_watermark(&mut self, conversation: ConversationId, told: Watermark) {
        let key = (told.member, conversation);
        let own = |(_, id): &(MessageId, ClientMessageId)| self.sent[id].sender == told.member;
        let acked = self.acked.get(&key).copied().unwrap_or_default();
        let beyond =
            (acked.0 + 1..=told.delivered.0).map(|sequence| self.named.get(&(conversation, Sequence(sequence))));
        let explained = beyond.into_iter().all(|place| place.is_none_or(own));
        if !explained {
            self.fail(format!(
                "{conversation}: {} is said to have {}, and never said so",
                told.member, told.delivered.0
            ));
        }
        if told.read > self.read.get(&key).copied().unwrap_or_default() {
            self.fail(format!("{conversation}: {} is said to have read {}", told.member, told.read.0));
        }
    }

    /// A member's watermark came from the conversation. A user's own one may be ahead of that by what the user sent.
    pub(crate) fn on_told_by_conversation(&mut self, conversation: ConversationId, told: Watermark) {
        let highest = self.told.entry((told.member, conversation)).or_insert(told);
        highest.delivered = highest.delivered.max(told.delivered);
        highest.read = highest.read.max(told.read);
    }

    /// Everything has come to rest: what was told by now is never taken back.
    pub(crate) fn on_rest(&mut self) {
        self.told_before_rest = self.told.clone();
        self.taken_back.clear();
    }

    /// A page that was asked for after that says how far a member is. After a crash a conversation may have to be told
    /// again, which takes its time through a small ring; but in the end it knows.
    pub(crate) fn on_page_at_rest(&mut self, conversation: ConversationId, told: Watermark) {
        let key = (told.member, conversation);
        let Some(highest) = self.told_before_rest.get(&key).copied() else { return };
        if told.delivered < highest.delivered || told.read < highest.read {
            self.taken_back.insert(key, told);
        }
    }

    /// A watermark that was told and that the conversation does not know, as the last pages have it.
    pub(crate) fn taken_back(&self) -> Option<String> {
        let ((member, conversation), told) = self.taken_back.first_key_value()?;
        let highest = self.told_before_rest[&(*member, *conversation)];
        Some(format!("{conversation}: the watermark {highest:?} was told, and now it is {told:?}"))
    }

    /// A cursor is durable.
    pub(crate) fn on_cursor(&mut self, record: &CursorRecord) {
        let of_device = self.cursors.entry((record.user, record.device)).or_default();
        let known = of_device.entry(record.conversation).or_default();
        *known = (*known).max(record.delivered);
    }

    /// The durable cursors of a device.
    pub(crate) fn cursors(&self, user: UserId, device: DeviceId) -> BTreeMap<ConversationId, Sequence> {
        self.cursors.get(&(user, device)).cloned().unwrap_or_default()
    }

    /// A device asks for a session.
    pub(crate) fn on_hello(&mut self, user: UserId, device: DeviceId) {
        self.greeted.insert((user, device));
    }

    /// How many devices of a user ever asked for a session.
    pub(crate) fn devices_greeted(&self, user: UserId) -> usize {
        self.greeted.iter().filter(|(of, _)| *of == user).count()
    }

    /// How far a user ever said to be.
    pub(crate) fn acked(&self, user: UserId) -> BTreeMap<ConversationId, Sequence> {
        let of_user = self.acked.iter().filter(|((member, _), _)| *member == user);
        of_user.map(|((_, conversation), sequence)| (*conversation, *sequence)).collect()
    }

    /// The first message of a conversation above `sequence` that `user` did not send.
    pub(crate) fn next_of_others(&self, conversation: ConversationId, sequence: Sequence, user: UserId) -> Sequence {
        let mut next = sequence.next();
        while self.named.get(&(conversation, next)).is_some_and(|(_, id)| self.sent[id].sender == user) {
            next = next.next();
        }
        next
    }

    /// The conversations in which anything was accepted, each with its newest message.
    pub(crate) fn heads(&self) -> BTreeMap<ConversationId, Sequence> {
        self.named.keys().copied().collect()
    }

    /// The sequence numbers up to the head of a conversation that nobody saw.
    pub(crate) fn gaps(&self) -> Vec<Place> {
        let heads = self.heads();
        let all = heads.iter().flat_map(|(id, head)| (1..=head.0).map(|sequence| (*id, Sequence(sequence))));
        all.filter(|place| !self.named.contains_key(place)).collect()
    }

    /// Which messages of a conversation a phone sent itself.
    pub(crate) fn own(&self, phone: usize, conversation: ConversationId) -> BTreeSet<Sequence> {
        let places = self.named.range((conversation, Sequence(0))..=(conversation, Sequence(u64::MAX)));
        places.filter(|(_, (_, id))| self.sent[id].phone == phone).map(|((_, sequence), _)| *sequence).collect()
    }
}

//! A Send at its conversation's shard: checked, given its place, and released when it is durable.

use std::sync::Arc;

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::ids::{ClientMessageId, ConversationId, UserId};
use switchyard_schema::link::{Origin, SendRequest, SessionRef};
use switchyard_schema::record::{MessageRecord, Record};

use crate::conversation::Conversation;
use crate::effects::{Effects, StorageState};
use crate::facts::FactKey;
use crate::limits::{OVERLOADED_RETRY_MS, RETELL_AFTER_MS, STORAGE_RETRY_MS};
use crate::log::Release;
use crate::peer::{Answer, HeadFact, LiveMessage, Peer, SendRefused};
use crate::post;
use crate::shard::Shard;

/// When a client may try again what was refused with `code`.
pub(crate) fn retry_after_ms(code: ErrorCode) -> Option<u32> {
    match code {
        ErrorCode::Overloaded => Some(OVERLOADED_RETRY_MS),
        ErrorCode::StorageUnavailable | ErrorCode::ShardDamaged => Some(STORAGE_RETRY_MS),
        _ => None,
    }
}

impl Shard {
    /// Why a Send is refused before its conversation is even looked at.
    pub(crate) fn refusal_of(&self, request: &SendRequest) -> Option<ErrorCode> {
        if request.conversation.peer_of(request.origin.user).is_none() {
            // Groups do not exist yet, so nobody is a member of one.
            return Some(ErrorCode::NotAMember);
        }
        (self.log.state != StorageState::Ready).then_some(ErrorCode::StorageUnavailable)
    }

    /// Refusals pass through the sender's shard, because the Send holds a credit of that shard's core.
    pub(crate) fn refuse_send(&self, to: &Origin, id: ClientMessageId, code: ErrorCode, fx: &mut Effects) {
        self.refuse_send_of(to.user, to.session, id, code, fx);
    }

    fn refuse_send_of(
        &self,
        user: UserId,
        session: SessionRef,
        id: ClientMessageId,
        code: ErrorCode,
        fx: &mut Effects,
    ) {
        let regarding = Regarding::Send(id);
        let refused = SendRefused { session, code, retry_after_ms: retry_after_ms(code), regarding };
        post::reserved(&self.config, self.config.shard_count.of_user(user), Peer::Refused(refused), fx);
    }

    pub(crate) fn on_send(&mut self, request: SendRequest, fx: &mut Effects) {
        let SendRequest { origin, conversation: id, client_message_id, begin_in_ms, draft } = request;
        let conversation = self.conversations.touch(&id).expect("a send is taken when its conversation is in memory");
        let Origin { user, device, session } = origin;
        if let Some(first) = conversation.dedupe.find(self.now, user, device, client_message_id) {
            let (message, sequence) = (first.message, first.sequence);
            let answer = Answer { session, user, device, client_message_id, conversation: id, message, sequence };
            if sequence <= conversation.durable_head {
                self.answer_repeat(answer, fx);
            } else {
                self.log.wait(Release::Repeat(answer));
            }
            return;
        }
        if begin_in_ms > 0 && !conversation.exists() {
            let regarding = Regarding::Send(client_message_id);
            let (code, retry_after_ms) = (ErrorCode::RateLimited, Some(begin_in_ms));
            let refused = Peer::Refused(SendRefused { session, code, retry_after_ms, regarding });
            return post::reserved(&self.config, self.config.shard_count.of_user(user), refused, fx);
        }

        let message = self.ids.next(self.now);
        self.last_message = Some(message);
        let sequence = conversation.head.next();
        let (frame, body) = draft.stamp(message, sequence);
        let record =
            MessageRecord { conversation: id, sequence, message, sender: user, device, client_message_id, body };
        let kept = self.tail.keep(&record, &mut self.conversations);
        let conversation = self.conversations.peek_mut(&id).expect("it was just there");
        conversation.take(&record, kept);
        conversation.held += 1;
        self.changes.conversation(id, conversation);
        let live = Arc::new(LiveMessage { record: record.clone(), frame });
        let lsn = self.log.append_then(Record::Message(record), Release::Message { live, session }, fx);
        self.log.unplaced.push_back(lsn);
        self.conversations.recount(&id);
    }

    pub(crate) fn answer_repeat(&self, answer: Answer, fx: &mut Effects) {
        post::reserved(&self.config, self.config.shard_count.of_user(answer.user), Peer::Repeated(answer), fx);
    }

    /// A message is durable: it may be seen, and its members' shards are told.
    pub(crate) fn release_message(&mut self, lsn: u64, live: Arc<LiveMessage>, session: SessionRef, fx: &mut Effects) {
        let config = self.config;
        let MessageRecord { conversation: id, sequence, sender, .. } = live.record;
        let conversation = self.conversations.peek_mut(&id).expect("a pending message holds its conversation");
        assert_eq!(conversation.durable_head.next(), sequence, "messages become durable in order");
        conversation.durable_head = sequence;
        conversation.held -= 1;
        let members = conversation.members.len();
        for (index, live) in std::iter::repeat_n(live, members).enumerate() {
            let number = crate::user::device_number(index);
            let member = &mut conversation.members[index];
            let due = self.now.plus(RETELL_AFTER_MS);
            let opened = self.facts.raise(&mut member.head_fact, FactKey::Head(id, number), lsn, due);
            conversation.held += u32::from(opened);
            let mut fact = head_fact(conversation, id, index);
            let to = config.shard_count.of_user(fact.user);
            fact.live = Some(live);
            if fact.user == sender {
                fact.answers = Some(session);
                post::reserved(&config, to, Peer::Head(fact), fx);
            } else {
                post::open(&config, to, Peer::Head(fact), fx);
            }
        }
    }

    /// Nothing that is pending will ever be durable: whoever waits is told, so that no credit stays away.
    pub(crate) fn refuse_pending(&mut self, fx: &mut Effects) {
        for (_, release) in std::mem::take(&mut self.log.pending) {
            match release {
                Release::Message { live, session } => {
                    let MessageRecord { sender, client_message_id, .. } = live.record;
                    self.refuse_send_of(sender, session, client_message_id, ErrorCode::StorageUnavailable, fx);
                }
                Release::Repeat(Answer { user, session, client_message_id, .. }) => {
                    self.refuse_send_of(user, session, client_message_id, ErrorCode::StorageUnavailable, fx);
                }
                Release::Attach { origin, .. } => self.refuse_attach(&origin, ErrorCode::StorageUnavailable, fx),
                Release::Cursor { .. } | Release::Inbox { .. } | Release::Watermark { .. } => {}
            }
        }
    }
}

/// What the member with this index must know, as of now, without a message.
pub(crate) fn head_fact(conversation: &Conversation, id: ConversationId, index: usize) -> HeadFact {
    let member = &conversation.members[index];
    let others = conversation.others_mark(crate::user::device_number(index));
    HeadFact {
        user: member.user,
        conversation: id,
        head: conversation.durable_head,
        peer_delivered: others.delivered,
        peer_read: others.read,
        stamp: crate::peer::FactStamp { head_lsn: member.head_fact.last_lsn(), mark_lsn: member.mark_fact.last_lsn() },
        live: None,
        answers: None,
    }
}

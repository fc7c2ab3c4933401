//! Members' watermarks at the conversation's shard, and facts that are told until they are confirmed.

use switchyard_schema::ids::ConversationId;
use switchyard_schema::record::{Record, WatermarkRecord};

use crate::cursor::Mark;
use crate::effects::Effects;
use crate::facts::{Due, FactKey};
use crate::limits::{RETELL_AFTER_MS, RETELLS_PER_TICK};
use crate::log::Release;
use crate::peer::{HeadConfirmed, Peer, WatermarkConfirmed, WatermarkFact};
use crate::post;
use crate::receipts::watermark_fact;
use crate::sending::head_fact;
use crate::shard::Shard;
use crate::user::device_number;

impl Shard {
    /// A member's watermark. It is durable at the member, so the others are told before it is durable here.
    pub(crate) fn on_watermark(&mut self, fact: &WatermarkFact, fx: &mut Effects) {
        if !self.log.takes_records() {
            return;
        }
        let id = fact.conversation;
        let conversation = self.conversations.touch(&id).expect("a fact is taken when its conversation is in memory");
        let index = conversation.member_index(fact.user).filter(|_| conversation.exists());
        let Some(index) = index else {
            // Only a damaged store forgets a conversation that a member has a cursor in; asking again mends nothing.
            return self.confirm_watermark(id, fact.user, fact.lsn, fx);
        };
        let member = &mut conversation.members[usize::from(index)];
        member.fact_lsn = member.fact_lsn.max(fact.lsn);
        let rose = member.mark.raise(Mark::new(fact.delivered, fact.read));
        if member.pending {
            return;
        }
        if rose {
            self.append_watermark(id, index, fx);
        } else {
            self.confirm_watermark(id, fact.user, fact.lsn, fx);
        }
    }

    /// Journals a member's watermark, one record on its way at a time, and tells the others.
    fn append_watermark(&mut self, id: ConversationId, index: u8, fx: &mut Effects) {
        let config = self.config;
        let conversation = self.conversations.peek_mut(&id).expect("it was just touched");
        let member = &mut conversation.members[usize::from(index)];
        member.pending = true;
        member.recorded = member.mark;
        let Mark { delivered, read } = member.mark;
        let record = WatermarkRecord { conversation: id, member: member.user, delivered, read };
        let release = Release::Watermark { conversation: id, member: index, fact_lsn: member.fact_lsn };
        let lsn = self.log.append_then(Record::Watermark(record), release, fx);
        conversation.held += 1;
        self.changes.conversation(id, conversation);
        for other in (0..conversation.members.len()).filter(|other| *other != usize::from(index)) {
            let key = FactKey::Mark(id, device_number(other));
            let due = self.now.plus(RETELL_AFTER_MS);
            let opened = self.facts.raise(&mut conversation.members[other].mark_fact, key, lsn, due);
            conversation.held += u32::from(opened);
            let fact = head_fact(conversation, id, other);
            post::open(&config, config.shard_count.of_user(fact.user), Peer::Head(fact), fx);
        }
    }

    /// The watermark is in the journal: its origin may forget it.
    pub(crate) fn release_watermark(&mut self, id: ConversationId, index: u8, fact_lsn: u64, fx: &mut Effects) {
        let conversation = self.conversations.peek_mut(&id).expect("a pending record holds its conversation");
        conversation.held -= 1;
        let member = &mut conversation.members[usize::from(index)];
        member.pending = false;
        let (user, newest) = (member.user, member.fact_lsn);
        if member.mark == member.recorded {
            self.confirm_watermark(id, user, newest, fx);
        } else {
            self.confirm_watermark(id, user, fact_lsn, fx);
            self.append_watermark(id, index, fx);
        }
    }

    fn confirm_watermark(
        &self,
        conversation: ConversationId,
        user: switchyard_schema::ids::UserId,
        lsn: u64,
        fx: &mut Effects,
    ) {
        let confirmed = WatermarkConfirmed { user, conversation, lsn };
        post::open(&self.config, self.config.shard_count.of_user(user), Peer::WatermarkConfirmed(confirmed), fx);
    }

    pub(crate) fn on_head_confirmed(&mut self, confirmed: &HeadConfirmed) {
        let HeadConfirmed { user, conversation: id, stamp } = *confirmed;
        let Some(conversation) = self.conversations.peek_mut(&id) else { return };
        let Some(index) = conversation.member_index(user) else { return };
        let member = &mut conversation.members[usize::from(index)];
        let head = self.facts.confirm(&mut member.head_fact, FactKey::Head(id, index), stamp.head_lsn);
        let mark = self.facts.confirm(&mut member.mark_fact, FactKey::Mark(id, index), stamp.mark_lsn);
        conversation.held -= u32::from(head) + u32::from(mark);
    }

    pub(crate) fn on_watermark_confirmed(&mut self, confirmed: &WatermarkConfirmed) {
        let WatermarkConfirmed { user: user_id, conversation: id, lsn } = *confirmed;
        let Some(user) = self.users.peek_mut(&user_id) else { return };
        let Some(inbox) = user.inbox.get_mut(&id) else { return };
        let closed = self.facts.confirm(&mut inbox.fact, FactKey::Cursor(user_id, id), lsn);
        user.held -= u32::from(closed);
    }

    /// Tells facts again that were not confirmed in time.
    pub(crate) fn retell(&mut self, fx: &mut Effects) {
        let config = self.config;
        let due = self.now.plus(RETELL_AFTER_MS);
        for _ in 0..RETELLS_PER_TICK {
            let Some((key, then)) = self.facts.pop_due(self.now) else { return };
            match key {
                FactKey::Head(id, index) | FactKey::Mark(id, index) => {
                    let Some(conversation) = self.conversations.peek_mut(&id) else { continue };
                    let place = usize::from(index);
                    let member = &mut conversation.members[place];
                    let slot = match key {
                        FactKey::Head(..) => &mut member.head_fact,
                        _ => &mut member.mark_fact,
                    };
                    if self.facts.told_again(slot, key, then, due) == Due::Tell {
                        let fact = head_fact(conversation, id, place);
                        post::open(&config, config.shard_count.of_user(fact.user), Peer::Head(fact), fx);
                    }
                }
                FactKey::Cursor(user_id, id) => {
                    let Some(user) = self.users.peek_mut(&user_id) else { continue };
                    let Some(inbox) = user.inbox.get_mut(&id) else { continue };
                    if self.facts.told_again(&mut inbox.fact, key, then, due) == Due::Tell {
                        let fact = watermark_fact(user_id, id, inbox);
                        post::open(&config, config.shard_count.of_conversation(id), Peer::Watermark(fact), fx);
                    }
                }
            }
        }
    }
}

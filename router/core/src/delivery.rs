//! A head fact at a member's shard: its message is sent to the sessions that can take it now, and what it tells is journaled a
//! moment later.

use smallvec::SmallVec;
use switchyard_schema::encode;
use switchyard_schema::ids::{ConversationId, UserId};
use switchyard_schema::link::{Recipients, ToGateway};
use switchyard_schema::record::Record;

use crate::agenda::{SessionKey, pop_due};
use crate::cursor::Mark;
use crate::effects::Effects;
use crate::limits::{INBOX_RECORD_MS, INBOX_RECORDS_PER_TICK};
use crate::log::Release;
use crate::peer::{Answer, FactStamp, HeadConfirmed, HeadFact, LiveMessage, Peer};
use crate::post;
use crate::receipts::Whose;
use crate::shard::Shard;
use crate::user::{User, device_number};

impl Shard {
    /// Tells the session that its Send is durable and gives the gateway its credit back.
    pub(crate) fn accept(&self, answer: &Answer, fx: &mut Effects) {
        let Answer { session, client_message_id, conversation, message, sequence, .. } = *answer;
        post::answer(session, ToGateway::Accepted { session, client_message_id, conversation, message, sequence }, fx);
    }

    /// A repeat's answer; it advances the session like a first one when it is the next message there.
    pub(crate) fn on_repeated(&mut self, answer: &Answer, fx: &mut Effects) {
        self.accept(answer, fx);
        if let Some(user) = self.users.touch(&answer.user)
            && let Some(index) = user.inbox.get_index_of(&answer.conversation)
            && user.inbox[index].head >= answer.sequence
        {
            let index = u32::try_from(index).expect("an inbox is far below 4 G conversations");
            self.advance_by_answer(answer, index);
        }
    }

    pub(crate) fn on_head(&mut self, fact: &HeadFact, fx: &mut Effects) {
        let (user_id, id) = (fact.user, fact.conversation);
        let user = self.users.touch(&user_id).expect("a fact is taken when its user is in memory");
        let known = user.inbox.len();
        let index = user.inbox_index(self.config.hash_seed, id);
        let inbox = &mut user.inbox[index as usize];
        let head_grew = fact.head > inbox.head;
        inbox.head = inbox.head.max(fact.head);
        let peer_grew = inbox.peer.raise(Mark::new(fact.peer_delivered, fact.peer_read));
        if peer_grew {
            inbox.peer_moved = self.now;
        }
        inbox.stamp = inbox.stamp.max(fact.stamp);
        let (stamp, is_recorded) = (inbox.stamp, !inbox.awaits_record && !inbox.pending);
        if head_grew || peer_grew {
            user.inbox_changed(index);
            self.changes.user(user_id, user);
            self.record_inbox_later(user_id, index);
        } else if is_recorded && self.log.takes_records() {
            self.confirm_head(user_id, id, stamp, fx);
        }
        if peer_grew {
            self.tell_receipt(user_id, index, Whose::Peer, None, fx);
        }
        if let Some(answer) = fact.answer() {
            self.accept(&answer, fx);
            self.advance_by_answer(&answer, index);
        }
        self.deliver(user_id, index, fact.live.as_deref(), fx);
        if known <= index as usize {
            self.users.recount(&user_id);
        }
    }

    /// Sends the message to each session for which it is the next; leaves the others to the catch-up.
    fn deliver(&mut self, user_id: UserId, index: u32, live: Option<&LiveMessage>, fx: &mut Effects) {
        let Self { users, agenda, now, .. } = self;
        let User { devices, inbox, .. } = users.peek_mut(&user_id).expect("its fact was just taken");
        let inbox_len = inbox.len();
        let inbox = &mut inbox[index as usize];
        let mut groups: SmallVec<[(u16, Recipients); 2]> = SmallVec::new();
        for (place, device) in devices.iter_mut().enumerate() {
            let Some(session) = device.session.as_deref_mut() else { continue };
            let at = session.at;
            let head = inbox.head;
            let marks = inbox.cursor(place).of_attachment(device.attachment);
            if let Some(live) = live
                && live.record.sequence == marks.sent.next()
                && !marks.reading
            {
                let group = groups.iter().position(|(gateway, _)| *gateway == at.gateway);
                let has_room = group.is_some() || fx.gateway_room.get(usize::from(at.gateway)).is_some_and(|r| *r > 0);
                if has_room && session.admit(*now, index, live.record.sequence, live.frame.websocket().len()) {
                    marks.sent = live.record.sequence;
                    match group {
                        Some(group) => groups[group].1.push(at),
                        None => {
                            let taken = post::take_room(at.gateway, fx);
                            assert!(taken, "room was just seen");
                            groups.push((at.gateway, Recipients::from_iter([at])));
                        }
                    }
                }
            }
            if head > marks.sent && !marks.behind && !marks.reading {
                marks.behind = true;
                session.push_behind(index, &mut agenda.lag);
            }
            let key = SessionKey { user: user_id, device: device_number(place), at };
            agenda.settle(*now, key, session, inbox_len);
        }
        if groups.is_empty() {
            return;
        }
        let live = live.expect("only a live message makes groups");
        let own = live.record.sender == user_id;
        let frame = if own { encode::deliver(&live.record, true) } else { live.frame.clone() };
        for (gateway, sessions) in groups {
            fx.to_gateways.push((gateway, ToGateway::Deliver { sessions, frame: frame.clone() }));
        }
    }

    /// The sender's session has its own message: nothing of it is sent there, and when it lacked nothing before, it has
    /// acknowledged it by sending it.
    fn advance_by_answer(&mut self, answer: &Answer, index: u32) {
        let user = self.users.peek_mut(&answer.user).expect("its answer is for somebody in memory");
        let Some(place) = user.attached_index(answer.device, answer.session) else { return };
        let attachment = user.devices[place].attachment;
        let cursor = user.inbox[index as usize].cursor(place);
        if cursor.of_attachment(attachment).sent.next() != answer.sequence {
            return;
        }
        cursor.session.sent = answer.sequence;
        if cursor.mark.delivered.next() == answer.sequence && self.log.takes_records() {
            cursor.mark.delivered = answer.sequence;
            self.record_inbox_later(answer.user, index);
        }
    }

    /// Lets what is known of a conversation be journaled after [`INBOX_RECORD_MS`], with all that comes to it meanwhile, and
    /// with cursors that the devices' own sending moved.
    pub(crate) fn record_inbox_later(&mut self, user_id: UserId, index: u32) {
        let user = self.users.peek_mut(&user_id).expect("its inbox is in memory");
        let inbox = &mut user.inbox[index as usize];
        if inbox.pending {
            inbox.grew = true;
        } else if !inbox.awaits_record {
            inbox.awaits_record = true;
            user.held += 1;
            self.agenda.inbox_records.push_back((self.now.plus(INBOX_RECORD_MS), user_id, index));
        }
    }

    /// Journals what has waited for long enough.
    pub(crate) fn inbox_records_due(&mut self, fx: &mut Effects) {
        for _ in 0..INBOX_RECORDS_PER_TICK {
            let due = pop_due(&mut self.agenda.inbox_records, self.now, |entry| entry.0);
            let Some((_, user_id, index)) = due else { return };
            let user = self.users.peek_mut(&user_id).expect("what is to be journaled holds its user");
            user.held -= 1;
            let inbox = &mut user.inbox[index as usize];
            inbox.awaits_record = false;
            if !self.log.takes_records() {
                continue;
            }
            let moved = inbox.cursors.iter().filter(|cursor| cursor.mark != cursor.recorded && !cursor.pending);
            let moved: SmallVec<[usize; 2]> = moved.map(|cursor| usize::from(cursor.device)).collect();
            self.append_inbox(user_id, index, fx);
            for place in moved {
                self.record_cursor(user_id, index, place, false, fx);
            }
        }
    }

    fn append_inbox(&mut self, user_id: UserId, index: u32, fx: &mut Effects) {
        let user = self.users.peek_mut(&user_id).expect("its inbox is in memory");
        let (id, inbox) = user.inbox.get_index_mut(index as usize).expect("conversations stay in an inbox");
        inbox.pending = true;
        inbox.grew = false;
        user.held += 1;
        let record = Record::Inbox(inbox.record(user_id, *id));
        let release = Release::Inbox { user: user_id, conversation: *id, stamp: inbox.stamp };
        self.log.append_then(record, release, fx);
    }

    /// The fact is in the journal: its origin may forget it.
    pub(crate) fn release_inbox(&mut self, user_id: UserId, id: ConversationId, stamp: FactStamp, fx: &mut Effects) {
        let user = self.users.peek_mut(&user_id).expect("a pending record holds its user");
        user.held -= 1;
        let (index, _, inbox) = user.inbox.get_full_mut(&id).expect("conversations stay in an inbox");
        inbox.pending = false;
        let newest = inbox.stamp;
        if inbox.grew {
            self.confirm_head(user_id, id, stamp, fx);
            let index = u32::try_from(index).expect("an inbox is far below 4 G conversations");
            self.record_inbox_later(user_id, index);
        } else {
            self.confirm_head(user_id, id, newest, fx);
        }
    }

    fn confirm_head(&self, user: UserId, conversation: ConversationId, stamp: FactStamp, fx: &mut Effects) {
        let to = self.config.shard_count.of_conversation(conversation);
        post::open(&self.config, to, Peer::HeadConfirmed(HeadConfirmed { user, conversation, stamp }), fx);
    }
}

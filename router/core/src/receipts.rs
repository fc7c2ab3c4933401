//! Acks at the user's shard, and receipts to sessions.

use smallvec::SmallVec;
use switchyard_schema::frame::{Ack, Receipt, Watermark};
use switchyard_schema::ids::{ConversationId, Sequence, UserId};
use switchyard_schema::link::{Origin, Recipients, ToGateway};
use switchyard_schema::record::{CursorRecord, Record};

use crate::agenda::{SessionKey, pop_due};
use crate::cursor::Mark;
use crate::effects::Effects;
use crate::facts::FactKey;
use crate::limits::{OWN_RECEIPT_EVERY_MS, RETELL_AFTER_MS, TIMERS_PER_TICK};
use crate::log::Release;
use crate::peer::{Peer, WatermarkFact};
use crate::post;
use crate::shard::Shard;
use crate::user::{Inbox, User, device_number};

/// Whose watermark a receipt tells.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// The other member's.
    Peer,
    /// The user's own, moved by another device.
    Own,
}

impl Shard {
    /// Moves the device's cursor, never beyond what was sent to its session and never back.
    pub(crate) fn on_ack(&mut self, origin: &Origin, ack: Ack, fx: &mut Effects) {
        if !self.log.takes_records() {
            return;
        }
        let Self { users, agenda, now, .. } = self;
        let Some(user) = users.touch(&origin.user) else { return };
        let Some(place) = user.attached_index(origin.device, origin.session) else { return };
        let inbox_len = user.inbox.len();
        let Some((index, _, inbox)) = user.inbox.get_full_mut(&ack.conversation) else { return };
        let index = u32::try_from(index).expect("an inbox is far below 4 G conversations");
        let device = &mut user.devices[place];
        let cursor = inbox.cursor(place);
        let sent = cursor.of_attachment(device.attachment).sent;
        let read = ack.read.unwrap_or(Sequence::ZERO).min(sent);
        let delivered = ack.delivered.unwrap_or(Sequence::ZERO).min(sent).max(read);
        let raised = cursor.mark.raise(Mark::new(delivered, read));
        let (delivered, pending) = (cursor.mark.delivered, cursor.pending);
        let session = device.session.as_deref_mut().expect("it is attached");
        session.release(index, delivered);
        let key = SessionKey { user: origin.user, device: device_number(place), at: origin.session };
        agenda.settle(*now, key, session, inbox_len);
        if raised {
            self.record_cursor(origin.user, index, place, true, fx);
        } else if !pending {
            self.tell_own_later(origin.user, index, place);
        }
    }

    /// Journals a cursor that moved: at most one record on its way per cursor, the newest values in the next.
    pub(crate) fn record_cursor(
        &mut self,
        user_id: UserId,
        index: u32,
        place: usize,
        explicit: bool,
        fx: &mut Effects,
    ) {
        let user = self.users.peek_mut(&user_id).expect("its cursor just moved");
        let device = user.devices[place].id;
        let (&id, inbox) = user.inbox.get_index_mut(index as usize).expect("conversations stay in an inbox");
        let cursor = inbox.cursor(place);
        cursor.explicit |= explicit;
        if cursor.pending {
            return;
        }
        cursor.pending = true;
        cursor.recorded = cursor.mark;
        let (mark, explicit) = (cursor.mark, std::mem::take(&mut cursor.explicit));
        user.held += 1;
        user.inbox_changed(index);
        self.changes.user(user_id, user);
        let Mark { delivered, read } = mark;
        let record = Record::Cursor(CursorRecord { user: user_id, device, conversation: id, delivered, read });
        let device = device_number(place);
        let release = Release::Cursor { user: user_id, conversation: id, device, mark, explicit };
        self.log.append_then(record, release, fx);
    }

    /// A cursor is durable: a watermark that an ack moved is told to the conversation and to the user's other sessions.
    pub(crate) fn release_cursor(
        &mut self,
        lsn: u64,
        (user_id, id): (UserId, ConversationId),
        device: u8,
        (mark, explicit): (Mark, bool),
        fx: &mut Effects,
    ) {
        let config = self.config;
        let user = self.users.peek_mut(&user_id).expect("a pending record holds its user");
        user.held -= 1;
        let (index, _, inbox) = user.inbox.get_full_mut(&id).expect("conversations stay in an inbox");
        let index = u32::try_from(index).expect("an inbox is far below 4 G conversations");
        let place = usize::from(device);
        let cursor = inbox.cursor(place);
        cursor.pending = false;
        let (moved_on, acknowledged) = (cursor.mark != cursor.recorded, cursor.explicit);
        let rose = inbox.watermark.raise(mark);
        if rose && explicit {
            inbox.own_moved = self.now;
            let due = self.now.plus(RETELL_AFTER_MS);
            let opened = self.facts.raise(&mut inbox.fact, FactKey::Cursor(user_id, id), lsn, due);
            user.held += u32::from(opened);
            let fact = watermark_fact(user_id, id, inbox);
            post::open(&config, config.shard_count.of_conversation(id), Peer::Watermark(fact), fx);
            self.tell_receipt(user_id, index, Whose::Own, Some(place), fx);
        }
        if explicit {
            self.tell_own_later(user_id, index, place);
        }
        if moved_on && acknowledged {
            self.record_cursor(user_id, index, place, true, fx);
        } else if moved_on {
            self.record_inbox_later(user_id, index);
        }
    }

    /// Tells a watermark to all sessions of a user but one; those without room are told in their turn.
    pub(crate) fn tell_receipt(
        &mut self,
        user_id: UserId,
        index: u32,
        whose: Whose,
        but: Option<usize>,
        fx: &mut Effects,
    ) {
        let Self { users, agenda, now, .. } = self;
        let User { devices, inbox, .. } = users.peek_mut(&user_id).expect("its watermark just moved");
        let inbox_len = inbox.len();
        let (&id, inbox) = inbox.get_index_mut(index as usize).expect("conversations stay in an inbox");
        let Some(watermark) = watermark_of(whose, user_id, id, inbox) else { return };
        let mut groups: SmallVec<[(u16, Recipients); 2]> = SmallVec::new();
        for (place, device) in devices.iter_mut().enumerate() {
            let Some(session) = device.session.as_deref_mut() else { continue };
            if but == Some(place) {
                continue;
            }
            let at = session.at;
            if let Some((_, sessions)) = groups.iter_mut().find(|(gateway, _)| *gateway == at.gateway) {
                sessions.push(at);
            } else if post::take_room(at.gateway, fx) {
                groups.push((at.gateway, Recipients::from_iter([at])));
            } else {
                let marks = inbox.cursor(place).of_attachment(device.attachment);
                match whose {
                    Whose::Peer => marks.peer_receipt = true,
                    Whose::Own => marks.own_receipt = true,
                }
                if !marks.receipt_queued {
                    marks.receipt_queued = true;
                    session.push_receipt(index);
                }
                let key = SessionKey { user: user_id, device: device_number(place), at };
                agenda.settle(*now, key, session, inbox_len);
            }
        }
        for (gateway, sessions) in groups {
            let receipt = Receipt { conversation: id, watermark };
            fx.to_gateways.push((gateway, ToGateway::Receipt { sessions, receipt }));
        }
    }

    /// The acknowledging session learns its own watermark too, at most once per [`OWN_RECEIPT_EVERY_MS`].
    fn tell_own_later(&mut self, user_id: UserId, index: u32, place: usize) {
        let user = self.users.peek_mut(&user_id).expect("its cursor was just seen");
        let device = &user.devices[place];
        let Some(at) = device.session.as_ref().map(|session| session.at) else { return };
        let marks = user.inbox[index as usize].cursor(place).of_attachment(device.attachment);
        if !marks.own_timer {
            marks.own_timer = true;
            let key = SessionKey { user: user_id, device: device_number(place), at };
            self.agenda.own_receipts.push_back((self.now.plus(OWN_RECEIPT_EVERY_MS), key, index));
        }
    }

    /// Queues the own watermarks whose time has come.
    pub(crate) fn own_receipts_due(&mut self) {
        for _ in 0..TIMERS_PER_TICK {
            let Some((_, key, index)) = pop_due(&mut self.agenda.own_receipts, self.now, |entry| entry.0) else {
                return;
            };
            let Some(user) = self.users.peek_mut(&key.user) else { continue };
            let inbox_len = user.inbox.len();
            let place = usize::from(key.device);
            let Some(device) = user.devices.get_mut(place) else { continue };
            let Some(session) = device.session.as_deref_mut().filter(|session| session.at == key.at) else { continue };
            let marks = user.inbox[index as usize].cursor(place).of_attachment(device.attachment);
            marks.own_timer = false;
            marks.own_receipt = true;
            if !marks.receipt_queued {
                marks.receipt_queued = true;
                session.push_receipt(index);
            }
            self.agenda.settle(self.now, key, session, inbox_len);
        }
    }
}

/// The watermark that a receipt tells; none in a conversation without another member.
pub(crate) fn watermark_of(whose: Whose, user: UserId, id: ConversationId, inbox: &Inbox) -> Option<Watermark> {
    match whose {
        Whose::Own => Some(inbox.watermark.watermark(user)),
        Whose::Peer => id.peer_of(user).map(|peer| inbox.peer.watermark(peer)),
    }
}

/// The user's watermark as the conversation's shard must know it.
pub(crate) fn watermark_fact(user: UserId, conversation: ConversationId, inbox: &Inbox) -> WatermarkFact {
    let Mark { delivered, read } = inbox.watermark;
    WatermarkFact { user, conversation, delivered, read, lsn: inbox.fact.last_lsn() }
}

//! Catch-up: sessions with work take turns, and each session's conversations take turns.

use switchyard_schema::encode;
use switchyard_schema::frame::Receipt;
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{Recipients, ToGateway};

use crate::agenda::{SessionKey, pop_due};
use crate::config::ShardConfig;
use crate::cursor::Mark;
use crate::effects::Effects;
use crate::limits::{
    READ_BYTES_MAX, READ_MESSAGES_MAX, READ_RETRY_MS, SCAN_PER_STEP, STALLED_AFTER_MS, TIMERS_PER_TICK,
};
use crate::peer::{Peer, ReadOutcome, ReadReply, ReadRequest};
use crate::post;
use crate::receipts::{Whose, watermark_of};
use crate::session::Lag;
use crate::shard::Shard;
use crate::user::User;

/// What a step came to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Step {
    Done,
    /// Nothing goes before a ring or a credit is free.
    Blocked,
}

impl Shard {
    /// Takes up to `steps` steps, and fewer when every session that has work is blocked.
    pub(crate) fn catch_up(&mut self, steps: usize, fx: &mut Effects) {
        let mut blocked = 0;
        for _ in 0..steps {
            if blocked >= self.agenda.ready.len() {
                return;
            }
            let Some(key) = self.agenda.ready.pop_front() else { return };
            let Some(user) = self.users.peek_mut(&key.user) else { continue };
            let place = usize::from(key.device);
            let attached = user.devices.get_mut(place).and_then(|device| device.session.as_deref_mut());
            let Some(session) = attached.filter(|session| session.at == key.at) else { continue };
            session.ready = false;
            blocked = match step(&self.config, self.now, key, user, &mut self.agenda.lag, fx) {
                Step::Done => 0,
                Step::Blocked => blocked + 1,
            };
            let inbox_len = user.inbox.len();
            let session = user.devices[place].session.as_deref_mut().expect("a step ends no session");
            self.agenda.settle(self.now, key, session, inbox_len);
        }
    }

    /// The next messages for a session that asked for them, or none.
    pub(crate) fn on_read_reply(&mut self, from: ShardId, reply: ReadReply, fx: &mut Effects) {
        fx.read_credits[self.config.core_of(from)] += 1;
        let ReadRequest { session: at, user: user_id, conversation, .. } = reply.request;
        let Self { users, agenda, now, .. } = self;
        let Some(user) = users.touch(&user_id) else { return };
        let User { devices, inbox, .. } = user;
        let inbox_len = inbox.len();
        let attached = devices.iter_mut().enumerate().find_map(|(place, device)| {
            let session = device.session.as_deref_mut().filter(|session| session.at == at)?;
            Some((place, device.attachment, session))
        });
        let Some((place, attachment, session)) = attached else { return };
        let Some((index, _, inbox)) = inbox.get_full_mut(&conversation) else { return };
        let index = u32::try_from(index).expect("an inbox is far below 4 G conversations");
        let head = inbox.head;
        let marks = inbox.cursor(place).of_attachment(attachment);
        assert!(marks.reading, "a reply answers a read of the same session");
        marks.reading = false;
        session.end_read(&mut agenda.lag);
        let key = SessionKey { user: user_id, device: crate::user::device_number(place), at };

        let mut found = false;
        if let ReadOutcome::Messages { void_to, messages } = reply.outcome {
            found = void_to > marks.sent || !messages.is_empty();
            marks.sent = marks.sent.max(void_to);
            for record in messages {
                if record.sequence <= marks.sent {
                    continue;
                }
                let sequence = record.sequence;
                // The sender's own devices are told its origin.
                let frame = encode::deliver(&record, record.sender == user_id);
                let is_next = sequence == marks.sent.next();
                let has_room = fx.gateway_room.get(usize::from(at.gateway)).is_some_and(|room| *room > 0);
                if !is_next || !has_room || !session.admit(*now, index, sequence, frame.websocket().len()) {
                    break;
                }
                let taken = post::take_room(at.gateway, fx);
                assert!(taken, "room was just seen");
                marks.sent = sequence;
                let sessions = Recipients::from_iter([at]);
                fx.to_gateways.push((at.gateway, ToGateway::Deliver { sessions, frame }));
            }
        }
        if !found {
            agenda.read_again.push_back((now.plus(READ_RETRY_MS), key, index));
            marks.behind = true;
        } else if head > marks.sent && !marks.behind {
            marks.behind = true;
            session.push_behind(index, &mut agenda.lag);
        }
        agenda.settle(*now, key, session, inbox_len);
    }

    /// Queues the conversations whose read is to be tried again.
    pub(crate) fn reads_due(&mut self) {
        for _ in 0..TIMERS_PER_TICK {
            let Some((_, key, index)) = pop_due(&mut self.agenda.read_again, self.now, |entry| entry.0) else { return };
            let Some(user) = self.users.peek_mut(&key.user) else { continue };
            let inbox_len = user.inbox.len();
            let attached = user.devices.get_mut(usize::from(key.device)).and_then(|d| d.session.as_deref_mut());
            let Some(session) = attached.filter(|session| session.at == key.at) else { continue };
            session.push_behind(index, &mut self.agenda.lag);
            self.agenda.settle(self.now, key, session, inbox_len);
        }
    }

    /// Tells clients why nothing more is delivered, once each time.
    pub(crate) fn stalls_due(&mut self, fx: &mut Effects) {
        for _ in 0..TIMERS_PER_TICK {
            let Some((_, key)) = pop_due(&mut self.agenda.stalls, self.now, |entry| entry.0) else { return };
            let Some(user) = self.users.peek_mut(&key.user) else { continue };
            let attached = user.devices.get_mut(usize::from(key.device)).and_then(|d| d.session.as_deref_mut());
            let Some(session) = attached.filter(|session| session.at == key.at) else { continue };
            let due = session.closed_at().map(|closed_at| closed_at.plus(STALLED_AFTER_MS));
            match due {
                Some(due) if !session.stall_told && (due > self.now || !post::take_room(key.at.gateway, fx)) => {
                    let again = due.max(self.now.plus(STALLED_AFTER_MS));
                    self.agenda.stalls.push_back((again, key));
                }
                Some(_) if !session.stall_told => {
                    session.stall_told = true;
                    fx.to_gateways.push((key.at.gateway, ToGateway::Stalled(key.at)));
                    self.agenda.stalls.push_back((self.now.plus(STALLED_AFTER_MS), key));
                }
                Some(_) => self.agenda.stalls.push_back((self.now.plus(STALLED_AFTER_MS), key)),
                None => session.stall_timer = false,
            }
        }
    }
}

/// One step for one session: look for what was missed, then tell receipts, then ask for messages.
fn step(
    config: &ShardConfig,
    now: switchyard_schema::ids::Millis,
    key: SessionKey,
    user: &mut User,
    lag: &mut Lag,
    fx: &mut Effects,
) -> Step {
    let User { devices, inbox, .. } = user;
    let place = usize::from(key.device);
    let device = &mut devices[place];
    let attachment = device.attachment;
    let session = device.session.as_deref_mut().expect("a step is taken for an attached session");

    if (session.scan as usize) < inbox.len() {
        let until = inbox.len().min(session.scan as usize + SCAN_PER_STEP);
        for index in session.scan..u32::try_from(until).expect("an inbox is far below 4 G conversations") {
            let inbox = &mut inbox[index as usize];
            let missed = inbox.peer_moved >= session.missed_since && inbox.peer != Mark::default();
            let missed_own = inbox.missed_own(place, session.missed_since);
            let head = inbox.head;
            let marks = inbox.cursor(place).of_attachment(attachment);
            if head > marks.sent && !marks.behind && !marks.reading {
                marks.behind = true;
                session.push_behind(index, lag);
            }
            marks.peer_receipt |= missed;
            marks.own_receipt |= missed_own;
            if (missed || missed_own) && !marks.receipt_queued {
                marks.receipt_queued = true;
                session.push_receipt(index);
            }
            session.scan = index + 1;
        }
        return Step::Done;
    }

    if let Some(index) = session.receipt() {
        let (&id, inbox) = inbox.get_index_mut(index as usize).expect("conversations stay in an inbox");
        for whose in [Whose::Peer, Whose::Own] {
            let watermark = watermark_of(whose, key.user, id, inbox);
            let marks = inbox.cursor(place).of_attachment(attachment);
            let due = match whose {
                Whose::Peer => &mut marks.peer_receipt,
                Whose::Own => &mut marks.own_receipt,
            };
            let Some(watermark) = watermark.filter(|_| *due) else { continue };
            if !post::take_room(key.at.gateway, fx) {
                return Step::Blocked;
            }
            *due = false;
            let sessions = Recipients::from_iter([key.at]);
            let receipt = Receipt { conversation: id, watermark };
            fx.to_gateways.push((key.at.gateway, ToGateway::Receipt { sessions, receipt }));
        }
        inbox.cursor(place).of_attachment(attachment).receipt_queued = false;
        session.pop_receipt();
        return Step::Done;
    }

    if session.reads_enough() {
        return Step::Done;
    }
    let Some(index) = session.behind() else { return Step::Done };
    let Some((messages, bytes)) = session.room(now) else { return Step::Done };
    let gateway_room = fx.gateway_room.get(usize::from(key.at.gateway)).copied().unwrap_or(0);
    let (&id, inbox) = inbox.get_index_mut(index as usize).expect("conversations stay in an inbox");
    let to = config.shard_count.of_conversation(id);
    let credits = &mut fx.read_credits[config.core_of(to)];
    if gateway_room == 0 || *credits == 0 {
        return Step::Blocked;
    }
    session.pop_behind(lag);
    let head = inbox.head;
    let marks = inbox.cursor(place).of_attachment(attachment);
    marks.behind = false;
    if head <= marks.sent {
        return Step::Done;
    }
    marks.reading = true;
    session.begin_read(lag);
    *credits -= 1;
    let request = ReadRequest {
        session: key.at,
        user: key.user,
        conversation: id,
        after: marks.sent,
        messages: messages.min(READ_MESSAGES_MAX).min(u32::try_from(gateway_room).unwrap_or(u32::MAX)),
        bytes: bytes.min(READ_BYTES_MAX),
    };
    post::reserved(config, to, Peer::Read(request), fx);
    Step::Done
}

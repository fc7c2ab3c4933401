//! Sessions begin and end at their user's shard.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::ids::Millis;
use switchyard_schema::limits::DEVICES_PER_USER_MAX;
use switchyard_schema::link::{Origin, SessionRef, ToGateway};
use switchyard_schema::record::{DeviceRecord, Record};

use crate::agenda::SessionKey;
use crate::effects::{Effects, StorageState};
use crate::limits::MISSED_RECEIPTS_SLACK_MS;
use crate::log::Release;
use crate::post;
use crate::sending::retry_after_ms;
use crate::session::Session;
use crate::shard::Shard;
use crate::user::device_number;

/// How a session comes in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// In the place of the one that its device has.
    Replacing,
    /// Only where its device has none: its client may be a replay, and must not end the session of the one that it repeats.
    IfVacant,
}

impl Shard {
    pub(crate) fn on_attach(&mut self, origin: Origin, entry: Entry, fx: &mut Effects) {
        let user = self.users.touch(&origin.user).expect("a session attaches when its user is in memory");
        let Some(index) = user.device_index(origin.device) else { return self.register(origin, entry, fx) };
        if user.devices[index].registered_lsn <= self.log.durable_lsn {
            self.attach(origin, entry, fx);
        } else if self.log.takes_records() {
            user.held += 1;
            self.log.wait(Release::Attach { origin, entry, gone: false });
        } else {
            self.refuse_attach(&origin, ErrorCode::StorageUnavailable, fx);
        }
    }

    /// A device nobody knew: answered when the journal knows it.
    fn register(&mut self, origin: Origin, entry: Entry, fx: &mut Effects) {
        let Origin { user: user_id, device, .. } = origin;
        let user = self.users.peek_mut(&user_id).expect("it was just touched");
        if user.devices.len() >= DEVICES_PER_USER_MAX {
            return self.refuse_attach(&origin, ErrorCode::TooManyDevices, fx);
        }
        if self.log.state != StorageState::Ready {
            return self.refuse_attach(&origin, ErrorCode::StorageUnavailable, fx);
        }
        let record = Record::Device(DeviceRecord { user: user_id, device, last_seen: Millis(0) });
        let lsn = self.log.append_then(record, Release::Attach { origin, entry, gone: false }, fx);
        user.register(device, lsn);
        user.held += 1;
        self.changes.user(user_id, user);
        self.users.recount(&user_id);
    }

    /// The device is durable: the session attaches, unless it ended while it waited.
    pub(crate) fn release_attach(&mut self, origin: Origin, entry: Entry, gone: bool, fx: &mut Effects) {
        let user = self.users.peek_mut(&origin.user).expect("a pending record holds its user");
        user.held -= 1;
        if gone {
            post::answer(origin.session, ToGateway::Attached(origin.session), fx);
        } else {
            self.attach(origin, entry, fx);
        }
    }

    fn attach(&mut self, origin: Origin, entry: Entry, fx: &mut Effects) {
        let Self { users, agenda, now, .. } = self;
        let user = users.touch(&origin.user).expect("a session attaches when its user is in memory");
        let index = user.device_index(origin.device).expect("a session attaches when its device is registered");
        let inbox_len = user.inbox.len();
        let device = &mut user.devices[index];
        if entry == Entry::IfVacant && device.session.is_some() {
            return post::answer(origin.session, ToGateway::Occupied(origin.session), fx);
        }
        let missed_since = Millis(device.last_seen.0.saturating_sub(MISSED_RECEIPTS_SLACK_MS));
        device.attachment += 1;
        let mut session = Box::new(Session::new(origin.session, missed_since));
        post::answer(origin.session, ToGateway::Attached(origin.session), fx);
        let key = SessionKey { user: origin.user, device: device_number(index), at: origin.session };
        agenda.settle(*now, key, &mut session, inbox_len);
        if let Some(old) = device.session.replace(session) {
            old.leave(&mut agenda.lag);
            if old.at != origin.session {
                self.tell_replaced(old.at, fx);
            }
        }
        self.users.recount(&origin.user);
    }

    fn tell_replaced(&mut self, old: SessionRef, fx: &mut Effects) {
        if post::take_room(old.gateway, fx) {
            fx.to_gateways.push((old.gateway, ToGateway::Replaced(old)));
        } else {
            self.agenda.replaced.push_back(old);
        }
    }

    /// Tells the replaced sessions whose gateway had no room.
    pub(crate) fn tell_replaced_again(&mut self, fx: &mut Effects) {
        for _ in 0..self.agenda.replaced.len() {
            let old = self.agenda.replaced.pop_front().expect("its length was just counted");
            self.tell_replaced(old, fx);
        }
    }

    pub(crate) fn refuse_attach(&self, origin: &Origin, code: ErrorCode, fx: &mut Effects) {
        let (session, shard, retry_after_ms) = (origin.session, self.config.shard, retry_after_ms(code));
        let refused = ToGateway::Refused { session, shard, code, retry_after_ms, regarding: Regarding::Session };
        post::answer(session, refused, fx);
    }

    /// The session ended. One that was replaced, or never attached, changes nothing.
    pub(crate) fn on_detach(&mut self, origin: Origin, last_seen: Millis, fx: &mut Effects) {
        let Some(user) = self.users.peek_mut(&origin.user) else {
            if let Some(parked) = self.parked.take_attach(&origin) {
                post::answer(parked.session, ToGateway::Attached(parked.session), fx);
            }
            return;
        };
        let Some(index) = user.device_index(origin.device) else { return };
        let device = &mut user.devices[index];
        if device.session.as_ref().is_none_or(|session| session.at != origin.session) {
            if device.registered_lsn > self.log.durable_lsn {
                for (_, release) in &mut self.log.pending {
                    if let Release::Attach { origin: waiting, gone, .. } = release {
                        *gone |= *waiting == origin;
                    }
                }
            }
            return;
        }
        if let Some(session) = device.session.take() {
            session.leave(&mut self.agenda.lag);
        }
        device.last_seen = device.last_seen.max(last_seen);
        if self.log.takes_records() {
            let record = DeviceRecord { user: origin.user, device: origin.device, last_seen: device.last_seen };
            self.log.append(Record::Device(record), fx);
            user.devices_dirty = true;
            self.changes.user(origin.user, user);
        }
        self.users.recount(&origin.user);
    }
}

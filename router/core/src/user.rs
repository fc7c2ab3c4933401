//! One user: devices, their sessions, and an inbox of conversations with every device's cursor.

use smallvec::SmallVec;
use switchyard_schema::ids::{ConversationId, DeviceId, Millis, Sequence, UserId};
use switchyard_schema::link::SessionRef;
use switchyard_schema::record::InboxRecord;

use crate::cursor::{Cursor, Mark};
use crate::effects::Row;
use crate::facts::FactSlot;
use crate::inboxes::Inboxes;
use crate::memory::Resident;
use crate::peer::FactStamp;
use crate::rows::{Decoded, InboxRow, RowError, decode};
use crate::session::Session;

/// A user in memory. Devices and conversations are only ever added, so their indexes hold while it is there.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) devices: SmallVec<[Device; 1]>,
    pub(crate) inbox: Inboxes,
    /// Pending records, inboxes that wait for theirs, and unconfirmed facts; while there are any it stays in memory.
    pub(crate) held: u32,
    pub(crate) devices_dirty: bool,
    pub(crate) dirty: bool,
    /// The newest snapshot that took it.
    pub(crate) saved_in: u64,
}

/// A device of a user.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    /// When its last session ended.
    pub(crate) last_seen: Millis,
    /// The record that made it known; a session attaches when that is durable.
    pub(crate) registered_lsn: u64,
    /// Grows with every session that attaches.
    pub(crate) attachment: u32,
    pub(crate) session: Option<Box<Session>>,
}

/// What a user's shard knows of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// The newest durable message.
    pub(crate) head: Sequence,
    /// The other member's watermark, and when it last moved.
    pub(crate) peer: Mark,
    pub(crate) peer_moved: Millis,
    /// The newest fact's stamp.
    pub(crate) stamp: FactStamp,
    /// It is to be journaled, but waits for more to tell.
    pub(crate) awaits_record: bool,
    /// An Inbox record is on its way to the disk; `grew` when it is out of date already.
    pub(crate) pending: bool,
    pub(crate) grew: bool,
    pub(crate) dirty: bool,
    /// The user's own watermark, as far as it is durable.
    pub(crate) watermark: Mark,
    /// When it last moved; zero when that was before the user was loaded.
    pub(crate) own_moved: Millis,
    /// The watermark, as a fact for the conversation.
    pub(crate) fact: FactSlot,
    /// A device without one is at the beginning.
    pub(crate) cursors: SmallVec<[Cursor; 1]>,
}

impl User {
    pub(crate) fn from_rows(hash_seed: u64, rows: &[Row]) -> Result<Self, RowError> {
        let mut user = Self::default();
        for row in rows {
            match decode(row)? {
                Decoded::Devices(devices) => {
                    user.devices = devices.into_iter().map(|(id, last_seen)| Device::new(id, last_seen, 0)).collect();
                }
                Decoded::Inbox(conversation, row) => {
                    user.inbox.insert(hash_seed, conversation, Inbox::from_row(&row));
                }
                _ => return Err(RowError::Id),
            }
        }
        Ok(user)
    }

    pub(crate) fn device_index(&self, device: DeviceId) -> Option<usize> {
        self.devices.iter().position(|known| known.id == device)
    }

    /// The device that this session is attached to.
    pub(crate) fn attached_index(&self, device: DeviceId, at: SessionRef) -> Option<usize> {
        let index = self.device_index(device)?;
        self.devices[index].session.as_ref().is_some_and(|session| session.at == at).then_some(index)
    }

    /// The conversation's place in the inbox, made when it is new.
    pub(crate) fn inbox_index(&mut self, hash_seed: u64, conversation: ConversationId) -> u32 {
        let index = self.inbox.get_index_of(&conversation);
        let index = index.unwrap_or_else(|| self.inbox.insert(hash_seed, conversation, Inbox::default()));
        u32::try_from(index).expect("an inbox is far below 4 G conversations")
    }

    /// Adds a device: the first begins every conversation at its start, a later one where the user is.
    pub(crate) fn register(&mut self, id: DeviceId, registered_lsn: u64) -> usize {
        let index = device_number(self.devices.len());
        if index > 0 {
            let mut changed = SmallVec::<[u32; 8]>::new();
            for (place, inbox) in (0..).zip(self.inbox.values_mut()) {
                let delivered = inbox.cursors.iter().map(|cursor| cursor.recorded.delivered).max();
                let Some(delivered) = delivered.filter(|delivered| *delivered > Sequence::ZERO) else { continue };
                inbox.cursors.push(Cursor::new(index, Mark::new(delivered, Sequence::ZERO)));
                changed.push(place);
            }
            changed.into_iter().for_each(|place| self.inbox.mark_dirty(place));
        }
        self.devices.push(Device::new(id, Millis(0), registered_lsn));
        self.devices_dirty = true;
        usize::from(index)
    }

    /// A conversation changed in a way that the store has to know.
    pub(crate) fn inbox_changed(&mut self, index: u32) {
        self.inbox.mark_dirty(index);
    }
}

/// A device's index as rows and cursors hold it.
pub(crate) fn device_number(index: usize) -> u8 {
    u8::try_from(index).expect("a user has few devices")
}

impl Device {
    fn new(id: DeviceId, last_seen: Millis, registered_lsn: u64) -> Self {
        Self { id, last_seen, registered_lsn, attachment: 0, session: None }
    }
}

impl Inbox {
    fn from_row(row: &InboxRow) -> Self {
        let mut inbox = Self {
            head: row.head,
            peer: Mark::new(row.peer_delivered, row.peer_read),
            peer_moved: row.peer_moved,
            ..Self::default()
        };
        for (device, delivered, read) in &row.cursors {
            let mark = Mark::new(*delivered, *read);
            inbox.watermark.raise(mark);
            inbox.cursors.push(Cursor::new(*device, mark));
        }
        inbox
    }

    pub(crate) fn row(&self) -> InboxRow {
        InboxRow {
            head: self.head,
            peer_delivered: self.peer.delivered,
            peer_read: self.peer.read,
            peer_moved: self.peer_moved,
            cursors: self
                .cursors
                .iter()
                .map(|cursor| (cursor.device, cursor.recorded.delivered, cursor.recorded.read))
                .collect(),
        }
    }

    pub(crate) fn record(&self, user: UserId, conversation: ConversationId) -> InboxRecord {
        InboxRecord {
            user,
            conversation,
            head: self.head,
            peer_delivered: self.peer.delivered,
            peer_read: self.peer.read,
            peer_moved: self.peer_moved,
        }
    }

    /// Whether another device moved the user's watermark beyond this device's cursor while it was away.
    pub(crate) fn missed_own(&mut self, device: usize, missed_since: Millis) -> bool {
        let Mark { delivered, read } = self.watermark;
        let moved_lately = self.own_moved == Millis(0) || self.own_moved >= missed_since;
        let own = self.cursor(device).mark;
        moved_lately && (delivered > own.delivered || read > own.read)
    }

    /// A device's cursor, made at the beginning when it has none.
    pub(crate) fn cursor(&mut self, device: usize) -> &mut Cursor {
        let device = device_number(device);
        let found = self.cursors.iter().position(|cursor| cursor.device == device);
        let index = found.unwrap_or_else(|| {
            self.cursors.push(Cursor::new(device, Mark::default()));
            self.cursors.len() - 1
        });
        &mut self.cursors[index]
    }
}

impl Resident for User {
    fn bytes(&self) -> usize {
        let sessions: usize = self.devices.iter().filter_map(|device| device.session.as_ref()).map(|s| s.bytes()).sum();
        let spilled = if self.devices.spilled() { self.devices.capacity() * size_of::<Device>() } else { 0 };
        size_of::<Self>() + sessions + spilled + self.inbox.bytes()
    }

    fn is_idle(&self, stored: u64) -> bool {
        self.held == 0
            && !self.dirty
            && self.saved_in <= stored
            && self.devices.iter().all(|device| device.session.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ENTRY_OVERHEAD_BYTES;
    use switchyard_schema::link::SessionRef;

    #[test]
    fn given_an_idle_user_then_it_is_small_and_its_session_adds_little() {
        let mut user = User::default();
        user.register(DeviceId::new(1).unwrap(), 1);
        let alone = user.bytes() + ENTRY_OVERHEAD_BYTES;
        assert!(alone <= 128, "{alone} bytes");
        let at = SessionRef { gateway: 0, slot: 0, epoch: 0 };
        user.devices[0].session = Some(Box::new(Session::new(at, Millis(0))));
        let attached = user.bytes() + ENTRY_OVERHEAD_BYTES;
        assert!(attached <= 224, "{attached} bytes");
    }
}

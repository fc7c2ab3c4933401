//! Recovery: rows of the store, then the records after them. Replaying a record that a row shows already changes
//! nothing but its facts, which are told again.

use switchyard_schema::ids::{ConversationId, Millis, Sequence, UserId};
use switchyard_schema::record::{CursorRecord, DeviceRecord, InboxRecord, MessageRecord, Record, WatermarkRecord};

use crate::conversation::Conversation;
use crate::cursor::Mark;
use crate::effects::{LoadKey, Row};
use crate::facts::FactKey;
use crate::rows::{Decoded, RowError, decode};
use crate::shard::Shard;
use crate::user::{User, device_number};

/// Facts of replayed records are told in the first ticks.
const AT_ONCE: Millis = Millis(0);

impl Shard {
    /// What must be installed before this record can be replayed; `None` when it is in memory.
    #[must_use]
    pub fn needs(&self, record: &Record) -> Option<LoadKey> {
        let key = match record {
            Record::Message(record) => LoadKey::Conversation(record.conversation),
            Record::Watermark(record) => LoadKey::Conversation(record.conversation),
            Record::Device(record) => LoadKey::User(record.user),
            Record::Cursor(record) => LoadKey::User(record.user),
            Record::Inbox(record) => LoadKey::User(record.user),
        };
        (!self.is_resident(&key)).then_some(key)
    }

    /// The rows of `key` as the store has them, none included.
    ///
    /// # Errors
    /// When a row cannot be read; the shard must not be served then.
    pub fn install(&mut self, key: LoadKey, rows: &[Row]) -> Result<(), RowError> {
        match key {
            LoadKey::Shard => {
                for row in rows {
                    let Decoded::Shard { last_message } = decode(row)? else { return Err(RowError::Id) };
                    if let Some(id) = last_message {
                        self.ids.observe(id);
                        self.last_message = self.last_message.max(last_message);
                    }
                }
            }
            LoadKey::User(id) => self.users.insert(id, User::from_rows(self.config.hash_seed, rows)?),
            LoadKey::Conversation(id) => self.conversations.insert(id, Conversation::from_rows(id, rows)?),
        }
        Ok(())
    }

    /// A durable record, in LSN order. `position` is where it lies, packed (used for messages).
    ///
    /// # Panics
    /// When what [`Shard::needs`] says was not installed.
    pub fn replay(&mut self, lsn: u64, position: u64, record: &Record) {
        assert!(lsn > self.log.last_lsn, "records are replayed in the order of their LSN");
        assert!(self.needs(record).is_none(), "what a record changes is installed first");
        self.log.last_lsn = lsn;
        self.log.durable_lsn = lsn;
        match record {
            Record::Message(record) => self.replay_message(lsn, position, record),
            Record::Watermark(record) => self.replay_watermark(lsn, record),
            Record::Device(record) => self.replay_device(lsn, record),
            Record::Cursor(record) => self.replay_cursor(lsn, record),
            Record::Inbox(record) => self.replay_inbox(record),
        }
    }

    /// Recovery is over. `last_lsn` is the newest LSN that journal or store know of, durable like all before it.
    pub fn recovered(&mut self, last_lsn: u64) {
        self.log.last_lsn = self.log.last_lsn.max(last_lsn);
        self.log.durable_lsn = self.log.last_lsn;
    }

    fn replay_message(&mut self, lsn: u64, position: u64, record: &MessageRecord) {
        let id = record.conversation;
        self.ids.observe(record.message);
        self.last_message = self.last_message.max(Some(record.message));
        let conversation = self.conversations.touch(&id).expect("it is installed");
        if record.sequence > conversation.head {
            conversation.take(record, None);
            conversation.durable_head = record.sequence;
        }
        if record.sequence > conversation.placed.0 {
            conversation.place(record.sequence, position);
        }
        for index in 0..conversation.members.len() {
            let key = FactKey::Head(id, device_number(index));
            let opened = self.facts.raise(&mut conversation.members[index].head_fact, key, lsn, AT_ONCE);
            conversation.held += u32::from(opened);
        }
        self.changes.conversation(id, conversation);
        self.conversations.recount(&id);
    }

    fn replay_watermark(&mut self, lsn: u64, record: &WatermarkRecord) {
        let id = record.conversation;
        let conversation = self.conversations.touch(&id).expect("it is installed");
        let Some(index) = conversation.member_index(record.member) else { return };
        let member = &mut conversation.members[usize::from(index)];
        member.mark.raise(Mark::new(record.delivered, record.read));
        member.recorded = member.mark;
        for other in (0..conversation.members.len()).filter(|other| *other != usize::from(index)) {
            let key = FactKey::Mark(id, device_number(other));
            let opened = self.facts.raise(&mut conversation.members[other].mark_fact, key, lsn, AT_ONCE);
            conversation.held += u32::from(opened);
        }
        self.changes.conversation(id, conversation);
    }

    fn replay_device(&mut self, lsn: u64, record: &DeviceRecord) {
        let user = self.users.touch(&record.user).expect("it is installed");
        let index = user.device_index(record.device).unwrap_or_else(|| user.register(record.device, lsn));
        let device = &mut user.devices[index];
        device.last_seen = device.last_seen.max(record.last_seen);
        user.devices_dirty = true;
        self.changes.user(record.user, user);
        self.users.recount(&record.user);
    }

    fn replay_cursor(&mut self, lsn: u64, record: &CursorRecord) {
        let CursorRecord { user: user_id, conversation: id, .. } = *record;
        let (user, index) = self.replay_inbox_of(user_id, id);
        let Some(place) = user.device_index(record.device) else { return };
        let inbox = &mut user.inbox[index as usize];
        let mark = Mark::new(record.delivered, record.read);
        let cursor = inbox.cursor(place);
        cursor.mark.raise(mark);
        cursor.recorded = cursor.mark;
        inbox.watermark.raise(mark);
        let user = self.users.peek_mut(&user_id).expect("it is installed");
        let slot = &mut user.inbox[index as usize].fact;
        let opened = self.facts.raise(slot, FactKey::Cursor(user_id, id), lsn, AT_ONCE);
        user.held += u32::from(opened);
        self.users.recount(&user_id);
    }

    fn replay_inbox(&mut self, record: &InboxRecord) {
        let (user, index) = self.replay_inbox_of(record.user, record.conversation);
        let inbox = &mut user.inbox[index as usize];
        inbox.head = inbox.head.max(record.head);
        inbox.peer.raise(Mark::new(record.peer_delivered, record.peer_read));
        inbox.peer_moved = inbox.peer_moved.max(record.peer_moved);
        self.users.recount(&record.user);
    }

    fn replay_inbox_of(&mut self, user_id: UserId, id: ConversationId) -> (&mut User, u32) {
        let user = self.users.touch(&user_id).expect("it is installed");
        let index = user.inbox_index(self.config.hash_seed, id);
        user.inbox_changed(index);
        self.changes.user(user_id, user);
        (user, index)
    }

    /// How far a conversation's positions are known; for checks after recovery.
    #[must_use]
    pub fn placed(&self, conversation: ConversationId) -> Option<(Sequence, u64)> {
        self.conversations.peek(&conversation).map(|conversation| conversation.placed)
    }
}

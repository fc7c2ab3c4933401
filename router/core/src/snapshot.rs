//! Snapshots: what changed since the one before, as rows for the state store.

use switchyard_schema::ids::{ConversationId, UserId};

use crate::conversation::Conversation;
use crate::effects::{Row, Snapshot};
use crate::rows::{conversation_row, dedupe_row, devices_row, inbox_row, position_row, shard_row};
use crate::shard::Shard;
use crate::user::User;

/// What changed, in the order it did, and where the snapshots are.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    users: Vec<UserId>,
    conversations: Vec<ConversationId>,
    /// The number of the newest snapshot taken, and of the newest in the store.
    taken: u64,
    pub(crate) stored: u64,
    /// What the outstanding snapshot may cover at most.
    limit_lsn: u64,
    /// The LSN of the newest record when the last snapshot was taken.
    taken_lsn: u64,
}

impl Changes {
    pub(crate) fn user(&mut self, id: UserId, user: &mut User) {
        if !user.dirty {
            user.dirty = true;
            self.users.push(id);
        }
    }

    pub(crate) fn conversation(&mut self, id: ConversationId, conversation: &mut Conversation) {
        if !conversation.dirty {
            conversation.dirty = true;
            self.conversations.push(id);
        }
    }

    fn is_outstanding(&self) -> bool {
        self.taken > self.stored
    }
}

impl Shard {
    /// What changed since the previous snapshot; `None` when nothing did, while the previous one is not stored, and for a
    /// shard whose journal has failed.
    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        let changed = self.changes.taken_lsn < self.log.last_lsn
            || !self.changes.users.is_empty()
            || !self.changes.conversations.is_empty();
        if !changed || self.changes.is_outstanding() || !self.log.takes_records() {
            return None;
        }
        let shard = self.config.shard;
        self.changes.taken += 1;
        self.changes.taken_lsn = self.log.last_lsn;
        // Rows hold the position of the newest placed message, so replay has to see those that are not placed yet.
        self.changes.limit_lsn = self.log.unplaced.front().map_or(self.log.last_lsn, |lsn| lsn - 1);
        let mut rows = vec![shard_row(shard, self.last_message)];
        for id in std::mem::take(&mut self.changes.users) {
            self.save_user(id, &mut rows);
        }
        for id in std::mem::take(&mut self.changes.conversations) {
            self.save_conversation(id, &mut rows);
        }
        Some(Snapshot { lsn: self.log.last_lsn, rows })
    }

    fn save_user(&mut self, id: UserId, rows: &mut Vec<Row>) {
        let shard = self.config.shard;
        let user = self.users.peek_mut(&id).expect("what is not saved stays in memory");
        user.dirty = false;
        user.saved_in = self.changes.taken;
        if std::mem::take(&mut user.devices_dirty) {
            rows.push(devices_row(shard, id, user.devices.iter().map(|device| (device.id, device.last_seen))));
        }
        for index in user.inbox.take_dirty() {
            let (conversation, inbox) = user.inbox.get_index_mut(index as usize).expect("conversations stay");
            inbox.dirty = false;
            rows.push(inbox_row(shard, id, *conversation, &inbox.row()));
        }
    }

    fn save_conversation(&mut self, id: ConversationId, rows: &mut Vec<Row>) {
        let shard = self.config.shard;
        let (taken, stored) = (self.changes.taken, self.changes.stored);
        let conversation = self.conversations.peek_mut(&id).expect("what is not saved stays in memory");
        conversation.dirty = false;
        conversation.saved_in = taken;
        rows.push(conversation_row(shard, id, &conversation.row()));
        conversation.dedupe.take_unsaved(|row| rows.push(dedupe_row(shard, id, &row)));
        conversation.positions.retain(|(_, _, saved_in)| *saved_in == 0 || *saved_in > stored);
        for (sequence, position, saved_in) in &mut conversation.positions {
            if *saved_in == 0 {
                *saved_in = taken;
                rows.push(position_row(shard, id, *sequence, *position));
            }
        }
    }

    /// The LSN to tag the newest snapshot with, asked once `Snapshot::lsn` is durable and just before it is handed to
    /// the store: replay must begin after it. It only grows, also between snapshots, as facts are confirmed.
    #[must_use]
    pub fn coverable(&self) -> u64 {
        let limit = self.changes.limit_lsn;
        self.facts.oldest_lsn().map_or(limit, |lsn| limit.min(lsn - 1))
    }

    /// Whether nothing waits for the journal and every other shard has confirmed what it was told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let is_written = self.log.pending.is_empty() && self.agenda.inbox_records.is_empty();
        is_written && self.facts.oldest_lsn().is_none()
    }

    /// The outstanding snapshot is in the store: loads see it from now on.
    pub fn handle_stored(&mut self) {
        assert!(self.changes.is_outstanding(), "only a snapshot that was taken is stored");
        self.changes.stored = self.changes.taken;
    }
}

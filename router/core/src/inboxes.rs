//! A user's conversations, each with what the user's shard knows of it.
//!
//! Many users hold a connection and none of their conversations moves, so a user without any pays one word.

use std::ops::{Index, IndexMut};

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use switchyard_schema::ids::ConversationId;

use crate::user::Inbox;

/// The conversations of one user. They are only ever added, so their indexes hold while the user is in memory.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    known: Option<Box<Known>>,
}

#[derive(Debug)]
struct Known {
    by_conversation: IndexMap<ConversationId, Inbox, FixedState>,
    /// Those that no snapshot has as they are.
    dirty: Vec<u32>,
}

impl Inboxes {
    pub(crate) fn len(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.by_conversation.len())
    }

    pub(crate) fn get_index_of(&self, conversation: &ConversationId) -> Option<usize> {
        self.known.as_ref()?.by_conversation.get_index_of(conversation)
    }

    pub(crate) fn get_mut(&mut self, conversation: &ConversationId) -> Option<&mut Inbox> {
        self.known.as_mut()?.by_conversation.get_mut(conversation)
    }

    pub(crate) fn get_full_mut(
        &mut self,
        conversation: &ConversationId,
    ) -> Option<(usize, &ConversationId, &mut Inbox)> {
        self.known.as_mut()?.by_conversation.get_full_mut(conversation)
    }

    pub(crate) fn get_index_mut(&mut self, index: usize) -> Option<(&ConversationId, &mut Inbox)> {
        self.known.as_mut()?.by_conversation.get_index_mut(index)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Inbox> {
        self.known.iter_mut().flat_map(|known| known.by_conversation.values_mut())
    }

    /// Adds a conversation that is not there yet, or replaces what is known of it. Answers with its index.
    pub(crate) fn insert(&mut self, hash_seed: u64, conversation: ConversationId, inbox: Inbox) -> usize {
        let known = self.known.get_or_insert_with(|| {
            let by_conversation = IndexMap::with_hasher(FixedState::with_seed(hash_seed));
            Box::new(Known { by_conversation, dirty: Vec::new() })
        });
        known.by_conversation.insert_full(conversation, inbox).0
    }

    /// A conversation changed in a way that the store has to know.
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        let Some(known) = &mut self.known else { return };
        let inbox = &mut known.by_conversation[index as usize];
        if !std::mem::replace(&mut inbox.dirty, true) {
            known.dirty.push(index);
        }
    }

    /// Those that changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> Vec<u32> {
        self.known.as_mut().map_or_else(Vec::new, |known| std::mem::take(&mut known.dirty))
    }

    /// An estimate of the bytes beside the user's own.
    pub(crate) fn bytes(&self) -> usize {
        let Some(known) = &self.known else { return 0 };
        let entry = size_of::<(ConversationId, Inbox)>() + size_of::<(u64, u64)>();
        size_of::<Known>() + known.by_conversation.capacity() * entry + known.dirty.capacity() * size_of::<u32>()
    }
}

impl Index<usize> for Inboxes {
    type Output = Inbox;

    fn index(&self, index: usize) -> &Inbox {
        &self.known.as_ref().expect("an index is of a conversation that is there").by_conversation[index]
    }
}

impl IndexMut<usize> for Inboxes {
    fn index_mut(&mut self, index: usize) -> &mut Inbox {
        &mut self.known.as_mut().expect("an index is of a conversation that is there").by_conversation[index]
    }
}

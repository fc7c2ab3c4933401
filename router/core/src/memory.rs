//! What a shard holds in memory, least recently touched last, with an estimate of its bytes.

use std::fmt;
use std::hash::Hash;

use foldhash::fast::FixedState;
use lru::LruCache;

/// Something that can be loaded, changed, saved and dropped.
pub(crate) trait Resident {
    /// An estimate of the bytes it takes.
    fn bytes(&self) -> usize;
    /// Whether the store knows all of it and nothing holds it in memory. `stored` is the newest snapshot in the store.
    fn is_idle(&self, stored: u64) -> bool;
}

/// Bytes that the table itself takes per entry: a list node, its key, two pointers and a slot of the index.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 72;

struct Counted<V> {
    value: V,
    bytes: usize,
}

/// The users, or the conversations, in memory.
pub(crate) struct Table<K: Hash + Eq, V> {
    entries: LruCache<K, Counted<V>, FixedState>,
    bytes: usize,
    evicted: u64,
}

impl<K: Hash + Eq + Copy, V: Resident> Table<K, V> {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self { entries: LruCache::unbounded_with_hasher(FixedState::with_seed(hash_seed)), bytes: 0, evicted: 0 }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains(key)
    }

    /// Looks without touching.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.entries.peek(key).map(|entry| &entry.value)
    }

    /// Changes without touching.
    pub(crate) fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.peek_mut(key).map(|entry| &mut entry.value)
    }

    /// Changes, and makes it the most recently touched.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let bytes = value.bytes() + ENTRY_OVERHEAD_BYTES;
        self.bytes += bytes;
        let old = self.entries.put(key, Counted { value, bytes });
        assert!(old.is_none(), "what is in memory is never loaded again");
    }

    /// Counts an entry's bytes anew after it may have grown.
    pub(crate) fn recount(&mut self, key: &K) {
        if let Some(entry) = self.entries.peek_mut(key) {
            let bytes = entry.value.bytes() + ENTRY_OVERHEAD_BYTES;
            self.bytes = self.bytes + bytes - entry.bytes;
            entry.bytes = bytes;
        }
    }

    /// Looks at the least recently touched entry: takes it out when it is idle, else counts it as touched.
    pub(crate) fn evict_one(&mut self, stored: u64) -> Option<(K, V)> {
        let (key, entry) = self.entries.peek_lru()?;
        let key = *key;
        if !entry.value.is_idle(stored) {
            self.entries.promote(&key);
            return None;
        }
        let entry = self.entries.pop(&key).expect("it was just seen");
        self.bytes -= entry.bytes;
        self.evicted += 1;
        Some((key, entry.value))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries were taken out so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<K: Hash + Eq, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("entries", &self.entries.len()).field("bytes", &self.bytes).finish()
    }
}

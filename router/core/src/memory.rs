//! What a shard holds in memory, least recently touched last, with an estimate of its bytes.
//!
//! Entries lie in chunks that are filled one after the other and never move, so a table that grows copies none of them and
//! asks for no more than one chunk that it does not fill. Entries are named by number: the order and the index by key cost a
//! few of those each, where pointers and a node of its own for every entry cost several times as much.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::limits::CHUNK_ENTRIES;

/// Something that can be loaded, changed, saved and dropped.
pub(crate) trait Resident {
    /// An estimate of the bytes it takes.
    fn bytes(&self) -> usize;
    /// Whether the store knows all of it and nothing holds it in memory. `stored` is the newest snapshot in the store.
    fn is_idle(&self, stored: u64) -> bool;
}

/// Bytes that the table itself takes per entry: key, count, two neighbours, and a slot of the index at its usual load.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 32;

const NONE: u32 = u32::MAX;

struct Entry<K, V> {
    key: K,
    value: V,
    bytes: u32,
    /// The entry touched next after this one, and the one touched last before it.
    newer: u32,
    older: u32,
}

/// The users, or the conversations, in memory.
pub(crate) struct Table<K, V> {
    chunks: Vec<Vec<Option<Entry<K, V>>>>,
    /// Numbers of places that are free again.
    free: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: FixedState,
    newest: u32,
    oldest: u32,
    bytes: usize,
    evicted: u64,
}

impl<K: Hash + Eq + Copy, V: Resident> Table<K, V> {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            evicted: 0,
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// Looks without touching.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.find(key).map(|number| &entry(&self.chunks, number).value)
    }

    /// Changes without touching.
    pub(crate) fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        let number = self.find(key)?;
        Some(&mut self.entry_mut(number).value)
    }

    /// Changes, and makes it the most recently touched.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let number = self.find(key)?;
        self.promote(number);
        Some(&mut self.entry_mut(number).value)
    }

    /// # Panics
    /// When the key is there already: what is in memory is never loaded again.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        assert!(!self.contains(&key), "what is in memory is never loaded again");
        let bytes = counted(&value);
        self.bytes += bytes as usize;
        let entry = Entry { key, value, bytes, newer: NONE, older: NONE };
        let number = match self.free.pop() {
            Some(number) => {
                *place_mut(&mut self.chunks, number) = Some(entry);
                number
            }
            None => self.append(entry),
        };
        self.link_newest(number);
        let Self { chunks, by_key, hasher, .. } = self;
        by_key.insert_unique(hasher.hash_one(key), number, |&other| hasher.hash_one(self::entry(chunks, other).key));
    }

    /// Counts an entry's bytes anew after it may have grown.
    pub(crate) fn recount(&mut self, key: &K) {
        let Some(number) = self.find(key) else { return };
        let entry = self.entry_mut(number);
        let (before, after) = (entry.bytes, counted(&entry.value));
        entry.bytes = after;
        self.bytes = self.bytes + after as usize - before as usize;
    }

    /// Looks at the least recently touched entry: takes it out when it is idle, else counts it as touched.
    pub(crate) fn evict_one(&mut self, stored: u64) -> Option<(K, V)> {
        let number = self.oldest;
        if number == NONE {
            return None;
        }
        if !self.entry_mut(number).value.is_idle(stored) {
            self.promote(number);
            return None;
        }
        self.unlink(number);
        let Entry { key, value, bytes, .. } = place_mut(&mut self.chunks, number).take().expect("it was just seen");
        let found = self.by_key.find_entry(self.hasher.hash_one(key), |&other| other == number);
        found.expect("what is there is in the index").remove();
        self.free.push(number);
        self.bytes -= bytes as usize;
        self.evicted += 1;
        Some((key, value))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries were taken out so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn find(&self, key: &K) -> Option<u32> {
        let is_it = |&number: &u32| entry(&self.chunks, number).key == *key;
        self.by_key.find(self.hasher.hash_one(key), is_it).copied()
    }

    fn append(&mut self, entry: Entry<K, V>) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_ENTRIES) {
            self.chunks.push(Vec::with_capacity(CHUNK_ENTRIES));
        }
        let full = self.chunks.len() - 1;
        let chunk = &mut self.chunks[full];
        chunk.push(Some(entry));
        let number = full * CHUNK_ENTRIES + chunk.len() - 1;
        u32::try_from(number).ok().filter(|number| *number != NONE).expect("memory ends far below 4 G entries")
    }

    fn entry_mut(&mut self, number: u32) -> &mut Entry<K, V> {
        place_mut(&mut self.chunks, number).as_mut().expect("a number names what is there")
    }

    fn promote(&mut self, number: u32) {
        if number != self.newest {
            self.unlink(number);
            self.link_newest(number);
        }
    }

    fn link_newest(&mut self, number: u32) {
        let older = std::mem::replace(&mut self.newest, number);
        let entry = self.entry_mut(number);
        (entry.newer, entry.older) = (NONE, older);
        match older {
            NONE => self.oldest = number,
            older => self.entry_mut(older).newer = number,
        }
    }

    fn unlink(&mut self, number: u32) {
        let &Entry { newer, older, .. } = entry(&self.chunks, number);
        match newer {
            NONE => self.newest = older,
            newer => self.entry_mut(newer).older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entry_mut(older).newer = newer,
        }
    }
}

fn entry<K, V>(chunks: &[Vec<Option<Entry<K, V>>>], number: u32) -> &Entry<K, V> {
    let number = number as usize;
    chunks[number / CHUNK_ENTRIES][number % CHUNK_ENTRIES].as_ref().expect("a number names what is there")
}

fn place_mut<K, V>(chunks: &mut [Vec<Option<Entry<K, V>>>], number: u32) -> &mut Option<Entry<K, V>> {
    let number = number as usize;
    &mut chunks[number / CHUNK_ENTRIES][number % CHUNK_ENTRIES]
}

fn counted(value: &impl Resident) -> u32 {
    u32::try_from(value.bytes() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("entries", &self.by_key.len()).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that is idle when it is even, and as large as it says.
    #[derive(Debug, PartialEq, Eq)]
    struct Value(usize);

    impl Resident for Value {
        fn bytes(&self) -> usize {
            self.0
        }

        fn is_idle(&self, _: u64) -> bool {
            self.0.is_multiple_of(2)
        }
    }

    #[test]
    fn given_entries_when_evicted_then_the_one_touched_longest_ago_goes_first_and_those_in_use_stay() {
        let mut table = Table::new(1);
        for key in 0..5_u64 {
            table.insert(key, Value(2));
        }
        table.touch(&0);
        table.peek_mut(&1).unwrap().0 = 3;
        table.recount(&1);
        assert_eq!(table.bytes(), 5 * ENTRY_OVERHEAD_BYTES + 11);
        let order: Vec<_> = (0..6).map(|_| table.evict_one(0).map(|(key, _)| key)).collect();
        assert_eq!(order, [None, Some(2), Some(3), Some(4), Some(0), None]);
        assert_eq!((table.len(), table.evicted(), table.bytes()), (1, 4, ENTRY_OVERHEAD_BYTES + 3));
        assert_eq!((table.peek(&1), table.peek(&2)), (Some(&Value(3)), None));
    }

    #[test]
    fn given_any_order_of_operations_when_compared_with_a_list_then_the_table_holds_the_same_in_the_same_order() {
        // A small linear congruential generator: the same operations on every run.
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut table = Table::new(7);
        // Newest last.
        let mut model: Vec<u64> = Vec::new();
        for _ in 0..20_000 {
            let key = random(3 * CHUNK_ENTRIES as u64);
            match random(3) {
                0 => {
                    let oldest = (!model.is_empty()).then(|| model.remove(0));
                    assert_eq!(table.evict_one(0).map(|(key, _)| key), oldest);
                }
                _ => match model.iter().position(|known| *known == key) {
                    Some(place) => {
                        let key = model.remove(place);
                        model.push(key);
                        assert!(table.touch(&key).is_some());
                    }
                    None => {
                        assert!(table.touch(&key).is_none());
                        table.insert(key, Value(2));
                        model.push(key);
                    }
                },
            }
            assert_eq!((table.len(), table.bytes()), (model.len(), model.len() * (2 + ENTRY_OVERHEAD_BYTES)));
        }
        assert!(table.chunks.len() <= 3, "places are used again");
    }
}

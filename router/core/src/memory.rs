//! What a shard holds in memory, with an estimate of its bytes.
//!
//! Entries lie in chunks that are filled one after the other and never move, so a table that grows copies none of them and
//! asks for no more than one chunk that it does not fill. Entries are named by number: the index by key costs a few bytes
//! of those each, where a node of its own for every entry costs several times as much.
//!
//! What goes first is found by a hand that goes round the places (the CLOCK algorithm, Corbató 1968): an entry that was
//! touched since the hand came by is spared once. Touching writes to the entry alone; a list in the order of touching
//! would write to its neighbours too, which nobody needed and which are seldom in the processor's cache.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::limits::{CHUNK_ENTRIES, FREE_PLACES_PER_LOOK};

/// Something that can be loaded, changed, saved and dropped.
pub(crate) trait Resident {
    /// An estimate of the bytes it takes.
    fn bytes(&self) -> usize;
    /// Whether the store knows all of it and nothing holds it in memory. `stored` is the newest snapshot in the store.
    fn is_idle(&self, stored: u64) -> bool;
}

/// Bytes that the table itself takes per entry: key, count, whether it was touched, and a slot of the index at its usual
/// load.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 32;

struct Entry<K, V> {
    key: K,
    value: V,
    bytes: u32,
    /// Whether it was touched since the hand came by.
    touched: bool,
}

/// What the hand met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met<K, V> {
    /// What is in use, or nothing nearby.
    Nothing,
    /// What was touched lately. It goes when the hand comes by again and it was not.
    Spared,
    /// What nobody needs; it is taken out.
    Evicted(K, V),
}

/// The users, or the conversations, in memory.
pub(crate) struct Table<K, V> {
    chunks: Vec<Vec<Option<Entry<K, V>>>>,
    /// Numbers of places that are free again.
    free: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: FixedState,
    /// The place found last: an input asks for the same entry several times.
    found: Cell<u32>,
    /// The place that the hand looks at next.
    hand: usize,
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
            found: Cell::new(0),
            hand: 0,
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

    /// Changes, and spares it when the hand comes by next.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let number = self.find(key)?;
        let entry = self.entry_mut(number);
        entry.touched = true;
        Some(&mut entry.value)
    }

    /// # Panics
    /// When the key is there already: what is in memory is never loaded again.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        assert!(!self.contains(&key), "what is in memory is never loaded again");
        let bytes = counted(&value);
        self.bytes += bytes as usize;
        let entry = Entry { key, value, bytes, touched: true };
        let number = match self.free.pop() {
            Some(number) => {
                *place_mut(&mut self.chunks, number) = Some(entry);
                number
            }
            None => self.append(entry),
        };
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

    /// Looks at one place, and takes out what is idle there and was not touched lately.
    pub(crate) fn evict_one(&mut self, stored: u64) -> Met<K, V> {
        let Some(number) = self.next_used() else { return Met::Nothing };
        let place = place_mut(&mut self.chunks, number);
        let Some(entry) = place.as_mut().filter(|entry| entry.value.is_idle(stored)) else { return Met::Nothing };
        if std::mem::take(&mut entry.touched) {
            return Met::Spared;
        }
        let Entry { key, value, bytes, .. } = place.take().expect("it was just seen");
        let found = self.by_key.find_entry(self.hasher.hash_one(key), |&other| other == number);
        found.expect("what is there is in the index").remove();
        self.free.push(number);
        self.bytes -= bytes as usize;
        self.evicted += 1;
        Met::Evicted(key, value)
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
        let latest = self.found.get();
        let place = self.chunks.get(latest as usize / CHUNK_ENTRIES);
        let place = place.and_then(|chunk| chunk.get(latest as usize % CHUNK_ENTRIES));
        if place.is_some_and(|place| place.as_ref().is_some_and(|entry| entry.key == *key)) {
            return Some(latest);
        }
        let is_it = |&number: &u32| entry(&self.chunks, number).key == *key;
        let number = self.by_key.find(self.hasher.hash_one(key), is_it).copied()?;
        self.found.set(number);
        Some(number)
    }

    /// Moves the hand to the next place with an entry and behind it. `None` when there is none nearby.
    fn next_used(&mut self) -> Option<u32> {
        let places = self.places();
        for _ in 0..places.min(FREE_PLACES_PER_LOOK) {
            let number = self.hand % places;
            self.hand = number + 1;
            if self.chunks[number / CHUNK_ENTRIES][number % CHUNK_ENTRIES].is_some() {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    /// Places there are, those included that are free again.
    fn places(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK_ENTRIES + last
    }

    fn append(&mut self, entry: Entry<K, V>) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_ENTRIES) {
            self.chunks.push(Vec::with_capacity(CHUNK_ENTRIES));
        }
        let number = self.places();
        self.chunks.last_mut().expect("one was just made").push(Some(entry));
        u32::try_from(number).expect("memory ends far below 4 G entries")
    }

    fn entry_mut(&mut self, number: u32) -> &mut Entry<K, V> {
        place_mut(&mut self.chunks, number).as_mut().expect("a number names what is there")
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
    use std::collections::BTreeMap;

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

    /// What the next looks of the hand take out.
    fn looks<const N: usize>(table: &mut Table<u64, Value>) -> [Met<u64, Value>; N] {
        [(); N].map(|()| table.evict_one(0))
    }

    #[test]
    fn given_entries_when_evicted_then_those_touched_lately_are_spared_once_and_those_in_use_stay() {
        use Met::{Evicted, Nothing, Spared};
        let mut table = Table::new(1);
        for key in 0..4_u64 {
            table.insert(key, Value(2));
        }
        table.peek_mut(&1).unwrap().0 = 3;
        table.recount(&1);
        assert_eq!(table.bytes(), 4 * ENTRY_OVERHEAD_BYTES + 9);
        assert_eq!(looks(&mut table), [Spared, Nothing, Spared, Spared], "all are new");
        table.touch(&0);
        assert_eq!(looks(&mut table), [Spared, Nothing, Evicted(2, Value(2)), Evicted(3, Value(2))]);
        assert_eq!(looks(&mut table), [Evicted(0, Value(2)), Nothing, Nothing], "free places are passed over");
        assert_eq!((table.len(), table.evicted(), table.bytes()), (1, 3, ENTRY_OVERHEAD_BYTES + 3));
        assert_eq!((table.peek(&1), table.peek(&2)), (Some(&Value(3)), None));
        table.insert(4, Value(2));
        assert_eq!((table.peek(&4), table.places()), (Some(&Value(2)), 4), "places are used again");
    }

    #[test]
    fn given_any_order_of_operations_when_compared_with_a_map_then_the_table_holds_the_same() {
        // A small linear congruential generator: the same operations on every run.
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut table = Table::new(7);
        // What is there, and how often the hand has looked at anything since it was touched.
        let mut model = BTreeMap::new();
        for _ in 0..20_000 {
            let key = random(3 * CHUNK_ENTRIES as u64);
            match random(3) {
                0 => {
                    if let Met::Evicted(key, _) = table.evict_one(0) {
                        assert!(model.remove(&key).is_some_and(|looks| looks > 0), "it was spared once");
                    }
                    // Any of them may be the one that was spared.
                    model.values_mut().for_each(|looks| *looks += 1);
                }
                _ => {
                    assert_eq!(table.touch(&key).is_some(), model.contains_key(&key));
                    if model.insert(key, 0).is_none() {
                        table.insert(key, Value(2));
                    }
                }
            }
            assert_eq!((table.len(), table.bytes()), (model.len(), model.len() * (2 + ENTRY_OVERHEAD_BYTES)));
        }
        assert!(table.chunks.len() <= 3, "places are used again");
        assert!(table.evicted() > 100, "{} of several thousand looks", table.evicted());
    }
}

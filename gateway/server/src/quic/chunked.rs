//! Large values by their numbers, many to one piece of memory.
//!
//! An allocator rounds a piece up to the next of its sizes, which lie a quarter apart: a thing of six kilobytes takes seven.
//! A chunk of many is as long as such a size, and little is lost. It is given back when nothing is left in it.

use crate::limits::QUIC_CHUNK_BYTES;

/// Values by their numbers, of which new ones are to be small.
#[derive(Debug)]
pub(super) struct Chunked<T> {
    chunks: Vec<Option<Chunk<T>>>,
}

#[derive(Debug)]
struct Chunk<T> {
    places: Box<[Option<T>]>,
    used: usize,
}

impl<T> Chunked<T> {
    const PER_CHUNK: usize = QUIC_CHUNK_BYTES / size_of::<Option<T>>();

    pub(super) const fn new() -> Self {
        assert!(Self::PER_CHUNK > 0, "a value is smaller than a chunk");
        Self { chunks: Vec::new() }
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.chunks.get_mut(number / Self::PER_CHUNK)?.as_mut()?.places[number % Self::PER_CHUNK].as_mut()
    }

    /// # Panics
    /// When there is one of this number.
    pub(super) fn insert(&mut self, number: usize, value: T) {
        let place = number / Self::PER_CHUNK;
        if place >= self.chunks.len() {
            self.chunks.resize_with(place + 1, || None);
        }
        let chunk = self.chunks[place].get_or_insert_with(|| {
            let places = std::iter::repeat_with(|| None).take(Self::PER_CHUNK);
            Chunk { places: places.collect(), used: 0 }
        });
        let before = chunk.places[number % Self::PER_CHUNK].replace(value);
        assert!(before.is_none(), "a number is not given twice");
        chunk.used += 1;
    }

    pub(super) fn remove(&mut self, number: usize) -> Option<T> {
        let place = self.chunks.get_mut(number / Self::PER_CHUNK)?;
        let chunk = place.as_mut()?;
        let value = chunk.places[number % Self::PER_CHUNK].take()?;
        chunk.used -= 1;
        if chunk.used == 0 {
            *place = None;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_values_in_several_chunks_when_removed_then_the_others_stay_and_an_empty_chunk_is_given_back() {
        let per_chunk = Chunked::<[u8; 6_000]>::PER_CHUNK;
        let mut values = Chunked::new();
        for number in [0, per_chunk - 1, 3 * per_chunk] {
            values.insert(number, [u8::try_from(number % 251).unwrap(); 6_000]);
        }
        let held = |values: &Chunked<[u8; 6_000]>| values.chunks.iter().flatten().count();
        assert_eq!((held(&values), values.chunks.len()), (2, 4));
        assert!(values.get_mut(1).is_none() && values.get_mut(2 * per_chunk).is_none());
        assert!(values.get_mut(9 * per_chunk).is_none() && values.remove(9 * per_chunk).is_none());
        assert_eq!(values.remove(0), Some([0; 6_000]));
        assert_eq!((values.remove(0), held(&values)), (None, 2));
        assert!(values.remove(per_chunk - 1).is_some());
        assert_eq!(held(&values), 1);
        values.insert(0, [9; 6_000]);
        assert_eq!(values.get_mut(0), Some(&mut [9; 6_000]));
    }
}

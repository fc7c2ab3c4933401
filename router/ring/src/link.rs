//! A bounded ring with one producer and one consumer, whose slots are partly reserved.
//!
//! # Why a reserved push always fits
//!
//! Let R and O be the numbers of reserved and open slots; the ring promises R + O.
//!
//! - *Open messages in the ring never exceed O.* [`Producer::try_push`] pushes only when the length is below O, so just
//!   after it everything in the ring, open or not, is at most O. Until the next open push the number of open messages
//!   only falls, because a reserved push adds none and pops take away.
//! - *Reserved messages in the ring never exceed R.* Each stands for a credit that is out, and there are R credits.
//!
//! So before a reserved push there are at most O open and R − 1 reserved messages, and a slot is free. The length that
//! the producer sees is never below the true one: its own pushes it knows, and pops it has not seen only shorten the
//! ring.
//!
//! # Why a push never waits
//!
//! `ArrayQueue::push` spins when the slot it wants is one that a pop has claimed and not yet left. With one consumer that
//! is at most the slot just before the head, and with [`LINK_SPARE_SLOTS`] beyond the promise the tail never comes
//! around to it.

use crate::limits::{LINK_SLOTS_MAX, LINK_SPARE_SLOTS};
use crate::sync::{Arc, ArrayQueue};

/// Makes a link with `reserved` slots for credited messages and `open` slots for the others.
///
/// # Panics
/// When there is no slot at all, or more than [`LINK_SLOTS_MAX`].
#[must_use]
pub fn link<T>(reserved: usize, open: usize) -> (Producer<T>, Consumer<T>) {
    let promised = reserved.saturating_add(open);
    assert!((1..=LINK_SLOTS_MAX).contains(&promised), "a link has 1 to {LINK_SLOTS_MAX} slots, not {promised}");
    let queue = Arc::new(ArrayQueue::new(promised + LINK_SPARE_SLOTS));
    (Producer { queue: queue.clone(), reserved, open }, Consumer { queue })
}

/// The end of a link that pushes. There is one: it is `Send`, and not `Clone`.
#[derive(Debug)]
pub struct Producer<T> {
    queue: Arc<ArrayQueue<T>>,
    reserved: usize,
    open: usize,
}

impl<T> Producer<T> {
    /// Pushes a message that a credit stands for.
    ///
    /// # Panics
    /// When the link is full: more messages claimed a reserved slot than there are credits, which is our own bug.
    pub fn push_reserved(&self, message: T) {
        assert!(self.queue.len() < self.reserved + self.open, "a reserved message found its link full");
        assert!(self.queue.push(message).is_ok(), "a link holds more than it promises");
    }

    /// Pushes a message that no credit stands for, when an open slot is left.
    ///
    /// # Errors
    /// Gives the message back when there is none.
    pub fn try_push(&self, message: T) -> Result<(), T> {
        if self.room() == 0 { Err(message) } else { self.queue.push(message) }
    }

    /// Open slots left. This thread is the only one that pushes, so by the time it does there are at least as many.
    #[must_use]
    pub fn room(&self) -> usize {
        self.open.saturating_sub(self.queue.len())
    }
}

/// The end of a link that pops. There is one: it is `Send`, and not `Clone`.
#[derive(Debug)]
pub struct Consumer<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T> Consumer<T> {
    /// The oldest message; `None` when the link is empty.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Messages in the link as seen now; there may be more by the time they are popped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the link was empty just now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::link;

    #[test]
    fn given_reserved_messages_ahead_when_open_ones_are_pushed_then_they_take_only_what_is_left() {
        let (producer, consumer) = link::<u32>(2, 2);
        producer.push_reserved(0);
        assert_eq!(producer.room(), 1);
        assert_eq!(producer.try_push(1), Ok(()));
        assert_eq!(producer.try_push(2), Err(2));
        producer.push_reserved(3);
        assert_eq!(consumer.len(), 3);
        assert_eq!([consumer.pop(), consumer.pop(), consumer.pop(), consumer.pop()], [Some(0), Some(1), Some(3), None]);
        assert_eq!(producer.room(), 2);
    }

    #[test]
    fn given_all_open_slots_taken_when_every_credit_is_used_then_all_fit() {
        let (producer, consumer) = link::<usize>(3, 2);
        for round in 0..100 {
            assert_eq!([producer.try_push(round), producer.try_push(round)], [Ok(()); 2]);
            assert_eq!(producer.try_push(round), Err(round));
            for credit in 0..3 {
                producer.push_reserved(credit);
            }
            assert_eq!(std::iter::from_fn(|| consumer.pop()).count(), 5);
        }
    }

    #[test]
    #[should_panic(expected = "found its link full")]
    fn given_more_reserved_messages_than_slots_then_it_panics() {
        let (producer, _consumer) = link::<u32>(1, 0);
        producer.push_reserved(1);
        producer.push_reserved(2);
    }

    #[test]
    fn given_no_open_slots_then_an_open_message_never_fits() {
        let (producer, _consumer) = link::<u32>(1, 0);
        assert_eq!((producer.room(), producer.try_push(1)), (0, Err(1)));
    }
}

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
//! # Who hears of room
//!
//! A producer that found no open slot is told when there is one, or it would look again only by the clock. The consumer
//! pops in turns and asks [`Consumer::has_made_room`] at the end of each; on `true` it wakes the producer. Say the
//! producer found the link full, with O messages or more, while a turn was going on that popped k more of them. If k is
//! at least half of O, that turn answers `true`. If not, more than half of O are left when the next turn begins, and that
//! one does.
//!
//! # What passing a message costs
//!
//! The ring is [`rtrb`]'s: each end writes a position of its own and knows the other's as it last saw it. So a push or a pop
//! is a copy and a store, without a locked instruction, and the producer looks at the consumer's position, which lies in a
//! cache line that the other thread keeps writing, only when by what it knows there is no room.

use std::cell::RefCell;

use crate::limits::LINK_SLOTS_MAX;
use crate::sync::{PopEnd, PushEnd, RingBuffer};

/// Makes a link with `reserved` slots for credited messages and `open` slots for the others.
///
/// # Panics
/// When there is no slot at all, or more than [`LINK_SLOTS_MAX`].
#[must_use]
pub fn link<T>(reserved: usize, open: usize) -> (Producer<T>, Consumer<T>) {
    let promised = reserved.saturating_add(open);
    assert!((1..=LINK_SLOTS_MAX).contains(&promised), "a link has 1 to {LINK_SLOTS_MAX} slots, not {promised}");
    let (push, pop) = RingBuffer::new(promised);
    (Producer { ring: RefCell::new(push), promised, open }, Consumer { ring: RefCell::new(pop), open })
}

/// The end of a link that pushes. There is one: it is `Send`, and neither `Sync` nor `Clone`.
#[derive(Debug)]
pub struct Producer<T> {
    ring: RefCell<PushEnd<T>>,
    promised: usize,
    open: usize,
}

impl<T> Producer<T> {
    /// Pushes a message that a credit stands for.
    ///
    /// # Panics
    /// When the link is full: more messages claimed a reserved slot than there are credits, which is our own bug.
    pub fn push_reserved(&self, message: T) {
        assert!(self.ring.borrow_mut().push(message).is_ok(), "a reserved message found its link full");
    }

    /// Pushes a message that no credit stands for, when an open slot is left.
    ///
    /// # Errors
    /// Gives the message back when there is none.
    pub fn try_push(&self, message: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(message);
        }
        assert!(self.ring.borrow_mut().push(message).is_ok(), "a link holds more than it promises");
        Ok(())
    }

    /// Whether an open slot is left.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open_beside(self.ring.borrow().cached_slots()) > 0 || self.room() > 0
    }

    /// Open slots left. This thread is the only one that pushes, so by the time it does there are at least as many.
    #[must_use]
    pub fn room(&self) -> usize {
        self.open_beside(self.ring.borrow().slots())
    }

    /// Open slots left when `free` slots of both classes are.
    fn open_beside(&self, free: usize) -> usize {
        self.open.saturating_sub(self.promised - free)
    }
}

/// The end of a link that pops. There is one: it is `Send`, and neither `Sync` nor `Clone`.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: RefCell<PopEnd<T>>,
    open: usize,
}

impl<T> Consumer<T> {
    /// The oldest message; `None` when the link is empty.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.ring.borrow_mut().pop().ok()
    }

    /// Whether a turn that found `found` messages and popped `popped` may have made the room that the producer waits for. A
    /// link that is far from full never answers `true`.
    #[must_use]
    pub const fn has_made_room(&self, found: usize, popped: usize) -> bool {
        let most = if found > popped { found } else { popped };
        popped > 0 && self.open > 0 && 2 * most >= self.open
    }

    /// Messages in the link as seen now; there may be more by the time they are popped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.borrow().slots()
    }

    /// Whether the link was empty just now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.borrow().is_empty()
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
    fn given_a_link_that_was_full_when_popped_in_turns_then_some_turn_reports_room_and_quiet_ones_do_not() {
        let (_, quiet) = link::<u32>(0, 10);
        assert!(!quiet.has_made_room(4, 4) && !quiet.has_made_room(10, 0));
        // The producer finds the link full after the turn that is going on has popped `popped_before` and before it pops
        // `popped_after` more.
        for (popped_before, popped_after) in (0..10).flat_map(|before| (0..=10).map(move |after| (before, after))) {
            let (_, consumer) = link::<u32>(0, 10);
            let this_turn = consumer.has_made_room(popped_before, popped_before + popped_after);
            let left = 10 - popped_after;
            let next_turn = consumer.has_made_room(left, left);
            assert!(this_turn || next_turn, "{popped_before} {popped_after}");
        }
    }

    #[test]
    fn given_no_open_slots_then_an_open_message_never_fits() {
        let (producer, _consumer) = link::<u32>(1, 0);
        assert_eq!((producer.room(), producer.try_push(1)), (0, Err(1)));
    }
}

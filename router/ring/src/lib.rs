//! What threads use to talk to each other: bounded links, credits and coalesced wake-ups.
//!
//! A [`link()`] is a ring with one producer and one consumer. Its slots are of two classes. *Reserved* slots belong to
//! whoever holds a credit ([`Credits`]), so a message that answers a credited request always fits. *Open* slots take
//! what is left; a message that finds none is given back, and its sender keeps a mark and tries again. No call in this
//! crate waits for another thread to do something.
//!
//! A thread that serves many links parks on one [`Parker`]; everyone who pushes to it holds a [`Waker`] and calls
//! [`Waker::notify`] once per turn, not once per message. That a thread works at all its [`Pulse`] shows.
//!
//! ```
//! let (producer, consumer) = switchyard_ring::link::<u32>(1, 1);
//! let mut credits = switchyard_ring::Credits::new(1);
//! assert!(credits.take());
//! producer.try_push(7).expect("one open slot");
//! assert_eq!(producer.try_push(8), Err(8), "the other slot is reserved");
//! producer.push_reserved(9); // always fits: a credit stands for it
//! assert_eq!((consumer.pop(), consumer.pop(), consumer.pop()), (Some(7), Some(9), None));
//! credits.put_back();
//! ```
#![forbid(unsafe_code)]

pub mod credits;
pub mod eventfd;
pub mod limits;
pub mod link;
pub mod pulse;
mod sync;
pub mod wake;

pub use credits::Credits;
pub use eventfd::EventFd;
pub use link::{Consumer, Producer, link};
pub use pulse::Pulse;
pub use wake::{Parker, Waker};

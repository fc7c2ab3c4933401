//! The client of Switchyard as a state machine: what the SDK drives with real sockets and the simulator with made-up ones.
//!
//! A [`Client`] decides; its driver obeys. Inputs go in with `handle_*` and the verbs of the application, each with the
//! time; what is to be done comes out as [`Effect`]s. There is no IO, no clock and no async here, and chance comes from a
//! seed, so the same inputs give the same effects.
//!
//! What it promises its application:
//! - a message that [`Client::send`] took is accepted once by the server, or [`Event::SendFailed`] says why not, across
//!   lost connections and restarts;
//! - each message arrives once, each conversation in order, and nothing is acknowledged before the store has it;
//! - it comes back by itself, after full-jitter back-off or when the server asked it to, unless there is no point in it.
#![forbid(unsafe_code)]

mod acks;
pub mod backoff;
mod client;
mod config;
mod conversation;
mod effect;
mod event;
mod fetches;
pub mod limits;
mod outbox;
mod token;

pub use client::{Client, Wait};
pub use config::Config;
pub use effect::{ConversationRow, Effect, OutboxRow, Restored, StoreOp};
pub use event::{AcceptedMessage, ConnectionState, Event, FailedSend, HistoryPage, Message, RefusalCode, StopReason};
pub use fetches::FetchRefused;
pub use outbox::SendRefused;

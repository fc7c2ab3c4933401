//! The Rust SDK of Switchyard.
//!
//! A [`Client`] keeps a session with the server by itself: it connects, greets, comes back after a jittered wait, renews
//! its token, resends what was not accepted, acknowledges what arrived and fetches what is missing. What it promises:
//!
//! - a message that [`Client::send_text`] took reaches the conversation once, across lost connections and, with a store on
//!   disk, restarts;
//! - [`Events`] gives each message once and each conversation in order; after a crash the message that was being
//!   handled may come again;
//! - nothing is acknowledged to the server before the store has it.
//!
//! It speaks WebSocket (`ws://`, `wss://`), QUIC (`quic://`), or whichever of the two gets through ([`Builder::quic`]).
//!
//! ```no_run
//! use switchyard_client::{Client, ConversationId, Event, UserId};
//!
//! # async fn run(token: String) -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) =
//!     Client::builder("ws://127.0.0.1:7400").token(token).store("alice.db").connect().await?;
//! let me = client.connected().await?;
//! let bob = UserId::new(43).ok_or("user ids start at 1")?;
//! let conversation = ConversationId::direct(me, bob);
//!
//! let sent = client.send_text(conversation, "Hello, Bob").await?;
//! println!("accepted as number {}", sent.accepted().await?.sequence.0);
//!
//! while let Some(event) = events.next().await {
//!     if let Event::MessageReceived(message) = event {
//!         println!("{}: {}", message.sender, message.text().unwrap_or("(not a text)"));
//!         client.mark_read(message.conversation, message.sequence).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The decisions are made by `switchyard-client-core`, which does no IO; this crate performs them on tokio.
#![forbid(unsafe_code)]

mod address;
mod builder;
mod client;
mod command;
mod driver;
mod entropy;
mod error;
pub mod limits;
mod store;
mod token;
mod transport;
mod trust;
mod waiting;

pub use builder::Builder;
pub use client::{Client, Events, SendHandle};
pub use error::{Error, SendFailure, StoreError};
pub use switchyard_client_core::{
    AcceptedMessage, ConnectionState, Event, FailedSend, FetchRefused, HistoryPage, Message, RefusalCode, SendRefused,
    StopReason,
};
pub use switchyard_schema::error::ErrorCode;
pub use switchyard_schema::frame::{FetchRange, VoidRange, Watermark};
pub use switchyard_schema::ids::{
    ClientMessageId, ConversationId, ConversationKind, DeviceId, GroupId, MessageId, Millis, Sequence, UserId,
};
pub use token::TokenError;
pub use transport::NetworkId;

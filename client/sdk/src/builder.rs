//! What a client needs to start.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use switchyard_client_core::{self as core, Config, ConnectionState};
use switchyard_schema::ids::DeviceId;
use tokio::sync::{mpsc, watch};

use crate::client::{Client, Events};
use crate::command::{Status, Taken};
use crate::driver::{Driver, Session, event_channel};
use crate::entropy;
use crate::error::Error;
use crate::limits::COMMANDS_MAX;
use crate::store::{Opened, Store, StoreChoice};
use crate::token::{TokenError, TokenProvider};
use crate::transport::Destination;
use crate::trust::Trust;

/// What a client needs to start; made by [`Client::builder`].
#[must_use]
pub struct Builder {
    url: String,
    quic: Option<String>,
    tokens: Option<TokenProvider>,
    device: Option<DeviceId>,
    store: StoreChoice,
    trust: Trust,
    sends_in_flight_per_conversation: Option<u32>,
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            quic: None,
            tokens: None,
            device: None,
            store: StoreChoice::Memory,
            trust: Trust::default(),
            sends_in_flight_per_conversation: None,
        }
    }

    /// The server speaks QUIC too, at this `host[:port]` (port 443 without one). A connection over QUIC is tried first; where it
    /// does not come about at once the WebSocket's is tried beside it, and the client remembers in which networks QUIC works. Its
    /// sessions survive a change of the device's address ([`Client::network_changed`]).
    pub fn quic(mut self, address: impl Into<String>) -> Self {
        self.quic = Some(address.into());
        self
    }

    /// One token. When the server does not take it any more the client stops; see [`Builder::token_provider`].
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens = Some(TokenProvider::fixed(token.into()));
        self
    }

    /// Called whenever a token is needed: at the start, before the old one expires and when the server refuses it.
    pub fn token_provider<F, R>(mut self, provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.tokens = Some(TokenProvider::new(provider));
        self
    }

    /// Which device of the user this is. Without it a store on disk keeps the one it made at first; without such a store
    /// every start is a new device, and a user may have eight.
    pub const fn device(mut self, device: DeviceId) -> Self {
        self.device = Some(device);
        self
    }

    /// Keeps outbox, inbox and cursors in this file, so that they outlive the process. Without it they are in memory.
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = StoreChoice::File(path.into());
        self
    }

    /// Trusts the certificate authorities in this PEM file, and no others, to vouch for a server that speaks TLS or QUIC. Without it
    /// those that browsers trust.
    pub fn certificate_authorities(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = Trust::File(path.into());
        self
    }

    /// Messages of one conversation on their way at once, 1 by default: then their order holds whatever the server
    /// refuses for a while. More are faster over long distances.
    pub const fn sends_in_flight_per_conversation(mut self, count: u32) -> Self {
        self.sends_in_flight_per_conversation = Some(count);
        self
    }

    /// Starts the client. It returns when the store is open, connected or not: messages can be sent at once and leave
    /// when there is a connection. Wait for one with [`Client::connected`].
    ///
    /// Take the events: while many wait, nothing more is read from the server. Drop [`Events`] when they do not matter.
    ///
    /// # Errors
    /// When the address, the token, the authorities or the store cannot be used.
    pub async fn connect(self) -> Result<(Client, Events), Error> {
        let destination = Destination::new(&self.url, self.quic.as_deref(), &self.trust)?;
        let tokens = self.tokens.ok_or(Error::NoToken)?;
        let (choice, device) = (self.store, self.device);
        let opening = tokio::task::spawn_blocking(move || Store::open(&choice, device));
        let Opened { store, device, restored } = opening.await.expect("opening a store does not panic")?;
        let mut config = Config::new(device);
        if let Some(count) = self.sends_in_flight_per_conversation {
            config.sends_in_flight_per_conversation = count;
        }
        let (events, events_receiver) = event_channel();
        let (commands, commands_receiver) = mpsc::channel(COMMANDS_MAX);
        let status = Status { state: ConnectionState::Disconnected, user: restored.user, store_failed: false };
        let (status, status_receiver) = watch::channel(status);
        let taken = Arc::new(Taken::default());
        let driver = Driver {
            core: core::Client::new(config, u64::from_le_bytes(entropy::bytes()), restored),
            store: Some(store),
            destination: Arc::new(destination),
            tokens,
            commands: commands_receiver,
            events,
            taken: Arc::clone(&taken),
            status,
            session: Session::new(),
        };
        tokio::spawn(driver.run());
        Ok((
            Client { commands, status: status_receiver, device },
            Events { receiver: events_receiver, taken, last: None },
        ))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("url", &self.url).field("device", &self.device).finish_non_exhaustive()
    }
}

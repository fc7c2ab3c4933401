//! What an application holds: a [`Client`] to speak with, [`Events`] to listen to.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use switchyard_client_core::{self as core, AcceptedMessage, Config, ConnectionState, Event, HistoryPage};
use switchyard_schema::body;
use switchyard_schema::frame::FetchRange;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Sequence, UserId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::driver::{Command, Driver, SendOutcome, Session, Status, Taken, event_channel};
use crate::entropy;
use crate::error::{Error, SendFailure};
use crate::limits::COMMANDS_MAX;
use crate::store::{Opened, Store, StoreChoice};
use crate::token::{TokenError, TokenProvider};
use crate::transport::Destination;
use crate::trust::Trust;

/// What a client needs to start; made by [`Client::builder`].
#[must_use]
pub struct Builder {
    url: String,
    tokens: Option<TokenProvider>,
    device: Option<DeviceId>,
    store: StoreChoice,
    trust: Trust,
    sends_in_flight_per_conversation: Option<u32>,
}

impl Builder {
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

    /// Trusts the certificate authorities in this PEM file, and no others, to vouch for a `wss://` server. Without it those that
    /// browsers trust.
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
        let destination = Destination::new(&self.url, &self.trust)?;
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
            destination,
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

/// A device's client. Clones speak for the same device; when the last one is dropped the client closes.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    device: DeviceId,
}

impl Client {
    /// A client for the server at `url`, such as `wss://chat.example`, or `ws://127.0.0.1:7400` without TLS.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            tokens: None,
            device: None,
            store: StoreChoice::Memory,
            trust: Trust::default(),
            sends_in_flight_per_conversation: None,
        }
    }

    /// This device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.status.borrow().state
    }

    /// Waits until the client is connected; answers whose token it has.
    ///
    /// # Errors
    /// When the client stops instead.
    pub async fn connected(&self) -> Result<UserId, Error> {
        let mut status = self.status.clone();
        loop {
            let now = *status.borrow_and_update();
            match (now.state, now.user) {
                (ConnectionState::Connected, Some(user)) => return Ok(user),
                (ConnectionState::Stopped(_), _) => return Err(self.stopped()),
                _ => {}
            }
            if status.changed().await.is_err() {
                return Err(self.stopped());
            }
        }
    }

    /// Sends a text. It returns when the message is in the outbox; await the handle to know that it is accepted.
    ///
    /// # Errors
    /// When the text or the outbox does not allow it, or the client has stopped.
    pub async fn send_text(&self, conversation: ConversationId, text: &str) -> Result<SendHandle, Error> {
        body::check_text(text).map_err(Error::InvalidText)?;
        self.send_body(entropy::client_message_id(), conversation, body::text(text).into()).await
    }

    /// Sends an encoded body under a client message id of the application's own choice. The same id is accepted once,
    /// however often it is sent.
    ///
    /// # Errors
    /// As [`Client::send_text`].
    pub async fn send_body(
        &self,
        id: ClientMessageId,
        conversation: ConversationId,
        body: Bytes,
    ) -> Result<SendHandle, Error> {
        let (reply, answer) = oneshot::channel();
        let outcome = self.ask(Command::Send { id, conversation, body, reply }, answer).await??;
        Ok(SendHandle { id, outcome })
    }

    /// Tells the other members that everything up to `sequence` was read here.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn mark_read(&self, conversation: ConversationId, sequence: Sequence) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::MarkRead { conversation, sequence, reply }, answer).await
    }

    /// A part of a conversation's history, at most 100 messages in ascending order. It waits for a connection.
    ///
    /// # Errors
    /// When the server refuses it, too many are asked for, or the client stops.
    pub async fn fetch(
        &self,
        conversation: ConversationId,
        range: FetchRange,
        limit: u32,
    ) -> Result<HistoryPage, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Fetch { conversation, range, limit, reply }, answer).await?
    }

    /// Leaves: what is gathered is acknowledged, the server is told, the store is closed. Unaccepted messages stay in
    /// the outbox of a store on disk.
    pub async fn close(&self) {
        let mut status = self.status.clone();
        if self.commands.send(Command::Close).await.is_ok() {
            while status.changed().await.is_ok() {}
        }
    }

    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        self.commands.send(command).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())
    }

    fn stopped(&self) -> Error {
        let status = *self.status.borrow();
        match status.state {
            _ if status.store_failed => Error::StoreFailed,
            ConnectionState::Stopped(reason) => Error::Stopped(reason),
            _ => Error::Stopped(core::StopReason::Closed),
        }
    }
}

/// A message on its way. Dropping it changes nothing about that.
#[derive(Debug)]
pub struct SendHandle {
    id: ClientMessageId,
    outcome: oneshot::Receiver<SendOutcome>,
}

impl SendHandle {
    /// The name this device gave the message; [`Event::MessageAccepted`] carries it too.
    #[must_use]
    pub const fn id(&self) -> ClientMessageId {
        self.id
    }

    /// Waits until the message is durable on the server. The application must keep taking events meanwhile.
    ///
    /// # Errors
    /// When the server refuses it for good, or the client stops first.
    pub async fn accepted(self) -> Result<AcceptedMessage, SendFailure> {
        self.outcome.await.unwrap_or(Err(SendFailure::Stopped))
    }
}

impl IntoFuture for SendHandle {
    type Output = Result<AcceptedMessage, SendFailure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.accepted())
    }
}

/// What happens, in order. At most [`crate::limits::EVENTS_MAX`] wait, and then
/// [`crate::limits::WAITING_EVENTS_MAX`] of connections that come and go meanwhile; of those that are too many the oldest
/// [`Event::StateChanged`] and [`Event::ServerError`] are left out.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    taken: Arc<Taken>,
    last: Option<(ConversationId, Sequence)>,
}

impl Events {
    /// The next event; `None` when the client has stopped and everything was given out.
    ///
    /// Asking for the next event says that the one before is done with: a message that was being handled when the
    /// process died comes again on the next start.
    pub async fn next(&mut self) -> Option<Event> {
        self.done();
        let event = self.receiver.recv().await?;
        if let Event::MessageReceived(message) = &event {
            self.last = Some((message.conversation, message.sequence));
        }
        Some(event)
    }

    /// The last event is done with, without asking for another.
    pub fn done(&mut self) {
        if let Some((conversation, sequence)) = self.last.take() {
            self.taken.push(conversation, sequence);
        }
    }
}

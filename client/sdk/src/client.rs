//! What an application holds: a [`Client`] to speak with, [`Events`] to listen to.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use switchyard_client_core::{self as core, AcceptedMessage, ConnectionState, Event, HistoryPage};
use switchyard_schema::body;
use switchyard_schema::frame::FetchRange;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Sequence, UserId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::builder::Builder;
use crate::command::{Command, SendOutcome, Status, Taken};
use crate::entropy;
use crate::error::{Error, SendFailure};
use crate::transport::NetworkId;

/// A device's client. Clones speak for the same device; when the last one is dropped the client closes.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) device: DeviceId,
}

impl Client {
    /// A client for the server at `url`, such as `wss://chat.example`, `quic://chat.example` over QUIC, or
    /// `ws://127.0.0.1:7400` without TLS.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
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

    /// The device has another address now, or is in another network: say so when the system does. A session over QUIC goes
    /// on from the new address, and neither loses nor repeats anything; a WebSocket whose address is gone is given up at once
    /// for a new connection, and not only after a long silence.
    ///
    /// `network` names where the device is now, so that the client remembers whether QUIC gets through there. With `None` it goes
    /// by the beginning of the device's address, by which it confuses networks that number their devices alike.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn network_changed(&self, network: Option<NetworkId>) -> Result<(), Error> {
        self.commands.send(Command::NetworkChanged(network)).await.map_err(|_| self.stopped())
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
    pub(crate) receiver: mpsc::Receiver<Event>,
    pub(crate) taken: Arc<Taken>,
    pub(crate) last: Option<(ConversationId, Sequence)>,
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

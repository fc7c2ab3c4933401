//! The task that drives the state machine: it owns socket, store and timers, and performs what the machine decides.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use switchyard_client_core as core;
use switchyard_client_core::{ConnectionState, Effect, Event, HistoryPage, StopReason, StoreOp};
use switchyard_schema::ids::{ClientMessageId, Millis};
use switchyard_schema::wire::FrameError;
use switchyard_schema::wire::{Encoder, parse_server};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::command::{Command, SendOutcome, Status, Taken};
use crate::error::{Error, SendFailure};
use crate::limits::{CLOSE_TIMEOUT, COMMANDS_PER_TURN_MAX, EVENTS_MAX, TOKEN_TIMEOUT};
use crate::store::Store;
use crate::token::{TokenError, TokenProvider, valid_for_ms};
use crate::transport::{Destination, NetworkId, Progress, Transport, TransportError};
use crate::waiting::Waiting;

type Opening = Pin<Box<dyn Future<Output = Result<Transport, TransportError>> + Send>>;
type Asking = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

pub(crate) struct Driver {
    pub(crate) core: core::Client,
    pub(crate) store: Option<Store>,
    pub(crate) destination: Arc<Destination>,
    pub(crate) tokens: TokenProvider,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) taken: Arc<Taken>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) session: Session,
}

/// What the driver holds between turns.
pub(crate) struct Session {
    started: Instant,
    transport: Option<Transport>,
    opening: Option<Opening>,
    asking: Option<Asking>,
    /// Events that found no room; while there are any a session is not read.
    waiting_events: Waiting,
    sends: HashMap<ClientMessageId, oneshot::Sender<SendOutcome>>,
    fetches: HashMap<u64, oneshot::Sender<Result<HistoryPage, Error>>>,
    /// Answers that may only be given once the effects of the turn are performed.
    replies: Vec<Box<dyn FnOnce() + Send>>,
    effects: Vec<Effect>,
    encoder: Encoder,
    farewell: Option<JoinHandle<()>>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            transport: None,
            opening: None,
            asking: None,
            waiting_events: Waiting::default(),
            sends: HashMap::new(),
            fetches: HashMap::new(),
            replies: Vec::new(),
            effects: Vec::new(),
            encoder: Encoder::new(),
            farewell: None,
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// What woke the driver.
enum Wake {
    Commands(Vec<Command>),
    Room,
    Taken,
    Opened(Result<Transport, TransportError>),
    Moved(Result<Progress, TransportError>),
    Token(Result<String, TokenError>),
    Time,
}

impl Driver {
    /// Runs until the client stops.
    pub(crate) async fn run(mut self) {
        self.core.start(self.session.now(), &mut self.session.effects);
        while self.perform().await && !matches!(self.core.state(), ConnectionState::Stopped(_)) {
            let wake = self.wait().await;
            self.handle(wake);
        }
        self.give_events();
        if let Some(farewell) = self.session.farewell.take() {
            // A task that failed has nothing left to say.
            let _ = farewell.await;
        }
    }

    async fn wait(&mut self) -> Wake {
        let Self { core, commands, events, taken, session, .. } = self;
        let room = session.waiting_events.is_empty();
        // What the server says before it welcomes is the machine's, and not for the application.
        let welcoming = core.state() != ConnectionState::Connected;
        let read = room || welcoming && !session.waiting_events.is_full();
        core.handle_listening(session.now(), read);
        let deadline = core.next_timeout().map(|at| session.started + Duration::from_millis(at.0));
        let Session { transport, opening, asking, .. } = session;
        let mut batch = Vec::new();
        tokio::select! {
            _ = commands.recv_many(&mut batch, COMMANDS_PER_TURN_MAX) => Wake::Commands(batch),
            _ = events.reserve(), if !room => Wake::Room,
            () = taken.news.notified() => Wake::Taken,
            opened = whenever(opening.as_mut()) => Wake::Opened(opened),
            moved = async { match transport {
                Some(transport) => transport.progress(read).await,
                None => pending().await,
            } } => Wake::Moved(moved),
            token = whenever(asking.as_mut()) => Wake::Token(token),
            () = async { match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            } } => Wake::Time,
        }
    }

    fn handle(&mut self, wake: Wake) {
        let now = self.session.now();
        match wake {
            Wake::Commands(commands) if commands.is_empty() => self.core.close(now, &mut self.session.effects),
            Wake::Commands(commands) => commands.into_iter().for_each(|command| self.on_command(now, command)),
            Wake::Room => self.give_events(),
            Wake::Taken => {
                for (conversation, sequence) in self.taken.take() {
                    self.core.taken(now, conversation, sequence, &mut self.session.effects);
                }
            }
            Wake::Opened(opened) => self.on_opened(now, opened),
            Wake::Moved(moved) => self.on_moved(now, moved),
            Wake::Token(token) => self.on_token(now, token),
            Wake::Time => {
                if self.session.transport.as_mut().is_some_and(Transport::is_heard) {
                    self.core.handle_received(now);
                }
                self.core.handle_timeout(now, &mut self.session.effects);
            }
        }
    }

    fn on_command(&mut self, now: Millis, command: Command) {
        let Session { effects, replies, sends, fetches, .. } = &mut self.session;
        match command {
            Command::Send { id, conversation, body, reply } => {
                let taken = self.core.send(now, id, conversation, body, effects).map(|()| {
                    let (sender, receiver) = oneshot::channel();
                    sends.insert(id, sender);
                    receiver
                });
                // Whoever dropped the other end does not want to know.
                replies.push(Box::new(move || drop(reply.send(taken))));
            }
            Command::MarkRead { conversation, sequence, reply } => {
                self.core.mark_read(now, conversation, sequence, effects);
                replies.push(Box::new(move || {
                    let _ = reply.send(());
                }));
            }
            Command::Fetch { conversation, range, limit, reply } => {
                match self.core.fetch(now, conversation, range, limit, effects) {
                    Ok(request) => drop(fetches.insert(request, reply)),
                    Err(refused) => drop(reply.send(Err(refused.into()))),
                }
            }
            Command::NetworkChanged(network) => self.on_network_changed(now, network),
            Command::Close => self.core.close(now, effects),
        }
    }

    fn on_network_changed(&mut self, now: Millis, network: Option<NetworkId>) {
        self.destination.enter(network);
        if let Some(opening) = &mut self.session.opening {
            *opening = Box::pin(Arc::clone(&self.destination).open());
        }
        if let Some(Err(error)) = self.session.transport.as_mut().map(Transport::network_changed) {
            self.on_moved(now, Err(error));
        }
    }

    fn on_opened(&mut self, now: Millis, opened: Result<Transport, TransportError>) {
        self.session.opening = None;
        match opened {
            Ok(transport) => {
                self.session.transport = Some(transport);
                self.core.handle_opened(now, &mut self.session.effects);
            }
            Err(error) => {
                tracing::info!(%error, "the connection could not be opened");
                self.core.handle_put_off(now, error.wait(), &mut self.session.effects);
            }
        }
    }

    fn on_moved(&mut self, now: Millis, moved: Result<Progress, TransportError>) {
        let Session { transport: Some(transport), effects, .. } = &mut self.session else { return };
        let core = &mut self.core;
        let decoded = moved.and_then(|progress| {
            if progress == Progress::Written {
                return Ok(());
            }
            core.handle_received(now);
            transport.decode(|bytes| match parse_server(bytes) {
                Ok(frame) => core.handle_frame(now, &frame, effects),
                // A newer server's; what it means for us it does not say.
                Err(FrameError::Unsupported { .. }) => {}
                Err(FrameError::UnknownErrorCode(error)) => core.handle_newer_error(now, &error, effects),
                Err(error) => {
                    tracing::warn!(%error, "the server sent a frame that cannot be read");
                    core.handle_protocol_error(now, effects);
                }
            })
        });
        if let Err(error) = decoded {
            tracing::info!(%error, "the connection is gone");
            self.session.transport = None;
            let left = self.session.effects.iter().any(|effect| matches!(effect, Effect::Disconnect));
            if !left {
                self.core.handle_put_off(now, error.wait(), &mut self.session.effects);
            }
        }
    }

    fn on_token(&mut self, now: Millis, token: Result<String, TokenError>) {
        self.session.asking = None;
        let effects = &mut self.session.effects;
        match token {
            Ok(token) => {
                let valid_for_ms = valid_for_ms(&token);
                self.core.handle_token(now, token, valid_for_ms, effects);
            }
            Err(error) => {
                tracing::warn!(%error, "there is no token");
                let for_good = matches!(error, TokenError::Refused(_));
                self.core.handle_token_failed(now, for_good, effects);
            }
        }
    }

    /// Performs the effects gathered in this turn: first everything that is to be stored, with one commit. Returns
    /// whether the client can go on.
    async fn perform(&mut self) -> bool {
        let effects = std::mem::take(&mut self.session.effects);
        let (stores, others): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Store(_)));
        if !self.commit(stores).await {
            return false;
        }
        for effect in others {
            self.perform_one(effect);
        }
        self.give_events();
        self.session.replies.drain(..).for_each(|reply| reply());
        true
    }

    async fn commit(&mut self, stores: Vec<Effect>) -> bool {
        let operations: Vec<StoreOp> = stores
            .into_iter()
            .filter_map(|effect| if let Effect::Store(operation) = effect { Some(operation) } else { None })
            .collect();
        if operations.is_empty() {
            return true;
        }
        let store = self.store.take().expect("given back after every commit");
        match store.commit(operations).await {
            Ok(store) => {
                self.store = Some(store);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store failed; the client stops");
                self.status.send_modify(|status| {
                    status.store_failed = true;
                    status.state = ConnectionState::Stopped(StopReason::Closed);
                });
                false
            }
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        let session = &mut self.session;
        match effect {
            Effect::Store(_) => unreachable!("committed before"),
            Effect::Connect => session.opening = Some(Box::pin(Arc::clone(&self.destination).open())),
            Effect::Transmit(frame) => {
                if let Some(transport) = &mut session.transport {
                    transport.send(session.encoder.client(&frame));
                }
            }
            Effect::Disconnect => {
                session.opening = None;
                if let Some(transport) = session.transport.take() {
                    let farewell = async move {
                        // The server may be gone already; then there is nobody to say goodbye to.
                        let _ = timeout(CLOSE_TIMEOUT, transport.close()).await;
                    };
                    session.farewell = Some(tokio::spawn(farewell));
                }
            }
            Effect::RequestToken => {
                let asked = self.tokens.ask();
                session.asking = Some(Box::pin(async move {
                    let late = || TokenError::Temporary("the token provider did not answer in time".to_owned());
                    timeout(TOKEN_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()))
                }));
            }
            Effect::Event(event) => self.on_event(event),
        }
    }

    /// Gives an event to whoever waits for exactly that, and to the application.
    fn on_event(&mut self, event: Event) {
        let session = &mut self.session;
        match event {
            Event::Page(page) => {
                if let Some(reply) = session.fetches.remove(&page.request) {
                    drop(reply.send(Ok(page)));
                }
                return;
            }
            Event::FetchFailed { request, code, reason } => {
                if let Some(reply) = session.fetches.remove(&request) {
                    drop(reply.send(Err(Error::FetchFailed { code, reason })));
                }
                return;
            }
            Event::MessageAccepted(accepted) => {
                if let Some(sender) = session.sends.remove(&accepted.client_message_id) {
                    drop(sender.send(Ok(accepted)));
                }
            }
            Event::SendFailed(ref failed) => {
                if let Some(sender) = session.sends.remove(&failed.client_message_id) {
                    let refused = SendFailure::Refused { code: failed.code, reason: failed.reason.clone() };
                    drop(sender.send(Err(refused)));
                }
            }
            Event::StateChanged(state) => {
                let user = self.core.user();
                self.status.send_modify(|status| (status.state, status.user) = (state, user));
            }
            _ => {}
        }
        if self.events.is_closed() {
            return;
        }
        session.waiting_events.push(event);
    }

    fn give_events(&mut self) {
        self.session.waiting_events.give(&self.events);
    }
}

/// Waits for a future that may not be there.
async fn whenever<F: Future + Unpin>(future: Option<&mut F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// A channel of events with room for [`EVENTS_MAX`].
pub(crate) fn event_channel() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(EVENTS_MAX)
}

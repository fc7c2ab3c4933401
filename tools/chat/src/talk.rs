//! The conversation: what is typed goes out, what arrives is shown, what became of a line is told.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use switchyard_client::{
    Client, ClientMessageId, ConnectionState, ConversationId, Event, Events, Sequence, TokenError as NoToken, UserId,
    Watermark,
};
use tokio::sync::mpsc;

use crate::options::{Options, Wait};
use crate::token;

/// Lines read and not yet sent.
const LINES_MAX: usize = 64;
/// Lines sent and not yet accepted: no more are read above it, so a file of any length can be piped in.
const UNACCEPTED_MAX: usize = 1_000;

/// How long to wait for a connection without a word.
const SILENT_WAIT: Duration = Duration::from_secs(2);

/// Why the program ends before it is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChatError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Token(#[from] token::TokenError),
    #[error("{0}")]
    Client(#[from] switchyard_client::Error),
    #[error("{failed} of the lines were refused by the server")]
    Refused { failed: usize },
    #[error("time is up: {accepted} lines accepted, {pending} not as far as asked, {arrived} messages arrived")]
    TimeUp { accepted: u64, pending: usize, arrived: u64 },
    #[error("the client stopped")]
    Stopped,
}

/// Runs until standard input ends and everything got as far as asked.
pub(crate) async fn talk(options: Options) -> Result<(), ChatError> {
    let interactive = io::stdin().is_terminal();
    let builder = Client::builder(&options.url).device(options.device);
    let builder = match (&options.token, options.user) {
        (Some(token), _) => builder.token(token),
        (None, user) => {
            let user = user.expect("the command line asks for a user where there is no token");
            token::sign(&options.data, user)?;
            let data = options.data.clone();
            builder.token_provider(move || {
                let signed = token::sign(&data, user).map_err(|error| NoToken::Refused(error.to_string()));
                async move { signed }
            })
        }
    };
    let builder = match &options.store {
        Some(path) => builder.store(path),
        None => builder,
    };
    let builder = match &options.ca {
        Some(path) => builder.certificate_authorities(path),
        None => builder,
    };
    let builder = match &options.quic {
        Some(address) => builder.quic(address),
        None => builder,
    };
    let (client, events) = builder.connect().await?;
    let timeout = options.timeout.filter(|_| !interactive).map(Duration::from_secs);
    let mut talk = Talk::new(client.clone(), options, interactive);
    let result = match timeout {
        Some(limit) => match tokio::time::timeout(limit, talk.run(events)).await {
            Ok(result) => result,
            Err(_) => Err(talk.time_up()),
        },
        None => talk.run(events).await,
    };
    client.close().await;
    result
}

/// The lines of standard input, read on a thread of their own because a read from a terminal cannot be given up.
fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Talk {
    client: Client,
    options: Options,
    interactive: bool,
    me: Option<UserId>,
    /// Lines that are not accepted yet.
    unaccepted: HashSet<ClientMessageId>,
    /// Accepted lines that have not got as far as asked.
    underway: BTreeSet<Sequence>,
    seen: Watermark,
    accepted: u64,
    arrived: u64,
    failed: usize,
}

impl Talk {
    fn new(client: Client, options: Options, interactive: bool) -> Self {
        let seen = Watermark { member: options.to, delivered: Sequence::ZERO, read: Sequence::ZERO };
        Self {
            client,
            options,
            interactive,
            me: None,
            unaccepted: HashSet::new(),
            underway: BTreeSet::new(),
            seen,
            accepted: 0,
            arrived: 0,
            failed: 0,
        }
    }

    async fn run(&mut self, mut events: Events) -> Result<(), ChatError> {
        self.me = Some(self.connected().await?);
        let mut lines = lines();
        let mut typing = true;
        while typing || !self.is_done() {
            tokio::select! {
                line = lines.recv(), if typing && self.unaccepted.len() < UNACCEPTED_MAX => match line {
                    Some(line) => self.on_line(&line?).await?,
                    None => typing = false,
                },
                event = events.next() => match event {
                    Some(event) => self.on_event(event).await?,
                    None => return Err(self.client.connected().await.map_or_else(Into::into, |_| ChatError::Stopped)),
                },
            }
        }
        events.done();
        match self.failed {
            0 => Ok(()),
            failed => Err(ChatError::Refused { failed }),
        }
    }

    /// Waits for the connection, and says so when it takes long.
    async fn connected(&self) -> Result<UserId, ChatError> {
        let patience = tokio::time::timeout(SILENT_WAIT, self.client.connected());
        if let Ok(connected) = patience.await {
            return Ok(connected?);
        }
        let trust = if self.options.quic.is_some() || !self.options.url.starts_with("ws:") {
            ", and its certificate trusted (--ca)"
        } else {
            ""
        };
        eprintln!("no connection to {} yet; is the server running there{trust}? trying again …", self.options.url);
        Ok(self.client.connected().await?)
    }

    fn is_done(&self) -> bool {
        self.unaccepted.is_empty() && self.underway.is_empty() && self.arrived >= self.options.expect
    }

    fn time_up(&self) -> ChatError {
        let pending = self.unaccepted.len() + self.underway.len();
        ChatError::TimeUp { accepted: self.accepted, pending, arrived: self.arrived }
    }

    fn conversation(&self) -> ConversationId {
        ConversationId::direct(self.me.expect("connected before anything is sent"), self.options.to)
    }

    async fn on_line(&mut self, line: &str) -> Result<(), ChatError> {
        if line.is_empty() {
            return Ok(());
        }
        match self.client.send_text(self.conversation(), line).await {
            Ok(handle) => {
                self.unaccepted.insert(handle.id());
            }
            Err(error @ switchyard_client::Error::InvalidText(_)) => {
                self.failed += 1;
                eprintln!("not sent: {error}");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn on_event(&mut self, event: Event) -> Result<(), ChatError> {
        match event {
            Event::MessageReceived(message) => {
                print(&format!("{}: {}", message.sender, message.text().unwrap_or("(not a text)")))?;
                self.client.mark_read(message.conversation, message.sequence).await?;
                self.arrived += u64::from(message.origin.is_none());
            }
            Event::MessageAccepted(accepted) if self.unaccepted.remove(&accepted.client_message_id) => {
                self.accepted += 1;
                self.tell(&format!("✓ accepted as {}", accepted.sequence.0));
                if self.reached() < accepted.sequence {
                    self.underway.insert(accepted.sequence);
                }
            }
            Event::SendFailed(failed) if self.unaccepted.remove(&failed.client_message_id) => {
                self.failed += 1;
                eprintln!("not sent: {} ({})", failed.code, failed.reason);
            }
            Event::ReceiptChanged { conversation, watermark }
                if conversation == self.conversation() && watermark.member == self.options.to =>
            {
                self.on_receipt(watermark);
            }
            Event::StateChanged(ConnectionState::Stopped(_)) => {}
            Event::StateChanged(state) => self.tell(&format!("({state:?})").to_lowercase()),
            Event::MessagesMissing { range, .. } => {
                eprintln!("messages {} to {} are gone from the server", range.from.0, range.to.0);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_receipt(&mut self, watermark: Watermark) {
        if watermark.delivered > self.seen.delivered {
            self.tell(&format!("✓✓ delivered up to {}", watermark.delivered.0));
        }
        if watermark.read > self.seen.read {
            self.tell(&format!("✓✓ read up to {}", watermark.read.0));
        }
        self.seen = watermark;
        self.underway = self.underway.split_off(&self.reached().next());
    }

    /// Own messages up to here have got as far as asked.
    fn reached(&self) -> Sequence {
        match self.options.wait {
            Wait::Accepted => Sequence(u64::MAX - 1),
            Wait::Delivered => self.seen.delivered,
            Wait::Read => self.seen.read,
        }
    }

    /// Says what happens, to a person.
    fn tell(&self, text: &str) {
        if self.interactive {
            eprintln!("  {text}");
        }
    }
}

/// A line of output that somebody may read through a pipe at once.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

//! What handles of a client ask of its driver, and what they see of it.

use std::sync::Mutex;

use bytes::Bytes;
use switchyard_client_core::{AcceptedMessage, ConnectionState, HistoryPage, SendRefused};
use switchyard_schema::frame::FetchRange;
use switchyard_schema::ids::{ClientMessageId, ConversationId, Sequence, UserId};
use tokio::sync::{Notify, oneshot};

use crate::error::{Error, SendFailure};
use crate::transport::NetworkId;

pub(crate) type SendOutcome = Result<AcceptedMessage, SendFailure>;

/// A verb of the application.
pub(crate) enum Command {
    Send {
        id: ClientMessageId,
        conversation: ConversationId,
        body: Bytes,
        /// Answered when the message is in the outbox.
        reply: oneshot::Sender<Result<oneshot::Receiver<SendOutcome>, SendRefused>>,
    },
    MarkRead {
        conversation: ConversationId,
        sequence: Sequence,
        reply: oneshot::Sender<()>,
    },
    Fetch {
        conversation: ConversationId,
        range: FetchRange,
        limit: u32,
        reply: oneshot::Sender<Result<HistoryPage, Error>>,
    },
    NetworkChanged(Option<NetworkId>),
    Close,
}

/// What every handle of the client can see.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) state: ConnectionState,
    pub(crate) user: Option<UserId>,
    pub(crate) store_failed: bool,
}

/// Messages that the application has taken and the driver has not heard of: at most as many as its inbox holds.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    messages: Mutex<Vec<(ConversationId, Sequence)>>,
    pub(crate) news: Notify,
}

impl Taken {
    pub(crate) fn push(&self, conversation: ConversationId, sequence: Sequence) {
        self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((conversation, sequence));
        self.news.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<(ConversationId, Sequence)> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

//! Bytes to typed frames: verify, then read every field against its bounds.

use std::borrow::Cow;

use super::{verified, verifier_options};
use crate::body;
use crate::error::ErrorCode;
use crate::frame::{
    Accepted, Ack, ClientFrame, Deliver, ErrorFrame, Fetch, FetchRange, Hello, Page, Receipt, Regarding, Send,
    ServerFrame, VoidRange, Watermark, Welcome,
};
use crate::frame_error::{FrameError, NewerError};
use crate::generated as fb;
use crate::generated::FrameBody;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};
use crate::limits;

/// What a `body_as_*` accessor gives when the discriminant says otherwise, which the caller has just ruled out.
const NO_BODY: FrameError = FrameError::malformed("it has no body");

/// Parses a client's frame, as a server does.
///
/// # Errors
/// [`FrameError`] says what to answer. Nothing of the frame has had an effect.
pub fn parse_client(bytes: &[u8]) -> Result<ClientFrame<'_>, FrameError> {
    let frame = root(bytes, limits::CLIENT_FRAME_BYTES_MAX, limits::FRAME_TABLES_MAX)?;
    match frame.body_type() {
        FrameBody::Hello => hello(frame.body_as_hello().ok_or(NO_BODY)?).map(ClientFrame::Hello),
        FrameBody::Renew => renew(frame.body_as_renew().ok_or(NO_BODY)?),
        FrameBody::Send => send(frame.body_as_send().ok_or(NO_BODY)?).map(ClientFrame::Send),
        FrameBody::Ack => ack(frame.body_as_ack().ok_or(NO_BODY)?).map(ClientFrame::Ack),
        FrameBody::Fetch => fetch(frame.body_as_fetch().ok_or(NO_BODY)?).map(ClientFrame::Fetch),
        FrameBody::Ping => Ok(ClientFrame::Ping { nonce: frame.body_as_ping().ok_or(NO_BODY)?.nonce() }),
        FrameBody::Bye => Ok(ClientFrame::Bye),
        FrameBody::NONE => Err(NO_BODY),
        _ => Err(FrameError::Unsupported { regarding: Regarding::Session }),
    }
}

/// Parses a server's frame, as a client does.
///
/// # Errors
/// [`FrameError`]; [`FrameError::Unsupported`] comes from a newer server and is to be passed over;
/// [`FrameError::UnknownErrorCode`] as well, and is to be taken for what it says of itself.
pub fn parse_server(bytes: &[u8]) -> Result<ServerFrame<'_>, FrameError> {
    let frame = root(bytes, limits::SERVER_FRAME_BYTES_MAX, limits::SERVER_FRAME_TABLES_MAX)?;
    match frame.body_type() {
        FrameBody::Welcome => welcome(frame.body_as_welcome().ok_or(NO_BODY)?).map(ServerFrame::Welcome),
        FrameBody::Accepted => accepted(frame.body_as_accepted().ok_or(NO_BODY)?).map(ServerFrame::Accepted),
        FrameBody::Deliver => deliver(frame.body_as_deliver().ok_or(NO_BODY)?).map(ServerFrame::Deliver),
        FrameBody::Receipt => receipt(frame.body_as_receipt().ok_or(NO_BODY)?).map(ServerFrame::Receipt),
        FrameBody::Page => page(frame.body_as_page().ok_or(NO_BODY)?).map(ServerFrame::Page),
        FrameBody::Error => error(frame.body_as_error().ok_or(NO_BODY)?).map(ServerFrame::Error),
        FrameBody::Pong => Ok(ServerFrame::Pong { nonce: frame.body_as_pong().ok_or(NO_BODY)?.nonce() }),
        FrameBody::Drain => {
            let drain = frame.body_as_drain().ok_or(NO_BODY)?;
            Ok(ServerFrame::Drain { reconnect_after_ms: drain.reconnect_after_ms() })
        }
        FrameBody::NONE => Err(NO_BODY),
        _ => Err(FrameError::Unsupported { regarding: Regarding::Session }),
    }
}

fn root(bytes: &[u8], bytes_max: usize, tables_max: usize) -> Result<fb::Frame<'_>, FrameError> {
    if bytes.len() > bytes_max {
        return Err(FrameError::too_large("frame", bytes_max, "bytes"));
    }
    verified::<fb::Frame<'_>>(bytes, &verifier_options(bytes.len(), tables_max)).map_err(FrameError::malformed)
}

fn hello(hello: fb::Hello<'_>) -> Result<Hello<'_>, FrameError> {
    let token = hello.token().map(token).transpose()?;
    Ok(Hello { token, device: device(hello.device())? })
}

fn renew(renew: fb::Renew<'_>) -> Result<ClientFrame<'_>, FrameError> {
    let text = renew.token().ok_or(FrameError::invalid("token", "is missing"))?;
    Ok(ClientFrame::Renew { token: token(text)? })
}

fn send(send: fb::Send<'_>) -> Result<Send<'_>, FrameError> {
    let client_message_id = client_message_id(send.client_message_id())?;
    let rest = || {
        let conversation = conversation(send.conversation())?;
        let body = body_bytes(send.body())?;
        body::check(body)?;
        Ok((conversation, Cow::Borrowed(body)))
    };
    let (conversation, body) = rest().map_err(|error: FrameError| error.about(Regarding::Send(client_message_id)))?;
    Ok(Send { client_message_id, conversation, body })
}

fn ack(ack: fb::Ack<'_>) -> Result<Ack, FrameError> {
    let conversation = conversation(ack.conversation())?;
    let (delivered, read) = (ack.delivered().map(Sequence), ack.read().map(Sequence));
    if delivered.is_none() && read.is_none() {
        return Err(FrameError::invalid("delivered", "is missing, and so is read"));
    }
    Ok(Ack { conversation, delivered, read })
}

fn fetch(fetch: fb::Fetch<'_>) -> Result<Fetch, FrameError> {
    let request = fetch.request();
    let rest = || {
        let conversation = conversation(fetch.conversation())?;
        let range = fetch_range(fetch.after(), fetch.before())?;
        Ok((conversation, range, fetch_limit(fetch.limit())?))
    };
    let (conversation, range, limit) = rest().map_err(|error: FrameError| error.about(Regarding::Request(request)))?;
    Ok(Fetch { request, conversation, range, limit })
}

fn welcome(welcome: fb::Welcome<'_>) -> Result<Welcome, FrameError> {
    Ok(Welcome {
        user: user("user", welcome.user())?,
        device: device(welcome.device())?,
        heartbeat_ms: welcome.heartbeat_ms(),
        max_frame_bytes: welcome.max_frame_bytes(),
        delivery_window: welcome.delivery_window(),
        max_pending_sends: welcome.max_pending_sends(),
        time: Millis(welcome.time_ms()),
    })
}

fn accepted(accepted: fb::Accepted<'_>) -> Result<Accepted, FrameError> {
    let (message, sequence, time) = stamp(accepted.stamp())?;
    Ok(Accepted {
        client_message_id: client_message_id(accepted.client_message_id())?,
        conversation: conversation(accepted.conversation())?,
        message,
        sequence,
        time,
    })
}

fn deliver(deliver: fb::Deliver<'_>) -> Result<Deliver<'_>, FrameError> {
    let body = body_bytes(deliver.body())?;
    body::parse(body)?;
    let (message, sequence, time) = stamp(deliver.stamp())?;
    let origin = match (DeviceId::new(deliver.device()), deliver.client_message_id()) {
        (Some(device), Some(id)) => Some((device, uuid(id))),
        _ => None,
    };
    Ok(Deliver {
        conversation: conversation(deliver.conversation())?,
        message,
        sequence,
        sender: user("sender", deliver.sender())?,
        time,
        origin,
        body: Cow::Borrowed(body),
    })
}

fn receipt(receipt: fb::Receipt<'_>) -> Result<Receipt, FrameError> {
    let mark = receipt.watermark().ok_or(FrameError::invalid("watermark", "is missing"))?;
    Ok(Receipt { conversation: conversation(receipt.conversation())?, watermark: watermark(mark)? })
}

fn page(page: fb::Page<'_>) -> Result<Page<'_>, FrameError> {
    let (messages, void, watermarks) = (page.messages(), page.void(), page.watermarks());
    if messages.is_some_and(|list| list.len() > limits::PAGE_MESSAGES_MAX as usize) {
        return Err(FrameError::too_large("messages", limits::PAGE_MESSAGES_MAX as usize, "messages"));
    }
    let range = |range: &fb::VoidRange| VoidRange { from: Sequence(range.from()), to: Sequence(range.to()) };
    Ok(Page {
        request: page.request(),
        conversation: conversation(page.conversation())?,
        messages: messages.iter().flatten().map(deliver).collect::<Result<_, _>>()?,
        void: void.iter().flatten().map(range).collect(),
        watermarks: watermarks.iter().flatten().map(watermark).collect::<Result<_, _>>()?,
        more: page.more(),
    })
}

fn error(error: fb::Error<'_>) -> Result<ErrorFrame<'_>, FrameError> {
    let regarding = match (error.client_message_id(), error.request()) {
        (Some(id), _) => Regarding::Send(uuid(id)),
        (None, Some(request)) => Regarding::Request(request),
        (None, None) => Regarding::Session,
    };
    let (reason, retry_after_ms) = (error.reason().unwrap_or_default(), error.retry_after_ms());
    let Some(code) = ErrorCode::from_number(error.code()) else {
        return Err(FrameError::UnknownErrorCode(Box::new(NewerError {
            code: error.code(),
            reason: reason.to_owned(),
            fatal: error.fatal(),
            retry: error.retry(),
            retry_after_ms,
            regarding,
        })));
    };
    Ok(ErrorFrame { code, reason: Cow::Borrowed(reason), retry_after_ms, regarding })
}

/// Which part of a history a Fetch names; exactly one of the two.
pub(crate) fn fetch_range(after: Option<u64>, before: Option<u64>) -> Result<FetchRange, FrameError> {
    match (after, before) {
        (Some(after), None) => Ok(FetchRange::After(Sequence(after))),
        (None, Some(before)) => Ok(FetchRange::Before(Sequence(before))),
        (None, None) => Err(FrameError::invalid("after", "is missing, and so is before")),
        (Some(_), Some(_)) => Err(FrameError::invalid("before", "cannot stand beside after")),
    }
}

pub(crate) fn fetch_limit(limit: Option<u32>) -> Result<u32, FrameError> {
    match limit {
        Some(limit) if limit <= limits::PAGE_MESSAGES_MAX => Ok(limit),
        Some(_) => Err(FrameError::invalid("limit", "is more than 100")),
        None => Err(FrameError::invalid("limit", "is missing")),
    }
}

pub(crate) fn check_token(token: &str) -> Result<(), FrameError> {
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(FrameError::too_large("token", limits::TOKEN_BYTES_MAX, "bytes"));
    }
    if token.is_empty() { Err(FrameError::invalid("token", "is empty")) } else { Ok(()) }
}

fn token(text: &str) -> Result<Cow<'_, str>, FrameError> {
    check_token(text)?;
    Ok(Cow::Borrowed(text))
}

fn user(field: &'static str, number: u64) -> Result<UserId, FrameError> {
    UserId::new(number).ok_or(FrameError::invalid(field, "is missing or zero"))
}

fn device(number: u64) -> Result<DeviceId, FrameError> {
    DeviceId::new(number).ok_or(FrameError::invalid("device", "is missing or zero"))
}

fn conversation(words: Option<&fb::Conversation>) -> Result<ConversationId, FrameError> {
    let words = words.ok_or(FrameError::invalid("conversation", "is missing"))?;
    ConversationId::from_words(words.high(), words.low())
        .ok_or(FrameError::invalid("conversation", "is neither (smaller user, larger user) nor (0, group)"))
}

fn client_message_id(id: Option<&fb::Uuid>) -> Result<ClientMessageId, FrameError> {
    id.map(uuid).ok_or(FrameError::invalid("client_message_id", "is missing"))
}

fn uuid(words: &fb::Uuid) -> ClientMessageId {
    ClientMessageId::from_words(words.high(), words.low())
}

fn stamp(stamp: Option<&fb::Stamp>) -> Result<(MessageId, Sequence, Millis), FrameError> {
    let stamp = stamp.ok_or(FrameError::invalid("stamp", "is missing"))?;
    let message = MessageId::new(stamp.message()).ok_or(FrameError::invalid("message", "is zero"))?;
    if stamp.sequence() == 0 {
        return Err(FrameError::invalid("sequence", "is zero"));
    }
    Ok((message, Sequence(stamp.sequence()), Millis(stamp.time_ms())))
}

fn watermark(mark: &fb::Watermark) -> Result<Watermark, FrameError> {
    Ok(Watermark {
        member: user("member", mark.member())?,
        delivered: Sequence(mark.delivered()),
        read: Sequence(mark.read()),
    })
}

fn body_bytes(bytes: Option<flatbuffers::Vector<'_, u8>>) -> Result<&[u8], FrameError> {
    Ok(bytes.ok_or(FrameError::invalid("body", "is missing"))?.bytes())
}

//! Frames of the server: written by the server, parsed by our own JSON clients.

use std::borrow::Cow;

use serde::Deserialize;

use super::field::{Node, RawBody, RawConversation, Scalar, canonical_decimal, missing, object_of};
use super::object::Object;
use crate::error::ErrorCode;
use crate::frame::{
    Accepted, Deliver, ErrorFrame, Page, Receipt, Regarding, ServerFrame, VoidRange, Watermark, Welcome,
};
use crate::frame_error::{FrameError, NewerError};
use crate::ids::{ClientMessageId, DeviceId, UserId};
use crate::limits;

/// Appends a server's frame to `out`, as the session of the user `me` gets it.
///
/// # Panics
/// When it names a direct conversation that `me` is not in.
pub fn encode_server(frame: &ServerFrame<'_>, me: UserId, out: &mut Vec<u8>) {
    match frame {
        ServerFrame::Welcome(welcome) => write_welcome(welcome, out),
        ServerFrame::Accepted(accepted) => write_accepted(accepted, me, out),
        ServerFrame::Deliver(message) => write_deliver(&mut Object::frame(out, "deliver"), message, me),
        ServerFrame::Receipt(receipt) => {
            let mut object = Object::frame(out, "receipt");
            object.conversation(receipt.conversation, me);
            write_watermark(&mut object, &receipt.watermark);
        }
        ServerFrame::Page(page) => write_page(page, me, out),
        ServerFrame::Error(error) => write_error(error, out),
        ServerFrame::Pong { nonce } => Object::frame(out, "pong").plain("nonce", nonce),
        ServerFrame::Drain { reconnect_after_ms } => {
            Object::frame(out, "drain").bare("reconnect_after_ms", reconnect_after_ms);
        }
    }
}

fn write_welcome(welcome: &Welcome, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, "welcome");
    object.plain("user", welcome.user);
    object.plain("device", welcome.device);
    object.bare("heartbeat_ms", welcome.heartbeat_ms);
    object.bare("max_frame_bytes", welcome.max_frame_bytes);
    object.bare("delivery_window", welcome.delivery_window);
    object.bare("max_pending_sends", welcome.max_pending_sends);
    object.plain("time_ms", welcome.time.0);
}

fn write_accepted(accepted: &Accepted, me: UserId, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, "accepted");
    object.plain("client_message_id", accepted.client_message_id);
    object.conversation(accepted.conversation, me);
    object.plain("message", accepted.message);
    object.plain("sequence", accepted.sequence.0);
    object.plain("time_ms", accepted.time.0);
}

fn write_deliver(object: &mut Object<'_>, message: &Deliver<'_>, me: UserId) {
    object.conversation(message.conversation, me);
    object.plain("message", message.message);
    object.plain("sequence", message.sequence.0);
    object.plain("sender", message.sender);
    object.plain("time_ms", message.time.0);
    if let Some((device, id)) = message.origin {
        object.plain("device", device);
        object.plain("client_message_id", id);
    }
    object.body(&message.body);
}

fn write_watermark(object: &mut Object<'_>, mark: &Watermark) {
    object.plain("member", mark.member);
    object.plain("delivered", mark.delivered.0);
    object.plain("read", mark.read.0);
}

fn write_page(page: &Page<'_>, me: UserId, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, "page");
    object.plain("request", page.request);
    object.conversation(page.conversation, me);
    object.list("messages", &page.messages, |object, message| write_deliver(object, message, me));
    object.list("void", &page.void, |object, range| {
        object.plain("from", range.from.0);
        object.plain("to", range.to.0);
    });
    object.list("watermarks", &page.watermarks, write_watermark);
    object.bare("more", page.more);
}

fn write_error(error: &ErrorFrame<'_>, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, "error");
    object.bare("code", error.code as u16);
    object.text("name", error.code.name());
    object.text("reason", &error.reason);
    object.bare("fatal", error.code.fatal());
    object.bare("retry", error.code.retry());
    match error.retry_after_ms {
        Some(after) => object.bare("retry_after_ms", after),
        None => object.null("retry_after_ms"),
    }
    match error.regarding {
        Regarding::Session => object.null("regarding"),
        Regarding::Send(id) => object.plain("regarding", id),
        Regarding::Request(request) => object.plain("regarding", request),
    }
}

/// The fields of frames without a list or a message in them.
#[derive(Deserialize)]
struct RawServer<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    user: Scalar<'a>,
    #[serde(borrow, default)]
    device: Scalar<'a>,
    #[serde(borrow, default)]
    heartbeat_ms: Scalar<'a>,
    #[serde(borrow, default)]
    max_frame_bytes: Scalar<'a>,
    #[serde(borrow, default)]
    delivery_window: Scalar<'a>,
    #[serde(borrow, default)]
    max_pending_sends: Scalar<'a>,
    #[serde(borrow, default)]
    time_ms: Scalar<'a>,
    #[serde(borrow, default)]
    client_message_id: Scalar<'a>,
    #[serde(borrow, default)]
    conversation: Node<RawConversation<'a>>,
    #[serde(borrow, default)]
    message: Scalar<'a>,
    #[serde(borrow, default)]
    sequence: Scalar<'a>,
    #[serde(borrow, default)]
    code: Scalar<'a>,
    #[serde(borrow, default)]
    reason: Scalar<'a>,
    #[serde(borrow, default)]
    fatal: Scalar<'a>,
    #[serde(borrow, default)]
    retry: Scalar<'a>,
    #[serde(borrow, default)]
    retry_after_ms: Scalar<'a>,
    #[serde(borrow, default)]
    regarding: Scalar<'a>,
    #[serde(borrow, default)]
    nonce: Scalar<'a>,
    #[serde(borrow, default)]
    reconnect_after_ms: Scalar<'a>,
}

/// The fields of a Deliver, on its own or on a Page.
#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default)]
    conversation: Node<RawConversation<'a>>,
    #[serde(borrow, default)]
    message: Scalar<'a>,
    #[serde(borrow, default)]
    sequence: Scalar<'a>,
    #[serde(borrow, default)]
    sender: Scalar<'a>,
    #[serde(borrow, default)]
    time_ms: Scalar<'a>,
    #[serde(borrow, default)]
    device: Scalar<'a>,
    #[serde(borrow, default)]
    client_message_id: Scalar<'a>,
    #[serde(borrow, default)]
    body: Node<RawBody<'a>>,
}

/// The fields of a Receipt; those of a watermark on a Page have no conversation.
#[derive(Deserialize)]
struct RawWatermark<'a> {
    #[serde(borrow, default)]
    conversation: Node<RawConversation<'a>>,
    #[serde(borrow, default)]
    member: Scalar<'a>,
    #[serde(borrow, default)]
    delivered: Scalar<'a>,
    #[serde(borrow, default)]
    read: Scalar<'a>,
}

#[derive(Deserialize)]
struct RawVoid<'a> {
    #[serde(borrow, default)]
    from: Scalar<'a>,
    #[serde(borrow, default)]
    to: Scalar<'a>,
}

#[derive(Deserialize)]
struct RawPage<'a> {
    #[serde(borrow, default)]
    request: Scalar<'a>,
    #[serde(borrow, default)]
    conversation: Node<RawConversation<'a>>,
    #[serde(borrow, default)]
    messages: Option<Vec<RawMessage<'a>>>,
    #[serde(borrow, default)]
    void: Option<Vec<RawVoid<'a>>>,
    #[serde(borrow, default)]
    watermarks: Option<Vec<RawWatermark<'a>>>,
    #[serde(borrow, default)]
    more: Scalar<'a>,
}

/// Parses a server's frame, as a client of the user `me` does.
///
/// # Errors
/// [`FrameError`]; [`FrameError::Unsupported`] comes from a newer server and is to be passed over;
/// [`FrameError::UnknownErrorCode`] as well, and is to be taken for what it says of itself.
pub fn parse_server(text: &str, me: UserId) -> Result<ServerFrame<'_>, FrameError> {
    if text.len() > limits::SERVER_JSON_BYTES_MAX {
        return Err(FrameError::too_large("frame", limits::SERVER_JSON_BYTES_MAX, "bytes"));
    }
    let raw = object_of::<RawServer<'_>>(text)?;
    let kind = if let Scalar::Text(kind) = &raw.kind { kind.as_ref() } else { "" };
    match kind {
        "welcome" => raw.welcome().map(ServerFrame::Welcome),
        "accepted" => raw.accepted(me).map(ServerFrame::Accepted),
        "deliver" => object_of::<RawMessage<'_>>(text)?.deliver(me).map(ServerFrame::Deliver),
        "receipt" => {
            let receipt = object_of::<RawWatermark<'_>>(text)?;
            let conversation = receipt.conversation.conversation(Some(me))?;
            Ok(ServerFrame::Receipt(Receipt { conversation, watermark: receipt.watermark()? }))
        }
        "page" => object_of::<RawPage<'_>>(text)?.page(me).map(ServerFrame::Page),
        "error" => raw.error().map(ServerFrame::Error),
        "pong" => Ok(ServerFrame::Pong { nonce: raw.nonce.number_or_zero("nonce")? }),
        "drain" => {
            let reconnect_after_ms = raw.reconnect_after_ms.small("reconnect_after_ms")?.unwrap_or_default();
            Ok(ServerFrame::Drain { reconnect_after_ms })
        }
        "" => Err(FrameError::malformed("type is missing")),
        _ => Err(FrameError::Unsupported { regarding: Regarding::Session }),
    }
}

impl<'a> RawServer<'a> {
    fn welcome(&self) -> Result<Welcome, FrameError> {
        let small = |value: &Scalar<'_>, field| value.small(field)?.ok_or(missing(field));
        Ok(Welcome {
            user: self.user.user("user")?,
            device: self.device.device()?,
            heartbeat_ms: small(&self.heartbeat_ms, "heartbeat_ms")?,
            max_frame_bytes: small(&self.max_frame_bytes, "max_frame_bytes")?,
            delivery_window: small(&self.delivery_window, "delivery_window")?,
            max_pending_sends: small(&self.max_pending_sends, "max_pending_sends")?,
            time: self.time_ms.time()?,
        })
    }

    fn accepted(&self, me: UserId) -> Result<Accepted, FrameError> {
        Ok(Accepted {
            client_message_id: self.client_message_id.client_message_id()?.ok_or(missing("client_message_id"))?,
            conversation: self.conversation.conversation(Some(me))?,
            message: self.message.message()?,
            sequence: self.sequence.place()?,
            time: self.time_ms.time()?,
        })
    }

    fn error(self) -> Result<ErrorFrame<'a>, FrameError> {
        let number = self.code.small("code")?.ok_or(missing("code"))?;
        let number = u16::try_from(number).map_err(|_| FrameError::invalid("code", "is too large"))?;
        let regarding = match self.regarding.text("regarding")? {
            None => Regarding::Session,
            Some(text) => regarding(&text)?,
        };
        let reason = self.reason.text("reason")?.unwrap_or_default();
        let retry_after_ms = self.retry_after_ms.small("retry_after_ms")?;
        let Some(code) = ErrorCode::from_number(number) else {
            return Err(FrameError::UnknownErrorCode(Box::new(NewerError {
                code: number,
                reason: reason.into_owned(),
                fatal: self.fatal.flag("fatal")?,
                retry: self.retry.flag("retry")?,
                retry_after_ms,
                regarding,
            })));
        };
        Ok(ErrorFrame { code, reason, retry_after_ms, regarding })
    }
}

impl RawMessage<'_> {
    fn deliver(self, me: UserId) -> Result<Deliver<'static>, FrameError> {
        let device = self.device.decimal("device")?.and_then(DeviceId::new);
        let client_message_id = self.client_message_id.client_message_id()?;
        Ok(Deliver {
            conversation: self.conversation.conversation(Some(me))?,
            message: self.message.message()?,
            sequence: self.sequence.place()?,
            sender: self.sender.user("sender")?,
            time: self.time_ms.time()?,
            origin: device.zip(client_message_id),
            body: Cow::Owned(self.body.encoded()?),
        })
    }
}

impl RawWatermark<'_> {
    fn watermark(&self) -> Result<Watermark, FrameError> {
        Ok(Watermark {
            member: self.member.user("member")?,
            delivered: self.delivered.sequence("delivered")?.unwrap_or_default(),
            read: self.read.sequence("read")?.unwrap_or_default(),
        })
    }
}

impl RawVoid<'_> {
    fn range(&self) -> Result<VoidRange, FrameError> {
        let end = |value: &Scalar<'_>, field| value.sequence(field)?.ok_or(missing(field));
        Ok(VoidRange { from: end(&self.from, "from")?, to: end(&self.to, "to")? })
    }
}

impl RawPage<'_> {
    fn page(self, me: UserId) -> Result<Page<'static>, FrameError> {
        let messages = self.messages.unwrap_or_default();
        if messages.len() > limits::PAGE_MESSAGES_MAX as usize {
            return Err(FrameError::too_large("messages", limits::PAGE_MESSAGES_MAX as usize, "messages"));
        }
        Ok(Page {
            request: self.request.decimal("request")?.ok_or(missing("request"))?,
            conversation: self.conversation.conversation(Some(me))?,
            messages: messages.into_iter().map(|message| message.deliver(me)).collect::<Result<_, _>>()?,
            void: self.void.iter().flatten().map(RawVoid::range).collect::<Result<_, _>>()?,
            watermarks: self.watermarks.iter().flatten().map(RawWatermark::watermark).collect::<Result<_, _>>()?,
            more: self.more.flag("more")?,
        })
    }
}

/// A UUID names a Send, a number a Fetch; no text is both.
fn regarding(text: &str) -> Result<Regarding, FrameError> {
    let send = ClientMessageId::from_text(text).map(Regarding::Send);
    send.or_else(|| canonical_decimal(text).map(Regarding::Request))
        .ok_or(FrameError::invalid("regarding", "is neither a UUID nor a number"))
}

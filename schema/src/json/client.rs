//! Frames of clients: parsed by the server, written by our own JSON clients.

use std::borrow::Cow;

use serde::Deserialize;

use super::field::{Node, RawBody, RawConversation, Scalar, missing, object_of};
use super::object::Object;
use crate::frame::{Ack, ClientFrame, Fetch, FetchRange, Hello, Regarding, Send};
use crate::frame_error::FrameError;
use crate::ids::UserId;
use crate::limits;
use crate::wire::{check_token, fetch_limit, fetch_range};

/// Every field that some frame of a client has.
#[derive(Deserialize)]
struct RawClient<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    token: Scalar<'a>,
    #[serde(borrow, default)]
    device: Scalar<'a>,
    #[serde(borrow, default)]
    client_message_id: Scalar<'a>,
    #[serde(borrow, default)]
    conversation: Node<RawConversation<'a>>,
    #[serde(borrow, default)]
    body: Node<RawBody<'a>>,
    #[serde(borrow, default)]
    delivered: Scalar<'a>,
    #[serde(borrow, default)]
    read: Scalar<'a>,
    #[serde(borrow, default)]
    request: Scalar<'a>,
    #[serde(borrow, default)]
    after: Scalar<'a>,
    #[serde(borrow, default)]
    before: Scalar<'a>,
    #[serde(borrow, default)]
    limit: Scalar<'a>,
    #[serde(borrow, default)]
    nonce: Scalar<'a>,
}

/// Parses a client's frame, as a server does. `me` is the session's user, once Hello has said it.
///
/// # Errors
/// [`FrameError`] says what to answer. Nothing of the frame has had an effect.
pub fn parse_client(text: &str, me: Option<UserId>) -> Result<ClientFrame<'_>, FrameError> {
    if text.len() > limits::CLIENT_FRAME_BYTES_MAX {
        return Err(FrameError::too_large("frame", limits::CLIENT_FRAME_BYTES_MAX, "bytes"));
    }
    let raw = object_of::<RawClient<'_>>(text)?;
    let subject = raw.subject();
    raw.into_frame(me).map_err(|error| error.about(subject))
}

impl<'a> RawClient<'a> {
    /// What a refusal of this frame is about, as far as it can be read.
    fn subject(&self) -> Regarding {
        match (self.kind_name(), self.client_message_id.client_message_id(), self.request.decimal("request")) {
            ("hello" | "renew" | "ack" | "ping" | "bye", ..) => Regarding::Session,
            ("send", Ok(Some(id)), _) => Regarding::Send(id),
            ("fetch", _, Ok(Some(request))) => Regarding::Request(request),
            ("send" | "fetch", ..) => Regarding::Session,
            (_, Ok(Some(id)), _) => Regarding::Send(id),
            (_, _, Ok(Some(request))) => Regarding::Request(request),
            _ => Regarding::Session,
        }
    }

    fn kind_name(&self) -> &str {
        if let Scalar::Text(kind) = &self.kind { kind } else { "" }
    }

    fn into_frame(self, me: Option<UserId>) -> Result<ClientFrame<'a>, FrameError> {
        match self.kind_name() {
            "hello" => {
                let (device, token) = (self.device.device()?, self.token.text("token")?);
                token.as_deref().map_or(Ok(()), check_token)?;
                Ok(ClientFrame::Hello(Hello { token, device }))
            }
            "renew" => {
                let token = self.token.text("token")?.ok_or(missing("token"))?;
                check_token(&token)?;
                Ok(ClientFrame::Renew { token })
            }
            "send" => self.send(me).map(ClientFrame::Send),
            "ack" => self.ack(me).map(ClientFrame::Ack),
            "fetch" => self.fetch(me).map(ClientFrame::Fetch),
            "ping" => Ok(ClientFrame::Ping { nonce: self.nonce.number_or_zero("nonce")? }),
            "bye" => Ok(ClientFrame::Bye),
            "" => Err(FrameError::malformed("type is missing")),
            _ => Err(FrameError::Unsupported { regarding: Regarding::Session }),
        }
    }

    fn send(self, me: Option<UserId>) -> Result<Send<'a>, FrameError> {
        Ok(Send {
            client_message_id: self.client_message_id.client_message_id()?.ok_or(missing("client_message_id"))?,
            conversation: self.conversation.conversation(me)?,
            body: Cow::Owned(self.body.checked()?),
        })
    }

    fn ack(self, me: Option<UserId>) -> Result<Ack, FrameError> {
        let (delivered, read) = (self.delivered.sequence("delivered")?, self.read.sequence("read")?);
        if delivered.is_none() && read.is_none() {
            return Err(FrameError::invalid("delivered", "is missing, and so is read"));
        }
        Ok(Ack { conversation: self.conversation.conversation(me)?, delivered, read })
    }

    fn fetch(self, me: Option<UserId>) -> Result<Fetch, FrameError> {
        Ok(Fetch {
            request: self.request.decimal("request")?.ok_or(missing("request"))?,
            conversation: self.conversation.conversation(me)?,
            range: fetch_range(self.after.decimal("after")?, self.before.decimal("before")?)?,
            limit: fetch_limit(self.limit.small("limit")?)?,
        })
    }
}

/// Appends a client's frame to `out`, as the user `me` sends it.
///
/// # Panics
/// When it names a direct conversation that `me` is not in.
pub fn encode_client(frame: &ClientFrame<'_>, me: UserId, out: &mut Vec<u8>) {
    match frame {
        ClientFrame::Hello(hello) => {
            let mut object = Object::frame(out, "hello");
            if let Some(token) = &hello.token {
                object.text("token", token);
            }
            object.plain("device", hello.device);
        }
        ClientFrame::Renew { token } => Object::frame(out, "renew").text("token", token),
        ClientFrame::Send(send) => {
            let mut object = Object::frame(out, "send");
            object.plain("client_message_id", send.client_message_id);
            object.conversation(send.conversation, me);
            object.body(&send.body);
        }
        ClientFrame::Ack(ack) => {
            let mut object = Object::frame(out, "ack");
            object.conversation(ack.conversation, me);
            for (name, sequence) in [("delivered", ack.delivered), ("read", ack.read)] {
                if let Some(sequence) = sequence {
                    object.plain(name, sequence.0);
                }
            }
        }
        ClientFrame::Fetch(fetch) => {
            let mut object = Object::frame(out, "fetch");
            object.plain("request", fetch.request);
            object.conversation(fetch.conversation, me);
            match fetch.range {
                FetchRange::After(sequence) => object.plain("after", sequence.0),
                FetchRange::Before(sequence) => object.plain("before", sequence.0),
            }
            object.bare("limit", fetch.limit);
        }
        ClientFrame::Ping { nonce } => Object::frame(out, "ping").plain("nonce", nonce),
        ClientFrame::Bye => drop(Object::frame(out, "bye")),
    }
}

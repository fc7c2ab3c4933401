//! Typed frames to bytes, in a buffer that is kept.

use std::fmt;

use flatbuffers::{FlatBufferBuilder, WIPOffset};

use crate::frame::{
    Ack, ClientFrame, Deliver, ErrorFrame, Fetch, FetchRange, Page, Regarding, Send, ServerFrame, Watermark, Welcome,
};
use crate::generated as fb;
use crate::generated::FrameBody;
use crate::ids::{ClientMessageId, ConversationId, MessageId, Millis, Sequence};

/// Room for every frame but a Page or a long message, so that the first frames need not grow it.
const FIRST_CAPACITY_BYTES: usize = 512;

type Builder = FlatBufferBuilder<'static>;
type Member = WIPOffset<flatbuffers::UnionWIPOffset>;

/// Writes frames into a buffer that it keeps: after the first few, a frame costs no allocation.
pub struct Encoder {
    builder: Builder,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder with an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self { builder: Builder::with_capacity(FIRST_CAPACITY_BYTES) }
    }

    /// The bytes of a client's frame, until the next call.
    pub fn client(&mut self, frame: &ClientFrame<'_>) -> &[u8] {
        self.builder.reset();
        let (kind, member) = client_member(&mut self.builder, frame);
        self.finish(kind, member)
    }

    /// The bytes of a server's frame, until the next call.
    pub fn server(&mut self, frame: &ServerFrame<'_>) -> &[u8] {
        self.builder.reset();
        let (kind, member) = server_member(&mut self.builder, frame);
        self.finish(kind, member)
    }

    fn finish(&mut self, kind: FrameBody, member: Member) -> &[u8] {
        let root = fb::Frame::create(&mut self.builder, &fb::FrameArgs { body_type: kind, body: Some(member) });
        self.builder.finish_minimal(root);
        self.builder.finished_data()
    }
}

/// Appends a client's frame to `out`. Where frames are many, keep an [`Encoder`] instead.
pub fn encode_client(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(Encoder::new().client(frame));
}

/// Appends a server's frame to `out`. Where frames are many, keep an [`Encoder`] instead.
pub fn encode_server(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(Encoder::new().server(frame));
}

fn client_member(b: &mut Builder, frame: &ClientFrame<'_>) -> (FrameBody, Member) {
    match frame {
        ClientFrame::Hello(hello) => {
            let token = hello.token.as_deref().map(|token| b.create_string(token));
            let args = fb::HelloArgs { token, device: hello.device.get() };
            (FrameBody::Hello, fb::Hello::create(b, &args).as_union_value())
        }
        ClientFrame::Renew { token } => {
            let args = fb::RenewArgs { token: Some(b.create_string(token)) };
            (FrameBody::Renew, fb::Renew::create(b, &args).as_union_value())
        }
        ClientFrame::Send(send) => (FrameBody::Send, send_member(b, send)),
        ClientFrame::Ack(ack) => (FrameBody::Ack, ack_member(b, ack)),
        ClientFrame::Fetch(fetch) => (FrameBody::Fetch, fetch_member(b, fetch)),
        ClientFrame::Ping { nonce } => {
            (FrameBody::Ping, fb::Ping::create(b, &fb::PingArgs { nonce: *nonce }).as_union_value())
        }
        ClientFrame::Bye => (FrameBody::Bye, fb::Bye::create(b, &fb::ByeArgs {}).as_union_value()),
    }
}

fn server_member(b: &mut Builder, frame: &ServerFrame<'_>) -> (FrameBody, Member) {
    match frame {
        ServerFrame::Welcome(welcome) => (FrameBody::Welcome, welcome_member(b, welcome)),
        ServerFrame::Accepted(accepted) => {
            let args = fb::AcceptedArgs {
                client_message_id: Some(&uuid(accepted.client_message_id)),
                conversation: Some(&conversation(accepted.conversation)),
                stamp: Some(&stamp(accepted.message, accepted.sequence, accepted.time)),
            };
            (FrameBody::Accepted, fb::Accepted::create(b, &args).as_union_value())
        }
        ServerFrame::Deliver(message) => (FrameBody::Deliver, deliver(b, message).as_union_value()),
        ServerFrame::Receipt(receipt) => {
            let args = fb::ReceiptArgs {
                conversation: Some(&conversation(receipt.conversation)),
                watermark: Some(&watermark(&receipt.watermark)),
            };
            (FrameBody::Receipt, fb::Receipt::create(b, &args).as_union_value())
        }
        ServerFrame::Page(page) => (FrameBody::Page, page_member(b, page)),
        ServerFrame::Error(error) => (FrameBody::Error, error_member(b, error)),
        ServerFrame::Pong { nonce } => {
            (FrameBody::Pong, fb::Pong::create(b, &fb::PongArgs { nonce: *nonce }).as_union_value())
        }
        ServerFrame::Drain { reconnect_after_ms } => {
            let args = fb::DrainArgs { reconnect_after_ms: *reconnect_after_ms };
            (FrameBody::Drain, fb::Drain::create(b, &args).as_union_value())
        }
    }
}

fn send_member(b: &mut Builder, send: &Send<'_>) -> Member {
    let body = b.create_vector(send.body.as_ref());
    let args = fb::SendArgs {
        client_message_id: Some(&uuid(send.client_message_id)),
        conversation: Some(&conversation(send.conversation)),
        body: Some(body),
    };
    fb::Send::create(b, &args).as_union_value()
}

fn ack_member(b: &mut Builder, ack: &Ack) -> Member {
    let args = fb::AckArgs {
        conversation: Some(&conversation(ack.conversation)),
        delivered: ack.delivered.map(|sequence| sequence.0),
        read: ack.read.map(|sequence| sequence.0),
    };
    fb::Ack::create(b, &args).as_union_value()
}

fn fetch_member(b: &mut Builder, fetch: &Fetch) -> Member {
    let (after, before) = match fetch.range {
        FetchRange::After(sequence) => (Some(sequence.0), None),
        FetchRange::Before(sequence) => (None, Some(sequence.0)),
    };
    let args = fb::FetchArgs {
        request: fetch.request,
        conversation: Some(&conversation(fetch.conversation)),
        after,
        before,
        limit: Some(fetch.limit),
    };
    fb::Fetch::create(b, &args).as_union_value()
}

fn welcome_member(b: &mut Builder, welcome: &Welcome) -> Member {
    let args = fb::WelcomeArgs {
        user: welcome.user.get(),
        device: welcome.device.get(),
        heartbeat_ms: welcome.heartbeat_ms,
        max_frame_bytes: welcome.max_frame_bytes,
        delivery_window: welcome.delivery_window,
        max_pending_sends: welcome.max_pending_sends,
        time_ms: welcome.time.0,
    };
    fb::Welcome::create(b, &args).as_union_value()
}

fn deliver(b: &mut Builder, message: &Deliver<'_>) -> WIPOffset<fb::Deliver<'static>> {
    let body = b.create_vector(message.body.as_ref());
    let origin = message.origin.map(|(device, id)| (device.get(), uuid(id)));
    let args = fb::DeliverArgs {
        conversation: Some(&conversation(message.conversation)),
        stamp: Some(&stamp(message.message, message.sequence, message.time)),
        sender: message.sender.get(),
        body: Some(body),
        device: origin.map_or(0, |(device, _)| device),
        client_message_id: origin.as_ref().map(|(_, id)| id),
    };
    fb::Deliver::create(b, &args)
}

fn page_member(b: &mut Builder, page: &Page<'_>) -> Member {
    let messages: Vec<_> = page.messages.iter().map(|message| deliver(b, message)).collect();
    let messages = (!messages.is_empty()).then(|| b.create_vector(&messages));
    let void = page.void.iter().map(|range| fb::VoidRange::new(range.from.0, range.to.0));
    let void = (!page.void.is_empty()).then(|| b.create_vector_from_iter(void));
    let watermarks = page.watermarks.iter().map(watermark);
    let watermarks = (!page.watermarks.is_empty()).then(|| b.create_vector_from_iter(watermarks));
    let args = fb::PageArgs {
        request: page.request,
        conversation: Some(&conversation(page.conversation)),
        messages,
        void,
        watermarks,
        more: page.more,
    };
    fb::Page::create(b, &args).as_union_value()
}

fn error_member(b: &mut Builder, error: &ErrorFrame<'_>) -> Member {
    let reason = b.create_string(&error.reason);
    let (send, request) = match error.regarding {
        Regarding::Session => (None, None),
        Regarding::Send(id) => (Some(uuid(id)), None),
        Regarding::Request(request) => (None, Some(request)),
    };
    let args = fb::ErrorArgs {
        code: error.code as u16,
        reason: Some(reason),
        fatal: error.code.fatal(),
        retry: error.code.retry(),
        retry_after_ms: error.retry_after_ms,
        client_message_id: send.as_ref(),
        request,
    };
    fb::Error::create(b, &args).as_union_value()
}

fn conversation(id: ConversationId) -> fb::Conversation {
    let (high, low) = id.words();
    fb::Conversation::new(high, low)
}

fn uuid(id: ClientMessageId) -> fb::Uuid {
    let (high, low) = id.words();
    fb::Uuid::new(high, low)
}

fn stamp(message: MessageId, sequence: Sequence, time: Millis) -> fb::Stamp {
    fb::Stamp::new(message.get(), sequence.0, time.0)
}

fn watermark(mark: &Watermark) -> fb::Watermark {
    fb::Watermark::new(mark.member.get(), mark.delivered.0, mark.read.0)
}

//! Sessions on a stream of a QUIC connection: the same frames behind their lengths; pings and the close are the connection's.

use bytes::Bytes;
use switchyard_gateway_core::framing::{FramingError, LENGTH_BYTES};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::session::{Packing, SessionEffects, Transport};
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::ClientFrame;
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::{PageReply, ToGateway};
use switchyard_schema::record::MessageRecord;

use crate::harness::{
    COMEBACK_MS, HEARTBEAT_MS, SESSION, START, Seen, World, client_message, conversation, device, error, message, send,
    text_body, user,
};

#[test]
fn given_either_form_when_frames_flow_then_the_client_sees_what_it_would_on_a_websocket() {
    for form in [Form::Binary, Form::Json] {
        let mut world = World::open(Packing::quic(form));
        assert_eq!(world.client(&ClientFrame::Ping { nonce: 5 }), [Seen::Pong(5)]);
        assert_eq!(world.client(&send(7)), []);
        world.take_for_router();
        assert_eq!(world.accept(7), [Seen::Accepted(client_message(7))]);
        assert_eq!(world.deliver(1), [Seen::Deliver(Sequence(1))]);
        assert_eq!(world.client(&ClientFrame::Bye), [Seen::TransportClose(CloseCode::Normal)]);
        world.assert_detached(START.unix);
    }
}

#[test]
fn given_a_deliver_when_it_is_large_then_its_bytes_are_shared_and_when_it_is_small_it_is_one_piece() {
    for (text_bytes, pieces) in [(5, 1), (4_000, 2)] {
        let text = "x".repeat(text_bytes);
        let draft = switchyard_schema::encode::deliver_draft(conversation(), user(43), &text_body(&text));
        let (frame, _) = draft.stamp(message(1), Sequence(1));
        let packing = Packing::quic(Form::Binary);
        let mut out = SessionEffects::new();
        packing.pack_shared(&frame, &mut out.frames);
        let sizes: Vec<_> = out.frames.iter().map(|piece| piece.len()).collect();
        assert_eq!((sizes.len(), sizes.iter().sum()), (pieces, LENGTH_BYTES + frame.payload().len()));
        if let [_, shared] = &out.frames[..] {
            assert_eq!(shared.as_ptr(), frame.payload().as_ptr());
        }
        let deliver = ToGateway::Deliver { sessions: [SESSION].into_iter().collect(), frame };
        assert_eq!(World::open(packing).router(deliver), [Seen::Deliver(Sequence(1))]);
    }
}

#[test]
fn given_a_page_when_it_is_large_then_it_may_have_a_stream_of_its_own_and_not_on_a_websocket() {
    let page = |messages| {
        let body = Bytes::from(text_body(&"x".repeat(4_000)));
        let record = |sequence| MessageRecord {
            conversation: conversation(),
            sequence: Sequence(sequence),
            message: message(sequence),
            sender: user(43),
            device: device(1),
            client_message_id: client_message(1),
            body: body.clone(),
        };
        let (session, request, conversation) = (SESSION, 7, conversation());
        let messages = (1..=messages).map(record).collect();
        let (void, watermarks, more) = (Vec::new(), std::iter::empty().collect(), false);
        ToGateway::Page(Box::new(PageReply { session, request, conversation, messages, void, watermarks, more }))
    };
    for form in [Form::Binary, Form::Json] {
        for (packing, messages, asides) in
            [(Packing::quic(form), 1, 0), (Packing::quic(form), 5, 1), (form.into(), 5, 0)]
        {
            let mut world = World::open(packing);
            assert_eq!((world.router(page(messages)), world.asides), (vec![Seen::Page(7)], asides));
        }
    }
}

#[test]
fn given_silence_then_the_transport_pings_and_after_two_heartbeats_the_session_ends() {
    let mut world = World::open(Packing::quic(Form::Binary));
    assert_eq!(world.pass(HEARTBEAT_MS), [Seen::TransportPing]);
    let timeout = [error(ErrorCode::HeartbeatTimeout), Seen::TransportClose(CloseCode::Timeout)];
    assert_eq!(world.pass(HEARTBEAT_MS), timeout);
}

#[test]
fn given_a_stream_that_is_no_frames_then_the_session_ends_with_the_code_of_a_websocket() {
    for (error, code) in [(FramingError::TooBig, CloseCode::TooBig), (FramingError::NotUtf8, CloseCode::InvalidPayload)]
    {
        let mut world = World::open(Packing::quic(Form::Json));
        assert_eq!(world.framing_error(error), [Seen::TransportClose(code)]);
        world.assert_detached(START.unix);
        assert_eq!(world.framing_error(error), [], "it has ended");
    }
}

#[test]
fn given_other_ends_then_each_closes_the_transport_and_writes_no_frame_for_it() {
    let mut replaced = World::open(Packing::quic(Form::Binary));
    let told = [error(ErrorCode::SessionReplaced), Seen::TransportClose(CloseCode::Replaced)];
    assert_eq!(replaced.router(ToGateway::Replaced(SESSION)), told);

    let mut drained = World::open(Packing::quic(Form::Binary));
    assert_eq!(drained.drain(), [Seen::Drain(COMEBACK_MS), Seen::TransportClose(CloseCode::GoingAway)]);

    let mut slow = World::open(Packing::quic(Form::Binary));
    assert_eq!(slow.overflow(), [Seen::TransportClose(CloseCode::TooSlow)]);
    assert_eq!(Packing::from(Form::Binary).transport, Transport::WebSocket);
}

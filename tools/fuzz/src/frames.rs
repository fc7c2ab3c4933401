//! Frames in both forms: what is taken is walked whole, and says the same after a way through either form.

use std::borrow::Cow;

use switchyard_schema::frame::{
    Ack, ClientFrame, Deliver, Fetch, FetchRange, Hello, Page, Send, ServerFrame, VoidRange,
};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, ConversationKind, DeviceId, MessageId, Millis, Sequence, UserId,
};
use switchyard_schema::limits::{SERVER_FRAME_BYTES_MAX, SERVER_JSON_BYTES_MAX};
use switchyard_schema::{FrameError, body, json, wire};

use crate::source::Source;

const fn user(id: u64) -> UserId {
    UserId::new(id).expect("not zero")
}

/// First byte: who sent it, and how it lies in memory; the rest is a FlatBuffer.
pub(crate) fn binary(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    let received = source.rest();
    // A frame begins wherever the receive buffer happens to have it.
    let shift = usize::from(choice >> 1) % 8;
    let mut shifted = vec![0; shift];
    shifted.extend_from_slice(received);
    if choice & 1 == 0 {
        let frame = wire::parse_client(received);
        assert_eq!(wire::parse_client(&shifted[shift..]), frame, "where it lies in memory does not matter");
        outcome(frame).iter().for_each(client_survives);
    } else {
        let frame = wire::parse_server(received);
        assert_eq!(wire::parse_server(&shifted[shift..]), frame, "where it lies in memory does not matter");
        outcome(frame).iter().for_each(server_survives);
    }
}

/// First byte: who sent it; the rest is JSON.
pub(crate) fn json(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    let Ok(text) = std::str::from_utf8(source.rest()) else { return };
    let me = user(42);
    if choice & 1 == 0 {
        let frame = outcome(json::parse_client(text, (choice & 2 == 0).then_some(me)));
        frame.iter().for_each(client_survives);
    } else {
        outcome(json::parse_server(text, me)).iter().for_each(server_survives);
    }
}

/// A refusal has a code and a reason that fits an Error frame.
fn outcome<T>(parsed: Result<T, FrameError>) -> Option<T> {
    match parsed {
        Ok(frame) => Some(frame),
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.code().reason().is_empty());
            None
        }
    }
}

fn client_survives(frame: &ClientFrame<'_>) {
    let mut bytes = Vec::new();
    wire::encode_client(frame, &mut bytes);
    assert_eq!(wire::parse_client(&bytes).as_ref(), Ok(frame), "the binary form says the same");

    let me = match frame {
        ClientFrame::Send(Send { conversation, .. })
        | ClientFrame::Ack(Ack { conversation, .. })
        | ClientFrame::Fetch(Fetch { conversation, .. }) => member_of(*conversation),
        _ => user(1),
    };
    let mut text = Vec::new();
    json::encode_client(frame, me, &mut text);
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    match (frame, json::parse_client(&text, Some(me))) {
        // What only newer clients know is left out of this form; escaping may take it over the size of a frame.
        (ClientFrame::Send(send), Err(_)) if said(&send.body).is_none() || text.len() > send.body.len() => {}
        (ClientFrame::Send(send), Ok(ClientFrame::Send(again))) => {
            assert_eq!(said(&again.body), said(&send.body));
            assert_eq!(Send { body: Cow::Borrowed(&send.body), ..again }, *send);
        }
        (ClientFrame::Hello(_) | ClientFrame::Renew { .. }, Err(FrameError::TooLarge { .. })) => {}
        (frame, again) => assert_eq!(again.as_ref(), Ok(frame), "the JSON form says the same: {text}"),
    }
}

fn server_survives(frame: &ServerFrame<'_>) {
    let mut bytes = Vec::new();
    wire::encode_server(frame, &mut bytes);
    // Parts that share their bytes in a crafted frame have their own when it is written again.
    if bytes.len() <= SERVER_FRAME_BYTES_MAX {
        assert_eq!(wire::parse_server(&bytes).as_ref(), Ok(frame), "the binary form says the same");
    }
    let mut conversations = Vec::new();
    match frame {
        ServerFrame::Accepted(accepted) => conversations.push(accepted.conversation),
        ServerFrame::Deliver(deliver) => conversations.push(deliver.conversation),
        ServerFrame::Receipt(receipt) => conversations.push(receipt.conversation),
        ServerFrame::Page(page) => {
            conversations.push(page.conversation);
            conversations.extend(page.messages.iter().map(|message| message.conversation));
        }
        _ => {}
    }
    let me = conversations.first().map_or(user(1), |conversation| member_of(*conversation));
    let is_group = |conversation: &ConversationId| matches!(conversation.kind(), ConversationKind::Group(_));
    if !conversations.iter().all(|conversation| is_group(conversation) || conversation.peer_of(me).is_some()) {
        return; // no server tells anyone of others' conversations
    }
    let mut text = Vec::new();
    json::encode_server(frame, me, &mut text);
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    if text.len() <= SERVER_JSON_BYTES_MAX {
        let again = json::parse_server(&text, me).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(plain(again), plain(frame.clone()), "the JSON form says the same: {text}");
    }
}

/// The frame with every body reduced to what the JSON form can say.
fn plain(mut frame: ServerFrame<'_>) -> ServerFrame<'_> {
    let reduce = |message: &mut Deliver<'_>| message.body = said(&message.body).unwrap_or_default().into_bytes().into();
    match &mut frame {
        ServerFrame::Deliver(deliver) => reduce(deliver),
        ServerFrame::Page(page) => page.messages.iter_mut().for_each(reduce),
        _ => {}
    }
    frame
}

fn said(encoded: &[u8]) -> Option<String> {
    body::parse(encoded).ok().and_then(|view| view.text.map(str::to_owned))
}

fn member_of(conversation: ConversationId) -> UserId {
    match conversation.kind() {
        ConversationKind::Direct(one, _) => one,
        ConversationKind::Group(_) => user(1),
    }
}

/// A frame of each kind that has more than a number in it.
fn samples() -> (Vec<ClientFrame<'static>>, Vec<ServerFrame<'static>>) {
    let conversation = ConversationId::direct(user(42), user(43));
    let client_message_id = ClientMessageId([7; 16]);
    let device = DeviceId::new(5).expect("not zero");
    let deliver = Deliver {
        conversation,
        message: MessageId::new(1 << 40).expect("not zero"),
        sequence: Sequence(3),
        sender: user(43),
        time: Millis(1_800_000_000_000),
        origin: Some((device, client_message_id)),
        body: body::text("gr\u{fc}\u{df} \"dich\"").into(),
    };
    let page = Page {
        request: 7,
        conversation,
        messages: vec![deliver.clone(), deliver.clone()],
        void: vec![VoidRange { from: Sequence(1), to: Sequence(2) }],
        watermarks: vec![],
        more: true,
    };
    let range = FetchRange::Before(Sequence(9));
    let client = vec![
        ClientFrame::Hello(Hello { token: Some("a.b.c".into()), device }),
        ClientFrame::Renew { token: "d.e.f".into() },
        ClientFrame::Send(Send { client_message_id, conversation, body: body::text("hi").into() }),
        ClientFrame::Ack(Ack { conversation, delivered: Some(Sequence(3)), read: None }),
        ClientFrame::Fetch(Fetch { request: 7, conversation, range, limit: 50 }),
        ClientFrame::Ping { nonce: 1 },
    ];
    (client, vec![ServerFrame::Deliver(deliver), ServerFrame::Page(page), ServerFrame::Pong { nonce: 1 }])
}

pub(crate) fn binary_seeds() -> Vec<Vec<u8>> {
    let (client, server) = samples();
    let client = client.iter().map(|frame| {
        let mut bytes = vec![0];
        wire::encode_client(frame, &mut bytes);
        bytes
    });
    let server = server.iter().map(|frame| {
        let mut bytes = vec![3];
        wire::encode_server(frame, &mut bytes);
        bytes
    });
    client.chain(server).collect()
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    let (client, server) = samples();
    let client = client.iter().map(|frame| {
        let mut text = vec![0];
        json::encode_client(frame, user(42), &mut text);
        text
    });
    let server = server.iter().map(|frame| {
        let mut text = vec![1];
        json::encode_server(frame, user(42), &mut text);
        text
    });
    client.chain(server).collect()
}

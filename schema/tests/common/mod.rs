//! One frame of each kind, and any frame at all.
#![allow(dead_code, reason = "each test crate uses its part")]

pub(crate) mod counting_allocator;
pub(crate) mod raw;

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use switchyard_schema::body;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::*;
use switchyard_schema::ids::*;

/// The user whose sessions the samples belong to.
pub(crate) fn me() -> UserId {
    user(42)
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn device(number: u64) -> DeviceId {
    DeviceId::new(number).unwrap()
}

pub(crate) fn message(number: u64) -> MessageId {
    MessageId::new(number).unwrap()
}

pub(crate) fn conversation() -> ConversationId {
    ConversationId::direct(user(42), user(43))
}

pub(crate) fn id() -> ClientMessageId {
    ClientMessageId::from_text("0f8fad5b-d9cb-469f-a165-70867728950e").unwrap()
}

/// Each kind of frame from a client, by the name of its golden files.
pub(crate) fn client_samples() -> Vec<(&'static str, ClientFrame<'static>)> {
    let conversation = conversation();
    let (delivered, read) = (Some(Sequence(5)), Some(Sequence(4)));
    let fetch = |range, limit| ClientFrame::Fetch(Fetch { request: 7, conversation, range, limit });
    let send = |conversation| {
        ClientFrame::Send(Send { client_message_id: id(), conversation, body: body::text("h\u{e9}llo \"you\"").into() })
    };
    vec![
        ("hello", ClientFrame::Hello(Hello { token: Some("header.payload.signature".into()), device: device(1) })),
        ("hello_without_token", ClientFrame::Hello(Hello { token: None, device: device(u64::MAX) })),
        ("renew", ClientFrame::Renew { token: "header.payload.signature".into() }),
        ("send", send(conversation)),
        ("send_to_group", send(ConversationId::group(GroupId::new(7).unwrap()))),
        ("ack", ClientFrame::Ack(Ack { conversation, delivered, read })),
        ("ack_delivered", ClientFrame::Ack(Ack { conversation, delivered, read: None })),
        ("ack_read", ClientFrame::Ack(Ack { conversation, delivered: None, read })),
        ("fetch_after", fetch(FetchRange::After(Sequence::ZERO), 50)),
        ("fetch_before", fetch(FetchRange::Before(Sequence(u64::MAX)), 0)),
        ("ping", ClientFrame::Ping { nonce: 1 }),
        ("bye", ClientFrame::Bye),
    ]
}

/// Each kind of frame from the server, by the name of its golden files.
pub(crate) fn server_samples() -> Vec<(&'static str, ServerFrame<'static>)> {
    let conversation = conversation();
    let time = Millis(SNOWFLAKE_EPOCH_MS + 60_000_000_000);
    let deliver = |sequence, origin, text| Deliver {
        conversation,
        message: message(251_658_240_000_200_704 + sequence),
        sequence: Sequence(sequence),
        sender: user(43),
        time,
        origin,
        body: body::text(text).into(),
    };
    let watermark = Watermark { member: user(43), delivered: Sequence(5), read: Sequence(4) };
    let error = |code, reason: &'static str, retry_after_ms, regarding| {
        ServerFrame::Error(ErrorFrame { code, reason: reason.into(), retry_after_ms, regarding })
    };
    let (own, peer) = (deliver(6, Some((device(1), id())), "from my other device"), deliver(5, None, "hi"));
    let page = Page {
        request: 7,
        conversation,
        messages: vec![peer.clone(), own.clone()],
        void: vec![VoidRange { from: Sequence(4), to: Sequence(4) }],
        watermarks: vec![watermark, Watermark { member: me(), delivered: Sequence(6), read: Sequence::ZERO }],
        more: true,
    };
    let empty_page = Page { messages: vec![], void: vec![], watermarks: vec![], more: false, ..page.clone() };
    vec![
        (
            "welcome",
            ServerFrame::Welcome(Welcome {
                user: me(),
                device: device(1),
                heartbeat_ms: 30_000,
                max_frame_bytes: 65_536,
                delivery_window: 256,
                max_pending_sends: 256,
                time,
            }),
        ),
        (
            "accepted",
            ServerFrame::Accepted(Accepted {
                client_message_id: id(),
                conversation,
                message: message(251_658_240_000_200_705),
                sequence: Sequence(5),
                time,
            }),
        ),
        ("deliver", ServerFrame::Deliver(peer)),
        ("deliver_own", ServerFrame::Deliver(own)),
        ("receipt", ServerFrame::Receipt(Receipt { conversation, watermark })),
        ("page", ServerFrame::Page(page)),
        ("page_empty", ServerFrame::Page(empty_page)),
        ("error", error(ErrorCode::MalformedFrame, "the frame cannot be parsed", None, Regarding::Session)),
        ("error_send", error(ErrorCode::Overloaded, "the server is busy", Some(250), Regarding::Send(id()))),
        ("error_fetch", error(ErrorCode::NotAMember, "", None, Regarding::Request(0))),
        ("pong", ServerFrame::Pong { nonce: 1 }),
        ("drain", ServerFrame::Drain { reconnect_after_ms: 1_500 }),
    ]
}

prop_compose! {
    fn any_user()(number in 1..=u64::MAX) -> UserId { user(number) }
}

prop_compose! {
    fn any_device()(number in 1..=u64::MAX) -> DeviceId { device(number) }
}

prop_compose! {
    fn any_id()(bytes in any::<[u8; 16]>()) -> ClientMessageId { ClientMessageId(bytes) }
}

fn any_sequence() -> impl Strategy<Value = Sequence> {
    any::<u64>().prop_map(Sequence)
}

fn any_place() -> impl Strategy<Value = Sequence> {
    (1..=u64::MAX).prop_map(Sequence)
}

/// A conversation that `me()` can name.
fn any_conversation() -> impl Strategy<Value = ConversationId> {
    let direct = any_user().prop_map(|peer| ConversationId::direct(me(), peer));
    prop_oneof![direct, (1..=u64::MAX).prop_map(|group| ConversationId::group(GroupId::new(group).unwrap()))]
}

fn any_body() -> impl Strategy<Value = Cow<'static, [u8]>> {
    "\\PC{1,40}".prop_map(|text| Cow::Owned(body::text(&text)))
}

fn any_token() -> impl Strategy<Value = Cow<'static, str>> {
    "[A-Za-z0-9._-]{1,80}".prop_map(Cow::Owned)
}

pub(crate) fn any_client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let hello =
        (option::of(any_token()), any_device()).prop_map(|(token, device)| ClientFrame::Hello(Hello { token, device }));
    let send = (any_id(), any_conversation(), any_body()).prop_map(|(client_message_id, conversation, body)| {
        ClientFrame::Send(Send { client_message_id, conversation, body })
    });
    let ack =
        (any_conversation(), option::of(any_sequence()), any_sequence()).prop_map(|(conversation, delivered, read)| {
            let read = (delivered.is_none() || read.0 % 2 == 0).then_some(read);
            ClientFrame::Ack(Ack { conversation, delivered, read })
        });
    let range = prop_oneof![any_sequence().prop_map(FetchRange::After), any_sequence().prop_map(FetchRange::Before)];
    let fetch =
        (any::<u64>(), any_conversation(), range, 0..=100u32).prop_map(|(request, conversation, range, limit)| {
            ClientFrame::Fetch(Fetch { request, conversation, range, limit })
        });
    prop_oneof![
        hello,
        any_token().prop_map(|token| ClientFrame::Renew { token }),
        send,
        ack,
        fetch,
        any::<u64>().prop_map(|nonce| ClientFrame::Ping { nonce }),
        Just(ClientFrame::Bye),
    ]
}

pub(crate) fn any_deliver() -> impl Strategy<Value = Deliver<'static>> {
    let ids = (any_conversation(), 1..=u64::MAX, any_place(), any_user(), any::<u64>());
    (ids, option::of((any_device(), any_id())), any_body()).prop_map(
        |((conversation, number, sequence, sender, time_ms), origin, body)| Deliver {
            conversation,
            message: message(number),
            sequence,
            sender,
            time: Millis(time_ms),
            origin,
            body,
        },
    )
}

fn any_watermark() -> impl Strategy<Value = Watermark> {
    (any_user(), any_sequence(), any_sequence()).prop_map(|(member, delivered, read)| Watermark {
        member,
        delivered,
        read,
    })
}

fn any_page() -> impl Strategy<Value = Page<'static>> {
    let void = (any_sequence(), any_sequence()).prop_map(|(from, to)| VoidRange { from, to });
    let lists = (vec(any_deliver(), 0..6), vec(void, 0..4), vec(any_watermark(), 0..4));
    (any::<u64>(), any_conversation(), lists, any::<bool>()).prop_map(
        |(request, conversation, (messages, void, watermarks), more)| Page {
            request,
            conversation,
            messages,
            void,
            watermarks,
            more,
        },
    )
}

pub(crate) fn any_server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    let numbers = (any_user(), any_device(), any::<[u32; 4]>(), any::<u64>());
    let welcome = numbers.prop_map(|(user, device, [heartbeat_ms, max_frame_bytes, window, pending], time_ms)| {
        ServerFrame::Welcome(Welcome {
            user,
            device,
            heartbeat_ms,
            max_frame_bytes,
            delivery_window: window,
            max_pending_sends: pending,
            time: Millis(time_ms),
        })
    });
    let accepted = (any_id(), any_deliver()).prop_map(|(client_message_id, message)| {
        ServerFrame::Accepted(Accepted {
            client_message_id,
            conversation: message.conversation,
            message: message.message,
            sequence: message.sequence,
            time: message.time,
        })
    });
    let receipt = (any_conversation(), any_watermark())
        .prop_map(|(conversation, watermark)| ServerFrame::Receipt(Receipt { conversation, watermark }));
    let regarding = prop_oneof![
        Just(Regarding::Session),
        any_id().prop_map(Regarding::Send),
        any::<u64>().prop_map(Regarding::Request)
    ];
    let error = (prop::sample::select(ErrorCode::ALL), "\\PC{0,60}", option::of(any::<u32>()), regarding).prop_map(
        |(code, reason, retry_after_ms, regarding)| {
            ServerFrame::Error(ErrorFrame { code, reason: reason.into(), retry_after_ms, regarding })
        },
    );
    prop_oneof![
        welcome,
        accepted,
        any_deliver().prop_map(ServerFrame::Deliver),
        receipt,
        any_page().prop_map(ServerFrame::Page),
        error,
        any::<u64>().prop_map(|nonce| ServerFrame::Pong { nonce }),
        any::<u32>().prop_map(|reconnect_after_ms| ServerFrame::Drain { reconnect_after_ms }),
    ]
}

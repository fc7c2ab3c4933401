//! The edge: WebSocket frames, FlatBuffers and JSON, with a text of 100 bytes as most messages have.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use switchyard_gateway_core::ws::{Decoder, Opcode, Role, encode};
use switchyard_schema::frame::{ClientFrame, Send};
use switchyard_schema::ids::{ClientMessageId, ConversationId, UserId};
use switchyard_schema::limits::CLIENT_FRAME_BYTES_MAX;
use switchyard_schema::wire::{self, Encoder};
use switchyard_schema::{body, encode as shared, json};

fn user(number: u64) -> UserId {
    UserId::new(number).expect("not zero")
}

fn send() -> Send<'static> {
    Send {
        client_message_id: ClientMessageId([7; 16]),
        conversation: ConversationId::direct(user(42), user(43)),
        body: Cow::Owned(body::text(&"x".repeat(100))),
    }
}

fn websocket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket");
    for payload_bytes in [100, 4096] {
        let payload = vec![0x5a; payload_bytes];
        let mut frame = Vec::new();
        encode::put_masked(&mut frame, Opcode::Binary, &payload, [1, 2, 3, 4]);
        let mut received: Vec<u8> = frame.repeat(16);
        group.throughput(Throughput::Elements(16));
        group.bench_function(format!("decode 16 masked messages of {payload_bytes} bytes"), |bencher| {
            bencher.iter_batched_ref(
                || received.clone(),
                |input| {
                    let (mut decoder, mut at) = (Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX), 0);
                    while at < input.len() {
                        let step = decoder.decode(&mut input[at..]).expect("good frames");
                        black_box(&step.event);
                        at += step.consumed;
                    }
                },
                BatchSize::SmallInput,
            );
        });
        received.clear();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("encode a message of {payload_bytes} bytes"), |bencher| {
            bencher.iter(|| {
                received.clear();
                encode::put_frame(&mut received, Opcode::Binary, black_box(&payload));
            });
        });
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let send = send();
    let frame = ClientFrame::Send(send.clone());
    let mut encoder = Encoder::new();
    let bytes = encoder.client(&frame).to_vec();
    let mut text = Vec::new();
    json::encode_client(&frame, user(42), &mut text);
    let text = String::from_utf8(text).expect("JSON is text");
    group.bench_function("FlatBuffers: verify and parse a Send", |bencher| {
        bencher.iter(|| wire::parse_client(black_box(&bytes)).expect("a good frame"));
    });
    group.bench_function("FlatBuffers: build a Send", |bencher| {
        bencher.iter(|| encoder.client(black_box(&frame)).len());
    });
    group.bench_function("FlatBuffers: build the Deliver that recipients share", |bencher| {
        bencher.iter(|| shared::deliver_draft(send.conversation, user(42), black_box(&send.body)));
    });
    group.bench_function("JSON: parse a Send", |bencher| {
        bencher.iter(|| json::parse_client(black_box(&text), Some(user(42))).expect("a good frame"));
    });
}

criterion_group!(benches, websocket, frames);
criterion_main!(benches);

//! Frames put together field by field, as clients with another version of the schema, or with bad intent, would.
#![allow(dead_code, reason = "each test crate uses its part")]

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, UnionWIPOffset, WIPOffset};
use switchyard_schema::ids::{ClientMessageId, ConversationId};

pub(crate) type Builder = FlatBufferBuilder<'static>;
pub(crate) type Table = WIPOffset<TableFinishedWIPOffset>;

/// Members of the union, as `fbs/switchyard.fbs` numbers them.
pub(crate) const HELLO: u8 = 1;
pub(crate) const RENEW: u8 = 2;
pub(crate) const SEND: u8 = 3;
pub(crate) const ACK: u8 = 4;
pub(crate) const FETCH: u8 = 5;
pub(crate) const PING: u8 = 30;
pub(crate) const BYE: u8 = 31;
pub(crate) const DELIVER: u8 = 66;
pub(crate) const PAGE: u8 = 68;
pub(crate) const ERROR: u8 = 93;

/// Where the vtable keeps the field with this id.
pub(crate) const fn slot(field: u16) -> u16 {
    4 + 2 * field
}

/// A finished frame around the member that `build` makes.
pub(crate) fn frame(kind: u8, build: impl FnOnce(&mut Builder) -> Table) -> Vec<u8> {
    let mut builder = Builder::new();
    let member = build(&mut builder);
    frame_of(&mut builder, Some(kind), Some(member))
}

pub(crate) fn frame_of(builder: &mut Builder, kind: Option<u8>, member: Option<Table>) -> Vec<u8> {
    let start = builder.start_table();
    if let Some(member) = member {
        builder.push_slot_always(slot(1), WIPOffset::<UnionWIPOffset>::new(member.value()));
    }
    if let Some(kind) = kind {
        builder.push_slot_always(slot(0), kind);
    }
    let root = builder.end_table(start);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

/// A table with whatever `fields` pushes into it.
pub(crate) fn table(builder: &mut Builder, fields: impl FnOnce(&mut Builder)) -> Table {
    let start = builder.start_table();
    fields(builder);
    builder.end_table(start)
}

/// A struct of 64-bit words. The builder aligns a pushed array by its element, so each word is pushed by itself, the
/// last one first; the struct then lies where the first one does.
pub(crate) fn push_words(builder: &mut Builder, field: u16, words: &[u64]) {
    for &word in words.iter().skip(1).rev() {
        builder.push(word);
    }
    builder.push_slot_always(slot(field), words[0]);
}

pub(crate) fn push_conversation(builder: &mut Builder, field: u16, conversation: ConversationId) {
    let (high, low) = conversation.words();
    push_words(builder, field, &[high, low]);
}

pub(crate) fn push_id(builder: &mut Builder, field: u16, id: ClientMessageId) {
    let (high, low) = id.words();
    push_words(builder, field, &[high, low]);
}

/// A Send of the current schema around this body.
pub(crate) fn send_with_body(id: ClientMessageId, conversation: ConversationId, body: &[u8]) -> Vec<u8> {
    frame(SEND, |builder| {
        let body = builder.create_vector(body);
        table(builder, |builder| {
            push_id(builder, 0, id);
            push_conversation(builder, 1, conversation);
            builder.push_slot_always(slot(2), body);
        })
    })
}

/// A body whose field 0 is `text`, with `more` fields after it.
pub(crate) fn body_with(text: Option<&str>, more: impl FnOnce(&mut Builder)) -> Vec<u8> {
    let mut builder = Builder::new();
    let text = text.map(|text| builder.create_string(text));
    let root = table(&mut builder, |builder| {
        if let Some(text) = text {
            builder.push_slot_always(slot(0), text);
        }
        more(builder);
    });
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

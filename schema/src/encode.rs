//! The frames of which there is one for every message, each in one allocation, WebSocket header in front: the Deliver that
//! recipients share, encoded once, and the sender's Accepted.
//!
//! The FlatBuffers are laid out by hand, because their shape is fixed and a builder would want buffers of its own, a second
//! copy, and time to find out what is known. Positions count from the start of the FlatBuffer; `D` stands for the Deliver table:
//!
//! ```text
//!        0  root: where the Frame table is
//!        4  Frame's vtable: 8, 9, [type at 8], [body at 4]
//!       12  Frame: vtable, body → D, type = Deliver, padding
//!       24  Deliver's vtable
//!        D  Deliver: vtable …, then what the two layouts below say
//!           the body: length and bytes, the bytes at a multiple of 8
//! ```
//!
//! | field             | alone (D = 36) | with origin (D = 40) |
//! |-------------------|----------------|----------------------|
//! | conversation      | D + 4          | D + 8                |
//! | stamp             | D + 20         | D + 24               |
//! | sender            | D + 44         | D + 48               |
//! | device            |                | D + 56               |
//! | client_message_id |                | D + 64               |
//! | body              | D + 52         | D + 4                |
//! | body's length     | 92             | 124                  |
//! | body's bytes      | 96             | 128                  |
//!
//! An Accepted begins in the same way. Its table, at 36, has the client message id at 40, the conversation at 56 and the stamp
//! at 72, where it ends.

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::Accepted;

use crate::generated::FrameBody;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, UserId};
use crate::link::{DeliverDraft, DeliverFrame};
use crate::record::MessageRecord;

const FRAME_AT: u32 = 12;
const ALONE: Layout = Layout { deliver_at: 36, stamp_at: 56, body_at: 96 };
const WITH_ORIGIN: Layout = Layout { deliver_at: 40, stamp_at: 64, body_at: 128 };

struct Layout {
    deliver_at: u32,
    stamp_at: usize,
    body_at: usize,
}

/// The frame of a message that has no id, sequence number and time yet. `body` is an encoded body that was verified.
#[must_use]
pub fn deliver_draft(conversation: ConversationId, sender: UserId, body: &[u8]) -> DeliverDraft {
    let (bytes, header_bytes) = lay_out(conversation, sender, [0; 3], None, body);
    let start = usize::from(header_bytes);
    let body = start + ALONE.body_at..bytes.len();
    DeliverDraft::new(bytes, header_bytes, start + ALONE.stamp_at, body)
}

/// The frame of a message that is known: from the journal, or for the sender's own devices (`with_origin`).
#[must_use]
pub fn deliver(record: &MessageRecord, with_origin: bool) -> DeliverFrame {
    let stamp = [record.message.get(), record.sequence.0, record.message.time().0];
    let origin = with_origin.then_some((record.device, record.client_message_id));
    let (bytes, header_bytes) = lay_out(record.conversation, record.sender, stamp, origin, &record.body);
    DeliverFrame::new(bytes.freeze(), header_bytes)
}

/// Header and frame of an Accepted, as a WebSocket takes it.
#[must_use]
pub fn accepted(accepted: &Accepted) -> Bytes {
    const FRAME_BYTES: usize = 96;
    let header_bytes = usize::from(websocket_header_bytes(FRAME_BYTES));
    let mut out = BytesMut::with_capacity(header_bytes + FRAME_BYTES);
    put_websocket_header(&mut out, FRAME_BYTES);
    put_frame_table(&mut out, FrameBody::Accepted, 36);
    put_vtable(&mut out, &[60, 4, 20, 36]);
    out.put_bytes(0, 2);
    out.put_u32_le(12); // back to the vtable
    put_client_message_id(&mut out, accepted.client_message_id);
    put_conversation(&mut out, accepted.conversation);
    put_stamp(&mut out, [accepted.message.get(), accepted.sequence.0, accepted.time.0]);
    debug_assert_eq!(out.len(), header_bytes + FRAME_BYTES);
    out.freeze()
}

/// Header and frame in a buffer of exactly their size, which `freeze` then takes over without a second allocation.
fn lay_out(
    conversation: ConversationId,
    sender: UserId,
    stamp: [u64; 3],
    origin: Option<(DeviceId, ClientMessageId)>,
    body: &[u8],
) -> (BytesMut, u8) {
    let layout = if origin.is_some() { WITH_ORIGIN } else { ALONE };
    let frame_bytes = layout.body_at + body.len();
    let header_bytes = websocket_header_bytes(frame_bytes);
    let mut out = BytesMut::with_capacity(usize::from(header_bytes) + frame_bytes);
    put_websocket_header(&mut out, frame_bytes);
    put_frame_table(&mut out, FrameBody::Deliver, layout.deliver_at);
    match origin {
        None => put_deliver_alone(&mut out, conversation, stamp, sender),
        Some(origin) => put_deliver_with_origin(&mut out, conversation, stamp, sender, origin),
    }
    out.put_u32_le(u32::try_from(body.len()).expect("a body is smaller than 4 GiB"));
    debug_assert_eq!(out.len(), usize::from(header_bytes) + layout.body_at);
    out.put_slice(body);
    (out, header_bytes)
}

const fn websocket_header_bytes(payload_bytes: usize) -> u8 {
    match payload_bytes {
        ..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// The header of an unmasked, unfragmented binary message (RFC 6455 §5.2).
fn put_websocket_header(out: &mut BytesMut, payload_bytes: usize) {
    const FIN_BINARY: u8 = 0x82;
    out.put_u8(FIN_BINARY);
    if let Ok(length @ ..=125) = u8::try_from(payload_bytes) {
        out.put_u8(length);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.put_u8(126);
        out.put_u16(length);
    } else {
        out.put_u8(127);
        out.put_u64(payload_bytes as u64);
    }
}

fn put_frame_table(out: &mut BytesMut, body: FrameBody, body_at: u32) {
    out.put_u32_le(FRAME_AT);
    put_vtable(out, &[9, 8, 4]);
    out.put_u32_le(FRAME_AT - 4);
    out.put_u32_le(body_at - (FRAME_AT + 4));
    out.put_u8(body.0);
    out.put_bytes(0, 3);
}

fn put_deliver_alone(out: &mut BytesMut, conversation: ConversationId, stamp: [u64; 3], sender: UserId) {
    put_vtable(out, &[56, 4, 20, 44, 52]);
    out.put_u32_le(12); // back to the vtable
    put_conversation(out, conversation);
    put_stamp(out, stamp);
    out.put_u64_le(sender.get());
    out.put_u32_le(4); // forward to the body
}

fn put_deliver_with_origin(
    out: &mut BytesMut,
    conversation: ConversationId,
    stamp: [u64; 3],
    sender: UserId,
    (device, client_message_id): (DeviceId, ClientMessageId),
) {
    put_vtable(out, &[80, 8, 24, 48, 4, 56, 64]);
    out.put_u32_le(16); // back to the vtable
    out.put_u32_le(80); // forward to the body
    put_conversation(out, conversation);
    put_stamp(out, stamp);
    out.put_u64_le(sender.get());
    out.put_u64_le(device.get());
    put_client_message_id(out, client_message_id);
    out.put_bytes(0, 4);
}

/// A vtable: its own size, the table's size, then where each field is in the table.
fn put_vtable(out: &mut BytesMut, table_bytes_then_fields: &[u16]) {
    let vtable_bytes = 2 * (1 + table_bytes_then_fields.len());
    out.put_u16_le(u16::try_from(vtable_bytes).expect("a vtable of a few fields"));
    for &word in table_bytes_then_fields {
        out.put_u16_le(word);
    }
}

fn put_conversation(out: &mut BytesMut, conversation: ConversationId) {
    let (high, low) = conversation.words();
    out.put_u64_le(high);
    out.put_u64_le(low);
}

fn put_client_message_id(out: &mut BytesMut, id: ClientMessageId) {
    let (high, low) = id.words();
    out.put_u64_le(high);
    out.put_u64_le(low);
}

fn put_stamp(out: &mut BytesMut, stamp: [u64; 3]) {
    for word in stamp {
        out.put_u64_le(word);
    }
}

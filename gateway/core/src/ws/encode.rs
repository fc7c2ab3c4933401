//! Writing frames: RFC 6455 §5.2, always in one fragment and with the shortest length.

use bytes::{BufMut, Bytes, BytesMut};
use switchyard_schema::error::CloseCode;

use super::{Opcode, apply_mask};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};

/// Bytes of the header of an unmasked frame with a payload of this size.
#[must_use]
pub const fn header_bytes(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Writes the header of an unmasked, unfragmented frame: what a server sends.
pub fn put_header(out: &mut impl BufMut, opcode: Opcode, payload_bytes: usize) {
    put_header_with(out, opcode, payload_bytes, 0);
}

/// Writes a whole unmasked frame: what a server sends.
pub fn put_frame(out: &mut impl BufMut, opcode: Opcode, payload: &[u8]) {
    put_header(out, opcode, payload.len());
    out.put_slice(payload);
}

/// A whole unmasked frame: what a server sends.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(header_bytes(payload.len()) + payload.len());
    put_frame(&mut out, opcode, payload);
    out.freeze()
}

/// Appends a whole masked frame: what a client sends. `key` must be unpredictable for every frame (RFC 6455 §5.3).
pub fn put_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    out.reserve(FRAME_HEADER_BYTES_MAX + payload.len());
    put_header_with(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key, 0);
}

/// An unmasked Close with a code and a reason; the reason is cut at a character when it does not fit a control frame.
#[must_use]
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    close_with_code(Some(code as u16), reason)
}

/// An unmasked Close that repeats the peer's code (RFC 6455 §5.5.1), or is empty when the peer gave none.
#[must_use]
pub fn close_reply(code: Option<u16>) -> Bytes {
    close_with_code(code, "")
}

/// The payload of a Close, for a client to mask and send.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let room = CONTROL_PAYLOAD_BYTES_MAX - 2;
    let cut = reason.floor_char_boundary(room.min(reason.len()));
    let mut payload = Vec::with_capacity(2 + cut);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..cut]);
    payload
}

fn close_with_code(code: Option<u16>, reason: &str) -> Bytes {
    match code {
        Some(code) => frame(Opcode::Close, &close_payload(code, reason)),
        None => Bytes::from_static(&[0x88, 0]),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each arm of the match bounds the length it writes")]
fn put_header_with(out: &mut impl BufMut, opcode: Opcode, payload_bytes: usize, mask_bit: u8) {
    assert!(!opcode.is_control() || payload_bytes <= CONTROL_PAYLOAD_BYTES_MAX);
    out.put_u8(0x80 | opcode as u8);
    match payload_bytes {
        0..=125 => out.put_u8(mask_bit | payload_bytes as u8),
        126..=0xFFFF => {
            out.put_u8(mask_bit | 126);
            out.put_u16(payload_bytes as u16);
        }
        _ => {
            out.put_u8(mask_bit | 127);
            out.put_u64(payload_bytes as u64);
        }
    }
}

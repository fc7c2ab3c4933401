//! The header of a frame: RFC 6455 §5.2.

use super::{Role, WsError};
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// What a frame is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that was begun.
    Continuation = 0x0,
    /// A text message, or its first part.
    Text = 0x1,
    /// A binary message, or its first part.
    Binary = 0x2,
    /// The peer closes.
    Close = 0x8,
    /// To be answered with a Pong of the same payload.
    Ping = 0x9,
    /// Answers a Ping, or is a sign of life.
    Pong = 0xA,
}

impl Opcode {
    /// Whether it may stand between the fragments of a message (RFC 6455 §5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// A parsed header.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) last_fragment: bool,
    pub(super) opcode: Opcode,
    pub(super) payload_bytes: u64,
    /// All zero when the frame is not masked, which unmasks to itself.
    pub(super) mask: [u8; 4],
    pub(super) header_bytes: usize,
}

/// Parses the header at the start of `bytes`; `None` when more bytes are needed. Whatever is wrong is reported with the
/// first bytes that show it.
pub(super) fn parse(bytes: &[u8], role: Role) -> Result<Option<Header>, WsError> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(WsError::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(WsError::UnknownOpcode)?;
    let last_fragment = first & 0x80 != 0;
    let masked = second & 0x80 != 0;
    let short_length = second & 0x7F;
    match role {
        Role::Server if !masked => return Err(WsError::NotMasked),
        Role::Client if masked => return Err(WsError::Masked),
        _ => {}
    }
    if opcode.is_control() {
        if !last_fragment {
            return Err(WsError::FragmentedControl);
        }
        if usize::from(short_length) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(WsError::LongControl);
        }
    }
    let (payload_bytes, rest) = match short_length {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    // §5.2: "the minimal number of bytes MUST be used to encode the length", "the most significant bit MUST be 0".
    let shortest = match payload_bytes {
        0..=125 => short_length < 126,
        126..=0xFFFF => short_length == 126,
        _ => payload_bytes >> 63 == 0,
    };
    if !shortest {
        return Err(WsError::BadLength);
    }
    let (mask, rest) = if masked {
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        (*mask, rest)
    } else {
        ([0; 4], rest)
    };
    Ok(Some(Header { last_fragment, opcode, payload_bytes, mask, header_bytes: bytes.len() - rest.len() }))
}

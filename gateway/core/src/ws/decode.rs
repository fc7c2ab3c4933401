//! From received bytes to events: RFC 6455 §5 and §8.
//!
//! A message that lies whole, in one frame, in the bytes just received is unmasked in place and borrowed from there.
//! Anything else is collected beside the decoder while it is incomplete, so an idle decoder is two words and owns no heap
//! memory.

use std::borrow::Cow;

use super::header::{self, Header};
use super::{Opcode, Role, WsError, apply_mask, parse_close};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};

/// Something complete from the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// To be answered with a Pong of the same payload.
    Ping(Cow<'a, [u8]>),
    /// Answers a Ping.
    Pong(Cow<'a, [u8]>),
    /// The peer closes; everything after it is ignored.
    Close {
        /// The peer's code, if it gave one.
        code: Option<u16>,
        /// The peer's reason.
        reason: Cow<'a, str>,
    },
}

/// What one call of [`Decoder::decode`] did.
#[derive(PartialEq, Eq, Debug)]
pub struct Step<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// The event they completed. `None` when all the input is consumed and more is needed.
    pub event: Option<Event<'a>>,
}

/// Decodes what one peer sends.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// After a Close or an error nothing more is looked at.
    closed: bool,
    message_bytes_max: u32,
    /// What has not arrived whole.
    partial: Option<Box<Partial>>,
}

/// What has not arrived whole.
#[derive(Debug, Default)]
struct Partial {
    /// The start of a header.
    header: [u8; FRAME_HEADER_BYTES_MAX],
    header_bytes: u8,
    /// The frame that the next bytes belong to.
    frame: Option<Incomplete>,
    /// The message that was begun, from its first incomplete frame or fragment on.
    message: Option<Assembly>,
    /// The payload of a control frame.
    control: Option<Box<[u8; CONTROL_PAYLOAD_BYTES_MAX]>>,
}

/// A frame whose payload has not arrived whole.
#[derive(Copy, Clone, Debug)]
struct Incomplete {
    opcode: Opcode,
    last_fragment: bool,
    mask: [u8; 4],
    payload_bytes: usize,
    received_bytes: usize,
}

#[derive(Debug)]
struct Assembly {
    text: bool,
    bytes: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    checked_bytes: usize,
}

impl Decoder {
    /// A decoder at the start of the first frame.
    ///
    /// # Panics
    /// When messages may have 4 GiB or more.
    #[must_use]
    pub const fn new(role: Role, message_bytes_max: usize) -> Self {
        assert!(message_bytes_max <= u32::MAX as usize, "a message never has 4 GiB");
        #[expect(clippy::cast_possible_truncation, reason = "just asserted")]
        let message_bytes_max = message_bytes_max as u32;
        Self { role, closed: false, message_bytes_max, partial: None }
    }

    /// Takes the next event out of `input`, which is unmasked in place. Call it again with what is left until it has no
    /// event.
    ///
    /// # Errors
    /// The rule that the peer broke. Later input is consumed and ignored.
    pub fn decode<'a>(&mut self, input: &'a mut [u8]) -> Result<Step<'a>, WsError> {
        let given_bytes = input.len();
        let mut rest = input;
        let result = self.next_event(&mut rest);
        if matches!(result, Err(_) | Ok(Some(Event::Close { .. }))) {
            self.closed = true;
            self.partial = None;
        }
        if self.partial.as_ref().is_some_and(|partial| partial.is_empty()) {
            self.partial = None;
        }
        Ok(Step { event: result?, consumed: given_bytes - rest.len() })
    }

    /// Whether nothing is half received: a connection that ends now ends between two messages.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Bytes of heap memory held for what is half received; 0 when idle.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let Some(partial) = &self.partial else { return 0 };
        let message = partial.message.as_ref().map_or(0, |message| message.bytes.capacity());
        size_of::<Partial>() + message + partial.control.as_ref().map_or(0, |_| CONTROL_PAYLOAD_BYTES_MAX)
    }

    fn next_event<'a>(&mut self, rest: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, WsError> {
        while !rest.is_empty() {
            if self.closed {
                take(rest, rest.len());
                return Ok(None);
            }
            let event = match self.partial.as_ref().and_then(|partial| partial.frame) {
                Some(frame) => self.on_payload(frame, rest)?,
                None => match self.next_header(rest)? {
                    Some(header) => self.on_header(&header, rest)?,
                    None => None,
                },
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    /// The next header, from what was kept of it and `rest`; `None` when `rest` ends inside it.
    fn next_header(&mut self, rest: &mut &mut [u8]) -> Result<Option<Header>, WsError> {
        let role = self.role;
        let kept_bytes = self.partial.as_ref().map_or(0, |partial| usize::from(partial.header_bytes));
        if kept_bytes == 0
            && let Some(header) = header::parse(rest, role)?
        {
            take(rest, header.header_bytes);
            return Ok(Some(header));
        }
        let partial = self.partial();
        let added_bytes = rest.len().min(FRAME_HEADER_BYTES_MAX - kept_bytes);
        let known_bytes = kept_bytes + added_bytes;
        partial.header[kept_bytes..known_bytes].copy_from_slice(&rest[..added_bytes]);
        let header = header::parse(&partial.header[..known_bytes], role)?;
        let (used_bytes, now_kept_bytes) = match &header {
            Some(header) => (header.header_bytes - kept_bytes, 0),
            None => (added_bytes, known_bytes),
        };
        take(rest, used_bytes);
        partial.header_bytes = u8::try_from(now_kept_bytes).expect("a header has at most 14 bytes");
        Ok(header)
    }

    fn on_header<'a>(&mut self, header: &Header, rest: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, WsError> {
        let payload_bytes = self.admit(header)?;
        if payload_bytes > rest.len() {
            self.partial().frame = Some(Incomplete {
                opcode: header.opcode,
                last_fragment: header.last_fragment,
                mask: header.mask,
                payload_bytes,
                received_bytes: 0,
            });
            return Ok(None);
        }
        let payload = take(rest, payload_bytes);
        apply_mask(payload, header.mask, 0);
        match header.opcode {
            Opcode::Ping => Ok(Some(Event::Ping(Cow::Borrowed(payload)))),
            Opcode::Pong => Ok(Some(Event::Pong(Cow::Borrowed(payload)))),
            Opcode::Close => {
                let (code, reason) = parse_close(payload)?;
                Ok(Some(Event::Close { code, reason: Cow::Borrowed(reason) }))
            }
            Opcode::Binary if header.last_fragment => Ok(Some(Event::Binary(Cow::Borrowed(payload)))),
            Opcode::Text if header.last_fragment => {
                let text = simdutf8::basic::from_utf8(payload).map_err(|_| WsError::BadUtf8)?;
                Ok(Some(Event::Text(Cow::Borrowed(text))))
            }
            opcode => {
                self.assembly(opcode).append(payload)?;
                self.end_of_fragment(header.last_fragment)
            }
        }
    }

    /// Checks a header against what came before it (RFC 6455 §5.4) and against the size limit, before any of its payload
    /// is kept. Answers with the payload's size.
    fn admit(&self, header: &Header) -> Result<usize, WsError> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        match (header.opcode, message) {
            (Opcode::Continuation, None) => return Err(WsError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(WsError::UnfinishedMessage),
            _ => {}
        }
        let payload_bytes = usize::try_from(header.payload_bytes).map_err(|_| WsError::TooBig)?;
        if !header.opcode.is_control() {
            let before_bytes = message.map_or(0, |message| message.bytes.len());
            if payload_bytes > self.message_bytes_max as usize - before_bytes {
                return Err(WsError::TooBig);
            }
        }
        Ok(payload_bytes)
    }

    /// More of a frame whose header is already known.
    fn on_payload<'a>(&mut self, mut frame: Incomplete, rest: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, WsError> {
        let taken_bytes = rest.len().min(frame.payload_bytes - frame.received_bytes);
        let part = take(rest, taken_bytes);
        apply_mask(part, frame.mask, frame.received_bytes);
        let (start, end) = (frame.received_bytes, frame.received_bytes + taken_bytes);
        if frame.opcode.is_control() {
            let kept = self.partial().control.get_or_insert_with(|| Box::new([0; CONTROL_PAYLOAD_BYTES_MAX]));
            kept[start..end].copy_from_slice(part);
        } else {
            self.assembly(frame.opcode).append(part)?;
        }
        if end < frame.payload_bytes {
            frame.received_bytes = end;
            self.partial().frame = Some(frame);
            return Ok(None);
        }
        self.partial().frame = None;
        if !frame.opcode.is_control() {
            return self.end_of_fragment(frame.last_fragment);
        }
        let kept = self.partial().control.take().expect("kept above");
        let payload = kept[..end].to_vec();
        Ok(Some(match frame.opcode {
            Opcode::Ping => Event::Ping(Cow::Owned(payload)),
            Opcode::Pong => Event::Pong(Cow::Owned(payload)),
            _ => {
                let (code, reason) = parse_close(&payload)?;
                Event::Close { code, reason: Cow::Owned(reason.to_owned()) }
            }
        }))
    }

    fn assembly(&mut self, opcode: Opcode) -> &mut Assembly {
        let begun = || Assembly { text: opcode == Opcode::Text, bytes: Vec::new(), checked_bytes: 0 };
        self.partial().message.get_or_insert_with(begun)
    }

    fn end_of_fragment<'a>(&mut self, last_fragment: bool) -> Result<Option<Event<'a>>, WsError> {
        if !last_fragment {
            return Ok(None);
        }
        let message = self.partial().message.take().expect("a data frame was just added to it");
        Ok(Some(if message.text {
            Event::Text(Cow::Owned(String::from_utf8(message.bytes).map_err(|_| WsError::BadUtf8)?))
        } else {
            Event::Binary(Cow::Owned(message.bytes))
        }))
    }
}

impl Partial {
    const fn is_empty(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }
}

impl Assembly {
    /// Adds a part of the payload. Text that can no longer become UTF-8 is refused at once; a character may still be
    /// incomplete at the end.
    fn append(&mut self, part: &[u8]) -> Result<(), WsError> {
        self.bytes.extend_from_slice(part);
        if self.text {
            match simdutf8::compat::from_utf8(&self.bytes[self.checked_bytes..]) {
                Ok(_) => self.checked_bytes = self.bytes.len(),
                Err(error) if error.error_len().is_none() => self.checked_bytes += error.valid_up_to(),
                Err(_) => return Err(WsError::BadUtf8),
            }
        }
        Ok(())
    }
}

/// Splits `bytes` off the front of `rest`.
fn take<'a>(rest: &mut &'a mut [u8], bytes: usize) -> &'a mut [u8] {
    let (front, back) = std::mem::take(rest).split_at_mut(bytes);
    *rest = back;
    front
}

//! Frames on a stream of bytes, as QUIC carries them: before each its length, a little-endian `u32`. For binary frames that is
//! what FlatBuffers calls a size-prefixed buffer.
//!
//! [`Decoder`] yields the [`Event`]s that a WebSocket yields, so a session need not know what its frames came on.
//!
//! ```
//! use switchyard_gateway_core::framing::{Decoder, frame};
//! use switchyard_gateway_core::handshake::Form;
//! use switchyard_gateway_core::ws::Event;
//!
//! let received = frame(b"hello");
//! let mut decoder = Decoder::new(Form::Binary, 1024);
//! let step = decoder.decode(&received).unwrap();
//! assert_eq!(step.event, Some(Event::Binary(b"hello".into())));
//! ```

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use switchyard_schema::error::CloseCode;

use crate::handshake::Form;
use crate::limits::STREAM_RESERVE_BYTES_MAX;
use crate::ws::{Event, Step};

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = size_of::<u32>();

/// What stands before a frame of this size.
///
/// # Panics
/// When that is 4 GiB or more.
#[must_use]
pub fn length(frame_bytes: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(frame_bytes).expect("a frame is smaller than 4 GiB").to_le_bytes()
}

/// A frame behind its length.
#[must_use]
pub fn frame(frame: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + frame.len());
    out.put_slice(&length(frame.len()));
    out.put_slice(frame);
    out.freeze()
}

/// A frame that was decoded, as it came: to be decoded once more.
///
/// # Panics
/// When it is none that a stream yields.
#[must_use]
pub fn again(event: &Event<'_>) -> Bytes {
    match event {
        Event::Binary(bytes) => frame(bytes),
        Event::Text(text) => frame(text.as_bytes()),
        Event::Ping(_) | Event::Pong(_) | Event::Close { .. } => panic!("a stream has no {event:?}"),
    }
}

/// What a peer can do wrong. The connection is closed with [`FramingError::close_code`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FramingError {
    /// A frame larger than this end takes.
    #[error("the frame is larger than allowed")]
    TooBig,
    /// A frame of the JSON form is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
}

impl FramingError {
    /// The close code that this end answers with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::TooBig => CloseCode::TooBig,
            Self::NotUtf8 => CloseCode::InvalidPayload,
        }
    }
}

/// Takes apart what one peer sends. While no frame is incomplete it owns no heap memory.
#[derive(Debug)]
pub struct Decoder {
    form: Form,
    frame_bytes_max: usize,
    /// After an error nothing more is looked at: nobody knows where the next frame begins.
    failed: bool,
    /// The beginning of what has not arrived whole, length included.
    partial: Vec<u8>,
}

impl Decoder {
    /// Refuses frames of more than `frame_bytes_max`.
    #[must_use]
    pub const fn new(form: Form, frame_bytes_max: usize) -> Self {
        Self { form, frame_bytes_max, failed: false, partial: Vec::new() }
    }

    /// Whether no frame is half received.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.partial.is_empty()
    }

    /// Takes one frame from the start of `input`, or all of it when more is needed. A frame that lies whole in `input` is
    /// borrowed from there.
    ///
    /// # Errors
    /// [`FramingError`]; from then on everything is passed over.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, FramingError> {
        if self.failed {
            return Ok(Step { consumed: input.len(), event: None });
        }
        let step = if self.partial.is_empty() { self.begin(input) } else { self.go_on(input) };
        self.failed = step.is_err();
        step
    }

    fn begin<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, FramingError> {
        if let Some((length, rest)) = input.split_first_chunk::<LENGTH_BYTES>() {
            let frame_bytes = self.checked(*length)?;
            if let Some(frame) = rest.get(..frame_bytes) {
                return Ok(Step { consumed: LENGTH_BYTES + frame_bytes, event: Some(self.event(frame.into())?) });
            }
            // The length is the peer's word, so it does not get all it names before it has sent some of it.
            self.partial.reserve_exact((LENGTH_BYTES + frame_bytes).min(input.len().max(STREAM_RESERVE_BYTES_MAX)));
        }
        self.partial.extend_from_slice(input);
        Ok(Step { consumed: input.len(), event: None })
    }

    fn go_on<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, FramingError> {
        let mut consumed = self.fill(LENGTH_BYTES, input);
        let Some(length) = self.partial.first_chunk::<LENGTH_BYTES>() else {
            return Ok(Step { consumed, event: None });
        };
        let frame_bytes = self.checked(*length)?;
        consumed += self.fill(LENGTH_BYTES + frame_bytes, &input[consumed..]);
        if self.partial.len() < LENGTH_BYTES + frame_bytes {
            return Ok(Step { consumed, event: None });
        }
        let mut frame = std::mem::take(&mut self.partial);
        frame.drain(..LENGTH_BYTES);
        Ok(Step { consumed, event: Some(self.event(frame.into())?) })
    }

    /// Appends to what is incomplete until it has `upto_bytes`. Answers how much of `input` that took.
    fn fill(&mut self, upto_bytes: usize, input: &[u8]) -> usize {
        let taken_bytes = upto_bytes.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..taken_bytes]);
        taken_bytes
    }

    fn checked(&self, length: [u8; LENGTH_BYTES]) -> Result<usize, FramingError> {
        let frame_bytes = usize::try_from(u32::from_le_bytes(length)).map_err(|_| FramingError::TooBig)?;
        if frame_bytes > self.frame_bytes_max { Err(FramingError::TooBig) } else { Ok(frame_bytes) }
    }

    fn event<'a>(&self, frame: Cow<'a, [u8]>) -> Result<Event<'a>, FramingError> {
        if self.form == Form::Binary {
            return Ok(Event::Binary(frame));
        }
        Ok(Event::Text(match frame {
            Cow::Borrowed(text) => simdutf8::basic::from_utf8(text).map_err(|_| FramingError::NotUtf8)?.into(),
            Cow::Owned(text) => String::from_utf8(text).map_err(|_| FramingError::NotUtf8)?.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_BYTES_MAX: usize = 300;

    /// Every frame in `parts`, which arrive one after the other.
    fn decoded<'a>(form: Form, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut decoder = Decoder::new(form, FRAME_BYTES_MAX);
        let mut frames = Vec::new();
        for mut part in parts {
            while !part.is_empty() {
                let Step { consumed, event } = decoder.decode(part)?;
                assert!(consumed > 0, "every step takes something");
                match event {
                    Some(Event::Binary(frame)) => frames.push(frame.into_owned()),
                    Some(Event::Text(frame)) => frames.push(frame.into_owned().into_bytes()),
                    Some(other) => panic!("a stream has no {other:?}"),
                    None => assert_eq!(consumed, part.len()),
                }
                part = &part[consumed..];
            }
        }
        Ok(frames)
    }

    #[test]
    fn given_frames_however_they_are_cut_then_each_comes_whole_and_in_order() {
        let frames: [&[u8]; 4] = [b"alpha", b"", &[7; FRAME_BYTES_MAX], b"omega"];
        let sent: Vec<u8> = frames.iter().flat_map(|one| frame(one)).collect();
        for part_bytes in 1..=sent.len() {
            assert_eq!(decoded(Form::Binary, sent.chunks(part_bytes)).unwrap(), frames, "{part_bytes} bytes at a time");
        }
    }

    #[test]
    fn given_a_frame_that_is_whole_then_it_is_borrowed_and_nothing_is_kept() {
        let sent = frame(b"whole");
        let mut decoder = Decoder::new(Form::Binary, FRAME_BYTES_MAX);
        let step = decoder.decode(&sent).unwrap();
        assert!(matches!(step.event, Some(Event::Binary(Cow::Borrowed(b"whole")))));
        assert_eq!(decoder.partial.capacity(), 0);
    }

    #[test]
    fn given_a_length_beyond_the_bound_then_it_is_refused_before_anything_of_it_is_kept() {
        for length in [FRAME_BYTES_MAX + 1, u32::MAX as usize] {
            let length = super::length(length);
            for part_bytes in 1..=LENGTH_BYTES {
                assert_eq!(decoded(Form::Binary, length.chunks(part_bytes)), Err(FramingError::TooBig));
            }
        }
        let mut decoder = Decoder::new(Form::Binary, FRAME_BYTES_MAX);
        assert!(decoder.decode(&[0xFF; 4]).is_err());
        assert_eq!(decoder.decode(&frame(b"late")).unwrap(), Step { consumed: 8, event: None }, "nobody listens");
    }

    #[test]
    fn given_a_large_length_and_few_bytes_then_little_memory_is_taken() {
        let mut decoder = Decoder::new(Form::Binary, 1 << 30);
        decoder.decode(&length(1 << 30)).unwrap();
        assert!(decoder.partial.capacity() <= STREAM_RESERVE_BYTES_MAX);
    }

    #[test]
    fn given_text_then_it_must_be_utf8_however_it_is_cut() {
        let good = frame("grüße".as_bytes());
        let bad = frame(b"gr\xFC\xDFe");
        for part_bytes in 1..=good.len() {
            assert_eq!(decoded(Form::Json, good.chunks(part_bytes)).unwrap(), ["grüße".as_bytes()]);
            assert_eq!(decoded(Form::Json, bad.chunks(part_bytes)), Err(FramingError::NotUtf8));
        }
        assert_eq!(FramingError::NotUtf8.close_code(), CloseCode::InvalidPayload);
    }
}

//! Frames on a stream of bytes, as QUIC carries them: against the rule read literally, and against itself in other pieces.

use switchyard_gateway_core::framing::{Decoder, FramingError, LENGTH_BYTES, frame, length};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::{Event, Step};

use crate::source::Source;

/// Every frame that came, and the error that ended it if one did.
type Seen = (Vec<Vec<u8>>, Option<FramingError>);

/// First byte: form and size limit; second: how the stream is cut; the rest is what the peer sends.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    let form = if choice & 1 == 0 { Form::Binary } else { Form::Json };
    let frame_bytes_max = [0, 5, 300, 70_000][usize::from(choice >> 1) % 4];
    let cut = source.byte();
    let sent = source.rest();

    let expected = literally(form, frame_bytes_max, sent);
    let whole = [sent.len().max(1)];
    let bytes = [1];
    // Pieces of ever other sizes, so that cuts fall into lengths, into frames and between them.
    let uneven = [usize::from(cut) + 1, usize::from(cut >> 4) + 1, usize::from(cut & 0xF) + 1];
    for pieces in [whole.as_slice(), &bytes, &uneven] {
        assert_eq!(decoded(form, frame_bytes_max, sent, pieces), expected, "in pieces of {pieces:?}");
    }
    for frame in &expected.0 {
        again(form, frame_bytes_max, frame);
    }
}

/// What the stream holds, by the rule: a length, then so many bytes, until either is not whole.
fn literally(form: Form, frame_bytes_max: usize, mut sent: &[u8]) -> Seen {
    let mut frames = Vec::new();
    while let Some((length, rest)) = sent.split_first_chunk::<LENGTH_BYTES>() {
        let frame_bytes = u32::from_le_bytes(*length) as usize;
        if frame_bytes > frame_bytes_max {
            return (frames, Some(FramingError::TooBig));
        }
        let Some((frame, rest)) = rest.split_at_checked(frame_bytes) else { break };
        if form == Form::Json && str::from_utf8(frame).is_err() {
            return (frames, Some(FramingError::NotUtf8));
        }
        frames.push(frame.to_vec());
        sent = rest;
    }
    (frames, None)
}

/// What the decoder sees when `sent` arrives in pieces of these sizes, over and over.
fn decoded(form: Form, frame_bytes_max: usize, mut sent: &[u8], pieces: &[usize]) -> Seen {
    let mut decoder = Decoder::new(form, frame_bytes_max);
    let mut frames = Vec::new();
    let mut sizes = pieces.iter().cycle();
    while !sent.is_empty() {
        let size = *sizes.next().expect("it goes round");
        let (mut piece, rest) = sent.split_at(size.min(sent.len()));
        sent = rest;
        while !piece.is_empty() {
            let Step { consumed, event } = match decoder.decode(piece) {
                Ok(step) => step,
                Err(error) => {
                    let late = frame(b"late");
                    let after = decoder.decode(&late).expect("an error is told once");
                    assert_eq!(after, Step { consumed: late.len(), event: None }, "nothing comes after an error");
                    return (frames, Some(error));
                }
            };
            assert!(consumed > 0 && consumed <= piece.len(), "every step takes something that is there");
            match (form, event) {
                (Form::Binary, Some(Event::Binary(frame))) => frames.push(frame.into_owned()),
                (Form::Json, Some(Event::Text(text))) => frames.push(text.into_owned().into_bytes()),
                (_, Some(other)) => panic!("a stream of {form:?} has no {other:?}"),
                (_, None) => assert_eq!(consumed, piece.len(), "it stops early only for a frame"),
            }
            piece = &piece[consumed..];
        }
    }
    (frames, None)
}

/// A frame that came goes out as it came.
fn again(form: Form, frame_bytes_max: usize, bytes: &[u8]) {
    let sent = frame(bytes);
    assert_eq!(sent[..LENGTH_BYTES], length(bytes.len()));
    assert_eq!(decoded(form, frame_bytes_max, &sent, &[sent.len()]), (vec![bytes.to_vec()], None));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let stream = |choice: u8, cut: u8, frames: &[&[u8]]| {
        let mut bytes = vec![choice, cut];
        frames.iter().for_each(|one| bytes.extend_from_slice(&frame(one)));
        bytes
    };
    let mut cut_short = stream(4, 3, &[b"whole", &[7; 200]]);
    cut_short.truncate(40);
    let mut in_a_length = stream(4, 1, &[b"whole"]);
    in_a_length.extend([9, 0]);
    vec![
        stream(4, 2, &[b"alpha", b"", &[7; 250], b"omega"]),
        stream(5, 0x21, &["grüße".as_bytes(), br#"{"type":"ping","nonce":"5"}"#]),
        stream(5, 4, &[b"good", b"gr\xFC\xDFe", b"never seen"]),
        stream(2, 9, &[b"small", b"too large"]),
        stream(0, 0, &[b"", b"", b"x"]),
        vec![6, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        cut_short,
        in_a_length,
    ]
}

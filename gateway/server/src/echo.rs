//! `/echo`: sends back what it receives. For conformance suites and for measuring the transport alone.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use switchyard_gateway_core::outbound::{Outbound, Overflow};
use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, WsError, encode};

use crate::limits::{RECEIVE_BYTES, WRITE_DIRECT_BYTES};

/// The receiving side of an echo.
#[derive(Debug)]
pub(crate) struct Echo {
    decoder: Decoder,
}

/// What is left to do with a connection after bytes of it were handled.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// Wait for more.
    GoOn,
    /// Close it when everything is written.
    Close,
    /// The peer does not read what it gets back: drop it.
    Drop,
}

impl Echo {
    pub(crate) const fn new(message_bytes_max: usize) -> Self {
        Self { decoder: Decoder::new(Role::Server, message_bytes_max) }
    }

    /// Bytes that may wait to be written: reading stops while a message waits, so at most one more of the largest size and
    /// the answers to one receive buffer come on top.
    pub(crate) const fn outbound_bytes_max(message_bytes_max: usize) -> usize {
        2 * message_bytes_max + 4 * RECEIVE_BYTES
    }

    /// Answers everything in `input`. The answers gather in one buffer, so that they leave with one write.
    pub(crate) fn on_bytes(&mut self, mut input: &mut [u8], outbound: &mut Outbound, frames: &mut u64) -> After {
        let mut answers = BytesMut::new();
        let after = loop {
            match self.decoder.decode(input) {
                Ok(step) => {
                    let consumed = step.consumed;
                    let Some(event) = step.event else { break After::GoOn };
                    *frames += 1;
                    match answer(event, &mut answers, outbound) {
                        Ok(After::GoOn) => {}
                        Ok(after) => break after,
                        Err(Overflow) => return After::Drop,
                    }
                    input = &mut std::mem::take(&mut input)[consumed..];
                }
                Err(error) => {
                    answers.extend_from_slice(&refusal(error));
                    break After::Close;
                }
            }
        };
        match outbound.push(answers.freeze()) {
            Ok(()) => after,
            Err(Overflow) => After::Drop,
        }
    }
}

fn answer(event: Event<'_>, answers: &mut BytesMut, outbound: &mut Outbound) -> Result<After, Overflow> {
    match event {
        Event::Text(Cow::Owned(text)) if text.len() >= WRITE_DIRECT_BYTES => {
            answer_large(Opcode::Text, text.into_bytes(), answers, outbound)?;
        }
        Event::Binary(Cow::Owned(bytes)) if bytes.len() >= WRITE_DIRECT_BYTES => {
            answer_large(Opcode::Binary, bytes, answers, outbound)?;
        }
        Event::Text(text) => encode::put_frame(answers, Opcode::Text, text.as_bytes()),
        Event::Binary(bytes) => encode::put_frame(answers, Opcode::Binary, &bytes),
        Event::Ping(payload) => encode::put_frame(answers, Opcode::Pong, &payload),
        Event::Pong(_) => {}
        Event::Close { code, .. } => {
            answers.extend_from_slice(&encode::close_reply(code));
            return Ok(After::Close);
        }
    }
    Ok(After::GoOn)
}

/// Sends a message back from where it was assembled, without copying it.
fn answer_large(
    opcode: Opcode,
    payload: Vec<u8>,
    answers: &mut BytesMut,
    outbound: &mut Outbound,
) -> Result<(), Overflow> {
    encode::put_header(answers, opcode, payload.len());
    outbound.push(answers.split().freeze())?;
    outbound.push(Bytes::from(payload))
}

fn refusal(error: WsError) -> Bytes {
    encode::close(error.close_code(), &error.to_string())
}

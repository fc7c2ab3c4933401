//! `/echo`, and the echo over QUIC: sends back what it receives. For conformance suites and for measuring the transport alone.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use switchyard_gateway_core::heartbeat::{Beat, Heartbeat};
use switchyard_gateway_core::limits::OUTBOUND_CONGESTED_BYTES;
use switchyard_gateway_core::outbound::{Outbound, Overflow};
use switchyard_gateway_core::session::{Close, Transport};
use switchyard_gateway_core::wheel::Slot;
use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, WsError, encode};
use switchyard_schema::error::CloseCode;
use switchyard_schema::ids::Millis;

use crate::connection::Phase;
use crate::limits::{RECEIVE_BYTES, WRITE_DIRECT_BYTES};
use crate::state::State;

/// Bytes that may wait on a stream: as many as stop it from being read, and those of one more read.
const STREAM_BYTES_MAX: usize = OUTBOUND_CONGESTED_BYTES + RECEIVE_BYTES;

/// The receiving side of an echo.
#[derive(Debug)]
pub(crate) struct Echo {
    language: Language,
    heartbeat: Heartbeat,
}

/// What it is spoken to in.
#[derive(Debug)]
enum Language {
    /// WebSocket messages.
    Messages(Decoder),
    /// Bytes on a stream.
    Bytes,
}

/// WebSocket messages and control frames of one step.
#[derive(Default)]
struct Frames {
    received: u64,
    queued: u64,
}

/// What is left to do with a connection after bytes of it were handled.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum After {
    /// Wait for more.
    GoOn,
    /// Close it when everything is written.
    Close,
    /// The peer does not read what it gets back: drop it.
    Drop,
}

impl Echo {
    const fn new(language: Language, now: Millis) -> Self {
        Self { language, heartbeat: Heartbeat::new(now) }
    }

    /// Bytes were received, or the peer has taken some of what waits for it.
    pub(crate) const fn on_sign_of_life(&mut self, now: Millis) {
        self.heartbeat.on_sign(now);
    }

    /// Bytes that may wait to be written: reading stops while a message waits, so at most one more of the largest size and
    /// the answers to one receive buffer come on top.
    const fn outbound_bytes_max(message_bytes_max: usize) -> usize {
        2 * message_bytes_max + 4 * RECEIVE_BYTES
    }

    /// Answers everything in `input`. The answers gather in one buffer, so that they leave with one write.
    fn on_bytes(&mut self, mut input: &mut [u8], outbound: &mut Outbound, frames: &mut Frames) -> After {
        let Language::Messages(decoder) = &mut self.language else {
            return outbound.push(Bytes::copy_from_slice(input)).map_or(After::Drop, |()| After::GoOn);
        };
        let mut answers = BytesMut::new();
        let after = loop {
            match decoder.decode(input) {
                Ok(step) => {
                    let consumed = step.consumed;
                    let Some(event) = step.event else { break After::GoOn };
                    frames.received += 1;
                    frames.queued += u64::from(!matches!(event, Event::Pong(_)));
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

impl State {
    /// The upgrade of an echo is done.
    pub(crate) fn open_echo(&mut self, slot: Slot) {
        let message_bytes_max = self.config.echo_bytes_max;
        let decoder = Decoder::new(Role::Server, message_bytes_max);
        self.begin_echo(slot, Language::Messages(decoder), Echo::outbound_bytes_max(message_bytes_max));
    }

    /// The handshake of an echo over QUIC is done.
    pub(crate) fn open_stream_echo(&mut self, slot: Slot) {
        self.begin_echo(slot, Language::Bytes, STREAM_BYTES_MAX);
        self.quic_mut().widen(slot);
    }

    fn begin_echo(&mut self, slot: Slot, language: Language, outbound_bytes_max: usize) {
        let echo = Echo::new(language, self.around.now.monotonic);
        self.wheel.schedule(slot, echo.heartbeat.next_look(self.around.settings.heartbeat_ms));
        let connection = self.connection(slot);
        connection.outbound = Outbound::new(outbound_bytes_max);
        connection.phase = Phase::Echo(Box::new(echo));
        self.count_stage(slot);
    }

    /// Bytes of an echo's client arrived.
    pub(crate) fn on_echo_bytes(&mut self, slot: Slot, input: &mut [u8]) {
        let now = self.around.now.monotonic;
        let connection = self.connection(slot);
        let Phase::Echo(echo) = &mut connection.phase else { return };
        echo.on_sign_of_life(now);
        let mut frames = Frames::default();
        let before_bytes = connection.outbound.queued_bytes();
        let after = echo.on_bytes(input, &mut connection.outbound, &mut frames);
        self.outbound_bytes += connection.outbound.queued_bytes() - before_bytes;
        self.counters.frames_in.add(frames.received);
        self.counters.frames_out.add(frames.queued);
        self.mark_dirty(slot);
        self.on_echo_answered(slot, after);
    }

    /// An echo's timer is due: it is pinged after a heartbeat of silence and closed after two, as sessions are.
    pub(crate) fn on_echo_timer(&mut self, slot: Slot) {
        let (now, heartbeat_ms) = (self.around.now.monotonic, self.around.settings.heartbeat_ms);
        let connection = self.connection(slot);
        let Phase::Echo(echo) = &mut connection.phase else { return };
        let beat = echo.heartbeat.on_timer(now, heartbeat_ms);
        let next_look = echo.heartbeat.next_look(heartbeat_ms);
        match beat {
            Beat::Quiet => self.wheel.schedule(slot, next_look),
            Beat::Ping => {
                self.wheel.schedule(slot, next_look);
                self.ping_echo(slot);
            }
            Beat::GiveUp => {
                self.end_echo(slot, CloseCode::Timeout, "nothing was received for twice the heartbeat");
            }
        }
    }

    fn ping_echo(&mut self, slot: Slot) {
        if self.connection(slot).transport == Transport::Quic {
            return self.quic_mut().ping(slot);
        }
        let mut ping = BytesMut::new();
        encode::put_frame(&mut ping, Opcode::Ping, &[]);
        let queued = self.queue(slot, ping.freeze());
        self.on_echo_answered(slot, queued.map_or(After::Drop, |()| After::GoOn));
    }

    /// Closes an echo with a code and a reason, when everything is written.
    pub(crate) fn end_echo(&mut self, slot: Slot, code: CloseCode, reason: &str) {
        match self.connection(slot).transport {
            Transport::WebSocket => self.say_last(slot, encode::close(code, reason)),
            Transport::Quic => {
                self.quic_mut().close_later(slot, Close { code, reason: reason.into() });
                self.close(slot);
            }
        }
    }

    fn on_echo_answered(&mut self, slot: Slot, after: After) {
        match after {
            After::GoOn => {}
            After::Close => self.close(slot),
            After::Drop => {
                self.counters.too_slow.add(1);
                self.abort(slot);
            }
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

//! Sessions that take part in everything but read nothing: their acks go out blindly, so that the server goes on delivering,
//! and what it delivers piles up at its end until it gives the session up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use switchyard_gateway_core::ws::{Opcode, encode};
use switchyard_schema::body;
use switchyard_schema::frame::{Ack, ClientFrame, Send};
use switchyard_schema::ids::{ClientMessageId, ConversationId, Sequence};
use switchyard_schema::limits::TEXT_CHARS_MAX;
use switchyard_schema::wire::Encoder;

use super::flood::{Abuser, Flood, abusers, open};
use super::kinds::REST;
use crate::SwarmError;
use crate::tokens::Signer;

/// Sessions that do not read, each with another that writes to it.
const READERS: usize = 10;
/// Between two messages of a writer: twice the usual rate, which a rest before allows for ten seconds.
const PACE: Duration = Duration::from_millis(10);
/// The longest character there is, so that a text is as large as it may be.
const CHARACTER: &str = "𝄞";

/// Somebody who writes as much as is allowed.
struct Writer {
    stream: Flood,
    sent: u128,
    frame: Vec<u8>,
    due: Instant,
}

/// Abuses the server until told to stop; answers how many bytes were written to those who do not read.
pub(super) fn run(server: SocketAddr, signer: &Signer, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let users = abusers(2 * READERS, signer);
    let (readers, writers) = users.split_at(READERS);
    let session = |number: usize, users: &[Abuser]| open(server, number as u64, &users[number]);
    let (mut encoder, text) = (Encoder::default(), body::text(&CHARACTER.repeat(TEXT_CHARS_MAX)));
    let mut pairs = Vec::new();
    for number in 0..READERS {
        let writer = Writer { stream: session(number, writers)?, sent: 0, frame: Vec::new(), due: Instant::now() };
        let conversation = ConversationId::direct(readers[number].user, writers[number].user);
        // It has read as much as there will ever be; the server knows what it sent.
        let ack = Ack { conversation, delivered: Some(Sequence(u64::MAX >> 1)), read: None };
        let mut frame = Vec::new();
        encode::put_masked(&mut frame, Opcode::Binary, encoder.client(&ClientFrame::Ack(ack)), [0; 4]);
        pairs.push((session(number, readers)?, frame, writer, conversation));
    }
    let mut sent_bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        for (number, (reader, ack, writer, conversation)) in pairs.iter_mut().enumerate() {
            if reader.pour(ack).is_none() {
                *reader = session(number, readers)?;
            }
            match writer.write(*conversation, &text, &mut encoder) {
                Some(bytes) => sent_bytes += bytes,
                None => writer.begin_again(session(number, writers)?),
            }
        }
        thread::sleep(REST);
    }
    Ok(sent_bytes)
}

impl Writer {
    /// Writes on, the next message when it is due. `None` when the server has closed.
    fn write(&mut self, conversation: ConversationId, body: &[u8], encoder: &mut Encoder) -> Option<u64> {
        self.stream.read_all();
        if self.stream.sent_bytes() == self.frame.len() as u64 {
            if Instant::now() < self.due {
                return Some(0);
            }
            self.due += PACE;
            self.sent += 1;
            let client_message_id = ClientMessageId(self.sent.to_be_bytes());
            let frame = ClientFrame::Send(Send { client_message_id, conversation, body: body.into() });
            self.frame.clear();
            encode::put_masked(&mut self.frame, Opcode::Binary, encoder.client(&frame), [0; 4]);
            self.stream.begin();
        }
        self.stream.pour(&self.frame)
    }

    fn begin_again(&mut self, stream: Flood) {
        (self.stream, self.due) = (stream, Instant::now());
        self.frame.clear();
    }
}

//! A WebSocket whose other end sends everything back.

use switchyard_gateway_core::handshake::{ClientRequest, ECHO_PATH};
use switchyard_gateway_core::ws::{Opcode, encode};
use switchyard_swarm::random::random;
use switchyard_swarm::wire::{self, Masks, Wire, put_pong};

use super::template::{Template, number_of};
use super::{Client, Said, Sender, Taken};

/// A client of an echo.
#[derive(Debug)]
pub struct EchoClient {
    wire: Wire,
    nonce: [u8; 16],
    masks: Masks,
    message: Template,
    payload_bytes: usize,
}

impl EchoClient {
    /// A client of messages with a payload of this size, which holds at least the number.
    #[must_use]
    pub fn new(payload_bytes: usize) -> Self {
        let random = random();
        let mut masks = Masks::new(random);
        let key = masks.next_mask();
        let mut bytes = Vec::new();
        encode::put_masked(&mut bytes, Opcode::Binary, &vec![b'x'; payload_bytes], key);
        let number_at = bytes.len() - payload_bytes;
        Self {
            wire: Wire::default(),
            nonce: u128::from(random).to_le_bytes(),
            masks,
            message: Template::masked(bytes, number_at, key),
            payload_bytes,
        }
    }

    const fn request(&self) -> ClientRequest<'static> {
        ClientRequest { host: "bench", path: ECHO_PATH, form: None, token: None, nonce: self.nonce }
    }
}

impl Client for EchoClient {
    fn start(&mut self, out: &mut Vec<u8>) {
        self.wire.start(&self.request(), out);
    }

    fn take(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Taken, String> {
        let request = self.request();
        let step = self.wire.decode(input, &request, self.payload_bytes).map_err(|error| error.to_string())?;
        let said = match step.said {
            None | Some(wire::Said::Pong) => None,
            Some(wire::Said::Upgraded) => Some(Said::Ready),
            Some(wire::Said::Ping(payload)) => {
                put_pong(out, &payload, &mut self.masks);
                None
            }
            Some(wire::Said::Binary(payload)) if payload.len() == self.payload_bytes => {
                Some(Said::Delivered(number_of(&payload).ok_or("the echo is not what was sent")?))
            }
            Some(other) => return Err(format!("expected an echo, got {other:?}")),
        };
        Ok(Taken { consumed: step.consumed, said })
    }
}

impl Sender for EchoClient {
    fn put_message(&mut self, number: u64, out: &mut Vec<u8>) {
        self.message.put(number, out);
    }
}

//! The client's end of one session in the binary form: upgrade, then frames.

use std::borrow::Cow;

use switchyard_gateway_core::handshake::{
    ClientHandshake, ClientRequest, Form, SESSION_PATH, client_request, parse_response,
};
use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, encode};
use switchyard_schema::frame::{ClientFrame, Hello};
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use switchyard_schema::wire::Encoder;

/// One device of one user.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    device: DeviceId,
    token: String,
    phase: Phase,
    decoder: Decoder,
    random: u64,
}

#[derive(Debug)]
enum Phase {
    /// The request went out; what has come of the response.
    Upgrading(Vec<u8>),
    Open,
}

/// Something the server said.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A frame, not yet parsed.
    Frame(Cow<'a, [u8]>),
    /// The server closes the session.
    Close {
        /// With this code.
        code: Option<u16>,
    },
}

/// What one call of [`Session::decode`] did.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What they completed.
    pub incoming: Option<Incoming<'a>>,
}

impl Session {
    /// A session that is not connected yet. `random` seeds the masks.
    #[must_use]
    pub fn new(user: UserId, device: DeviceId, token: String, random: u64) -> Self {
        let decoder = Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX);
        Self { user, device, token, phase: Phase::Open, decoder, random: random | 1 }
    }

    /// Its user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// Its device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// The token it says hello with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Asks for the upgrade on a fresh connection; the Hello follows when it is granted.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        self.phase = Phase::Upgrading(Vec::new());
        self.decoder = Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX);
        out.extend_from_slice(&client_request(&self.request()));
    }

    /// Takes the next event out of `input`, which is unmasked in place; call it again with what is left.
    ///
    /// # Errors
    /// A sentence about what the server did wrong.
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) -> Result<Decoded<'a>, String> {
        if let Phase::Upgrading(_) = self.phase {
            return self.on_response(input, encoder, out);
        }
        let step = self.decoder.decode(input).map_err(|error| error.to_string())?;
        let consumed = step.consumed;
        let incoming = match step.event {
            None | Some(Event::Pong(_)) => None,
            Some(Event::Binary(frame)) => Some(Incoming::Frame(frame)),
            Some(Event::Text(text)) => return Err(format!("text on a binary session: {text}")),
            Some(Event::Close { code, .. }) => Some(Incoming::Close { code }),
            Some(Event::Ping(payload)) => {
                let key = self.mask();
                encode::put_masked(out, Opcode::Pong, &payload, key);
                None
            }
        };
        Ok(Decoded { consumed, incoming })
    }

    /// Appends a frame to what is to be written.
    pub fn send(&mut self, frame: &ClientFrame<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
        let key = self.mask();
        encode::put_masked(out, Opcode::Binary, encoder.client(frame), key);
    }

    fn on_response<'a>(
        &mut self,
        input: &'a mut [u8],
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) -> Result<Decoded<'a>, String> {
        let Phase::Upgrading(received) = &mut self.phase else { unreachable!("checked by the caller") };
        let before_bytes = received.len();
        received.extend_from_slice(input);
        let received = std::mem::take(received);
        match parse_response(&received, &self.request()).map_err(|error| error.to_string())? {
            ClientHandshake::NotYet => {
                self.phase = Phase::Upgrading(received);
                Ok(Decoded { consumed: input.len(), incoming: None })
            }
            ClientHandshake::Open { consumed } => {
                self.phase = Phase::Open;
                let token = std::mem::take(&mut self.token);
                let hello = Hello { token: Some(Cow::Borrowed(&token)), device: self.device };
                self.send(&ClientFrame::Hello(hello), encoder, out);
                self.token = token;
                Ok(Decoded { consumed: consumed - before_bytes, incoming: None })
            }
        }
    }

    fn request(&self) -> ClientRequest<'static> {
        let mut nonce = [7; 16];
        nonce[..8].copy_from_slice(&self.user.get().to_le_bytes());
        ClientRequest { host: "swarm", path: SESSION_PATH, form: Some(Form::Binary), token: None, nonce }
    }

    /// The next mask: xorshift64*, seeded by the kernel. Masks protect proxies from scripts, and there are neither here.
    fn mask(&mut self) -> [u8; 4] {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let [a, b, c, d, ..] = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        [a, b, c, d]
    }
}

//! The client's end of one session in the binary form: upgrade where there is one, Hello, then frames.

use std::borrow::Cow;

use switchyard_gateway_core::handshake::{ClientRequest, Form, SESSION_PATH};
use switchyard_schema::frame::{ClientFrame, Hello};
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use switchyard_schema::wire::Encoder;

use crate::wire::{Framing, Masks, Said, Wire, put_pong};

/// One device of one user.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    device: DeviceId,
    token: String,
    wire: Wire,
    framing: Framing,
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
        Self::framed(user, device, token, Framing::WebSocket(Masks::new(random)))
    }

    /// A session that is not connected yet, on whatever carries its frames.
    #[must_use]
    pub fn framed(user: UserId, device: DeviceId, token: String, framing: Framing) -> Self {
        Self { user, device, token, wire: Wire::default(), framing }
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
        self.wire.start(&request(self.user), out);
    }

    /// Begins on a fresh connection of any kind: asks for the upgrade, or says Hello where there is none.
    pub fn open(&mut self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        match self.framing {
            Framing::WebSocket(_) => self.start(out),
            Framing::Stream => {
                self.wire.start_stream();
                put_hello(out, self.device, &self.token, encoder, &mut self.framing);
            }
        }
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
        let step =
            self.wire.decode(input, &request(self.user), SERVER_FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
        let incoming = match step.said {
            None | Some(Said::Pong) => None,
            Some(Said::Upgraded) => {
                put_hello(out, self.device, &self.token, encoder, &mut self.framing);
                None
            }
            Some(Said::Binary(frame)) => Some(Incoming::Frame(frame)),
            Some(Said::Text(text)) => return Err(format!("text on a binary session: {text}")),
            Some(Said::Close { code }) => Some(Incoming::Close { code }),
            Some(Said::Ping(payload)) => {
                // A stream has none.
                if let Framing::WebSocket(masks) = &mut self.framing {
                    put_pong(out, &payload, masks);
                }
                None
            }
        };
        Ok(Decoded { consumed: step.consumed, incoming })
    }

    /// Appends a frame to what is to be written.
    pub fn send(&mut self, frame: &ClientFrame<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
        put_frame(out, frame, encoder, &mut self.framing);
    }
}

/// How a user's session asks for its upgrade.
pub(crate) fn request(user: UserId) -> ClientRequest<'static> {
    let mut nonce = [7; 16];
    nonce[..8].copy_from_slice(&user.get().to_le_bytes());
    ClientRequest { host: "swarm", path: SESSION_PATH, form: Some(Form::Binary), token: None, nonce }
}

/// Appends a Hello.
pub(crate) fn put_hello(
    out: &mut Vec<u8>,
    device: DeviceId,
    token: &str,
    encoder: &mut Encoder,
    framing: &mut Framing,
) {
    put_frame(out, &ClientFrame::Hello(Hello { token: Some(Cow::Borrowed(token)), device }), encoder, framing);
}

/// Appends a frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, frame: &ClientFrame<'_>, encoder: &mut Encoder, framing: &mut Framing) {
    framing.put(out, encoder.client(frame));
}

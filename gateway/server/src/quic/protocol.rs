//! What a client may want to speak, by its name (ALPN, RFC 7301).

use switchyard_gateway_core::handshake::{ECHO_PROTOCOL, Form};

/// What is spoken on a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// A session's frames.
    Session(Form),
    /// Everything comes back.
    Echo,
}

impl Protocol {
    /// Those that a gateway speaks, in its order of preference.
    pub(super) fn spoken(echo: bool) -> impl Iterator<Item = Self> {
        let sessions = [Self::Session(Form::Binary), Self::Session(Form::Json)];
        sessions.into_iter().chain(echo.then_some(Self::Echo))
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Session(form) => form.subprotocol(),
            Self::Echo => ECHO_PROTOCOL,
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Self::spoken(true).find(|protocol| protocol.name().as_bytes() == name)
    }
}

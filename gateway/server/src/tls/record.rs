//! TLS of one connection between its socket's bytes and its WebSocket's, without IO.
//!
//! rustls decides; what it is given and what it makes lies in buffers that all connections of the thread share. Its unbuffered
//! form is used: the usual one keeps a receive buffer of four kilobytes for each connection. What is kept here is a record that
//! has not arrived whole, and what the socket did not take; an idle connection has neither.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, ServerConfig};

use crate::limits::TLS_INCOMPLETE_BYTES_MAX;

/// Bytes that encryption adds at most to a record: header, explicit nonce or content type, tag.
const RECORD_OVERHEAD_BYTES: usize = 5 + 8 + 16;
/// Plaintext bytes of a record (RFC 8446 §5.1).
const RECORD_PLAIN_BYTES_MAX: usize = 1 << 14;
/// The content type that everything of a client begins with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// TLS of a connection.
pub(crate) struct Secure {
    rustls: UnbufferedServerConnection,
    /// Received bytes that make no whole record, or no whole handshake message, yet. rustls may have worked on them in place
    /// and wants to see them each time until it lets go of them.
    incomplete: Vec<u8>,
    /// Made and not yet taken by the socket.
    unsent: Vec<u8>,
    /// Nothing more is encrypted: the peer was told so, or TLS has failed.
    ended: bool,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// How far the peer's bytes led.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// More may come.
    Open,
    /// The peer says that nothing more comes (close_notify).
    Goodbye,
}

/// Why TLS failed. What is to be told to the peer waits to be written ([`Secure::unsent`]).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// What came first is no TLS.
    NotTls,
    /// The two have no version, cipher or protocol in common.
    Incompatible,
    /// The peer gave up: it does not trust the certificate, for example.
    Refused,
    /// The peer broke the protocol.
    Malformed,
}

impl Failure {
    fn of(error: &Error) -> Self {
        match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::AlertReceived(_) => Self::Refused,
            _ => Self::Malformed,
        }
    }
}

impl Secure {
    /// A connection whose handshake is awaited.
    ///
    /// # Errors
    /// When rustls cannot work with the configuration.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let rustls = UnbufferedServerConnection::new(config)?;
        Ok(Self { rustls, incomplete: Vec::new(), unsent: Vec::new(), ended: false })
    }

    /// Whether the peer's bytes mean nothing to the WebSocket yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.rustls.is_handshaking()
    }

    /// Whether the client resumed, so that it was spared a full handshake.
    pub(crate) fn is_resumed(&self) -> bool {
        self.rustls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Bytes that are kept now.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.incomplete.capacity() + self.unsent.capacity()
    }

    /// Puts what is kept of the peer's bytes at the start of a buffer that more are received into, and says how many these are.
    pub(crate) fn put_incomplete(&self, buffer: &mut [u8]) -> usize {
        buffer[..self.incomplete.len()].copy_from_slice(&self.incomplete);
        self.incomplete.len()
    }

    /// Takes `received`, which begins with what [`Secure::put_incomplete`] put there, and appends what it says to `plain`. What
    /// has to be answered waits in [`Secure::unsent`] afterwards.
    ///
    /// # Errors
    /// [`Failure`]; `plain` has what came before it.
    pub(crate) fn decrypt(&mut self, received: &mut [u8], plain: &mut Vec<u8>) -> Result<Heard, Failure> {
        if self.ended {
            return Ok(Heard::Open);
        }
        if self.is_silent() && received.first().is_some_and(|&first| first != HANDSHAKE) {
            self.ended = true;
            return Err(Failure::NotTls);
        }
        let mut begin = 0;
        let result = self.decrypt_from(&mut begin, received, plain);
        let rest = &received[begin..];
        // Emptied, it gives its memory back.
        self.incomplete = if result == Ok(Heard::Open) { rest.to_vec() } else { Vec::new() };
        if self.incomplete.len() > TLS_INCOMPLETE_BYTES_MAX {
            return self.fail(Failure::Malformed);
        }
        result
    }

    /// Whether nothing has come of the peer.
    fn is_silent(&self) -> bool {
        self.rustls.is_handshaking() && self.rustls.protocol_version().is_none() && self.incomplete.is_empty()
    }

    fn fail<T>(&mut self, failure: Failure) -> Result<T, Failure> {
        self.ended = true;
        self.incomplete = Vec::new();
        Err(failure)
    }

    /// Lets rustls work on `received` from `begin` on, and moves `begin` behind what it has done with.
    fn decrypt_from(&mut self, begin: &mut usize, received: &mut [u8], plain: &mut Vec<u8>) -> Result<Heard, Failure> {
        loop {
            let UnbufferedStatus { mut discard, state } = self.rustls.process_tls_records(&mut received[*begin..]);
            let mut heard = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.unsent),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => heard = Some(Heard::Goodbye),
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => heard = Some(Heard::Open),
                // Early data is not offered, and no other state is known.
                Ok(_) => return self.fail(Failure::Malformed),
                Err(error) => {
                    *begin += discard;
                    self.take_alert(&mut received[*begin..]);
                    return self.fail(Failure::of(&error));
                }
            }
            *begin += discard;
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }

    /// Takes what rustls wants the peer to be told of a failure. It is asked only while it has something: it would look at the
    /// `rest`, and fail, again.
    fn take_alert(&mut self, rest: &mut [u8]) {
        while self.rustls.wants_write() {
            match self.rustls.process_tls_records(rest).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.unsent),
                _ => return,
            }
        }
    }

    /// Appends `plain`, encrypted, to `out`.
    ///
    /// # Errors
    /// [`Failure`] when nothing can be encrypted any more; the connection is of no use then.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let records = plain.len().div_ceil(RECORD_PLAIN_BYTES_MAX);
        let room = plain.len() + records * RECORD_OVERHEAD_BYTES;
        self.write(room, out, |traffic, room| traffic.encrypt(plain, room))
    }

    /// Appends a close_notify to `out`, once: nothing is encrypted afterwards. Before the handshake is done there is nothing to
    /// be said.
    pub(crate) fn say_goodbye(&mut self, out: &mut Vec<u8>) {
        if !self.ended && !self.is_handshaking() {
            // It fails where TLS does, and then the end of the connection says the same.
            let _ = self.write(RECORD_OVERHEAD_BYTES, out, |traffic, room| traffic.queue_close_notify(room));
        }
        self.ended = true;
    }

    /// Whether nothing more is encrypted.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    fn write(
        &mut self,
        mut room_bytes: usize,
        out: &mut Vec<u8>,
        mut write: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Failure> {
        loop {
            // What is incomplete has been looked at. rustls remembers where in it a handshake message begins, and would reach
            // for that outside of anything shorter.
            let UnbufferedStatus { discard: 0, state: Ok(state) } =
                self.rustls.process_tls_records(&mut self.incomplete)
            else {
                return self.fail(Failure::Malformed);
            };
            match state {
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    let begin = out.len();
                    out.resize(begin + room_bytes, 0);
                    let written = write(&mut traffic, &mut out[begin..]);
                    out.truncate(begin + *written.as_ref().unwrap_or(&0));
                    match written {
                        Ok(_) => return Ok(()),
                        // A change of keys goes along.
                        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                            room_bytes = required_size;
                        }
                        Err(EncryptError::EncryptExhausted) => return self.fail(Failure::Malformed),
                    }
                }
                _ => return self.fail(Failure::Malformed),
            }
        }
    }

    /// What was made and waits for the socket.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// The socket took so many of the waiting bytes. When it took all, their memory is given back.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        if bytes == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..bytes);
        }
    }

    /// Keeps what the socket did not take, behind what waits already.
    pub(crate) fn keep_unsent(&mut self, rest: &[u8]) {
        self.unsent.extend_from_slice(rest);
    }
}

/// Appends what rustls has made to `out`.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    let begin = out.len();
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut []) {
        out.resize(begin + required_size, 0);
        data.encode(&mut out[begin..]).expect("it has the room that it asked for, and is encoded once");
    }
}

#[cfg(test)]
mod tests;

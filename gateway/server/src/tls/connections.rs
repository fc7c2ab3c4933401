//! What TLS does to a thread's connections: what they receive, what they write, and what becomes of those where it fails.

use std::io;
use std::os::fd::BorrowedFd;

use switchyard_gateway_core::handshake::Refusal;
use switchyard_gateway_core::limits::HANDSHAKE_MS;
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::wheel::Slot;

use super::SecureTable;
use super::record::{Failure, Heard, Secure};
use crate::connection::Phase;
use crate::flush::{Written, next_write};
use crate::limits::{FLUSH_BYTES_PER_TURN, WRITE_BYTES};
use crate::state::State;
use crate::sys;

impl State {
    /// A connection has come to the TLS listener.
    pub(crate) fn secure(&mut self, slot: Slot) {
        if !self.tls.insert(slot) {
            return self.abort(slot);
        }
        self.connection(slot).secured = true;
        self.schedule(slot, HANDSHAKE_MS);
    }

    /// Handles bytes of a connection with TLS. `received` begins with what was kept of it.
    pub(crate) fn on_ciphertext(&mut self, slot: Slot, received: &mut [u8]) {
        if matches!(self.connection(slot).phase, Phase::Closing { .. } | Phase::Gone) {
            return;
        }
        let mut plain = std::mem::take(&mut self.tls.plain_buffer);
        plain.clear();
        let was_securing = self.is_securing(slot);
        let heard = self.decrypt(slot, received, &mut plain, was_securing);
        if !plain.is_empty() {
            self.on_bytes(slot, &mut plain);
        }
        self.tls.plain_buffer = plain;
        match heard {
            Ok(Heard::Open) => {}
            Ok(Heard::Goodbye) => self.end_secured(slot),
            Err(failure) => self.on_tls_failure(slot, failure, was_securing),
        }
    }

    fn decrypt(
        &mut self,
        slot: Slot,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        was_securing: bool,
    ) -> Result<Heard, Failure> {
        let counters = &self.counters;
        let (heard, answers) = self.tls.step(slot, |secure| {
            let heard = secure.decrypt(received, plain);
            if was_securing && !secure.is_handshaking() {
                let counter = if secure.is_resumed() { &counters.tls_resumed } else { &counters.tls_established };
                counter.add(1);
            }
            (heard, !secure.unsent().is_empty())
        });
        if answers {
            self.mark_dirty(slot);
        }
        heard
    }

    fn on_tls_failure(&mut self, slot: Slot, failure: Failure, was_securing: bool) {
        let counter = match failure {
            Failure::NotTls => &self.counters.tls_not_tls,
            _ if !was_securing => &self.counters.tls_broken,
            Failure::Incompatible => &self.counters.tls_incompatible,
            Failure::Refused => &self.counters.tls_refused,
            Failure::Malformed => &self.counters.tls_malformed,
        };
        counter.add(1);
        if failure == Failure::NotTls {
            // Whoever it is can be told in the way that it speaks itself.
            self.tls.remove(slot);
            self.connection(slot).secured = false;
            let refusal = Refusal::not_tls();
            return self.say_last(slot, refusal.response.into());
        }
        self.end_secured(slot);
    }

    /// The connection has ended.
    pub(crate) fn end_tls(&mut self, slot: Slot) {
        let gave_up = self.is_securing(slot) && matches!(self.connection(slot).phase, Phase::Handshake(_));
        self.counters.tls_abandoned.add(u64::from(gave_up));
        self.tls.remove(slot);
    }

    /// Nothing more comes of the peer; what it is to be told is written.
    fn end_secured(&mut self, slot: Slot) {
        self.on_session_eof(slot);
        self.close(slot);
    }
}

impl SecureTable {
    /// Encrypts and writes what waits on a connection ([`write_out`]); `gathered` is where small frames gather.
    pub(crate) fn write_out(
        &mut self,
        slot: Slot,
        socket: BorrowedFd<'_>,
        outbound: &mut Outbound,
        closing: bool,
        gathered: &mut Vec<u8>,
    ) -> (Written, usize) {
        let mut cipher = std::mem::take(&mut self.cipher_buffer);
        let result = self.step(slot, |secure| write_out(socket, secure, outbound, closing, gathered, &mut cipher));
        self.cipher_buffer = cipher;
        result
    }
}

/// Encrypts and writes what waits, as far as the socket takes it, and says goodbye behind the last of it when the connection
/// is `closing`. Answers with the bytes that the socket took.
fn write_out(
    socket: BorrowedFd<'_>,
    secure: &mut Secure,
    outbound: &mut Outbound,
    closing: bool,
    gathered: &mut Vec<u8>,
    cipher: &mut Vec<u8>,
) -> (Written, usize) {
    let mut written_bytes = 0;
    if !secure.unsent().is_empty() {
        match take(socket, secure.unsent()) {
            Ok(bytes) => {
                let took_all = bytes == secure.unsent().len();
                secure.on_sent(bytes);
                written_bytes += bytes;
                if !took_all {
                    return (Written::Blocked, written_bytes);
                }
            }
            Err(_) => return (Written::Broken, written_bytes),
        }
    }
    loop {
        if written_bytes >= FLUSH_BYTES_PER_TURN && !outbound.is_empty() {
            return (Written::Enough, written_bytes);
        }
        cipher.clear();
        if encrypt_some(secure, outbound, gathered, cipher).is_err() {
            return (Written::Broken, written_bytes);
        }
        if closing && outbound.is_empty() {
            secure.say_goodbye(cipher);
        }
        if cipher.is_empty() {
            return (Written::All, written_bytes);
        }
        match take(socket, cipher) {
            Ok(bytes) => {
                written_bytes += bytes;
                if bytes < cipher.len() {
                    secure.keep_unsent(&cipher[bytes..]);
                    return (Written::Blocked, written_bytes);
                }
            }
            Err(_) => return (Written::Broken, written_bytes),
        }
    }
}

/// Encrypts what one call writes. What cannot be said any more is dropped.
fn encrypt_some(
    secure: &mut Secure,
    outbound: &mut Outbound,
    gathered: &mut Vec<u8>,
    cipher: &mut Vec<u8>,
) -> Result<(), Failure> {
    if secure.has_ended() {
        outbound.advance(outbound.queued_bytes());
    }
    let Some(plain) = next_write(outbound, gathered) else { return Ok(()) };
    let plain_bytes = plain.len().min(WRITE_BYTES);
    secure.encrypt(&plain[..plain_bytes], cipher)?;
    outbound.advance(plain_bytes);
    Ok(())
}

/// What the socket takes now, perhaps nothing.
fn take(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    match sys::transmit(socket, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

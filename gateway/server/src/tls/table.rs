//! TLS of those connections of a thread that have it, and what they share.

use std::sync::Arc;

use rustls::ServerConfig;
use switchyard_gateway_core::wheel::Slot;

use super::record::Secure;
use crate::limits::TLS_STEPS_PER_TURN;

/// TLS of one thread's connections, by their slots. It grows with the first that has any.
#[derive(Debug, Default)]
pub(crate) struct SecureTable {
    /// `None` when there is no TLS listener.
    config: Option<Arc<ServerConfig>>,
    of_slot: Vec<Option<Box<Secure>>>,
    used: usize,
    /// Bytes that the connections keep because they are not whole, or not taken by their sockets.
    kept_bytes: usize,
    /// Steps of handshakes that may be taken before the next turn.
    steps_left: usize,
    /// Where what a connection received is put when it has been decrypted.
    pub(crate) plain_buffer: Vec<u8>,
    /// Where what a connection sends is put when it has been encrypted.
    pub(crate) cipher_buffer: Vec<u8>,
}

impl SecureTable {
    /// Without a configuration no connection can have TLS.
    pub(crate) fn new(config: Option<Arc<ServerConfig>>) -> Self {
        Self { config, ..Self::default() }
    }

    /// A new connection speaks TLS. `false` when rustls cannot.
    pub(crate) fn insert(&mut self, slot: Slot) -> bool {
        let Some(Ok(secure)) = self.config.clone().map(Secure::new) else { return false };
        let index = slot as usize;
        if self.of_slot.len() <= index {
            self.of_slot.resize_with(index + 1, || None);
        }
        self.of_slot[index] = Some(Box::new(secure));
        self.used += 1;
        true
    }

    /// The connection speaks TLS no more, or has ended.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(secure) = self.of_slot.get_mut(slot as usize).and_then(Option::take) {
            self.used -= 1;
            self.kept_bytes -= secure.kept_bytes();
        }
    }

    /// TLS of a connection, if it has any.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Secure> {
        self.of_slot.get(slot as usize)?.as_deref()
    }

    /// Whether the connection's handshake is under way.
    pub(crate) fn is_handshaking(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(Secure::is_handshaking)
    }

    /// Lets a connection that has TLS take a step.
    ///
    /// # Panics
    /// When it has none.
    pub(crate) fn step<T>(&mut self, slot: Slot, step: impl FnOnce(&mut Secure) -> T) -> T {
        let secure = self.of_slot.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let secure = secure.expect("a secured connection has TLS until it ends");
        self.kept_bytes -= secure.kept_bytes();
        let result = step(secure);
        self.kept_bytes += secure.kept_bytes();
        result
    }

    /// Whether the connection's handshake must wait for the next turn. If not, it takes one of this turn's steps.
    pub(crate) fn must_wait(&mut self, slot: Slot) -> bool {
        if !self.is_handshaking(slot) {
            return false;
        }
        let must_wait = self.steps_left == 0;
        self.steps_left -= usize::from(!must_wait);
        must_wait
    }

    /// A turn begins.
    pub(crate) const fn on_turn(&mut self) {
        self.steps_left = TLS_STEPS_PER_TURN;
    }

    /// Connections that have TLS.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Bytes that they keep.
    pub(crate) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}

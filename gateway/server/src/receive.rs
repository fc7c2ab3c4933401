//! From received bytes to what they mean: the upgrade request, then the WebSocket of a session or of the echo.

use switchyard_gateway_core::handshake::{Handshake, Refusal, Route, Rules, Upgrade, parse_request};
use switchyard_gateway_core::session::Transport;
use switchyard_gateway_core::wheel::Slot;

use crate::connection::Phase;
use crate::state::State;

impl State {
    /// Handles bytes of one connection, as far as it goes: what is behind a message that has to wait is kept.
    pub(crate) fn on_bytes(&mut self, slot: Slot, input: &mut [u8]) {
        let connection = self.connection(slot);
        match &mut connection.phase {
            Phase::Handshake(received) if received.is_empty() => self.on_request(slot, input),
            Phase::Handshake(received) => {
                let mut received = std::mem::take(received);
                received.extend_from_slice(input);
                self.on_request(slot, &mut received);
            }
            Phase::Session(_) => self.on_session_bytes(slot, input),
            Phase::Echo(_) => self.on_echo_bytes(slot, input),
            Phase::Closing { .. } | Phase::Gone => {}
        }
    }

    /// `received` is everything since the connection was opened.
    fn on_request(&mut self, slot: Slot, received: &mut [u8]) {
        let rules = Rules { echo: self.config.echo, origins: &self.config.origins };
        match parse_request(received, &rules) {
            Handshake::NotYet => self.connection(slot).phase = Phase::Handshake(received.to_vec()),
            Handshake::Refused(refusal) => {
                self.count_refusal(&refusal);
                self.say_last(slot, refusal.response.into());
            }
            Handshake::Upgrade(upgrade) => {
                self.on_upgrade(slot, &upgrade);
                if upgrade.consumed < received.len() {
                    self.on_bytes(slot, &mut received[upgrade.consumed..]);
                }
            }
        }
    }

    fn on_upgrade(&mut self, slot: Slot, upgrade: &Upgrade) {
        match upgrade.route {
            Route::Session(form) => {
                // It may have come when there was room, as many others did.
                if let Err(crowded) = self.admit(Transport::WebSocket) {
                    let refusal = self.put_off(crowded);
                    return self.say_last(slot, refusal.response.into());
                }
                self.open_session(slot, form, upgrade);
            }
            Route::Echo => self.open_echo(slot),
        }
        let response = upgrade.response();
        self.queue(slot, response.into()).expect("the first frame fits an empty queue");
    }

    fn count_refusal(&self, refusal: &Refusal) {
        let counter = match refusal.status {
            404 => &self.counters.handshakes_not_found,
            403 => &self.counters.handshakes_forbidden,
            _ => &self.counters.handshakes_malformed,
        };
        counter.add(1);
    }
}

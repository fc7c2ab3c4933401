//! Who is let in: the same room, rates and admission as for WebSockets.
//!
//! Who comes may have forged the address, and a handshake costs the thread a third of a millisecond and the address three times
//! what came from it. While few such handshakes are under way, and few have failed, they are taken; beyond that, or beyond the rate
//! of the address, a client proves its address first (Retry, RFC 9000 §8.1.2), for which nothing is kept here.

use std::net::IpAddr;
use std::time::Instant;

use quinn_proto::{AcceptError, Incoming};
use switchyard_gateway_core::rate::Rate;
use switchyard_gateway_core::session::{Close, Transport};
use switchyard_gateway_core::wheel::Slot;
use switchyard_schema::error::CloseCode;
use switchyard_schema::ids::Millis;

use super::Quic;
use super::link::Link;
use super::unproven::{Came, Unproven};
use crate::address::AddressBlock;
use crate::limits::{QUIC_LINGERING_MAX, QUIC_UNVERIFIED_FAILURES_PER_SECOND};
use crate::state::State;

const UNVERIFIED_FAILURES: Rate = Rate::per_second(QUIC_UNVERIFIED_FAILURES_PER_SECOND);

/// What becomes of a client that comes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Accept,
    /// It proves its address first.
    Retry,
    Refuse,
}

impl Quic {
    /// Whether handshakes with addresses that may be forged have failed so often that the next one is too many.
    fn fails_often(&self, now: Millis) -> bool {
        let mut failed = self.unverified_failed;
        failed.take(now, UNVERIFIED_FAILURES).is_err()
    }
}

impl State {
    /// A client begins a handshake, with the datagram that came.
    pub(super) fn on_incoming(&mut self, incoming: Incoming, came: Came, now: Instant) {
        let verified = incoming.remote_address_validated();
        let verdict = self.verdict(incoming.remote_address().ip(), verified);
        let quic = self.quic_mut();
        quic.buffer.clear();
        quic.begun += usize::from(verdict == Verdict::Accept);
        let transmit = match verdict {
            Verdict::Accept => match quic.endpoint.accept(incoming, now, &mut quic.buffer, None) {
                Ok((handle, proto)) => {
                    let slot = self.enter_quic();
                    let unproven = (!verified).then(|| Unproven::new(came));
                    return self.quic_mut().insert(handle, Link::new(proto, unproven), slot);
                }
                Err(AcceptError { response, .. }) => {
                    self.counters.quic_handshakes_malformed.add(1);
                    if !verified {
                        self.on_unverified_failed();
                    }
                    response
                }
            },
            Verdict::Retry => match quic.endpoint.retry(incoming, &mut quic.buffer) {
                Ok(transmit) => {
                    self.counters.quic_retries.add(1);
                    Some(transmit)
                }
                // It brings a token of ours, and so its address is proven.
                Err(error) => Some(quic.endpoint.refuse(error.into_incoming(), &mut quic.buffer)),
            },
            Verdict::Refuse => Some(quic.endpoint.refuse(incoming, &mut quic.buffer)),
        };
        if let Some(transmit) = transmit {
            self.send_at_once(&transmit);
        }
    }

    fn verdict(&mut self, address: IpAddr, verified: bool) -> Verdict {
        if self.is_leaving() {
            return Verdict::Refuse;
        }
        if self.is_full() || self.quic_mut().lingering() >= QUIC_LINGERING_MAX {
            self.counters.quic_turned_away.add(1);
            return Verdict::Refuse;
        }
        if self.admit(Transport::Quic).is_err() {
            return Verdict::Refuse;
        }
        let (now, rate) = (self.around.now.monotonic, self.config.handshakes);
        let quic = self.quic.as_mut().expect("a client has come");
        let rates = if verified { &mut self.addresses } else { &mut quic.unverified_rates };
        let is_limited = rate != Rate::UNLIMITED && rates.take(now, AddressBlock::from(address), rate).is_err();
        match (verified, is_limited) {
            (true, true) => {
                self.counters.quic_handshakes_limited.add(1);
                Verdict::Refuse
            }
            (false, true) => Verdict::Retry,
            (false, false) if quic.unverified >= quic.unverified_max || quic.fails_often(now) => Verdict::Retry,
            (_, false) => Verdict::Accept,
        }
    }

    /// The handshake of a connection has failed, perhaps with an address that may be forged.
    pub(super) fn on_handshake_failed(&mut self, slot: Slot) {
        if self.quic_mut().link_of(slot).is_some_and(|link| link.unverified) {
            self.on_unverified_failed();
        }
    }

    /// A handshake with an address that may be forged has failed. It cost as much as one that succeeds, and leaves nothing here
    /// to count it by.
    fn on_unverified_failed(&mut self) {
        let now = self.around.now.monotonic;
        // When nothing is left everybody proves their address, and the rate fills again.
        let _ = self.quic_mut().unverified_failed.take(now, UNVERIFIED_FAILURES);
    }

    /// Turns a client away that has no stream to be told on.
    pub(super) fn turn_away_quic(&mut self, slot: Slot, behind_ms: u64, why: &str) {
        let place_ms = self.around.comebacks.reserve_behind(self.around.now.monotonic, behind_ms);
        self.quic_mut().close_later(slot, Close::come_back(CloseCode::TryAgainLater, place_ms, why));
        self.abort(slot);
    }

    /// The handshake has taken too long.
    pub(crate) fn on_quic_handshake_timeout(&mut self, slot: Slot) {
        debug_assert_eq!(self.connection(slot).transport, Transport::Quic);
        self.count_quic_handshake_timeout(slot);
        let reason = "the handshake took too long".into();
        self.quic_mut().close_later(slot, Close { code: CloseCode::Timeout, reason });
        self.abort(slot);
    }

    pub(crate) fn count_quic_handshake_timeout(&mut self, slot: Slot) {
        self.counters.quic_handshakes_timed_out.add(1);
        self.on_handshake_failed(slot);
    }
}

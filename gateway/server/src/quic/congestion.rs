//! CUBIC, and a door in it for the close.
//!
//! A packet with nothing but acknowledgements and a close is not held back by congestion (RFC 9002 §7). quinn-proto up to
//! 0.11.19 judges it by what waits on the streams, and once closed it listens to no acknowledgement that would make room: a
//! client with a full window would never hear why it was closed (quinn issue 2785, mended behind that release). So the
//! window is without end from then on.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn_proto::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::{Connection, RttEstimator};

/// A window that holds nothing back; above what quinn-proto paces.
const NO_WINDOW: u64 = 1 << 33;

/// Makes the controllers of connections.
#[derive(Debug, Default)]
pub(super) struct Factory(Arc<CubicConfig>);

struct Closable {
    cubic: Cubic,
    /// Shared with its copies: the state machine lends its own only to be read.
    closing: Arc<AtomicBool>,
}

/// Nothing but the close is sent from now on.
pub(super) fn let_close_pass(connection: &Connection) {
    if let Ok(controller) = connection.congestion_state().clone_box().into_any().downcast::<Closable>() {
        controller.closing.store(true, Ordering::Relaxed);
    }
}

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Closable { cubic: Cubic::new(self.0.clone(), now, current_mtu), closing: Arc::default() })
    }
}

impl Controller for Closable {
    fn window(&self) -> u64 {
        if self.closing.load(Ordering::Relaxed) { NO_WINDOW } else { self.cubic.window() }
    }

    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone(), closing: self.closing.clone() })
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

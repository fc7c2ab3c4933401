//! What a gateway thread counts. Only the thread itself writes, others read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use switchyard_gateway_core::session::Transport;
use switchyard_ring::Pulse;
use switchyard_schema::error::ErrorCode;

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number as last written.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Only the owning thread may call this: it is two plain accesses, not one locked one.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What is marked as a `gauge` tells what is held now, and nothing is held when the thread has ended.
macro_rules! counters {
    (@clear gauge $counter:expr) => { $counter.set(0) };
    ($($(#[$doc:meta])* $name:ident $(: $kind:ident)?,)*) => {
        /// The counters of one gateway thread.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// When the thread was last seen to work.
            pub pulse: Pulse,
            refused: [Counter; ErrorCode::ALL.len()],
        }

        impl Counters {
            /// Every counter but those of [`Counters::refused`], with its name.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }

            /// Nothing is held any more.
            pub(crate) fn clear_gauges(&self) {
                $($(counters!(@clear $kind self.$name);)?)*
            }
        }
    };
}

counters! {
    /// WebSocket connections accepted.
    accepted,
    /// Connections turned away because the thread, or all of them together, hold as many as they may.
    turned_away,
    /// Times accepting had to pause because descriptors or memory ran out.
    accept_pauses,
    /// The thread's even share of the connections that all threads together may hold.
    connections_max,
    /// Connections open now, those included that are being turned away or whose last message to the router waits.
    open: gauge,
    /// Of those, WebSocket connections whose upgrade request has not arrived whole.
    upgrading: gauge,
    /// Of those, WebSocket sessions whose Hello has not come, or waits for its turn.
    awaiting_hello: gauge,
    /// Of those, WebSocket sessions that wait for the router to know them.
    attaching: gauge,
    /// Of those, WebSocket sessions that are attached to the router.
    sessions: gauge,
    /// Of those, echoes.
    echoing: gauge,
    /// Of those, WebSocket connections that end when everything is written, or that have ended.
    closing: gauge,
    /// Upgrade requests that were malformed (HTTP 400, 405, 426, 431).
    handshakes_malformed,
    /// Upgrade requests for a path that does not exist.
    handshakes_not_found,
    /// Upgrade requests from an origin that is not allowed.
    handshakes_forbidden,
    /// Connections told to come back later because the thread had no room for newcomers.
    handshakes_put_off,
    /// Upgrade requests that did not arrive in time.
    handshakes_timed_out,
    /// Connections turned away because too many came from their address.
    handshakes_limited,
    /// Connections now that have TLS, or are about to.
    tls: gauge,
    /// TLS handshakes done in full.
    tls_established,
    /// TLS handshakes that were spared: the client resumed.
    tls_resumed,
    /// Connections to the TLS listener that began with something else.
    tls_not_tls,
    /// TLS handshakes without a version, cipher or protocol in common.
    tls_incompatible,
    /// TLS handshakes that the client gave up, because it does not trust the certificate for example.
    tls_refused,
    /// TLS handshakes that ended because the client broke the protocol.
    tls_malformed,
    /// TLS handshakes that were not done in time.
    tls_timed_out,
    /// Connections that ended before their TLS handshake was done, without a word.
    tls_abandoned,
    /// Connections with TLS that ended because it failed after the handshake.
    tls_broken,
    /// Bytes that are kept for TLS: of records that are not whole, and what sockets did not take.
    tls_kept_bytes: gauge,
    /// Connections closed because the peer broke RFC 6455.
    protocol_errors,
    /// Connections closed because the peer did not read what waited for it.
    too_slow,
    /// Times a session was not read for a while because too many frames came.
    flood_pauses,
    /// Sessions closed because they went on sending while they were not read.
    too_fast,
    /// WebSocket messages and control frames received.
    frames_in,
    /// WebSocket messages and control frames queued to be written.
    frames_out,
    /// QUIC connections whose handshake was begun.
    quic_accepted,
    /// QUIC connections open now whose handshake is not done.
    quic_upgrading: gauge,
    /// QUIC sessions whose Hello has not come, or waits for its turn.
    quic_awaiting_hello: gauge,
    /// QUIC sessions that wait for the router to know them.
    quic_attaching: gauge,
    /// QUIC sessions that are attached to the router.
    quic_sessions: gauge,
    /// QUIC connections that end when everything has arrived, or that have ended.
    quic_closing: gauge,
    /// Clients that were told to prove their address first.
    quic_retries,
    /// Handshakes refused because there was no room.
    quic_turned_away,
    /// Handshakes refused, or clients told to come back later, because the thread had no room for newcomers.
    quic_handshakes_put_off,
    /// Handshakes refused because too many came from a proven address.
    quic_handshakes_limited,
    /// Handshakes in which the client did what the protocol does not allow, or offered nothing that is taken.
    quic_handshakes_malformed,
    /// Handshakes that were not done in time.
    quic_handshakes_timed_out,
    /// Handshakes that the client refused to go on with: it does not trust the certificate, perhaps.
    quic_handshakes_refused,
    /// Handshakes that the client gave up without such a reason.
    quic_handshakes_abandoned,
    /// QUIC handshakes that the client resumed, so that they were spared in part.
    quic_resumed,
    /// QUIC handshakes that the client wanted to resume, of which nothing is known here any more.
    quic_not_resumed,
    /// QUIC sessions that were begun early, before their handshake was done (0-RTT).
    quic_early,
    /// Of those, sessions of which something had to wait until it was.
    quic_early_held,
    /// Large pages that went on streams of their own.
    quic_pages_aside,
    /// QUIC connections closed because the client sent too large a frame, or text that is not UTF-8.
    quic_protocol_errors,
    /// Frames received over QUIC.
    quic_frames_in,
    /// Frames queued to be sent over QUIC.
    quic_frames_out,
    /// Bytes of QUIC datagrams received.
    quic_bytes_in,
    /// Bytes of QUIC datagrams sent.
    quic_bytes_out,
    /// Datagrams that came to this thread and were passed on to the one that has their connection.
    quic_passed_on,
    /// Datagrams that were dropped because the thread that has their connection had no room for them.
    quic_not_passed_on,
    /// Messages whose sender was told that they are durable.
    sends_accepted,
    /// Messages told to a session, each session counted.
    deliveries,
    /// Bytes received.
    bytes_in,
    /// Bytes written.
    bytes_out,
    /// Messages pushed to router cores.
    router_out,
    /// Messages popped from router cores.
    router_in,
    /// Messages that waited in the links from router cores when the newest turn began.
    ring_depth: gauge,
    /// Requests that had to wait because their router core had as many unanswered as it may.
    credit_stalls,
    /// Messages without an answer that had to wait because the link to their router core was full.
    room_stalls,
    /// Newcomers that waited, for their Hello's turn or for the router, and no longer do, whatever became of them.
    newcomers_through,
    /// Hellos that wait for their turn.
    hellos_waiting: gauge,
    /// Bytes that were received and are kept because they cannot be handled yet.
    held_bytes: gauge,
    /// Bytes that wait to be written.
    outbound_bytes: gauge,
    /// How long what arrives waits for its turn, on an average of the last few turns.
    turn_late_us: gauge,
    /// Turns.
    turns,
    /// Times that the thread stood still for longer than one that works does.
    stalls,
}

/// How far a connection is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Upgrading,
    AwaitingHello,
    Attaching,
    Open,
    Echoing,
    Closing,
}

impl Counters {
    /// Refusals sent, by code.
    pub fn refused(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        ErrorCode::ALL.iter().zip(&self.refused).map(|(code, counter)| (*code, counter.get()))
    }

    pub(crate) fn count_refused(&self, code: ErrorCode) {
        if let Some(index) = ErrorCode::ALL.iter().position(|one| *one == code) {
            self.refused[index].add(1);
        }
    }

    /// A connection is now in `stage`.
    pub(crate) fn enter(&self, transport: Transport, stage: Stage) {
        self.of_stage(transport, stage).add(1);
    }

    /// A connection is no longer in `stage`.
    pub(crate) fn leave(&self, transport: Transport, stage: Stage) {
        let counter = self.of_stage(transport, stage);
        counter.set(counter.get() - 1);
    }

    const fn of_stage(&self, transport: Transport, stage: Stage) -> &Counter {
        match (transport, stage) {
            (Transport::WebSocket, Stage::Upgrading) => &self.upgrading,
            (Transport::WebSocket, Stage::AwaitingHello) => &self.awaiting_hello,
            (Transport::WebSocket, Stage::Attaching) => &self.attaching,
            (Transport::WebSocket, Stage::Open) => &self.sessions,
            (_, Stage::Echoing) => &self.echoing,
            (Transport::WebSocket, Stage::Closing) => &self.closing,
            (Transport::Quic, Stage::Upgrading) => &self.quic_upgrading,
            (Transport::Quic, Stage::AwaitingHello) => &self.quic_awaiting_hello,
            (Transport::Quic, Stage::Attaching) => &self.quic_attaching,
            (Transport::Quic, Stage::Open) => &self.quic_sessions,
            (Transport::Quic, Stage::Closing) => &self.quic_closing,
        }
    }

    /// Connections told to come back later, or refused, because the thread had no room for newcomers.
    pub(crate) const fn put_off(&self, transport: Transport) -> &Counter {
        match transport {
            Transport::WebSocket => &self.handshakes_put_off,
            Transport::Quic => &self.quic_handshakes_put_off,
        }
    }

    /// Frames received.
    pub(crate) const fn frames_in(&self, transport: Transport) -> &Counter {
        match transport {
            Transport::WebSocket => &self.frames_in,
            Transport::Quic => &self.quic_frames_in,
        }
    }

    /// Frames queued.
    pub(crate) const fn frames_out(&self, transport: Transport) -> &Counter {
        match transport {
            Transport::WebSocket => &self.frames_out,
            Transport::Quic => &self.quic_frames_out,
        }
    }

    /// Connections closed for what came below the level of frames.
    pub(crate) const fn protocol_errors(&self, transport: Transport) -> &Counter {
        match transport {
            Transport::WebSocket => &self.protocol_errors,
            Transport::Quic => &self.quic_protocol_errors,
        }
    }
}

//! What all connections of a gateway share: how they are encrypted, and how much a client may ask of the transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use switchyard_gateway_core::wheel::Slot;

use super::Quic;
use super::congestion::Factory;
use super::crypto::{Crypto, VERSION};
use super::protocol::Protocol;
use super::reset::ResetKey;
use super::resumption::{Counted, Resumptions};
use super::steering::Steering;
use crate::counters::Counters;
use crate::limits::{
    QUIC_CRYPTO_BYTES_MAX, QUIC_HELLO_WINDOW_BYTES, QUIC_IDLE_HEARTBEATS, QUIC_INCOMING_BYTES_MAX,
    QUIC_RECEIVE_WINDOW_BYTES, QUIC_RESUMPTIONS_DEFAULT, QUIC_SEND_WINDOW_BYTES, QUIC_STREAMS_MAX,
};
use crate::tls::certificates::{Certificates, Versions, without_resumption};

/// How a gateway speaks QUIC.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// Where clients connect (UDP). Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it shows them.
    pub certificates: Arc<Certificates>,
    /// What tells clients of an earlier run that it is over.
    pub reset_key: ResetKey,
    /// Whether the kernel is told which thread a datagram is for. If not, or where it cannot be told, threads pass on what came
    /// to the wrong one, which costs a copy and two wake-ups each.
    pub steered: bool,
    /// How many clients that were here can resume, and say things early (0-RTT): the newest, some 250 bytes each. With 0 nobody
    /// can.
    pub resumptions_max: usize,
}

impl QuicConfig {
    /// QUIC at `listen`.
    #[must_use]
    pub const fn new(listen: SocketAddr, certificates: Arc<Certificates>, reset_key: ResetKey) -> Self {
        Self { listen, certificates, reset_key, steered: true, resumptions_max: QUIC_RESUMPTIONS_DEFAULT }
    }
}

impl Quic {
    /// The client is known: it may send as far ahead as its session needs.
    pub(crate) fn widen(&mut self, slot: Slot) {
        if let Some(handle) = self.touch_slot(slot) {
            let window = VarInt::from_u32(QUIC_RECEIVE_WINDOW_BYTES);
            self.link(handle).expect("a slot has a link").proto.set_receive_window(window);
        }
    }
}

/// What the endpoints of all threads are made from.
#[derive(Clone)]
pub(super) struct Shared {
    endpoint: EndpointConfig,
    server: ServerConfig,
    tls: rustls::ServerConfig,
    resumptions: Arc<Resumptions>,
}

impl Shared {
    /// # Errors
    /// When rustls cannot be configured.
    pub(super) fn new(config: &QuicConfig, echo: bool, heartbeat_ms: u32) -> Result<Self, rustls::Error> {
        let protocols = Protocol::spoken(echo).map(|protocol| protocol.name().as_bytes().to_vec()).collect();
        let mut tls = without_resumption(config.certificates.clone(), Versions::Only13, protocols)?;
        // All that a client has room to send: RFC 9001 §4.6.1.
        tls.max_early_data_size = if config.resumptions_max > 0 { u32::MAX } else { 0 };
        let mut server = ServerConfig::with_crypto(Arc::new(Crypto::new(tls.clone())?));
        server
            .transport_config(Arc::new(transport(heartbeat_ms)))
            .incoming_buffer_size(QUIC_INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(QUIC_INCOMING_BYTES_MAX);
        let mut endpoint = config.reset_key.endpoint();
        endpoint.supported_versions(vec![VERSION]);
        let resumptions = Arc::new(Resumptions::new(config.resumptions_max));
        Ok(Self { endpoint, server, tls, resumptions })
    }

    /// How one thread takes connections, which counts those that resume. What they resume, and what addresses are proven with, is
    /// the same for all.
    pub(super) fn server(&self, counters: Arc<Counters>) -> Arc<ServerConfig> {
        let mut tls = self.tls.clone();
        tls.session_storage = Arc::new(Counted { all: self.resumptions.clone(), counters });
        let crypto = Crypto::new(tls).expect("the same suites were found before");
        let mut server = self.server.clone();
        server.crypto = Arc::new(crypto);
        Arc::new(server)
    }

    /// The configuration of one thread's endpoint. All have the same key for stateless resets.
    pub(super) fn endpoint(&self, steering: Steering) -> Arc<EndpointConfig> {
        let mut endpoint = self.endpoint.clone();
        endpoint.cid_generator(move || Box::new(steering));
        Arc::new(endpoint)
    }
}

impl std::fmt::Debug for Shared {
    /// Without keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What a connection may cost. Datagrams of the application and streams in one direction are not taken.
fn transport(heartbeat_ms: u32) -> TransportConfig {
    let idle = Duration::from_millis(u64::from(heartbeat_ms) * u64::from(QUIC_IDLE_HEARTBEATS));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(QUIC_STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u8.into())
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .stream_receive_window(VarInt::from_u32(QUIC_RECEIVE_WINDOW_BYTES))
        // Of all streams together, and so of the one: what it is before it is widened.
        .receive_window(VarInt::from_u32(QUIC_HELLO_WINDOW_BYTES))
        .send_window(QUIC_SEND_WINDOW_BYTES)
        .congestion_controller_factory(Arc::new(Factory::default()))
        .crypto_buffer_size(QUIC_CRYPTO_BYTES_MAX)
        // The session pings, and only when it has heard nothing for long: a phone that sleeps is woken once in a heartbeat.
        .keep_alive_interval(None)
        .max_idle_timeout(Some(IdleTimeout::try_from(idle).expect("a heartbeat is an hour at most")));
    transport
}

//! What a gateway needs to know.

use std::net::SocketAddr;
use std::sync::Arc;

use switchyard_gateway_core::handshake::Origins;
use switchyard_gateway_core::limits::{ADMISSIONS_PER_SECOND, ECHO_MESSAGE_BYTES_MAX};
use switchyard_gateway_core::rate::Rate;
use switchyard_gateway_core::session::Settings;
use switchyard_schema::ids::ShardCount;

use crate::links::{Doorbell, RouterEnd};
use crate::quic::QuicConfig;

/// The configuration that all gateway threads share.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where WebSockets connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where WebSockets connect over TLS.
    pub tls: Option<TlsListen>,
    /// QUIC, where it is spoken.
    pub quic: Option<QuicConfig>,
    /// Connections that all threads together hold; who comes then is answered 503.
    pub connections_max: u32,
    /// Connections that one thread holds: each goes to a thread at random, so some threads get more than their share, and a
    /// descriptor table has its end.
    pub connections_per_thread_max: u32,
    /// Whether `/echo` exists.
    pub echo: bool,
    /// Bytes of the largest message on `/echo`.
    pub echo_bytes_max: usize,
    /// Which browser origins may connect.
    pub origins: Origins,
    /// Connections that one address may open per second, at each thread.
    pub handshakes: Rate,
    /// Connections that all threads together are expected to take in a second, and the rate at which clients come back that
    /// were sent away.
    pub reconnects_per_second: u32,
    /// Whether each thread has a descriptor table of its own, so that the limit of a table holds per thread.
    pub own_descriptors: bool,
    /// Shards of the deployment: which router core a request goes to.
    pub shards: ShardCount,
    /// What holds for sessions.
    pub session: Settings,
}

impl GatewayConfig {
    /// A gateway at `listen`, everything else as a server without configuration has it.
    #[must_use]
    pub fn new(listen: SocketAddr, shards: ShardCount) -> Self {
        Self {
            listen,
            tls: None,
            quic: None,
            connections_max: 15_000,
            connections_per_thread_max: 15_000,
            echo: false,
            echo_bytes_max: ECHO_MESSAGE_BYTES_MAX,
            origins: Origins::Only(Vec::new()),
            handshakes: Rate::UNLIMITED,
            reconnects_per_second: ADMISSIONS_PER_SECOND,
            own_descriptors: true,
            shards,
            session: Settings::default(),
        }
    }
}

/// A listener that speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsListen {
    /// Where it listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it shows and accepts ([`crate::tls::certificates::server_config`]).
    pub config: Arc<rustls::ServerConfig>,
}

/// What one gateway thread owns.
#[derive(Debug)]
pub struct ThreadParts {
    /// What wakes it.
    pub doorbell: Doorbell,
    /// Its links, in the order of the router cores.
    pub routers: Vec<RouterEnd>,
    /// The processor that it stays on.
    pub processor: Option<usize>,
}

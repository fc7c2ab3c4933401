//! What all QUIC connections of a run have in common.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, TransportConfig, VarInt};

use crate::SwarmError;
use crate::limits::{QUIC_RECEIVE_WINDOW_BYTES, QUIC_SEND_WINDOW_BYTES};
use crate::transport::TransportOptions;

/// How QUIC is spoken.
#[derive(Debug)]
pub struct Client {
    pub(super) config: ClientConfig,
    pub(super) server_name: String,
    pub(super) migrate_every: Option<Duration>,
}

impl Client {
    /// QUIC with a server of this name. Connections that move do so for the first time after a part of the time, so that not all
    /// move at once.
    ///
    /// # Errors
    /// When TLS is not what QUIC needs.
    pub(crate) fn new(
        tls: rustls::ClientConfig,
        server_name: String,
        options: &TransportOptions,
    ) -> Result<Self, SwarmError> {
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| SwarmError::Arguments(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        let mut transport = transport();
        transport.keep_alive_interval(options.keep_alive);
        config.transport_config(Arc::new(transport));
        Ok(Self { config, server_name, migrate_every: options.migrate_every })
    }
}

/// What the server may do: answer on the stream that it is asked on, and nothing else.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0_u8.into())
        .max_concurrent_uni_streams(0_u8.into())
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .stream_receive_window(VarInt::from_u32(QUIC_RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_RECEIVE_WINDOW_BYTES))
        .send_window(QUIC_SEND_WINDOW_BYTES)
        // The server's own holds, and it is the server that asks whether a client lives.
        .max_idle_timeout(None);
    transport
}

//! What a connection over QUIC is configured with.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, TransportConfig, VarInt};

use crate::limits::{QUIC_PAGES_MAX, QUIC_RECEIVE_WINDOW_BYTES, QUIC_SEND_WINDOW_BYTES, QUIC_STREAM_WINDOW_BYTES};

/// The server opens no stream but those of its pages, and sends no datagrams of the application.
pub(super) fn client(crypto: QuicClientConfig) -> ClientConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0_u8.into())
        .max_concurrent_uni_streams(QUIC_PAGES_MAX.into())
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .stream_receive_window(VarInt::from_u32(QUIC_STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_RECEIVE_WINDOW_BYTES))
        .send_window(QUIC_SEND_WINDOW_BYTES)
        // The server pings, and it is its limit of silence that holds (docs/protocol.md, "Heartbeat").
        .keep_alive_interval(None)
        .max_idle_timeout(None);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    config
}

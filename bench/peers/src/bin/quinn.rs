//! An echo on quinn, after the authors' own examples: one thread of tokio, and a task for each connection, whose streams are
//! echoed one after the other without copying what came.
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, ServerConfig, VarInt};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use switchyard_bench::quic::ECHO_PROTOCOL;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let config = config()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::server(config, address)?;
        // Whoever starts it sees by this that it listens.
        let _listens = TcpListener::bind(address)?;
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(echo(incoming));
        }
        Ok(())
    })
}

/// A certificate of its own, and the limits of a server for small messages, as ours has them.
fn config() -> Result<ServerConfig, Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    tls.alpn_protocols = vec![ECHO_PROTOCOL.as_bytes().to_vec()];
    tls.ticketer = ring::Ticketer::new()?;
    tls.send_tls13_tickets = 1;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let transport = Arc::get_mut(&mut config.transport).expect("it is not shared yet");
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1)).max_concurrent_uni_streams(VarInt::from_u32(0));
    Ok(config)
}

/// Until the connection ends, whoever ends it.
async fn echo(incoming: Incoming) {
    let Ok(connection) = incoming.await else { return };
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
            if send.write_chunk(chunk.bytes).await.is_err() {
                break;
            }
        }
        // It may have ended already.
        let _ = send.finish();
    }
}

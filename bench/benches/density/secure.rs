//! The same clients over TLS: what it adds to a connection.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use switchyard_gateway_server::TlsListen;
use switchyard_gateway_server::tls::certificates::{Certificate, Certificates, Versions, server_config};
use switchyard_schema::ids::UserId;
use switchyard_swarm::tokens::Signer;

const NAME: &str = "localhost";
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a client that only holds its connections looks whether it may leave.
const LOOK: Duration = Duration::from_millis(20);

/// What a server listens with, and clients that trust it.
pub(crate) fn both_ends() -> Result<(TlsListen, Arc<ClientConfig>), Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let made = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    let (pem, private) = (made.pem(), key.serialize_pem());
    let certificate = Certificate::from_pem(
        (Path::new("the certificate"), pem.as_bytes()),
        (Path::new("the key"), private.as_bytes()),
    )?;
    let config = server_config(Arc::new(Certificates::new(certificate)), Versions::Only13, b"http/1.1")?;
    let mut roots = RootCertStore::empty();
    roots.add(made.der().clone())?;
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each client is another device, and comes for the first time.
    client.resumption = rustls::client::Resumption::disabled();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok((TlsListen { listen, config: Arc::new(config) }, Arc::new(client)))
}

/// Opens sessions of `users` and keeps them until `leave` becomes true.
pub(crate) fn hold(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    users: impl Iterator<Item = UserId>,
    signer: &Signer,
    leave: &AtomicBool,
) -> io::Result<()> {
    let mut held = Vec::new();
    for user in users {
        held.push(open(address, config, &signer.token(user))?);
    }
    while !leave.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    Ok(())
}

/// A session that has been welcomed.
fn open(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    token: &str,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = NAME.try_into().expect("a name");
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, stream);
    let hello = format!(r#"{{"type":"hello","token":"{token}","device":"1"}}"#);
    let length = u16::try_from(hello.len()).expect("a token is short");
    // The upgrade, and a text frame whose mask is zero.
    let mut request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    request.extend([0x81, 0xfe]);
    request.extend(length.to_be_bytes());
    request.extend([0; 4]);
    request.extend(hello.as_bytes());
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    while !answer.windows(9).any(|window| window == br#""welcome""#) {
        let mut some = [0; 1_024];
        let bytes = stream.read(&mut some)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&some[..bytes]);
    }
    Ok(stream)
}

//! The same clients over TLS: what it adds to a connection.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use switchyard_bench::client::{Client as _, Said, SessionClient};
use switchyard_bench::limits::PATIENCE;
use switchyard_gateway_server::tls::certificates::{Certificate, Certificates, Versions, server_config};
use switchyard_gateway_server::{QuicConfig, ResetKey, TlsListen};
use switchyard_schema::ids::UserId;
use switchyard_schema::wire::Encoder;
use switchyard_swarm::limits::LOOK_PAUSE;
use switchyard_swarm::tokens::Signer;
use switchyard_swarm::{process, users};

const NAME: &str = "localhost";
/// Bytes read from a connection at once: a Welcome and a ping are much smaller.
const READ_BYTES: usize = 1_024;

/// What a server listens with beside its plain listener.
pub(crate) struct Listeners {
    pub(crate) tls: TlsListen,
    pub(crate) quic: QuicConfig,
}

/// What a server listens with, and clients that trust it.
pub(crate) fn both_ends() -> Result<(Listeners, Arc<ClientConfig>), Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let made = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    let (pem, private) = (made.pem(), key.serialize_pem());
    let certificate = Certificate::from_pem(
        (Path::new("the certificate"), pem.as_bytes()),
        (Path::new("the key"), private.as_bytes()),
    )?;
    let certificates = Arc::new(Certificates::new(certificate));
    let config = server_config(certificates.clone(), Versions::Only13, b"http/1.1")?;
    let mut roots = RootCertStore::empty();
    roots.add(made.der().clone())?;
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each client is another device, and comes for the first time.
    client.resumption = rustls::client::Resumption::disabled();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let tls = TlsListen { listen, config: Arc::new(config) };
    Ok((
        Listeners { tls, quic: QuicConfig::new(listen, certificates, ResetKey::new(&[7; ResetKey::SECRET_BYTES])) },
        Arc::new(client),
    ))
}

/// Opens `count` sessions and keeps them, answering pings, until `leave` becomes true.
pub(crate) fn hold(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    count: usize,
    signer: &Signer,
    leave: &AtomicBool,
) -> io::Result<()> {
    process::raise_descriptor_limit();
    let (first_user, encoder) = (users::first_user(), Rc::new(RefCell::new(Encoder::new())));
    let mut held: Vec<Line> = Vec::new();
    let mut look_at = Instant::now() + LOOK_PAUSE;
    while !leave.load(Ordering::Relaxed) {
        if held.len() < count && Instant::now() < look_at {
            let user = UserId::new(first_user + held.len() as u64).expect("not zero");
            held.push(Line::open(address, config, SessionClient::new(user, signer.token(user), encoder.clone()))?);
            continue;
        }
        thread::sleep(look_at.saturating_duration_since(Instant::now()));
        held.iter_mut().try_for_each(Line::answer)?;
        look_at = Instant::now() + LOOK_PAUSE;
    }
    Ok(())
}

/// One client and its connection.
struct Line {
    client: SessionClient,
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What was received and is not whole.
    input: Vec<u8>,
}

impl Line {
    /// A session that has been welcomed.
    fn open(address: SocketAddr, config: &Arc<ClientConfig>, client: SessionClient) -> io::Result<Self> {
        let name = NAME.try_into().expect("a name");
        let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = Self { client, stream: StreamOwned::new(connection, stream), input: Vec::new() };
        let mut request = Vec::new();
        line.client.start(&mut request);
        line.stream.write_all(&request)?;
        while line.take()? != Some(Said::Ready) {
            line.read()?;
        }
        // From now on it is only looked at.
        line.stream.sock.set_nonblocking(true)?;
        Ok(line)
    }

    /// Answers what has arrived.
    fn answer(&mut self) -> io::Result<()> {
        match self.read() {
            Ok(()) => self.take().map(|_| ()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut some = [0; READ_BYTES];
        match self.stream.read(&mut some)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.input.extend_from_slice(&some[..bytes]);
                Ok(())
            }
        }
    }

    /// Takes what is whole; the last that was said.
    fn take(&mut self) -> io::Result<Option<Said>> {
        let (mut out, mut at, mut last) = (Vec::new(), 0, None);
        while at < self.input.len() {
            let taken = self.client.take(&mut self.input[at..], &mut out).map_err(io::Error::other)?;
            if taken.consumed == 0 && taken.said.is_none() {
                break;
            }
            at += taken.consumed;
            last = taken.said.or(last);
        }
        self.input.drain(..at);
        self.stream.write_all(&out)?;
        Ok(last)
    }
}

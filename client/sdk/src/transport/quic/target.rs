//! A server that speaks QUIC, and how a connection to it is opened.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};

use super::early::{Early, Proven};
use super::{Quic, settings};
use crate::address::Host;
use crate::error::Error;
use crate::limits::{HEAD_START, QUIC_ADDRESSES_MAX};
use crate::transport::TransportError;
use crate::transport::race::{self, Attempt};
use crate::trust::Trust;

/// A server that speaks QUIC.
#[derive(Debug)]
pub(crate) struct Target {
    host: Host,
    /// Kept for all connections of a client: it knows what they resume with.
    config: ClientConfig,
    proven: Proven,
}

impl Target {
    /// # Errors
    /// [`Error::InvalidAuthority`].
    pub(crate) fn new(host: Host, trust: &Trust) -> Result<Self, Error> {
        Ok(Self { host, config: settings::client(trust.quic()?), proven: Proven::default() })
    }

    pub(crate) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses = tokio::net::lookup_host((self.host.name.as_str(), self.host.port)).await?;
        Ok(addresses.take(QUIC_ADDRESSES_MAX).collect())
    }

    /// Connects to whichever of the addresses answers first. Where QUIC is known to get through, one that resumes counts as open
    /// before the server has answered; it fails by itself when no answer comes within the time of `early`.
    pub(crate) async fn open(
        &self,
        mut addresses: Vec<SocketAddr>,
        early: Option<Duration>,
    ) -> Result<Quic, TransportError> {
        let proven = early.and(self.proven.take());
        // What has worked comes first.
        addresses.sort_by_key(|&address| Some(address) != proven);
        let attempts = addresses.into_iter().map(|address| {
            let early = early.filter(|_| Some(address) == proven);
            Box::pin(self.open_at(address, early)) as Attempt<'_, Quic>
        });
        race::first(attempts.collect(), HEAD_START).await
    }

    async fn open_at(&self, address: SocketAddr, early: Option<Duration>) -> Result<Quic, TransportError> {
        let socket = free_socket(address)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        let connecting = endpoint.connect_with(self.config.clone(), address, &self.host.name);
        let mut connecting = connecting.map_err(io::Error::other)?;
        if let Some(patience) = early {
            connecting = match connecting.into_0rtt() {
                Ok((connection, accepted)) => {
                    let early = Early::new(accepted, patience, address, self.proven.clone());
                    return Quic::new(endpoint, connection, Some(early)).await;
                }
                Err(connecting) => connecting,
            };
        }
        let quic = Quic::new(endpoint, connecting.await?, None).await?;
        self.proven.put(address);
        Ok(quic)
    }

    /// What worked before the network changed says nothing of what works after it.
    pub(crate) fn network_changed(&self) {
        self.proven.take();
    }
}

/// A socket from which `remote` can be reached.
pub(crate) fn free_socket(remote: SocketAddr) -> io::Result<UdpSocket> {
    match remote {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

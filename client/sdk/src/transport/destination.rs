//! Where a client connects, and how: by the one way that the application names, or by the better of two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::networks::{NetworkId, Networks, Prospect};
use super::websocket::WebSocket;
use super::{Transport, TransportError, quic, race};
use crate::address::{Address, Host, WebSocketAddress};
use crate::error::Error;
use crate::limits::{HEAD_START, HEAD_START_TRUSTED, OPEN_TIMEOUT};
use crate::trust::Trust;

/// A server, by the transports that the application names.
pub(crate) enum Destination {
    WebSocket(Target),
    Quic(quic::Target),
    /// QUIC with a head start, a WebSocket behind it.
    Either(Target, quic::Target, Mutex<Networks>),
}

/// A server that speaks WebSocket.
pub(crate) struct Target {
    address: WebSocketAddress,
    /// For a server that speaks TLS: what its certificate must name, and who must vouch for it.
    tls: Option<(ServerName<'static>, TlsConnector)>,
}

impl Destination {
    /// The server at `url`, which speaks QUIC at `quic` too.
    ///
    /// # Errors
    /// When an address or the authorities cannot be used.
    pub(crate) fn new(url: &str, quic: Option<&str>, trust: &Trust) -> Result<Self, Error> {
        Ok(match (Address::parse(url)?, quic) {
            (Address::WebSocket(address), None) => Self::WebSocket(Target::new(url, address, trust)?),
            (Address::Quic(host), None) => Self::Quic(quic::Target::new(host, trust)?),
            (Address::WebSocket(address), Some(quic)) => {
                let refuse = |problem| Error::InvalidUrl { url: quic.to_owned(), problem };
                let host = Host::parse(quic, 443).map_err(refuse)?;
                Self::Either(Target::new(url, address, trust)?, quic::Target::new(host, trust)?, Mutex::default())
            }
            (Address::Quic(_), Some(_)) => {
                let problem = "it names QUIC already; beside another address of QUIC a WebSocket's is wanted";
                return Err(Error::InvalidUrl { url: url.to_owned(), problem });
            }
        })
    }

    pub(crate) async fn open(self: Arc<Self>) -> Result<Transport, TransportError> {
        let opening = async {
            match &*self {
                Self::WebSocket(target) => target.open().await,
                Self::Quic(target) => {
                    let addresses = target.resolve().await?;
                    Ok(Transport::Quic(Box::new(target.open(addresses, Some(OPEN_TIMEOUT)).await?)))
                }
                Self::Either(websocket, quic, networks) => open_either(websocket, quic, networks).await,
            }
        };
        timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(TransportError::Timeout))
    }

    /// The client is in this network now, or in one that the application does not name.
    pub(crate) fn enter(&self, network: Option<NetworkId>) {
        if let Self::Quic(quic) | Self::Either(_, quic, _) = self {
            quic.network_changed();
        }
        if let Self::Either(_, _, networks) = self {
            lock(networks).enter(network);
        }
    }
}

/// Whichever of the two answers first, if QUIC is to be tried at all in this network.
async fn open_either(
    websocket: &Target,
    quic: &quic::Target,
    networks: &Mutex<Networks>,
) -> Result<Transport, TransportError> {
    let addresses = quic.resolve().await.unwrap_or_default();
    let Some(&address) = addresses.first() else { return websocket.open().await };
    let network = lock(networks).current(address);
    let prospect = lock(networks).prospect(network, Instant::now());
    let (head_start, early) = match prospect {
        // What does not get through this way either may be another network with the same addresses.
        Prospect::None => return websocket.open().await.inspect_err(|_| lock(networks).forget(network)),
        Prospect::Unknown => (HEAD_START, None),
        Prospect::Good => (HEAD_START_TRUSTED, Some(HEAD_START_TRUSTED)),
    };
    let refused = AtomicBool::new(false);
    let over_quic = async {
        let opened = quic.open(addresses, early).await;
        refused.store(opened.as_ref().is_err_and(TransportError::is_answer), Ordering::Relaxed);
        Ok(Transport::Quic(Box::new(opened?)))
    };
    let opened = race::first(vec![Box::pin(over_quic), Box::pin(websocket.open())], head_start).await?;
    match &opened {
        Transport::Quic(_) => lock(networks).on_quic_works(network),
        // A server that refuses was reached.
        _ if refused.into_inner() => {}
        _ => lock(networks).on_quic_blocked(network, Instant::now()),
    }
    Ok(opened)
}

fn lock(networks: &Mutex<Networks>) -> MutexGuard<'_, Networks> {
    networks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Target {
    fn new(url: &str, address: WebSocketAddress, trust: &Trust) -> Result<Self, Error> {
        let tls = if address.secure {
            let name = ServerName::try_from(address.host.name.clone()).map_err(|_| Error::InvalidUrl {
                url: url.to_owned(),
                problem: "its host is no name that a certificate could have",
            })?;
            Some((name, trust.connector()?))
        } else {
            None
        };
        Ok(Self { address, tls })
    }

    async fn open(&self) -> Result<Transport, TransportError> {
        let Self { address, tls } = self;
        let stream = TcpStream::connect((address.host.name.as_str(), address.host.port)).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let Some((name, connector)) = tls else {
            return Ok(Transport::WebSocket(Box::new(WebSocket::open(stream, address, local).await?)));
        };
        let stream = connector.connect(name.clone(), stream).await?;
        Ok(Transport::SecureWebSocket(Box::new(WebSocket::open(stream, address, local).await?)))
    }
}

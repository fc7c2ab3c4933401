//! What the connections of a run are spoken over, below the sessions: WebSockets on TCP, plain or under TLS, or QUIC.
//!
//! [`TransportOptions`] are what a command is asked for, and go to other machines as they are. [`Transport`] is made of them
//! once, and handed to the event loop of each thread, for whose work every connection is bytes in order, whatever carries
//! them: a session only has to know how frames are put on it ([`Transport::framing`]).

pub(crate) mod quic;
pub(crate) mod stream;
pub(crate) mod tls;
mod trust;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchyard_gateway_core::handshake::Form;

use crate::SwarmError;
use crate::random::random;
use crate::relay::{Relay, RelayOptions};
use crate::routes::{Routes, Sources};
use crate::wire::{Framing, Masks};

pub use quic::Client as QuicClient;
pub use tls::Client as TlsClient;

/// What carries the sessions.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, clap::ValueEnum, Serialize, Deserialize)]
pub enum Protocol {
    /// WebSockets over TCP.
    #[default]
    Ws,
    /// The same under TLS.
    Wss,
    /// QUIC: a session is a stream of frames.
    Quic,
}

/// What a run is asked to be spoken over.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TransportOptions {
    /// What carries the sessions.
    pub protocol: Protocol,
    /// The certificates of whoever may vouch for the server, in PEM form. Only plain WebSockets do without.
    pub authorities: Option<String>,
    /// The name that the server's certificate must have; its address when missing.
    pub server_name: Option<String>,
    /// How often each connection moves to another port of this machine; never when missing. Only QUIC survives that.
    pub migrate_every: Option<Duration>,
    /// How long a QUIC connection says nothing before it sends a PING, as clients do whose home router forgets or changes their
    /// address; for ever when missing. A client that says nothing is not found at another address that it does not know of.
    pub keep_alive: Option<Duration>,
    /// The bad network in between; the machine's own when missing. Only QUIC goes through it.
    pub relay: Option<RelayOptions>,
}

/// The way to a server, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) transport: Transport,
    /// Where to connect: the server, or the bad network before it.
    pub(crate) address: SocketAddr,
    /// Ends when dropped.
    relay: Option<Relay>,
}

impl TransportOptions {
    /// Opens the way to a server.
    ///
    /// # Errors
    /// When the options make no sense together, the authorities are none, or there can be no relay.
    pub(crate) fn open(&self, server: SocketAddr) -> Result<Way, SwarmError> {
        let transport = Transport::new(self, server)?;
        let here = if server.is_ipv6() { IpAddr::from(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
        let listen = SocketAddr::new(here, 0);
        let relay = self.relay.map(|options| Relay::start(listen, server, options)).transpose()?;
        let address = relay.as_ref().map_or(server, Relay::address);
        Ok(Way { transport, address, relay })
    }
}

impl Way {
    /// The ways of `count` connections, as [`Routes::new`] has them.
    ///
    /// # Errors
    /// When there are too few addresses or one of them is of no use, with what to do.
    pub(crate) fn routes(&self, count: u32, wanted: Option<u32>, sources: &Sources) -> Result<Routes, SwarmError> {
        match self.transport {
            Transport::Ws | Transport::Wss(_) => Routes::new(self.address, count, wanted, sources),
            Transport::Quic(_) if self.relay.is_some() && wanted.is_some_and(|wanted| wanted > 1) => {
                refuse("--destinations: a run through a relay of its own goes to one address; leave it out")
            }
            Transport::Quic(_) => Routes::of_datagrams(self.address, wanted, sources),
        }
    }
}

/// What a run is spoken over.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// WebSockets over TCP.
    #[default]
    Ws,
    /// The same under TLS.
    Wss(Arc<TlsClient>),
    /// QUIC.
    Quic(Arc<QuicClient>),
}

impl Transport {
    /// What the options say, towards this server.
    ///
    /// # Errors
    /// When they make no sense together, or the authorities are none.
    fn new(options: &TransportOptions, server: SocketAddr) -> Result<Self, SwarmError> {
        let name = || options.server_name.clone().unwrap_or_else(|| server.ip().to_string());
        let tls = |protocol| trust::client(options.authorities.as_deref(), protocol);
        match options.protocol {
            Protocol::Quic => {
                let tls = tls(Form::Binary.subprotocol())?;
                Ok(Self::Quic(Arc::new(QuicClient::new(tls, name(), options)?)))
            }
            _ if options.migrate_every.is_some() || options.keep_alive.is_some() => refuse(
                "--migrate-every, --keep-alive: only QUIC connections move, and say that they live; add --transport quic",
            ),
            _ if options.relay.is_some() => {
                refuse("--loss, --delay, --jitter, --reorder: only QUIC goes through a relay; add --transport quic")
            }
            Protocol::Ws => Ok(Self::Ws),
            // A WebSocket begins as HTTP/1.1 (RFC 6455 §4.1).
            Protocol::Wss => Ok(Self::Wss(Arc::new(TlsClient::new(tls("http/1.1")?, name())?))),
        }
    }

    /// How frames are put on a connection.
    #[must_use]
    pub fn framing(&self) -> Framing {
        match self {
            Self::Ws | Self::Wss(_) => Framing::WebSocket(Masks::new(random())),
            Self::Quic(_) => Framing::Stream,
        }
    }
}

/// What makes no sense.
fn refuse<T>(why: &str) -> Result<T, SwarmError> {
    Err(SwarmError::Arguments(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(options: &TransportOptions) -> String {
        Transport::new(options, "127.0.0.1:1".parse().expect("an address")).expect_err("it makes no sense").to_string()
    }

    #[test]
    fn given_options_that_make_no_sense_together_when_a_run_begins_then_the_error_says_what_to_do() {
        let moving = TransportOptions { migrate_every: Some(Duration::from_secs(1)), ..TransportOptions::default() };
        assert!(error_of(&moving).contains("--transport quic"));
        let lossy = TransportOptions { relay: Some(RelayOptions::default()), ..TransportOptions::default() };
        assert!(error_of(&lossy).contains("--transport quic"));
        let blind = TransportOptions { protocol: Protocol::Quic, ..TransportOptions::default() };
        assert!(error_of(&blind).contains("--ca"));
        let deceived = TransportOptions { authorities: Some("no certificate".to_owned()), ..blind };
        assert!(error_of(&deceived).contains("no certificate"));
    }
}

//! The servers of a comparison, each a process of its own that ends when it is dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use switchyard_swarm::SwarmError;
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::tokens::Signer;

use crate::limits::START_MAX;
use crate::load::Target;

/// Who takes part.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Ours.
    Switchyard,
    /// Ours, where it is spoken to over QUIC.
    SwitchyardQuic,
    /// An echo on tokio-tungstenite (`bench/peers`).
    TokioTungstenite,
    /// An echo on fastwebsockets (`bench/peers`).
    Fastwebsockets,
    /// An echo on quinn (`bench/peers`).
    Quinn,
    /// Debian's `redis-server`, which syncs its append-only file on every write.
    Redis,
    /// Debian's `nats-server`.
    Nats,
}

/// Where the servers' programs and data are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Our binary.
    pub switchyard: PathBuf,
    /// Our gateway and router threads; our own choice when missing.
    pub cores: Option<(u16, u16)>,
    /// The folder of the peers' echo programs.
    pub echoes: PathBuf,
    /// Where data goes, on a disk (not tmpfs).
    pub data: PathBuf,
}

/// A running server.
#[derive(Debug)]
pub enum Running {
    /// Ours, and the key that it believes.
    Switchyard(Box<Server>, Signer),
    /// Another.
    Peer(Peer),
}

impl Running {
    /// Starts one with empty data, and waits until it takes connections.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn start(kind: Kind, places: &Places) -> Result<Self, String> {
        let data = &places.data;
        match kind {
            Kind::Switchyard => start_switchyard(places, false).map_err(|error| error.to_string()),
            Kind::SwitchyardQuic => start_switchyard(places, true).map_err(|error| error.to_string()),
            Kind::TokioTungstenite => Peer::echo(&places.echoes.join("echo-tokio-tungstenite")).map(Self::Peer),
            Kind::Fastwebsockets => Peer::echo(&places.echoes.join("echo-fastwebsockets")).map(Self::Peer),
            Kind::Quinn => Peer::echo(&places.echoes.join("echo-quinn")).map(Self::Peer),
            Kind::Redis => Peer::redis(&data.join("redis")).map(Self::Peer),
            Kind::Nats => Peer::nats(&data.join("nats.log")).map(Self::Peer),
        }
    }

    /// Whom a load is for.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Switchyard(server, _) => {
                Target { address: server.quic.unwrap_or(server.websocket), pid: server.pid() }
            }
            Self::Peer(peer) => peer.target(),
        }
    }

    /// What to add to the report of a failure: that the server has ended, where it has.
    #[must_use]
    pub fn fate(&mut self) -> String {
        match self {
            // The handle of ours tells only when it is stopped.
            Self::Switchyard(..) => String::new(),
            Self::Peer(peer) => match peer.child.try_wait() {
                Ok(Some(status)) => format!("; the server ended with {status}"),
                Ok(None) | Err(_) => String::new(),
            },
        }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When ours does not end as it should.
    pub fn stop(self) -> Result<(), String> {
        match self {
            Self::Switchyard(server, _) => server.stop().map_err(|error| error.to_string()),
            Self::Peer(_) => Ok(()),
        }
    }
}

fn start_switchyard(places: &Places, quic: bool) -> Result<Running, SwarmError> {
    let data = places.data.join("switchyard");
    fresh_folder(&data)?;
    let (binary, cores) = (places.switchyard.clone(), places.cores);
    let options = ServerOptions { binary, data: data.clone(), cores, rate_limits: false };
    let server = if quic { Server::start_with_quic(&options) } else { Server::start(&options) }?;
    Ok(Running::Switchyard(Box::new(server), Signer::of_data(&data)?))
}

/// A server of others; killed when dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    /// One of the echo programs of `bench/peers`.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn echo(program: &Path) -> Result<Self, String> {
        Self::start(program, "cargo xtask bench peers builds it", |command, address| {
            command.arg(address.to_string());
        })
    }

    fn redis(folder: &Path) -> Result<Self, String> {
        fresh_folder(folder).map_err(|error| error.to_string())?;
        Self::start(Path::new("redis-server"), "apt-get install redis-server", |command, address| {
            command
                .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", "always", "--maxclients", "15000", "--dir"])
                .arg(folder);
        })
    }

    fn nats(log: &Path) -> Result<Self, String> {
        Self::start(Path::new("nats-server"), "apt-get install nats-server", |command, address| {
            command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string(), "--log"]).arg(log);
        })
    }

    fn start(program: &Path, install: &str, arguments: impl FnOnce(&mut Command, SocketAddr)) -> Result<Self, String> {
        let name = program.display();
        let fail = |error: std::io::Error| format!("{name} cannot be started: {error} ({install})");
        // A port that was free a moment ago; not every server can choose one itself and say which.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(fail)?;
        let mut command = Command::new(program);
        arguments(&mut command, address);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(fail)?;
        let peer = Self { child, address };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{name} does not listen on {address} after {START_MAX:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// Whom a load is for.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { address: self.address, pid: self.child.id() }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

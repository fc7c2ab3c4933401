//! A bad network between QUIC clients and a server, on a machine whose kernel cannot play one: a UDP relay that loses, delays
//! and reorders datagrams, and changes the addresses of clients under way.
//!
//! To the server each client of the relay is a port of its own, as behind a home router. With `rebind_every` that port becomes
//! another now and then, which the client does not notice, and what still comes to the old one is lost.
//!
//! What happens to a datagram depends on the seed, on who sent it and on how many came before it from there, and on nothing
//! else: the third datagram of the second client meets the same fate in every run. When it comes is the business of the clock.

mod clients;
mod flow;
mod held;
mod share;
mod thread;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt;
use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::limits::UDP_SOCKET_BYTES;
use crate::tally::Count;

pub use share::Share;

/// How bad the network is. Everything holds for each direction by itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RelayOptions {
    /// Datagrams that are lost.
    pub loss: Share,
    /// How long each takes at least.
    pub delay: Duration,
    /// How much longer it may take; this alone reorders nothing.
    pub jitter: Duration,
    /// Datagrams that are overtaken by those behind them.
    pub reorder: Share,
    /// How often each client gets another port towards the server; never when missing.
    pub rebind_every: Option<Duration>,
    /// What chance follows from.
    pub seed: u64,
}

/// What a relay has done.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RelayReport {
    /// Datagrams that were passed on, in both directions.
    pub passed_on: u64,
    /// Datagrams that were lost as asked for.
    pub lost: u64,
    /// Datagrams that were overtaken as asked for.
    pub overtaken: u64,
    /// Datagrams that were thrown away because there were too many, or too many clients.
    pub overflowed: u64,
    /// Times that a client got another port.
    pub rebinds: u64,
}

/// The same while it runs; its thread is the only writer.
#[derive(Debug, Default)]
struct Counts {
    passed_on: Count,
    lost: Count,
    overtaken: Count,
    overflowed: Count,
    rebinds: Count,
}

/// A running relay; it ends when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Relay {
    /// Begins to relay what comes to `listen` (UDP; port 0 takes a free one) to the server at `to`, and back.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(listen: SocketAddr, to: SocketAddr, options: RelayOptions) -> Result<Self, SwarmError> {
        let failed = || SwarmError::io(format!("a relay at {listen}"));
        let socket = UdpSocket::bind(listen).map_err(failed())?;
        let address = socket.local_addr().map_err(failed())?;
        // What all clients say at once is not to be lost here. The kernel gives what it may.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, UDP_SOCKET_BYTES);
        let _ = sockopt::set_socket_send_buffer_size(&socket, UDP_SOCKET_BYTES);
        let (counts, stop) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let work =
            thread::Thread::new(socket, to, options, (Arc::clone(&counts), Arc::clone(&stop))).map_err(failed())?;
        let builder = std::thread::Builder::new().name("swarm-relay".to_owned());
        let thread = builder.spawn(move || work.run()).map_err(SwarmError::io("starting a thread"))?;
        Ok(Self { address, counts, stop, thread: Some(thread) })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> RelayReport {
        let Counts { passed_on, lost, overtaken, overflowed, rebinds } = &*self.counts;
        RelayReport {
            passed_on: passed_on.get(),
            lost: lost.get(),
            overtaken: overtaken.get(),
            overflowed: overflowed.get(),
            rebinds: rebinds.get(),
        }
    }

    /// Relays until the kernel refuses.
    ///
    /// # Errors
    /// Why it did.
    pub fn wait(mut self) -> Result<(), SwarmError> {
        self.thread.take().map_or(Ok(()), join)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Nobody is left who would want to know how it ended.
        let _ = self.thread.take().map(join);
    }
}

fn join(thread: JoinHandle<std::io::Result<()>>) -> Result<(), SwarmError> {
    match thread.join() {
        Ok(ended) => ended.map_err(SwarmError::io("relaying")),
        Err(_) => Err(SwarmError::Server("the relay panicked".to_owned())),
    }
}

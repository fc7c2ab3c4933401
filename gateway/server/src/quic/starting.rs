//! How threads come by their QUIC: what they share is made once, then each opens its socket in turn.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use switchyard_ring::EventFd;

use super::misrouted::Queues;
use super::settings::Shared;
use super::{Quic, QuicConfig};
use crate::gateway::SpawnError;
use crate::limits::QUIC_THREADS_MAX;
use crate::state::Parts;
use crate::sys;

/// What all threads are given.
#[derive(Clone, Debug)]
pub(crate) struct Startup {
    shared: Shared,
    queues: Queues,
    steered: bool,
    threads: u16,
}

fn listen_error(address: SocketAddr, source: io::Error) -> SpawnError {
    SpawnError::Listen { address, flag: "--listen-quic", source }
}

impl Startup {
    /// For `threads` threads, which are woken by `events`, with the plain echo or without.
    ///
    /// # Errors
    /// When there are too many of them, the address is taken, or rustls cannot be configured.
    pub(crate) fn prepare(
        config: &QuicConfig,
        echo: bool,
        threads: u16,
        heartbeat_ms: u32,
        events: impl Iterator<Item = EventFd>,
    ) -> Result<Self, SpawnError> {
        if threads > QUIC_THREADS_MAX {
            return Err(SpawnError::QuicThreads(threads));
        }
        sys::probe_udp(config.listen).map_err(|error| listen_error(config.listen, error))?;
        let shared = Shared::new(config, echo, heartbeat_ms).map_err(SpawnError::Tls)?;
        Ok(Self { shared, queues: Queues::new(events), steered: config.steered, threads })
    }

    /// Opens the calling thread's socket, after those of the threads before it; answers where it listens. The first one tells the
    /// kernel how to steer, for all of them.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub(crate) fn open(self, address: SocketAddr, parts: &Parts) -> Result<(SocketAddr, Box<Quic>), SpawnError> {
        let open = || {
            let socket = sys::udp_socket(address)?;
            let local_address = socket.local_addr()?;
            if self.steered
                && parts.index == 0
                && let Err(error) = sys::steer_by_connection_id(socket.as_fd(), u32::from(self.threads))
            {
                tracing::warn!(%error, "the kernel does not steer QUIC; threads pass on what comes to the wrong one");
            }
            let place = (parts.index, self.threads);
            let connections_max = parts.config.connections_per_thread_max;
            let shared = (&self.shared, parts.counters.clone());
            let quic = Quic::new(socket, shared, self.queues, place, connections_max, parts.seed)?;
            Ok((local_address, Box::new(quic)))
        };
        open().map_err(|error| listen_error(address, error))
    }
}

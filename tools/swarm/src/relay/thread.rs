//! The loop of a relay.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::clients::{ClientId, Clients};
use super::flow::Fate;
use super::held::{Datagram, Held, To};
use super::{Counts, RelayOptions};
use crate::limits::{EVENTS_PER_TURN_MAX, RELAY_READS_PER_EVENT_MAX, TURN_PAUSE_MAX, UDP_BUFFER_BYTES};

/// What the socket that clients send to is called among those that are watched.
const LISTENER: u64 = u64::MAX;

/// What one thread relays.
#[derive(Debug)]
pub(super) struct Thread {
    epoll: std::os::fd::OwnedFd,
    listener: UdpSocket,
    options: RelayOptions,
    clients: Clients,
    held: Held,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
}

impl Thread {
    /// # Errors
    /// When the kernel refuses an epoll.
    pub(super) fn new(
        listener: UdpSocket,
        server: SocketAddr,
        options: RelayOptions,
        (counts, stop): (Arc<Counts>, Arc<AtomicBool>),
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        listener.set_nonblocking(true)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let clients = Clients::new(epoll.try_clone()?, server, options);
        Ok(Self { epoll, listener, options, clients, held: Held::default(), counts, stop })
    }

    /// Relays until told to stop.
    ///
    /// # Errors
    /// When the kernel gives no more sockets.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN_MAX);
        let mut buffer = vec![0; UDP_BUFFER_BYTES];
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let due = [self.held.next_due(), self.clients.next_rebind()].into_iter().flatten().min();
            let wait = due.map_or(TURN_PAUSE_MAX, |due| due.saturating_duration_since(now)).min(TURN_PAUSE_MAX);
            let timeout = Timespec::try_from(wait).expect("a short pause");
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.take_from_clients(&mut buffer)?,
                    index => self.take_from_server(index, &mut buffer),
                }
            }
            let now = Instant::now();
            while let Some(datagram) = self.held.take_due(now) {
                self.send(&datagram);
            }
            let rebinds = self.clients.rebind(now)?;
            self.counts.rebinds.add(rebinds);
        }
        // Clients that are done have said goodbye, which is not to be lost with the relay.
        self.take_from_clients(&mut buffer)?;
        while let Some(datagram) = self.held.take_next() {
            self.send(&datagram);
        }
        Ok(())
    }

    fn take_from_clients(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..RELAY_READS_PER_EVENT_MAX {
            let Ok((bytes, from)) = self.listener.recv_from(buffer) else { return Ok(()) };
            let now = Instant::now();
            match self.clients.at(from, now)? {
                Some(client) => self.on_datagram(client, To::Server, &buffer[..bytes], now),
                None => self.counts.overflowed.add(1),
            }
        }
        Ok(())
    }

    fn take_from_server(&mut self, index: u64, buffer: &mut [u8]) {
        let Some(id) = self.clients.of_index(index) else { return };
        for _ in 0..RELAY_READS_PER_EVENT_MAX {
            let client = self.clients.get_mut(id).expect("it was just there");
            // An error is of a datagram that was sent to a server which is not there, or says that there is nothing.
            let Ok(bytes) = client.socket.recv(buffer) else { return };
            self.on_datagram(id, To::Client, &buffer[..bytes], Instant::now());
        }
    }

    fn on_datagram(&mut self, id: ClientId, to: To, bytes: &[u8], now: Instant) {
        let client = self.clients.get_mut(id).expect("it was just there");
        let flow = match to {
            To::Client => &mut client.to_client,
            To::Server => &mut client.to_server,
        };
        let due = match flow.on_datagram(&self.options, now) {
            Fate::Lost => return self.counts.lost.add(1),
            Fate::Due(at) => at,
            Fate::Overtaken(at) => {
                self.counts.overtaken.add(1);
                at
            }
        };
        if !self.held.keep(due, id, to, bytes) {
            self.counts.overflowed.add(1);
        }
    }

    /// Whatever goes wrong, the datagram is lost, as on any line.
    fn send(&mut self, Datagram { client, to, bytes, .. }: &Datagram) {
        let Some(client) = self.clients.get_mut(*client) else { return };
        let sent = match to {
            To::Client => self.listener.send_to(bytes, client.address),
            To::Server => client.socket.send(bytes),
        };
        self.counts.passed_on.add(u64::from(sent.is_ok()));
    }
}

//! QUIC connections of one thread, without a runtime: quinn's state machine between the event loop and a few UDP sockets.
//!
//! Connections share sockets, and find their packets by connection id: a hundred thousand of them need no more descriptors
//! than ten, and the kernel wakes the thread for many of their packets at once. One endpoint has them all. A connection that
//! moves ([`Client::new`]) goes on from another of the sockets, whose port is another to the server; what still comes to the
//! one that it has left is thrown away, as it is for a phone that has left a network.
//!
//! Each connection is one stream, which the swarm opens. The event loop asks what has happened to connections
//! ([`Quic::happening`]), reads and writes streams, and at the end of a turn has everything sent ([`Quic::send`]).

mod client;
mod link;
mod sockets;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, VarInt};
use switchyard_schema::error::CloseCode;

use crate::event_loop::{Route, SocketId};
use crate::limits::{UDP_READS_PER_EVENT_MAX, UDP_SENDS_PER_CONNECTION_MAX};

pub use client::Client;
pub(crate) use link::Happening;
use link::Link;
use sockets::{Datagram, UdpSockets};

/// The number of a connection in its [`Quic`].
pub(crate) type Handle = u32;

/// The connections of one thread.
pub(crate) struct Quic {
    client: Arc<Client>,
    endpoint: Endpoint,
    sockets: UdpSockets,
    /// By handle.
    links: Vec<Option<Box<Link>>>,
    /// To whom something may have happened, and who may have something to send.
    touched: Vec<Handle>,
    /// When each link is to be looked at, once.
    deadlines: BTreeSet<(Instant, Handle)>,
    arrived: Vec<Datagram>,
    packets: Vec<u8>,
    migrations: u64,
}

impl Quic {
    /// `epoll` tells of every UDP socket, which [`Quic::socket_of`] recognises.
    pub(crate) fn new(client: Arc<Client>, epoll: OwnedFd) -> Self {
        Self {
            client,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            sockets: UdpSockets::new(epoll),
            links: Vec::new(),
            touched: Vec::new(),
            deadlines: BTreeSet::new(),
            arrived: Vec::new(),
            packets: Vec::new(),
            migrations: 0,
        }
    }

    /// The UDP socket that an event of the epoll is of, if it is of one.
    pub(crate) fn socket_of(event_data: u64) -> Option<usize> {
        sockets::index_of(event_data)
    }

    /// Moves after which the server was heard at the new address.
    pub(crate) const fn migrations(&self) -> u64 {
        self.migrations
    }

    /// Begins a connection for the place `id` of the loop.
    ///
    /// # Errors
    /// When the kernel gives no socket, or the name of the server is none.
    pub(crate) fn connect(&mut self, id: SocketId, route: Route) -> io::Result<Handle> {
        let address = route.source.unwrap_or_else(|| {
            if route.destination.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv4Addr::UNSPECIFIED) }
        });
        let socket = self.sockets.next(address, None)?;
        let (handle, proto) = self
            .endpoint
            .connect(Instant::now(), self.client.config.clone(), route.destination, &self.client.server_name)
            .map_err(io::Error::other)?;
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.links[handle.0] = Some(Box::new(Link::new(id, proto, socket)));
        let handle = Handle::try_from(handle.0).expect("memory holds fewer");
        self.touch(handle);
        Ok(handle)
    }

    /// Takes what has arrived at a socket. What is left when enough was taken is told of again.
    pub(crate) fn receive(&mut self, socket: usize) {
        for _ in 0..UDP_READS_PER_EVENT_MAX {
            let mut arrived = std::mem::take(&mut self.arrived);
            // An error is of a datagram that was sent, or says that there is nothing.
            let more = self.sockets.receive(socket, &mut arrived).is_ok();
            let now = Instant::now();
            for datagram in arrived.drain(..) {
                self.on_datagram(socket, datagram, now);
            }
            self.arrived = arrived;
            if !more {
                return;
            }
        }
    }

    fn on_datagram(&mut self, socket: usize, datagram: Datagram, now: Instant) {
        let Datagram { remote, ecn, bytes } = datagram;
        self.packets.clear();
        match self.endpoint.handle(now, remote, None, ecn, bytes, &mut self.packets) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let Some(link) = self.links[handle.0].as_deref_mut().filter(|link| link.socket == socket) else {
                    return;
                };
                if std::mem::take(&mut link.unheard) {
                    self.migrations += 1;
                }
                link.proto.handle_event(event);
                self.touch(u32::try_from(handle.0).expect("it was made from one"));
            }
            // It is about a connection that is no more.
            Some(DatagramEvent::Response(transmit)) => self.sockets.send(socket, &transmit, &self.packets),
            Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
            None => {}
        }
    }

    /// Sees to those whose time has come, each once.
    pub(crate) fn fire(&mut self, now: Instant) {
        while let Some(&(at, handle)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let link = self.links[handle as usize].as_deref_mut().expect("a link that is gone has no deadline");
            link.armed = None;
            link.on_time(now);
            if link.is_to_move(now) {
                self.migrate(handle, now);
            }
            self.touch(handle);
        }
    }

    /// Has a connection go on from another socket.
    fn migrate(&mut self, handle: Handle, now: Instant) {
        let link = self.links[handle as usize].as_deref_mut().expect("it was just there");
        let every = self.client.migrate_every.expect("only those move that were told to");
        // Without another socket, it stays and tries again the next time.
        let next = self.sockets.next(self.sockets.address_of(link.socket), Some(link.socket));
        link.on_move(now + every, next.unwrap_or(link.socket));
    }

    /// What has happened to a connection that was touched, one after the other.
    pub(crate) fn happening(&mut self, handle: Handle) -> Option<(SocketId, Happening)> {
        let link = self.links.get_mut(handle as usize)?.as_deref_mut()?;
        Some((link.id, link.happening()?))
    }

    /// The `index`-th connection that was touched in this turn.
    pub(crate) fn touched(&self, index: usize) -> Option<Handle> {
        self.touched.get(index).copied()
    }

    /// Reads from the stream of a connection.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come.
    pub(crate) fn read(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let link = self.links[handle as usize].as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
        let bytes = link.read(buffer)?;
        if let Some(every) = self.client.migrate_every {
            // Before the server has answered, it would not take packets from elsewhere (RFC 9000 §9).
            link.move_some_time(every, handle);
        }
        Ok(bytes)
    }

    /// Writes to the stream of a connection.
    ///
    /// # Errors
    /// `WouldBlock` when the server grants no more for now.
    pub(crate) fn write(&mut self, handle: Handle, bytes: &[u8]) -> io::Result<usize> {
        self.touch(handle);
        let link = self.links[handle as usize].as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
        link.write(bytes)
    }

    /// Sends for everybody who may have something to send.
    pub(crate) fn send(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for handle in touched.drain(..) {
            let Some(link) = self.links[handle as usize].as_deref_mut() else { continue };
            link.touched = false;
            if !self.send_for(handle) {
                self.touch(handle);
            }
        }
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    /// `false` when there may be more.
    fn send_for(&mut self, handle: Handle) -> bool {
        let link = self.links[handle as usize].as_deref_mut().expect("it was just there");
        link.exchange(&mut self.endpoint, handle);
        // Those before it may have taken milliseconds, which its pacing is not to be wrong by.
        let (now, mut all) = (Instant::now(), false);
        for _ in 0..UDP_SENDS_PER_CONNECTION_MAX {
            self.packets.clear();
            let datagrams_max = self.sockets.datagrams_per_send(link.socket);
            let Some(transmit) = link.proto.poll_transmit(now, datagrams_max, &mut self.packets) else {
                all = true;
                break;
            };
            self.sockets.send(link.socket, &transmit, &self.packets);
        }
        link.exchange(&mut self.endpoint, handle);
        let due = link.next_due();
        if due != link.armed {
            if let Some(at) = link.armed {
                self.deadlines.remove(&(at, handle));
            }
            if let Some(at) = due {
                self.deadlines.insert((at, handle));
            }
            link.armed = due;
        }
        all
    }

    /// When somebody is to be looked at next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.touched.is_empty() { self.deadlines.first().map(|&(at, _)| at) } else { Some(Instant::now()) }
    }

    /// Ends a connection and forgets it. The server is told once; should that be lost, it hears so when it next asks.
    pub(crate) fn close(&mut self, handle: Handle) {
        let Some(mut link) = self.links[handle as usize].take() else { return };
        if let Some(at) = link.armed {
            self.deadlines.remove(&(at, handle));
        }
        if !link.proto.is_closed() {
            let now = Instant::now();
            link.proto.close(now, VarInt::from_u32(CloseCode::Normal as u32), Bytes::new());
            self.packets.clear();
            if let Some(transmit) = link.proto.poll_transmit(now, 1, &mut self.packets) {
                self.sockets.send(link.socket, &transmit, &self.packets);
            }
        }
        self.endpoint.handle_event(ConnectionHandle(handle as usize), EndpointEvent::drained());
    }

    /// Ends all of them.
    pub(crate) fn close_all(&mut self) {
        for handle in 0..self.links.len() {
            self.close(Handle::try_from(handle).expect("they were made from some"));
        }
    }

    fn touch(&mut self, handle: Handle) {
        if let Some(link) = self.links[handle as usize].as_deref_mut()
            && !std::mem::replace(&mut link.touched, true)
        {
            self.touched.push(handle);
        }
    }
}

impl std::fmt::Debug for Quic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quic").field("links", &self.links.len()).finish_non_exhaustive()
    }
}

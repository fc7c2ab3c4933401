//! Who is behind a relay: each client has a socket of its own towards the server.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll;

use super::RelayOptions;
use super::flow::Flow;
use crate::limits::{RELAY_CLIENTS_MAX, RELAY_SILENCE_MAX};

/// A client of a relay.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ClientId {
    pub(super) index: u32,
    /// Tells it from others that had its place.
    pub(super) epoch: u32,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// What the server knows it by.
    pub(super) socket: UdpSocket,
    pub(super) to_server: Flow,
    pub(super) to_client: Flow,
    heard_at: Instant,
    epoch: u32,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Clients {
    epoll: OwnedFd,
    server: SocketAddr,
    options: RelayOptions,
    places: Vec<Client>,
    by_address: HashMap<SocketAddr, u32>,
    /// When who gets another port, in that order.
    rebinds: VecDeque<(Instant, ClientId)>,
    /// Those that have ever come.
    came: u32,
}

impl Clients {
    /// `epoll` tells of their sockets, with the index of each.
    pub(super) fn new(epoll: OwnedFd, server: SocketAddr, options: RelayOptions) -> Self {
        Self {
            epoll,
            server,
            options,
            places: Vec::new(),
            by_address: HashMap::new(),
            rebinds: VecDeque::new(),
            came: 0,
        }
    }

    /// The client at this address, a new one if need be; none when there are too many.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub(super) fn at(&mut self, address: SocketAddr, now: Instant) -> io::Result<Option<ClientId>> {
        let index = match self.by_address.get(&address) {
            Some(&index) => index,
            None => match self.add(address, now)? {
                Some(index) => index,
                None => return Ok(None),
            },
        };
        let client = &mut self.places[index as usize];
        client.heard_at = now;
        Ok(Some(ClientId { index, epoch: client.epoch }))
    }

    fn add(&mut self, address: SocketAddr, now: Instant) -> io::Result<Option<u32>> {
        let place = if self.places.len() < RELAY_CLIENTS_MAX {
            self.places.len()
        } else {
            let silent = self.places.iter().enumerate().min_by_key(|(_, client)| client.heard_at);
            match silent.filter(|(_, client)| now.saturating_duration_since(client.heard_at) > RELAY_SILENCE_MAX) {
                Some((place, _)) => place,
                None => return Ok(None),
            }
        };
        let index = u32::try_from(place).expect("there are few");
        let flow = |number: u64| Flow::new(self.options.seed, 2 * u64::from(self.came) + number);
        let client = Client {
            address,
            socket: self.socket(index)?,
            to_server: flow(0),
            to_client: flow(1),
            heard_at: now,
            epoch: self.came,
        };
        if let Some(every) = self.options.rebind_every {
            self.rebinds.push_back((now + every, ClientId { index, epoch: self.came }));
        }
        self.came = self.came.wrapping_add(1);
        match self.places.get_mut(place) {
            None => self.places.push(client),
            Some(other) => {
                let other = std::mem::replace(other, client);
                self.by_address.remove(&other.address);
            }
        }
        self.by_address.insert(address, index);
        Ok(Some(index))
    }

    /// One that is still there.
    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.places.get_mut(id.index as usize).filter(|client| client.epoch == id.epoch)
    }

    /// The one whose socket has something to read.
    pub(super) fn of_index(&self, index: u64) -> Option<ClientId> {
        let index = u32::try_from(index).ok()?;
        self.places.get(index as usize).map(|client| ClientId { index, epoch: client.epoch })
    }

    /// Gives everybody another port whose time has come. How many they were.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub(super) fn rebind(&mut self, now: Instant) -> io::Result<u64> {
        let mut rebinds = 0;
        while let (Some(every), Some(&(at, id))) = (self.options.rebind_every, self.rebinds.front())
            && at <= now
        {
            self.rebinds.pop_front();
            let socket = self.socket(id.index)?;
            if let Some(client) = self.get_mut(id) {
                // The old socket is closed, and what comes to it is lost.
                client.socket = socket;
                self.rebinds.push_back((now + every, id));
                rebinds += 1;
            }
        }
        Ok(rebinds)
    }

    /// When that is to be done next.
    pub(super) fn next_rebind(&self) -> Option<Instant> {
        self.rebinds.front().map(|&(at, _)| at)
    }

    fn socket(&self, index: u32) -> io::Result<UdpSocket> {
        let any = if self.server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(self.server)?;
        socket.set_nonblocking(true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index.into()), epoll::EventFlags::IN)?;
        Ok(socket)
    }
}

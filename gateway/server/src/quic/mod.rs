//! Sessions over QUIC: quinn's state machine in each gateway thread's own loop, without a runtime of its own.
//!
//! A QUIC connection has a place in the thread's table as every connection has, with the same session, the same queue of frames
//! and the same timers. What a WebSocket's socket is to it, a [`Link`] is here: it is read into the thread's receive buffer
//! while nothing stands against that, and takes frames until it is blocked. So holding back, limits and the end work in one way
//! for both.
//!
//! In a turn, datagrams are received first ([`receiving`]), which may let clients in ([`admitting`]) and lets
//! connections tell what has happened ([`events`]), before their handshake is done perhaps ([`early`]). At its end everything that is owed to clients is sent ([`sending`]), large pages beside all else ([`aside`]). Which
//! thread a connection belongs to is in its id ([`steering`]).

mod admitting;
mod aside;
mod chunked;
mod congestion;
mod crypto;
mod deadlines;
mod early;
mod events;
mod link;
mod misrouted;
mod parameters;
mod protocol;
mod receiving;
mod reset;
mod resumption;
mod sending;
mod settings;
mod socket;
mod starting;
mod steering;
mod unproven;

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, Endpoint};
use switchyard_gateway_core::rate::{Bucket, KeyedRates};
use switchyard_gateway_core::session::Close;
use switchyard_gateway_core::wheel::Slot;
use switchyard_schema::error::CloseCode;

use crate::address::AddressBlock;
use crate::counters::Counters;
use crate::limits::{QUIC_UNVERIFIED_MIN, QUIC_UNVERIFIED_SHARE};
use chunked::Chunked;
use deadlines::Deadlines;
use link::Link;
use misrouted::{Misrouted, Queues};
use sending::Unsent;
use settings::Shared;
use socket::{Datagram, Socket};
use steering::Steering;

pub use reset::ResetKey;
pub use settings::QuicConfig;
pub(crate) use starting::Startup;

/// The QUIC of one thread.
#[derive(Debug)]
pub(crate) struct Quic {
    socket: Socket,
    endpoint: Endpoint,
    steering: Steering,
    misrouted: Misrouted,
    /// By the endpoint's handle.
    links: Chunked<Link>,
    /// The handles of those that have places, by their slots.
    of_slot: Vec<Option<usize>>,
    slots_used: usize,
    deadlines: Deadlines,
    /// Datagrams of one receive call that have not been taken: a turn may end before it has.
    arrived: VecDeque<Datagram>,
    /// Connections that something has happened to.
    happened: VecDeque<usize>,
    /// Connections that may have something to send.
    touched: VecDeque<usize>,
    /// Handshakes that were begun in this turn, those included that came to nothing at once.
    begun: usize,
    /// Handshakes under way with addresses that may be forged.
    unverified: usize,
    unverified_max: usize,
    /// How often handshakes with such addresses failed.
    unverified_failed: Bucket,
    /// What addresses that may be forged have used up of their rates: apart from those that are proven, so that nobody can use
    /// up what another has.
    unverified_rates: KeyedRates<AddressBlock>,
    /// Whether the socket may hold datagrams.
    unread: bool,
    /// What the socket did not take; it is watched until it does.
    unsent: Option<Unsent>,
    /// Where datagrams are written.
    buffer: Vec<u8>,
}

impl Quic {
    /// # Errors
    /// When the kernel lacks what QUIC needs of a socket.
    fn new(
        socket: UdpSocket,
        (shared, counters): (&Shared, Arc<Counters>),
        queues: Queues,
        (index, threads): (u16, u16),
        connections_max: u32,
        seed: u64,
    ) -> io::Result<Self> {
        let socket = Socket::new(socket)?;
        let steering = Steering::new(index, threads);
        let endpoint =
            Endpoint::new(shared.endpoint(steering), Some(shared.server(counters)), !socket.may_fragment(), None);
        Ok(Self {
            socket,
            endpoint,
            steering,
            misrouted: queues.of(index),
            links: Chunked::new(),
            of_slot: Vec::new(),
            slots_used: 0,
            deadlines: Deadlines::default(),
            arrived: VecDeque::new(),
            happened: VecDeque::new(),
            touched: VecDeque::new(),
            begun: 0,
            unverified: 0,
            unverified_max: (connections_max as usize / QUIC_UNVERIFIED_SHARE).max(QUIC_UNVERIFIED_MIN),
            unverified_failed: Bucket::default(),
            unverified_rates: KeyedRates::new(seed),
            unread: true,
            unsent: None,
            buffer: Vec::new(),
        })
    }

    /// When a connection wants to be looked at next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Whether the next turn has something to receive.
    pub(crate) fn has_to_receive(&self) -> bool {
        self.unread || !self.arrived.is_empty() || !self.misrouted.is_empty()
    }

    /// Reads from the connection's stream, as [`crate::sys::receive`] reads from a socket; also answers whether the end
    /// follows.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived.
    pub(crate) fn read(&mut self, slot: Slot, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let Some(handle) = self.touch_slot(slot) else { return Ok((0, true)) };
        self.link(handle).expect("a slot has a link").read(buffer)
    }

    /// The session has said how the connection is to be closed when its last frame has arrived.
    pub(crate) fn close_later(&mut self, slot: Slot, close: Close) {
        if let Some(link) = self.link_of(slot) {
            link.close.get_or_insert(close);
        }
    }

    /// Asks the client for a sign of life.
    pub(crate) fn ping(&mut self, slot: Slot) {
        if let Some(handle) = self.touch_slot(slot) {
            self.link(handle).expect("a slot has a link").proto.ping();
        }
    }

    /// Closes the connection at once. `false` when it has no link any more.
    pub(crate) fn close(&mut self, slot: Slot, code: CloseCode) -> bool {
        let Some(handle) = self.touch_slot(slot) else { return false };
        self.link(handle).expect("a slot has a link").close(Instant::now(), code);
        true
    }

    /// The connection's place is given up; its link stays until the last datagrams are through.
    pub(crate) fn let_go(&mut self, slot: Slot) {
        self.close(slot, CloseCode::Normal);
        if let Some(handle) = self.give_up(slot) {
            self.on_verified(handle);
            self.link(handle).expect("a slot has a link").slot = None;
        }
    }

    fn link(&mut self, handle: usize) -> Option<&mut Link> {
        self.links.get_mut(handle)
    }

    fn link_of(&mut self, slot: Slot) -> Option<&mut Link> {
        let handle = self.handle_of(slot)?;
        self.link(handle)
    }

    /// Puts a new connection in; it is to be looked at.
    fn insert(&mut self, handle: ConnectionHandle, mut link: Link, slot: Slot) {
        let ConnectionHandle(handle) = handle;
        self.unverified += usize::from(link.unverified);
        link.slot = Some(slot);
        self.links.insert(handle, link);
        let index = slot as usize;
        if index >= self.of_slot.len() {
            self.of_slot.resize(index + 1, None);
        }
        self.of_slot[index] = Some(handle);
        self.slots_used += 1;
        self.mark_happened(handle);
    }

    fn handle_of(&self, slot: Slot) -> Option<usize> {
        *self.of_slot.get(slot as usize)?
    }

    /// The connection in the slot has its place no more; answers its handle.
    fn give_up(&mut self, slot: Slot) -> Option<usize> {
        let handle = self.of_slot.get_mut(slot as usize)?.take()?;
        self.slots_used -= 1;
        Some(handle)
    }

    /// Connections that have given up their places and wait for their last datagrams.
    fn lingering(&self) -> usize {
        self.endpoint.open_connections() - self.slots_used
    }

    /// Nothing more comes of the connection.
    fn remove(&mut self, handle: usize) {
        let Some(mut link) = self.links.remove(handle) else { return };
        self.deadlines.disarm(handle, &mut link.armed);
        self.unverified -= usize::from(link.unverified);
        if let Some(slot) = link.slot {
            self.give_up(slot);
        }
    }

    /// The client has proven its address, or is gone.
    fn on_verified(&mut self, handle: usize) {
        if let Some(link) = self.link(handle) {
            let counted = usize::from(std::mem::take(&mut link.unverified));
            self.unverified -= counted;
        }
    }

    /// Something has happened to the connection.
    fn mark_happened(&mut self, handle: usize) {
        if let Some(link) = self.link(handle)
            && !std::mem::replace(&mut link.happened, true)
        {
            self.happened.push_back(handle);
        }
        self.touch(handle);
    }

    /// The connection may have something to send.
    fn touch(&mut self, handle: usize) {
        if let Some(link) = self.link(handle)
            && !std::mem::replace(&mut link.touched, true)
        {
            self.touched.push_back(handle);
        }
    }

    fn touch_slot(&mut self, slot: Slot) -> Option<usize> {
        let handle = self.handle_of(slot)?;
        self.touch(handle);
        Some(handle)
    }
}

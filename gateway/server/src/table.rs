//! The connections of one thread, each in a slot whose number is its name towards timers and router.
//!
//! A slot's epoch grows with every use, so a message for a session that has ended finds nobody.

use switchyard_gateway_core::wheel::{Slot, TIMER_BYTES};

use crate::connection::Connection;
use crate::limits::RESERVED_PLACES_MAX;
use crate::poll_ring::EPOCH_BITS;

#[derive(Debug)]
struct Place {
    connection: Option<Connection>,
    epoch: u32,
}

/// Bytes of user memory that a connection takes at its gateway thread while it is idle: its place and its timer. Memory for
/// both is asked for when the thread starts, and becomes the process's as connections use it.
pub const CONNECTION_BYTES: usize = size_of::<Place>() + TIMER_BYTES;

/// The slots of one thread.
#[derive(Debug)]
pub(crate) struct Table {
    places: Vec<Place>,
    free: Vec<Slot>,
    used: usize,
    slots_max: usize,
}

impl Table {
    /// Memory for all places is asked for at once and touched as they are used: nothing is copied to grow, and what is not
    /// used is not there.
    pub(crate) fn new(slots_max: usize) -> Self {
        let places = Vec::with_capacity(slots_max.min(RESERVED_PLACES_MAX));
        Self { places, free: Vec::new(), used: 0, slots_max }
    }

    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Whether a slot is free.
    pub(crate) const fn has_room(&self) -> bool {
        self.used < self.slots_max
    }

    /// Slots that were ever used: the range of slot numbers.
    pub(crate) const fn extent(&self) -> usize {
        self.places.len()
    }

    /// Puts a connection into a free slot. `None` when there is none.
    pub(crate) fn insert(&mut self, connection: Connection) -> Option<Slot> {
        if !self.has_room() {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { connection: None, epoch: 0 });
            Slot::try_from(self.places.len() - 1).expect("a thread holds fewer connections than a slot can name")
        });
        let place = &mut self.places[slot as usize];
        place.epoch = (place.epoch + 1) % (1 << EPOCH_BITS);
        place.connection = Some(connection);
        self.used += 1;
        Some(slot)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Connection> {
        self.places.get(slot as usize)?.connection.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.places.get_mut(slot as usize)?.connection.as_mut()
    }

    /// The connection, if the slot is still in the use that `epoch` names.
    pub(crate) fn get_epoch_mut(&mut self, slot: Slot, epoch: u32) -> Option<&mut Connection> {
        let place = self.places.get_mut(slot as usize)?;
        if place.epoch == epoch { place.connection.as_mut() } else { None }
    }

    /// Which use of the slot this is.
    pub(crate) fn epoch(&self, slot: Slot) -> u32 {
        self.places[slot as usize].epoch
    }

    /// Empties a slot.
    ///
    /// # Panics
    /// When it is empty: somebody freed it twice.
    pub(crate) fn remove(&mut self, slot: Slot) -> Connection {
        let removed = self.places[slot as usize].connection.take().expect("a slot is freed once");
        self.free.push(slot);
        self.used -= 1;
        removed
    }
}

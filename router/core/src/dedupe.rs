//! The client message ids that a conversation remembers, per device: a repeat gets the first result.

use memchr::memchr_iter;
use switchyard_schema::ids::{ClientMessageId, DeviceId, MessageId, Millis, Sequence, UserId};
use switchyard_schema::limits::{DEDUPE_ENTRIES_PER_DEVICE, DEDUPE_MS};

use crate::limits::DEDUPE_DEVICES_MAX;
use crate::rows::DedupeRow;

/// The first result of a Send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct First {
    pub(crate) client_message_id: ClientMessageId,
    pub(crate) sequence: Sequence,
    pub(crate) message: MessageId,
}

/// The last [`DEDUPE_ENTRIES_PER_DEVICE`] results per device.
#[derive(Debug, Default)]
pub(crate) struct Dedupe {
    devices: Vec<Ring>,
}

/// The results of one device; a full ring overwrites its oldest.
#[derive(Debug)]
struct Ring {
    user: UserId,
    device: DeviceId,
    /// The slot that is written next.
    next: usize,
    /// How many of the newest entries no snapshot has.
    unsaved: usize,
    /// A byte of each id, scanned before the ids themselves: nearly always the ring is looked through for an id that is new.
    tags: Vec<u8>,
    entries: Vec<First>,
}

impl Dedupe {
    /// The first result, unless it is too old to be remembered.
    pub(crate) fn find(&self, now: Millis, user: UserId, device: DeviceId, id: ClientMessageId) -> Option<First> {
        let ring = self.devices.iter().find(|ring| ring.user == user && ring.device == device)?;
        let alike = memchr_iter(tag(id), &ring.tags).map(|slot| ring.entries[slot]);
        let first = alike.filter(|first| first.client_message_id == id).max_by_key(|first| first.sequence)?;
        (now.since(first.message.time()) <= DEDUPE_MS).then_some(first)
    }

    pub(crate) fn remember(&mut self, user: UserId, device: DeviceId, first: First) {
        let ring = self.ring(user, device);
        ring.write(ring.next, first);
        ring.next = (ring.next + 1) % DEDUPE_ENTRIES_PER_DEVICE;
        ring.unsaved = (ring.unsaved + 1).min(DEDUPE_ENTRIES_PER_DEVICE);
    }

    /// What no snapshot has yet; from now on one has it.
    pub(crate) fn take_unsaved(&mut self, mut save: impl FnMut(DedupeRow)) {
        for ring in &mut self.devices {
            for back in (1..=std::mem::take(&mut ring.unsaved)).rev() {
                let slot = (ring.next + DEDUPE_ENTRIES_PER_DEVICE - back) % DEDUPE_ENTRIES_PER_DEVICE;
                let First { client_message_id, sequence, message } = ring.entries[slot];
                let slot = u8::try_from(slot).expect("a ring has 256 slots");
                save(DedupeRow { user: ring.user, device: ring.device, slot, client_message_id, sequence, message });
            }
        }
    }

    /// From the store's rows, in any order. Slots are filled from zero, so those present have no hole.
    pub(crate) fn from_rows(mut rows: Vec<DedupeRow>) -> Self {
        rows.sort_unstable_by_key(|row| (row.user, row.device, row.slot));
        let mut dedupe = Self::default();
        for row in rows {
            let ring = dedupe.ring(row.user, row.device);
            let DedupeRow { client_message_id, sequence, message, .. } = row;
            ring.write(ring.entries.len(), First { client_message_id, sequence, message });
        }
        for ring in &mut dedupe.devices {
            let newest = (0..ring.entries.len()).max_by_key(|slot| ring.entries[*slot].sequence);
            ring.next = newest.map_or(0, |slot| (slot + 1) % DEDUPE_ENTRIES_PER_DEVICE);
        }
        dedupe
    }

    pub(crate) fn bytes(&self) -> usize {
        self.devices.iter().map(|ring| size_of::<Ring>() + ring.entries.capacity() * (size_of::<First>() + 1)).sum()
    }

    fn ring(&mut self, user: UserId, device: DeviceId) -> &mut Ring {
        let found = self.devices.iter().position(|ring| ring.user == user && ring.device == device);
        let index = found.unwrap_or_else(|| {
            assert!(self.devices.len() < DEDUPE_DEVICES_MAX, "only registered devices send");
            self.devices.push(Ring { user, device, next: 0, unsaved: 0, tags: Vec::new(), entries: Vec::new() });
            self.devices.len() - 1
        });
        &mut self.devices[index]
    }
}

impl Ring {
    fn write(&mut self, slot: usize, first: First) {
        let tag = tag(first.client_message_id);
        if slot == self.entries.len() {
            self.tags.push(tag);
            self.entries.push(first);
        } else {
            self.tags[slot] = tag;
            self.entries[slot] = first;
        }
    }
}

/// A byte that every byte of the id goes into: UUIDs are random in some of them, ids of simple clients count in one.
fn tag(id: ClientMessageId) -> u8 {
    id.0.into_iter().fold(0, |tag, byte| tag ^ byte)
}

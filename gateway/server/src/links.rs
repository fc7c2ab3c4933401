//! One gateway thread's ends of its links with the router cores.

use std::collections::VecDeque;
use std::io;

use switchyard_gateway_core::wheel::Slot;
use switchyard_ring::{Consumer, Credits, EventFd, Parker, Producer, Waker, wake};
use switchyard_schema::ids::{ShardCount, ShardId};
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::limits::CREDITS_PER_ROUTER_CORE;

/// What a gateway thread sleeps on.
#[derive(Debug)]
pub struct Doorbell {
    pub(crate) parker: Parker,
    pub(crate) event: EventFd,
}

/// A gateway thread's doorbell, and what router cores ring it with. Make it before any thread has a descriptor table of
/// its own.
///
/// # Errors
/// When the process has no descriptor left.
pub fn doorbell() -> io::Result<(Doorbell, Waker)> {
    let event = EventFd::new()?;
    let signalled = event.clone();
    let (parker, waker) = wake::pair(move || signalled.signal());
    Ok((Doorbell { parker, event }, waker))
}

/// One gateway thread's ends of its links with one router core.
#[derive(Debug)]
pub struct RouterEnd {
    /// To the core: [`crate::limits::reserved_slots_to_router`] reserved slots.
    pub requests: Producer<(ShardId, ToRouter)>,
    /// From the core: [`crate::limits::RESERVED_SLOTS_TO_GATEWAY`] reserved slots.
    pub answers: Consumer<ToGateway>,
    /// Wakes the core.
    pub waker: Waker,
}

/// The links of one thread, by router core.
#[derive(Debug)]
pub(crate) struct Routers {
    shards: ShardCount,
    cores: Vec<Core>,
}

#[derive(Debug)]
struct Core {
    end: RouterEnd,
    credits: Credits,
    /// Whether something was pushed since the core was last notified.
    touched: bool,
    /// Connections whose request waits for a credit of this core, oldest first.
    waiting_for_credit: VecDeque<Slot>,
    /// Connections whose message waits for an open slot of this core's link, oldest first.
    waiting_for_room: VecDeque<Slot>,
}

/// A place for one message.
#[must_use = "its credit is taken"]
#[derive(Debug)]
pub(crate) struct Place {
    target: usize,
    shard: ShardId,
    reserved: bool,
}

/// What a message waits for when there is no place for it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum WaitsFor {
    Credit(usize),
    Room(usize),
}

impl Routers {
    /// # Panics
    /// When there is no router core.
    pub(crate) fn new(shards: ShardCount, ends: Vec<RouterEnd>) -> Self {
        assert!(!ends.is_empty(), "a gateway needs a router core");
        let core = |end| Core {
            end,
            credits: Credits::new(CREDITS_PER_ROUTER_CORE),
            touched: false,
            waiting_for_credit: VecDeque::new(),
            waiting_for_room: VecDeque::new(),
        };
        Self { shards, cores: ends.into_iter().map(core).collect() }
    }

    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Finds a place for a message in the link to the core of its shard, and takes a credit of the core that answers when it
    /// needs one. Nobody passes those that wait for the same thing, unless `first_in_line`.
    pub(crate) fn place_for(&mut self, message: &ToRouter, first_in_line: bool) -> Result<Place, WaitsFor> {
        let shard = self.shard_of(message);
        let target = self.core_of(shard);
        match self.answering_core(message) {
            Some(answering) => {
                let core = &mut self.cores[answering];
                let passes = first_in_line || core.waiting_for_credit.is_empty();
                if passes && core.credits.take() {
                    Ok(Place { target, shard, reserved: true })
                } else {
                    Err(WaitsFor::Credit(answering))
                }
            }
            None => {
                let core = &self.cores[target];
                let passes = first_in_line || core.waiting_for_room.is_empty();
                if passes && core.end.requests.room() > 0 {
                    Ok(Place { target, shard, reserved: false })
                } else {
                    Err(WaitsFor::Room(target))
                }
            }
        }
    }

    /// Pushes a message into the place found for it just before.
    pub(crate) fn push(&mut self, place: Place, message: ToRouter) {
        let Place { target, shard, reserved } = place;
        let core = &mut self.cores[target];
        core.touched = true;
        if reserved {
            core.end.requests.push_reserved((shard, message));
        } else {
            assert!(core.end.requests.try_push((shard, message)).is_ok(), "a link that had room lost it");
        }
    }

    /// The next message of a core. Its credit, if it returns one, is free again.
    pub(crate) fn pop(&mut self, core: usize) -> Option<ToGateway> {
        let core = &mut self.cores[core];
        let message = core.end.answers.pop()?;
        if message.returns_credit() {
            core.credits.put_back();
        }
        Some(message)
    }

    /// Messages of a core that wait to be popped.
    pub(crate) fn waiting(&self, core: usize) -> usize {
        self.cores[core].end.answers.len()
    }

    /// A turn found `found` messages of a core and popped `popped`: a core that found its link full is told that there is
    /// room.
    pub(crate) fn on_popped(&mut self, core: usize, found: usize, popped: usize) {
        let core = &mut self.cores[core];
        core.touched |= core.end.answers.has_made_room(found, popped);
    }

    /// Whether no core has sent anything that was not popped.
    pub(crate) fn all_empty(&self) -> bool {
        self.cores.iter().all(|core| core.end.answers.is_empty())
    }

    /// Wakes every core that was pushed to since the last call, once.
    pub(crate) fn notify(&mut self) {
        for core in &mut self.cores {
            if std::mem::take(&mut core.touched) {
                core.end.waker.notify();
            }
        }
    }

    /// Whether a message waits for a place.
    pub(crate) fn somebody_waits(&self) -> bool {
        self.cores.iter().any(|core| !core.waiting_for_credit.is_empty() || !core.waiting_for_room.is_empty())
    }

    /// Puts a connection at the end of the line.
    pub(crate) fn wait(&mut self, slot: Slot, waits_for: WaitsFor) {
        self.line(waits_for).push_back(slot);
    }

    /// The first in line, when there is now a fair chance that its message fits.
    pub(crate) fn next_in_line(&mut self, waits_for: WaitsFor) -> Option<Slot> {
        let has_chance = match waits_for {
            WaitsFor::Credit(core) => self.cores[core].credits.free() > 0,
            WaitsFor::Room(core) => self.cores[core].end.requests.room() > 0,
        };
        if has_chance { self.line(waits_for).pop_front() } else { None }
    }

    fn line(&mut self, waits_for: WaitsFor) -> &mut VecDeque<Slot> {
        match waits_for {
            WaitsFor::Credit(core) => &mut self.cores[core].waiting_for_credit,
            WaitsFor::Room(core) => &mut self.cores[core].waiting_for_room,
        }
    }

    fn shard_of(&self, message: &ToRouter) -> ShardId {
        match message {
            ToRouter::Attach(origin) | ToRouter::Detach { origin, .. } | ToRouter::Ack { origin, .. } => {
                self.shards.of_user(origin.user)
            }
            ToRouter::Send(request) => self.shards.of_conversation(request.conversation),
            ToRouter::Fetch { fetch, .. } => self.shards.of_conversation(fetch.conversation),
        }
    }

    /// The core whose credit a request holds: the one that will answer it.
    fn answering_core(&self, message: &ToRouter) -> Option<usize> {
        let shard = match message {
            ToRouter::Attach(origin) => self.shards.of_user(origin.user),
            ToRouter::Send(request) => self.shards.of_user(request.origin.user),
            ToRouter::Fetch { fetch, .. } => self.shards.of_conversation(fetch.conversation),
            ToRouter::Detach { .. } | ToRouter::Ack { .. } => return None,
        };
        Some(self.core_of(shard))
    }

    fn core_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.cores.len()
    }
}

//! One gateway thread's ends of its links with the router cores.

use std::collections::VecDeque;
use std::io;

use switchyard_gateway_core::routing::Routing;
use switchyard_gateway_core::wheel::Slot;
use switchyard_ring::{Consumer, Credits, EventFd, Parker, Producer, Waker, wake};
use switchyard_schema::ids::{ShardCount, ShardId};
use switchyard_schema::link::{ToGateway, ToRouter};

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
    /// To the core: [`crate::limits::LinkSizes::reserved`] slots that are reserved.
    pub requests: Producer<(ShardId, ToRouter)>,
    /// From the core: [`crate::limits::LinkSizes::reserved`] slots that are reserved.
    pub answers: Consumer<ToGateway>,
    /// Wakes the core.
    pub waker: Waker,
}

/// The links of one thread, by router core.
#[derive(Debug)]
pub(crate) struct Routers {
    routing: Routing,
    cores: Vec<Core>,
    /// Connections in all lines together.
    waiting: usize,
}

#[derive(Debug)]
struct Core {
    end: RouterEnd,
    /// Whether something was pushed since the core was last notified.
    touched: bool,
    /// Requests to this core, by the core that answers.
    pairs: Vec<Pair>,
    /// Connections whose message waits for an open slot of this core's link, oldest first.
    waiting_for_room: VecDeque<Slot>,
}

/// Requests that go to one core and are answered by one, the same or another.
#[derive(Debug)]
struct Pair {
    credits: Credits,
    /// Connections whose request waits for a credit, oldest first.
    waiting: VecDeque<Slot>,
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
    /// A credit for requests to one core that another answers.
    Credit { target: usize, answering: usize },
    /// An open slot of the link to a core.
    Room(usize),
}

impl Routers {
    /// # Panics
    /// When there is no router core.
    pub(crate) fn new(shards: ShardCount, ends: Vec<RouterEnd>, credits_per_pair: usize) -> Self {
        let cores = ends.len();
        let routing = Routing::new(shards, cores);
        let pair = |_| Pair { credits: Credits::new(credits_per_pair), waiting: VecDeque::new() };
        let core = |end| Core {
            end,
            touched: false,
            pairs: (0..cores).map(pair).collect(),
            waiting_for_room: VecDeque::new(),
        };
        Self { routing, cores: ends.into_iter().map(core).collect(), waiting: 0 }
    }

    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Finds a place for a message in the link to the core of its shard, and takes a credit when it needs one. Nobody passes
    /// those that wait for the same thing, unless `first_in_line`.
    pub(crate) fn place_for(&mut self, message: &ToRouter, first_in_line: bool) -> Result<Place, WaitsFor> {
        let shard = self.routing.shard_of(message);
        let target = self.routing.core_of(shard);
        match self.routing.answering_core(message) {
            Some(answering) => {
                let pair = &mut self.cores[target].pairs[answering];
                let passes = first_in_line || pair.waiting.is_empty();
                if passes && pair.credits.take() {
                    Ok(Place { target, shard, reserved: true })
                } else {
                    Err(WaitsFor::Credit { target, answering })
                }
            }
            None => {
                let core = &self.cores[target];
                let passes = first_in_line || core.waiting_for_room.is_empty();
                if passes && core.end.requests.has_room() {
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
        let message = self.cores[core].end.answers.pop()?;
        if let Some(target) = self.routing.asked_core(core, &message) {
            self.cores[target].pairs[core].credits.put_back();
        }
        Some(message)
    }

    /// Messages of a core that wait to be popped.
    pub(crate) fn waiting(&self, core: usize) -> usize {
        self.cores[core].end.answers.len()
    }

    /// Messages of all cores that wait to be popped.
    pub(crate) fn all_waiting(&self) -> usize {
        self.cores.iter().map(|core| core.end.answers.len()).sum()
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

    /// Whether anybody stands in a line.
    pub(crate) const fn anybody_waits(&self) -> bool {
        self.waiting > 0
    }

    /// Puts a connection at the end of the line.
    pub(crate) fn wait(&mut self, slot: Slot, waits_for: WaitsFor) {
        self.line(waits_for).push_back(slot);
        self.waiting += 1;
    }

    /// The first in line, when there is now a fair chance that its message fits.
    pub(crate) fn next_in_line(&mut self, waits_for: WaitsFor) -> Option<Slot> {
        let has_chance = match waits_for {
            WaitsFor::Credit { target, answering } => self.cores[target].pairs[answering].credits.free() > 0,
            WaitsFor::Room(core) => self.cores[core].end.requests.has_room(),
        };
        let first = if has_chance { self.line(waits_for).pop_front() } else { None };
        self.waiting -= usize::from(first.is_some());
        first
    }

    fn line(&mut self, waits_for: WaitsFor) -> &mut VecDeque<Slot> {
        match waits_for {
            WaitsFor::Credit { target, answering } => &mut self.cores[target].pairs[answering].waiting,
            WaitsFor::Room(core) => &mut self.cores[core].waiting_for_room,
        }
    }
}

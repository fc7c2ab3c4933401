//! A gateway thread's ends of its links: places, credits and lines, by the rules of `gateway/server`.

use std::collections::VecDeque;

use switchyard_gateway_core::routing::Routing;
use switchyard_gateway_core::wheel::Slot;
use switchyard_ring::Credits;
use switchyard_schema::ids::{ShardCount, ShardId};
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::links::GatewayEnd;

/// The links of one thread, by router core.
#[derive(Debug)]
pub(crate) struct Routers {
    routing: Routing,
    cores: Vec<Core>,
}

#[derive(Debug)]
struct Core {
    end: GatewayEnd,
    touched: bool,
    /// Requests to this core, by the core that answers.
    pairs: Vec<Pair>,
    waiting_for_room: VecDeque<Slot>,
}

/// Requests that go to one core and are answered by one, the same or another.
#[derive(Debug)]
struct Pair {
    credits: Credits,
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
    pub(crate) fn new(shards: ShardCount, ends: Vec<GatewayEnd>, credits: usize) -> Self {
        let cores = ends.len();
        let routing = Routing::new(shards, cores);
        let pair = |_| Pair { credits: Credits::new(credits), waiting: VecDeque::new() };
        let core = |end| Core {
            end,
            touched: false,
            pairs: (0..cores).map(pair).collect(),
            waiting_for_room: VecDeque::new(),
        };
        Self { routing, cores: ends.into_iter().map(core).collect() }
    }

    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Finds a place for a message, and takes a credit when it needs one.
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

    /// A turn is over that found so many messages of a core and took so many.
    pub(crate) fn on_popped(&mut self, core: usize, found: usize, popped: usize) {
        let core = &mut self.cores[core];
        core.touched |= core.end.answers.has_made_room(found, popped);
    }

    pub(crate) fn all_empty(&self) -> bool {
        self.cores.iter().all(|core| core.end.answers.is_empty())
    }

    /// The cores that something was pushed to since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<usize> {
        let touched = self.cores.iter_mut().enumerate();
        touched.filter_map(|(index, core)| std::mem::take(&mut core.touched).then_some(index)).collect()
    }

    /// Puts a connection at the end of the line.
    pub(crate) fn wait(&mut self, slot: Slot, waits_for: WaitsFor) {
        self.line(waits_for).push_back(slot);
    }

    /// The first in line, when there is now a fair chance that its message fits.
    pub(crate) fn next_in_line(&mut self, waits_for: WaitsFor) -> Option<Slot> {
        let has_chance = match waits_for {
            WaitsFor::Credit { target, answering } => self.cores[target].pairs[answering].credits.free() > 0,
            WaitsFor::Room(core) => self.cores[core].end.requests.room() > 0,
        };
        if has_chance { self.line(waits_for).pop_front() } else { None }
    }

    /// Credits that are out, over all cores.
    pub(crate) fn credits_out(&self) -> usize {
        let pairs = self.cores.iter().flat_map(|core| &core.pairs);
        pairs.map(|pair| pair.credits.limit() - pair.credits.free()).sum()
    }

    fn line(&mut self, waits_for: WaitsFor) -> &mut VecDeque<Slot> {
        match waits_for {
            WaitsFor::Credit { target, answering } => &mut self.cores[target].pairs[answering].waiting,
            WaitsFor::Room(core) => &mut self.cores[core].waiting_for_room,
        }
    }
}

//! The links between threads: who talks to whom, and how many slots each link has.
//!
//! | link | reserved slots | open slots |
//! |---|---|---|
//! | gateway → router core | the gateway's credits for requests to that core, whichever answers them | acks, goodbyes |
//! | router core → gateway | the gateway's credits for answers of that core, whichever it asked | deliveries, receipts |
//! | router core → router core | all gateways' credits for requests to the one that the other answers, the sender's reads, and replies to the receiver's reads | facts |

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::task::AtomicWaker;
use switchyard_ring::{Consumer, EventFd, Parker, Producer, Waker, link, wake};
use switchyard_router_core::effects::Envelope;
use switchyard_router_core::limits::READ_CREDITS;
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{ToGateway, ToRouter};

/// How many threads there are, and how large their links.
#[derive(Copy, Clone, Debug)]
pub struct LinkConfig {
    /// Gateway threads.
    pub gateways: usize,
    /// Router cores.
    pub cores: usize,
    /// Requests that one gateway thread may have unanswered that go to one router core and are answered by one, the same
    /// or another.
    pub credits: usize,
    /// Open slots from a gateway thread to a router core.
    pub open_to_router: usize,
    /// Open slots from a router core to a gateway thread.
    pub open_to_gateway: usize,
    /// Open slots from a router core to another.
    pub open_between_cores: usize,
}

/// A gateway thread's ends of its links with one router core.
#[derive(Debug)]
pub struct GatewayEnd {
    /// To the core.
    pub requests: Producer<(ShardId, ToRouter)>,
    /// From the core.
    pub answers: Consumer<ToGateway>,
    /// Wakes the core.
    pub waker: Waker,
}

/// All links of a process.
#[derive(Debug)]
pub struct Links {
    /// For each gateway thread its ends, by router core.
    pub gateways: Vec<Vec<GatewayEnd>>,
    /// For each router core its ends.
    pub cores: Vec<CoreEnds>,
}

/// A router core's ends.
#[derive(Debug)]
pub struct CoreEnds {
    pub(crate) bell: Bell,
    pub(crate) waker: Waker,
    pub(crate) gateways: Vec<CoreGatewayEnd>,
    /// `None` for the core itself.
    pub(crate) cores: Vec<Option<CorePeerEnd>>,
}

#[derive(Debug)]
pub(crate) struct CoreGatewayEnd {
    pub(crate) requests: Consumer<(ShardId, ToRouter)>,
    pub(crate) answers: Producer<ToGateway>,
    pub(crate) waker: Waker,
}

#[derive(Debug)]
pub(crate) struct CorePeerEnd {
    pub(crate) incoming: Consumer<Envelope>,
    pub(crate) outgoing: Producer<Envelope>,
    pub(crate) waker: Waker,
}

/// What a router core sleeps on: its loop is a task, and waking it means waking that task.
#[derive(Debug)]
pub(crate) struct Bell {
    pub(crate) parker: Parker,
    pub(crate) rung: Arc<Rung>,
}

/// Whether the bell rang, and how the core that listens is woken.
#[derive(Debug)]
pub(crate) struct Rung {
    rang: AtomicBool,
    /// The core sleeps, or is about to, in its own ring and not in its executor.
    sleeps_in_ring: AtomicBool,
    event: EventFd,
    listener: AtomicWaker,
}

impl Rung {
    fn new() -> io::Result<Self> {
        let (rang, sleeps_in_ring) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { rang, sleeps_in_ring, event: EventFd::new()?, listener: AtomicWaker::new() })
    }

    /// Wakes the core's loop, from any thread.
    pub(crate) fn ring(&self) {
        self.rang.store(true, Ordering::Release);
        if self.sleeps_in_ring.load(Ordering::Acquire) {
            self.event.signal();
        } else {
            self.listener.wake();
        }
    }

    /// Where the core sleeps next. To be said before anybody may ring: before `Parker::prepare_park`.
    pub(crate) fn set_sleeps_in_ring(&self, in_ring: bool) {
        self.sleeps_in_ring.store(in_ring, Ordering::Release);
    }

    /// What is signalled when the core sleeps in its own ring.
    pub(crate) fn event(&self) -> EventFd {
        self.event.clone()
    }

    /// Whether the bell rang since the last call. The task of `waker` is woken when it rings from now on.
    pub(crate) fn heard(&self, waker: &std::task::Waker) -> bool {
        self.listener.register(waker);
        self.rang.swap(false, Ordering::AcqRel)
    }
}

impl Links {
    /// Makes the links of all threads. `gateway_wakers` wake the gateway threads, in order.
    ///
    /// To be made before any thread has a descriptor table of its own.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    ///
    /// # Panics
    /// When there is not one waker for each gateway thread.
    pub fn new(config: &LinkConfig, gateway_wakers: &[Waker]) -> io::Result<Self> {
        assert_eq!(config.gateways, gateway_wakers.len(), "each gateway thread has a waker");
        let mut cores = (0..config.cores).map(|_| CoreEnds::new()).collect::<io::Result<Vec<_>>>()?;
        let mut gateways = Vec::with_capacity(config.gateways);
        for gateway_waker in gateway_wakers {
            let mut ends = Vec::with_capacity(config.cores);
            for core in &mut cores {
                let (requests, served) = link(config.credits * config.cores, config.open_to_router);
                let (answers, received) = link(config.credits * config.cores, config.open_to_gateway);
                core.gateways.push(CoreGatewayEnd { requests: served, answers, waker: gateway_waker.clone() });
                ends.push(GatewayEnd { requests, answers: received, waker: core.waker.clone() });
            }
            gateways.push(ends);
        }
        join_cores(config, &mut cores);
        Ok(Self { gateways, cores })
    }
}

fn join_cores(config: &LinkConfig, cores: &mut [CoreEnds]) {
    let reserved = config.gateways * config.credits + 2 * READ_CREDITS;
    let mut producers: Vec<Vec<Option<Producer<Envelope>>>> = Vec::new();
    let mut consumers: Vec<Vec<Option<Consumer<Envelope>>>> = Vec::new();
    for from in 0..cores.len() {
        let made = (0..cores.len()).map(|to| (from != to).then(|| link(reserved, config.open_between_cores)));
        let (out, into): (Vec<_>, Vec<_>) = made.map(Option::unzip).unzip();
        producers.push(out);
        consumers.push(into);
    }
    let wakers: Vec<Waker> = cores.iter().map(|core| core.waker.clone()).collect();
    for (own, core) in cores.iter_mut().enumerate() {
        core.cores = (0..wakers.len())
            .map(|other| {
                let outgoing = producers[own][other].take()?;
                let incoming = consumers[other][own].take()?;
                Some(CorePeerEnd { incoming, outgoing, waker: wakers[other].clone() })
            })
            .collect();
    }
}

impl CoreEnds {
    fn new() -> io::Result<Self> {
        let rung = Arc::new(Rung::new()?);
        let ringer = rung.clone();
        let (parker, waker) = wake::pair(move || ringer.ring());
        Ok(Self { bell: Bell { parker, rung }, waker, gateways: Vec::new(), cores: Vec::new() })
    }

    /// Whether no message waits for this core.
    pub(crate) fn all_empty(&self) -> bool {
        self.cores_are_empty() && !self.has_requests()
    }

    /// Whether no message of another core waits.
    pub(crate) fn cores_are_empty(&self) -> bool {
        self.cores.iter().flatten().all(|end| end.incoming.is_empty())
    }

    /// Whether a gateway's message waits.
    pub(crate) fn has_requests(&self) -> bool {
        self.gateways.iter().any(|end| !end.requests.is_empty())
    }
}

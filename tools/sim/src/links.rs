//! The rings between the threads of the server, with the real links and the sizes of the plan.
//!
//! Who gets which slots is `router/server`'s table; the simulator makes the same links with sizes that are often far too
//! small.

use switchyard_ring::{Consumer, Producer, link};
use switchyard_router_core::effects::Envelope;
use switchyard_router_core::limits::READ_CREDITS;
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::plan::RingSizes;

/// A gateway thread's ends of its links with one router core.
#[derive(Debug)]
pub(crate) struct GatewayEnd {
    pub(crate) requests: Producer<(ShardId, ToRouter)>,
    pub(crate) answers: Consumer<ToGateway>,
}

/// A router core's ends of its links with one gateway thread.
#[derive(Debug)]
pub(crate) struct CoreGatewayEnd {
    pub(crate) requests: Consumer<(ShardId, ToRouter)>,
    pub(crate) answers: Producer<ToGateway>,
}

/// A router core's ends of its links with another.
#[derive(Debug)]
pub(crate) struct CorePeerEnd {
    pub(crate) incoming: Consumer<Envelope>,
    pub(crate) outgoing: Producer<Envelope>,
}

/// A router core's ends.
#[derive(Debug, Default)]
pub(crate) struct CoreEnds {
    pub(crate) gateways: Vec<CoreGatewayEnd>,
    /// `None` for the core itself.
    pub(crate) cores: Vec<Option<CorePeerEnd>>,
}

/// All links: for each gateway thread its ends by router core, and for each router core its ends.
pub(crate) fn make(sizes: RingSizes, gateways: usize, cores: usize) -> (Vec<Vec<GatewayEnd>>, Vec<CoreEnds>) {
    let mut core_ends: Vec<CoreEnds> = (0..cores).map(|_| CoreEnds::default()).collect();
    let mut gateway_ends = Vec::new();
    for _ in 0..gateways {
        let mut ends = Vec::new();
        for core in &mut core_ends {
            let (requests, served) = link(sizes.credits * cores, sizes.open_to_router);
            let (answers, received) = link(sizes.credits * cores, sizes.open_to_gateway);
            core.gateways.push(CoreGatewayEnd { requests: served, answers });
            ends.push(GatewayEnd { requests, answers: received });
        }
        gateway_ends.push(ends);
    }
    for core in &mut core_ends {
        core.cores = (0..cores).map(|_| None).collect();
    }
    let reserved = gateways * sizes.credits + 2 * READ_CREDITS;
    for one in 0..cores {
        for other in one + 1..cores {
            let (to_other, from_one) = link(reserved, sizes.open_between_cores);
            let (to_one, from_other) = link(reserved, sizes.open_between_cores);
            core_ends[one].cores[other] = Some(CorePeerEnd { incoming: from_other, outgoing: to_other });
            core_ends[other].cores[one] = Some(CorePeerEnd { incoming: from_one, outgoing: to_one });
        }
    }
    (gateway_ends, core_ends)
}

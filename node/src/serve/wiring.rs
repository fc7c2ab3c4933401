//! Threads, their links and where they are pinned.

use std::error::Error;
use std::sync::Arc;

use rustix::thread::{CpuSet, sched_getaffinity};
use switchyard_gateway_core::auth::KeySet;
use switchyard_gateway_core::handshake::Origins;
use switchyard_gateway_core::session::Settings;
use switchyard_gateway_server::limits::LinkSizes;
use switchyard_gateway_server::{Gateway, GatewayConfig, RouterEnd, ThreadParts, doorbell};
use switchyard_router_server::router::{Router, RouterConfig, RouterHandle};
use switchyard_router_server::{DataFolder, LinkConfig, Links};

use super::locked_memory::KeptFree;
use crate::config::Config;
use crate::threads::GatewayThreads;
use crate::tls::Listeners;

/// Open slots of a link between router cores: the facts of a few turns.
const OPEN_SLOTS_BETWEEN_CORES: usize = 4_096;

/// Recovers the data, then starts router cores and gateway threads. When it returns, clients can connect.
pub(super) fn start(
    config: &Config,
    threads: GatewayThreads,
    folder: DataFolder,
    keys: Arc<KeySet>,
    listeners: Listeners,
) -> Result<(Gateway, RouterHandle), Box<dyn Error>> {
    let (gateways, cores) = (usize::from(threads.count), usize::from(config.router_cores));
    let shards = folder.shards();
    let processors = Processors::new(config.pin, gateways);
    let sizes = LinkSizes::of(gateways, cores);

    let mut doorbells = Vec::with_capacity(gateways);
    let mut gateway_wakers = Vec::with_capacity(gateways);
    for _ in 0..gateways {
        let (bell, waker) = doorbell()?;
        doorbells.push(bell);
        gateway_wakers.push(waker);
    }
    let links = Links::new(
        &LinkConfig {
            gateways,
            cores,
            credits: sizes.credits_per_pair,
            open_to_router: sizes.open_to_router,
            open_to_gateway: sizes.open_to_gateway,
            open_between_cores: OPEN_SLOTS_BETWEEN_CORES,
        },
        &gateway_wakers,
    )?;

    let router_config = RouterConfig {
        cpus: (0..cores).map(|core| processors.of_router(core)).collect(),
        segment_bytes: config.segment_bytes,
        tail_bytes: config.tail_bytes / cores,
        state_bytes: config.state_bytes / cores,
        ..RouterConfig::new(cores, threads.count)
    };
    let kept_free = KeptFree::for_gateways(gateways);
    let router = Router::recover_and_spawn(&router_config, folder, links.cores)?;
    drop(kept_free);

    let parts = doorbells.into_iter().zip(links.gateways).enumerate().map(|(index, (doorbell, ends))| ThreadParts {
        doorbell,
        routers: ends
            .into_iter()
            .map(|end| RouterEnd { requests: end.requests, answers: end.answers, waker: end.waker })
            .collect(),
        processor: processors.of_gateway(index),
    });
    let gateway_config = GatewayConfig {
        tls: listeners.wss,
        quic: listeners.quic,
        connections_max: config.max_connections,
        connections_per_thread_max: threads.connections_per_thread_max,
        reconnects_per_second: config.reconnects_per_second,
        echo: config.echo,
        origins: Origins::Only(config.allowed_origins.clone()),
        handshakes: config.handshakes,
        session: Settings { heartbeat_ms: config.heartbeat_ms, drain_grace_ms: config.answers_ms, rates: config.rates },
        ..GatewayConfig::new(config.listen_ws, shards)
    };
    match Gateway::spawn(gateway_config, keys, parts.collect()) {
        Ok(gateway) => Ok((gateway, router)),
        Err(error) => {
            router.stop();
            Err(error.into())
        }
    }
}

/// Which processor each thread stays on: gateway threads from the first upwards, router cores after them. More gateway
/// threads than processors are moved about by the kernel, which knows which of them have something to do.
struct Processors {
    gateways: usize,
    /// Those that this process may use, which are not all where it is confined to some; none when nothing is pinned.
    allowed: Vec<usize>,
}

impl Processors {
    fn new(pin: bool, gateways: usize) -> Self {
        // Where the kernel does not say which, threads stay where it puts them.
        let mask = if pin { sched_getaffinity(None).ok() } else { None };
        let allowed = mask.map(|mask| (0..CpuSet::MAX_CPU).filter(|&processor| mask.is_set(processor)).collect());
        Self { gateways, allowed: allowed.unwrap_or_default() }
    }

    fn of_gateway(&self, index: usize) -> Option<usize> {
        if self.gateways <= self.allowed.len() { self.allowed.get(index).copied() } else { None }
    }

    fn of_router(&self, index: usize) -> Option<usize> {
        self.allowed.get((self.gateways + index) % self.allowed.len().max(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_processors_that_the_process_may_use_then_threads_are_pinned_to_no_others() {
        let on = |gateways, allowed: &[usize]| Processors { gateways, allowed: allowed.to_vec() };
        let placed =
            |processors: &Processors| (processors.of_gateway(0), processors.of_router(0), processors.of_router(1));
        assert_eq!(placed(&on(1, &[4, 6, 9])), (Some(4), Some(6), Some(9)));
        assert_eq!(placed(&on(1, &[1])), (Some(1), Some(1), Some(1)));
        assert_eq!(placed(&on(3, &[0, 1])), (None, Some(1), Some(0)));
        assert_eq!(placed(&on(1, &[])), (None, None, None));
    }
}

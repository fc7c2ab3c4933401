//! The running server, as the admin listener and the shutdown see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchyard_gateway_core::auth::KeySet;
use switchyard_gateway_server::{DrainPlan, Gateway, ThreadsFailed};
use switchyard_router_server::StorageState;
use switchyard_router_server::router::{RouterHandle, StartReport};

use super::figures::Figures;
use super::watchdog::{Stall, Thread};
use crate::admin::{Observed, Sample};

/// Gateway and router of this process; empty once it has left.
pub(super) struct Server {
    parts: Mutex<Option<(Gateway, RouterHandle)>>,
    leaving: AtomicBool,
    figures: Figures,
}

impl Server {
    pub(super) fn new(gateway: Gateway, router: RouterHandle, figures: Figures) -> Self {
        Self { parts: Mutex::new(Some((gateway, router))), leaving: AtomicBool::new(false), figures }
    }

    pub(super) fn address(&self) -> Option<std::net::SocketAddr> {
        self.with(|gateway, _| gateway.local_address())
    }

    /// Where those connect who speak TLS.
    pub(super) fn tls_address(&self) -> Option<std::net::SocketAddr> {
        self.with(|gateway, _| gateway.local_tls_address()).flatten()
    }

    /// Where those connect who speak QUIC.
    pub(super) fn quic_address(&self) -> Option<std::net::SocketAddr> {
        self.with(|gateway, _| gateway.local_quic_address()).flatten()
    }

    pub(super) fn report(&self) -> Option<StartReport> {
        self.with(|_, router| router.report().clone())
    }

    pub(super) fn reload_keys(&self, keys: Arc<KeySet>) {
        self.with(|gateway, _| gateway.reload_keys(keys));
    }

    /// Tells clients to leave, waits for them at most `drain_ms`, then flushes the router.
    ///
    /// # Errors
    /// When gateway threads had failed.
    pub(super) fn leave(&self, drain_ms: u64) -> Result<(), ThreadsFailed> {
        self.leaving.store(true, Ordering::Relaxed);
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((gateway, router)) = parts else { return Ok(()) };
        let deadline = Instant::now() + Duration::from_millis(drain_ms);
        gateway.drain(DrainPlan { deadline });
        let joined = gateway.join();
        router.stop();
        joined
    }

    /// What makes going on pointless: a thread has ended, and only a restart brings its connections or shards back. A
    /// journal that refuses records is no such thing; its core serves reads.
    pub(super) fn lost_thread(&self) -> Option<&'static str> {
        self.with(|gateway, router| {
            if !gateway.is_whole() {
                Some("a gateway thread has ended")
            } else if !router.is_whole() {
                Some("a router core has ended")
            } else {
                None
            }
        })
        .flatten()
    }

    /// The threads that make no progress.
    pub(super) fn stalls(&self) -> Vec<Stall> {
        self.with(|gateway, router| {
            let gateways = gateway.counters().enumerate();
            let gateways = gateways.map(|(index, counters)| (Thread::Gateway(index), &counters.pulse));
            let routers = router.counters().iter().enumerate();
            let routers = routers.map(|(index, counters)| (Thread::Router(index), &counters.pulse));
            Stall::among(gateways.chain(routers), Instant::now()).collect()
        })
        .unwrap_or_default()
    }

    /// What is broken, and stays so without somebody's help.
    fn broken(&self) -> Vec<String> {
        self.with(|gateway, router| {
            let mut faults = Vec::new();
            for (core, counters) in router.counters().iter().enumerate() {
                let state = counters.journal();
                if state != StorageState::Ready {
                    faults.push(format!("router core {core}: the journal is {state:?}; sends are refused"));
                }
                let damaged_reads = counters.damaged_reads.get();
                if damaged_reads > 0 {
                    faults.push(format!(
                        "router core {core}: {damaged_reads} reads of history met damaged data, which is not served; the log \
                         says where, run `logview verify`"
                    ));
                }
            }
            if !router.is_store_healthy() {
                faults.push(
                    "the state store takes no snapshots; look at the log and at the free space of the disk".to_owned(),
                );
            }
            if !router.is_whole() {
                faults.push("a router core has ended; restart and see the log for why".to_owned());
            }
            let recovered = &router.report().recovered;
            faults.extend(recovered.damages.iter().map(|damage| format!("damaged data is not served: {damage}")));
            faults.extend(recovered.holes.iter().map(|hole| {
                format!(
                    "records {} to {} of shard {} are missing and it is not served; run `logview verify`",
                    hole.from, hole.to, hole.shard.0
                )
            }));
            if !gateway.is_whole() {
                faults.push("a gateway thread has ended; restart and see the log for why".to_owned());
            }
            faults
        })
        .unwrap_or_default()
    }

    fn with<T>(&self, read: impl FnOnce(&Gateway, &RouterHandle) -> T) -> Option<T> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.as_ref().map(|(gateway, router)| read(gateway, router))
    }
}

impl Observed for Server {
    fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.stalls().iter().map(Stall::to_string).collect();
        faults.extend(self.broken());
        faults
    }

    fn reasons_not_ready(&self) -> Vec<String> {
        if self.leaving.load(Ordering::Relaxed) {
            return vec!["the server is leaving".to_owned()];
        }
        let is_full = self.with(|gateway, _| gateway.is_full()).unwrap_or_default();
        let full = "every connection is taken; raise gateway.max_connections, or send clients elsewhere";
        is_full.then(|| full.to_owned()).into_iter().collect()
    }

    fn samples(&self) -> Vec<Sample> {
        let faults = self.faults().len();
        let is_ready = faults == 0 && self.reasons_not_ready().is_empty();
        self.figures.read(faults, is_ready)
    }
}

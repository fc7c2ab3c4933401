//! Gateway and router in this process, wired as `switchyard serve` does.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, KeySet, SigningKey};
use switchyard_gateway_core::key_file;
use switchyard_gateway_server::limits::LinkSizes;
use switchyard_gateway_server::{DrainPlan, Gateway, GatewayConfig, RouterEnd, ThreadParts, doorbell};
use switchyard_router_server::{DataFolder, LinkConfig, Links, Router, RouterConfig, RouterHandle};
use switchyard_schema::ids::ShardCount;
use switchyard_schema::limits::SHARD_COUNT_DEFAULT;

use crate::secure::Listeners;

/// More than are ever asked for.
const CONNECTIONS_MAX: u32 = 100_000;

/// One gateway thread and one router core.
pub(crate) struct Server {
    gateway: Gateway,
    router: RouterHandle,
}

impl Server {
    /// Starts on an empty folder, with a development key in it.
    pub(crate) fn start(data: &Path, Listeners { tls, quic }: Listeners) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        if data.exists() {
            fs::remove_dir_all(data).map_err(|error| text(&error))?;
        }
        let seed = [7; 32];
        fs::create_dir_all(data.join("keys")).map_err(|error| text(&error))?;
        fs::write(data.join("keys/dev.pem"), key_file::private_pem(&seed)).map_err(|error| text(&error))?;
        let mut keys = KeySet::new(AUDIENCE_DEFAULT);
        keys.insert("dev", SigningKey::from_seed(seed).public_key());

        let shards = ShardCount::new(SHARD_COUNT_DEFAULT).expect("the default is in range");
        let folder = DataFolder::open(data, shards).map_err(|error| text(&error))?;
        let (bell, waker) = doorbell().map_err(|error| text(&error))?;
        let sizes = LinkSizes::of(1, 1);
        let config = LinkConfig {
            gateways: 1,
            cores: 1,
            credits: sizes.credits_per_pair,
            open_to_router: sizes.open_to_router,
            open_to_gateway: sizes.open_to_gateway,
            open_between_cores: 1,
        };
        let links = Links::new(&config, &[waker]).map_err(|error| text(&error))?;
        let router = Router::recover_and_spawn(&RouterConfig::new(1, 1), folder, links.cores);
        let router = router.map_err(|error| text(&error))?;
        let ends = links.gateways.into_iter().flatten();
        let routers = ends.map(|end| RouterEnd { requests: end.requests, answers: end.answers, waker: end.waker });
        let thread = ThreadParts { doorbell: bell, routers: routers.collect(), processor: None };
        let plain = GatewayConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), shards);
        let config = GatewayConfig {
            tls: Some(tls),
            quic: Some(quic),
            connections_max: CONNECTIONS_MAX,
            connections_per_thread_max: CONNECTIONS_MAX,
            ..plain
        };
        let gateway = Gateway::spawn(config, Arc::new(keys), vec![thread]).map_err(|error| text(&error))?;
        Ok(Self { gateway, router })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.gateway.local_address()
    }

    /// Where it listens for clients that speak TLS.
    pub(crate) const fn tls_address(&self) -> Option<SocketAddr> {
        self.gateway.local_tls_address()
    }

    /// Where it listens for clients that speak QUIC.
    pub(crate) const fn quic_address(&self) -> Option<SocketAddr> {
        self.gateway.local_quic_address()
    }

    /// Sessions that are open.
    pub(crate) fn sessions(&self) -> u64 {
        self.gateway.counters().map(|counters| counters.sessions.get() + counters.quic_sessions.get()).sum()
    }

    pub(crate) fn stop(self) {
        self.gateway.drain(DrainPlan { deadline: Instant::now() });
        // What failed is in the log.
        let _ = self.gateway.join();
        self.router.stop();
    }
}

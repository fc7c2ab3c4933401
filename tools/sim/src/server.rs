//! One run of the server's process: gateway threads and router cores, from recovery to its end.

use std::sync::Arc;

use switchyard_engine::recovery::{RestoreError, restore};
use switchyard_engine::{Engine, EngineConfig};
use switchyard_gateway_core::auth::KeySet;
use switchyard_log::manifest::Manifest;
use switchyard_router_core::effects::StorageState;

use crate::canary::{Canary, Memory};
use crate::disk::{Crash, Disk};
use crate::gateway::Gateway;
use crate::links;
use crate::network::{ConnectionId, Network};
use crate::router::{Core, Hands, StopSignal};
use crate::shared::Shared;
use crate::store::Store;
use crate::tell;

/// What a server works on: it outlives every process.
#[derive(Debug)]
pub(crate) struct Below {
    pub(crate) disk: Disk,
    pub(crate) store: Store,
    pub(crate) memory: Memory,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) cores: Vec<Core>,
    stop: StopSignal,
    /// When connections that are still there at a stop are ended.
    drain_until_us: Option<u64>,
}

/// Why a start came to nothing; the operator tries again.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The disk or the store cannot be read, or there is no space.
    Trouble,
    /// The power failed in the middle.
    Interrupted,
}

impl Server {
    /// Recovers what is below and starts, as `router/server` and `node` do.
    pub(crate) fn start(
        shared: &mut Shared,
        below: &mut Below,
        cores: u16,
        keys: &Arc<KeySet>,
        canary: Option<Canary>,
    ) -> Result<Self, NotStarted> {
        shared.life += 1;
        below.store.start();
        let listed = below.disk.manifest().map(Manifest::decode).transpose();
        let manifest = listed.expect("the list is replaced as a whole, and its bits stay");
        let run = manifest.as_ref().map_or(0, Manifest::run) + 1;
        let mut engines: Vec<Engine> =
            (0..cores).map(|core| Engine::new(engine_config(shared, core, cores), run)).collect();
        let now = shared.agenda.wall();
        let recovered = restore(&mut engines, &below.disk.files, manifest, &below.store, now);
        let mut recovered = match recovered {
            Ok(recovered) => recovered,
            Err(RestoreError::Journal(error)) => {
                tell!(shared, "server: no start: {error}");
                return Err(NotStarted::Trouble);
            }
            Err(RestoreError::Store(error)) => {
                tell!(shared, "server: no start: {error}");
                return Err(NotStarted::Trouble);
            }
            Err(RestoreError::Behind(behind)) => {
                tell!(shared, "server: no start: {behind}");
                // Nobody exchanges the journal here, and damage that loses records makes their shards refuse.
                shared.truth.fail(format!("a journal is taken for an older copy: {behind}"));
                return Err(NotStarted::Trouble);
            }
        };
        for damage in &recovered.damages {
            tell!(shared, "server: {damage}");
            if shared.trouble.damaged == 0 {
                shared.truth.fail(format!("recovery found damage on a sound disk: {damage}"));
            }
            shared.trouble.damage_shown += 1;
        }
        let statistics = recovered.statistics;
        tell!(
            shared,
            "server: start {} with {cores} cores: run {run}, {} records, {} torn",
            shared.life,
            statistics.records,
            recovered.torn.len()
        );
        recovered.manifest.begin_run();
        let interrupted = !shared.calm && shared.plan.has(crate::fault::Fault::PowerLoss) && shared.random.chance(50);
        if interrupted {
            let steps = shared.random.below(3);
            below.disk.adopt(&recovered, steps);
            return Err(NotStarted::Interrupted);
        }
        below.disk.adopt(&recovered, 3);
        let gateways = usize::from(shared.plan.gateways);
        let (gateway_ends, core_ends) = links::make(shared.plan.rings, gateways, usize::from(cores));
        let mut made = Vec::new();
        for (engine, ends) in engines.into_iter().zip(core_ends) {
            let mut core = Core::new(engine, ends, canary);
            let index = core.engine.config().core;
            let first = below.disk.make_segment(shared, index, core.shards(), now);
            core.engine.handle_segment(now, first.ok_or(NotStarted::Trouble)?);
            core.wake(shared, 1);
            made.push(core);
        }
        let mut threads = Vec::new();
        for (index, ends) in (0..).zip(gateway_ends) {
            let mut gateway = Gateway::new(shared, index, ends, keys.clone());
            gateway.wake(shared, 1);
            threads.push(gateway);
        }
        let stop = StopSignal { stopping: false, settled: vec![false; usize::from(cores)] };
        Ok(Self { gateways: threads, cores: made, stop, drain_until_us: None })
    }

    /// A router core's turn.
    pub(crate) fn run_core(&mut self, shared: &mut Shared, below: &mut Below, index: usize) {
        let core = &mut self.cores[index];
        if core.is_closed() || !core.turn.begin(&shared.agenda) {
            return;
        }
        let Below { disk, store, memory } = below;
        let mut hands = Hands { shared, disk, store, stop: &mut self.stop, memory };
        let notified = core.run(&mut hands);
        for gateway in notified.gateways {
            let us = shared.plan.wake.draw(&mut shared.random);
            self.gateways[gateway].wake(shared, us);
        }
        for core in notified.cores {
            let us = shared.plan.wake.draw(&mut shared.random);
            self.cores[core].wake(shared, us);
        }
    }

    /// A gateway thread's turn.
    pub(crate) fn run_gateway(&mut self, shared: &mut Shared, network: &mut Network, index: usize) {
        let gateway = &mut self.gateways[index];
        if !gateway.turn.begin(&shared.agenda) {
            return;
        }
        for core in gateway.run(shared, network) {
            let us = shared.plan.wake.draw(&mut shared.random);
            self.cores[core].wake(shared, us);
        }
        if self.drain_until_us.is_some_and(|until| shared.agenda.now_us() >= until) {
            self.gateways[index].abort_all(shared, network);
        }
        if self.drain_until_us.is_some() && self.gateways.iter().all(Gateway::is_empty) && !self.stop.stopping {
            self.stop.stopping = true;
            self.cores.iter_mut().for_each(|core| core.wake(shared, 1));
        }
    }

    /// Something of the disk is done.
    pub(crate) fn on_disk(&mut self, shared: &mut Shared, below: &mut Below, task: u64) {
        if let Some((core, report)) = below.disk.finish(shared, task) {
            let core = &mut self.cores[usize::from(core)];
            core.on_report(report);
            core.wake(shared, 1);
        }
    }

    /// The state store has replies.
    pub(crate) fn on_store(&mut self, shared: &mut Shared, below: &mut Below, synced: bool) {
        let replies = if synced { below.store.synced(shared) } else { below.store.turn(shared) };
        for (core, reply) in replies {
            let core = &mut self.cores[usize::from(core)];
            core.on_reply(reply);
            core.wake(shared, 1);
        }
    }

    /// A connection comes in. `false` when it is not taken.
    pub(crate) fn accept(&mut self, shared: &mut Shared, index: usize, id: ConnectionId) -> bool {
        let gateway = &mut self.gateways[index];
        if gateway.draining {
            return false;
        }
        gateway.accept(shared, id);
        gateway.wake(shared, 1);
        true
    }

    /// Something arrived at the server, or one of its connections takes more.
    pub(crate) fn touch(&mut self, shared: &mut Shared, index: usize, id: ConnectionId, readable: bool) {
        let us = shared.plan.wake.draw(&mut shared.random);
        self.gateways[index].touch(shared, id, readable);
        self.gateways[index].wake(shared, us);
    }

    /// The operator stops it in order.
    pub(crate) fn begin_stop(&mut self, shared: &mut Shared) {
        if self.drain_until_us.is_some() {
            return;
        }
        tell!(shared, "server: stops in order");
        let us = shared.random.pick(&[0, 500_000, 6_000_000]);
        self.drain_until_us = Some(shared.agenda.now_us() + us);
        for gateway in &mut self.gateways {
            gateway.drain(shared);
            gateway.wake(shared, 1);
        }
    }

    /// Whether a stop has come to its end.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stop.stopping && self.cores.iter().all(Core::is_closed)
    }

    /// The last steps of a stop: what the manifest should say.
    pub(crate) fn finish(self, shared: &mut Shared, below: &mut Below) {
        let now = shared.agenda.wall();
        for (core, ended) in (0..).zip(self.cores) {
            let (clean, tails, covered) = ended.finish();
            tails.iter().for_each(|tail| below.disk.seal(tail, now));
            below.disk.cover(&covered);
            if clean {
                below.disk.forget_spares(core);
            }
        }
        // What is written after the sync of the last commit is none of the server's business any more.
        below.disk.crash(shared, Crash::Kill);
        below.store.crash(shared, Crash::Kill);
    }

    /// Whether the operator has to do something.
    pub(crate) fn is_healthy(&self, below: &Below) -> bool {
        below.store.healthy && self.cores.iter().all(|core| core.engine.storage() != StorageState::Failed)
    }

    /// What is still out once nothing is under way: a leak.
    pub(crate) fn leaks(&self) -> Option<String> {
        let out = |(index, gateway): (usize, &Gateway)| {
            let (credits, held) = gateway.outstanding();
            (credits > 0 || held > 0)
                .then(|| format!("gateway {index} has {credits} credits out and holds {held} bytes"))
        };
        self.gateways.iter().enumerate().find_map(out)
    }
}

fn engine_config(shared: &mut Shared, core: u16, cores: u16) -> EngineConfig {
    let plan = &shared.plan;
    let mut config = EngineConfig::new(core, cores, plan.gateways, plan.shards);
    config.tail_bytes = plan.tail_bytes;
    config.state_bytes = plan.state_bytes;
    config.snapshots.records = plan.snapshot_records;
    config.snapshots.every_ms = plan.snapshot_ms;
    config.hash_seed = shared.random.word();
    config
}

//! The router of a process: recovers the data folder and runs the router cores.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use switchyard_engine::recovery::{JournalBehind, RestoreError, holds_state, restore};
use switchyard_engine::{Engine, EngineConfig};
use switchyard_log::limits::SEGMENT_BYTES_DEFAULT;
use switchyard_log::manifest::{Manifest, ManifestDamage};
use switchyard_log::recovery::Recovered;
use switchyard_log::segment::ShardSet;
use switchyard_log::storage::Storage;
use switchyard_ring::Waker;
use switchyard_router_core::effects::StorageState;
use switchyard_schema::ids::{Millis, ShardId};

use crate::commit_ring::CommitRing;
use crate::core_loop::{CoreEnd, CoreLoop, StopSignal, clock};
use crate::counters::CoreCounters;
use crate::executor::{self, ExecutorConfig, ExecutorError};
use crate::folder::DataFolder;
use crate::journal_files::JournalFiles;
use crate::journal_folder::{JournalFolder, ReadFolder, read_manifest, remove_leftovers, set_aside, sync_segments};
use crate::limits::{RESERVE_BYTES_DEFAULT, STARTING_LOOK_MS, STARTING_MS_MAX};
use crate::links::{CoreEnds, Rung};
use crate::reserve::Reserve;
use crate::store::{Store, StoreError, StorePort, StoreThread};

/// What a router needs to know.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// The CPU of each router core, in order; `None` lets the thread float. Its length is the number of cores.
    pub cpus: Vec<Option<usize>>,
    /// Gateway threads.
    pub gateways: u16,
    /// Bytes of a journal segment.
    pub segment_bytes: u32,
    /// Bytes set aside on the disk for the time when it is full: one snapshot and the store's own work.
    pub reserve_bytes: u64,
    /// Bytes of recent messages that each core keeps in memory.
    pub tail_bytes: usize,
    /// Bytes of users and conversations that each core keeps in memory.
    pub state_bytes: usize,
    /// Records of a shard after which its state goes to the store.
    pub snapshot_records: u64,
    /// Milliseconds after which it does in any case.
    pub snapshot_ms: u64,
}

impl RouterConfig {
    /// `cores` floating cores for `gateways` gateway threads, everything else as usual.
    #[must_use]
    pub fn new(cores: usize, gateways: u16) -> Self {
        Self {
            cpus: vec![None; cores],
            gateways,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            reserve_bytes: RESERVE_BYTES_DEFAULT,
            tail_bytes: 64 * 1024 * 1024,
            state_bytes: 256 * 1024 * 1024,
            snapshot_records: switchyard_engine::limits::SNAPSHOT_RECORDS,
            snapshot_ms: switchyard_engine::limits::SNAPSHOT_MS,
        }
    }
}

/// Why a router cannot start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal cannot be read at all.
    #[error("the journal cannot be read: {0}")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The list of segments is damaged.
    #[error(
        "the journal's manifest is damaged ({0}); see what can be saved with `logview verify`, then `logview repair`"
    )]
    Manifest(ManifestDamage),
    /// The state store has data, and the journal that it goes with is not there.
    #[error(
        "the journal in {} is gone, although the state store beside it has data: the messages are not here. Put the folder \
         back, or restore it from a backup; to begin without them, move {} away and start with an empty folder",
        .folder.join("journal").display(), .folder.display()
    )]
    JournalGone {
        /// The data folder.
        folder: PathBuf,
    },
    /// The state store and segments are there, the list of segments is not.
    #[error(
        "the journal's list of segments, {}, is gone, although there are segments and the state store has data: what was \
         dropped or given up is not known. Put the file back, or run `logview repair {}` to make it again from the segments",
        .folder.join("journal").join("manifest").display(), .folder.display()
    )]
    ManifestGone {
        /// The data folder.
        folder: PathBuf,
    },
    /// The journal is not the one that the state store goes with.
    #[error(
        "the journal in {} is older than the state store beside it: of shard {} it ends at record {}, and the store has up to \
         record {} ({} shards are so). It is an older copy, or its disk has lost what was written: messages are not here. Put \
         the journal back that {} goes with, or restore the whole folder from a backup; to go on with the messages that the \
         journal has, run `logview repair --rebuild-state {}`",
        .folder.join("journal").display(), .behind.shard.0, .behind.journal_lsn, .behind.store_lsn, .behind.shards,
        .folder.join("state").display(), .folder.display()
    )]
    JournalBehind {
        /// The data folder.
        folder: PathBuf,
        /// Where each of the two ends.
        behind: JournalBehind,
    },
    /// The journal's folder cannot be written.
    #[error("cannot {action} in the data folder: {source}; check its permissions and the free space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A core does not come up.
    #[error(
        "a router core has not come up for a minute; the disk may be stuck: look at the kernel's log, then start again"
    )]
    Stuck,
    /// An executor.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

/// The running router. Dropping it without [`RouterHandle::stop`] leaves its threads behind, as a crash would.
#[derive(Debug)]
pub struct RouterHandle {
    threads: Vec<JoinHandle<CoreEnd>>,
    wakers: Vec<Waker>,
    signal: Arc<StopSignal>,
    counters: Vec<Arc<CoreCounters>>,
    journal: Arc<JournalFolder>,
    store: StoreThread,
    report: StartReport,
    _folder: DataFolder,
}

/// What recovery found.
#[derive(Clone, Debug)]
pub struct StartReport {
    /// Everything that the journal's recovery has to say.
    pub recovered: Recovered,
    /// How long it took, the state store's own recovery included.
    pub took: Duration,
    /// How much of that the state store took to open.
    pub store_took: Duration,
}

/// The router of a process.
#[derive(Debug)]
pub struct Router;

impl Router {
    /// Recovers the data of `folder`, then starts one thread for each core of `ends`. When it returns, they serve.
    ///
    /// # Errors
    /// What [`StartError`] lists; nothing runs then.
    ///
    /// # Panics
    /// When `ends` are not those of `config`'s cores and gateways.
    pub fn recover_and_spawn(
        config: &RouterConfig,
        folder: DataFolder,
        ends: Vec<CoreEnds>,
    ) -> Result<RouterHandle, StartError> {
        assert_eq!(config.cpus.len(), ends.len(), "each core has its ends");
        let begun = Instant::now();
        let store = Store::open(&folder.state())?;
        let store_took = begun.elapsed();
        let reserve = Arc::new(Reserve::new(folder.reserve(), config.reserve_bytes));
        let (mut engines, journal, recovered) = recover(config, &folder, &store, reserve.clone())?;
        let report = StartReport { recovered, took: begun.elapsed(), store_took };
        let wakers: Vec<Waker> = ends.iter().map(|ends| ends.waker.clone()).collect();
        let spawned = StoreThread::spawn(store, reserve, wakers.clone());
        let (store, ports) = spawned.map_err(|source| StartError::Io { action: "start a thread", source })?;
        let counters: Vec<Arc<CoreCounters>> = engines.iter().map(|_| Arc::default()).collect();
        counters[0].recovery_ms.set(u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX));
        counters[0].replayed_records.set(report.recovered.statistics.records);
        let mut handle = RouterHandle {
            threads: Vec::new(),
            wakers,
            signal: Arc::new(StopSignal::new(engines.len())),
            counters,
            journal: Arc::new(journal),
            store,
            report,
            _folder: folder,
        };
        // One after the other, so that the first core that cannot start says why and the others never begin.
        for (core, ((engine, ends), port)) in engines.drain(..).zip(ends).zip(ports).enumerate() {
            let rung = ends.bell.rung.clone();
            let parts = CoreParts {
                engine,
                ends,
                port,
                probe: handle._folder.probe(),
                journal: handle.journal.clone(),
                counters: handle.counters[core].clone(),
                signal: handle.signal.clone(),
                executor: ExecutorConfig { cpu: config.cpus[core] },
            };
            let (started, starting) = mpsc::channel();
            let thread = thread::Builder::new().name(format!("router-{core}")).spawn(move || parts.serve(&started));
            handle.threads.push(thread.map_err(|source| StartError::Io { action: "start a thread", source })?);
            if let Err(error) = wait_for_start(&starting, &rung) {
                if !matches!(error, StartError::Stuck) {
                    // Those that were not begun have nothing to settle.
                    for settled in &handle.signal.settled[core..] {
                        settled.store(true, Ordering::Release);
                    }
                    handle.stop();
                }
                return Err(error);
            }
        }
        Ok(handle)
    }
}

/// Waits until a core serves, and rings its bell meanwhile.
fn wait_for_start(starting: &mpsc::Receiver<Result<(), StartError>>, rung: &Rung) -> Result<(), StartError> {
    for _ in 0..STARTING_MS_MAX / STARTING_LOOK_MS {
        match starting.recv_timeout(Duration::from_millis(STARTING_LOOK_MS)) {
            Ok(outcome) => return outcome,
            Err(mpsc::RecvTimeoutError::Timeout) => rung.ring(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let source = io::Error::other("a router core ended while it started");
                return Err(StartError::Io { action: "start a thread", source });
            }
        }
    }
    Err(StartError::Stuck)
}

impl RouterHandle {
    /// Stops after everything is durable, in the store, and marked so that the next start replays nothing. Gateways
    /// should have ended: what they still send may stay unanswered.
    pub fn stop(mut self) {
        self.signal.stopping.store(true, Ordering::Release);
        for waker in &self.wakers {
            waker.notify();
        }
        let now = clock();
        for (core, thread) in (0..).zip(std::mem::take(&mut self.threads)) {
            let Ok(end) = thread.join() else {
                tracing::error!(core, "a router core ended with a panic; the next start recovers from its journal");
                continue;
            };
            if let Err(error) = self.settle_manifest(core, &end, now) {
                tracing::warn!(%error, core, "the manifest could not be written; the next start will read more");
            }
        }
    }

    fn settle_manifest(&self, core: u16, end: &CoreEnd, now: Millis) -> io::Result<()> {
        for tail in &end.tails {
            self.journal.seal(tail, now)?;
        }
        self.journal.cover(&end.covered)?;
        if end.clean { self.journal.forget_spares(core) } else { Ok(()) }
    }

    /// The counters of each core.
    #[must_use]
    pub fn counters(&self) -> &[Arc<CoreCounters>] {
        &self.counters
    }

    /// What recovery found.
    #[must_use]
    pub const fn report(&self) -> &StartReport {
        &self.report
    }

    /// Whether every journal takes records and the store works.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.store.is_healthy()
            && self.counters.iter().all(|counters| counters.journal() == StorageState::Ready)
            && self.is_whole()
    }

    /// Whether every core's thread runs.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Whether the state store works.
    #[must_use]
    pub fn is_store_healthy(&self) -> bool {
        self.store.is_healthy()
    }
}

/// Reads the folder back and begins another run in it.
fn recover(
    config: &RouterConfig,
    folder: &DataFolder,
    store: &Store,
    reserve: Arc<Reserve>,
) -> Result<(Vec<Engine>, JournalFolder, Recovered), StartError> {
    let failed = |action| move |source| StartError::Io { action, source };
    let path = folder.journal();
    let listed = read_manifest(&path).map_err(failed("read the journal's manifest"))?;
    let manifest = listed.transpose().map_err(StartError::Manifest)?;
    let storage = ReadFolder::new(path.clone());
    refuse_half(folder, manifest.as_ref(), &storage, store)?;
    let run = manifest.as_ref().map_or(0, Manifest::run) + 1;
    let cores = u16::try_from(config.cpus.len()).expect("far fewer cores than shards");
    let engine = |core| {
        let mut engine = EngineConfig::new(core, cores, config.gateways, folder.shards());
        engine.tail_bytes = config.tail_bytes;
        engine.state_bytes = config.state_bytes;
        engine.snapshots.records = config.snapshot_records;
        engine.snapshots.every_ms = config.snapshot_ms;
        engine.hash_seed = random_word();
        Engine::new(engine, run)
    };
    let mut engines: Vec<Engine> = (0..cores).map(engine).collect();
    let now = clock();
    let mut recovered = restore(&mut engines, &storage, manifest, store, now).map_err(|error| match error {
        RestoreError::Store(error) => StartError::Store(error),
        RestoreError::Journal(error) => StartError::Journal(Box::new(error)),
        RestoreError::Behind(behind) => StartError::JournalBehind { folder: folder.path().to_path_buf(), behind },
    })?;
    for damage in &recovered.damages {
        let advice = format!("stop the server and run `logview verify {}`", folder.path().display());
        tracing::error!(%damage, advice, "damaged data is not served");
    }
    for torn in &recovered.torn {
        tracing::warn!(
            segment = torn.segment,
            from = torn.from,
            to = torn.to,
            "a write that was cut short is set aside"
        );
        set_aside(&path, &folder.set_aside(), *torn, now).map_err(failed("set a torn tail aside"))?;
    }
    sync_segments(&path, &recovered.segments_read).map_err(failed("sync what was recovered"))?;
    let begun = recovered.manifest.begin_run();
    assert_eq!(begun, run, "the run that the engines were made for");
    let journal = JournalFolder::new(path.clone(), recovered.manifest.clone(), config.segment_bytes, reserve)
        .map_err(failed("write the journal's manifest"))?;
    remove_leftovers(&path, &recovered.leftovers).map_err(failed("remove empty segments"))?;
    Ok((engines, journal, recovered))
}

/// Refuses a folder whose state store has data that the journal knows nothing of: numbers of segments would be given a
/// second time, and what the store says of places in the journal would be wrong.
fn refuse_half(
    folder: &DataFolder,
    manifest: Option<&Manifest>,
    storage: &ReadFolder,
    store: &Store,
) -> Result<(), StartError> {
    if manifest.is_some_and(|manifest| manifest.run() > 0) || !holds_state(store, folder.shards())? {
        return Ok(());
    }
    let segments = storage.segments().map_err(|source| StartError::Io { action: "list the journal", source })?;
    let folder = folder.path().to_path_buf();
    Err(if segments.is_empty() { StartError::JournalGone { folder } } else { StartError::ManifestGone { folder } })
}

fn random_word() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

struct CoreParts {
    engine: Engine,
    ends: CoreEnds,
    port: StorePort,
    probe: PathBuf,
    journal: Arc<JournalFolder>,
    counters: Arc<CoreCounters>,
    signal: Arc<StopSignal>,
    executor: ExecutorConfig,
}

impl CoreParts {
    fn serve(self, started: &mpsc::Sender<Result<(), StartError>>) -> CoreEnd {
        let executor = match executor::make(&self.executor) {
            Ok(executor) => executor,
            Err(error) => {
                self.signal.settled[usize::from(self.engine.config().core)].store(true, Ordering::Release);
                let _ = started.send(Err(error.into()));
                return CoreEnd::default();
            }
        };
        let started = started.clone();
        executor::run(&executor, self.run(started))
    }

    async fn run(mut self, started: mpsc::Sender<Result<(), StartError>>) -> CoreEnd {
        let config = *self.engine.config();
        let shards = ShardSet::of(config.shards().collect::<Vec<ShardId>>());
        let rung = self.ends.bell.rung.clone();
        let files = JournalFiles::new(config.core, shards, self.journal, rung.clone());
        let first = async {
            executor::settle_polling(&self.probe).await?;
            let segment = files.make_segment(clock()).await?;
            Ok((segment, CommitRing::new(rung.event())?))
        };
        let commits = match executor::watched(|waker| rung.heard(waker), first).await {
            Ok((segment, commits)) => {
                self.engine.handle_segment(clock(), segment);
                commits
            }
            Err(source) => {
                self.signal.settled[usize::from(config.core)].store(true, Ordering::Release);
                let _ = started.send(Err(StartError::Io { action: "make a journal segment", source }));
                return CoreEnd::default();
            }
        };
        self.counters.segments.add(1);
        let _ = started.send(Ok(()));
        CoreLoop::new(self.engine, self.ends, self.port, files, commits, self.counters, self.signal).run().await
    }
}

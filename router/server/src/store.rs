//! The state store: rows of all shards at rest, in fjall, served by one side thread.
//!
//! Router cores never wait for it. Each core has a [`StorePort`]: a link of requests and a link of replies, both large
//! enough for everything that the core may have outstanding. Reads are served before writes. The rows of a commit and
//! the LSN that they cover are written as one batch and synced before the commit is answered.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use switchyard_engine::recovery::StateRows;
use switchyard_engine::{StoreAsk, StoreFailed, StoreReply};
use switchyard_ring::{Consumer, Parker, Producer, Waker, link, wake};
use switchyard_router_core::effects::Row;
use switchyard_schema::ids::ShardId;

use crate::limits::{STORE_CACHE_BYTES, STORE_REQUESTS_PER_CORE, STORE_WRITE_BUFFER_BYTES};

/// The rows of all shards.
#[derive(Clone)]
pub struct Store {
    database: Database,
    rows: Keyspace,
}

/// Why the state store failed, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the state store could not {action}: {detail}; look for disk errors and free space, then start again")]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// What the store says.
    pub detail: String,
}

impl StoreError {
    fn while_trying_to(action: &'static str) -> impl Fn(fjall::Error) -> Self {
        move |error| Self { action, detail: error.to_string() }
    }
}

impl Store {
    /// Opens the store in `folder`, or makes it.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let failed = StoreError::while_trying_to("open its files");
        let database =
            Database::builder(folder).cache_size(STORE_CACHE_BYTES).worker_threads(1).open().map_err(&failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(STORE_WRITE_BUFFER_BYTES);
        let rows = database.keyspace("rows", options).map_err(failed)?;
        Ok(Self { database, rows })
    }

    /// The value of a row.
    ///
    /// # Errors
    /// What the store says.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.rows.get(key).map_err(StoreError::while_trying_to("read a row"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Writes `rows` at once; durable after the next [`Store::sync`].
    ///
    /// # Errors
    /// What the store says.
    pub fn write(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for row in rows {
            match row.value {
                Some(value) => batch.insert(&self.rows, row.key, value),
                None => batch.remove(&self.rows, row.key),
            }
        }
        batch.commit().map_err(StoreError::while_trying_to("write rows"))
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// What the store says.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncAll).map_err(StoreError::while_trying_to("sync its files"))
    }
}

impl StateRows for Store {
    type Error = StoreError;

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let failed = StoreError::while_trying_to("read rows");
        let row =
            |(key, value): (fjall::UserKey, fjall::UserValue)| Row { key: key.to_vec(), value: Some(value.to_vec()) };
        self.rows.prefix(prefix).map(|guard| guard.into_inner().map_err(&failed).map(row)).collect()
    }
}

/// A core's end.
#[derive(Debug)]
pub struct StorePort {
    requests: Producer<StoreAsk>,
    replies: Consumer<StoreReply>,
    waker: Waker,
    outstanding: usize,
}

impl StorePort {
    /// How many more requests may be asked now; the others are asked in a later turn.
    #[must_use]
    pub const fn room(&self) -> usize {
        STORE_REQUESTS_PER_CORE - self.outstanding
    }

    /// Hands over a request.
    ///
    /// # Panics
    /// When there is no [`room`](Self::room).
    pub fn ask(&mut self, request: StoreAsk) {
        assert!(self.room() > 0, "the room for requests to the store was not looked at");
        self.outstanding += 1;
        self.requests.push_reserved(request);
    }

    /// Wakes the store after a turn in which something was asked.
    pub fn notify(&self) {
        self.waker.notify();
    }

    /// The next reply.
    pub fn reply(&mut self) -> Option<StoreReply> {
        let reply = self.replies.pop()?;
        self.outstanding -= 1;
        Some(reply)
    }

    /// Whether no reply waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }
}

struct CoreEnd {
    requests: Consumer<StoreAsk>,
    replies: Producer<StoreReply>,
    waker: Waker,
}

/// The side thread; dropping this ends it after it has served what was asked.
#[derive(Debug)]
pub struct StoreThread {
    thread: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    healthy: Arc<AtomicBool>,
    waker: Waker,
}

impl StoreThread {
    /// Starts the thread for cores with these wakers; the ports are in the same order.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(store: Store, core_wakers: Vec<Waker>) -> std::io::Result<(Self, Vec<StorePort>)> {
        let sleeper: Arc<OnceLock<Thread>> = Arc::default();
        let unpark = sleeper.clone();
        let (parker, waker) = wake::pair(move || {
            if let Some(thread) = unpark.get() {
                thread.unpark();
            }
        });
        let (mut ends, mut ports) = (Vec::new(), Vec::new());
        for core_waker in core_wakers {
            let (requests, served) = link(STORE_REQUESTS_PER_CORE, 0);
            let (replies, received) = link(STORE_REQUESTS_PER_CORE, 0);
            ends.push(CoreEnd { requests: served, replies, waker: core_waker });
            ports.push(StorePort { requests, replies: received, waker: waker.clone(), outstanding: 0 });
        }
        let stopping = Arc::<AtomicBool>::default();
        let healthy = Arc::new(AtomicBool::new(true));
        let (stop, health) = (stopping.clone(), healthy.clone());
        let thread = thread::Builder::new().name("state-store".into()).spawn(move || {
            let _ = sleeper.set(thread::current());
            serve(&store, &ends, &parker, &stop, &health);
        })?;
        Ok((Self { thread: Some(thread), stopping, healthy, waker }, ports))
    }

    /// False once a read or a write has failed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.notify();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn serve(store: &Store, cores: &[CoreEnd], parker: &Parker, stop: &AtomicBool, health: &AtomicBool) {
    let mut commits = VecDeque::new();
    loop {
        let mut worked = false;
        for (core, end) in cores.iter().enumerate() {
            let mut answered = false;
            while let Some(ask) = end.requests.pop() {
                worked = true;
                let reply = match ask {
                    StoreAsk::Load { shard, key } => {
                        let rows = shown(store.scan(&key.prefix(shard)), health);
                        StoreReply::Loaded { shard, key, rows }
                    }
                    StoreAsk::Position { walk, key } => {
                        StoreReply::Position { walk, value: shown(store.get(&key), health) }
                    }
                    StoreAsk::Commit { shard, rows } => {
                        commits.push_back((core, shard, rows));
                        continue;
                    }
                };
                end.replies.push_reserved(reply);
                answered = true;
            }
            if answered {
                end.waker.notify();
            }
        }
        if !commits.is_empty() {
            commit_all(store, cores, &mut commits, health);
            worked = true;
        }
        if worked {
            continue;
        }
        if stop.load(Ordering::Acquire) {
            return;
        }
        parker.prepare_park();
        if cores.iter().all(|end| end.requests.is_empty()) && !stop.load(Ordering::Acquire) {
            thread::park();
        }
        parker.awake();
    }
}

/// Writes all commits that wait, syncs once, then answers them.
fn commit_all(
    store: &Store,
    cores: &[CoreEnd],
    commits: &mut VecDeque<(usize, ShardId, Vec<Row>)>,
    health: &AtomicBool,
) {
    let written: Vec<_> = commits.drain(..).map(|(core, shard, rows)| (core, shard, store.write(rows))).collect();
    let synced = store.sync();
    for (core, shard, write) in written {
        // A failed sync fails all of them: which rows reached the disk is not known.
        let result = shown(write.and_then(|()| synced.clone()), health);
        cores[core].replies.push_reserved(StoreReply::Committed { shard, result });
        cores[core].waker.notify();
    }
}

/// Logs a failure and turns the store's health red.
fn shown<T>(result: Result<T, StoreError>, healthy: &AtomicBool) -> Result<T, StoreFailed> {
    result.map_err(|error| {
        healthy.store(false, Ordering::Relaxed);
        tracing::error!(%error, "the state store failed");
        StoreFailed
    })
}

//! The state store: rows of all shards at rest, in fjall, served by one side thread.
//!
//! Router cores never wait for it. Each core has a [`StorePort`]: a link of requests and a link of replies, both large
//! enough for everything that the core may have outstanding. Reads are served before writes. The rows of a commit and
//! the LSN that they cover are written as one batch and synced before the commit is answered.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use switchyard_ring::{Consumer, Parker, Producer, Waker, link, wake};
use switchyard_router_core::effects::Row;

use crate::limits::{STORE_CACHE_BYTES, STORE_REQUESTS_PER_CORE, STORE_WRITE_BUFFER_BYTES};

/// The rows of all shards.
#[derive(Clone)]
pub struct Store {
    database: Database,
    rows: Keyspace,
}

/// A row as it is read: key and value.
pub type StoredRow = (Vec<u8>, Vec<u8>);

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
        let database = Database::builder(folder)
            .cache_size(STORE_CACHE_BYTES)
            .max_write_buffer_size(Some(STORE_WRITE_BUFFER_BYTES * 4))
            .worker_threads(1)
            .open()
            .map_err(&failed)?;
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

    /// Every row whose key begins with `prefix`, in key order.
    ///
    /// # Errors
    /// What the store says.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<StoredRow>, StoreError> {
        self.rows.prefix(prefix).map(stored).collect()
    }

    /// The first row of a range of keys.
    ///
    /// # Errors
    /// What the store says.
    pub fn first(&self, keys: RangeInclusive<Vec<u8>>) -> Result<Option<StoredRow>, StoreError> {
        self.rows.range(keys).next().map(stored).transpose()
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

fn stored(guard: fjall::Guard) -> Result<StoredRow, StoreError> {
    let (key, value) = guard.into_inner().map_err(StoreError::while_trying_to("read rows"))?;
    Ok((key.to_vec(), value.to_vec()))
}

/// What a core wants of the store. `token` is repeated in the reply.
#[derive(Debug)]
pub struct StoreRequest {
    /// The core's name for it.
    pub token: u64,
    /// What.
    pub ask: StoreAsk,
}

/// See [`StoreRequest`].
#[derive(Debug)]
pub enum StoreAsk {
    /// Every row under each of these prefixes.
    Scan(Vec<Vec<u8>>),
    /// The first row in a range of keys.
    First(RangeInclusive<Vec<u8>>),
    /// Write these rows, all or none, and sync.
    Commit(Vec<Row>),
}

/// The answer to one [`StoreRequest`].
#[derive(Debug)]
pub struct StoreReply {
    /// As in the request.
    pub token: u64,
    /// The answer. An error of a Commit is final: the store takes no more.
    pub result: Result<StoreAnswer, StoreError>,
}

/// See [`StoreReply`].
#[derive(Debug)]
pub enum StoreAnswer {
    /// To a Scan or First: the rows found.
    Rows(Vec<StoredRow>),
    /// To a Commit.
    Committed,
}

/// A core's end.
#[derive(Debug)]
pub struct StorePort {
    requests: Producer<StoreRequest>,
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
    pub fn ask(&mut self, request: StoreRequest) {
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
    requests: Consumer<StoreRequest>,
    replies: Producer<StoreReply>,
    waker: Waker,
}

/// The side thread; dropping this ends it after it has served what was asked.
#[derive(Debug)]
pub struct StoreThread {
    thread: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
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
        let stop = stopping.clone();
        let thread = thread::Builder::new().name("state-store".into()).spawn(move || {
            let _ = sleeper.set(thread::current());
            serve(&store, &ends, &parker, &stop);
        })?;
        Ok((Self { thread: Some(thread), stopping, waker }, ports))
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

fn serve(store: &Store, cores: &[CoreEnd], parker: &Parker, stop: &AtomicBool) {
    let mut commits = VecDeque::new();
    loop {
        let mut worked = false;
        for (core, end) in cores.iter().enumerate() {
            let mut answered = false;
            while let Some(StoreRequest { token, ask }) = end.requests.pop() {
                worked = true;
                let result = match ask {
                    StoreAsk::Scan(prefixes) => scan_all(store, &prefixes),
                    StoreAsk::First(keys) => store.first(keys).map(|row| StoreAnswer::Rows(row.into_iter().collect())),
                    StoreAsk::Commit(rows) => {
                        commits.push_back((core, token, rows));
                        continue;
                    }
                };
                end.replies.push_reserved(StoreReply { token, result });
                answered = true;
            }
            if answered {
                end.waker.notify();
            }
        }
        if !commits.is_empty() {
            commit_all(store, cores, &mut commits);
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

fn scan_all(store: &Store, prefixes: &[Vec<u8>]) -> Result<StoreAnswer, StoreError> {
    let mut rows = Vec::new();
    for prefix in prefixes {
        rows.append(&mut store.scan(prefix)?);
    }
    Ok(StoreAnswer::Rows(rows))
}

/// Writes all commits that wait, syncs once, then answers them.
fn commit_all(store: &Store, cores: &[CoreEnd], commits: &mut VecDeque<(usize, u64, Vec<Row>)>) {
    let written: Vec<_> = commits.drain(..).map(|(core, token, rows)| (core, token, store.write(rows))).collect();
    let synced = store.sync();
    for (core, token, write) in written {
        // A failed sync fails all of them: which rows reached the disk is not known.
        let result = write.and_then(|()| synced.clone()).map(|()| StoreAnswer::Committed);
        cores[core].replies.push_reserved(StoreReply { token, result });
        cores[core].waker.notify();
    }
}

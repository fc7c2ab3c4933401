//! The side thread that serves the state store, and the cores' ports to it.
//!
//! Router cores never wait for it. Each core has a [`StorePort`]: a link of requests and a link of replies, both large
//! enough for everything that the core may have outstanding. Reads are served before writes. The rows of a commit and
//! the LSN that they cover are written as one batch and synced before the commit is answered.
//!
//! **When the disk is full** a commit is neither answered nor dropped: the thread gives up the reserve, and after a pause
//! opens the store again and writes the same rows; the pause doubles with every attempt. A snapshot that is on its way
//! keeps its shard from taking another, so what waits here is bounded. After any other error nothing more is written: a
//! sync that failed once may succeed later although rows before it are lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use switchyard_engine::recovery::StateRows;
use switchyard_engine::{StoreAsk, StoreFailed, StoreReply};
use switchyard_ring::{Consumer, Parker, Producer, Waker, link, wake};
use switchyard_router_core::effects::Row;
use switchyard_schema::ids::ShardId;

use crate::limits::{
    STORE_FLUSH_MS_MAX, STORE_REQUESTS_PER_CORE, STORE_RETRY_MS, STORE_RETRY_MS_MAX, STORE_ROOM_BYTES,
    STORE_WRITE_BUFFER_BYTES,
};
use crate::reserve::Reserve;
use crate::store::{Store, StoreError};

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
    pub(crate) fn spawn(
        store: Store,
        reserve: Arc<Reserve>,
        core_wakers: Vec<Waker>,
    ) -> std::io::Result<(Self, Vec<StorePort>)> {
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
            let folder = store.folder().to_path_buf();
            let pause = Duration::from_millis(STORE_RETRY_MS);
            let (store, commits) = (Some(store), VecDeque::new());
            let state = State::Working;
            Serving { store, folder, reserve, cores: ends, commits, state, pause, health }.serve(&parker, &stop);
        })?;
        Ok((Self { thread: Some(thread), stopping, healthy, waker }, ports))
    }

    /// False while the disk is too full for a write, and once a read or a write has failed.
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

/// Rows that wait to be written.
struct Commit {
    core: usize,
    shard: ShardId,
    rows: Vec<Row>,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum State {
    Working,
    /// The disk was full; commits are tried again then, after the store was opened again.
    Full {
        again_at: Instant,
    },
    /// An error that nothing heals: what was durable is read, nothing is written.
    Broken,
}

/// What the thread owns.
struct Serving {
    /// Absent while it could not be opened again.
    store: Option<Store>,
    folder: std::path::PathBuf,
    reserve: Arc<Reserve>,
    cores: Vec<CoreEnd>,
    commits: VecDeque<Commit>,
    state: State,
    /// The pause before the next attempt on a full disk.
    pause: Duration,
    health: Arc<AtomicBool>,
}

impl Serving {
    fn serve(mut self, parker: &Parker, stop: &AtomicBool) {
        loop {
            let mut worked = self.take_requests();
            worked |= self.write_commits();
            if worked {
                continue;
            }
            if stop.load(Ordering::Acquire) {
                if let (State::Working, Some(store)) = (self.state, &self.store) {
                    store.settle(Duration::from_millis(STORE_FLUSH_MS_MAX));
                }
                return;
            }
            parker.prepare_park();
            if self.cores.iter().all(|end| end.requests.is_empty()) && !stop.load(Ordering::Acquire) {
                match self.state {
                    State::Full { again_at } => {
                        thread::park_timeout(again_at.saturating_duration_since(Instant::now()))
                    }
                    State::Working | State::Broken => thread::park(),
                }
            }
            parker.awake();
        }
    }

    fn take_requests(&mut self) -> bool {
        let Self { cores, store, commits, state, health, .. } = self;
        let mut worked = false;
        for (core, end) in cores.iter().enumerate() {
            let mut answered = false;
            while let Some(ask) = end.requests.pop() {
                worked = true;
                let reply = match ask {
                    StoreAsk::Load { shard, key } => {
                        let rows = read(store.as_ref(), state, health, |store| store.scan(&key.prefix(shard)));
                        StoreReply::Loaded { shard, key, rows }
                    }
                    StoreAsk::Position { walk, key } => {
                        let value = read(store.as_ref(), state, health, |store| store.get(&key));
                        StoreReply::Position { walk, value }
                    }
                    StoreAsk::Commit { shard, rows } => {
                        commits.push_back(Commit { core, shard, rows });
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
        worked
    }

    /// Writes all commits that wait, syncs once, then answers them. Whether anything was tried.
    fn write_commits(&mut self) -> bool {
        if self.commits.is_empty() {
            return false;
        }
        match self.state {
            State::Working => {}
            State::Full { again_at } if again_at > Instant::now() => return false,
            State::Full { .. } => {
                if let Err(error) = self.open_again() {
                    self.failed(&error);
                    return true;
                }
            }
            State::Broken => {
                self.answer(Err(StoreFailed));
                return true;
            }
        }
        let Some(store) = &self.store else { return false };
        // A failed sync fails all of them: which rows reached the disk is not known.
        let written = self.commits.iter().try_for_each(|commit| store.write(&commit.rows));
        match written.and_then(|()| store.sync()) {
            Ok(()) => {
                if self.state != State::Working {
                    tracing::info!("the state store takes snapshots again");
                    self.health.store(true, Ordering::Relaxed);
                }
                self.state = State::Working;
                self.pause = Duration::from_millis(STORE_RETRY_MS);
                self.answer(Ok(()));
            }
            Err(error) => self.failed(&error),
        }
        true
    }

    /// A store that met a full disk takes no more writes until it is opened anew.
    fn open_again(&mut self) -> Result<(), StoreError> {
        if self.store.as_ref().is_some_and(|store| store.is_short_of(STORE_ROOM_BYTES)) {
            let detail = "the disk is still full".into();
            return Err(StoreError { action: "write rows", detail, is_full: true });
        }
        self.store = None;
        self.store = Some(Store::open(&self.folder)?);
        Ok(())
    }

    fn failed(&mut self, error: &StoreError) {
        // The store's own threads write too; that they failed shows in the next commit, without a reason. Space is looked at
        // before anybody is told, for whoever hears of a full disk makes room.
        let flush_bytes = 2 * STORE_WRITE_BUFFER_BYTES;
        let is_full = error.is_full || self.store.as_ref().is_none_or(|store| store.is_short_of(flush_bytes));
        self.health.store(false, Ordering::Relaxed);
        if is_full {
            self.reserve.give_up();
            tracing::error!(%error, pause = ?self.pause, "the disk is too full for a snapshot; it is tried again");
            self.state = State::Full { again_at: Instant::now() + self.pause };
            self.pause = (self.pause * 2).min(Duration::from_millis(STORE_RETRY_MS_MAX));
        } else {
            tracing::error!(%error, "the state store failed; it takes no more snapshots until the next start");
            self.state = State::Broken;
            self.answer(Err(StoreFailed));
        }
    }

    fn answer(&mut self, result: Result<(), StoreFailed>) {
        for Commit { core, shard, .. } in self.commits.drain(..) {
            self.cores[core].replies.push_reserved(StoreReply::Committed { shard, result });
            self.cores[core].waker.notify();
        }
    }
}

/// Reads, and turns the store's health red for good when that fails.
fn read<T>(
    store: Option<&Store>,
    state: &mut State,
    health: &AtomicBool,
    read: impl FnOnce(&Store) -> Result<T, StoreError>,
) -> Result<T, StoreFailed> {
    let store = store.ok_or(StoreFailed)?;
    read(store).map_err(|error| {
        health.store(false, Ordering::Relaxed);
        *state = State::Broken;
        tracing::error!(%error, "the state store could not be read; it takes no more snapshots until the next start");
        StoreFailed
    })
}

//! The state store: rows that are written at once, seen at once, and durable after a sync.
//!
//! It promises what `router/server` makes of fjall: the rows of one commit are atomic, commits are durable in their order,
//! and one is answered after the sync that followed it. What was written and not synced may be gone after a crash, from
//! some commit on.

use std::collections::{BTreeMap, VecDeque};

use switchyard_engine::recovery::StateRows;
use switchyard_engine::{StoreAsk, StoreFailed, StoreReply};
use switchyard_router_core::effects::Row;
use switchyard_schema::ids::ShardId;

use crate::agenda::{Event, Turn};
use crate::canary::Canary;
use crate::disk::{Crash, Unreadable};
use crate::fault::Fault;
use crate::shared::Shared;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The rows of all shards, and the side thread that serves them.
#[derive(Debug, Default)]
pub struct Store {
    seen: Rows,
    durable: Rows,
    /// What was written since the last sync, a commit each.
    unsynced: Vec<Vec<Row>>,
    asked: VecDeque<(u16, StoreAsk)>,
    /// Commits that wait for the sync under way, and whether their write failed.
    syncing: Vec<(u16, ShardId, bool)>,
    turn: Turn,
    pub(crate) failing: u32,
    /// False once a read or a write has failed in this life.
    pub(crate) healthy: bool,
    canary: Option<Canary>,
}

impl Store {
    /// An empty store, with the defect that a canary is about.
    #[must_use]
    pub fn new(canary: Option<Canary>) -> Self {
        Self { healthy: true, canary, ..Self::default() }
    }

    /// The server starts on it.
    pub(crate) fn start(&mut self) {
        self.healthy = true;
        self.turn = Turn::default();
    }

    pub(crate) fn ask(&mut self, shared: &mut Shared, core: u16, ask: StoreAsk) {
        self.asked.push_back((core, ask));
        self.wake(shared);
    }

    fn wake(&mut self, shared: &mut Shared) {
        if self.syncing.is_empty() && !self.asked.is_empty() {
            let at_us = shared.agenda.now_us() + shared.plan.store.draw(&mut shared.random);
            self.turn.ask(&mut shared.agenda, at_us, Event::Store { life: shared.life });
        }
    }

    /// A turn of the side thread: reads are answered, commits are written and then synced together.
    pub(crate) fn turn(&mut self, shared: &mut Shared) -> Vec<(u16, StoreReply)> {
        let mut replies = Vec::new();
        if !self.turn.begin(&shared.agenda) || !self.syncing.is_empty() {
            return replies;
        }
        for (core, ask) in std::mem::take(&mut self.asked) {
            match ask {
                StoreAsk::Load { shard, key } => {
                    let rows =
                        self.try_to(shared).and_then(|()| self.scan(&key.prefix(shard)).map_err(|_| StoreFailed));
                    replies.push((core, StoreReply::Loaded { shard, key, rows }));
                }
                StoreAsk::Position { walk, key } => {
                    let value = self.try_to(shared).map(|()| self.seen.get(&key).cloned());
                    replies.push((core, StoreReply::Position { walk, value }));
                }
                StoreAsk::Commit { shard, rows } => {
                    let failed = self.try_to(shared).is_err();
                    if !failed {
                        self.write(rows);
                    }
                    self.syncing.push((core, shard, failed));
                }
            }
        }
        if !self.syncing.is_empty() {
            let us = shared.plan.store.draw(&mut shared.random);
            shared.agenda.after(us, Event::StoreSynced { life: shared.life });
        }
        replies
    }

    /// The sync is over.
    pub(crate) fn synced(&mut self, shared: &mut Shared) -> Vec<(u16, StoreReply)> {
        let result = self.try_to(shared);
        if result.is_ok() {
            let kept = self.unsynced.len();
            self.keep(kept);
        }
        let answers = std::mem::take(&mut self.syncing).into_iter();
        let replies = answers.map(|(core, shard, failed)| {
            let result = if failed { Err(StoreFailed) } else { result };
            (core, StoreReply::Committed { shard, result })
        });
        let replies = replies.collect();
        self.wake(shared);
        replies
    }

    fn try_to(&mut self, shared: &mut Shared) -> Result<(), StoreFailed> {
        if self.failing == 0 {
            return Ok(());
        }
        self.failing -= 1;
        self.healthy = false;
        shared.trouble.store += 1;
        shared.counts.count(Fault::StoreError);
        shared.story.tell(shared.agenda.now_us(), format_args!("state store: a request fails"));
        Err(StoreFailed)
    }

    fn write(&mut self, mut rows: Vec<Row>) {
        if self.canary == Some(Canary::CursorBack) {
            rows.retain(|row| !Canary::is_inbox_row(&row.key) || !self.seen.contains_key(&row.key));
        }
        for row in &rows {
            apply(&mut self.seen, row);
        }
        self.unsynced.push(rows);
    }

    /// The first `count` commits of those that were not synced are durable.
    fn keep(&mut self, count: usize) {
        for row in self.unsynced.drain(..count).flatten() {
            apply(&mut self.durable, &row);
        }
    }

    /// The server is gone.
    pub(crate) fn crash(&mut self, shared: &mut Shared, crash: Crash) {
        let count = self.unsynced.len();
        let kept = match crash {
            Crash::Kill if shared.random.chance(500) => count,
            Crash::Kill | Crash::Power => shared.random.index(count + 1),
        };
        self.keep(kept);
        self.unsynced.clear();
        self.seen = self.durable.clone();
        self.asked.clear();
        self.syncing.clear();
    }
}

fn apply(rows: &mut Rows, row: &Row) {
    match &row.value {
        Some(value) => rows.insert(row.key.clone(), value.clone()),
        None => rows.remove(&row.key),
    };
}

impl StateRows for Store {
    type Error = Unreadable;

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, Unreadable> {
        let found = self.seen.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let rows = found.map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) });
        if self.canary == Some(Canary::DedupeForgotten) {
            return Ok(rows.filter(|row| !Canary::is_dedupe_row(&row.key)).collect());
        }
        Ok(rows.collect())
    }
}

//! A few shards with their messages, journals and store, all under the test's control: nothing becomes durable, is
//! loaded or crashes before the test says so.

use std::collections::{BTreeMap, HashMap, VecDeque};

use switchyard_router_core::effects::{
    Append, Envelope, HistoryRead, HistoryResult, Keep, LoadKey, Row, Snapshot, StorageState,
};
use switchyard_router_core::limits::INBOX_RECORD_MS;
use switchyard_router_core::peer::Peer;
use switchyard_router_core::rows::{decode_position, position_key};
use switchyard_router_core::{Effects, Shard, ShardConfig};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Receipt, Regarding, ServerFrame, Watermark};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::link::{PageReply, SessionRef, ToGateway, ToRouter};
use switchyard_schema::record::{MessageRecord, Record};

/// Beyond any room that is spent in a test.
pub(crate) const PLENTY: usize = usize::MAX / 2;
pub(crate) const START: Millis = Millis(1_800_000_000_000);

/// What a session saw.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Seen {
    Attached,
    Occupied,
    Refused(ErrorCode, Regarding),
    Accepted {
        name: ClientMessageId,
        conversation: ConversationId,
        message: MessageId,
        sequence: u64,
    },
    Deliver {
        conversation: ConversationId,
        sequence: u64,
        message: MessageId,
        own: Option<(DeviceId, ClientMessageId)>,
    },
    Receipt(Receipt),
    Page {
        request: u64,
        sequences: Vec<u64>,
        void: Vec<(u64, u64)>,
        watermarks: Vec<Watermark>,
        more: bool,
    },
    Replaced,
    Stalled,
}

/// What each shard keeps on disk.
#[derive(Default)]
struct Journal {
    records: Vec<(u64, u64, Record)>,
    placed: usize,
    durable_lsn: u64,
}

#[derive(Copy, Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u16,
    pub(crate) cores: u16,
    pub(crate) tail_bytes: usize,
    pub(crate) state_bytes: usize,
    pub(crate) hash_seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { shards: 4, cores: 2, tail_bytes: 1 << 20, state_bytes: 1 << 24, hash_seed: 7 }
    }
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) count: ShardCount,
    pub(crate) now: Millis,
    pub(crate) shards: Vec<Shard>,
    pub(crate) fx: Effects,
    /// Everything sessions saw, in order.
    pub(crate) seen: Vec<(SessionRef, Seen)>,
    /// Debug output of every effect, when the test wants it.
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) peers: VecDeque<Envelope>,
    pub(crate) loads: VecDeque<(ShardId, LoadKey)>,
    pub(crate) reads: VecDeque<(ShardId, HistoryRead)>,
    pub(crate) next_tick: Vec<Option<Millis>>,
    /// Positions below this were dropped with their segment.
    pub(crate) oldest_position: u64,
    pub(crate) ring_room: usize,
    pub(crate) history_reads: usize,
    pub(crate) appended: Vec<(ShardId, Record)>,
    journals: Vec<Journal>,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
    covered: Vec<u64>,
    held: Vec<Option<Snapshot>>,
    links: HashMap<u64, (MessageRecord, u64)>,
    last_position: u64,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let count = ShardCount::new(setup.shards).unwrap();
        let shards = usize::from(setup.shards);
        let mut world = Self {
            setup,
            count,
            now: START,
            shards: Vec::new(),
            fx: Effects::new(2, usize::from(setup.cores)),
            seen: Vec::new(),
            trace: None,
            peers: VecDeque::new(),
            loads: VecDeque::new(),
            reads: VecDeque::new(),
            next_tick: vec![None; shards],
            oldest_position: 0,
            ring_room: PLENTY,
            history_reads: 0,
            appended: Vec::new(),
            journals: (0..shards).map(|_| Journal::default()).collect(),
            store: BTreeMap::new(),
            covered: vec![0; shards],
            held: (0..shards).map(|_| None).collect(),
            links: HashMap::new(),
            last_position: 100,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let setup = self.setup;
        self.shards = (0..setup.shards)
            .map(|shard| {
                Shard::new(ShardConfig {
                    shard: ShardId(shard),
                    shard_count: self.count,
                    router_cores: setup.cores,
                    hash_seed: setup.hash_seed,
                    tail_bytes: setup.tail_bytes,
                    state_bytes: setup.state_bytes,
                })
            })
            .collect();
        self.fx = Effects::new(2, usize::from(setup.cores));
        for index in 0..self.shards.len() {
            let rows = self.rows(ShardId(u16::try_from(index).unwrap()), LoadKey::Shard);
            self.shards[index].install(LoadKey::Shard, &rows).unwrap();
            let records = std::mem::take(&mut self.journals[index].records);
            let mut last_lsn = self.covered[index];
            for (lsn, position, record) in &records {
                last_lsn = last_lsn.max(*lsn);
                if *lsn > self.covered[index] {
                    self.replay(index, *lsn, *position, record);
                }
            }
            self.journals[index].records = records;
            self.shards[index].recovered(last_lsn);
            self.next_tick[index] = Some(self.now);
        }
    }

    fn replay(&mut self, index: usize, lsn: u64, position: u64, record: &Record) {
        while let Some(key) = self.shards[index].needs(record) {
            let rows = self.rows(self.shards[index].id(), key);
            self.shards[index].install(key, &rows).unwrap();
        }
        self.shards[index].replay(lsn, position, record);
    }

    /// Everything in memory is gone, and every record that was not durable.
    pub(crate) fn crash(&mut self) {
        for journal in &mut self.journals {
            let durable = journal.durable_lsn;
            journal.records.retain(|(lsn, ..)| *lsn <= durable);
            journal.placed = journal.records.len();
        }
        self.held.iter_mut().for_each(|held| *held = None);
        (self.peers, self.loads, self.reads) = Default::default();
        self.start();
    }

    pub(crate) fn at_user(&mut self, user: UserId, input: ToRouter) {
        self.gateway(self.count.of_user(user), input);
    }

    pub(crate) fn at_conversation(&mut self, conversation: ConversationId, input: ToRouter) {
        self.gateway(self.count.of_conversation(conversation), input);
    }

    pub(crate) fn gateway(&mut self, shard: ShardId, input: ToRouter) {
        self.refill();
        self.shards[usize::from(shard.0)].handle_gateway(self.now, input, &mut self.fx);
        self.absorb();
    }

    /// Handles messages between shards, loads and reads until there are none.
    pub(crate) fn pump(&mut self) {
        loop {
            if let Some(envelope) = self.peers.pop_front() {
                self.peer(envelope);
            } else if let Some((shard, key)) = self.loads.pop_front() {
                self.load(shard, key);
            } else if let Some((shard, read)) = self.reads.pop_front() {
                self.read(shard, &read);
            } else {
                return;
            }
        }
    }

    pub(crate) fn peer(&mut self, envelope: Envelope) {
        self.refill();
        let Envelope { from, to, peer } = envelope;
        self.shards[usize::from(to.0)].handle_peer(self.now, from, peer, &mut self.fx);
        self.absorb();
    }

    pub(crate) fn load(&mut self, shard: ShardId, key: LoadKey) {
        let rows = self.rows(shard, key);
        self.refill();
        self.shards[usize::from(shard.0)].handle_loaded(self.now, key, rows, &mut self.fx);
        self.absorb();
    }

    pub(crate) fn read(&mut self, shard: ShardId, read: &HistoryRead) {
        self.history_reads += 1;
        let result = self.walk(shard, read);
        self.refill();
        self.shards[usize::from(shard.0)].handle_history(self.now, read.token, result, &mut self.fx);
        self.absorb();
    }

    /// Everything appended so far by one shard is durable.
    pub(crate) fn sync(&mut self, index: usize) {
        self.place(index);
        let journal = &mut self.journals[index];
        let lsn = journal.records.last().map_or(journal.durable_lsn, |(lsn, ..)| *lsn);
        if lsn > journal.durable_lsn {
            journal.durable_lsn = lsn;
            self.refill();
            self.shards[index].handle_durable(self.now, lsn, &mut self.fx);
            self.absorb();
        }
    }

    /// Seals the batch: messages get their positions.
    pub(crate) fn place(&mut self, index: usize) {
        let journal = &mut self.journals[index];
        for (_, position, record) in &mut journal.records[journal.placed..] {
            if let Record::Message(message) = record {
                self.last_position += 1;
                *position = self.last_position;
                let back = self.shards[index].place(message.conversation, message.sequence, *position);
                self.links.insert(*position, (message.clone(), back));
            }
        }
        journal.placed = journal.records.len();
    }

    pub(crate) fn snapshot(&mut self, index: usize) {
        if self.held[index].is_none() {
            self.held[index] = self.shards[index].take_snapshot();
        }
    }

    /// The store takes a snapshot, if one is held and durable.
    pub(crate) fn store_held(&mut self, index: usize) {
        let durable = self.journals[index].durable_lsn.max(self.covered[index]);
        let Some(snapshot) = self.held[index].take_if(|snapshot| snapshot.lsn <= durable) else { return };
        let covered = self.shards[index].coverable();
        assert!(covered >= self.covered[index] && covered <= snapshot.lsn, "a snapshot's tag only grows");
        self.covered[index] = covered;
        for Row { key, value } in snapshot.rows {
            match value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        self.shards[index].handle_stored();
    }

    /// Drops the records that snapshots cover, as retention of segments does.
    pub(crate) fn forget_covered(&mut self) {
        for (journal, covered) in self.journals.iter_mut().zip(&self.covered) {
            let before = journal.records.len();
            journal.records.retain(|(lsn, ..)| lsn > covered);
            journal.placed -= before - journal.records.len();
        }
    }

    pub(crate) fn tick_all(&mut self) {
        for index in 0..self.shards.len() {
            self.refill();
            self.next_tick[index] = self.shards[index].handle_tick(self.now, &mut self.fx);
            self.absorb();
        }
    }

    /// Lets everything that is under way finish: messages, batches, ticks that are due now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.pump();
            (0..self.shards.len()).for_each(|index| self.sync(index));
            self.tick_all();
            let due = self.next_tick.iter().flatten().any(|due| *due <= self.now.plus(1));
            let unsynced = self.journals.iter().any(|j| j.records.last().is_some_and(|(l, ..)| *l > j.durable_lsn));
            if self.peers.is_empty() && self.loads.is_empty() && self.reads.is_empty() && !due && !unsynced {
                (0..self.shards.len()).for_each(|index| self.store_held(index));
                return;
            }
            self.now = self.now.plus(u64::from(due));
        }
        panic!("the shards do not come to rest");
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
        self.settle();
    }

    /// Lets what members' shards were told be journaled and confirmed.
    pub(crate) fn confirm(&mut self) {
        self.settle();
        self.pass(INBOX_RECORD_MS);
    }

    pub(crate) fn storage(&mut self, state: StorageState) {
        for index in 0..self.shards.len() {
            self.refill();
            self.shards[index].handle_storage(self.now, state, &mut self.fx);
            self.absorb();
        }
    }

    fn rows(&self, shard: ShardId, key: LoadKey) -> Vec<Row> {
        let prefix = key.prefix(shard);
        let rows = self.store.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        rows.map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) }).collect()
    }

    /// The walk back over links that the engine does.
    fn walk(&self, shard: ShardId, read: &HistoryRead) -> HistoryResult {
        let row = self.store.get(&position_key(shard, read.conversation, read.last));
        let kept = row.map(|value| decode_position(value).unwrap());
        let (mut sequence, mut position) = kept.filter(|kept| kept.0 < read.start.0).unwrap_or(read.start);
        assert!(sequence >= read.last);
        let (mut messages, mut void_to) = (VecDeque::new(), Sequence::ZERO);
        let mut bytes = 0;
        while sequence >= read.first {
            if position < self.oldest_position || position == 0 {
                void_to = sequence;
                break;
            }
            let (message, back) = &self.links[&position];
            assert_eq!((message.conversation, message.sequence), (read.conversation, sequence));
            if sequence <= read.last {
                bytes += message.body.len();
                if read.keep == Keep::Newest && bytes > read.bytes && !messages.is_empty() {
                    break;
                }
                messages.push_front(message.clone());
                while bytes > read.bytes && messages.len() > 1 {
                    bytes -= messages.pop_back().map_or(0, |message: MessageRecord| message.body.len());
                }
            }
            (sequence, position) = (Sequence(sequence.0 - 1), *back);
        }
        HistoryResult::Messages { messages: messages.into(), given_up: Vec::new(), void_to }
    }

    fn refill(&mut self) {
        let room = self.ring_room;
        self.fx.gateway_room.fill(room);
        self.fx.core_room.fill(room);
    }

    fn absorb(&mut self) {
        if let Some(trace) = &mut self.trace {
            let Effects { records, to_gateways, to_shards, loads, reads, .. } = &self.fx;
            trace.push(format!("{records:?} {to_gateways:?} {to_shards:?} {loads:?} {reads:?}"));
        }
        for Append { shard, lsn, record } in self.fx.records.drain(..) {
            let journal = &mut self.journals[usize::from(shard.0)];
            assert!(journal.records.last().is_none_or(|(last, ..)| last + 1 == lsn), "LSNs are dense");
            self.appended.push((shard, record.clone()));
            journal.records.push((lsn, 0, record));
        }
        // A link counts everything that lies in it, so what left before takes room from an open message.
        let mut in_ring = vec![0; usize::from(self.setup.cores)];
        for envelope in self.fx.to_shards.drain(..) {
            let ahead = &mut in_ring[usize::from(envelope.to.0 % self.setup.cores)];
            assert!(envelope.peer.is_reserved() || *ahead < self.ring_room, "an open message takes room");
            *ahead += 1;
            self.peers.push_back(envelope);
        }
        self.loads.extend(self.fx.loads.drain(..));
        self.reads.extend(self.fx.reads.drain(..));
        let mut in_ring = [0; 2];
        for (gateway, message) in self.fx.to_gateways.drain(..) {
            let ahead = &mut in_ring[usize::from(gateway)];
            assert!(message.returns_credit() || *ahead < self.ring_room, "an open message takes room");
            *ahead += 1;
            record_seen(gateway, message, &mut self.seen);
        }
    }

    /// Handles one message between shards: any that no other of the same ring comes before.
    pub(crate) fn peer_of_any_ring(&mut self, pick: usize) {
        if self.peers.is_empty() {
            return;
        }
        let core = |shard: ShardId| shard.0 % self.setup.cores;
        let ring = |envelope: &Envelope| (core(envelope.from), core(envelope.to));
        let picked = ring(&self.peers[pick % self.peers.len()]);
        let first = self.peers.iter().position(|envelope| ring(envelope) == picked).unwrap();
        let envelope = self.peers.remove(first).unwrap();
        self.peer(envelope);
    }

    /// What a session saw since the last call, all others' aside.
    pub(crate) fn take_seen(&mut self, session: SessionRef) -> Vec<Seen> {
        let (mine, others) = std::mem::take(&mut self.seen).into_iter().partition(|(at, _)| *at == session);
        self.seen = others;
        let mine: Vec<(SessionRef, Seen)> = mine;
        mine.into_iter().map(|(_, seen)| seen).collect()
    }

    /// Sessions that lack messages, and the conversations that have them.
    pub(crate) fn behind(&self) -> (usize, usize) {
        let stats = self.shards.iter().map(|shard| shard.stats());
        stats.fold((0, 0), |sum, stats| (sum.0 + stats.sessions_behind, sum.1 + stats.conversations_behind))
    }

    /// Whether any message between shards waits that `wanted` knows.
    pub(crate) fn has_peer(&self, wanted: impl Fn(&Peer) -> bool) -> bool {
        self.peers.iter().any(|envelope| wanted(&envelope.peer))
    }
}

fn record_seen(gateway: u16, message: ToGateway, seen: &mut Vec<(SessionRef, Seen)>) {
    match message {
        ToGateway::Attached(at) => seen.push((at, Seen::Attached)),
        ToGateway::Occupied(at) => seen.push((at, Seen::Occupied)),
        ToGateway::Refused { session, code, regarding, .. } => seen.push((session, Seen::Refused(code, regarding))),
        ToGateway::Accepted { session, client_message_id, conversation, message, sequence } => {
            let sequence = sequence.0;
            seen.push((session, Seen::Accepted { name: client_message_id, conversation, message, sequence }));
        }
        ToGateway::Page(page) => {
            let PageReply { session, request, messages, void, watermarks, more, .. } = *page;
            let sequences = messages.iter().map(|message| message.sequence.0).collect();
            let void = void.iter().map(|void| (void.from.0, void.to.0)).collect();
            seen.push((session, Seen::Page { request, sequences, void, watermarks: watermarks.to_vec(), more }));
        }
        ToGateway::Deliver { sessions, frame } => {
            let Ok(ServerFrame::Deliver(deliver)) = switchyard_schema::wire::parse_server(frame.payload()) else {
                panic!("a Deliver frame is one")
            };
            for at in sessions {
                assert_eq!(at.gateway, gateway);
                let (conversation, sequence) = (deliver.conversation, deliver.sequence.0);
                let message = deliver.message;
                seen.push((at, Seen::Deliver { conversation, sequence, message, own: deliver.origin }));
            }
        }
        ToGateway::Receipt { sessions, receipt } => {
            seen.extend(sessions.into_iter().map(|at| (at, Seen::Receipt(receipt))));
        }
        ToGateway::Replaced(at) => seen.push((at, Seen::Replaced)),
        ToGateway::Stalled(at) => seen.push((at, Seen::Stalled)),
    }
}

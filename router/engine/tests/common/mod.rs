//! An engine over a journal in memory: the driver's part is played by the test.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use switchyard_engine::{Engine, EngineConfig, JournalRead, StoreAsk, StoreReply};
use switchyard_log::Position;
use switchyard_log::batch::SealedBatch;
use switchyard_log::manifest::VoidRegion;
use switchyard_log::segment::{SegmentHeader, ShardSet};
use switchyard_router_core::effects::Row;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Fetch, FetchRange};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Millis, ShardCount, UserId};
use switchyard_schema::link::{DeliverDraft, Origin, PageReply, SendRequest, SessionRef, ToGateway, ToRouter};

pub(crate) const SEGMENT_BYTES: u32 = 2 * 1024 * 1024;

/// One core, its journal and its store, all in memory. Nothing is written or stored unless the test says so.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) now: Millis,
    pub(crate) files: BTreeMap<u32, Vec<u8>>,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) commits: Vec<StoreAsk>,
    pub(crate) told: Vec<ToGateway>,
    pub(crate) in_flight: Option<SealedBatch<Vec<u8>>>,
    /// Where every batch lies.
    pub(crate) batches: Vec<VoidRegion>,
}

pub(crate) fn shards() -> ShardCount {
    ShardCount::new(4).expect("in range")
}

pub(crate) fn user(id: u64) -> UserId {
    UserId::new(id).expect("not zero")
}

pub(crate) fn origin(user_id: u64) -> Origin {
    let session = SessionRef { gateway: 0, slot: u32::try_from(user_id).expect("small"), epoch: 1 };
    Origin { session, user: user(user_id), device: DeviceId::new(1).expect("not zero") }
}

pub(crate) fn send(from: u64, to: u64, name: u128, body: &[u8]) -> ToRouter {
    let mut bytes = BytesMut::from(&[0; 24][..]);
    bytes.extend_from_slice(body);
    let end = bytes.len();
    ToRouter::Send(SendRequest {
        origin: origin(from),
        conversation: ConversationId::direct(user(from), user(to)),
        client_message_id: ClientMessageId(name.to_be_bytes()),
        begin_in_ms: 0,
        draft: DeliverDraft::new(bytes, 0, 0, 24..end),
    })
}

impl Core {
    pub(crate) fn new(tail_bytes: usize) -> Self {
        let mut config = EngineConfig::new(0, 1, 1, shards());
        config.tail_bytes = tail_bytes;
        Self::of(config)
    }

    /// Snapshots of its shards are due within a second, whatever the settings.
    pub(crate) fn of(mut config: EngineConfig) -> Self {
        config.snapshots.every_ms = 1_000;
        let engine = Engine::new(config, 1);
        let mut core = Self {
            engine,
            now: Millis(1_800_000_000_000),
            files: BTreeMap::new(),
            rows: BTreeMap::new(),
            commits: Vec::new(),
            told: Vec::new(),
            in_flight: None,
            batches: Vec::new(),
        };
        core.segment(1);
        core
    }

    pub(crate) fn segment(&mut self, number: u32) {
        let header = SegmentHeader {
            number,
            run: 1,
            core: 0,
            shard_count: shards(),
            salt: 7,
            created: self.now,
            bytes: SEGMENT_BYTES,
            shards: ShardSet::all(shards()),
        };
        self.files.insert(number, vec![0; SEGMENT_BYTES as usize]);
        self.engine.handle_segment(self.now, header);
    }

    pub(crate) fn conversation(&mut self, message: ToRouter) {
        let shard = match &message {
            ToRouter::Send(request) => shards().of_conversation(request.conversation),
            ToRouter::Fetch { fetch, .. } => shards().of_conversation(fetch.conversation),
            ToRouter::Attach(origin)
            | ToRouter::AttachEarly(origin)
            | ToRouter::Ack { origin, .. }
            | ToRouter::Detach { origin, .. } => shards().of_user(origin.user),
        };
        self.engine.set_gateway_room(0, 1000);
        self.engine.set_core_room(0, 1000);
        self.engine.handle_gateway(self.now, shard, message);
        self.serve();
    }

    /// Answers loads and reads at once, keeps commits back.
    pub(crate) fn serve(&mut self) {
        loop {
            let outbox = self.engine.outbox();
            self.told.extend(outbox.to_gateways.drain(..).map(|(_, message)| message));
            assert!(outbox.to_cores.is_empty(), "there is only one core");
            let asks: Vec<StoreAsk> = outbox.store.drain(..).collect();
            let reads: Vec<JournalRead> = outbox.reads.drain(..).collect();
            if asks.is_empty() && reads.is_empty() {
                return;
            }
            for ask in asks {
                match ask {
                    StoreAsk::Load { shard, key } => {
                        let prefix = key.prefix(shard);
                        let found = self.rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
                        let rows = found.map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) });
                        let rows = Ok(rows.collect());
                        self.engine.handle_store(self.now, StoreReply::Loaded { shard, key, rows });
                    }
                    StoreAsk::Position { walk, key } => {
                        let value = Ok(self.rows.get(&key).cloned());
                        self.engine.handle_store(self.now, StoreReply::Position { walk, value });
                    }
                    commit @ StoreAsk::Commit { .. } => self.commits.push(commit),
                }
            }
            for read in reads {
                let file = &self.files[&read.range.segment];
                let from = read.range.offset as usize;
                let to = (from + read.range.bytes as usize).min(file.len());
                self.engine.handle_read(self.now, read, Some(Bytes::copy_from_slice(&file[from..to])));
            }
        }
    }

    /// Begins the next batch, when one is due; gives its records.
    pub(crate) fn seal(&mut self) -> Option<u32> {
        let batch = self.engine.poll_batch(self.now, |bytes| vec![0; bytes]).expect("a segment is there")?;
        let count = batch.header.record_count;
        self.in_flight = Some(batch);
        Some(count)
    }

    pub(crate) fn written(&mut self) {
        let batch = self.in_flight.take().expect("a batch is in flight");
        let file = self.files.get_mut(&batch.position.segment).expect("its segment");
        let from = batch.position.offset as usize;
        file[from..from + batch.bytes().len()].copy_from_slice(batch.bytes());
        let Position { segment, offset } = batch.position;
        self.batches.push(VoidRegion { segment, from: offset, to: offset + batch.bytes });
        self.engine.handle_written(self.now);
        self.serve();
    }

    /// Everything that waits becomes durable; snapshots are stored.
    pub(crate) fn rest(&mut self, ms: u64) {
        self.rest_with(ms, Self::store);
    }

    /// As [`Core::rest`], with what is to become of snapshots.
    pub(crate) fn rest_with(&mut self, ms: u64, store: impl Fn(&mut Self)) {
        let until = self.now.0 + ms;
        while self.now.0 < until {
            self.now.0 += 1;
            self.engine.handle_tick(self.now);
            self.serve();
            while self.seal().is_some() {
                self.written();
            }
            store(self);
        }
    }

    pub(crate) fn store(&mut self) {
        for ask in std::mem::take(&mut self.commits) {
            let StoreAsk::Commit { shard, rows } = ask else { continue };
            for Row { key, value } in rows {
                match value {
                    Some(value) => self.rows.insert(key, value),
                    None => self.rows.remove(&key),
                };
            }
            self.engine.handle_store(self.now, StoreReply::Committed { shard, result: Ok(()) });
            self.serve();
        }
    }

    pub(crate) fn accepted(&mut self) -> Vec<u64> {
        let told = std::mem::take(&mut self.told);
        let sequence = |message: &ToGateway| match message {
            ToGateway::Accepted { sequence, .. } => Some(sequence.0),
            _ => None,
        };
        told.iter().filter_map(sequence).collect()
    }

    pub(crate) fn refused(&mut self) -> Vec<ErrorCode> {
        let told = std::mem::take(&mut self.told);
        let code = |message: &ToGateway| match message {
            ToGateway::Refused { code, .. } => Some(*code),
            _ => None,
        };
        told.iter().filter_map(code).collect()
    }

    /// Damages the record whose body is `body` and gives the batch that holds it.
    pub(crate) fn damage(&mut self, body: &[u8]) -> VoidRegion {
        let (number, file) = self.files.iter_mut().next().expect("a segment");
        let at = file.windows(body.len()).position(|bytes| bytes == body).expect("the body is there");
        file[at] ^= 1;
        let at = u32::try_from(at).expect("a segment is below 4 GiB");
        let holds = |batch: &&VoidRegion| batch.segment == *number && (batch.from..batch.to).contains(&at);
        *self.batches.iter().find(holds).expect("it is in a batch")
    }

    pub(crate) fn fetch(&mut self, reader: u64, with: u64, range: FetchRange) -> Box<PageReply> {
        let conversation = ConversationId::direct(user(reader), user(with));
        let fetch = Fetch { request: 1, conversation, range, limit: 100 };
        self.conversation(ToRouter::Fetch { origin: origin(reader), fetch });
        let page = |message| if let ToGateway::Page(page) = message { Some(page) } else { None };
        let told = std::mem::take(&mut self.told);
        told.into_iter().find_map(page).expect("a page")
    }
}

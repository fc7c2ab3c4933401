//! An engine over a journal in memory: the driver's part is played by the test.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use switchyard_engine::{Engine, EngineConfig, JournalRead, StoreAsk, StoreReply};
use switchyard_log::Position;
use switchyard_log::batch::SealedBatch;
use switchyard_log::limits::BATCH_BYTES_MAX;
use switchyard_log::manifest::{Manifest, VoidRegion};
use switchyard_log::segment::{SegmentHeader, ShardSet};
use switchyard_router_core::effects::{Row, StorageState};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Fetch, FetchRange, ServerFrame, VoidRange};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Millis, Sequence, ShardCount, UserId};
use switchyard_schema::link::{DeliverDraft, Origin, PageReply, SendRequest, SessionRef, ToGateway, ToRouter};
use switchyard_schema::wire;

const SEGMENT_BYTES: u32 = 2 * 1024 * 1024;

/// One core, its journal and its store, all in memory. Nothing is written or stored unless the test says so.
struct Core {
    engine: Engine,
    now: Millis,
    files: BTreeMap<u32, Vec<u8>>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    commits: Vec<StoreAsk>,
    told: Vec<ToGateway>,
    in_flight: Option<SealedBatch<Vec<u8>>>,
    /// Where every batch lies.
    batches: Vec<VoidRegion>,
}

fn shards() -> ShardCount {
    ShardCount::new(4).expect("in range")
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("not zero")
}

fn origin(user_id: u64) -> Origin {
    let session = SessionRef { gateway: 0, slot: u32::try_from(user_id).expect("small"), epoch: 1 };
    Origin { session, user: user(user_id), device: DeviceId::new(1).expect("not zero") }
}

fn send(from: u64, to: u64, name: u128, body: &[u8]) -> ToRouter {
    let mut bytes = BytesMut::from(&[0; 24][..]);
    bytes.extend_from_slice(body);
    let end = bytes.len();
    ToRouter::Send(SendRequest {
        origin: origin(from),
        conversation: ConversationId::direct(user(from), user(to)),
        client_message_id: ClientMessageId(name.to_be_bytes()),
        draft: DeliverDraft::new(bytes, 0, 0, 24..end),
    })
}

impl Core {
    fn new(tail_bytes: usize) -> Self {
        let mut config = EngineConfig::new(0, 1, 1, shards());
        config.tail_bytes = tail_bytes;
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

    fn segment(&mut self, number: u32) {
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

    fn conversation(&mut self, message: ToRouter) {
        let shard = match &message {
            ToRouter::Send(request) => shards().of_conversation(request.conversation),
            ToRouter::Fetch { fetch, .. } => shards().of_conversation(fetch.conversation),
            ToRouter::Attach(origin) | ToRouter::Ack { origin, .. } | ToRouter::Detach { origin, .. } => {
                shards().of_user(origin.user)
            }
        };
        self.engine.set_gateway_room(0, 1000);
        self.engine.set_core_room(0, 1000);
        self.engine.handle_gateway(self.now, shard, message);
        self.serve();
    }

    /// Answers loads and reads at once, keeps commits back.
    fn serve(&mut self) {
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
    fn seal(&mut self) -> Option<u32> {
        let batch = self.engine.poll_batch(self.now, |bytes| vec![0; bytes]).expect("a segment is there")?;
        let count = batch.header.record_count;
        self.in_flight = Some(batch);
        Some(count)
    }

    fn written(&mut self) {
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
    fn rest(&mut self, ms: u64) {
        let until = self.now.0 + ms;
        while self.now.0 < until {
            self.now.0 += 1;
            self.engine.handle_tick(self.now);
            self.serve();
            while self.seal().is_some() {
                self.written();
            }
            self.store();
        }
    }

    fn store(&mut self) {
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

    fn accepted(&mut self) -> Vec<u64> {
        let told = std::mem::take(&mut self.told);
        let sequence = |message: &ToGateway| match message {
            ToGateway::Accepted { sequence, .. } => Some(sequence.0),
            _ => None,
        };
        told.iter().filter_map(sequence).collect()
    }

    fn refused(&mut self) -> Vec<ErrorCode> {
        let told = std::mem::take(&mut self.told);
        let code = |message: &ToGateway| match message {
            ToGateway::Refused { code, .. } => Some(*code),
            _ => None,
        };
        told.iter().filter_map(code).collect()
    }

    /// Damages the record whose body is `body` and gives the batch that holds it.
    fn damage(&mut self, body: &[u8]) -> VoidRegion {
        let (number, file) = self.files.iter_mut().next().expect("a segment");
        let at = file.windows(body.len()).position(|bytes| bytes == body).expect("the body is there");
        file[at] ^= 1;
        let at = u32::try_from(at).expect("a segment is below 4 GiB");
        let holds = |batch: &&VoidRegion| batch.segment == *number && (batch.from..batch.to).contains(&at);
        *self.batches.iter().find(holds).expect("it is in a batch")
    }

    fn fetch(&mut self, reader: u64, with: u64, range: FetchRange) -> Box<PageReply> {
        let conversation = ConversationId::direct(user(reader), user(with));
        let fetch = Fetch { request: 1, conversation, range, limit: 100 };
        self.conversation(ToRouter::Fetch { origin: origin(reader), fetch });
        let page = |message| if let ToGateway::Page(page) = message { Some(page) } else { None };
        let told = std::mem::take(&mut self.told);
        told.into_iter().find_map(page).expect("a page")
    }
}

#[test]
fn given_a_send_when_its_batch_is_only_in_flight_then_nothing_is_told() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.rest(10);
    core.told.clear();
    core.conversation(send(1, 2, 1, b"hi"));
    assert!(core.seal().is_some(), "somebody waits for it: it is sealed at once");
    core.serve();
    assert!(core.accepted().is_empty());
    core.conversation(send(1, 2, 2, b"meanwhile"));
    assert_eq!(core.seal(), None, "one batch is in flight");
    core.written();
    assert_eq!(core.accepted(), [1], "what is in the next batch is not told yet");
    assert!(core.seal().is_some());
    core.written();
    assert_eq!(core.accepted(), [2]);
}

#[test]
fn given_records_that_nobody_waits_for_then_they_wait_for_company_and_no_longer() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.conversation(ToRouter::Attach(origin(2)));
    core.rest(10);
    core.conversation(send(1, 2, 1, b"hi"));
    assert!(core.seal().is_some());
    core.written();
    assert_eq!(core.seal(), None, "inbox records wait");
    let deadline = core.engine.deadline().expect("they do not wait for ever");
    assert!(deadline.0 <= core.now.0 + 2);
    core.now = Millis(core.now.0 + 2);
    assert!(core.seal().is_some());
}

#[test]
fn given_more_than_a_batch_holds_then_it_goes_into_several_in_order() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.rest(10);
    core.told.clear();
    let body = vec![7; 50 * 1024];
    for name in 1..=30 {
        core.conversation(send(1, 2, name, &body));
    }
    let mut batches = 0;
    while core.seal().is_some() {
        assert!(core.in_flight.as_ref().is_some_and(|batch| batch.bytes <= BATCH_BYTES_MAX));
        core.written();
        batches += 1;
    }
    assert!(batches >= 3, "{batches} batches for 1.5 MB");
    assert_eq!(core.accepted(), (1..=30).collect::<Vec<u64>>());
}

#[test]
fn given_a_changed_shard_when_its_snapshot_is_due_then_it_is_held_until_durable() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.rest(10);
    core.conversation(send(1, 2, 1, b"hi"));
    assert!(core.seal().is_some());
    core.now = Millis(core.now.0 + 5_000);
    core.engine.handle_tick(core.now);
    core.serve();
    let shard = shards().of_conversation(ConversationId::direct(user(1), user(2)));
    let of_shard = |ask: &StoreAsk| matches!(ask, StoreAsk::Commit { shard: of, .. } if *of == shard);
    assert!(!core.commits.iter().any(of_shard), "the message is not durable");
    core.written();
    core.engine.handle_tick(core.now);
    core.serve();
    assert!(core.commits.iter().any(of_shard), "now it is");
}

#[test]
fn given_history_that_left_memory_then_a_fetch_walks_the_journal_in_order() {
    let mut core = Core::new(0);
    core.conversation(ToRouter::Attach(origin(1)));
    core.conversation(ToRouter::Attach(origin(2)));
    for name in 1..=250_u128 {
        core.conversation(send(1, 2, name, &name.to_le_bytes()));
        if name % 7 == 0 {
            core.rest(3);
        }
    }
    core.rest(3_000);
    core.told.clear();
    let page = core.fetch(2, 1, FetchRange::After(Sequence(60)));
    let sequences: Vec<u64> = page.messages.iter().map(|message| message.sequence.0).collect();
    assert_eq!(sequences, (61..=160).collect::<Vec<u64>>());
    assert!(page.messages.iter().all(|message| *message.body == u128::from(message.sequence.0).to_le_bytes()));
    assert_eq!(page.void, []);
    let page = core.fetch(2, 1, FetchRange::Before(Sequence(11)));
    assert_eq!(page.messages.len(), 10);
}

#[test]
fn given_dropped_segments_when_history_below_is_fetched_then_it_is_void() {
    let mut core = Core::new(0);
    core.conversation(ToRouter::Attach(origin(1)));
    let body = vec![3; 40 * 1024];
    for name in 1..=80 {
        if name == 20 {
            core.segment(2);
        }
        core.conversation(send(1, 2, name, &body));
        core.rest(3);
    }
    core.rest(2_000);
    core.engine.set_oldest_segment(2);
    core.told.clear();
    let page = core.fetch(1, 2, FetchRange::After(Sequence(0)));
    let void = page.void.first().expect("a void");
    assert_eq!(void.from, Sequence(1));
    let first = page.messages.first().expect("what is left");
    assert_eq!(first.sequence, Sequence(void.to.0 + 1));
}

/// 250 messages of user 1 to user 2, one of them damaged, and nothing of them in memory. Gives the damaged batch.
fn with_damage_at(name: u128) -> (Core, VoidRegion) {
    let mut core = Core::new(0);
    core.conversation(ToRouter::Attach(origin(1)));
    for name in 1..=250_u128 {
        core.conversation(send(1, 2, name, &(0xabcd_0000_0000 + name).to_be_bytes()));
        if name % 7 == 0 {
            core.rest(3);
        }
    }
    core.rest(3_000);
    core.told.clear();
    let region = core.damage(&(0xabcd_0000_0000 + name).to_be_bytes());
    (core, region)
}

fn repaired(region: VoidRegion) -> Manifest {
    let mut manifest = Manifest::new(shards());
    manifest.begin_run();
    let header = manifest.allocate(0, &ShardSet::all(shards()), SEGMENT_BYTES, 7, Millis(0)).expect("the first");
    manifest.list(&header);
    assert!(manifest.accept_void(region));
    manifest
}

#[test]
fn given_a_damaged_record_when_fetched_then_refused_until_a_repair_gave_it_up() {
    let (mut core, region) = with_damage_at(150);
    let conversation = ConversationId::direct(user(1), user(2));
    let fetch = Fetch { request: 1, conversation, range: FetchRange::After(Sequence(100)), limit: 100 };
    core.conversation(ToRouter::Fetch { origin: origin(2), fetch });
    assert_eq!(core.refused(), [ErrorCode::ShardDamaged]);

    core.engine.set_kept(&repaired(region));
    let page = core.fetch(2, 1, FetchRange::After(Sequence(100)));
    // The link of message 150 is lost with it; the store knows the place of message 128.
    assert_eq!(page.void, [VoidRange { from: Sequence(129), to: Sequence(150) }]);
    let sequences: Vec<u64> = page.messages.iter().map(|message| message.sequence.0).collect();
    assert_eq!(sequences, (101..=128).chain(151..=200).collect::<Vec<u64>>());
    assert!(page.more);

    let page = core.fetch(2, 1, FetchRange::After(Sequence(140)));
    assert_eq!(page.void, [VoidRange { from: Sequence(141), to: Sequence(150) }], "no more than was asked for");
    assert_eq!(page.messages[0].sequence, Sequence(151));
    let page = core.fetch(2, 1, FetchRange::Before(Sequence(151)));
    assert_eq!(page.void, [VoidRange { from: Sequence(129), to: Sequence(150) }]);
    assert_eq!(page.messages.len(), 78);
    assert!(page.more, "older messages are still there");
}

#[test]
fn given_the_newest_message_given_up_when_fetched_then_the_page_ends_with_the_void() {
    let (mut core, region) = with_damage_at(250);
    core.engine.set_kept(&repaired(region));
    let page = core.fetch(2, 1, FetchRange::After(Sequence(180)));
    assert_eq!(page.void, [VoidRange { from: Sequence(193), to: Sequence(250) }]);
    assert_eq!(page.messages.len(), 12);
    assert!(!page.more);
}

#[test]
fn given_a_message_given_up_when_a_device_catches_up_then_it_gets_everything_else_in_order() {
    let (mut core, region) = with_damage_at(150);
    core.engine.set_kept(&repaired(region));
    core.conversation(ToRouter::Attach(origin(2)));
    core.rest(1_000);
    let delivered = core.told.iter().filter_map(|message| match message {
        ToGateway::Deliver { frame, .. } => match wire::parse_server(frame.payload()) {
            Ok(ServerFrame::Deliver(deliver)) => Some(deliver.sequence.0),
            other => panic!("not a Deliver: {other:?}"),
        },
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<u64>>(), (1..=128).chain(151..=250).collect::<Vec<u64>>());
}

#[test]
fn given_a_failed_write_then_its_sends_and_all_later_ones_are_refused() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.rest(10);
    core.told.clear();
    core.conversation(send(1, 2, 1, b"lost"));
    assert!(core.seal().is_some());
    core.engine.handle_write_failed(core.now);
    core.serve();
    assert_eq!(core.refused(), [ErrorCode::StorageUnavailable]);
    core.conversation(send(1, 2, 2, b"too late"));
    assert_eq!(core.refused(), [ErrorCode::StorageUnavailable]);
    assert_eq!(core.seal(), None, "nothing more is written");
    core.segment(9);
    assert_eq!(core.engine.storage(), StorageState::Failed, "a segment does not heal it");
}

#[test]
fn given_a_full_disk_then_sends_are_refused_until_there_is_a_segment_again() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.rest(10);
    core.engine.handle_disk_full(core.now);
    core.told.clear();
    core.conversation(send(1, 2, 1, b"no room"));
    assert_eq!(core.refused(), [ErrorCode::StorageUnavailable]);
    core.conversation(ToRouter::Attach(origin(1)));
    core.rest(10);
    assert!(core.told.iter().any(|message| matches!(message, ToGateway::Attached(_))), "the rest goes on");
    core.segment(2);
    core.told.clear();
    core.conversation(send(1, 2, 1, b"room"));
    core.rest(5);
    assert_eq!(core.accepted(), [1]);
}

#[test]
fn given_a_clean_stop_then_everything_is_covered_and_the_journal_is_closed() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.conversation(ToRouter::Attach(origin(2)));
    for name in 1..=20 {
        core.conversation(send(1, 2, name, b"x"));
    }
    core.engine.begin_stop();
    core.rest(300);
    assert!(core.engine.is_settled(), "everything is durable and confirmed");
    core.engine.begin_final_snapshots(core.now);
    core.serve();
    core.store();
    core.rest(300);
    assert!(core.engine.has_final_snapshots());
    let covered: u64 = core.engine.covered().map(|(_, lsn)| lsn).sum();
    assert!(covered >= 22, "{covered} records are covered");
    assert!(core.engine.stop_mark(|bytes| vec![0; bytes]).is_some());
    core.engine.handle_written(core.now);
    assert_eq!(core.engine.finish().len(), 1);
}

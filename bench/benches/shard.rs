//! One shard: what a Send costs from the gateway's message to the durable answer and the live delivery, without IO.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchyard_router_core::effects::LoadKey;
use switchyard_router_core::{Effects, Shard, ShardConfig};
use switchyard_schema::frame::Ack;
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::link::{Origin, SendRequest, SessionRef, ToGateway, ToRouter};
use switchyard_schema::record::Record;
use switchyard_schema::{body, encode};

const SHARD: ShardId = ShardId(0);
const BATCH: u64 = 16;

/// A deployment of one shard, whose journal is durable at once and whose store is empty.
struct World {
    shard: Shard,
    fx: Effects,
    now: Millis,
    placed: u64,
    body: Vec<u8>,
    numbers: u64,
    delivered: u64,
    accepted: u64,
}

fn user(number: u64) -> UserId {
    UserId::new(number).expect("not zero")
}

fn origin(number: u32) -> Origin {
    let session = SessionRef { gateway: 0, slot: number, epoch: 1 };
    Origin { session, user: user(u64::from(number)), device: DeviceId::new(1).expect("not zero") }
}

impl World {
    fn new() -> Self {
        let mut shard = Shard::new(ShardConfig {
            shard: SHARD,
            shard_count: ShardCount::new(1).expect("one shard"),
            router_cores: 1,
            hash_seed: 7,
            tail_bytes: 1 << 20,
            state_bytes: 64 << 20,
        });
        shard.install(LoadKey::Shard, &[]).expect("a new shard has no rows");
        shard.recovered(0);
        let mut world = Self {
            shard,
            fx: Effects::new(1, 1),
            now: Millis(1_800_000_000_000),
            placed: 0,
            body: body::text(&"x".repeat(100)),
            numbers: 0,
            delivered: 0,
            accepted: 0,
        };
        for number in [1, 2] {
            world.give(ToRouter::Attach(origin(number)));
        }
        world.settle();
        world
    }

    fn give(&mut self, input: ToRouter) {
        self.fx.gateway_room.fill(usize::MAX);
        self.fx.core_room.fill(usize::MAX);
        self.shard.handle_gateway(self.now, input, &mut self.fx);
    }

    fn send(&mut self) {
        self.numbers += 1;
        let conversation = ConversationId::direct(user(1), user(2));
        let mut name = [0; 16];
        name[8..].copy_from_slice(&self.numbers.to_be_bytes());
        let draft = encode::deliver_draft(conversation, user(1), &self.body);
        self.give(ToRouter::Send(SendRequest {
            origin: origin(1),
            conversation,
            client_message_id: ClientMessageId(name),
            begin_in_ms: 0,
            draft,
        }));
    }

    fn ack(&mut self) {
        let conversation = ConversationId::direct(user(1), user(2));
        let ack = Ack { conversation, delivered: Some(Sequence(self.delivered)), read: None };
        self.give(ToRouter::Ack { origin: origin(2), ack });
    }

    /// Loads, delivers between shards and makes durable, until nothing is left to do.
    fn settle(&mut self) {
        self.now = self.now.plus(1);
        loop {
            let (loads, letters, records) = (
                std::mem::take(&mut self.fx.loads),
                std::mem::take(&mut self.fx.to_shards),
                std::mem::take(&mut self.fx.records),
            );
            if loads.is_empty() && letters.is_empty() && records.is_empty() {
                break;
            }
            for (_, key) in loads {
                self.shard.handle_loaded(self.now, key, Vec::new(), &mut self.fx);
            }
            for letter in letters {
                self.shard.handle_peer(self.now, letter.from, letter.peer, &mut self.fx);
            }
            for append in &records {
                if let Record::Message(message) = &append.record {
                    self.placed += 1;
                    self.shard.place(message.conversation, message.sequence, self.placed);
                }
            }
            if let Some(last) = records.last() {
                self.shard.handle_durable(self.now, last.lsn, &mut self.fx);
            }
        }
        for (_, message) in self.fx.to_gateways.drain(..) {
            match message {
                ToGateway::Accepted { .. } => self.accepted += 1,
                ToGateway::Deliver { sessions, .. } if sessions[0] == origin(2).session => self.delivered += 1,
                _ => {}
            }
        }
    }
}

fn on_send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard");
    group.throughput(Throughput::Elements(BATCH));
    let mut world = World::new();
    group.bench_function("16 sends, durable together: accepted, delivered, acknowledged, receipted", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                world.send();
            }
            world.settle();
            world.ack();
            world.settle();
        });
    });
    assert_eq!((world.accepted, world.delivered), (world.numbers, world.numbers), "every message goes its whole way");
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3));
    targets = on_send
}
criterion_main!(benches);

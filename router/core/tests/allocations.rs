//! How often a routed message asks for memory in a shard: Send, Accepted, Deliver, Ack, Receipt, and all the facts.

#[path = "../../../schema/tests/common/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::{Counting, allocations};
use switchyard_router_core::{Effects, Shard, ShardConfig};
use switchyard_schema::encode::deliver_draft;
use switchyard_schema::frame::Ack;
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::link::{Origin, SendRequest, SessionRef, ToRouter};
use switchyard_schema::record::Record;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Millis = Millis(1_800_000_000_000);
/// The message as shards hand it on, and the count of who shares the frame.
const ALLOCATIONS_PER_MESSAGE: usize = 2;
/// Lists grow now and then.
const ALLOCATIONS_ASIDE: usize = 20;

struct Core {
    shard: Shard,
    fx: Effects,
    peers: Vec<switchyard_router_core::effects::Envelope>,
    answers: usize,
}

impl Core {
    fn take(&mut self, input: ToRouter) {
        self.shard.handle_gateway(NOW, input, &mut self.fx);
        self.rest();
    }

    /// Hands messages over, loads what is asked for as absent, and makes batches durable, until nothing is left.
    fn rest(&mut self) {
        let mut lsn = 0;
        loop {
            self.fx.gateway_room.fill(1000);
            self.fx.core_room.fill(usize::MAX);
            self.answers += self.fx.to_gateways.drain(..).count();
            while let Some((_, key)) = self.fx.loads.pop() {
                self.shard.handle_loaded(NOW, key, Vec::new(), &mut self.fx);
            }
            for append in self.fx.records.drain(..) {
                lsn = append.lsn;
                if let Record::Message(message) = append.record {
                    self.shard.place(message.conversation, message.sequence, append.lsn);
                }
            }
            std::mem::swap(&mut self.peers, &mut self.fx.to_shards);
            if self.peers.is_empty() && lsn == 0 {
                return;
            }
            for envelope in self.peers.drain(..) {
                self.shard.handle_peer(NOW, envelope.from, envelope.peer, &mut self.fx);
            }
            self.shard.handle_durable(NOW, std::mem::take(&mut lsn).max(1).min(self.shard.last_lsn()), &mut self.fx);
        }
    }
}

#[test]
fn given_a_running_chat_when_a_message_is_routed_then_memory_is_asked_for_a_few_times_only() {
    let shard = Shard::new(ShardConfig {
        shard: ShardId(0),
        shard_count: ShardCount::new(1).unwrap(),
        router_cores: 1,
        hash_seed: 7,
        tail_bytes: 100_000,
        state_bytes: 1 << 20,
    });
    let mut core = Core { shard, fx: Effects::new(1, 1), peers: Vec::new(), answers: 0 };
    let origins = [1_u64, 2].map(|user| Origin {
        session: SessionRef { gateway: 0, slot: u32::try_from(user).unwrap(), epoch: 1 },
        user: UserId::new(user).unwrap(),
        device: DeviceId::new(1).unwrap(),
    });
    origins.into_iter().for_each(|origin| core.take(ToRouter::Attach(origin)));
    let conversation = ConversationId::direct(origins[0].user, origins[1].user);
    let body = switchyard_schema::body::text("hi");
    let mut asked = 0;
    for number in 1..=1500_u64 {
        let mut client_message_id = ClientMessageId([0; 16]);
        client_message_id.0[8..].copy_from_slice(&number.to_be_bytes());
        let draft = deliver_draft(conversation, origins[0].user, &body);
        let send = SendRequest { origin: origins[0], conversation, client_message_id, begin_in_ms: 0, draft };
        let ack = Ack { conversation, delivered: Some(Sequence(number)), read: None };
        let before = core.answers;
        let ((), count) = allocations(|| {
            core.take(ToRouter::Send(send));
            core.take(ToRouter::Ack { origin: origins[1], ack });
        });
        assert_eq!(core.answers - before, 3, "Accepted, Deliver, Receipt");
        asked += if number > 500 { count } else { 0 };
    }
    assert!(asked <= 1000 * ALLOCATIONS_PER_MESSAGE + ALLOCATIONS_ASIDE, "{asked} in 1000 messages");
}

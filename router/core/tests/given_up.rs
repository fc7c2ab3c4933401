//! A repair may give up damaged records: replay meets a gap in a conversation and goes on from there.

use bytes::Bytes;
use switchyard_router_core::{Shard, ShardConfig};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, MessageId, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::record::{MessageRecord, Record};

#[test]
fn given_messages_that_a_repair_gave_up_when_replayed_then_the_conversation_goes_on_behind_the_gap() {
    let (one, other) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
    let conversation = ConversationId::direct(one, other);
    let mut shard = Shard::new(ShardConfig {
        shard: ShardId(0),
        shard_count: ShardCount::new(1).unwrap(),
        router_cores: 1,
        hash_seed: 7,
        tail_bytes: 1 << 20,
        state_bytes: 1 << 20,
    });
    for (lsn, sequence) in [(1, 1), (5, 4)] {
        let record = Record::Message(MessageRecord {
            conversation,
            sequence: Sequence(sequence),
            message: MessageId::new(100 + sequence).unwrap(),
            sender: one,
            device: DeviceId::new(1).unwrap(),
            client_message_id: ClientMessageId([u8::try_from(sequence).unwrap(); 16]),
            body: Bytes::new(),
        });
        while let Some(key) = shard.needs(&record) {
            shard.install(key, &[]).unwrap();
        }
        shard.replay(lsn, 1000 + sequence, &record);
    }
    shard.recovered(5);
    assert_eq!(shard.placed(conversation), Some((Sequence(4), 1004)));
    assert_eq!(shard.last_lsn(), 5);
}

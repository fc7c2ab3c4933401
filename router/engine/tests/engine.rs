//! When a batch is sealed, what is told after it, and what happens at the ends.

mod common;

use common::{Core, origin, send, shards, user};
use switchyard_engine::{EngineConfig, StoreAsk};
use switchyard_log::limits::BATCH_BYTES_MAX;
use switchyard_router_core::ShardStats;
use switchyard_router_core::effects::StorageState;
use switchyard_router_core::limits::INBOX_RECORD_MS;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::{ConversationId, Millis};
use switchyard_schema::link::ToRouter;

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
    core.now = core.now.plus(INBOX_RECORD_MS);
    core.engine.handle_tick(core.now);
    core.serve();
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
fn given_memory_over_its_budget_when_nothing_comes_any_more_and_a_snapshot_is_stored_then_what_it_holds_leaves() {
    let mut config = EngineConfig::new(0, 1, 1, shards());
    config.state_bytes = 0;
    let mut core = Core::of(config);
    core.conversation(send(1, 2, 1, b"hi"));
    core.rest_with(5_000, |_| {});
    assert!(core.engine.stats().shards.conversations > 0, "what is not stored stays");
    assert!(!core.commits.is_empty(), "snapshots are on their way");
    core.store();
    core.rest(1_000);
    let ShardStats { users, conversations, .. } = core.engine.stats().shards;
    assert_eq!((users, conversations), (0, 0));
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

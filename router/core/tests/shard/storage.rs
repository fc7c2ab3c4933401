//! A full disk, a failed journal, a store that cannot be read; facts; eviction.

use switchyard_router_core::effects::StorageState;
use switchyard_router_core::limits::INBOX_RECORD_MS;
use switchyard_router_core::peer::Peer;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{FetchRange, Regarding};
use switchyard_schema::ids::Sequence;
use switchyard_schema::record::Record;

use crate::phone::{Phone, accepted_sequences, direct, receipt, refused_send};
use crate::world::{Seen, Setup, World};

#[test]
fn given_a_full_disk_then_sends_are_refused_and_acks_and_reads_go_on() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.settle();
    anna.seen(&mut world);
    ben.seen(&mut world);
    world.storage(StorageState::Full);
    anna.send(&mut world, 2, 2);
    ben.ack(&mut world, 1, 1, 1);
    world.settle();
    let refused = refused_send(ErrorCode::StorageUnavailable, 2);
    assert_eq!(anna.seen(&mut world), [refused, receipt(direct(1, 2), 2, 1, 1)]);
    Phone::new(3, 1, 1).attach(&mut world);
    world.settle();
    let no_device = Seen::Refused(ErrorCode::StorageUnavailable, Regarding::Session);
    assert_eq!(Phone::new(3, 1, 1).seen(&mut world), [no_device]);

    world.storage(StorageState::Ready);
    anna.send(&mut world, 2, 2);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [2]);
}

#[test]
fn given_a_failed_journal_then_everything_pending_is_refused_and_durable_messages_are_still_read() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.settle();
    anna.seen(&mut world);
    ben.seen(&mut world);
    let tablet = Phone::new(1, 2, 1);
    anna.send(&mut world, 2, 2);
    anna.send(&mut world, 2, 2);
    tablet.attach(&mut world);
    tablet.again().attach(&mut world);
    world.pump();
    world.storage(StorageState::Failed);
    world.pump();
    let refused = refused_send(ErrorCode::StorageUnavailable, 2);
    assert_eq!(anna.seen(&mut world), [refused.clone(), refused]);
    let unavailable = Seen::Refused(ErrorCode::StorageUnavailable, Regarding::Session);
    assert_eq!(tablet.seen(&mut world), std::slice::from_ref(&unavailable));
    assert_eq!(tablet.again().seen(&mut world), [unavailable]);

    world.appended.clear();
    ben.ack(&mut world, 1, 1, 1);
    anna.send(&mut world, 2, 3);
    anna.fetch(&mut world, direct(1, 2), FetchRange::After(Sequence(0)), 10);
    anna.detach(&mut world);
    anna.again().attach(&mut world);
    world.pump();
    world.tick_all();
    assert!(world.appended.is_empty(), "nothing is appended to a failed journal");
    assert_eq!(anna.again().seen(&mut world), [Seen::Attached]);
    let seen = anna.seen(&mut world);
    assert!(seen.contains(&refused_send(ErrorCode::StorageUnavailable, 3)), "{seen:?}");
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Page { sequences, .. } if *sequences == [1])), "{seen:?}");
}

#[test]
fn given_a_store_that_cannot_be_read_then_what_waits_is_refused() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    anna.send(&mut world, 5, 1);
    anna.fetch(&mut world, anna.with(5), FetchRange::After(Sequence(0)), 1);
    let (shard, key) = world.loads.pop_front().unwrap();
    assert!(world.loads.is_empty(), "one load for all that waits");
    let now = world.now;
    let code = ErrorCode::StorageUnavailable;
    world.shards[usize::from(shard.0)].handle_load_failed(now, key, code, &mut world.fx);
    anna.send(&mut world, 5, 2);
    world.settle();
    let refused_fetch = Seen::Refused(code, Regarding::Request(9));
    let seen = anna.seen(&mut world);
    assert!(seen.contains(&refused_send(code, 1)) && seen.contains(&refused_fetch), "{seen:?}");
    assert_eq!(accepted_sequences(&seen), [1], "the next one loads again");
}

#[test]
fn given_a_lost_fact_when_200_ms_pass_then_it_is_told_again_until_it_is_confirmed() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.pump();
    (0..4).for_each(|shard| world.sync(shard));
    world.peers.retain(|envelope| envelope.peer.is_reserved());
    world.settle();
    assert!(ben.seen(&mut world).is_empty());
    world.pass(201);
    assert_eq!(ben.delivered(&mut world), [1]);
    world.pass(201);
    world.pass(201);
    world.now = world.now.plus(1000);
    world.tick_all();
    assert!(!world.has_peer(|peer| matches!(peer, Peer::Head(_))), "confirmed");
    assert!(world.shards.iter().all(|shard| shard.is_settled()));
}

#[test]
fn given_head_facts_in_a_burst_then_inbox_records_are_coalesced() {
    let mut world = World::new(Setup::default());
    let (anna, _) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 0..40 {
        anna.send(&mut world, 2, number);
    }
    world.pump();
    world.appended.clear();
    world.settle();
    assert!(!world.shards.iter().all(|shard| shard.is_settled()), "a stop waits for what is to be journaled");
    world.confirm();
    assert_eq!(inbox_heads(&world, 2), [40]);
    assert!(world.shards.iter().all(|shard| shard.is_settled()));
}

#[test]
fn given_a_head_fact_while_the_record_of_the_one_before_is_written_then_it_is_journaled_after_it() {
    let mut world = World::new(Setup::default());
    let (anna, _) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.settle();
    world.appended.clear();
    world.now = world.now.plus(INBOX_RECORD_MS);
    world.tick_all();
    for number in 2..=40 {
        anna.send(&mut world, 2, number);
    }
    world.confirm();
    world.confirm();
    assert_eq!(inbox_heads(&world, 2), [1, 40]);
    assert!(world.shards.iter().all(|shard| shard.is_settled()));
}

#[test]
fn given_own_messages_whose_cursor_was_journaled_when_the_server_crashes_then_they_do_not_come_back() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    for number in 1..=3 {
        anna.send(&mut world, 2, number);
    }
    world.confirm();
    world.crash();
    anna.again().attach(&mut world);
    world.settle();
    assert!(anna.again().delivered(&mut world).is_empty());
}

/// The heads of a user's inbox records.
fn inbox_heads(world: &World, user: u64) -> Vec<u64> {
    let heads = world.appended.iter().filter_map(|(_, record)| match record {
        Record::Inbox(inbox) if inbox.user.get() == user => Some(inbox.head.0),
        _ => None,
    });
    heads.collect()
}

#[test]
fn given_a_memory_budget_when_users_are_idle_and_saved_then_they_leave_and_come_back_whole() {
    let mut world = World::new(Setup { state_bytes: 0, tail_bytes: 0, ..Setup::default() });
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 0..200 {
        anna.send(&mut world, 2, number);
    }
    world.settle();
    ben.ack(&mut world, 1, 150, 120);
    world.settle();
    anna.detach(&mut world);
    ben.detach(&mut world);
    world.confirm();
    let count = |world: &World| world.shards.iter().map(|s| s.stats().users + s.stats().conversations).sum::<usize>();
    assert_eq!(count(&world), 3, "what no snapshot has stays");
    (0..4).for_each(|shard| world.snapshot(shard));
    world.tick_all();
    assert_eq!(count(&world), 3, "nor does what the store has not taken yet");
    world.settle();
    world.tick_all();
    assert_eq!(count(&world), 0);
    world.seen.clear();

    anna.again().attach(&mut world);
    anna.again().send(&mut world, 2, 199);
    world.settle();
    let seen = anna.again().seen(&mut world);
    assert_eq!(accepted_sequences(&seen), [200], "duplicates are remembered across the store");
    assert!(seen.contains(&receipt(direct(1, 2), 2, 150, 120)), "{seen:?}");
    ben.again().attach(&mut world);
    world.settle();
    assert_eq!(ben.again().delivered(&mut world), (151..=200).collect::<Vec<_>>());
}

#[test]
fn given_more_users_with_sessions_than_the_budget_holds_then_they_stay_and_conversations_still_leave() {
    let mut world = World::new(Setup { shards: 1, cores: 1, state_bytes: 0, tail_bytes: 0, ..Setup::default() });
    let phones: Vec<_> = (1..=40).map(|user| Phone::attached(&mut world, user, 1)).collect();
    phones[0].send(&mut world, 2, 0);
    world.confirm();
    let held = |world: &World| (world.shards[0].stats().users, world.shards[0].stats().conversations);
    assert_eq!(held(&world), (40, 1));
    world.snapshot(0);
    world.settle();
    world.tick_all();
    assert_eq!(held(&world), (40, 0));
}

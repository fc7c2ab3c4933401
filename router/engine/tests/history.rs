//! History that left memory: walked back through the journal, around what is gone.

mod common;

use common::{Core, SEGMENT_BYTES, origin, send, shards, user};
use switchyard_log::manifest::{Manifest, VoidRegion};
use switchyard_log::segment::ShardSet;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Fetch, FetchRange, ServerFrame, VoidRange};
use switchyard_schema::ids::{ConversationId, Millis, Sequence};
use switchyard_schema::link::{ToGateway, ToRouter};
use switchyard_schema::wire;

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
    let stats = core.engine.stats();
    let damaged = stats.newest_damaged.expect("it is known which");
    assert_eq!((stats.damaged_reads, damaged.conversation, damaged.sequence), (1, conversation, Sequence(150)));
    assert_eq!(damaged.position.map(|position| position.offset / 4096 * 4096), Some(region.from));

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

/// Nobody asked for the message by name, so nobody is answered; the operator hears of it.
#[test]
fn given_a_damaged_record_when_a_device_catches_up_then_it_is_counted() {
    let (mut core, _) = with_damage_at(150);
    core.conversation(ToRouter::Attach(origin(2)));
    core.rest(1_000);
    let damaged = core.engine.stats().newest_damaged.expect("it was met");
    assert_eq!(damaged.sequence, Sequence(150));
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

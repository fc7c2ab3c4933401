//! A disk without space for another segment: what is refused, what goes on, and how it ends.

mod common;

use std::ops::Range;

use common::{Core, origin, send, user};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Ack, FetchRange};
use switchyard_schema::ids::{ConversationId, Sequence};
use switchyard_schema::link::{ToGateway, ToRouter};

fn ack(of: u64, from: u64, read: u64) -> ToRouter {
    let conversation = ConversationId::direct(user(of), user(from));
    let ack = Ack { conversation, delivered: Some(Sequence(read)), read: Some(Sequence(read)) };
    ToRouter::Ack { origin: origin(of), ack }
}

/// Every session ends, which is recorded, and begins again, which needs no record.
fn come_and_go(core: &mut Core, users: Range<u64>) {
    for user in users {
        core.conversation(ToRouter::Detach { origin: origin(user), last_seen: core.now });
        core.conversation(ToRouter::Attach(origin(user)));
    }
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
fn given_a_full_disk_then_each_shard_has_one_snapshot_and_the_last() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    core.conversation(ToRouter::Attach(origin(2)));
    core.conversation(send(1, 2, 1, b"first"));
    core.rest(400);
    let covered = |core: &Core| core.engine.covered().map(|(_, lsn)| lsn).sum::<u64>();
    let before = covered(&core);
    core.conversation(send(1, 2, 2, b"hi"));
    core.rest(20);
    assert_eq!(covered(&core), before, "no snapshot is due yet");
    core.engine.handle_disk_full(core.now);
    core.rest(500);
    let once = covered(&core);
    assert!(once > before, "what the next start need not replay any more");
    core.conversation(ack(2, 1, 2));
    core.rest(5_000);
    assert_eq!(covered(&core), once, "its space is not spent twice");
    core.engine.begin_final_snapshots(core.now);
    core.rest(500);
    assert!(covered(&core) > once);
}

#[test]
fn given_a_full_disk_and_a_full_segment_then_reads_go_on_and_acks_and_sessions_do_not() {
    let mut core = Core::new(0);
    let users = 100..165;
    for user in users.clone() {
        core.conversation(ToRouter::Attach(origin(user)));
    }
    core.conversation(send(100, 101, 1, b"before"));
    core.rest(20);
    core.engine.handle_disk_full(core.now);
    // Sessions come and go until the segment is full, and then until nothing more may wait for it.
    let mut rounds = 0;
    while core.engine.poll_batch(core.now, |bytes| vec![0; bytes]).map(|batch| core.in_flight = batch).is_ok() {
        if core.in_flight.is_some() {
            core.written();
        }
        come_and_go(&mut core, users.clone());
        core.now.0 += 5;
        rounds += 1;
        assert!(rounds < 5_000, "the segment takes no end of records");
    }
    while !core.refused().contains(&ErrorCode::StorageUnavailable) {
        come_and_go(&mut core, users.clone());
        rounds += 1;
        assert!(rounds < 10_000, "the queue takes no end of records");
    }
    assert!(core.engine.wants_requests(), "reads go on");
    core.told.clear();
    core.conversation(send(100, 101, 2, b"no room"));
    assert_eq!(core.refused(), [ErrorCode::StorageUnavailable]);
    core.conversation(ack(101, 100, 1));
    let page = core.fetch(101, 100, FetchRange::After(Sequence(0)));
    assert_eq!(&*page.messages[0].body, b"before");

    for number in 2..6 {
        core.segment(number);
        while let Ok(Some(batch)) = core.engine.poll_batch(core.now, |bytes| vec![0; bytes]) {
            core.in_flight = Some(batch);
            core.written();
        }
        core.now.0 += 5;
        if !core.engine.needs_segment() {
            break;
        }
    }
    core.rest(200);
    assert!(core.refused().is_empty());
    come_and_go(&mut core, users);
    assert!(core.refused().is_empty(), "with space everything is taken again");
    core.conversation(send(100, 101, 2, b"room"));
    core.rest(20);
    assert_eq!(core.accepted(), [2]);
}

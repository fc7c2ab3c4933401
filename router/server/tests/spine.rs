//! A message's way through the running router, over real files.

mod common;

use common::{Rig, folder, small};
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::ToGateway;

#[test]
fn given_two_users_when_one_sends_then_it_is_accepted_delivered_and_receipted() {
    let path = folder("spine-two-users");
    let mut rig = Rig::start(&path, &small(1));
    let alice = rig.attach(1, 1);
    let bob = rig.attach(2, 1);
    assert_eq!(rig.send(alice, 2, 1, b"hi"), Sequence(1));
    rig.expect(
        "the message",
        |message| matches!(message, ToGateway::Deliver { sessions, .. } if sessions.contains(&bob.session)),
    );
    rig.ack(bob, 1, 1);
    rig.expect("the receipt", |message| {
        matches!(message, ToGateway::Receipt { sessions, receipt }
            if sessions.contains(&alice.session) && receipt.watermark.read == Sequence(1))
    });
    rig.stop();
}

#[test]
fn given_a_clean_stop_when_started_with_other_cores_then_everything_is_there_and_nothing_is_replayed() {
    let path = folder("spine-clean-stop");
    let mut rig = Rig::start(&path, &small(1));
    let alice = rig.attach(1, 1);
    for round in 1..=300_u64 {
        let name = u128::from(round);
        assert_eq!(rig.send(alice, 2, name, &name.to_le_bytes()), Sequence(round));
    }
    rig.stop();

    let mut rig = Rig::start(&path, &small(3));
    let statistics = rig.handle.report().recovered.statistics;
    assert_eq!((statistics.records, statistics.segments_read), (0, 0), "a clean stop covers everything");
    let bob = rig.attach(2, 1);
    let mut bodies = Vec::new();
    for after in [0, 100, 200] {
        let page = rig.fetch(bob, 1, after, 100);
        assert_eq!(page.void, [], "{page:?}");
        bodies.extend(page.messages.into_iter().map(|message| message.body));
    }
    let sent: Vec<_> = (1..=300_u128).map(|name| bytes::Bytes::copy_from_slice(&name.to_le_bytes())).collect();
    assert_eq!(bodies, sent);
    let alice = rig.attach(1, 1);
    assert_eq!(rig.send(alice, 2, 300, b"a repeat"), Sequence(300), "a repeat gets the first result");
    assert_eq!(rig.send(alice, 2, 301, b"another"), Sequence(301));
    rig.stop();
}

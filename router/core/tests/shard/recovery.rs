//! Crashes: snapshot and durable records bring everything back that anybody was told.

use crate::phone::{Phone, accepted_sequences, direct, receipt};
use crate::world::{Seen, Setup, World};

#[test]
fn given_a_crash_when_a_send_was_not_durable_then_nobody_saw_it_and_its_sequence_is_given_again() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.settle();
    anna.send(&mut world, 2, 2);
    world.pump();
    world.seen.clear();
    world.crash();
    world.settle();
    assert!(world.seen.is_empty());
    let (anna, ben) = (anna.again(), ben.again());
    anna.attach(&mut world);
    ben.attach(&mut world);
    anna.send(&mut world, 2, 3);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [2]);
    assert_eq!(ben.delivered(&mut world), [1, 2], "what was not acknowledged comes again");
}

#[test]
fn given_a_crash_between_durable_and_told_when_restarted_then_facts_are_told_and_the_repeat_gets_the_first_result() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.pump();
    (0..4).for_each(|shard| world.sync(shard));
    world.seen.clear();
    world.crash();
    world.settle();
    let (anna, ben) = (anna.again(), ben.again());
    ben.attach(&mut world);
    world.settle();
    assert_eq!(ben.delivered(&mut world), [1]);
    anna.attach(&mut world);
    anna.send(&mut world, 2, 1);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1]);
}

#[test]
fn given_a_crash_after_an_ack_is_durable_when_restarted_then_its_receipt_still_comes() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.settle();
    anna.detach(&mut world);
    world.confirm();
    ben.ack(&mut world, 1, 1, 1);
    world.pump();
    (0..4).for_each(|shard| world.sync(shard));
    world.crash();
    world.settle();
    let anna = anna.again();
    anna.attach(&mut world);
    world.settle();
    assert_eq!(anna.seen(&mut world), [Seen::Attached, receipt(direct(1, 2), 2, 1, 1)]);
}

#[test]
fn given_a_snapshot_with_unconfirmed_facts_when_stored_then_it_does_not_cover_them() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.pump();
    for shard in 0..4 {
        world.place(shard);
        world.snapshot(shard);
        world.sync(shard);
        world.store_held(shard);
    }
    world.forget_covered();
    world.seen.clear();
    world.crash();
    world.settle();
    let ben = ben.again();
    ben.attach(&mut world);
    world.settle();
    assert_eq!(ben.delivered(&mut world), [1]);
}

#[test]
fn given_messages_without_a_position_when_a_snapshot_is_taken_then_the_chain_has_no_hole_after_a_crash() {
    let mut world = World::new(Setup { tail_bytes: 0, ..Setup::default() });
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 0..70 {
        anna.send(&mut world, 2, number);
    }
    world.pump();
    (0..4).for_each(|shard| world.snapshot(shard));
    world.settle();
    world.forget_covered();
    world.crash();
    world.settle();
    anna.again().attach(&mut world);
    ben.again().attach(&mut world);
    anna.again().send(&mut world, 2, 100);
    world.settle();
    assert_eq!(ben.again().delivered(&mut world), (1..=71).collect::<Vec<_>>());
}

#[test]
fn given_everything_forgotten_but_the_snapshot_when_restarted_then_ids_never_repeat() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    (0..10).for_each(|number| anna.send(&mut world, 2, number));
    world.settle();
    world.pass(1000);
    let newest = world.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Accepted { message, .. } => Some(*message),
        _ => None,
    });
    let newest = newest.max().unwrap();
    (0..4).for_each(|shard| world.snapshot(shard));
    world.settle();
    world.forget_covered();
    world.crash();
    world.now = crate::world::START;
    let anna = anna.again();
    anna.attach(&mut world);
    anna.send(&mut world, 2, 100);
    world.settle();
    let seen = anna.seen(&mut world);
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Accepted { message, sequence: 11, .. } if *message > newest)));
}

#[test]
fn given_a_registered_device_that_never_acked_when_restarted_then_it_starts_where_it_did() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    (0..5).for_each(|number| anna.send(&mut world, 2, number));
    world.settle();
    ben.ack(&mut world, 1, 2, 0);
    world.settle();
    let tablet = Phone::attached(&mut world, 2, 2);
    ben.ack(&mut world, 1, 5, 0);
    world.settle();
    world.seen.clear();
    for snapshot in [false, true] {
        if snapshot {
            (0..4).for_each(|shard| world.snapshot(shard));
            world.settle();
            world.forget_covered();
        }
        world.crash();
        let mut tablet = tablet.again();
        tablet.origin.session.epoch += u32::from(snapshot);
        tablet.attach(&mut world);
        world.settle();
        assert_eq!(tablet.delivered(&mut world), [3, 4, 5]);
    }
}

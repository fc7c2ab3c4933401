//! Acks, watermarks, receipts.

use switchyard_schema::record::Record;

use crate::phone::{Phone, direct, receipt};
use crate::world::{Seen, Setup, World};

fn chat(world: &mut World, messages: u64) -> (Phone, Phone) {
    let (anna, ben) = (Phone::attached(world, 1, 1), Phone::attached(world, 2, 1));
    for number in 0..messages {
        anna.send(world, 2, number);
    }
    world.settle();
    anna.seen(world);
    ben.seen(world);
    (anna, ben)
}

#[test]
fn given_a_delivered_message_when_acknowledged_then_a_receipt_once_the_cursor_is_durable() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = chat(&mut world, 3);
    ben.ack(&mut world, 1, 3, 2);
    world.pump();
    assert!(world.seen.is_empty());
    let shard = world.count.of_user(ben.origin.user);
    world.sync(usize::from(shard.0));
    world.pump();
    assert_eq!(anna.seen(&mut world), [receipt(direct(1, 2), 2, 3, 2)], "not waiting for the conversation's journal");
    world.pass(2000);
    assert!(anna.seen(&mut world).is_empty());
    assert_eq!(ben.seen(&mut world), [receipt(direct(1, 2), 2, 3, 2)], "the acking session learns it too");
}

#[test]
fn given_acks_beyond_what_was_sent_or_back_when_they_come_then_they_are_clamped() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = chat(&mut world, 3);
    ben.ack(&mut world, 1, 900, 0);
    world.settle();
    assert_eq!(anna.seen(&mut world), [receipt(direct(1, 2), 2, 3, 0)]);
    ben.ack(&mut world, 1, 1, 0);
    world.settle();
    assert!(anna.seen(&mut world).is_empty());
    ben.ack(&mut world, 3, 5, 5);
    world.settle();
    assert!(anna.seen(&mut world).is_empty(), "a conversation that does not exist");
}

#[test]
fn given_a_read_when_it_comes_alone_then_it_implies_delivered() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = chat(&mut world, 3);
    ben.ack(&mut world, 1, 0, 2);
    world.settle();
    assert_eq!(anna.seen(&mut world), [receipt(direct(1, 2), 2, 2, 2)]);
}

#[test]
fn given_many_acks_in_one_batch_then_two_cursor_records_and_the_newest_watermark() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = chat(&mut world, 20);
    world.appended.clear();
    for sequence in 1..=20 {
        ben.ack(&mut world, 1, sequence, 0);
    }
    world.settle();
    let cursors = world.appended.iter().filter(|(_, record)| matches!(record, Record::Cursor(_))).count();
    assert_eq!(cursors, 2, "the first, and the newest once that is durable");
    assert_eq!(anna.seen(&mut world).last(), Some(&receipt(direct(1, 2), 2, 20, 0)));
}

#[test]
fn given_two_devices_when_one_reads_then_the_other_is_told() {
    let mut world = World::new(Setup::default());
    let (_, ben) = chat(&mut world, 3);
    let tablet = Phone::attached(&mut world, 2, 2);
    tablet.seen(&mut world);
    ben.ack(&mut world, 1, 3, 3);
    world.settle();
    assert_eq!(tablet.seen(&mut world), [receipt(direct(1, 2), 2, 3, 3)]);
    world.seen.clear();
    tablet.ack(&mut world, 1, 2, 0);
    world.settle();
    assert!(world.seen.is_empty(), "the highest of the devices did not move");
}

#[test]
fn given_receipts_missed_while_away_when_attaching_then_they_come() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = chat(&mut world, 3);
    anna.detach(&mut world);
    world.pass(10 * 60 * 1000);
    ben.ack(&mut world, 1, 3, 1);
    world.settle();
    let anna = anna.again();
    anna.attach(&mut world);
    world.settle();
    assert_eq!(anna.seen(&mut world), [Seen::Attached, receipt(direct(1, 2), 2, 3, 1)]);

    world.pass(10 * 60 * 1000);
    anna.detach(&mut world);
    let anna = anna.again();
    anna.attach(&mut world);
    world.settle();
    assert_eq!(anna.seen(&mut world), [Seen::Attached], "known before the last session ended");
}

#[test]
fn given_a_watermark_that_another_device_moved_while_this_one_was_away_when_attaching_then_it_comes() {
    for crash in [false, true] {
        let mut world = World::new(Setup::default());
        let (_, phone) = chat(&mut world, 3);
        let tablet = Phone::attached(&mut world, 2, 2);
        for device in [&phone, &tablet] {
            device.ack(&mut world, 1, 3, 0);
        }
        world.settle();
        tablet.detach(&mut world);
        world.pass(10 * 60 * 1000);
        phone.ack(&mut world, 1, 3, 2);
        world.settle();
        tablet.seen(&mut world);
        if crash {
            world.crash();
        }
        let tablet = tablet.again();
        tablet.attach(&mut world);
        world.settle();
        let seen = tablet.seen(&mut world);
        assert!(seen.contains(&receipt(direct(1, 2), 2, 3, 2)), "{seen:?}");

        tablet.ack(&mut world, 1, 3, 2);
        world.pass(10 * 60 * 1000);
        tablet.detach(&mut world);
        tablet.seen(&mut world);
        let tablet = tablet.again();
        tablet.attach(&mut world);
        world.settle();
        assert_eq!(tablet.seen(&mut world), [Seen::Attached], "known before the last session ended");
    }
}

#[test]
fn given_no_room_for_a_receipt_then_it_comes_when_there_is() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = chat(&mut world, 3);
    ben.ack(&mut world, 1, 3, 0);
    let shard = world.count.of_user(ben.origin.user);
    world.sync(usize::from(shard.0));
    let mut facts = std::mem::take(&mut world.peers);
    world.ring_room = 0;
    while let Some(fact) = facts.pop_front() {
        world.peer(fact);
    }
    world.pump();
    assert!(anna.seen(&mut world).is_empty());
    world.ring_room = 4;
    world.pass(500);
    assert_eq!(anna.seen(&mut world), [receipt(direct(1, 2), 2, 3, 0)]);
}

#[test]
fn given_an_ack_that_is_repeated_then_its_watermark_comes_again_at_most_once_a_second() {
    let mut world = World::new(Setup::default());
    let (_, ben) = chat(&mut world, 3);
    for _ in 0..10 {
        ben.ack(&mut world, 1, 3, 0);
        world.pass(500);
    }
    world.pass(2000);
    let told = ben.seen(&mut world).len();
    assert!((4..=6).contains(&told), "{told}");
}

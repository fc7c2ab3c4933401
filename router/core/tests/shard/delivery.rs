//! Live delivery, the window, and stalls.

use switchyard_schema::ids::DeviceId;
use switchyard_schema::link::ToRouter;

use crate::phone::{Phone, accepted_sequences, direct, name};
use crate::world::{Seen, Setup, World};

#[test]
fn given_several_devices_when_one_sends_then_its_siblings_are_told_the_origin_and_it_is_told_accepted() {
    let mut world = World::new(Setup::default());
    let (phone, tablet) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 1, 2));
    let ben = Phone::attached(&mut world, 2, 1);
    phone.send(&mut world, 2, 77);
    world.settle();
    assert_eq!(accepted_sequences(&phone.seen(&mut world)), [1]);
    let own = Some((DeviceId::new(1).unwrap(), name(77)));
    let (tablets, bens) = (tablet.seen(&mut world), ben.seen(&mut world));
    assert!(matches!(tablets[..], [Seen::Deliver { sequence: 1, own: told, .. }] if told == own), "{tablets:?}");
    assert!(matches!(bens[..], [Seen::Deliver { sequence: 1, own: None, .. }]));
}

#[test]
fn given_no_ring_room_when_a_message_comes_then_it_arrives_once_when_there_is() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    world.pump();
    (0..4).for_each(|shard| world.place(shard));
    world.ring_room = 0;
    (0..4).for_each(|shard| world.sync(shard));
    world.pump();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1], "an answer needs no room");
    assert!(ben.seen(&mut world).is_empty());
    world.ring_room = 5;
    world.pass(1000);
    assert_eq!(ben.delivered(&mut world), [1]);
    world.pass(1000);
    assert!(ben.seen(&mut world).is_empty());
}

#[test]
fn given_room_for_one_when_an_answer_goes_the_same_way_then_what_is_open_waits() {
    let mut world = World::new(Setup { cores: 1, ..Setup::default() });
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 1);
    anna.send(&mut world, 2, 2);
    world.pump();
    world.ring_room = 1;
    (0..4).for_each(|shard| world.sync(shard));
    assert!(!world.has_peer(|peer| !peer.is_reserved()), "the answers have filled the ring");
    world.pump();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1, 2]);
    world.ring_room = 5;
    world.pass(1000);
    assert_eq!(ben.delivered(&mut world), [1, 2]);
}

#[test]
fn given_a_device_that_never_acks_when_its_window_is_full_then_nothing_more_and_one_stall() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 0..300 {
        anna.send(&mut world, 2, number);
        if number % 50 == 0 {
            world.settle();
        }
    }
    world.settle();
    assert_eq!(ben.delivered(&mut world), (1..=256).collect::<Vec<_>>());
    world.pass(1500);
    assert!(ben.seen(&mut world).is_empty());
    world.pass(1500);
    assert_eq!(ben.seen(&mut world), [Seen::Stalled]);
    world.pass(60_000);
    assert!(ben.seen(&mut world).is_empty(), "told once");

    ben.ack(&mut world, 1, 10, 0);
    world.settle();
    assert_eq!(ben.delivered(&mut world), (257..=266).collect::<Vec<_>>());
    world.pass(10_000);
    assert_eq!(ben.seen(&mut world).iter().filter(|seen| **seen == Seen::Stalled).count(), 1, "a new stall");
    ben.ack(&mut world, 1, 266, 0);
    world.settle();
    assert_eq!(ben.delivered(&mut world), (267..=300).collect::<Vec<_>>());
}

#[test]
fn given_sessions_that_do_not_ack_then_they_count_as_behind_until_they_have_everything_or_leave() {
    let mut world = World::new(Setup::default());
    let (anna, carl) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 3, 1));
    let (phone, tablet) = (Phone::attached(&mut world, 2, 1), Phone::attached(&mut world, 2, 2));
    for number in 0..300 {
        anna.send(&mut world, 2, number);
        carl.send(&mut world, 2, number);
    }
    world.settle();
    assert_eq!(world.behind(), (2, 4), "two devices lack messages of two conversations");
    let mut delivered = 0;
    for _ in 0..4 {
        delivered += phone.delivered(&mut world).len();
        phone.ack(&mut world, 1, 300, 0);
        phone.ack(&mut world, 3, 300, 0);
        world.settle();
    }
    assert_eq!(delivered, 600);
    assert_eq!(world.behind(), (1, 2));
    let again = tablet.again();
    again.attach(&mut world);
    world.settle();
    assert_eq!(world.behind(), (1, 2), "the new session begins where the acks ended");
    again.detach(&mut world);
    world.settle();
    assert_eq!(world.behind(), (0, 0));
}

#[test]
fn given_large_messages_when_256_kib_are_unacknowledged_then_nothing_more() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    let text = "x".repeat(60_000);
    for number in 0..8 {
        anna.send_text(&mut world, 2, number, &text);
    }
    world.settle();
    assert_eq!(ben.delivered(&mut world), [1, 2, 3, 4]);
    ben.ack(&mut world, 1, 2, 0);
    world.settle();
    assert_eq!(ben.delivered(&mut world), [5, 6]);
}

#[test]
fn given_a_device_that_only_sends_then_it_never_lags_and_its_window_stays_open() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 0..600 {
        anna.send(&mut world, 2, number);
        if number % 100 == 0 {
            world.settle();
        }
    }
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), (1..=600).collect::<Vec<_>>());
    ben.send(&mut world, 1, 1000);
    world.settle();
    assert_eq!(anna.delivered(&mut world), [601]);
    anna.detach(&mut world);
    let anna = anna.again();
    anna.attach(&mut world);
    world.settle();
    assert_eq!(anna.delivered(&mut world), [601], "only what was not acknowledged");
}

#[test]
fn given_two_conversations_when_one_is_acknowledged_then_only_its_part_of_the_window_opens() {
    let mut world = World::new(Setup::default());
    let (anna, carl) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 3, 1));
    let ben = Phone::attached(&mut world, 2, 1);
    for number in 0..150 {
        anna.send(&mut world, 2, number);
        carl.send(&mut world, 2, number);
    }
    world.settle();
    let seen = ben.seen(&mut world);
    let of =
        |id| seen.iter().filter(|s| matches!(s, Seen::Deliver { conversation, .. } if *conversation == id)).count();
    let (from_anna, from_carl) = (of(direct(1, 2)), of(direct(2, 3)));
    assert_eq!(from_anna + from_carl, 256);
    ben.ack(&mut world, 1, u64::try_from(from_anna).unwrap(), 0);
    world.settle();
    assert_eq!(ben.delivered(&mut world).len(), 300 - 256);
}

#[test]
fn given_a_reconnect_while_a_send_is_pending_then_the_new_session_gets_it_as_its_own_message() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    anna.send(&mut world, 2, 5);
    world.pump();
    let new = anna.again();
    new.attach(&mut world);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1], "the credit's answer goes to who asked");
    assert_eq!(new.delivered(&mut world), [1]);
}

#[test]
fn given_a_sender_that_left_and_was_forgotten_when_its_send_is_durable_then_the_credit_still_returns() {
    let mut world = World::new(Setup { state_bytes: 0, ..Setup::default() });
    let anna = Phone::attached(&mut world, 1, 1);
    anna.send(&mut world, 2, 5);
    world.pump();
    world.at_user(anna.origin.user, ToRouter::Detach { origin: anna.origin, last_seen: world.now });
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1]);
}

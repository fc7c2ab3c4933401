//! Sessions and devices.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::record::Record;

use crate::phone::Phone;
use crate::world::{Seen, Setup, World};

#[test]
fn given_a_new_device_when_attaching_then_attached_only_once_it_is_durable() {
    let mut world = World::new(Setup::default());
    let anna = Phone::new(1, 1, 1);
    anna.attach(&mut world);
    world.pump();
    assert!(anna.seen(&mut world).is_empty());
    world.settle();
    assert_eq!(anna.seen(&mut world), [Seen::Attached]);

    anna.detach(&mut world);
    let again = anna.again();
    again.attach(&mut world);
    assert_eq!(again.seen(&mut world), [Seen::Attached], "a known device does not wait");
}

#[test]
fn given_eight_devices_when_a_ninth_attaches_then_too_many() {
    let mut world = World::new(Setup::default());
    for device in 1..=8 {
        Phone::attached(&mut world, 1, device);
    }
    let ninth = Phone::new(1, 9, 1);
    ninth.attach(&mut world);
    world.settle();
    assert_eq!(ninth.seen(&mut world), [Seen::Refused(ErrorCode::TooManyDevices, Regarding::Session)]);
}

#[test]
fn given_an_attached_device_when_it_attaches_again_then_the_old_session_is_replaced_and_its_goodbye_ignored() {
    let mut world = World::new(Setup::default());
    let (old, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    let new = old.again();
    new.attach(&mut world);
    assert_eq!(old.seen(&mut world), [Seen::Replaced]);
    assert_eq!(new.seen(&mut world), [Seen::Attached]);
    old.detach(&mut world);
    ben.send(&mut world, 1, 1);
    world.settle();
    assert_eq!(new.delivered(&mut world), [1]);
    assert!(old.seen(&mut world).is_empty());
}

#[test]
fn given_a_client_that_may_be_a_replay_then_it_attaches_where_its_device_has_no_session_and_ends_none() {
    let mut world = World::new(Setup::default());
    let new = Phone::new(1, 1, 1);
    new.attach_early(&mut world);
    // Both wait until the device is durable; the first one is in the way of the second then.
    let replay = new.again();
    replay.attach_early(&mut world);
    world.settle();
    assert_eq!((new.seen(&mut world), replay.seen(&mut world)), (vec![Seen::Attached], vec![Seen::Occupied]));

    let later = replay.again();
    later.attach_early(&mut world);
    assert_eq!(later.seen(&mut world), [Seen::Occupied]);
    replay.detach(&mut world);
    let ben = Phone::attached(&mut world, 2, 1);
    ben.send(&mut world, 1, 1);
    world.settle();
    assert_eq!(new.delivered(&mut world), [1], "the end of one that never attached changes nothing");

    later.attach(&mut world);
    assert_eq!((new.seen(&mut world), later.seen(&mut world)[0].clone()), (vec![Seen::Replaced], Seen::Attached));
    later.detach(&mut world);
    let resumed = later.again();
    resumed.attach_early(&mut world);
    world.settle();
    assert_eq!(resumed.delivered(&mut world), [1]);
}

#[test]
fn given_a_cold_user_when_a_client_that_may_be_a_replay_comes_and_goes_then_it_is_answered_once() {
    let mut world = World::new(Setup::default());
    let anna = Phone::new(1, 1, 1);
    anna.attach_early(&mut world);
    anna.detach(&mut world);
    world.settle();
    assert_eq!(anna.seen(&mut world), [Seen::Attached], "an answer to a session that is gone");
}

#[test]
fn given_no_room_when_a_session_is_replaced_then_it_is_told_when_there_is() {
    let mut world = World::new(Setup::default());
    let old = Phone::attached(&mut world, 1, 1);
    world.ring_room = 0;
    old.again().attach(&mut world);
    world.tick_all();
    assert!(old.seen(&mut world).is_empty());
    world.ring_room = 10;
    world.settle();
    assert_eq!(old.seen(&mut world), [Seen::Replaced]);
}

#[test]
fn given_a_session_that_ends_before_it_is_attached_then_its_credit_returns_and_it_gets_nothing() {
    for settle_first in [false, true] {
        let mut world = World::new(Setup::default());
        let ben = Phone::attached(&mut world, 2, 1);
        let anna = Phone::new(1, 1, 1);
        anna.attach(&mut world);
        if settle_first {
            world.pump();
        }
        anna.detach(&mut world);
        world.settle();
        assert_eq!(anna.seen(&mut world), [Seen::Attached], "an answer to a session that is gone");
        ben.send(&mut world, 1, 1);
        world.settle();
        assert!(anna.seen(&mut world).is_empty());
    }
}

#[test]
fn given_a_session_when_it_ends_then_the_device_was_last_seen_then() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    anna.detach(&mut world);
    let now = world.now;
    assert!(matches!(world.appended.last(), Some((_, Record::Device(device))) if device.last_seen == now));
}

#[test]
fn given_a_later_device_when_it_attaches_then_it_starts_where_the_user_is() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 0..5 {
        anna.send(&mut world, 2, number);
    }
    world.settle();
    assert_eq!(ben.delivered(&mut world), [1, 2, 3, 4, 5]);
    ben.ack(&mut world, 1, 3, 0);
    world.settle();
    let tablet = Phone::new(2, 2, 1);
    tablet.attach(&mut world);
    world.settle();
    assert_eq!(tablet.delivered(&mut world), [4, 5]);
}

#[test]
fn given_a_first_device_when_it_attaches_then_it_starts_at_the_beginning() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    for number in 0..5 {
        anna.send(&mut world, 2, number);
    }
    world.settle();
    let ben = Phone::new(2, 1, 1);
    ben.attach(&mut world);
    world.settle();
    assert_eq!(ben.delivered(&mut world), [1, 2, 3, 4, 5]);
}

#[test]
fn given_a_cold_user_when_far_too_many_attach_then_the_rest_is_refused() {
    let mut world = World::new(Setup { shards: 1, cores: 1, ..Setup::default() });
    let phones: Vec<Phone> = (0..600).map(|epoch| Phone::new(1, 1, epoch)).collect();
    phones.iter().for_each(|phone| phone.attach(&mut world));
    let refused = Seen::Refused(ErrorCode::Overloaded, Regarding::Session);
    assert_eq!(phones[599].seen(&mut world), [refused]);
    world.settle();
    assert_eq!(phones[511].seen(&mut world), [Seen::Attached]);
}

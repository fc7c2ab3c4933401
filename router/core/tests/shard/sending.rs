//! Sends: order, membership, duplicates, answers.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::{ConversationId, GroupId, Millis};

use crate::phone::{Phone, accepted_sequences, direct, refused_send};
use crate::world::{Seen, Setup, World};

#[test]
fn given_two_phones_when_one_sends_then_nothing_is_seen_before_it_is_durable() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 10);
    world.pump();
    world.tick_all();
    assert!(world.seen.is_empty());

    world.settle();
    let seen = anna.seen(&mut world);
    assert!(matches!(seen[..], [Seen::Accepted { sequence: 1, conversation, .. }] if conversation == direct(1, 2)));
    assert_eq!(ben.delivered(&mut world), [1]);
}

#[test]
fn given_many_sends_when_durable_then_sequences_are_dense_and_ids_grow() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    for number in 1..=50 {
        let phone = if number % 2 == 0 { &anna } else { &ben };
        phone.send(&mut world, if number % 2 == 0 { 2 } else { 1 }, number);
        if number % 7 == 0 {
            world.settle();
        }
    }
    world.settle();
    let mut last = (0, None);
    for (_, seen) in world.seen.iter().filter(|(at, _)| *at == anna.origin.session) {
        if let Seen::Accepted { sequence, message, .. } | Seen::Deliver { sequence, message, .. } = seen {
            assert_eq!(*sequence, last.0 + 1);
            assert!(last.1 < Some(*message));
            last = (*sequence, Some(*message));
        }
    }
    assert_eq!(last.0, 50);
}

#[test]
fn given_a_stranger_when_sending_then_not_a_member() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    anna.send_into(&mut world, direct(2, 3), 1, "x");
    anna.send_into(&mut world, ConversationId::group(GroupId::new(5).unwrap()), 2, "x");
    world.settle();
    let expected = [refused_send(ErrorCode::NotAMember, 1), refused_send(ErrorCode::NotAMember, 2)];
    assert_eq!(anna.seen(&mut world), expected);
}

#[test]
fn given_a_user_who_may_begin_nothing_now_when_sending_then_only_conversations_that_exist_take_it() {
    let mut world = World::new(Setup::default());
    let mut anna = Phone::attached(&mut world, 1, 1);
    anna.send(&mut world, 2, 10);
    world.settle();
    anna.seen(&mut world);
    anna.begin_in_ms = 36_000;
    anna.send(&mut world, 2, 11);
    anna.send(&mut world, 3, 12);
    anna.send(&mut world, 1, 13);
    world.settle();
    let seen = anna.seen(&mut world);
    assert_eq!(accepted_sequences(&seen), [2]);
    assert!(seen.contains(&refused_send(ErrorCode::RateLimited, 12)));
    assert!(seen.contains(&refused_send(ErrorCode::RateLimited, 13)), "a chat with oneself is one, too");
    anna.begin_in_ms = 0;
    anna.send(&mut world, 3, 12);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1], "nothing of the refused one was kept");
}

#[test]
fn given_a_durable_send_when_repeated_then_the_first_result_at_once() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 10);
    world.settle();
    let first = anna.seen(&mut world);
    ben.delivered(&mut world);
    anna.send(&mut world, 2, 10);
    world.pump();
    assert_eq!(anna.seen(&mut world), first);
    assert!(ben.seen(&mut world).is_empty());
}

#[test]
fn given_a_pending_send_when_repeated_then_both_answers_come_with_its_batch() {
    let mut world = World::new(Setup::default());
    let (anna, ben) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 2, 1));
    anna.send(&mut world, 2, 10);
    anna.send(&mut world, 2, 10);
    world.pump();
    assert!(world.seen.is_empty());
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1, 1]);
    assert_eq!(ben.delivered(&mut world), [1]);
}

#[test]
fn given_256_newer_sends_or_a_day_when_repeated_then_it_is_a_new_message() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    for number in 0..256 {
        anna.send(&mut world, 2, number);
    }
    world.settle();
    anna.seen(&mut world);
    anna.send(&mut world, 2, 0);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [1], "256 are remembered");
    anna.send(&mut world, 2, 256);
    anna.send(&mut world, 2, 0);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [257, 258], "the oldest made room");
    world.now = Millis(world.now.0 + switchyard_schema::limits::DEDUPE_MS + 1);
    anna.send(&mut world, 2, 256);
    world.settle();
    assert_eq!(accepted_sequences(&anna.seen(&mut world)), [259], "a day is over");
}

#[test]
fn given_the_same_name_from_two_devices_when_sent_then_two_messages() {
    let mut world = World::new(Setup::default());
    let (phone, tablet) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 1, 2));
    phone.send(&mut world, 2, 10);
    tablet.send(&mut world, 2, 10);
    world.settle();
    assert_eq!(accepted_sequences(&phone.seen(&mut world)), [1]);
    assert_eq!(accepted_sequences(&tablet.seen(&mut world)), [2]);
}

#[test]
fn given_a_chat_with_oneself_when_sent_then_the_other_device_gets_it() {
    let mut world = World::new(Setup::default());
    let (phone, tablet) = (Phone::attached(&mut world, 1, 1), Phone::attached(&mut world, 1, 2));
    phone.send(&mut world, 1, 10);
    world.settle();
    assert_eq!(accepted_sequences(&phone.seen(&mut world)), [1]);
    assert_eq!(tablet.delivered(&mut world), [1]);
}

#[test]
fn given_a_clock_that_steps_back_when_sending_then_ids_still_grow() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    let mut messages = Vec::new();
    for number in 0..4 {
        world.now = Millis(world.now.0 - 60_000);
        anna.send(&mut world, 2, number);
        world.pump();
        (0..4).for_each(|shard| world.sync(shard));
        world.pump();
        messages.extend(anna.seen(&mut world).into_iter().map(|seen| match seen {
            Seen::Accepted { message, .. } => message,
            other => panic!("{other:?}"),
        }));
    }
    assert!(messages.len() == 4 && messages.is_sorted());
}

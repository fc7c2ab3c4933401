//! Fetch and catch-up: from memory, from the journal, around what is gone.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{FetchRange, Regarding};
use switchyard_schema::ids::{ConversationId, GroupId, Sequence};

use crate::phone::{Phone, direct};
use crate::world::{Seen, Setup, World};

fn history(setup: Setup, messages: u64) -> (World, Phone) {
    let mut world = World::new(setup);
    let anna = Phone::attached(&mut world, 1, 1);
    for number in 0..messages {
        anna.send(&mut world, 2, number);
        if number % 100 == 0 {
            world.settle();
        }
    }
    world.settle();
    anna.seen(&mut world);
    (world, anna)
}

fn page(world: &mut World, phone: &Phone, range: FetchRange, limit: u32) -> (Vec<u64>, Vec<(u64, u64)>, bool) {
    phone.fetch(world, direct(1, 2), range, limit);
    world.pump();
    match &phone.seen(world)[..] {
        [Seen::Page { request: 9, sequences, void, watermarks, more }] if watermarks.len() == 2 => {
            (sequences.clone(), void.clone(), *more)
        }
        other => panic!("{other:?}"),
    }
}

fn after(sequence: u64) -> FetchRange {
    FetchRange::After(Sequence(sequence))
}

fn before(sequence: u64) -> FetchRange {
    FetchRange::Before(Sequence(sequence))
}

#[test]
fn given_a_history_in_memory_or_in_the_journal_when_fetched_then_the_same_pages() {
    for tail_bytes in [1 << 20, 0] {
        let (mut world, anna) = history(Setup { tail_bytes, ..Setup::default() }, 250);
        let mut check = |range, limit, first: u64, last: u64, more| {
            let expected: Vec<u64> = (first..=last).collect();
            assert_eq!(page(&mut world, &anna, range, limit), (expected, vec![], more), "{range:?} {limit}");
        };
        check(after(0), 100, 1, 100, true);
        check(after(0), 1000, 1, 100, true);
        check(after(240), 100, 241, 250, false);
        check(after(249), 1, 250, 250, false);
        check(before(251), 3, 248, 250, true);
        check(before(u64::MAX), 3, 248, 250, true);
        check(before(4), 100, 1, 3, false);
        check(after(250), 10, 1, 0, false);
        check(after(u64::MAX), 10, 1, 0, false);
        check(before(1), 10, 1, 0, false);
        check(before(0), 10, 1, 0, false);
        check(after(0), 0, 1, 0, true);
        assert_eq!(world.history_reads > 0, tail_bytes == 0);
    }
}

#[test]
fn given_large_messages_when_fetched_then_a_page_ends_at_its_bytes() {
    for tail_bytes in [10 << 20, 0] {
        let mut world = World::new(Setup { tail_bytes, ..Setup::default() });
        let anna = Phone::attached(&mut world, 1, 1);
        (0..8).for_each(|number| anna.send_text(&mut world, 2, number, &"x".repeat(60_000)));
        world.settle();
        anna.seen(&mut world);
        assert_eq!(page(&mut world, &anna, after(0), 100), (vec![1, 2, 3, 4], vec![], true));
        assert_eq!(page(&mut world, &anna, before(9), 100), (vec![5, 6, 7, 8], vec![], true));
    }
}

#[test]
fn given_pending_messages_when_fetched_then_only_the_durable_ones() {
    let (mut world, anna) = history(Setup::default(), 3);
    anna.send(&mut world, 2, 100);
    assert_eq!(page(&mut world, &anna, after(0), 10), (vec![1, 2, 3], vec![], false));
}

#[test]
fn given_dropped_segments_when_fetched_then_the_void_is_told_and_skipped() {
    let (mut world, anna) = history(Setup { tail_bytes: 0, ..Setup::default() }, 250);
    world.oldest_position = 100 + 151;
    assert_eq!(page(&mut world, &anna, after(0), 10), ((151..=160).collect(), vec![(1, 150)], true));
    assert_eq!(page(&mut world, &anna, before(153), 10), (vec![151, 152], vec![(143, 150)], false));
    assert_eq!(page(&mut world, &anna, before(100), 10), (vec![], vec![(90, 99)], false));
    world.oldest_position = u64::MAX;
    assert_eq!(page(&mut world, &anna, after(240), 100), (vec![], vec![(241, 250)], false));
}

#[test]
fn given_a_stranger_when_fetching_then_not_a_member() {
    let (mut world, anna) = history(Setup::default(), 1);
    for conversation in [direct(2, 3), ConversationId::group(GroupId::new(4).unwrap())] {
        anna.fetch(&mut world, conversation, after(0), 10);
        world.pump();
        assert_eq!(anna.seen(&mut world), [Seen::Refused(ErrorCode::NotAMember, Regarding::Request(9))]);
    }
}

#[test]
fn given_no_conversation_when_fetched_then_an_empty_page_and_still_none() {
    let mut world = World::new(Setup::default());
    let anna = Phone::attached(&mut world, 1, 1);
    world.appended.clear();
    anna.fetch(&mut world, direct(1, 2), after(0), 10);
    world.settle();
    let empty = Seen::Page { request: 9, sequences: vec![], void: vec![], watermarks: vec![], more: false };
    assert_eq!(anna.seen(&mut world), [empty]);
    assert!(world.appended.is_empty());
}

#[test]
fn given_a_device_that_was_away_when_attaching_then_everything_in_order_and_conversations_in_turn() {
    for tail_bytes in [10 << 20, 0] {
        let mut world = World::new(Setup { tail_bytes, ..Setup::default() });
        let others: Vec<Phone> = (3..8).map(|id| Phone::attached(&mut world, id, 1)).collect();
        for number in 0..90 {
            others.iter().for_each(|other| other.send(&mut world, 2, number));
        }
        world.settle();
        let ben = Phone::new(2, 1, 1);
        ben.attach(&mut world);
        let mut got = std::collections::BTreeMap::<ConversationId, Vec<u64>>::new();
        let mut order = Vec::new();
        for _ in 0..10 {
            world.settle();
            for seen in ben.seen(&mut world) {
                let Seen::Deliver { conversation, sequence, .. } = seen else { continue };
                got.entry(conversation).or_default().push(sequence);
                order.push(conversation);
            }
            for other in 3..8 {
                let last = got.get(&direct(2, other)).and_then(|got| got.last()).copied().unwrap_or(0);
                ben.ack(&mut world, other, last, 0);
            }
        }
        assert_eq!(got.len(), 5);
        assert!(got.values().all(|got| got.iter().copied().eq(1..=90)), "{got:?}");
        let first_round: std::collections::BTreeSet<_> = order[..200].iter().collect();
        assert_eq!(first_round.len(), 5, "none waits for another to end");
    }
}

#[test]
fn given_dropped_segments_when_a_device_attaches_then_it_gets_what_is_left() {
    let (mut world, _) = history(Setup { tail_bytes: 0, ..Setup::default() }, 50);
    world.oldest_position = 100 + 41;
    let ben = Phone::new(2, 1, 1);
    ben.attach(&mut world);
    world.pass(1000);
    assert_eq!(ben.delivered(&mut world), (41..=50).collect::<Vec<_>>());
}

//! Where things live and how messages are named: both are on disks, so neither may ever change.

mod common;

use std::collections::HashSet;

use common::{message, user};
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::ids::*;

#[test]
fn given_known_users_when_asked_for_their_shard_then_it_is_the_one_it_always_was() {
    let check = |shards, expect: [u16; 5]| {
        let count = ShardCount::new(shards).unwrap();
        let found = [1, 2, 42, 43, u64::MAX].map(|number| count.of_user(user(number)).0);
        assert_eq!(found, expect, "{shards} shards");
    };
    check(1, [0, 0, 0, 0, 0]);
    check(64, [48, 30, 19, 49, 46]);
    check(1024, [112, 350, 403, 753, 878]);
}

#[test]
fn given_known_conversations_when_asked_for_their_shard_then_it_is_the_one_it_always_was() {
    let check = |shards, expect: [u16; 5]| {
        let count = ShardCount::new(shards).unwrap();
        let words = [(1, 1), (42, 43), (0, 7), (42, u64::MAX), (u64::MAX, u64::MAX)];
        let found = words.map(|(high, low)| count.of_conversation(ConversationId::from_words(high, low).unwrap()).0);
        assert_eq!(found, expect, "{shards} shards");
    };
    check(1, [0, 0, 0, 0, 0]);
    check(64, [15, 26, 30, 25, 30]);
    check(1024, [655, 218, 734, 281, 222]);
}

#[test]
fn given_neighbouring_ids_when_spread_over_shards_then_every_shard_gets_its_share() {
    let count = ShardCount::new(64).unwrap();
    let mut users = [0u32; 64];
    let mut conversations = [0u32; 64];
    for number in 1..=64_000 {
        users[usize::from(count.of_user(user(number)).0)] += 1;
        let conversation = ConversationId::direct(user(number), user(number + 1));
        conversations[usize::from(count.of_conversation(conversation).0)] += 1;
    }
    for share in users.into_iter().chain(conversations) {
        assert!((850..=1150).contains(&share), "a share of {share} of 1000");
    }
}

#[test]
fn given_conversation_words_when_read_then_only_the_documented_form_passes() {
    let check = |high, low, expect| {
        assert_eq!(ConversationId::from_words(high, low).map(ConversationId::kind), expect, "({high}, {low})");
    };
    check(0, 0, None);
    check(1, 0, None);
    check(2, 1, None);
    check(0, 7, Some(ConversationKind::Group(GroupId::new(7).unwrap())));
    check(1, 1, Some(ConversationKind::Direct(user(1), user(1))));
    check(1, 2, Some(ConversationKind::Direct(user(1), user(2))));
}

#[test]
fn given_two_users_when_either_names_the_other_then_it_is_one_conversation() {
    let conversation = ConversationId::direct(user(43), user(42));
    assert_eq!(conversation, ConversationId::direct(user(42), user(43)));
    assert_eq!(conversation.words(), (42, 43));
    assert_eq!(conversation.peer_of(user(42)), Some(user(43)));
    assert_eq!(conversation.peer_of(user(43)), Some(user(42)));
    assert_eq!(conversation.peer_of(user(44)), None);
    assert_eq!(ConversationId::direct(user(42), user(42)).peer_of(user(42)), Some(user(42)));
}

#[test]
fn given_text_when_read_as_a_client_message_id_then_only_a_hyphenated_uuid_passes() {
    let check = |text, expect: Option<&str>| {
        let read = ClientMessageId::from_text(text).map(|id| id.to_string());
        assert_eq!(read.as_deref(), expect, "{text}");
    };
    let canonical = "0f8fad5b-d9cb-469f-a165-70867728950e";
    check(canonical, Some(canonical));
    check("0F8FAD5B-D9CB-469F-A165-70867728950E", Some(canonical));
    check("", None);
    check("0f8fad5bd9cb469fa16570867728950e", None);
    check("0f8fad5b-d9cb-469f-a165-70867728950", None);
    check("0f8fad5b-d9cb-469f-a165-70867728950e0", None);
    check("0f8fad5b-d9cb-469f-a165-70867728950g", None);
    check("0f8fad5b-d9cb-469f-a165--0867728950e", None);
    check("0f8fad5b-d9cb-469f-a1650-867728950e-", None);
    check("0f8fad5b-d9cb-469f-a165-+0867728950e", None);
    check("0f8fad5b-d9cb-469f-a165-7086772895\u{e9}", None);
}

#[test]
fn given_a_clock_when_ids_are_made_then_they_carry_its_time_and_their_shard() {
    let mut ids = Snowflake::new(ShardId(1023));
    let now = Millis(SNOWFLAKE_EPOCH_MS + 123_456_789);
    let first = ids.next(now);
    assert_eq!((first.time(), first.shard()), (now, ShardId(1023)));
    assert_eq!(first.get(), (123_456_789 << 22) | (1023 << 12));
}

#[test]
fn given_a_clock_that_stands_or_goes_back_when_ids_are_made_then_they_still_grow() {
    let mut ids = Snowflake::new(ShardId(3));
    let mut last = ids.next(Millis(SNOWFLAKE_EPOCH_MS + 1_000));
    for now in [1_000u64, 999, 0, 1_000].into_iter().cycle().take(20_000) {
        let next = ids.next(Millis(SNOWFLAKE_EPOCH_MS + now));
        assert!(next > last);
        assert_eq!(next.shard(), ShardId(3));
        last = next;
    }
    assert!(last.time().0 >= SNOWFLAKE_EPOCH_MS + 1_004, "20,000 ids borrow four milliseconds from the future");
}

#[test]
fn given_a_clock_before_the_epoch_when_ids_are_made_then_they_are_valid_and_grow() {
    let mut ids = Snowflake::new(ShardId(0));
    let first = ids.next(Millis(0));
    assert!(ids.next(Millis(0)) > first);
}

#[test]
fn given_ids_found_by_recovery_when_ids_are_made_then_none_is_at_or_below_them() {
    let found = [(5_000u64 << 22) | (9 << 12) | 4_095, (4_000 << 22) | (9 << 12) | 17].map(message);
    let mut ids = Snowflake::new(ShardId(9));
    found.into_iter().for_each(|id| ids.observe(id));
    let next = ids.next(Millis(SNOWFLAKE_EPOCH_MS + 10));
    assert!(found.iter().all(|&id| next > id));
    assert_eq!(next.time(), Millis(SNOWFLAKE_EPOCH_MS + 5_001));
}

#[test]
fn given_the_table_of_error_codes_then_numbers_and_names_are_unique_and_lead_back() {
    let numbers: HashSet<_> = ErrorCode::ALL.iter().map(|code| *code as u16).collect();
    let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!((numbers.len(), names.len()), (ErrorCode::ALL.len(), ErrorCode::ALL.len()));
    assert!(ErrorCode::ALL.is_sorted_by_key(|code| *code as u16));
    for &code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code as u16), Some(code));
        assert!(code.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", code.name());
        assert!(!code.reason().is_empty() && code.reason().len() <= switchyard_schema::limits::REASON_CHARS_MAX);
    }
    assert_eq!(ErrorCode::from_number(999), None);
}

#[test]
fn given_any_error_code_when_the_session_ends_after_it_then_the_close_code_may_be_sent() {
    for &code in ErrorCode::ALL {
        let close = CloseCode::after(code) as u16;
        // RFC 6455 §7.4.2: 1000 to 1011 as registered, 4000 to 4999 for private use.
        assert!(
            (1000..=1011).contains(&close) && ![1004, 1005, 1006].contains(&close) || (4000..5000).contains(&close)
        );
    }
}

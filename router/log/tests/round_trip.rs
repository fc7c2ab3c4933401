//! Whatever is written comes back, byte for byte and in order.

mod common;

use bytes::Bytes;
use common::{Folder, NOW, Seen, message, shard_count, watermark};
use proptest::prelude::*;
use switchyard_log::Position;
use switchyard_log::batch::{self, BatchBuilder, BatchFull, BatchHeader, BatchKind};
use switchyard_log::history::{self, Found};
use switchyard_log::limits::{BATCH_BYTES_MAX, BATCH_ROOM_BYTES_MIN, SEGMENT_BYTES_DEFAULT};
use switchyard_log::manifest::{LsnHole, Manifest, SegmentState, VoidRegion};
use switchyard_log::planner::{JournalPlan, NoSegment};
use switchyard_log::record::{RecordDamage, decode};
use switchyard_log::segment::{self, HeaderDamage, SegmentHeader, ShardSet};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};
use switchyard_schema::limits::BODY_BYTES_MAX;
use switchyard_schema::record::{CursorRecord, DeviceRecord, InboxRecord, MessageRecord, Record, WatermarkRecord};

fn header(number: u32) -> SegmentHeader {
    SegmentHeader {
        number,
        run: 1,
        core: 0,
        shard_count: shard_count(),
        salt: 0x0102_0304_0506_0708,
        created: NOW,
        bytes: SEGMENT_BYTES_DEFAULT,
        shards: ShardSet::all(shard_count()),
    }
}

fn start(buffer_bytes: u32) -> batch::BatchStart {
    let mut plan = JournalPlan::new(1, 0);
    plan.provide(header(1));
    plan.begin(buffer_bytes).unwrap()
}

fn non_zero() -> impl Strategy<Value = u64> {
    prop_oneof![1..10u64, Just(u64::MAX), 1..=u64::MAX]
}

prop_compose! {
    fn any_conversation()(one in non_zero(), other in non_zero(), group in any::<bool>()) -> ConversationId {
        let high = if group { 0 } else { one.min(other) };
        ConversationId::from_words(high, one.max(other)).unwrap()
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let numbers = (non_zero(), non_zero(), non_zero(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let body = prop::collection::vec(any::<u8>(), 0..600);
    (0..5u8, any_conversation(), numbers, any::<[u8; 16]>(), body).prop_map(|(kind, conversation, n, name, body)| {
        let (user, device) = (UserId::new(n.0).unwrap(), DeviceId::new(n.1).unwrap());
        match kind {
            0 => Record::Message(MessageRecord {
                conversation,
                sequence: Sequence(n.3),
                message: MessageId::new(n.2).unwrap(),
                sender: user,
                device,
                client_message_id: ClientMessageId(name),
                body: Bytes::from(body),
            }),
            1 => Record::Watermark(WatermarkRecord {
                conversation,
                member: user,
                delivered: Sequence(n.3),
                read: Sequence(n.4),
            }),
            2 => Record::Device(DeviceRecord { user, device, last_seen: Millis(n.3) }),
            3 => Record::Cursor(CursorRecord {
                user,
                device,
                conversation,
                delivered: Sequence(n.3),
                read: Sequence(n.4),
            }),
            _ => Record::Inbox(InboxRecord {
                user,
                conversation,
                head: Sequence(n.3),
                peer_delivered: Sequence(n.4),
                peer_read: Sequence(n.5),
                peer_moved: Millis(n.6),
            }),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn given_any_records_when_batched_then_each_comes_back_with_its_place(
        records in prop::collection::vec((any_record(), 0..4u16, non_zero(), any::<u64>()), 1..20),
    ) {
        let mut batch = BatchBuilder::new(vec![0xaa; BATCH_BYTES_MAX as usize], start(BATCH_BYTES_MAX));
        let mut positions = Vec::new();
        for (record, shard, lsn, previous) in &records {
            positions.push(batch.append(record, ShardId(*shard), *lsn, Position::unpack(*previous)).unwrap());
        }
        let sealed = batch.seal(BatchKind::Records);
        let decoded = BatchHeader::decode(sealed.bytes()).unwrap();
        prop_assert_eq!(decoded, sealed.header);
        let shared = Bytes::copy_from_slice(sealed.bytes());
        let views: Vec<_> = batch::check(&decoded, &shared).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(views.len(), records.len());
        for ((view, position), (record, shard, lsn, previous)) in views.iter().zip(&positions).zip(&records) {
            prop_assert_eq!(view.position, *position);
            prop_assert_eq!((view.shard.0, view.lsn), (*shard, *lsn));
            prop_assert_eq!(&view.payload.to_record(), record);
            prop_assert_eq!(&view.payload.to_record_within(&shared), record);
            let is_message = matches!(record, Record::Message(_));
            prop_assert_eq!(view.previous, Position::unpack(*previous).filter(|_| is_message));
        }
    }

    #[test]
    fn given_any_bytes_when_decoded_then_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let _ = decode(&bytes, Position { segment: 1, offset: 4096 });
        let _ = BatchHeader::decode(&bytes);
        let _ = SegmentHeader::decode(&bytes);
        let _ = Manifest::decode(&bytes);
    }

    #[test]
    fn given_any_position_when_read_then_the_range_is_in_blocks_and_holds_it(segment in 1..9u32, offset in 0..1u32 << 30) {
        let range = history::first_read(Position { segment, offset });
        prop_assert!(range.offset.is_multiple_of(4096) && range.bytes.is_multiple_of(4096));
        prop_assert!(range.offset <= offset && offset + 28 <= range.offset + range.bytes);
        prop_assert!(range.bytes <= 2 * 4096);
    }
}

#[test]
fn given_the_largest_body_when_appended_to_an_empty_batch_then_it_fits_and_the_next_does_not() {
    let mut batch = BatchBuilder::new(vec![0; BATCH_ROOM_BYTES_MIN as usize], start(BATCH_ROOM_BYTES_MIN));
    let record = message(1, &vec![1; BODY_BYTES_MAX]);
    assert!(batch.append(&record, ShardId(0), 1, None).is_ok());
    assert_eq!(batch.append(&record, ShardId(0), 2, None), Err(BatchFull));
    assert_eq!(batch.record_count(), 1);
}

#[test]
fn given_no_segment_when_begun_then_refused_and_a_provided_one_is_used() {
    let mut plan = JournalPlan::new(1, 0);
    assert!(plan.needs_segment());
    assert_eq!(plan.begin(BATCH_ROOM_BYTES_MIN), Err(NoSegment));
    assert!(plan.begin_mark().is_none());
    plan.provide(header(1));
    assert_eq!(plan.begin(BATCH_ROOM_BYTES_MIN).unwrap().position, Position { segment: 1, offset: 4096 });
    assert!(plan.needs_segment());
}

#[test]
fn given_a_full_segment_when_begun_then_the_journal_rolls_and_says_what_it_left() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    let first = run.write(0, &[message(1, &[1; 60_000])]);
    let second = run.write(0, &[watermark(1)]);
    assert_eq!((first.position.segment, second.position.segment), (1, 2));
    let tail = second.rolled.expect("the first segment was left");
    assert_eq!((tail.number, tail.end), (1, first.position.offset + first.bytes));
    assert_eq!(tail.ranges.as_slice().len(), 1);
    assert_eq!(folder.manifest.segment(1).unwrap().state, SegmentState::Sealed);
}

#[test]
fn given_records_of_all_lengths_when_read_by_position_then_each_is_found() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for body_bytes in [0, 10, 3900, 4000, 4096, 9000, 50_000] {
        run.write(0, &[watermark(1), message(1, &vec![3; body_bytes])]);
    }
    for seen in &folder.written {
        let file = &folder.files.0[&seen.position.segment];
        let read = |range: history::ReadRange| &file[range.offset as usize..][..range.bytes as usize];
        let mut range = history::first_read(seen.position);
        let view = loop {
            match history::decode(seen.position, range, read(range)).unwrap() {
                Found::Record(view) => break view,
                Found::Longer(longer) => range = longer,
            }
        };
        assert_eq!(&Seen::of(&view), seen);
    }
    let elsewhere = Position { offset: folder.written[0].position.offset + 1, ..folder.written[0].position };
    let range = history::first_read(elsewhere);
    assert!(history::decode(elsewhere, range, &folder.files.0[&1][4096..8192]).is_err());
}

#[test]
fn given_a_sound_record_when_read_elsewhere_then_it_says_where_it_belongs() {
    let mut folder = Folder::default();
    let sealed = folder.start(1).write(0, &[watermark(1)]);
    let bytes = &sealed.bytes()[64..];
    let at = Position { segment: 1, offset: 4096 + 64 };
    assert!(decode(bytes, at).is_ok());
    assert_eq!(decode(bytes, Position { segment: 2, ..at }), Err(RecordDamage::Elsewhere(at)));
}

#[test]
fn given_a_segment_header_when_encoded_then_it_comes_back_and_every_flip_is_seen() {
    let header = header(7);
    let block = header.encode();
    assert_eq!(SegmentHeader::decode(block.as_slice()), Ok(header));
    for byte in 0..block.len() {
        let mut flipped = block.clone();
        flipped[byte] ^= 0x10;
        assert!(SegmentHeader::decode(flipped.as_slice()).is_err(), "byte {byte}");
    }
    assert_eq!(SegmentHeader::decode(&[0; 4096]), Err(HeaderDamage::Magic));
}

#[test]
fn given_file_names_when_parsed_then_only_those_of_segments_have_a_number() {
    assert_eq!(segment::file_name(17), "0000000017.seg");
    assert_eq!(segment::number_of_file("0000000017.seg"), Some(17));
    for other in ["0000000000.seg", "17.seg", "manifest", "0000000017.seg.bak", "+000000017.seg", "9999999999.seg"] {
        assert_eq!(segment::number_of_file(other), None, "{other}");
    }
}

#[test]
fn given_a_manifest_with_everything_when_encoded_then_it_comes_back_and_every_flip_is_seen() {
    let mut folder = Folder::default();
    let mut run = folder.start(2);
    for round in 0..4 {
        run.write(round % 4, &[message(1, &[1; 60_000])]);
        run.write(round % 4, &[watermark(1)]);
    }
    let manifest = &mut folder.manifest;
    assert!(manifest.cover(|shard| if shard.0 == 0 { u64::MAX } else { 0 }));
    assert!(manifest.accept_void(VoidRegion { segment: 3, from: 4096, to: 8192 }));
    assert!(manifest.accept_hole(LsnHole { shard: ShardId(2), from: 5, to: 9 }));
    assert_eq!(manifest.floor(ShardId(0)), 1);
    let bytes = manifest.encode();
    assert_eq!(Manifest::decode(&bytes).as_ref(), Ok(&*manifest));
    for byte in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[byte] ^= 1;
        assert!(Manifest::decode(&flipped).is_err(), "byte {byte}");
        assert!(Manifest::decode(&bytes[..byte]).is_err(), "cut at {byte}");
    }
}

#[test]
fn given_covered_segments_when_retention_asks_then_only_the_oldest_without_a_gap_may_go() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for round in 0..6 {
        run.write(round % 2, &[message(1, &[1; 60_000])]);
    }
    let manifest = &mut folder.manifest;
    manifest.cover(|shard| if shard.0 == 0 { u64::MAX } else { 1 });
    let later = Millis(NOW.0 + 1);
    assert_eq!(manifest.droppable(later).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(manifest.droppable(NOW).count(), 0);
    manifest.forget(1);
    assert_eq!(manifest.oldest_segment(), 2);
}

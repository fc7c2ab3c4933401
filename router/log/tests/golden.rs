//! The bytes of format version 1, frozen. A newer version adds its own golden file and still reads this one.

mod common;

use common::{Files, NOW, Seen, message, recover_files, shard_count, watermark};
use switchyard_log::Position;
use switchyard_log::batch::{BatchBuilder, BatchKind};
use switchyard_log::limits::{BATCH_ROOM_BYTES_MIN, SEGMENT_BYTES_MIN};
use switchyard_log::manifest::{LsnHole, Manifest, VoidRegion};
use switchyard_log::planner::JournalPlan;
use switchyard_log::segment::ShardSet;
use switchyard_schema::ids::{ConversationId, DeviceId, Millis, Sequence, ShardId, UserId};
use switchyard_schema::record::{CursorRecord, DeviceRecord, InboxRecord, Record};

const SEGMENT: &[u8] = include_bytes!("golden/v1.seg");
const MANIFEST: &[u8] = include_bytes!("golden/v1.manifest");

/// Shard and record; LSNs count up from 1 per shard, the second message links to the first.
fn records() -> Vec<(u16, Record)> {
    let (user, peer) = (UserId::new(42).unwrap(), UserId::new(43).unwrap());
    let device = DeviceId::new(1).unwrap();
    let conversation = ConversationId::direct(user, peer);
    let cursor = CursorRecord { user: peer, device, conversation, delivered: Sequence(2), read: Sequence(1) };
    let inbox = InboxRecord {
        user,
        conversation,
        head: Sequence(2),
        peer_delivered: Sequence(2),
        peer_read: Sequence(1),
        peer_moved: NOW,
    };
    vec![
        (1, message(1, b"first")),
        (1, message(2, b"second")),
        (1, watermark(2)),
        (3, Record::Device(DeviceRecord { user: peer, device, last_seen: Millis(7) })),
        (3, Record::Cursor(cursor)),
        (3, Record::Inbox(inbox)),
    ]
}

fn write() -> (Vec<u8>, Manifest, Vec<Seen>) {
    let mut manifest = Manifest::new(shard_count());
    let run = manifest.begin_run();
    let shards = ShardSet::of([ShardId(1), ShardId(3)]);
    let header = manifest.allocate(2, &shards, SEGMENT_BYTES_MIN, 0x0123_4567_89ab_cdef, NOW).unwrap();
    manifest.list(&header);
    let mut file = vec![0; SEGMENT_BYTES_MIN as usize];
    file[..4096].copy_from_slice(header.encode().as_slice());
    let mut plan = JournalPlan::new(run, 2);
    plan.provide(header);

    let start = plan.begin(BATCH_ROOM_BYTES_MIN).unwrap();
    let mut batch = BatchBuilder::new(vec![0; BATCH_ROOM_BYTES_MIN as usize], start);
    let mut lsns = [0; 4];
    let mut written: Vec<Seen> = Vec::new();
    for (shard, record) in records() {
        let lsn = &mut lsns[usize::from(shard)];
        *lsn += 1;
        let previous = written.first().map(|first| first.position);
        let position = batch.append(&record, ShardId(shard), *lsn, previous).unwrap();
        written.push(Seen { shard, lsn: *lsn, position, record });
    }
    let sealed = batch.seal(BatchKind::Records);
    plan.commit(&sealed);
    file[4096..][..sealed.bytes().len()].copy_from_slice(sealed.bytes());
    let mark = BatchBuilder::new(vec![0; 4096], plan.begin_mark().unwrap()).seal(BatchKind::Stop);
    plan.commit(&mark);
    file[8192..][..4096].copy_from_slice(mark.bytes());

    for tail in plan.finish() {
        manifest.seal(&tail, NOW);
    }
    manifest.accept_void(VoidRegion { segment: 1, from: 0x3000, to: 0x4000 });
    manifest.accept_hole(LsnHole { shard: ShardId(0), from: 5, to: 6 });
    (file, manifest, written)
}

#[test]
fn given_the_golden_segment_when_written_again_then_every_byte_is_the_same() {
    let (file, manifest, _) = write();
    assert!(file == SEGMENT, "the bytes of version 1 are frozen: make a version 2");
    assert!(manifest.encode() == MANIFEST, "the bytes of version 1 are frozen: make a version 2");
}

#[test]
fn given_the_golden_segment_when_read_then_every_record_comes_back() {
    let files = Files([(1, SEGMENT.to_vec())].into());
    let manifest = Manifest::decode(MANIFEST).unwrap();
    let (recovered, seen) = recover_files(&files, Some(manifest), &|_| 0);
    assert_eq!(seen, write().2);
    assert_eq!((recovered.damages.len(), recovered.torn.len(), recovered.notes.len()), (0, 0, 0));
    assert_eq!((recovered.statistics.batches, recovered.statistics.marks), (2, 1));
}

#[test]
fn given_the_golden_segment_when_a_stranger_looks_then_the_fields_stand_where_the_document_says() {
    let u32_at = |at: usize| u32::from_le_bytes(SEGMENT[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(SEGMENT[at..at + 8].try_into().unwrap());
    assert_eq!(&SEGMENT[..4], b"SWYS");
    assert_eq!((u32_at(8), u32_at(12)), (1, 1), "number and run");
    assert_eq!(u64_at(16), 0x0123_4567_89ab_cdef, "salt");
    assert_eq!(u64_at(40), 0b1010, "the first word of the shard set");
    let batch = 4096;
    assert_eq!(&SEGMENT[batch..batch + 4], b"SWYB");
    assert_eq!((u32_at(batch + 16), u32_at(batch + 20)), (1, 4096), "own position");
    assert_eq!((u64_at(batch + 24), u32_at(batch + 36), u32_at(batch + 40)), (1, 0, 6), "number, previous, records");
    let record = batch + 64;
    assert_eq!((SEGMENT[record + 4], SEGMENT[record + 5]), (1, 1), "kind and version");
    assert_eq!((u32_at(record + 8), u64_at(record + 12)), (28 + 72 + 5, 1), "length and LSN");
    let second = record + 28 + 72 + 5;
    let first = Position { segment: 1, offset: u32::try_from(record).unwrap() };
    assert_eq!(u64_at(second + 28), first.pack(), "the previous message");
}

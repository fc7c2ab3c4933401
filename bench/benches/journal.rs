//! The journal's own work beside the raw limit: a batch of records built, sealed and made durable, against as many bytes
//! written to a plain preallocated file with O_DIRECT and fdatasync. The disk decides both; the difference is ours.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchyard_bench::plain_file::{AlignedBuffer, PlainFile};
use switchyard_bench::table;
use switchyard_log::batch::{BatchBuilder, BatchKind};
use switchyard_log::limits::{BATCH_BYTES_MAX, SEGMENT_BYTES_DEFAULT};
use switchyard_log::planner::JournalPlan;
use switchyard_log::segment::{SegmentHeader, ShardSet};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::record::{MessageRecord, Record};

const BODY_BYTES: usize = 900;
const SHARD: ShardId = ShardId(0);
const FILE_BYTES: u64 = 64 * 1024 * 1024;

fn record() -> Record {
    let user = |number| UserId::new(number).expect("not zero");
    Record::Message(MessageRecord {
        conversation: ConversationId::direct(user(1), user(2)),
        sequence: Sequence(1),
        message: MessageId::new(1).expect("not zero"),
        sender: user(1),
        device: DeviceId::new(1).expect("not zero"),
        client_message_id: ClientMessageId([1; 16]),
        body: Bytes::from(vec![7; BODY_BYTES]),
    })
}

fn segment(number: u32) -> SegmentHeader {
    let shard_count = ShardCount::new(1).expect("one shard");
    SegmentHeader {
        number,
        run: 1,
        core: 0,
        shard_count,
        salt: 42,
        created: Millis(0),
        bytes: SEGMENT_BYTES_DEFAULT,
        shards: ShardSet::all(shard_count),
    }
}

/// Builds batches as the engine does, in memory that is used again.
struct Journal {
    plan: JournalPlan,
    segments: u32,
    lsn: u64,
    buffer: Option<AlignedBuffer>,
}

impl Journal {
    fn new() -> Self {
        let buffer = Some(AlignedBuffer::new(BATCH_BYTES_MAX as usize));
        Self { plan: JournalPlan::new(1, 0), segments: 0, lsn: 0, buffer }
    }

    /// A sealed batch of `count` records, handed to `write`.
    fn batch(&mut self, record: &Record, count: usize, write: impl FnOnce(&[u8])) {
        if self.plan.needs_segment() {
            self.segments += 1;
            self.plan.provide(segment(self.segments));
        }
        let start = self.plan.begin(BATCH_BYTES_MAX).expect("a segment is ready");
        let mut builder = BatchBuilder::new(self.buffer.take().expect("given back"), start);
        for _ in 0..count {
            self.lsn += 1;
            builder.append(record, SHARD, self.lsn, None).expect("256 records fit a batch");
        }
        let sealed = builder.seal(BatchKind::Records);
        self.plan.commit(&sealed);
        write(sealed.bytes());
        self.buffer = Some(sealed.buffer);
    }
}

fn file(name: &str) -> (PathBuf, PlainFile) {
    let path = table::target().join("bench").join(name);
    let file = PlainFile::make(&path, FILE_BYTES).expect("the target folder lies on a disk with O_DIRECT");
    (path, file)
}

fn append(criterion: &mut Criterion) {
    let record = record();
    let (_, mut journal_file) = file("journal");
    let (_, mut plain_file) = file("plain");
    for count in [1_usize, 16, 256] {
        let mut group = criterion.benchmark_group(format!("journal, {count} records of 1 KiB"));
        group.throughput(Throughput::Elements(count as u64));
        let mut journal = Journal::new();
        group.bench_function("build and seal only", |bencher| {
            bencher.iter(|| journal.batch(&record, count, |bytes| assert!(!bytes.is_empty())));
        });
        let mut journal = Journal::new();
        group.bench_function("durable", |bencher| {
            bencher.iter(|| {
                journal.batch(&record, count, |bytes| journal_file.append_durably(bytes).expect("the disk takes it"));
            });
        });
        let plain = AlignedBuffer::new(count * 1024);
        group.bench_function("plain O_DIRECT and fdatasync", |bencher| {
            bencher.iter(|| plain_file.append_durably(plain.as_ref()).expect("the disk takes it"));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(3));
    targets = append
}
criterion_main!(benches);

//! Journals in memory, written once by the real planner and batch builder, for the fuzzers to damage.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use switchyard_log::Position;
use switchyard_log::batch::{BatchBuilder, BatchKind, SealedBatch};
use switchyard_log::limits::{BATCH_ROOM_BYTES_MIN, BLOCK_BYTES, SEGMENT_BYTES_MIN};
use switchyard_log::manifest::Manifest;
use switchyard_log::planner::JournalPlan;
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{Mode, Recovered, RecoveryError, recover};
use switchyard_log::segment::ShardSet;
use switchyard_log::storage::{SegmentFile, Storage};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::record::{CursorRecord, MessageRecord, Record};

/// Shards of every folder here.
pub(crate) const SHARDS: u16 = 4;
/// When everything here happens.
pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

/// The segments' files; those that are not damaged are shared by all runs of a target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<u32, Arc<Vec<u8>>>);

/// A read outside a file: recovery asks only for what is there.
#[derive(Debug, thiserror::Error)]
#[error("read outside a file")]
pub(crate) struct Outside;

impl Storage for Files {
    type Error = Outside;

    fn segments(&self) -> Result<Vec<SegmentFile>, Outside> {
        let file = |(number, bytes): (&u32, &Arc<Vec<u8>>)| {
            let bytes = u32::try_from(bytes.len()).map_err(|_| Outside)?;
            Ok(SegmentFile { number: *number, bytes })
        };
        self.0.iter().map(file).collect()
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), Outside> {
        let file = self.0.get(&segment).ok_or(Outside)?;
        let bytes = file.get(offset as usize..offset as usize + buffer.len()).ok_or(Outside)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// A record as it was written or read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) shard: u16,
    pub(crate) lsn: u64,
    pub(crate) position: Position,
    pub(crate) bytes: u32,
    pub(crate) record: Record,
}

/// A journal and every record that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) files: Files,
    pub(crate) manifest: Manifest,
    pub(crate) written: Vec<Seen>,
    lsns: [u64; SHARDS as usize],
}

/// Recovers, with every record that was passed on.
pub(crate) fn recovered(
    files: &Files,
    manifest: Option<Manifest>,
    mode: &Mode<'_>,
) -> Result<(Recovered, Vec<Seen>), RecoveryError<Outside>> {
    let mut seen = Vec::new();
    let mut visitor = |view: &RecordView<'_>| {
        let (shard, lsn, position) = (view.shard.0, view.lsn, view.position);
        seen.push(Seen { shard, lsn, position, bytes: view.bytes, record: view.payload.to_record() });
    };
    let shards = ShardCount::new(SHARDS).expect("in range");
    let found = recover(files, manifest, shards, NOW, mode, &mut visitor)?;
    Ok((found, seen))
}

/// Two runs, the first with two cores and segments that were rolled, both stopped cleanly.
pub(crate) fn ordinary() -> &'static Journal {
    static JOURNAL: LazyLock<Journal> = LazyLock::new(|| {
        let mut journal = Journal::new();
        journal.run(2, 40, true);
        journal.run(1, 12, true);
        journal
    });
    &JOURNAL
}

/// The same, and a third run that was cut off.
pub(crate) fn crashed() -> &'static Journal {
    static JOURNAL: LazyLock<Journal> = LazyLock::new(|| {
        let mut journal = ordinary().clone();
        journal.run(2, 15, false);
        journal
    });
    &JOURNAL
}

/// One run of one core, cut off in its first segment.
pub(crate) fn young() -> &'static Journal {
    static JOURNAL: LazyLock<Journal> = LazyLock::new(|| {
        let mut journal = Journal::new();
        journal.run(1, 5, false);
        journal
    });
    &JOURNAL
}

impl Journal {
    fn new() -> Self {
        let manifest = Manifest::new(ShardCount::new(SHARDS).expect("in range"));
        Self { files: Files::default(), manifest, written: Vec::new(), lsns: [0; SHARDS as usize] }
    }

    /// `batches` batches, dealt out to the shards; a closing mark here and there, and at the end when `clean`.
    fn run(&mut self, cores: u16, batches: u64, clean: bool) {
        let run = self.manifest.begin_run();
        let mut plans: Vec<JournalPlan> = (0..cores).map(|core| JournalPlan::new(run, core)).collect();
        for number in 0..batches {
            let shard = u16::try_from(number * 7 % u64::from(SHARDS)).expect("a small number");
            let core = shard % cores;
            let plan = &mut plans[usize::from(core)];
            if plan.needs_segment() {
                plan.provide(self.segment(core, cores));
            }
            let start = plan.begin(BATCH_ROOM_BYTES_MIN).expect("a segment was provided");
            let mut batch = BatchBuilder::new(vec![0; BATCH_ROOM_BYTES_MIN as usize], start);
            for _ in 0..1 + number % 3 {
                self.append(&mut batch, shard, number);
            }
            let sealed = batch.seal(BatchKind::Records);
            plan.commit(&sealed);
            self.put(&sealed);
            if number % 11 == 10 {
                self.mark(plan, BatchKind::Idle);
            }
        }
        if clean {
            for mut plan in plans {
                self.mark(&mut plan, BatchKind::Stop);
                plan.finish().iter().for_each(|tail| self.manifest.seal(tail, NOW));
            }
        }
    }

    fn segment(&mut self, core: u16, cores: u16) -> switchyard_log::segment::SegmentHeader {
        let shards = ShardSet::of((0..SHARDS).filter(|shard| shard % cores == core).map(ShardId));
        let salt = 0x5eed_0000 + u64::from(self.manifest.next_segment()) * 0x0101;
        let bytes = SEGMENT_BYTES_MIN + 4 * BLOCK_BYTES;
        let header = self.manifest.allocate(core, &shards, bytes, salt, NOW).expect("few segments");
        let mut file = vec![0; bytes as usize];
        file[..BLOCK_BYTES as usize].copy_from_slice(header.encode().as_slice());
        self.files.0.insert(header.number, Arc::new(file));
        self.manifest.list(&header);
        header
    }

    fn append(&mut self, batch: &mut BatchBuilder<Vec<u8>>, shard: u16, number: u64) {
        let lsn = self.lsns[usize::from(shard)] + 1;
        let (one, other) = (UserId::new(42).expect("not zero"), UserId::new(43).expect("not zero"));
        let (conversation, device) = (ConversationId::direct(one, other), DeviceId::new(1).expect("not zero"));
        let record = if lsn.is_multiple_of(4) {
            let (delivered, read) = (Sequence(lsn), Sequence(u64::MAX));
            Record::Cursor(CursorRecord { user: one, device, conversation, delivered, read })
        } else {
            let length = if number % 9 == 8 { 5000 } else { 10 + usize::from(shard) * 50 };
            Record::Message(MessageRecord {
                conversation,
                sequence: Sequence(lsn),
                message: MessageId::new(u64::from(shard) << 20 | lsn).expect("not zero"),
                sender: one,
                device,
                client_message_id: ClientMessageId([7; 16]),
                body: Bytes::from(vec![0xb0 | u8::try_from(shard).expect("small"); length]),
            })
        };
        let Ok(position) = batch.append(&record, ShardId(shard), lsn, None) else { return };
        self.lsns[usize::from(shard)] = lsn;
        let bytes = u32::try_from(switchyard_log::record::encoded_bytes(&record)).expect("small");
        self.written.push(Seen { shard, lsn, position, bytes, record });
    }

    fn mark(&mut self, plan: &mut JournalPlan, kind: BatchKind) {
        if let Some(start) = plan.begin_mark() {
            let sealed = BatchBuilder::new(vec![0; BLOCK_BYTES as usize], start).seal(kind);
            plan.commit(&sealed);
            self.put(&sealed);
        }
    }

    fn put(&mut self, sealed: &SealedBatch<Vec<u8>>) {
        let file = Arc::make_mut(self.files.0.get_mut(&sealed.position.segment).expect("planned in a segment"));
        let from = sealed.position.offset as usize;
        file[from..from + sealed.bytes().len()].copy_from_slice(sealed.bytes());
        if let Some(tail) = &sealed.rolled {
            self.manifest.seal(tail, NOW);
        }
    }
}

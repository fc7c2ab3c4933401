//! A folder of segments in memory and a server that writes it: what the tests run recovery against.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use bytes::Bytes;
use switchyard_log::Position;
use switchyard_log::batch::{BatchBuilder, BatchKind, SealedBatch};
use switchyard_log::limits::{BATCH_ROOM_BYTES_MIN, SEGMENT_BYTES_MIN};
use switchyard_log::manifest::Manifest;
use switchyard_log::planner::JournalPlan;
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{Mode, Recovered, recover};
use switchyard_log::segment::ShardSet;
use switchyard_log::storage::{SegmentFile, Storage};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::record::{MessageRecord, Record, WatermarkRecord};

pub const NOW: Millis = Millis(1_800_000_000_000);

pub fn shard_count() -> ShardCount {
    ShardCount::new(4).unwrap()
}

pub fn message(sequence: u64, body: &[u8]) -> Record {
    let (one, other) = (UserId::new(42).unwrap(), UserId::new(43).unwrap());
    Record::Message(MessageRecord {
        conversation: ConversationId::direct(one, other),
        sequence: Sequence(sequence),
        message: MessageId::new(1000 + sequence).unwrap(),
        sender: one,
        device: DeviceId::new(1).unwrap(),
        client_message_id: ClientMessageId([7; 16]),
        body: Bytes::copy_from_slice(body),
    })
}

pub fn watermark(delivered: u64) -> Record {
    let (one, other) = (UserId::new(42).unwrap(), UserId::new(43).unwrap());
    Record::Watermark(WatermarkRecord {
        conversation: ConversationId::direct(one, other),
        member: other,
        delivered: Sequence(delivered),
        read: Sequence(u64::MAX), // no zeros at the end, so that every cut shows
    })
}

#[derive(Debug, thiserror::Error)]
#[error("no such bytes")]
pub struct Missing;

/// The files of a journal's folder.
#[derive(Clone, Default)]
pub struct Files(pub BTreeMap<u32, Vec<u8>>);

impl Storage for Files {
    type Error = Missing;

    fn segments(&self) -> Result<Vec<SegmentFile>, Missing> {
        let file = |(number, bytes): (&u32, &Vec<u8>)| SegmentFile {
            number: *number,
            bytes: u32::try_from(bytes.len()).unwrap(),
        };
        Ok(self.0.iter().map(file).collect())
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), Missing> {
        let file = self.0.get(&segment).ok_or(Missing)?;
        let bytes = file.get(offset as usize..offset as usize + buffer.len()).ok_or(Missing)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// A record as a test remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub shard: u16,
    pub lsn: u64,
    pub position: Position,
    pub record: Record,
}

impl Seen {
    pub fn of(view: &RecordView<'_>) -> Self {
        let record = view.payload.to_record();
        Self { shard: view.shard.0, lsn: view.lsn, position: view.position, record }
    }
}

/// A data folder, and every record written to it in order.
#[derive(Clone)]
pub struct Folder {
    pub files: Files,
    pub manifest: Manifest,
    pub written: Vec<Seen>,
    pub segment_bytes: u32,
    pub lsns: [u64; 4],
    pub salts: u64,
}

impl Default for Folder {
    fn default() -> Self {
        Self {
            files: Files::default(),
            manifest: Manifest::new(shard_count()),
            written: Vec::new(),
            segment_bytes: SEGMENT_BYTES_MIN + 8 * 4096,
            lsns: [0; 4],
            salts: 0x5eed,
        }
    }
}

impl Folder {
    /// Starts a run with `cores` cores; core `c` owns the shards `s` with `s % cores == c`.
    pub fn start(&mut self, cores: u16) -> Run<'_> {
        let run = self.manifest.begin_run();
        let plans = (0..cores).map(|core| JournalPlan::new(run, core)).collect();
        Run { folder: self, plans }
    }

    /// Recovers with nothing covered, as the manifest stands.
    pub fn recover(&self) -> (Recovered, Vec<Seen>) {
        self.recover_from(&|_| 0)
    }

    pub fn recover_from(&self, covered: &dyn Fn(ShardId) -> u64) -> (Recovered, Vec<Seen>) {
        recover_files(&self.files, Some(self.manifest.clone()), covered)
    }

    /// What a start does: recover, write the manifest, remove what holds nothing.
    pub fn restart(&mut self) -> (Recovered, Vec<Seen>) {
        let (recovered, seen) = self.recover();
        self.adopt(&recovered);
        (recovered, seen)
    }

    pub fn adopt(&mut self, recovered: &Recovered) {
        self.manifest = Manifest::decode(&recovered.manifest.encode()).unwrap();
        for leftover in &recovered.leftovers {
            self.files.0.remove(leftover);
        }
        for tail in &recovered.shards {
            self.lsns[usize::from(tail.shard.0)] = tail.last_lsn;
        }
    }

    fn preallocate(&mut self, core: u16, cores: u16) -> switchyard_log::segment::SegmentHeader {
        self.salts = self.salts.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let shards = ShardSet::of((0..4).filter(|shard| shard % cores == core).map(ShardId));
        let header = self.manifest.allocate(core, &shards, self.segment_bytes, self.salts, NOW).unwrap();
        let mut file = vec![0; self.segment_bytes as usize];
        file[..4096].copy_from_slice(header.encode().as_slice());
        self.files.0.insert(header.number, file);
        self.manifest.list(&header);
        header
    }
}

pub fn recover_files(
    files: &Files,
    manifest: Option<Manifest>,
    covered: &dyn Fn(ShardId) -> u64,
) -> (Recovered, Vec<Seen>) {
    let mut seen = Vec::new();
    let mut visitor = |view: &RecordView<'_>| seen.push(Seen::of(view));
    let mode = Mode::Recover(covered);
    let recovered = recover(files, manifest, shard_count(), NOW, &mode, &mut visitor).unwrap();
    (recovered, seen)
}

/// A server that writes, one batch at a time.
pub struct Run<'a> {
    pub folder: &'a mut Folder,
    plans: Vec<JournalPlan>,
}

impl Run<'_> {
    /// One durable batch on the core that owns `shard`.
    pub fn write(&mut self, shard: u16, records: &[Record]) -> SealedBatch<Vec<u8>> {
        let core = self.core_of(shard);
        self.prepare(core);
        let start = self.plans[core].begin(BATCH_ROOM_BYTES_MIN).unwrap();
        let mut batch = BatchBuilder::new(vec![0xee; BATCH_ROOM_BYTES_MIN as usize], start);
        for record in records {
            let lsn = self.folder.lsns[usize::from(shard)] + 1;
            self.folder.lsns[usize::from(shard)] = lsn;
            let position = batch.append(record, ShardId(shard), lsn, None).unwrap();
            self.folder.written.push(Seen { shard, lsn, position, record: record.clone() });
        }
        let sealed = batch.seal(BatchKind::Records);
        self.plans[core].commit(&sealed);
        self.put(&sealed);
        sealed
    }

    /// A closing mark on the core that owns `shard`.
    pub fn mark(&mut self, shard: u16, kind: BatchKind) -> SealedBatch<Vec<u8>> {
        let core = self.core_of(shard);
        let start = self.plans[core].begin_mark().unwrap();
        let sealed = BatchBuilder::new(vec![0; 4096], start).seal(kind);
        self.plans[core].commit(&sealed);
        self.put(&sealed);
        sealed
    }

    /// A clean stop: every core's last segment is sealed in the manifest.
    pub fn stop(self) {
        for plan in self.plans {
            for tail in plan.finish() {
                self.folder.manifest.seal(&tail, NOW);
            }
        }
    }

    fn core_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.plans.len()
    }

    fn prepare(&mut self, core: usize) {
        if self.plans[core].needs_segment() {
            let cores = u16::try_from(self.plans.len()).unwrap();
            let header = self.folder.preallocate(u16::try_from(core).unwrap(), cores);
            self.plans[core].provide(header);
        }
    }

    fn put(&mut self, sealed: &SealedBatch<Vec<u8>>) {
        let file = self.folder.files.0.get_mut(&sealed.position.segment).unwrap();
        let from = sealed.position.offset as usize;
        file[from..from + sealed.bytes().len()].copy_from_slice(sealed.bytes());
        if let Some(tail) = &sealed.rolled {
            self.folder.manifest.seal(tail, NOW);
        }
    }
}

//! The journal's disk and folder: what the server asks of them, when it is done, and what is left after a crash.
//!
//! It stands in for `router/server`'s journal files and journal folder: the same steps in the same order, each of which may
//! fail or be cut short.

mod files;

use std::collections::BTreeMap;

use bytes::Bytes;
use switchyard_engine::JournalRead;
use switchyard_log::batch::{self, BatchHeader, SealedBatch};
use switchyard_log::manifest::{Manifest, SegmentEntry, SegmentState};
use switchyard_log::planner::SegmentTail;
use switchyard_log::record::Payload;
use switchyard_log::recovery::Recovered;
use switchyard_log::segment::{SegmentHeader, ShardSet};
use switchyard_schema::ids::{Millis, ShardId};

use crate::agenda::Event;
use crate::canary::torn_and_accepted;
use crate::fault::Fault;
use crate::shared::Shared;

pub use files::{Files, Unreadable};

/// What a core asked of the disk.
#[derive(Debug)]
enum Task {
    Write { header: BatchHeader, bytes: Vec<u8> },
    Read(JournalRead),
    Segment { shards: ShardSet, now: Millis },
    Seal { tail: SegmentTail, now: Millis },
    Cover(Vec<(ShardId, u64)>),
}

/// What the disk has to say to a core.
#[derive(Debug)]
pub(crate) enum Report {
    Written(Result<(), Unreadable>),
    Read { read: JournalRead, bytes: Option<Bytes> },
    Segment(Option<SegmentHeader>),
    Manifest,
}

/// Faults that are armed: each strikes as often as its number says, then is gone.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Armed {
    pub(crate) write_errors: u32,
    pub(crate) sync_errors: u32,
    pub(crate) full_until_us: u64,
    pub(crate) slow_until_us: u64,
}

/// A batch that was made durable.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Landed {
    pub(crate) header: BatchHeader,
    /// Whether a later batch or closing mark of the same journal is durable too.
    pub(crate) followed: bool,
}

/// How a server ended without wanting to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Crash {
    /// The process is gone, the machine goes on.
    Kill,
    /// The machine is gone.
    Power,
}

/// The folder of segments.
#[derive(Debug)]
pub struct Disk {
    pub(crate) files: Files,
    /// The manifest's file; always replaced as a whole.
    manifest: Option<Vec<u8>>,
    /// What the running server knows of it.
    listed: Option<Manifest>,
    covered: Vec<u64>,
    segment_bytes: u32,
    tasks: BTreeMap<u64, (u16, Task)>,
    next_task: u64,
    pub(crate) armed: Armed,
    /// Every batch that became durable, oldest first.
    pub(crate) landed: Vec<Landed>,
    salts: u64,
}

impl Disk {
    /// An empty folder.
    #[must_use]
    pub fn new(shared: &Shared) -> Self {
        Self {
            files: Files::default(),
            manifest: None,
            listed: None,
            covered: vec![0; usize::from(shared.plan.shards.get())],
            segment_bytes: shared.plan.segment_bytes,
            tasks: BTreeMap::new(),
            next_task: 0,
            armed: Armed::default(),
            landed: Vec::new(),
            salts: shared.plan.seed,
        }
    }

    /// The manifest's bytes, as a start reads them.
    pub(crate) fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    /// The folder as a start leaves it: what was read is synced, the list is written, leftovers are gone. `steps` says after
    /// how many of these steps the power may fail.
    pub(crate) fn adopt(&mut self, recovered: &Recovered, steps: u64) {
        if steps == 0 {
            return;
        }
        recovered.segments_read.iter().for_each(|segment| self.files.sync(*segment));
        if steps == 1 {
            return;
        }
        self.manifest = Some(recovered.manifest.encode());
        if steps == 2 {
            return;
        }
        recovered.leftovers.iter().for_each(|segment| self.files.remove(*segment));
        self.covered.fill(0);
        self.listed = Some(recovered.manifest.clone());
    }

    pub(crate) fn begin_write(&mut self, shared: &mut Shared, core: u16, batch: &SealedBatch<Vec<u8>>) {
        self.begin(shared, core, Task::Write { header: batch.header, bytes: batch.bytes().to_vec() });
    }

    pub(crate) fn begin_read(&mut self, shared: &mut Shared, core: u16, read: JournalRead) {
        self.begin(shared, core, Task::Read(read));
    }

    pub(crate) fn begin_segment(&mut self, shared: &mut Shared, core: u16, shards: ShardSet, now: Millis) {
        self.begin(shared, core, Task::Segment { shards, now });
    }

    pub(crate) fn begin_seal(&mut self, shared: &mut Shared, core: u16, tail: SegmentTail, now: Millis) {
        self.begin(shared, core, Task::Seal { tail, now });
    }

    pub(crate) fn begin_cover(&mut self, shared: &mut Shared, core: u16, covered: Vec<(ShardId, u64)>) {
        self.begin(shared, core, Task::Cover(covered));
    }

    /// Whether a core waits for nothing.
    pub(crate) fn is_idle(&self, core: u16) -> bool {
        self.tasks.values().all(|(of, _)| *of != core)
    }

    fn begin(&mut self, shared: &mut Shared, core: u16, task: Task) {
        self.next_task += 1;
        let mut us = shared.plan.disk.draw(&mut shared.random);
        if shared.agenda.now_us() < self.armed.slow_until_us {
            us = us * 20 + 10_000;
        }
        self.tasks.insert(self.next_task, (core, task));
        shared.agenda.after(us, Event::Disk { life: shared.life, task: self.next_task });
    }

    /// What was asked for is done, or has failed. Gives the core that asked.
    pub(crate) fn finish(&mut self, shared: &mut Shared, task: u64) -> Option<(u16, Report)> {
        let (core, task) = self.tasks.remove(&task)?;
        let report = match task {
            Task::Write { header, bytes } => Report::Written(self.write(shared, &header, &bytes)),
            Task::Read(read) => {
                let range = read.range;
                let bytes = self.files.read(range.segment, range.offset, range.bytes);
                if bytes.is_err() {
                    shared.trouble.reads += 1;
                    shared.story.tell(shared.agenda.now_us(), format_args!("core {core}: a read of {range:?} fails"));
                }
                Report::Read { read, bytes: bytes.ok().map(Bytes::from) }
            }
            Task::Segment { shards, now } => Report::Segment(self.make_segment(shared, core, &shards, now)),
            Task::Seal { tail, now } => {
                self.seal(&tail, now);
                Report::Manifest
            }
            Task::Cover(covered) => {
                self.cover(&covered);
                Report::Manifest
            }
        };
        Some((core, report))
    }

    fn write(&mut self, shared: &mut Shared, header: &BatchHeader, bytes: &[u8]) -> Result<(), Unreadable> {
        let (segment, offset) = (header.position.segment, header.position.offset);
        let random = &mut shared.random;
        if self.armed.write_errors > 0 {
            self.armed.write_errors -= 1;
            let landed_per_mille = random.pick(&[0, 500, 1000]);
            self.files.write(segment, offset, bytes, |_| random.chance(landed_per_mille));
            shared.counts.count(Fault::WriteError);
            shared.story.tell(shared.agenda.now_us(), format_args!("disk: a write to segment {segment} fails"));
            return Err(Unreadable);
        }
        self.files.write(segment, offset, bytes, |_| true);
        if self.armed.sync_errors > 0 {
            self.armed.sync_errors -= 1;
            shared.counts.count(Fault::SyncError);
            shared.story.tell(shared.agenda.now_us(), format_args!("disk: a sync of segment {segment} fails"));
            return Err(Unreadable);
        }
        self.files.sync(segment);
        self.land(*header);
        for record in batch::check(header, bytes).expect("a batch of ours is sound").flatten() {
            let (shard, lsn) = (record.shard.0, record.lsn);
            let at_us = shared.agenda.now_us();
            match record.payload {
                Payload::Message(message) => {
                    let (id, sequence) = (message.conversation, message.sequence.0);
                    shared.story.tell(at_us, format_args!("durable: {shard}/{lsn} {id} {sequence}"));
                }
                Payload::Cursor(cursor) => {
                    shared.truth.on_cursor(&cursor);
                    shared.story.tell(at_us, format_args!("durable: {shard}/{lsn} {cursor:?}"));
                }
                Payload::Watermark(record) => {
                    shared.story.tell(at_us, format_args!("durable: {shard}/{lsn} {record:?}"));
                }
                Payload::Device(record) => shared.story.tell(at_us, format_args!("durable: {shard}/{lsn} {record:?}")),
                Payload::Inbox(record) => shared.story.tell(at_us, format_args!("durable: {shard}/{lsn} {record:?}")),
            }
        }
        Ok(())
    }

    fn land(&mut self, header: BatchHeader) {
        let before = |landed: &&mut Landed| {
            let of = &landed.header;
            (of.run, of.core, of.number + 1) == (header.run, header.core, header.number)
        };
        if let Some(before) = self.landed.iter_mut().rev().find(before) {
            before.followed = true;
        }
        self.landed.push(Landed { header, followed: false });
    }

    /// Makes the next segment of `core`: file, header and list entry are durable when it returns one.
    pub(crate) fn make_segment(
        &mut self,
        shared: &mut Shared,
        core: u16,
        shards: &ShardSet,
        now: Millis,
    ) -> Option<SegmentHeader> {
        if shared.agenda.now_us() < self.armed.full_until_us {
            shared.counts.count(Fault::DiskFull);
            shared.story.tell(shared.agenda.now_us(), format_args!("disk: no space for a segment of core {core}"));
            return None;
        }
        self.salts = self.salts.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = self.segment_bytes;
        let manifest = self.listed.as_mut()?;
        let header = manifest.allocate(core, shards, bytes, self.salts, now)?;
        self.files.make(header.number, bytes, header.encode().as_slice());
        manifest.list(&header);
        self.manifest = Some(manifest.encode());
        Some(header)
    }

    /// A core has left a segment behind.
    pub(crate) fn seal(&mut self, tail: &SegmentTail, now: Millis) {
        if let Some(manifest) = &mut self.listed {
            manifest.seal(tail, now);
            self.manifest = Some(manifest.encode());
        }
    }

    /// The store covers more of some shards.
    pub(crate) fn cover(&mut self, covered: &[(ShardId, u64)]) {
        let Some(manifest) = &mut self.listed else { return };
        for (shard, lsn) in covered {
            let known = &mut self.covered[usize::from(shard.0)];
            *known = (*known).max(*lsn);
        }
        let all = &self.covered;
        if manifest.cover(|shard| all[usize::from(shard.0)]) {
            self.manifest = Some(manifest.encode());
        }
    }

    /// Forgets the segments that `core` made in this run and has not begun.
    pub(crate) fn forget_spares(&mut self, core: u16) {
        let Some(manifest) = &mut self.listed else { return };
        let run = manifest.run();
        let is_spare =
            |entry: &&SegmentEntry| entry.state == SegmentState::Open && entry.run == run && entry.core == core;
        let spares: Vec<u32> = manifest.segments().iter().filter(is_spare).map(|entry| entry.number).collect();
        spares.iter().for_each(|number| manifest.remove(*number));
        self.manifest = Some(manifest.encode());
        spares.iter().for_each(|number| self.files.remove(*number));
    }

    /// The server is gone in the middle of whatever it did.
    pub(crate) fn crash(&mut self, shared: &mut Shared, crash: Crash) {
        for (_, (core, task)) in std::mem::take(&mut self.tasks) {
            match task {
                Task::Write { header, bytes } => {
                    let (segment, offset) = (header.position.segment, header.position.offset);
                    let sectors = bytes.len() / files::SECTOR_BYTES;
                    let random = &mut shared.random;
                    // A killed process leaves the front of a write; what a loss of power does to it is drawn below.
                    let front = random.pick(&[0, 1, sectors / 2, sectors]).min(sectors);
                    self.files.write(segment, offset, &bytes, |index| index < front);
                    let at_us = shared.agenda.now_us();
                    shared.story.tell(
                        at_us,
                        format_args!(
                            "core {core}: batch {} of segment {segment} lands {front}/{sectors}",
                            header.number
                        ),
                    );
                }
                Task::Segment { shards, now } => match shared.random.below(3) {
                    0 => {}
                    1 => self.leave_unlisted(core, &shards, now),
                    _ => _ = self.make_segment(shared, core, &shards, now),
                },
                Task::Seal { tail, now } if shared.random.chance(500) => self.seal(&tail, now),
                Task::Cover(covered) if shared.random.chance(500) => self.cover(&covered),
                Task::Read(_) | Task::Seal { .. } | Task::Cover(_) => {}
            }
        }
        self.listed = None;
        if crash == Crash::Power {
            let kept_per_mille = shared.random.pick(&[0, 300, 700, 1000]);
            self.files.lose_power(&mut shared.random, kept_per_mille);
        }
    }

    /// A segment's file that the server made and did not come to list.
    fn leave_unlisted(&mut self, core: u16, shards: &ShardSet, now: Millis) {
        let Some(manifest) = &mut self.listed else { return };
        if let Some(header) = manifest.allocate(core, shards, self.segment_bytes, !self.salts, now) {
            self.files.make(header.number, self.segment_bytes, header.encode().as_slice());
        }
    }
}

impl Disk {
    /// As [`Disk::crash`]; when `bent`, a batch that was being written is torn in a way that its checksums do not show.
    pub(crate) fn crash_with(&mut self, shared: &mut Shared, crash: Crash, bent: bool) {
        let mut torn = Vec::new();
        if bent {
            for (_, task) in self.tasks.values() {
                if let Task::Write { header, bytes } = task {
                    torn.extend(torn_and_accepted(header, bytes).map(|bytes| (header.position, bytes)));
                }
            }
        }
        self.crash(shared, crash);
        for (position, bytes) in torn {
            self.files.write(position.segment, position.offset, &bytes, |_| true);
        }
    }

    /// Bits of a batch change that is followed by another, so that it can be told from a torn tail.
    pub(crate) fn flip_bits(&mut self, shared: &mut Shared) {
        let followed: Vec<BatchHeader> =
            self.landed.iter().filter(|landed| landed.followed).map(|landed| landed.header).collect();
        let here: Vec<BatchHeader> =
            followed.into_iter().filter(|header| self.files.has(header.position.segment)).collect();
        if here.is_empty() {
            return;
        }
        let header = shared.random.pick(&here);
        let at = shared.random.below(u64::from(header.length));
        let bit = shared.random.below(8);
        let offset = header.position.offset + u32::try_from(at).expect("inside a batch");
        self.files.damage(header.position.segment, offset, |bytes| bytes[0] ^= 1 << bit);
        shared.counts.count(Fault::BitFlip);
        shared.trouble.damaged += 1;
        let at_us = shared.agenda.now_us();
        shared
            .story
            .tell(at_us, format_args!("disk: a bit of segment {} at {offset} changes", header.position.segment));
    }
}

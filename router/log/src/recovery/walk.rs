//! The walk over all segments in number order.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::ids::{Millis, ShardCount, ShardId};

use super::chain::{Chain, OpenTail};
use super::report::{Damage, DamageKind, Note, Recovered, Statistics, TornTail};
use super::scan::{Result, find_any, find_next, get, header_at, is_blank, last_written};
use super::shards::{Shards, Verdict};
use super::{Mode, RecoveryError, Visitor};
use crate::Position;
use crate::batch::{self, BatchDamage, BatchHeader, BatchKind};
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, NOTES_MAX, SEGMENT_BYTES_MIN, VOIDS_MAX};
use crate::manifest::{LsnHole, Manifest, SegmentEntry, SegmentState, VoidRegion};
use crate::ranges::ShardRanges;
use crate::record::{RecordDamage, RecordView};
use crate::segment::{FIRST_BATCH_OFFSET, HeaderDamage, SegmentHeader, ShardSet};
use crate::storage::{SegmentFile, Storage, Window};

/// The state of one pass over a folder.
pub(super) struct Walk<'a, S: Storage> {
    storage: &'a S,
    shard_count: ShardCount,
    now: Millis,
    mode: &'a Mode<'a>,
    visitor: &'a mut dyn Visitor,
    manifest: Manifest,
    /// The state store lacks records that it once had: what is marked as covered is not.
    store_is_behind: bool,
    /// Nothing was dropped yet, so histories and chains begin at 1.
    complete: bool,
    chains: BTreeMap<(u32, u16), Chain>,
    shards: Shards,
    buffer: Vec<u8>,
    damages: Vec<Damage>,
    holes: Vec<LsnHole>,
    torn: Vec<TornTail>,
    segments_read: Vec<u32>,
    leftovers: Vec<u32>,
    notes: Vec<Note>,
    statistics: Statistics,
}

/// A segment being read, and what was found in it so far.
struct Reading {
    entry: SegmentEntry,
    /// The shards that may have records here.
    owned: ShardSet,
    /// Where its batches end, if that is known.
    end: Option<u32>,
    /// Where to stop at the latest.
    limit: u32,
    /// Its end is gone, or so much of its front that nothing tells what it was: it was whole when it was listed.
    maimed: Option<DamageKind>,
    batches: u64,
    ranges: ShardRanges,
    damaged: bool,
}

/// What stands where a batch should begin.
enum Step {
    /// A sound batch; the next begins here.
    Next(u32),
    /// Nothing usable. `header` when at least that much is sound.
    Bad { kind: DamageKind, header: Option<BatchHeader> },
}

impl<'a, S: Storage> Walk<'a, S> {
    pub(super) fn new(
        storage: &'a S,
        manifest: Option<Manifest>,
        shard_count: ShardCount,
        now: Millis,
        mode: &'a Mode<'a>,
        visitor: &'a mut dyn Visitor,
    ) -> Self {
        let notes = if manifest.is_none() { vec![Note::ManifestMissing] } else { Vec::new() };
        let manifest = manifest.unwrap_or_else(|| Manifest::new(shard_count));
        Self {
            storage,
            shard_count,
            now,
            mode,
            visitor,
            manifest,
            store_is_behind: false,
            complete: false,
            chains: BTreeMap::new(),
            shards: Shards::new(shard_count, |_| 0, true),
            buffer: Vec::new(),
            damages: Vec::new(),
            holes: Vec::new(),
            torn: Vec::new(),
            segments_read: Vec::new(),
            leftovers: Vec::new(),
            notes,
            statistics: Statistics::default(),
        }
    }

    /// Reads everything; `files` are in number order.
    pub(super) fn run(mut self, files: &[SegmentFile]) -> Result<Recovered, S> {
        let present: BTreeSet<u32> = files.iter().map(|file| file.number).collect();
        let listed: Vec<u32> = self.manifest.segments().iter().map(|entry| entry.number).collect();
        if let (true, Some(first)) = (self.notes.contains(&Note::ManifestMissing), present.first()) {
            self.manifest.forget(first - 1);
        }
        self.complete = self.manifest.oldest_segment() == 1;
        self.store_is_behind = match self.mode {
            Mode::Recover(covered) => {
                (0..self.shard_count.get()).map(ShardId).any(|shard| covered(shard) < self.manifest.floor(shard))
            }
            Mode::Verify => false,
        };
        self.shards = match self.mode {
            Mode::Recover(covered) => Shards::new(self.shard_count, covered, true),
            Mode::Verify => Shards::new(self.shard_count, |_| 0, self.complete),
        };
        let mut missing = listed.into_iter().filter(|number| !present.contains(number)).peekable();
        for file in files {
            while let Some(number) = missing.next_if(|number| *number < file.number) {
                self.missing(number);
            }
            self.segment(*file)?;
        }
        missing.for_each(|number| self.missing(number));
        self.behind();
        Ok(self.finish(&present))
    }

    /// The list has a segment that the folder does not have.
    fn missing(&mut self, number: u32) {
        let Some(entry) = self.manifest.segment(number).cloned() else { return };
        self.chain(&entry).exact = false;
        let lost = if self.skips(&entry) { ShardSet::EMPTY } else { owned(&entry) };
        let stands = self.damage(number, 0, 0, DamageKind::SegmentMissing, &lost);
        self.reaches(&entry);
        if stands {
            let state = if entry.state == SegmentState::Covered { entry.state } else { SegmentState::Damaged };
            self.manifest.put(SegmentEntry { state, ..entry });
        } else {
            // It stays on the list: the batches after it must not be expected to follow those before it.
            let sealed = if entry.sealed == Millis(0) { self.now } else { entry.sealed };
            let (state, ranges) = (SegmentState::Sealed, ShardRanges::default());
            self.manifest.put(SegmentEntry { state, sealed, ranges, ..entry });
        }
    }

    fn segment(&mut self, file: SegmentFile) -> Result<(), S> {
        let entry = self.manifest.segment(file.number).cloned();
        match &entry {
            None if file.number < self.manifest.oldest_segment() => {
                self.leftovers.push(file.number);
                return Ok(());
            }
            Some(entry) if self.skips(entry) => {
                self.statistics.segments_skipped += 1;
                self.chain(entry).exact = false;
                self.reaches(entry);
                return Ok(());
            }
            _ => {}
        }
        let mut window = Window::new(self.storage, file, std::mem::take(&mut self.buffer));
        match self.identify(&mut window, entry)? {
            Some(reading) => self.batches(&mut window, reading)?,
            None => self.leftovers.push(file.number),
        }
        self.segments_read.push(file.number);
        self.statistics.segments_read += 1;
        self.statistics.bytes_read += window.read_bytes;
        self.buffer = window.into_bytes();
        Ok(())
    }

    /// Whether the state store has everything that this segment holds.
    fn skips(&self, entry: &SegmentEntry) -> bool {
        let Mode::Recover(covered) = self.mode else { return false };
        let pending = self.chains.get(&(entry.run, entry.core)).is_some_and(|chain| chain.tail.is_some());
        let doubtful = entry.state == SegmentState::Covered && self.store_is_behind;
        entry.is_covered(covered) && !pending && !doubtful
    }

    /// Finds out which segment this is: from its header, else from the list, else from its batches. `None` for a file that
    /// was never finished.
    fn identify(&mut self, window: &mut Window<'_, S>, listed: Option<SegmentEntry>) -> Result<Option<Reading>, S> {
        let number = window.file.number;
        let decoded = get(window, 0, BLOCK_BYTES)?.map_or(Err(HeaderDamage::Magic), SegmentHeader::decode);
        let decoded = decoded.and_then(|h| if h.number == number { Ok(h) } else { Err(HeaderDamage::Field) });
        // A file is whole before it is listed; one that is not listed may be the beginning of one.
        let was_whole = listed.is_some() || self.notes.contains(&Note::ManifestMissing);
        let entry = match (&decoded, listed) {
            (Err(HeaderDamage::Version(version)), _) => {
                return Err(RecoveryError::Newer { segment: number, version: *version });
            }
            (Ok(header), _) if header.shard_count != self.shard_count => {
                return Err(RecoveryError::ShardCount {
                    segment: number,
                    found: header.shard_count.get(),
                    expected: self.shard_count.get(),
                });
            }
            (_, Some(entry)) => entry,
            (Ok(header), None) => SegmentEntry::open(header),
            (Err(_), None) => match find_any(window, number)? {
                Some(batch) => SegmentEntry::open(&self.header_of(Some(&batch), window.file)),
                None if was_whole => SegmentEntry::open(&self.header_of(None, window.file)),
                None => return Ok(None),
            },
        };
        if let Err(damage) = decoded {
            self.note(Note::HeaderDamaged { segment: number, damage });
        }
        let end = (entry.end != 0).then_some(entry.end);
        let mut limit = end.unwrap_or_else(|| window.end());
        let mut maimed = None;
        if was_whole && end.is_none() {
            let bytes = window.file.bytes;
            let should = decoded.as_ref().map_or(bytes.max(SEGMENT_BYTES_MIN), |header| header.bytes);
            if bytes < should {
                maimed = Some(DamageKind::CutShort { bytes });
                limit = should;
            } else if decoded.is_err() && find_next(window, &entry, 0, FIRST_BATCH_OFFSET..limit)?.is_none() {
                maimed = Some(DamageKind::NothingLeft);
            }
        }
        let owned = match decoded {
            Ok(header) if end.is_none() => header.shards,
            _ => owned(&entry),
        };
        let ranges = ShardRanges::default();
        Ok(Some(Reading { entry, owned, end, limit, maimed, batches: 0, ranges, damaged: false }))
    }

    /// A header made again from what a batch says, or from nothing.
    fn header_of(&self, batch: Option<&BatchHeader>, file: SegmentFile) -> SegmentHeader {
        SegmentHeader {
            number: file.number,
            run: batch.map_or(0, |batch| batch.run),
            core: batch.map_or(0, |batch| batch.core),
            shard_count: self.shard_count,
            salt: batch.map_or(0, |batch| batch.salt),
            created: Millis(0),
            bytes: file.bytes,
            shards: ShardSet::all(self.shard_count),
        }
    }

    /// Reads the batches of one segment, one after the other.
    fn batches(&mut self, window: &mut Window<'_, S>, mut reading: Reading) -> Result<(), S> {
        let key = (reading.entry.run, reading.entry.core);
        let mut chain = self.chains.remove(&key).unwrap_or_else(|| Chain::new(self.complete));
        let mut at = FIRST_BATCH_OFFSET;
        while at < reading.limit {
            let before = chain.link();
            let (kind, header) = match self.batch(window, &mut reading, &mut chain, at)? {
                Step::Next(next) => {
                    at = next;
                    continue;
                }
                Step::Bad { kind, header } => (kind, header),
            };
            let resume = at + header.map_or(BLOCK_BYTES, |header| header.padded_bytes());
            let next = find_next(window, &reading.entry, chain.number, resume..reading.limit)?;
            let maimed = reading.maimed.clone().filter(|_| next.is_none());
            if next.is_none()
                && reading.end.is_none()
                && maimed.is_none()
                && !goes_on(window, at, header, reading.limit)?
            {
                chain.restore(before);
                self.tail(window, &reading, &mut chain, at, header)?;
                break;
            }
            let kind = maimed.unwrap_or(kind);
            let to = next.unwrap_or(reading.limit);
            reading.damaged |= self.damage(reading.entry.number, at, to, kind, &reading.owned);
            chain.exact &= header.is_some_and(|header| at + header.padded_bytes() == to);
            at = to;
        }
        self.chains.insert(key, chain);
        self.close(reading, at);
        Ok(())
    }

    /// Looks at the batch that begins at `at` and passes its records on.
    fn batch(
        &mut self,
        window: &mut Window<'_, S>,
        reading: &mut Reading,
        chain: &mut Chain,
        at: u32,
    ) -> Result<Step, S> {
        let Some(header) = header_at(window, &reading.entry, chain.number, at)? else {
            return Ok(Step::Bad { kind: DamageKind::Unreadable, header: None });
        };
        self.follow(reading, chain, &header, at);
        let padded = header.padded_bytes();
        let fits = at + padded <= reading.limit;
        let bytes = if fits { get(window, at, padded)? } else { None };
        let records = match bytes.map_or(Err(BatchDamage::Payload), |bytes| batch::check(&header, bytes)) {
            Ok(records) => records,
            Err(damage) => return Ok(Step::Bad { kind: DamageKind::Batch(damage), header: Some(header) }),
        };
        if bytes.is_some_and(|bytes| !is_blank(&bytes[header.length as usize..])) {
            self.note(Note::PaddingNotZero { segment: reading.entry.number, offset: at });
        }
        reading.batches += 1;
        self.statistics.batches += 1;
        self.statistics.marks += u64::from(header.kind != BatchKind::Records);
        self.visitor.batch(&header);
        for record in records.flatten() {
            reading.ranges.note(record.shard, record.lsn);
            reading.damaged |= self.record(&record);
        }
        Ok(Step::Next(at + padded))
    }

    /// The header at `at` is sound: does it continue what came before?
    fn follow(&mut self, reading: &mut Reading, chain: &mut Chain, header: &BatchHeader, at: u32) {
        let follows = chain.is_followed_by(header);
        let kind = DamageKind::BatchesMissing { expected: chain.number + 1, found: header.number };
        if let Some(tail) = chain.tail.take() {
            if !follows {
                self.tail_was_durable(&tail, kind);
            }
        } else if chain.exact && !follows {
            reading.damaged |= self.damage(reading.entry.number, at, at, kind, &reading.owned);
        }
        chain.advance(header);
    }

    /// A later segment of the same core proves that more was durable than can be read.
    fn tail_was_durable(&mut self, tail: &OpenTail, kind: DamageKind) {
        let number = tail.entry.number;
        let stands = self.damage(number, tail.from, tail.to, kind, &tail.owned);
        let entry = self.manifest.segment(number).unwrap_or(&tail.entry).clone();
        self.manifest.put(if stands {
            SegmentEntry { state: SegmentState::Damaged, end: 0, ranges: unknown_ranges(&tail.owned), ..entry }
        } else {
            SegmentEntry { end: tail.to, ..entry }
        });
        self.leftovers.retain(|leftover| *leftover != number);
    }

    /// Nothing sound follows in an open segment: the rest of a write that was never acknowledged, or space never written.
    fn tail(
        &mut self,
        window: &mut Window<'_, S>,
        reading: &Reading,
        chain: &mut Chain,
        from: u32,
        header: Option<BatchHeader>,
    ) -> Result<(), S> {
        let limit = reading.limit;
        let to = match header {
            Some(header) => (from + header.padded_bytes()).min(limit),
            None => last_written(window, from..limit.min(from + BATCH_BYTES_MAX))?,
        };
        let torn = (to > from).then_some(TornTail { segment: reading.entry.number, from, to });
        if reading.batches == 0 && header.is_none() && chain.number != 0 {
            // A spare, or its very first write torn before the header: the segment before it still ends the chain.
            self.torn.extend(torn);
        } else {
            let owned = reading.owned.clone();
            chain.tail = Some(OpenTail { entry: reading.entry.clone(), from, to: limit, owned, torn });
        }
        Ok(())
    }

    /// The segment is read up to `end`: what the list should say of it.
    fn close(&mut self, reading: Reading, end: u32) {
        let Reading { entry, owned, batches, ranges, damaged, .. } = reading;
        let number = entry.number;
        let torn = self.torn.iter().any(|torn| torn.segment == number);
        let torn = torn || self.chains.values().any(|chain| chain.torn_in(number));
        let given_up = self.manifest.voids().iter().any(|void| void.segment == number);
        if batches == 0 && !damaged && !torn && !given_up && entry.end == 0 {
            self.leftovers.push(number);
            self.manifest.remove(number);
            self.manifest.reserve(number, entry.run);
            return;
        }
        let sealed = if entry.sealed == Millis(0) { self.now } else { entry.sealed };
        self.reaches(&entry);
        self.manifest.put(if damaged {
            let ranges = if entry.end == 0 { unknown_ranges(&owned) } else { entry.ranges };
            SegmentEntry { state: SegmentState::Damaged, sealed, ranges, ..entry }
        } else {
            SegmentEntry { state: SegmentState::Sealed, sealed, end, ranges, ..entry }
        });
    }

    /// A sealed segment is behind: shards that got as far as its last records lost nothing in it.
    fn reaches(&mut self, entry: &SegmentEntry) {
        if entry.end != 0 {
            entry.ranges.as_slice().iter().for_each(|range| self.shards.reaches(range.shard, range.max));
        }
    }

    /// Passes a record on, or says why not. True when it shows damage.
    fn record(&mut self, record: &RecordView<'_>) -> bool {
        let Position { segment, offset } = record.position;
        let Some(verdict) = self.shards.on_record(record.shard, record.lsn, self.manifest.holes()) else {
            let damage = BatchDamage::Record { position: record.position, damage: RecordDamage::Field };
            return self.damage(segment, offset, offset + record.bytes, DamageKind::Batch(damage), &ShardSet::EMPTY);
        };
        let (shard, found) = (record.shard, record.lsn);
        let refused = match verdict {
            Verdict::Deliver => {
                self.statistics.records += 1;
                self.visitor.record(record);
                return false;
            }
            Verdict::Withhold => false,
            Verdict::Missing { expected, trouble } => {
                self.hole(LsnHole { shard, from: expected, to: found - 1 });
                self.lost(record, trouble, DamageKind::LsnMissing { shard, expected, found })
            }
            Verdict::Repeated { trouble } => {
                self.hole(LsnHole { shard, from: found, to: found });
                self.lost(record, trouble, DamageKind::LsnRepeated { shard, lsn: found })
            }
        };
        self.statistics.records_withheld += 1;
        self.visitor.withheld(record);
        refused
    }

    /// The shard of `record` refuses, because of `trouble` that was found before or else of this. True for new damage.
    fn lost(&mut self, record: &RecordView<'_>, trouble: Option<usize>, kind: DamageKind) -> bool {
        let Position { segment, offset } = record.position;
        let index = trouble.unwrap_or_else(|| self.push(segment, offset, offset + record.bytes, kind));
        self.shards.refuse(record.shard, index);
        trouble.is_none()
    }

    fn hole(&mut self, hole: LsnHole) {
        if self.holes.len() < VOIDS_MAX as usize {
            self.holes.push(hole);
        }
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    /// Notes a damaged region and suspects the shards that may have had records there, unless `repair` gave it up. True
    /// when it stands.
    fn damage(&mut self, segment: u32, from: u32, to: u32, kind: DamageKind, owned: &ShardSet) -> bool {
        if self.manifest.voids().contains(&VoidRegion { segment, from, to }) {
            self.note(Note::GivenUp { segment, from, to });
            return false;
        }
        let index = self.push(segment, from, to, kind);
        for shard in owned.iter() {
            self.shards.suspect(shard, index);
        }
        true
    }

    fn push(&mut self, segment: u32, from: u32, to: u32, kind: DamageKind) -> usize {
        self.damages.push(Damage { segment, from, to, kind, shards: Vec::new() });
        self.damages.len() - 1
    }

    fn chain(&mut self, entry: &SegmentEntry) -> &mut Chain {
        let complete = self.complete;
        self.chains.entry((entry.run, entry.core)).or_insert_with(|| Chain::new(complete))
    }

    /// A state store that lost what it once covered, with the segments gone too, would restart a shard in its own past.
    fn behind(&mut self) {
        if !matches!(self.mode, Mode::Recover(_)) {
            return;
        }
        for tail in self.shards.tails() {
            let floor = self.manifest.floor(tail.shard);
            if tail.refuses.is_none() && tail.last_lsn < floor {
                let kind = DamageKind::StateStoreBehind { shard: tail.shard, floor };
                let index = self.push(self.manifest.oldest_segment(), 0, 0, kind);
                self.shards.refuse(tail.shard, index);
            }
        }
    }

    fn finish(mut self, present: &BTreeSet<u32>) -> Recovered {
        let tails = std::mem::take(&mut self.chains).into_values().filter_map(|chain| chain.tail);
        self.torn.extend(tails.filter_map(|tail| tail.torn));
        if let Some(last) = present.last() {
            self.manifest.reserve(*last, 0);
        }
        let shards = self.shards.tails();
        for tail in &shards {
            if let Some(index) = tail.refuses {
                self.damages[index].shards.push(tail.shard);
            }
        }
        Recovered {
            shards,
            damages: self.damages,
            holes: self.holes,
            torn: self.torn,
            manifest: self.manifest,
            segments_read: self.segments_read,
            leftovers: self.leftovers,
            notes: self.notes,
            statistics: self.statistics,
        }
    }
}

/// Whether anything was written behind the batch that begins at `from`: only one is in flight, so that one was durable.
fn goes_on<S: Storage>(
    window: &mut Window<'_, S>,
    from: u32,
    header: Option<BatchHeader>,
    limit: u32,
) -> Result<bool, S> {
    let end = (from + header.map_or(BATCH_BYTES_MAX, |header| header.padded_bytes())).min(limit);
    Ok(last_written(window, end..limit)? > end)
}

/// The shards whose records may be lost with a listed segment; none with a covered one.
fn owned(entry: &SegmentEntry) -> ShardSet {
    ShardSet::of(entry.ranges.as_slice().iter().map(|range| range.shard))
}

/// The shards of a set, their LSNs unknown.
fn unknown_ranges(shards: &ShardSet) -> ShardRanges {
    let mut ranges = ShardRanges::default();
    shards.iter().for_each(|shard| ranges.note(shard, 0));
    ranges
}

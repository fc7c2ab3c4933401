//! The list of segments: what recovery may skip, what retention may drop, which numbers are free.
//!
//! The whole list is one small file, replaced atomically: the driver writes [`Manifest::encode`] to a temporary file, syncs
//! it, renames it over `manifest` and syncs the folder. A segment is listed before its first batch is written. Everything
//! else in the list may be stale after a crash: recovery reads the segments that the list does not rule out and corrects it.

use switchyard_schema::ids::{Millis, ShardCount, ShardId};

use crate::codec::{Reader, Writer, crc32c};
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENTS_MAX, VOIDS_MAX};
use crate::planner::SegmentTail;
use crate::ranges::{ShardRange, ShardRanges};
use crate::segment::{FIRST_BATCH_OFFSET, SegmentHeader, ShardSet};

/// The first four bytes of a manifest.
pub const MAGIC: [u8; 4] = *b"SWYM";
/// The version of the manifest format that this crate writes.
pub const FORMAT_VERSION: u16 = 1;
/// The manifest's file name in the journal's folder.
pub const FILE_NAME: &str = "manifest";
/// What the driver writes before it renames.
pub const TEMPORARY_FILE_NAME: &str = "manifest.new";

/// What is known of a segment.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SegmentState {
    /// Made; it may have any number of batches, or none.
    Open = 1,
    /// Ends at `end`; its LSNs are known.
    Sealed = 2,
    /// Sealed, and the state store has everything in it: kept for history only.
    Covered = 3,
    /// Recovery found damage in it: read again at every start until it is repaired, never skipped.
    Damaged = 4,
}

/// One segment of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentEntry {
    /// Its number.
    pub number: u32,
    /// The run that made it.
    pub run: u32,
    /// The core that wrote it.
    pub core: u16,
    /// What is known of it.
    pub state: SegmentState,
    /// Its salt.
    pub salt: u64,
    /// When it was made.
    pub created: Millis,
    /// When it was sealed; zero before. No message in it is newer.
    pub sealed: Millis,
    /// Where its last batch ends (zero while open).
    pub end: u32,
    /// Open or damaged: a range per shard that may have records in it. Sealed: the LSNs of each shard. Covered: empty.
    pub ranges: ShardRanges,
}

/// A damaged region that `repair` has set aside: recovery passes over it.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VoidRegion {
    /// The segment.
    pub segment: u32,
    /// The first byte.
    pub from: u32,
    /// The byte after the last.
    pub to: u32,
}

/// LSNs of a shard that `repair` has given up, both ends included: recovery does not miss them.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LsnHole {
    /// The shard.
    pub shard: ShardId,
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
}

/// The list of segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    shard_count: ShardCount,
    next_segment: u32,
    run: u32,
    history_from: u32,
    segments: Vec<SegmentEntry>,
    floors: Vec<u64>,
    voids: Vec<VoidRegion>,
    holes: Vec<LsnHole>,
}

/// Why bytes are not a manifest.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestDamage {
    /// It does not begin like one.
    #[error("the file does not begin like a manifest")]
    Magic,
    /// Written by a newer version.
    #[error("its format version is {0}, newer than this version of switchyard knows")]
    Version(u16),
    /// The checksum does not match, or the file is cut short.
    #[error("the checksum does not match")]
    Checksum,
    /// Sound, but a field makes no sense.
    #[error("a field has an impossible value")]
    Field,
}

impl Manifest {
    /// The list of a new folder.
    #[must_use]
    pub fn new(shard_count: ShardCount) -> Self {
        Self {
            shard_count,
            next_segment: 1,
            run: 0,
            history_from: 1,
            segments: Vec::new(),
            floors: vec![0; usize::from(shard_count.get())],
            voids: Vec::new(),
            holes: Vec::new(),
        }
    }

    /// Shards of the folder.
    #[must_use]
    pub fn shard_count(&self) -> ShardCount {
        self.shard_count
    }

    /// The segments, in number order.
    #[must_use]
    pub fn segments(&self) -> &[SegmentEntry] {
        &self.segments
    }

    /// The entry of a segment.
    #[must_use]
    pub fn segment(&self, number: u32) -> Option<&SegmentEntry> {
        self.index(number).ok().map(|index| &self.segments[index])
    }

    /// Where history begins: every segment with a lower number was dropped, and a link to one is void.
    #[must_use]
    pub fn oldest_segment(&self) -> u32 {
        self.history_from
    }

    /// The number that the next segment will get.
    #[must_use]
    pub fn next_segment(&self) -> u32 {
        self.next_segment
    }

    /// The newest run, zero before the first.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }

    /// The highest LSN of `shard` in segments that count as covered. A state store below it is an old copy.
    #[must_use]
    pub fn floor(&self, shard: ShardId) -> u64 {
        self.floors.get(usize::from(shard.0)).copied().unwrap_or(0)
    }

    /// The last LSN of each shard, by its number, that the segments are known to hold or to have held. What a segment holds
    /// that is open or damaged is not known.
    #[must_use]
    pub fn last_lsns(&self) -> Vec<u64> {
        let mut last = self.floors.clone();
        for range in self.segments.iter().flat_map(|entry| entry.ranges.as_slice()) {
            if let Some(last) = last.get_mut(usize::from(range.shard.0)) {
                *last = range.max.max(*last);
            }
        }
        last
    }

    /// Regions that recovery passes over, sorted.
    #[must_use]
    pub fn voids(&self) -> &[VoidRegion] {
        &self.voids
    }

    /// Missing LSNs that recovery accepts, sorted.
    #[must_use]
    pub fn holes(&self) -> &[LsnHole] {
        &self.holes
    }

    /// Starts another run of the server and gives its number. Write the manifest before the run makes a segment.
    pub fn begin_run(&mut self) -> u32 {
        self.run += 1;
        self.run
    }

    /// Takes the next number and gives the header of a new segment, not listed yet: write the file, sync it and the folder,
    /// then [`Manifest::list`] it.
    ///
    /// `None` when the folder has [`SEGMENTS_MAX`] segments: drop some, or refuse sends.
    pub fn allocate(
        &mut self,
        core: u16,
        shards: &ShardSet,
        bytes: u32,
        salt: u64,
        now: Millis,
    ) -> Option<SegmentHeader> {
        if self.segments.len() >= SEGMENTS_MAX as usize {
            return None;
        }
        let number = self.next_segment;
        self.next_segment = number.checked_add(1)?;
        Some(SegmentHeader {
            number,
            run: self.run,
            core,
            shard_count: self.shard_count,
            salt,
            created: now,
            bytes,
            shards: shards.clone(),
        })
    }

    /// Lists a segment whose file is durable. Write the manifest before the segment's first batch: an entry without a file
    /// is damage.
    pub fn list(&mut self, header: &SegmentHeader) {
        self.put(SegmentEntry::open(header));
    }

    /// A segment was left behind by its core; see [`crate::batch::SealedBatch::rolled`] for when to say so.
    pub fn seal(&mut self, tail: &SegmentTail, now: Millis) {
        if let Ok(index) = self.index(tail.number) {
            let entry = &mut self.segments[index];
            entry.state = SegmentState::Sealed;
            entry.end = tail.end;
            entry.sealed = now;
            entry.ranges = tail.ranges.clone();
        }
    }

    /// Marks every sealed segment whose records the state store has; `covered` gives the LSN that it has, per shard.
    /// Answers whether anything changed.
    pub fn cover(&mut self, covered: impl Fn(ShardId) -> u64) -> bool {
        let mut changed = false;
        for entry in &mut self.segments {
            if entry.state == SegmentState::Sealed && entry.is_covered(&covered) {
                for range in entry.ranges.as_slice() {
                    if let Some(floor) = self.floors.get_mut(usize::from(range.shard.0)) {
                        *floor = range.max.max(*floor);
                    }
                }
                entry.state = SegmentState::Covered;
                entry.ranges = ShardRanges::default();
                changed = true;
            }
        }
        changed
    }

    /// The oldest segments that nothing needs any more: covered, and sealed before `before`. In number order, with no gap,
    /// so that the oldest segment left always says where history begins.
    pub fn droppable(&self, before: Millis) -> impl Iterator<Item = u32> + '_ {
        self.segments
            .iter()
            .take_while(move |entry| entry.state == SegmentState::Covered && entry.sealed < before)
            .map(|entry| entry.number)
    }

    /// Drops the oldest segment, one that [`Manifest::droppable`] named. Write the manifest first, remove the file after.
    pub fn forget(&mut self, number: u32) {
        self.remove(number);
        self.history_from = self.history_from.max(number.saturating_add(1));
    }

    /// Gives up a damaged region. False when there are [`VOIDS_MAX`] already.
    pub fn accept_void(&mut self, void: VoidRegion) -> bool {
        insert_bounded(&mut self.voids, void)
    }

    /// Gives up missing LSNs. False when there are [`VOIDS_MAX`] already.
    pub fn accept_hole(&mut self, hole: LsnHole) -> bool {
        insert_bounded(&mut self.holes, hole)
    }

    /// Takes a segment off the list that holds no history.
    pub fn remove(&mut self, number: u32) {
        if let Ok(index) = self.index(number) {
            self.segments.remove(index);
            self.voids.retain(|void| void.segment != number);
        }
    }

    /// Never gives this number or an older run again, listed or not.
    pub(crate) fn reserve(&mut self, number: u32, run: u32) {
        self.next_segment = self.next_segment.max(number.saturating_add(1));
        self.run = self.run.max(run);
    }

    /// Puts an entry in its place, replacing what is known of that segment.
    pub(crate) fn put(&mut self, entry: SegmentEntry) {
        self.reserve(entry.number, entry.run);
        match self.index(entry.number) {
            Ok(index) => self.segments[index] = entry,
            Err(index) => self.segments.insert(index, entry),
        }
    }

    fn index(&self, number: u32) -> Result<usize, usize> {
        self.segments.binary_search_by_key(&number, |entry| entry.number)
    }
}

fn insert_bounded<T: Ord>(list: &mut Vec<T>, item: T) -> bool {
    match list.binary_search(&item) {
        Ok(_) => true,
        Err(_) if list.len() >= VOIDS_MAX as usize => false,
        Err(index) => {
            list.insert(index, item);
            true
        }
    }
}

impl SegmentEntry {
    /// A segment that was made and may have batches.
    #[must_use]
    pub fn open(header: &SegmentHeader) -> Self {
        let ranges = header.shards.iter().map(|shard| ShardRange { shard, min: 0, max: 0 }).collect();
        Self {
            number: header.number,
            run: header.run,
            core: header.core,
            state: SegmentState::Open,
            salt: header.salt,
            created: header.created,
            sealed: Millis(0),
            end: 0,
            ranges: ShardRanges::from_sorted(ranges).expect("the shards of a set ascend"),
        }
    }

    /// Whether a state store with these LSNs has every record of it. Only a sealed or covered segment says which it has.
    pub(crate) fn is_covered(&self, covered: impl Fn(ShardId) -> u64) -> bool {
        match self.state {
            SegmentState::Open | SegmentState::Damaged => false,
            SegmentState::Covered => true,
            SegmentState::Sealed => self.ranges.as_slice().iter().all(|range| range.max <= covered(range.shard)),
        }
    }
}

const FIXED_BYTES: usize = 32;
const ENTRY_BYTES: usize = 44;
const RANGE_BYTES: usize = 18;
const VOID_BYTES: usize = 12;

impl Manifest {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let ranges: usize = self.segments.iter().map(|entry| entry.ranges.as_slice().len()).sum();
        let floors = self.floors.len() * 8;
        let voids = self.voids.len() * VOID_BYTES + self.holes.len() * RANGE_BYTES;
        let bytes = FIXED_BYTES + floors + self.segments.len() * ENTRY_BYTES + ranges * RANGE_BYTES + voids + 4;
        let mut out = vec![0; bytes];
        let mut writer = Writer::new(&mut out);
        writer.slice(&MAGIC).u16(FORMAT_VERSION).u16(self.shard_count.get());
        writer.u32(self.next_segment).u32(self.run);
        writer
            .u32(count(self.segments.len()))
            .u32(count(self.voids.len()))
            .u32(count(self.holes.len()))
            .u32(self.history_from);
        for floor in &self.floors {
            writer.u64(*floor);
        }
        for entry in &self.segments {
            writer.u32(entry.number).u32(entry.run).u16(entry.core).u8(entry.state as u8).u8(0);
            writer.u64(entry.salt).u64(entry.created.0).u64(entry.sealed.0).u32(entry.end);
            writer.u32(count(entry.ranges.as_slice().len()));
            for range in entry.ranges.as_slice() {
                writer.u16(range.shard.0).u64(range.min).u64(range.max);
            }
        }
        for void in &self.voids {
            writer.u32(void.segment).u32(void.from).u32(void.to);
        }
        for hole in &self.holes {
            writer.u16(hole.shard.0).u64(hole.from).u64(hole.to);
        }
        let crc = crc32c(&out[..bytes - 4]);
        out[bytes - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the file back.
    ///
    /// # Errors
    /// Anything but a manifest of this or an older version.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestDamage> {
        let mut reader = Reader::new(bytes);
        if reader.array() != Some(MAGIC) {
            return Err(ManifestDamage::Magic);
        }
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(ManifestDamage::Checksum)?;
        if crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(ManifestDamage::Checksum);
        }
        let mut reader = Reader::new(body.get(4..).ok_or(ManifestDamage::Field)?);
        let version = reader.u16().ok_or(ManifestDamage::Field)?;
        if version != FORMAT_VERSION {
            return Err(if version > FORMAT_VERSION {
                ManifestDamage::Version(version)
            } else {
                ManifestDamage::Field
            });
        }
        Self::parse(reader).ok_or(ManifestDamage::Field)
    }

    fn parse(mut reader: Reader<'_>) -> Option<Self> {
        let mut manifest = Self::new(ShardCount::new(reader.u16()?)?);
        manifest.next_segment = reader.u32()?;
        manifest.run = reader.u32()?;
        let segments = reader.u32().filter(|count| *count <= SEGMENTS_MAX)?;
        let voids = reader.u32().filter(|count| *count <= VOIDS_MAX)?;
        let holes = reader.u32().filter(|count| *count <= VOIDS_MAX)?;
        manifest.history_from = reader.u32()?;
        for floor in &mut manifest.floors {
            *floor = reader.u64()?;
        }
        for _ in 0..segments {
            manifest.segments.push(parse_entry(&mut reader)?);
        }
        for _ in 0..voids {
            manifest.voids.push(VoidRegion { segment: reader.u32()?, from: reader.u32()?, to: reader.u32()? });
        }
        for _ in 0..holes {
            let shard = ShardId(reader.u16()?);
            manifest.holes.push(LsnHole { shard, from: reader.u64()?, to: reader.u64()? });
        }
        let ascending = manifest.segments.is_sorted_by(|one, next| one.number < next.number);
        let numbered = manifest.segments.last().is_none_or(|last| last.number < manifest.next_segment);
        let sorted = manifest.voids.is_sorted() && manifest.holes.is_sorted();
        let possible = manifest.segments.iter().all(|entry| manifest.can_be(entry))
            && manifest.voids.iter().all(|void| void.from <= void.to && void.to <= SEGMENT_BYTES_MAX)
            && manifest.holes.iter().all(|hole| manifest.knows(hole.shard) && (1..=hole.to).contains(&hole.from));
        (ascending && numbered && sorted && possible && reader.is_empty()).then_some(manifest)
    }

    /// Whether the folder has this shard.
    fn knows(&self, shard: ShardId) -> bool {
        shard.0 < self.shard_count.get()
    }

    /// Whether a segment can be like this in this folder.
    fn can_be(&self, entry: &SegmentEntry) -> bool {
        let ended = entry.end == 0 || (FIRST_BATCH_OFFSET..=SEGMENT_BYTES_MAX).contains(&entry.end);
        entry.number != 0
            && entry.run <= self.run
            && ended
            && entry.end.is_multiple_of(BLOCK_BYTES)
            && entry.ranges.as_slice().iter().all(|range| self.knows(range.shard))
    }
}

fn parse_entry(reader: &mut Reader<'_>) -> Option<SegmentEntry> {
    let (number, run, core) = (reader.u32()?, reader.u32()?, reader.u16()?);
    let state = match reader.u8()? {
        1 => SegmentState::Open,
        2 => SegmentState::Sealed,
        3 => SegmentState::Covered,
        4 => SegmentState::Damaged,
        _ => return None,
    };
    let _zero = reader.u8()?;
    let salt = reader.u64()?;
    let (created, sealed) = (Millis(reader.u64()?), Millis(reader.u64()?));
    let end = reader.u32()?;
    let count = reader.u32().filter(|count| *count <= u32::from(switchyard_schema::limits::SHARD_COUNT_MAX))?;
    let mut ranges = Vec::with_capacity(count as usize);
    for _ in 0..count {
        ranges.push(ShardRange { shard: ShardId(reader.u16()?), min: reader.u64()?, max: reader.u64()? });
    }
    let ranges = ShardRanges::from_sorted(ranges)?;
    Some(SegmentEntry { number, run, core, state, salt, created, sealed, end, ranges })
}

fn count(items: usize) -> u32 {
    u32::try_from(items).expect("every list of the manifest is bounded")
}

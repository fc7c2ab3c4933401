//! The data folders that are damaged: made by the real server, small, with everything in them that a folder can have.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use switchyard_log::Position;
use switchyard_log::batch::BatchHeader;
use switchyard_log::manifest::Manifest;
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{Mode, Recovered, RecoveryError, Visitor, recover};
use switchyard_log::segment::number_of_file;
use switchyard_log::storage::{SegmentFile, Storage};
use switchyard_router_server::RouterConfig;
use switchyard_router_server::store::Store;
use switchyard_schema::ids::{Millis, ShardId};
use switchyard_schema::record::Record;

use crate::common::{Rig, folder, shards, small};

/// When recovery runs, where that matters.
pub(crate) const NOW: Millis = Millis(1_800_000_000_000);
/// Pairs of users who write to each other.
pub(crate) const PAIRS: [(u64, u64); 6] = [(1, 2), (3, 4), (5, 6), (1, 5), (2, 6), (7, 8)];
const SEGMENT_BYTES: u32 = 256 * 1024;

/// A record as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) shard: u16,
    pub(crate) lsn: u64,
    pub(crate) position: Position,
    pub(crate) bytes: u32,
    pub(crate) record: Record,
}

/// A data folder, its journal in memory, and all that was acknowledged in it.
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) segments: BTreeMap<u32, Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    /// Every record, in the order of the journal.
    pub(crate) written: Vec<Seen>,
    /// Where each batch lies: segment, first byte, bytes with and without padding.
    pub(crate) batches: Vec<(u32, u32, u32, u32)>,
    /// What the state store has of each shard.
    pub(crate) covered: Vec<u64>,
    /// The bodies of each pair's conversation, in order.
    pub(crate) accepted: BTreeMap<(u64, u64), Vec<Bytes>>,
}

pub(crate) fn config(cores: usize) -> RouterConfig {
    let mut config = small(cores);
    config.segment_bytes = SEGMENT_BYTES;
    config.reserve_bytes = 0;
    config
}

/// A clean stop after a run with two cores and snapshots; then the same folder as a crash of its next run, with one core,
/// would leave it.
pub(crate) fn images(name: &str) -> (Image, Image) {
    let path = folder(name);
    let mut accepted = BTreeMap::new();
    let mut first = config(2);
    first.snapshot_records = 60;
    let mut rig = Rig::start(&path, &first);
    converse(&mut rig, 24, &mut accepted);
    rig.stop();
    flush_store(&path.join("state"));
    let stopped = path.with_extension("stopped");
    copy_all(&path, &stopped).expect("copied");
    let stopped = Image::load(stopped, accepted.clone());

    let mut second = config(1);
    (second.snapshot_records, second.snapshot_ms) = (u64::MAX, 1 << 40);
    let mut rig = Rig::start(&path, &second);
    converse(&mut rig, 8, &mut accepted);
    // What a crash leaves: nothing of it is told to the server. The list is copied before the segments that it names.
    let cut = path.with_extension("cut");
    for name in ["state", "VERSION", "LOCK", "set-aside", "journal/manifest", "journal"] {
        copy_live(&path.join(name), &cut.join(name)).expect("copied");
    }
    rig.stop();
    let cut = Image::load(cut, accepted);
    (stopped, cut)
}

/// Every pair exchanges `rounds` messages, of many sizes, and acknowledges some.
fn converse(rig: &mut Rig, rounds: u64, accepted: &mut BTreeMap<(u64, u64), Vec<Bytes>>) {
    for (one, other) in PAIRS {
        let origin = rig.attach(one, 1);
        let conversation = accepted.entry((one, other)).or_default();
        for _ in 0..rounds {
            let number = conversation.len() as u64 + 1;
            let length =
                [20, 300, 3000, 7][usize::try_from(number).expect("small") % 4] + usize::try_from(one).expect("small");
            let body = Bytes::from(vec![u8::try_from(number % 251).expect("small"); length]);
            let name = u128::from(one) << 64 | u128::from(other) << 32 | u128::from(number);
            assert_eq!(rig.send(origin, other, name, &body).0, number);
            conversation.push(body);
        }
        let reader = rig.attach(other, 1);
        rig.ack(reader, one, rounds / 2);
        rig.detach(origin);
        rig.detach(reader);
    }
}

/// Has the store write its tables, which it would do only after more data than a test makes.
fn flush_store(state: &Path) {
    let database = fjall::Database::builder(state).open().expect("the store opens");
    let rows = database.keyspace("rows", fjall::KeyspaceCreateOptions::default).expect("its rows");
    rows.rotate_memtable_and_wait().expect("written");
}

/// Copies a file or a folder.
pub(crate) fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().expect("a file lies in a folder"))?;
    fs::copy(from, to).map(drop)
}

/// Copies what a server is using: leaves out what it removes meanwhile, and keeps the list that was copied first.
fn copy_live(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return copy_all(from, to);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_name() == "manifest" && to.exists() {
            continue;
        }
        match copy_live(&entry.path(), &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Image {
    fn load(path: PathBuf, accepted: BTreeMap<(u64, u64), Vec<Bytes>>) -> Self {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(path.join("journal")).expect("listed") {
            let entry = entry.expect("listed");
            if let Some(number) = entry.file_name().to_str().and_then(number_of_file) {
                segments.insert(number, fs::read(entry.path()).expect("read"));
            }
        }
        let manifest = fs::read(path.join("journal/manifest")).expect("read");
        let covered = covered(&path).expect("the store is whole");
        let mut image = Self { path, segments, manifest, written: vec![], batches: vec![], covered, accepted };
        let mut read = Reader::default();
        let manifest = Manifest::decode(&image.manifest).expect("whole");
        let found = recover(&Damaged::none(&image), Some(manifest), shards(), NOW, &Mode::Verify, &mut read);
        assert_eq!(found.expect("readable").damages, []);
        (image.written, image.batches) = (read.seen, read.batches);
        image
    }

    /// The LSNs that recovery begins after.
    pub(crate) fn covers(&self) -> impl Fn(ShardId) -> u64 + '_ {
        |shard| self.covered[usize::from(shard.0)]
    }
}

/// What the state store of a folder has of each shard. The store is opened in a copy, since opening it changes files.
pub(crate) fn covered(path: &Path) -> Result<Vec<u64>, String> {
    let state = path.with_extension("state");
    let _ = fs::remove_dir_all(&state);
    copy_all(&path.join("state"), &state).map_err(|error| error.to_string())?;
    let store = Store::open(&state).map_err(|error| error.to_string())?;
    let covered = switchyard_engine::recovery::covered(&store, shards()).map_err(|error| error.to_string())?;
    Ok((0..shards().get()).map(|shard| covered[&ShardId(shard)]).collect())
}

/// Everything that recovery passes on.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) seen: Vec<Seen>,
    pub(crate) batches: Vec<(u32, u32, u32, u32)>,
}

impl Visitor for Reader {
    fn record(&mut self, view: &RecordView<'_>) {
        let (shard, lsn, position) = (view.shard.0, view.lsn, view.position);
        self.seen.push(Seen { shard, lsn, position, bytes: view.bytes, record: view.payload.to_record() });
    }

    fn batch(&mut self, header: &BatchHeader) {
        let Position { segment, offset } = header.position;
        self.batches.push((segment, offset, header.padded_bytes(), header.length));
    }
}

/// The journal of an image with one segment changed.
pub(crate) struct Damaged<'a> {
    image: &'a Image,
    number: u32,
    /// `None`: the file is gone.
    bytes: Option<Vec<u8>>,
}

impl<'a> Damaged<'a> {
    /// The journal as it is.
    pub(crate) fn none(image: &'a Image) -> Self {
        Self { image, number: 0, bytes: None }
    }

    pub(crate) fn new(image: &'a Image, number: u32, bytes: Option<Vec<u8>>) -> Self {
        Self { image, number, bytes }
    }

    fn file(&self, number: u32) -> Option<&Vec<u8>> {
        if number == self.number { self.bytes.as_ref() } else { self.image.segments.get(&number) }
    }

    /// What a start makes of it, given the list.
    pub(crate) fn recover(
        &self,
        manifest: Option<Manifest>,
        mode: &Mode<'_>,
    ) -> Result<(Recovered, Vec<Seen>), RecoveryError<io::Error>> {
        let mut read = Reader::default();
        let found = recover(self, manifest, shards(), NOW, mode, &mut read)?;
        Ok((found, read.seen))
    }
}

impl Storage for Damaged<'_> {
    type Error = io::Error;

    fn segments(&self) -> io::Result<Vec<SegmentFile>> {
        let present = self.image.segments.keys().filter_map(|number| Some((*number, self.file(*number)?)));
        Ok(present
            .map(|(number, bytes)| SegmentFile { number, bytes: u32::try_from(bytes.len()).expect("small") })
            .collect())
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset as usize + buffer.len();
        let bytes = self.file(segment).and_then(|file| file.get(offset as usize..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

//! The folder of segments and its manifest, shared by all router cores of a process.
//!
//! Everything here blocks. It runs at start, at the end, or on a core's blocking thread; the lock is never taken on the
//! way of a message.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchyard_log::manifest::{self, Manifest, ManifestDamage, SegmentEntry, SegmentState};
use switchyard_log::planner::SegmentTail;
use switchyard_log::recovery::TornTail;
use switchyard_log::segment::{SegmentHeader, ShardSet, file_name, number_of_file};
use switchyard_log::storage::{SegmentFile, Storage};
use switchyard_schema::ids::{Millis, ShardId};

use crate::reserve::{Reserve, is_full};
use crate::segment_file::{make, replace, sync_parent};

/// The journal's folder while the server runs.
#[derive(Debug)]
pub(crate) struct JournalFolder {
    path: PathBuf,
    segment_bytes: u32,
    reserve: Arc<Reserve>,
    listed: Mutex<Listed>,
}

#[derive(Debug)]
struct Listed {
    manifest: Manifest,
    /// What the state store covers, by shard.
    covered: Vec<u64>,
}

impl JournalFolder {
    /// Writes `manifest`, which has begun this run.
    pub(crate) fn new(
        path: PathBuf,
        manifest: Manifest,
        segment_bytes: u32,
        reserve: Arc<Reserve>,
    ) -> io::Result<Self> {
        write_manifest(&path, &manifest)?;
        let covered = vec![0; usize::from(manifest.shard_count().get())];
        Ok(Self { path, segment_bytes, reserve, listed: Mutex::new(Listed { manifest, covered }) })
    }

    pub(crate) fn segment_path(&self, number: u32) -> PathBuf {
        self.path.join(file_name(number))
    }

    /// Makes the next segment of `core`: file, header and manifest entry are durable when it returns. The reserve comes
    /// first, but for the segment that a core starts with; on a full disk the reserve is given up.
    pub(crate) fn make_segment(&self, core: u16, shards: &ShardSet, now: Millis) -> io::Result<SegmentHeader> {
        // The lock is held while the file is filled: an entry must never be written before its file is there.
        let mut listed = self.lock();
        let run = listed.manifest.run();
        let is_first = !listed.manifest.segments().iter().any(|entry| (entry.run, entry.core) == (run, core));
        let made = match self.reserve.hold(u64::from(self.segment_bytes)) {
            Err(error) if !is_first => return Err(error),
            _ => self.add_segment(&mut listed, core, shards, now),
        };
        match made {
            Err(error) if is_full(&error) => {
                self.reserve.give_up();
                if is_first { self.add_segment(&mut listed, core, shards, now) } else { Err(error) }
            }
            made => made,
        }
    }

    fn add_segment(&self, listed: &mut Listed, core: u16, shards: &ShardSet, now: Millis) -> io::Result<SegmentHeader> {
        let mut salt = [0; 8];
        rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())?;
        let salt = u64::from_le_bytes(salt);
        let before = listed.manifest.clone();
        let too_many = || io::Error::new(io::ErrorKind::StorageFull, "the folder has as many segments as it may");
        let header = listed.manifest.allocate(core, shards, self.segment_bytes, salt, now).ok_or_else(too_many)?;
        let path = self.segment_path(header.number);
        listed.manifest.list(&header);
        let made = make(&path, header.bytes, header.encode().as_slice())
            .and_then(|()| write_manifest(&self.path, &listed.manifest));
        if let Err(error) = made {
            listed.manifest = before;
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(header)
    }

    /// A core has left a segment behind.
    pub(crate) fn seal(&self, tail: &SegmentTail, now: Millis) -> io::Result<()> {
        let mut listed = self.lock();
        listed.manifest.seal(tail, now);
        write_manifest(&self.path, &listed.manifest)
    }

    /// The store covers more of some shards.
    pub(crate) fn cover(&self, covered: &[(ShardId, u64)]) -> io::Result<()> {
        let mut listed = self.lock();
        let Listed { manifest, covered: all } = &mut *listed;
        for (shard, lsn) in covered {
            let known = &mut all[usize::from(shard.0)];
            *known = (*known).max(*lsn);
        }
        if manifest.cover(|shard| all[usize::from(shard.0)]) { write_manifest(&self.path, manifest) } else { Ok(()) }
    }

    /// Forgets the segments that `core` made in this run and has not begun. Its journal has ended in order.
    pub(crate) fn forget_spares(&self, core: u16) -> io::Result<()> {
        let mut listed = self.lock();
        let run = listed.manifest.run();
        let is_spare =
            |entry: &&SegmentEntry| entry.state == SegmentState::Open && entry.run == run && entry.core == core;
        let spares: Vec<u32> = listed.manifest.segments().iter().filter(is_spare).map(|entry| entry.number).collect();
        for number in &spares {
            listed.manifest.remove(*number);
        }
        write_manifest(&self.path, &listed.manifest)?;
        remove_leftovers(&self.path, &spares)
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        // The manifest is replaced as a whole or not at all, so a thread that panicked left nothing half done.
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    replace(&folder.join(manifest::FILE_NAME), &manifest.encode())
}

/// Reads the manifest; `None` when there is none.
pub(crate) fn read_manifest(folder: &Path) -> io::Result<Option<Result<Manifest, ManifestDamage>>> {
    match fs::read(folder.join(manifest::FILE_NAME)) {
        Ok(bytes) => Ok(Some(Manifest::decode(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies a torn tail to a file of its own, durably, before the manifest cuts it off.
pub(crate) fn set_aside(folder: &Path, into: &Path, torn: TornTail, now: Millis) -> io::Result<PathBuf> {
    let name = format!("{:010}-{}-{}-{}.torn", torn.segment, torn.from, torn.to, now.0);
    let path = into.join(name);
    let mut bytes = vec![0; (torn.to - torn.from) as usize];
    File::open(folder.join(file_name(torn.segment)))?.read_exact_at(&mut bytes, u64::from(torn.from))?;
    fs::write(&path, &bytes)?;
    File::open(&path)?.sync_all()?;
    sync_parent(&path)?;
    Ok(path)
}

/// Removes files that hold nothing.
pub(crate) fn remove_leftovers(folder: &Path, numbers: &[u32]) -> io::Result<()> {
    for number in numbers {
        match fs::remove_file(folder.join(file_name(*number))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes durable what was read of these segments, since it may be in the disk's cache only.
pub(crate) fn sync_segments(folder: &Path, numbers: &[u32]) -> io::Result<()> {
    for number in numbers {
        File::open(folder.join(file_name(*number)))?.sync_data()?;
    }
    Ok(())
}

/// The folder as recovery reads it.
#[derive(Debug)]
pub(crate) struct ReadFolder {
    path: PathBuf,
    open: Mutex<Option<(u32, File)>>,
}

impl ReadFolder {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::new(None) }
    }
}

impl Storage for ReadFolder {
    type Error = io::Error;

    fn segments(&self) -> io::Result<Vec<SegmentFile>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(number_of_file) else { continue };
            let bytes = u32::try_from(entry.metadata()?.len()).unwrap_or(u32::MAX);
            segments.push(SegmentFile { number, bytes });
        }
        Ok(segments)
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(number, _)| *number != segment) {
            *open = Some((segment, File::open(self.path.join(file_name(segment)))?));
        }
        let (_, file) = open.as_ref().expect("just opened");
        file.read_exact_at(buffer, u64::from(offset))
    }
}

//! Segment files: made whole before they are used.
//!
//! A new segment is allocated, filled with zeros and synced before its first batch. A batch then overwrites blocks that
//! exist, so its fdatasync has no file-system metadata to journal: on ext4 that halves a commit's median and takes away
//! its tail (`docs/measurements.md`). These calls block; they run before a core starts or on its blocking thread.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, fallocate};

use crate::limits::FILL_BYTES;

/// What O_DIRECT buffers and offsets are aligned to.
const ALIGNMENT: usize = 4096;

/// Makes the file `path` of `bytes` bytes: `first_block` and then zeros, durable with its name in the folder.
///
/// # Errors
/// Of the file system; [`io::ErrorKind::StorageFull`] when there is no space, and then nothing is left behind.
pub fn make(path: &Path, bytes: u32, first_block: &[u8]) -> io::Result<()> {
    let made = fill(path, u64::from(bytes), first_block);
    if made.is_err() {
        // Half a segment is of no use, and its space may be what others wait for.
        let _ = fs::remove_file(path);
    }
    made?;
    sync_parent(path)
}

fn fill(path: &Path, bytes: u64, first_block: &[u8]) -> io::Result<()> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).expect("open flags are small");
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
    let mut memory = vec![0; FILL_BYTES + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let zeros = &mut memory[start..start + FILL_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let length = (bytes - offset).min(FILL_BYTES as u64);
        let chunk = &mut zeros[..usize::try_from(length).expect("at most FILL_BYTES")];
        if offset == 0 {
            chunk[..first_block.len()].copy_from_slice(first_block);
        }
        file.write_all_at(chunk, offset)?;
        if offset == 0 {
            chunk[..first_block.len()].fill(0);
        }
        offset += length;
    }
    file.sync_all()
}

/// Makes the name of `path` durable in its folder.
///
/// # Errors
/// Of the file system.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    File::open(parent)?.sync_all()
}

/// Replaces the file `path` by `bytes`, durably and at once: after a crash it is the old one or the new one.
///
/// # Errors
/// Of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let file = File::create(&aside)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_made_segment_then_it_is_its_first_block_and_zeros() {
        let folder = crate::testing::folder("segment-file");
        let path = folder.join("0000000001.seg");
        make(&path, 4096 * 300, &[7; 4096]).expect("a segment");
        let bytes = fs::read(&path).expect("its bytes");
        assert_eq!(bytes.len(), 4096 * 300);
        assert!(bytes[..4096].iter().all(|byte| *byte == 7) && bytes[4096..].iter().all(|byte| *byte == 0));
        replace(&path, b"short").expect("another content");
        assert_eq!(fs::read(&path).expect("its bytes"), b"short");
    }
}

//! The raw limit of a journal: a preallocated file written with O_DIRECT, then fdatasync, and nothing else.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fdatasync, open};
use rustix::io::pwrite;

/// What O_DIRECT wants addresses, offsets and lengths to be multiples of.
pub const BLOCK_BYTES: usize = 4096;

/// A file that is written from front to back and then again.
#[derive(Debug)]
pub struct PlainFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    at: u64,
}

/// A buffer that begins at a multiple of [`BLOCK_BYTES`].
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl AlignedBuffer {
    /// Zeros, rounded up to whole blocks.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let memory = vec![0; bytes + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, start, bytes }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

impl PlainFile {
    /// Makes the file with all its blocks written, as a preallocated segment is.
    ///
    /// # Errors
    /// When the file system refuses, for one because it has no O_DIRECT (tmpfs).
    pub fn make(path: &Path, bytes: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?);
        fallocate(file.as_fd(), FallocateFlags::empty(), 0, bytes)?;
        let mut plain = Self { file, path: path.to_owned(), bytes, at: 0 };
        let zeros = AlignedBuffer::new(1 << 20);
        for _ in 0..bytes / (1 << 20) {
            plain.write(zeros.as_ref())?;
        }
        fdatasync(plain.file.as_fd())?;
        plain.at = 0;
        Ok(plain)
    }

    /// Writes whole blocks and waits until they are durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append_durably(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.write(blocks)?;
        Ok(fdatasync(self.file.as_fd())?)
    }

    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        if self.at + blocks.len() as u64 > self.bytes {
            self.at = 0;
        }
        let written = pwrite(self.file.as_fd(), blocks, self.at)?;
        if written != blocks.len() {
            return Err(io::Error::other("a short write on a preallocated file"));
        }
        self.at += written as u64;
        Ok(())
    }
}

impl Drop for PlainFile {
    fn drop(&mut self) {
        // Left behind, it is overwritten by the next run.
        let _ = fs::remove_file(&self.path);
    }
}

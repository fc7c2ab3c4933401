//! A disk with a write cache that is lost when the power goes: what was not flushed may or may not be there afterwards.
//!
//! It is the only file of a FUSE file system that keeps blocks in memory, behind a loop device with ext4 on it. A flush of
//! the file system reaches it as an fsync of the image. It can also be told to lie about flushes, which is what a journal
//! without fdatasync amounts to.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::common::small_disk::{SmallDisk, detach_later};

const BLOCK_BYTES: u64 = 4096;
const IMAGE: INodeNo = INodeNo(2);
const NAME: &str = "image";
const FOREVER: Duration = Duration::from_secs(3600);

type Block = Box<[u8]>;

/// Set for the process that is the disk: the folder to put the image into, and its megabytes.
const DISK: &str = "SWITCHYARD_TEST_DISK";

/// The disk, mounted as ext4. The device is a process of its own: one that stood on its own disk could not even die.
pub(crate) struct VolatileDisk {
    device: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    disk: Option<SmallDisk>,
    fuse: PathBuf,
}

struct Device {
    bytes: u64,
    durable: HashMap<u64, Block>,
    /// The write cache.
    cached: HashMap<u64, Block>,
    has_power: bool,
    flushes: bool,
}

/// What becomes of the write cache when the power goes.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    All,
    /// Some blocks were written by then, in no order, as this number decides.
    Some(u64),
}

impl VolatileDisk {
    /// A new one in the folder `path`; the test `child` calls [`serve`]. `None` where mounting is not allowed.
    pub(crate) fn new(child: &str, path: &Path, megabytes: u64) -> Option<Self> {
        let (fuse, mount) = (path.join("fuse"), path.join("mount"));
        fs::create_dir_all(&fuse).ok()?;
        let mut command = Command::new(std::env::current_exe().ok()?);
        command.args(["--exact", child, "--nocapture", "--test-threads=1"]);
        command.env(DISK, format!("{megabytes} {}", fuse.display())).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut device = command.spawn().ok()?;
        let orders = device.stdin.take().expect("piped");
        let answers = BufReader::new(device.stdout.take().expect("piped")).lines();
        let mut this = Self { device, orders, answers, disk: None, fuse };
        if !this.has_answered() {
            return None;
        }
        this.disk = Some(SmallDisk::on(this.fuse.join(NAME), mount)?);
        Some(this)
    }

    pub(crate) fn mount(&self) -> &Path {
        &self.disk.as_ref().expect("held until it is dropped").mount
    }

    /// From now on flushes are answered and not done.
    pub(crate) fn lie(&mut self) {
        self.order("lie");
    }

    /// The power goes.
    pub(crate) fn cut(&mut self, loss: Loss) {
        match loss {
            Loss::All => self.order("cut"),
            Loss::Some(seed) => self.order(&format!("cut {seed}")),
        }
    }

    /// The power comes back, and the file system with it. Whoever used it is dead.
    pub(crate) fn restart(&mut self) {
        assert!(self.disk.as_ref().is_some_and(SmallDisk::detach), "the files of the dead are closed");
        self.order("power");
        assert!(self.disk.as_ref().is_some_and(SmallDisk::attach), "ext4 recovers what was flushed");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the disk listens");
        assert!(self.has_answered(), "the disk obeys");
    }

    fn has_answered(&mut self) -> bool {
        self.answers.by_ref().map_while(Result::ok).any(|line| line.ends_with("done"))
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take() {
            let _ = writeln!(self.orders, "power");
            disk.detach();
        }
        // The loop device may still be about to close the image, so nothing waits for it.
        detach_later(&self.fuse);
        let _ = self.device.kill();
        let _ = self.device.wait();
    }
}

/// The part of the child: it is the disk until nobody holds its orders any more. Nothing without its environment.
pub(crate) fn serve() {
    let Ok(order) = std::env::var(DISK) else { return };
    let (megabytes, folder) = order.split_once(' ').expect("megabytes and folder");
    let bytes = megabytes.parse::<u64>().expect("a number") << 20;
    let (durable, cached) = (HashMap::new(), HashMap::new());
    let device = Arc::new(Mutex::new(Device { bytes, durable, cached, has_power: true, flushes: true }));
    let Ok(_session) = fuser::spawn_mount(Image(device.clone()), folder, &Config::default()) else { return };
    let mut out = std::io::stdout().lock();
    writeln!(out, "done").expect("the test reads");
    for order in std::io::stdin().lines().map_while(Result::ok) {
        lock(&device).obey(&order);
        writeln!(out, "done").expect("the test reads");
    }
    std::process::exit(0);
}

fn lock(device: &Mutex<Device>) -> MutexGuard<'_, Device> {
    device.lock().expect("nobody panics while holding it")
}

impl Device {
    fn obey(&mut self, order: &str) {
        match order.split_once(' ') {
            None if order == "lie" => {
                self.flush();
                self.flushes = false;
            }
            None if order == "power" => (self.has_power, self.flushes) = (true, true),
            None if order == "cut" => self.cut(Loss::All),
            Some(("cut", seed)) => self.cut(Loss::Some(seed.parse().expect("a number"))),
            _ => panic!("the disk knows no order {order}"),
        }
    }

    fn cut(&mut self, loss: Loss) {
        let cached = std::mem::take(&mut self.cached);
        self.has_power = false;
        if let Loss::Some(seed) = loss {
            let survives = |number: u64| (number ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0;
            self.durable.extend(cached.into_iter().filter(|(number, _)| survives(*number)));
        }
    }

    fn read(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let end = (offset + bytes).min(self.bytes);
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            let (number, skip) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let count = (BLOCK_BYTES - skip).min(end - at);
            let range = small(skip)..small(skip + count);
            match self.block(number) {
                Some(block) => out.extend_from_slice(&block[range]),
                None => out.resize(out.len() + range.len(), 0),
            }
            at += count;
        }
        out
    }

    fn write(&mut self, offset: u64, mut data: &[u8]) {
        let mut at = offset;
        while !data.is_empty() {
            let (number, skip) = (at / BLOCK_BYTES, small(at % BLOCK_BYTES));
            let count = data.len().min(small(BLOCK_BYTES) - skip);
            let mut block = self.block(number).cloned().unwrap_or_else(|| vec![0; small(BLOCK_BYTES)].into());
            block[skip..skip + count].copy_from_slice(&data[..count]);
            self.cached.insert(number, block);
            data = &data[count..];
            at += count as u64;
        }
    }

    fn block(&self, number: u64) -> Option<&Block> {
        self.cached.get(&number).or_else(|| self.durable.get(&number))
    }

    fn flush(&mut self) {
        if self.flushes {
            let cached = std::mem::take(&mut self.cached);
            self.durable.extend(cached);
        }
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_image = inode == IMAGE;
        let size = if is_image { self.bytes } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_image { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn small(bytes: u64) -> usize {
    usize::try_from(bytes).expect("part of a block")
}

/// The file system with one file.
struct Image(Arc<Mutex<Device>>);

impl Filesystem for Image {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == NAME {
            true => reply.entry(&FOREVER, &lock(&self.0).attributes(IMAGE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &lock(&self.0).attributes(inode));
    }

    /// Nothing is cached outside of the disk: the system would go on reading what the power cut has lost.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let device = lock(&self.0);
        if device.has_power { reply.data(&device.read(offset, size.into())) } else { reply.error(Errno::EIO) }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut device = lock(&self.0);
        if !device.has_power {
            return reply.error(Errno::EIO);
        }
        device.write(offset, data);
        reply.written(u32::try_from(data.len()).expect("at most a megabyte"));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut device = lock(&self.0);
        if !device.has_power {
            return reply.error(Errno::EIO);
        }
        device.flush();
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

//! Small file systems of a test's own, on images behind loop devices. They need the right to mount; where it is missing
//! the tests say so and do nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted ext4 image; unmounted when dropped.
pub(crate) struct SmallDisk {
    image: PathBuf,
    pub(crate) mount: PathBuf,
}

impl SmallDisk {
    /// A new file system on an image of its own in the folder `path`. `None` where mounting is not allowed.
    pub(crate) fn new(path: &Path, megabytes: u64) -> Option<Self> {
        let image = path.join("image");
        File::create(&image).and_then(|file| file.set_len(megabytes << 20)).ok()?;
        Self::on(image, path.join("mount"))
    }

    /// A new file system on an image that is there.
    pub(crate) fn on(image: PathBuf, mount: PathBuf) -> Option<Self> {
        fs::create_dir_all(&mount).ok()?;
        let options = ["-q", "-F", "-m", "0", "-E", "nodiscard"].map(OsStr::new);
        let made = run("mkfs.ext4", &[&options[..], &[image.as_ref()]].concat());
        let disk = Self { image, mount };
        (made && disk.attach()).then_some(disk)
    }

    /// Mounts it again. What nobody syncs stays in memory: the file system's own timer would write it every five seconds.
    pub(crate) fn attach(&self) -> bool {
        run("mount", &["-o".as_ref(), "loop,commit=300".as_ref(), self.image.as_ref(), self.mount.as_ref()])
    }

    /// Unmounts it; what the system has not written yet is written if the disk takes it. The rings of a process that has
    /// just ended may hold files for a moment longer.
    pub(crate) fn detach(&self) -> bool {
        unmount(&self.mount)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        detach_later(&self.mount);
    }
}

/// The same files at another place, where every sync is answered and none is done: an overlay that is `volatile`
/// (linux/Documentation/filesystems/overlayfs.rst). Unmounted when dropped.
pub(crate) struct WithoutSyncs {
    /// Where the server works.
    pub(crate) mount: PathBuf,
    /// Where the files are.
    pub(crate) files: PathBuf,
}

impl WithoutSyncs {
    /// Lays it over a file system. `None` where the kernel has no such thing.
    pub(crate) fn over(disk: &SmallDisk) -> Option<Self> {
        let [mount, files, work, below] = ["mount", "files", "work", "below"].map(|name| disk.mount.join(name));
        for folder in [&mount, &files, &work, &below] {
            fs::create_dir_all(folder).ok()?;
        }
        let (upper, work, lower) = (files.display(), work.display(), below.display());
        let options = format!("volatile,upperdir={upper},workdir={work},lowerdir={lower}");
        let arguments = ["-t", "overlay", "overlay", "-o", &options].map(OsStr::new);
        run("mount", &[&arguments[..], &[mount.as_ref()]].concat()).then_some(Self { mount, files })
    }
}

impl Drop for WithoutSyncs {
    fn drop(&mut self) {
        unmount(&self.mount);
    }
}

fn unmount(mount: &Path) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = Command::new("umount").arg(mount).output();
        if output.is_ok_and(|output| output.status.success()) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

/// The file system stops taking anything, with its own log unwritten, as when the device goes away.
///
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (linux/fs/ext4/ext4.h).
pub(crate) fn shut_down(mount: &Path) -> bool {
    let script = "import fcntl, os, struct, sys\n\
                  fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
    run("python3", &["-c".as_ref(), script.as_ref(), mount.as_ref()])
}

/// Takes a file system out of sight; the system lets go of it when nobody uses it any more.
pub(crate) fn detach_later(mount: &Path) {
    let _ = Command::new("umount").arg("-l").arg(mount).output();
}

/// Says why a test did nothing. What a test that passes prints is not shown, so the line goes to the file that
/// `cargo xtask test` names as well, and shows.
#[expect(clippy::print_stderr, reason = "a test that cannot run here says so")]
#[track_caller]
pub(crate) fn skipped() {
    let line = format!("skipped: {}: this machine does not allow a file system to be mounted\n", Location::caller());
    eprint!("{line}");
    if let Some(path) = std::env::var_os("SWITCHYARD_SKIPPED") {
        let file = File::options().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file can be written");
    }
}

/// Runs a command of the system; what it has to say when it fails is shown with the test.
#[expect(clippy::print_stderr, reason = "the reason of a failure is not to be guessed")]
fn run(name: &str, arguments: &[&OsStr]) -> bool {
    match Command::new(name).args(arguments).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            false
        }
    }
}

//! A disk that fills up and is emptied again, on a small file system of its own.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Rig, folder, small};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::ToGateway;

/// A mounted ext4 image; unmounted when dropped.
struct SmallDisk {
    mount: PathBuf,
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn new(path: &Path, megabytes: u64) -> Option<Self> {
        let (image, mount) = (path.join("image"), path.join("mount"));
        fs::create_dir_all(&mount).ok()?;
        fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).ok()?;
        let run = |name: &str, arguments: &[&std::ffi::OsStr]| {
            Command::new(name).args(arguments).output().is_ok_and(|output| output.status.success())
        };
        let made = run("mkfs.ext4", &["-q".as_ref(), "-m".as_ref(), "0".as_ref(), "-F".as_ref(), image.as_ref()]);
        let mounted = made && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), mount.as_ref()]);
        mounted.then_some(Self { mount })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run here says so")]
fn given_a_disk_that_fills_up_then_sends_are_refused_reads_go_on_and_space_heals_it() {
    let path = folder("disk-full");
    let Some(disk) = SmallDisk::new(&path, 160) else {
        eprintln!("skipped: this machine does not allow a file system to be mounted");
        return;
    };
    let mut rig = Rig::start(&disk.mount.join("data"), &small(1));
    let alice = rig.attach(1, 1);
    assert_eq!(rig.send(alice, 2, 1, b"before"), Sequence(1));
    let ballast = disk.mount.join("ballast");
    fill(&ballast);

    let body = vec![7; 48 * 1024];
    let mut name = 2;
    let refusal = loop {
        rig.begin_send(alice, 2, name, &body);
        let answer = rig
            .expect("an answer", |message| matches!(message, ToGateway::Accepted { .. } | ToGateway::Refused { .. }));
        match answer {
            ToGateway::Refused { code, retry_after_ms, .. } => break (code, retry_after_ms.is_some()),
            _ => name += 1,
        }
        assert!(name < 1_000, "48 MB fit into two segments of 4 MB");
    };
    assert_eq!(refusal, (ErrorCode::StorageUnavailable, true));
    assert!(!rig.handle.is_healthy());
    let page = rig.fetch(alice, 2, 0, 1);
    assert_eq!(&*page.messages[0].body, b"before", "reads go on");

    fs::remove_file(&ballast).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        rig.begin_send(alice, 2, name, b"after");
        let answer = rig
            .expect("an answer", |message| matches!(message, ToGateway::Accepted { .. } | ToGateway::Refused { .. }));
        if matches!(answer, ToGateway::Accepted { .. }) {
            break;
        }
        assert!(Instant::now() < deadline, "there is space, yet sends are refused");
    }
    assert!(rig.handle.is_healthy());
    rig.stop();
    Rig::start(&disk.mount.join("data"), &small(2)).stop();
}

/// Takes all space there is, to the last block.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("made");
    for bytes in [64 * 1024, 4096, 1] {
        let block = vec![1; bytes];
        while file.write_all(&block).is_ok() {}
    }
    let _ = file.sync_all();
}

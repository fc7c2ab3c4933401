//! A file system that is shut down while the server writes, with everything that nobody synced still in memory: every
//! accepted message is there afterwards, by the clients' own account. And the proof that this account would show a loss.
//!
//! Blocks that were written before and are overwritten reach the device without a sync and would survive, so the segments
//! are made to consist of allocated blocks that nobody has written yet: without fdatasync they are read as zeros.

mod common;

use std::fs::{File, OpenOptions};
use std::path::Path;

use common::folder;
use common::pairs::{found_by_child, run_and_kill, write_after};
use common::small_disk::{SmallDisk, WithoutSyncs, shut_down, skipped};
use rustix::fs::{FallocateFlags, fallocate, syncfs};

const SERVER: &str = "child_that_writes_until_the_file_system_is_gone";
const MEGABYTES: u64 = 160;
const HEADER_BYTES: u64 = 4096;

#[test]
fn child_that_writes_until_the_file_system_is_gone() {
    write_after(|data| {
        forget_blocks(&data.join("journal"));
        let disk = data.ancestors().nth(2).expect("a data folder two levels below the root of its file system");
        syncfs(File::open(disk).expect("mounted")).expect("what is lost is what is written from now on");
    });
}

/// Nobody has written to the segments yet, but for their headers; now their blocks are as `fallocate` alone leaves them.
fn forget_blocks(journal: &Path) {
    for entry in journal.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let segment = OpenOptions::new().write(true).open(&path).expect("a segment");
            let bytes = segment.metadata().expect("its length").len();
            let blocks = bytes.saturating_sub(HEADER_BYTES);
            fallocate(&segment, FallocateFlags::ZERO_RANGE, HEADER_BYTES, blocks).expect("ext4 can do this");
        }
    }
}

#[test]
fn given_a_file_system_that_is_shut_down_while_sending_when_started_again_then_what_was_accepted_is_there_in_order() {
    let path = folder("shut-down");
    let Some(disk) = SmallDisk::new(&path, MEGABYTES) else { return skipped() };
    for rounds in [1, 40, 150] {
        let data = disk.mount.join("files").join(format!("after-{rounds}"));
        std::fs::create_dir_all(&data).expect("a folder");
        let accepted = run_and_kill(SERVER, &data, rounds, || assert!(shut_down(&disk.mount), "whoever may mount may"));
        assert!(disk.detach() && disk.attach(), "the file system recovers");
        let found = found_by_child(SERVER, &data, &accepted);
        let kept = found.iter().zip(&accepted).all(|(found, accepted)| (*accepted..=*accepted + 1).contains(found));
        assert!(kept, "{found:?} of {accepted:?}");
    }
}

/// Were nothing missing without fdatasync, the test above would prove nothing.
#[test]
fn given_syncs_that_are_not_done_when_the_file_system_is_shut_down_then_messages_are_missing() {
    let path = folder("shut-down-unsynced");
    let Some(disk) = SmallDisk::new(&path, MEGABYTES) else { return skipped() };
    let Some(without_syncs) = WithoutSyncs::over(&disk) else { return skipped() };
    let data = without_syncs.mount.join("data");
    let accepted = run_and_kill(SERVER, &data, 40, || assert!(shut_down(&disk.mount), "whoever may mount may"));
    let data = without_syncs.files.join("data");
    drop(without_syncs);
    assert!(disk.detach() && disk.attach(), "the file system recovers");
    let found = found_by_child(SERVER, &data, &accepted);
    assert!(found.iter().zip(&accepted).all(|(found, accepted)| found < accepted), "{found:?} of {accepted:?}");
}

//! Power that goes while the server writes, on a disk that loses what was not flushed: every accepted message is there
//! afterwards, by the clients' own account. And the proof that this account would show a loss.

mod common;
#[path = "common/volatile_disk.rs"]
mod volatile_disk;

use common::folder;
use common::pairs::{found_by_child, run_and_kill, write_until_killed};
use common::small_disk::skipped;
use volatile_disk::{Loss, VolatileDisk};

const DISK: &str = "child_that_is_the_disk";
const SERVER: &str = "child_that_writes_until_the_power_goes";
const MEGABYTES: u64 = 160;

#[test]
fn child_that_is_the_disk() {
    volatile_disk::serve();
}

#[test]
fn child_that_writes_until_the_power_goes() {
    write_until_killed();
}

#[test]
fn given_a_power_cut_while_sending_when_started_again_then_what_was_accepted_is_there_in_order() {
    let path = folder("power");
    let Some(mut disk) = VolatileDisk::new(DISK, &path, MEGABYTES) else { return skipped() };
    for (name, rounds, loss) in [("one", 60, Loss::All), ("two", 150, Loss::Some(1)), ("three", 300, Loss::Some(2))] {
        let data = disk.mount().join(name);
        let accepted = run_and_kill(SERVER, &data, rounds, || disk.cut(loss));
        disk.restart();
        let found = found_by_child(SERVER, &data, &accepted);
        let kept = found.iter().zip(&accepted).all(|(found, accepted)| (*accepted..=*accepted + 1).contains(found));
        assert!(kept, "{found:?} of {accepted:?}");
        std::fs::remove_dir_all(&data).expect("space for the next");
    }
}

/// A disk that answers flushes without doing them is the same as a server that asks for none. Were nothing missing then,
/// the test above would prove nothing.
#[test]
fn given_flushes_that_are_not_done_when_the_power_goes_then_messages_are_missing() {
    let path = folder("power-unflushed");
    let Some(mut disk) = VolatileDisk::new(DISK, &path, MEGABYTES) else { return skipped() };
    let data = disk.mount().join("data");
    let before = run_and_kill(SERVER, &data, 5, || {});
    let before = found_by_child(SERVER, &data, &before);
    disk.lie();
    std::fs::write(disk.mount().join("lost"), b"").expect("a file that the disk forgets");
    let accepted = run_and_kill(SERVER, &data, 60, || disk.cut(Loss::All));
    disk.restart();
    let found = found_by_child(SERVER, &data, &accepted);
    assert!(found.iter().zip(&accepted).all(|(found, accepted)| found < accepted), "{found:?} of {accepted:?}");
    assert_eq!(found, before, "what was flushed before is there");
}

//! A disk that fails under the running server, on a file system of its own: writes and syncs come back with errors.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::small_disk::{SmallDisk, shut_down, skipped};
use common::{Rig, folder, small};
use switchyard_router_server::StorageState;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::{Origin, ToGateway};

fn answer(rig: &mut Rig, from: Origin, name: u128) -> ToGateway {
    rig.begin_send(from, 2, name, b"to a broken disk");
    rig.expect("an answer", |message| matches!(message, ToGateway::Accepted { .. } | ToGateway::Refused { .. }))
}

/// Set for the child: where the file system is mounted.
const MOUNT: &str = "SWITCHYARD_BROKEN_DISK";

/// The part of the child: its disk fails under it. It says how much was accepted by then.
#[test]
fn child_whose_disk_fails() {
    let Some(mount) = std::env::var_os(MOUNT) else { return };
    let mut rig = Rig::start(&Path::new(&mount).join("data"), &small(1));
    let alice = rig.attach(1, 1);
    for name in 1..=20_u64 {
        assert_eq!(rig.send(alice, 2, u128::from(name), &name.to_le_bytes()), Sequence(name));
    }
    assert!(rig.handle.is_healthy());
    assert!(shut_down(Path::new(&mount)), "whoever may mount may do this");

    // A write that the device took before may still be answered; the first that fails is the last.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut name = 21;
    let mut accepted = 20;
    let refusal = loop {
        match answer(&mut rig, alice, name) {
            ToGateway::Accepted { sequence, .. } => accepted = sequence.0,
            ToGateway::Refused { code, retry_after_ms, .. } => break (code, retry_after_ms.is_some()),
            other => panic!("not an answer: {other:?}"),
        }
        name += 1;
        assert!(Instant::now() < deadline, "a device that is gone takes no end of writes");
    };
    assert_eq!(refusal, (ErrorCode::StorageUnavailable, true));
    assert_eq!(rig.handle.counters()[0].journal(), StorageState::Failed);
    assert!(!rig.handle.is_healthy(), "health turns red");
    for again in 0..3 {
        let answer = answer(&mut rig, alice, name + again);
        assert!(matches!(answer, ToGateway::Refused { code: ErrorCode::StorageUnavailable, .. }), "{answer:?}");
    }
    let page = rig.fetch(alice, 2, 0, 100);
    assert_eq!(page.messages.len() as u64, accepted, "what is in memory is still read, and nothing that was refused");
    rig.stop();
    writeln!(std::io::stdout().lock(), "accepted {accepted}").expect("the parent reads");
}

#[test]
fn given_a_device_that_fails_then_the_core_takes_no_more_says_so_and_keeps_what_it_accepted() {
    let path = folder("broken-disk");
    let Some(disk) = SmallDisk::new(&path, 160) else { return skipped() };
    let mut child = Command::new(std::env::current_exe().expect("a test has a path"));
    child.args(["--exact", "child_whose_disk_fails", "--nocapture", "--test-threads=1"]).env(MOUNT, &disk.mount);
    let output = child.output().expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let accepted = text.lines().find_map(|line| line.split_once("accepted ")?.1.parse().ok());
    let accepted: usize = accepted.expect("the child says how much was accepted");

    assert!(disk.detach() && disk.attach(), "the file system recovers");
    let mut rig = Rig::start(&disk.mount.join("data"), &small(2));
    assert_eq!(rig.handle.report().recovered.damages, []);
    let alice = rig.attach(1, 1);
    let page = rig.fetch(alice, 2, 0, 100);
    assert!(page.messages.len() >= accepted, "{accepted} were accepted: {page:?}");
    assert_eq!(&*page.messages[19].body, &20_u64.to_le_bytes());
    rig.stop();
}

//! A disk that fills up and is emptied again, on a small file system of its own.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::small_disk::{SmallDisk, skipped};
use common::{Rig, folder, small, user};
use switchyard_router_server::StorageState;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::{Origin, ToGateway};

/// What a client keeps of its sends: how many were accepted, and the name of the next. Body `n` is `n`, over and over.
struct Client {
    origin: Origin,
    accepted: u64,
}

impl Client {
    fn body(number: u64) -> Vec<u8> {
        number.to_le_bytes().repeat(6 * 1024)
    }

    /// Sends its next message: the refusal, if it was refused.
    fn send(&mut self, rig: &mut Rig) -> Option<(ErrorCode, Option<u32>)> {
        let next = self.accepted + 1;
        rig.begin_send(self.origin, 2, u128::from(next), &Self::body(next));
        match rig
            .expect("an answer", |message| matches!(message, ToGateway::Accepted { .. } | ToGateway::Refused { .. }))
        {
            ToGateway::Accepted { sequence, .. } => {
                assert_eq!(sequence, Sequence(next), "a refused send has taken no place");
                self.accepted = next;
                None
            }
            ToGateway::Refused { code, retry_after_ms, .. } => Some((code, retry_after_ms)),
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn send_until_refused(&mut self, rig: &mut Rig) {
        let refusal = loop {
            if let Some(refusal) = self.send(rig) {
                break refusal;
            }
            assert!(self.accepted < 1_000, "48 MB fit into two segments of 4 MB");
        };
        assert_eq!(refusal.0, ErrorCode::StorageUnavailable);
        assert!(refusal.1.is_some(), "the client is told when to try again");
    }

    fn send_until_accepted(&mut self, rig: &mut Rig) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.send(rig).is_some() {
            assert!(Instant::now() < deadline, "there is space, yet sends are refused");
        }
    }

    /// Everything that it was told is accepted is there, and nothing else.
    fn assert_kept(&self, rig: &mut Rig) {
        let mut number = 0;
        while number < self.accepted {
            let page = rig.fetch(self.origin, 2, number, 100);
            assert_eq!(page.void, []);
            assert!(!page.messages.is_empty(), "{number} of {} are there", self.accepted);
            for message in &page.messages {
                number += 1;
                assert_eq!((message.sequence, &message.body[..]), (Sequence(number), &Self::body(number)[..]));
            }
        }
        assert_eq!(number, self.accepted);
    }
}

#[test]
fn given_a_disk_that_fills_up_then_sends_are_refused_reads_go_on_and_space_heals_it() {
    let path = folder("disk-full");
    let Some(disk) = SmallDisk::new(&path, 160) else { return skipped() };
    let data = disk.mount.join("data");
    let mut rig = Rig::start(&data, &small(1));
    let mut alice = Client { origin: rig.attach(1, 1), accepted: 0 };
    assert_eq!(alice.send(&mut rig), None);
    let ballast = disk.mount.join("ballast");
    fill(&ballast);
    alice.send_until_refused(&mut rig);
    assert!(!rig.handle.is_healthy());
    assert_eq!(rig.handle.counters()[0].journal(), StorageState::Full);
    alice.assert_kept(&mut rig);

    fs::remove_file(&ballast).expect("removed");
    alice.send_until_accepted(&mut rig);
    assert!(rig.handle.is_healthy());
    rig.stop();
    let mut rig = Rig::start(&data, &small(2));
    alice.origin = rig.attach(1, 1);
    alice.assert_kept(&mut rig);
    rig.stop();
}

/// The reserve is for this: acks and sessions' ends are recorded, the stop leaves nothing to replay, and a start on the
/// disk that is still full serves what is there.
#[test]
fn given_a_disk_that_stays_full_when_stopped_then_the_snapshot_fits_and_the_next_start_reads_on() {
    let path = folder("disk-stays-full");
    let Some(disk) = SmallDisk::new(&path, 160) else { return skipped() };
    let data = disk.mount.join("data");
    let mut rig = Rig::start(&data, &small(1));
    let mut alice = Client { origin: rig.attach(1, 1), accepted: 0 };
    let bob = rig.attach(2, 1);
    fill(&disk.mount.join("ballast"));
    alice.send_until_refused(&mut rig);
    rig.ack(bob, 1, alice.accepted);
    rig.expect(
        "the receipt of an ack on a full disk",
        |message| matches!(message, ToGateway::Receipt { receipt, .. } if receipt.watermark.member == user(2)),
    );
    assert!(rig.handle.is_store_healthy());
    rig.stop();

    let mut rig = Rig::start(&data, &small(1));
    assert_eq!(rig.handle.report().recovered.statistics.records, 0, "the last snapshot found room");
    alice.origin = rig.attach(1, 1);
    alice.assert_kept(&mut rig);
    rig.stop();
}

/// The disk may be full for the state store alone, while the journal still has its segment.
#[test]
fn given_no_space_for_a_snapshot_when_there_is_again_then_the_store_takes_it_and_health_returns() {
    let path = folder("disk-full-for-the-store");
    let Some(disk) = SmallDisk::new(&path, 160) else { return skipped() };
    let data = disk.mount.join("data");
    let mut config = small(1);
    config.reserve_bytes = 0;
    config.snapshot_ms = 100;
    let mut rig = Rig::start(&data, &config);
    let mut alice = Client { origin: rig.attach(1, 1), accepted: 0 };
    let ballast = disk.mount.join("ballast");
    fill(&ballast);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut friend = 1_000;
    while rig.handle.is_store_healthy() {
        friend += 1;
        let sender = rig.attach(friend, 1);
        assert_eq!(rig.send(sender, 2, 1, b"something to store"), Sequence(1));
        rig.detach(sender);
        assert!(Instant::now() < deadline, "the store finds no end of space");
    }
    assert_eq!(rig.handle.counters()[0].journal(), StorageState::Ready);
    assert!(!rig.handle.is_healthy());
    assert_eq!(alice.send(&mut rig), None, "the journal goes on");

    fs::remove_file(&ballast).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Sending meanwhile would fill the disk again before the store looks.
    while !rig.handle.is_healthy() {
        std::thread::yield_now();
        assert!(
            Instant::now() < deadline,
            "there is space, yet no snapshot is taken: journal {:?}, store healthy: {}",
            rig.handle.counters()[0].journal(),
            rig.handle.is_store_healthy()
        );
    }
    rig.stop();
    let mut rig = Rig::start(&data, &config);
    assert_eq!(rig.handle.report().recovered.statistics.records, 0, "the store has everything");
    alice.origin = rig.attach(1, 1);
    alice.assert_kept(&mut rig);
    let friend = rig.attach(1_001, 1);
    assert_eq!(rig.fetch(friend, 2, 0, 1).messages.len(), 1);
    rig.stop();
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

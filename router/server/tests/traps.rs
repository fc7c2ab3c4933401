//! Traps of glommio, kernel and disk that the drivers must not fall into.

mod common;

use std::fs::{self, File};

use common::{Rig, folder, small};
use glommio::io::{DmaFile, OpenOptions};
use switchyard_router_server::executor::{ExecutorConfig, make, run, settle_polling};
use switchyard_router_server::{DataFolder, StartError};
use switchyard_schema::ids::ShardCount;

const FLOATING: ExecutorConfig = ExecutorConfig { cpu: None };

/// glommio decides from the first file that it opens on a device whether the device polls. A data folder's probe file
/// has a block to read, so the answer is right even when an empty file is opened right after, and reads work.
#[test]
fn given_an_empty_file_opened_second_when_the_device_does_not_poll_then_reads_still_work() {
    let path = folder("traps-polling");
    let opened = DataFolder::open(&path, ShardCount::new(8).expect("in range")).expect("a folder");
    let probe = opened.probe();
    assert!(fs::metadata(&probe).expect("the probe").len() >= 4096, "the probe has a block to read");
    let empty = path.join("empty");
    let data = path.join("data");
    fs::write(&data, vec![7; 8192]).expect("written");
    File::create(&empty).expect("made");
    let executor = make(&FLOATING).expect("an executor");
    run(&executor, async move {
        settle_polling(&probe).await.expect("the probe is read");
        let write = OpenOptions::new().write(true).dma_open(&empty).await.expect("opened");
        let written = write.write_at(glommio::allocate_dma_buffer(4096), 0).await.expect("written");
        assert_eq!(written, 4096);
        write.fdatasync().await.expect("synced");
        write.close().await.expect("closed");
        let read = DmaFile::open(&data).await.expect("opened");
        let bytes = read.read_at_aligned(4096, 4096).await.expect("a device without polled IO is read all the same");
        assert_eq!(bytes.len(), 4096);
        drop(bytes);
        read.close().await.expect("closed");
    });
}

#[test]
fn given_an_empty_probe_then_the_device_is_not_learned_from_it() {
    let path = folder("traps-empty-probe");
    let empty = path.join("empty");
    File::create(&empty).expect("made");
    let executor = make(&FLOATING).expect("an executor");
    let learned = run(&executor, async move { settle_polling(&empty).await });
    assert!(learned.is_err());
}

/// The loop sleeps on its rings: a message from another thread must wake it although nothing else happens. With sixty
/// round trips a lost wake-up shows as the loop's idle period each; the test would run into its patience.
#[test]
fn given_a_sleeping_core_when_messages_come_one_by_one_then_each_wakes_it() {
    let path = folder("traps-wake");
    let mut rig = Rig::start(&path, &small(2));
    let alice = rig.attach(1, 1);
    for name in 1..=60 {
        rig.send(alice, 2, name, b"wake");
    }
    let sleeps: u64 = rig.handle.counters().iter().map(|counters| counters.sleeps.get()).sum();
    assert!(sleeps > 0, "the loops sleep between messages");
    rig.stop();
}

/// A thread may be pinned only to a processor that exists: the refusal names it.
#[test]
fn given_a_processor_that_does_not_exist_when_started_then_the_error_names_it() {
    let path = folder("traps-pinning");
    let mut config = small(1);
    config.cpus = vec![Some(100_000)];
    let refused = Rig::try_start(&path, &config).err().expect("no such processor");
    assert!(matches!(refused, StartError::Executor(_)), "{refused}");
    assert!(refused.to_string().contains("100000"), "{refused}");
    Rig::start(&path, &small(1)).stop();
}

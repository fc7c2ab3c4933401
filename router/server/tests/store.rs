//! The state store behind the shards: what leaves memory comes back, and a start with a small memory serves all the same.

mod common;

use std::time::{Duration, Instant};

use common::{Rig, folder, small};
use switchyard_schema::ids::Sequence;

#[test]
fn given_memory_for_few_users_when_many_write_then_evicted_ones_are_loaded_again() {
    let path = folder("store-eviction");
    let mut config = small(2);
    config.state_bytes = 16 * 1024;
    config.tail_bytes = 4 * 1024;
    config.snapshot_ms = 50;
    let mut rig = Rig::start(&path, &config);
    for round in 1..=3_u64 {
        for pair in 0..60 {
            let sender = rig.attach(1_000 + pair, 1);
            assert_eq!(rig.send(sender, 5_000 + pair, u128::from(round), b"again"), Sequence(round));
            rig.detach(sender);
        }
    }
    // Snapshots come in their own time; every one lets its shard evict what it stored.
    let mut pair = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    let loads = |rig: &Rig| -> u64 { rig.handle.counters().iter().map(|counters| counters.loads.get()).sum() };
    let first = loads(&rig);
    assert!(first > 0, "a new user is looked for in the store");
    while loads(&rig) < first + 200 {
        let reader = rig.attach(5_000 + pair % 60, 1);
        let page = rig.fetch(reader, 1_000 + pair % 60, 0, 10);
        assert_eq!(page.messages.len(), 3);
        rig.detach(reader);
        pair += 1;
        assert!(Instant::now() < deadline, "nothing is evicted: {} loads", loads(&rig));
    }
    let of = |name: &str| -> u64 {
        let counters = rig.handle.counters().iter().flat_map(|counters| counters.each());
        counters.filter(|(counter, _)| *counter == name).map(|(_, value)| value).sum()
    };
    // They are counted once a second.
    let deadline = Instant::now() + Duration::from_secs(30);
    while of("evictions") < 200 || of("state_bytes") == 0 || of("users") == 0 {
        assert!(Instant::now() < deadline, "{} evictions, {} bytes", of("evictions"), of("state_bytes"));
        std::thread::yield_now();
    }
    rig.stop();
}

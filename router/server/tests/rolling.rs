//! Segments that fill quickly: a core whose next segment is still being made waits for it asleep, and hears of it.

mod common;

use common::{Rig, folder, small};
use switchyard_schema::ids::Sequence;

/// Pairs of users who write to each other.
const PAIRS: [(u64, u64); 6] = [(1, 2), (3, 4), (5, 6), (1, 5), (2, 6), (7, 8)];

#[test]
fn given_small_segments_when_records_that_may_wait_have_no_room_then_the_next_segment_is_noticed() {
    let path = folder("rolling");
    let mut config = small(2);
    config.segment_bytes = 256 * 1024;
    config.snapshot_records = 60;
    let mut rig = Rig::start(&path, &config);
    let mut sent = 0;
    for round in 1..=10 {
        for (one, other) in PAIRS {
            let origin = rig.attach(one, 1);
            for number in 1..=16_u64 {
                sent += 1;
                let body = vec![7; [20, 300, 3000, 7][usize::try_from(number % 4).expect("small")]];
                assert_eq!(rig.send(origin, other, sent, &body), Sequence((round - 1) * 16 + number));
            }
            let reader = rig.attach(other, 1);
            rig.ack(reader, one, round * 8);
            rig.detach(origin);
            rig.detach(reader);
        }
    }
    let segments: u64 = rig.handle.counters().iter().map(|counters| counters.segments.get()).sum();
    assert!(segments > 10, "only {segments} segments were filled");
    rig.stop();
}

//! What a seed decides before a run begins: who takes part, how large everything is, which faults there are.

use switchyard_log::limits::{BLOCK_BYTES, SEGMENT_BYTES_MIN};
use switchyard_schema::ids::ShardCount;

use crate::fault::Fault;
use crate::random::Random;

/// From the fastest to the slowest, in microseconds.
#[derive(Copy, Clone, Debug)]
pub struct Span {
    /// The fastest.
    pub low_us: u64,
    /// The slowest but for a few.
    pub high_us: u64,
    /// How many of a thousand take ten times as long.
    pub slow_per_mille: u64,
}

impl Span {
    /// How long it takes this time.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let us = random.between(self.low_us, self.high_us);
        if random.chance(self.slow_per_mille) { us * 10 } else { us }
    }
}

/// The sizes of rings.
#[derive(Copy, Clone, Debug)]
pub struct RingSizes {
    /// Requests that one gateway thread may have unanswered that go to one router core and are answered by one.
    pub credits: usize,
    /// Open slots from a gateway thread to a router core.
    pub open_to_router: usize,
    /// Open slots from a router core to a gateway thread.
    pub open_to_gateway: usize,
    /// Open slots from a router core to another.
    pub open_between_cores: usize,
}

/// What a seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Users, numbered from 1.
    pub users: u64,
    /// Devices of each user, at most.
    pub devices_max: u64,
    /// Shards.
    pub shards: ShardCount,
    /// Gateway threads.
    pub gateways: u16,
    /// Router cores of the first start, and at most of every other.
    pub cores: u16,
    /// Whether each start has another number of cores.
    pub cores_change: bool,
    /// The rings.
    pub rings: RingSizes,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Bytes of recent messages that a core keeps.
    pub tail_bytes: usize,
    /// Bytes of users and conversations that a core keeps.
    pub state_bytes: usize,
    /// Records after which a shard's snapshot is due.
    pub snapshot_records: u64,
    /// Milliseconds after which it is in any case.
    pub snapshot_ms: u64,
    /// A heartbeat of the sessions.
    pub heartbeat_ms: u32,
    /// How long a token is good.
    pub token_ms: u64,
    /// From one end of a connection to the other.
    pub network: Span,
    /// One write and its sync, or one read.
    pub disk: Span,
    /// One answer of the state store.
    pub store: Span,
    /// How soon a thread that was woken runs.
    pub wake: Span,
    /// Bytes that a connection holds on its way.
    pub window_bytes: usize,
    /// Between two things that a person does.
    pub person_ms: u64,
    /// Messages that a device sends.
    pub sends_per_device: u64,
    /// Characters of the longest text.
    pub text_chars_max: u64,
    /// Sends of one conversation that a device has on their way at once.
    pub sends_in_flight: u32,
    /// How long faults happen.
    pub faults_ms: u64,
    /// The mean time between two faults of each kind, for those that happen.
    pub faults: Vec<(Fault, u64)>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let shards = random.pick(&[1u16, 2, 3, 4, 8, 16]);
        let faults_ms = random.pick(&[3_000, 10_000, 30_000, 90_000]);
        let span = |random: &mut Random, low: &[u64], high: &[u64]| {
            let low_us = random.pick(low);
            Span { low_us, high_us: random.pick(high).max(low_us), slow_per_mille: random.pick(&[0, 5, 50]) }
        };
        Self {
            seed,
            users: random.between(2, 6),
            devices_max: random.between(1, 3),
            shards: ShardCount::new(shards).expect("within the limit"),
            gateways: random.pick(&[1, 1, 2, 3]),
            cores: random.pick(&[1, 1, 2, 3, 4]).min(shards),
            cores_change: random.chance(500),
            rings: RingSizes {
                credits: random.pick(&[1, 2, 8, 64]),
                open_to_router: random.pick(&[1, 2, 16, 256]),
                open_to_gateway: random.pick(&[1, 2, 16, 256]),
                open_between_cores: random.pick(&[1, 2, 16, 256]),
            },
            segment_bytes: SEGMENT_BYTES_MIN + BLOCK_BYTES * random.pick(&[0u32, 1, 8, 64]),
            tail_bytes: random.pick(&[0, 4 << 10, 64 << 10, 4 << 20]),
            state_bytes: random.pick(&[0, 4 << 10, 64 << 10, 4 << 20]),
            snapshot_records: random.pick(&[1, 20, 200, 100_000]),
            snapshot_ms: random.pick(&[1_000, 5_000, 30_000]),
            heartbeat_ms: random.pick(&[5_000, 10_000, 30_000]),
            token_ms: random.pick(&[20_000, 120_000, 3_600_000]),
            network: span(random, &[50, 1_000, 20_000], &[1_000, 50_000, 200_000]),
            disk: span(random, &[50, 500], &[500, 5_000, 50_000]),
            store: span(random, &[20, 500], &[500, 20_000]),
            wake: Span { low_us: 1, high_us: random.pick(&[20, 200, 2_000]), slow_per_mille: random.pick(&[0, 5]) },
            window_bytes: random.pick(&[2 << 10, 16 << 10, 256 << 10]),
            person_ms: random.pick(&[5, 20, 100, 400]),
            sends_per_device: random.pick(&[5, 20, 60]),
            text_chars_max: random.pick(&[40, 200, 4_000]),
            sends_in_flight: random.pick(&[1, 1, 4, 32]),
            faults_ms,
            faults: Fault::ALL
                .iter()
                .filter_map(|fault| {
                    // Each kind in half of the runs, so that a defect does not hide behind another fault.
                    let happens = random.chance(fault.per_mille());
                    let mean_ms = random.between(faults_ms / 20, faults_ms).max(50);
                    happens.then_some((*fault, mean_ms))
                })
                .collect(),
        }
    }

    /// Whether a kind of fault happens in this run.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(kind, _)| *kind == fault)
    }
}

//! How long a message takes to the other device of an unloaded server, durable, beside the disk's own write and fdatasync of
//! one block: in one run, in turns, at the same pace. Half of the messages should take at most four times as long as half of
//! the syncs.
//!
//! Two paces: one after the other, and fifty a second, where all that takes part has gone to sleep in between. Needs a release
//! build of the server (`cargo xtask bench` makes it). About a minute; `SWITCHYARD_BENCH_SECONDS` is how long each
//! measurement takes (default 3), `SWITCHYARD_BENCH_PAIRS` how many there are of each (default 5).
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use switchyard_bench::plain_file::{AlignedBuffer, BLOCK_BYTES, PlainFile};
use switchyard_bench::settings::{binary, cores, measured, setting};
use switchyard_bench::{program, table};
use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::latency::{Latencies, Percentiles};
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::tokens::Signer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measurements of each kind.
const ROUNDS: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// Bytes of the plain file, which is written from front to back and then again.
const FILE_BYTES: u64 = 256 << 20;
/// Before a measurement counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// The slower pace.
const PER_SECOND: u32 = 50;

/// What one pace gave: every round, and how the medians of both over the rounds compare.
#[derive(Clone, Debug, Serialize)]
struct Row {
    pace: &'static str,
    syncs: Vec<Percentiles>,
    messages: Vec<Percentiles>,
    ratio: f64,
}

fn main() -> ExitCode {
    program::run("latency", measure)
}

fn measure() -> Result<(), String> {
    let folder = table::target().join("bench").join("latency");
    fresh_folder(&folder).map_err(|error| error.to_string())?;
    let data = folder.join("data");
    let options =
        ServerOptions { binary: binary()?, data: data.clone(), cores: cores()?, rate_limits: false, quic: false };
    let server = Server::start(&options).map_err(|error| error.to_string())?;
    let signer = Signer::of_data(&data).map_err(|error| error.to_string())?;
    let mut file = PlainFile::make(&folder.join("plain"), FILE_BYTES).map_err(|error| error.to_string())?;
    let rounds: NonZeroUsize = setting("SWITCHYARD_BENCH_PAIRS", ROUNDS)?;
    let length = measured(Duration::from_secs(3))?;

    let mut rows = Vec::new();
    println!("{:<22} {:>16} {:>16} {:>8}", "one at a time", "sync p50 µs", "message p50 µs", "ratio");
    for (pace, per_second) in [("one after the other", None), ("fifty a second", Some(PER_SECOND))] {
        let (mut syncs, mut messages) = (Vec::new(), Vec::new());
        for _ in 0..rounds.get() {
            syncs.push(sync(&mut file, per_second, length).map_err(|error| error.to_string())?);
            messages.push(talk(&server, &signer, per_second, length)?);
        }
        let p50 = |all: &[Percentiles]| table::median(all.iter().map(|one| one.p50_us));
        let (sync_us, message_us) = (p50(&syncs), p50(&messages));
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let ratio = message_us as f64 / sync_us.max(1) as f64;
        println!("{pace:<22} {sync_us:>16} {message_us:>16} {ratio:>8.2}");
        rows.push(Row { pace, syncs, messages, ratio });
    }
    let path = table::write_json("latency", &rows).map_err(|error| error.to_string())?;
    println!("written to {}", path.display());
    server.stop().map_err(|error| error.to_string())
}

/// Writes single blocks and waits for each. At a pace each counts from when it was due, as messages do.
fn sync(file: &mut PlainFile, per_second: Option<u32>, length: Duration) -> std::io::Result<Percentiles> {
    let block = AlignedBuffer::new(BLOCK_BYTES);
    let mut latencies = Latencies::default();
    let (begun, mut number) = (Instant::now(), 0);
    while begun.elapsed() < WARM_UP + length {
        let from = match per_second {
            None => Instant::now(),
            Some(per_second) => {
                number += 1;
                let due = begun + number * Duration::from_secs(1) / per_second;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due
            }
        };
        file.append_durably(block.as_ref())?;
        if from - begun >= WARM_UP {
            latencies.record(from.elapsed());
        }
    }
    Ok(latencies.percentiles())
}

/// Sends messages from one to another. Each counts from its Send, or at a pace from when it was due, to its Deliver.
fn talk(server: &Server, signer: &Signer, per_second: Option<u32>, length: Duration) -> Result<Percentiles, String> {
    let pace = match per_second {
        Some(per_second) => Pace::PerSecond(f64::from(per_second)),
        None => Pace::Depth { depth: 1, until: Until::Accepted },
    };
    let options = ChatOptions {
        pace,
        length: Length::Time { warm_up: WARM_UP, measured: length },
        ..ChatOptions::new(server.websocket, 1)
    };
    let report = chat::run(&options, signer, &mut |_| {}).map_err(|error| error.to_string())?;
    if report.faults.any() {
        return Err(format!("the server did wrong: {:?}", report.faults));
    }
    Ok(report.delivered)
}

//! Over real sockets, beside Redis, interleaved in one run: median of five pairs of runs, both driven by the same loop.
//!
//! Needs a release build of the server (`cargo xtask bench` makes it) and `redis-server`. About three minutes; shorter
//! with `SWITCHYARD_BENCH_SECONDS` (measured seconds per run, default 3) and `SWITCHYARD_BENCH_PAIRS` (default 5).
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use switchyard_bench::redis::{self, RedisLoad, RedisOptions, RedisServer};
use switchyard_bench::table::{self, Measured, Row};
use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::tokens::Signer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TEXT_BYTES: usize = 100;
const WARM_UP: Duration = Duration::from_millis(500);

/// What is compared.
struct Scenario {
    name: &'static str,
    pairs: u32,
    depth: u32,
    ack_every: u32,
    online: bool,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario { name: "routed, 64 pairs, depth 1", pairs: 64, depth: 1, ack_every: 1, online: true },
    Scenario { name: "routed, 64 pairs, depth 16", pairs: 64, depth: 16, ack_every: 8, online: true },
    Scenario { name: "durable accepts, 64 senders", pairs: 64, depth: 1, ack_every: 1, online: false },
    Scenario { name: "durable accepts, 1024 senders", pairs: 1024, depth: 1, ack_every: 1, online: false },
];

fn main() {
    // Criterion's arguments (a filter, `--test`) mean nothing here; a filter that names another bench skips this one.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if std::env::args().any(|argument| argument == "--test") || filter.is_some_and(|name| !"end_to_end".contains(&name))
    {
        return;
    }
    if let Err(error) = compare() {
        eprintln!("end_to_end: {error}");
        std::process::exit(1);
    }
}

fn compare() -> Result<(), String> {
    let measured = Duration::from_secs_f64(setting("SWITCHYARD_BENCH_SECONDS", 3.0));
    let runs: usize = setting("SWITCHYARD_BENCH_PAIRS", 5);
    let folder = table::target().join("bench");
    let data = folder.join("switchyard");
    fresh_folder(&data).map_err(|error| error.to_string())?;
    let server = Server::start(&ServerOptions { binary: binary()?, data: data.clone(), cores: cores() })
        .map_err(|error| error.to_string())?;
    let signer = Signer::of_data(&data).map_err(|error| error.to_string())?;
    let peer = RedisServer::start(&folder.join("redis"))?;
    println!("{}", table::head());
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(run_ours(scenario, &server, &signer, measured)?);
            theirs.push(run_theirs(scenario, &peer, measured)?);
        }
        let peer =
            if scenario.online { "Redis pub/sub (not durable, no receipts)" } else { "Redis XADD, appendfsync always" };
        let row = Row { name: scenario.name.to_owned(), peer: peer.to_owned(), ours, theirs };
        println!("{}", row.lines());
        rows.push(row);
    }
    let path = table::write_json("end_to_end", &rows).map_err(|error| error.to_string())?;
    println!("written to {}", path.display());
    server.stop().map_err(|error| error.to_string())
}

fn run_ours(scenario: &Scenario, server: &Server, signer: &Signer, measured: Duration) -> Result<Measured, String> {
    let options = ChatOptions {
        address: server.websocket,
        pairs: scenario.pairs,
        pace: Pace::Depth { depth: scenario.depth, until: Until::Accepted },
        length: Length::Time { warm_up: WARM_UP, measured },
        text_bytes: TEXT_BYTES,
        recipients_online: scenario.online,
        ack_every: scenario.ack_every,
        threads: 1,
        server_pid: Some(server.pid()),
    };
    let report = chat::run(&options, signer, &mut |_| {}).map_err(|error| error.to_string())?;
    if report.faults.any() {
        return Err(format!("{}: {:?}", scenario.name, report.faults));
    }
    let latency = if scenario.online { report.delivered } else { report.accepted };
    Ok(Measured {
        messages_per_s: report.messages_per_s,
        p50_us: latency.p50_us,
        p99_us: latency.p99_us,
        server_cpu_us: report.server_cpu_us_per_message.unwrap_or_default(),
    })
}

fn run_theirs(scenario: &Scenario, peer: &RedisServer, measured: Duration) -> Result<Measured, String> {
    redis::run(&RedisOptions {
        address: peer.address,
        pid: peer.pid(),
        load: if scenario.online { RedisLoad::PubSub } else { RedisLoad::Append },
        pairs: scenario.pairs as usize,
        depth: u64::from(scenario.depth),
        text_bytes: TEXT_BYTES,
        warm_up: WARM_UP,
        measured,
    })
}

/// The server to measure: $SWITCHYARD_BIN, else the release build.
fn binary() -> Result<PathBuf, String> {
    let path =
        std::env::var_os("SWITCHYARD_BIN").map_or_else(|| table::target().join("release/switchyard"), PathBuf::from);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not there; `cargo build --release --package switchyard` makes it", path.display()))
    }
}

/// `SWITCHYARD_BENCH_CORES=1,1`: gateway and router threads, instead of the server's own choice.
fn cores() -> Option<(u16, u16)> {
    let text = std::env::var("SWITCHYARD_BENCH_CORES").ok()?;
    let (gateway, router) = text.split_once(',')?;
    Some((gateway.parse().ok()?, router.parse().ok()?))
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

//! What an idle connection costs, byte by byte: who holds memory for it, and where that was asked for.
//!
//! Gateway and router run in this process, as `switchyard serve` wires them, over an allocator that keeps a ledger of what is
//! not given back. Connections are made, authenticated and left alone; what their number added to the ledger is printed by
//! thread and place. Numbers in `SWITCHYARD_BENCH_WARM` (connections made before the ledger is opened, default 1,000),
//! `SWITCHYARD_BENCH_CONNECTIONS` (those counted, default 4,000); `SWITCHYARD_BENCH_TRANSPORT` is what carries all of them: `ws`
//! (the default), `wss` or `quic`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

mod counting_allocator;
mod phones;
mod places;
mod secure;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use counting_allocator::{Accounting, Entry};
use places::Names;
use rustls::ClientConfig;
use server::Server;
use switchyard_bench::settings::setting;
use switchyard_bench::{program, table};
use switchyard_gateway_server::CONNECTION_BYTES;
use switchyard_swarm::idle;
use switchyard_swarm::tokens::Signer;

#[global_allocator]
static ALLOCATOR: Accounting = Accounting;

/// How long what is only passing through gets to leave: longer than the state store takes to be told of everything.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the next session may take to open.
const PATIENCE: Duration = Duration::from_secs(20);
/// Places that hold less per connection are summed up.
const SHOWN_BYTES_MIN: f64 = 0.5;

fn main() -> ExitCode {
    program::run("density", account)
}

fn account() -> Result<(), String> {
    let warm: usize = setting("SWITCHYARD_BENCH_WARM", 1_000)?;
    let counted: usize = setting("SWITCHYARD_BENCH_CONNECTIONS", 4_000)?;
    let transport: Transport = setting("SWITCHYARD_BENCH_TRANSPORT", Transport::Ws)?;
    let data = table::target().join("bench/density");
    let (listeners, trusting) = secure::both_ends().map_err(|error| error.to_string())?;
    let server = Server::start(&data, listeners)?;
    let signer = Signer::of_data(&data).map_err(|error| error.to_string())?;
    let opener = Arc::new(Opener { transport, signer, trusting });
    let first = Clients::connect(&server, &opener, warm, warm)?;
    counting_allocator::begin();
    let second = Clients::connect(&server, &opener, counted, warm + counted)?;
    thread::sleep(SETTLE);
    let entries = counting_allocator::end();
    print(&entries, counted);
    first.leave();
    second.leave();
    server.stop();
    std::fs::remove_dir_all(&data).map_err(|error| error.to_string())
}

/// What carries the sessions.
#[derive(Copy, Clone, Debug)]
enum Transport {
    Ws,
    Wss,
    Quic,
}

impl FromStr for Transport {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ws" => Ok(Self::Ws),
            "wss" => Ok(Self::Wss),
            "quic" => Ok(Self::Quic),
            _ => Err("it should be ws, wss or quic"),
        }
    }
}

/// How clients come.
struct Opener {
    transport: Transport,
    signer: Signer,
    trusting: Arc<ClientConfig>,
}

impl Opener {
    /// Where.
    const fn address(&self, server: &Server) -> Option<SocketAddr> {
        match self.transport {
            Transport::Ws => Some(server.address()),
            Transport::Wss => server.tls_address(),
            Transport::Quic => server.quic_address(),
        }
    }

    fn hold(&self, address: SocketAddr, count: usize, leave: &AtomicBool) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        match self.transport {
            Transport::Ws => idle::hold(address, count, &self.signer, leave).map_err(|error| error.to_string()),
            Transport::Wss => secure::hold(address, &self.trusting, count, &self.signer, leave).map_err(text),
            Transport::Quic => phones::hold(address, &self.trusting, count, &self.signer, leave).map_err(text),
        }
    }
}

/// Connections that a thread of their own keeps.
struct Clients {
    leave: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Clients {
    /// Makes `count` connections and waits until the server has `until` in all.
    fn connect(server: &Server, opener: &Arc<Opener>, count: usize, until: usize) -> Result<Self, String> {
        let leave = Arc::new(AtomicBool::new(false));
        let address = opener.address(server).expect("it listens for all of them");
        let (opener, told) = (Arc::clone(opener), Arc::clone(&leave));
        let run = move || {
            if let Err(error) = opener.hold(address, count, &told) {
                eprintln!("density: the clients: {error}");
            }
        };
        let thread = thread::Builder::new().name("clients".to_owned()).spawn(run).map_err(|error| error.to_string())?;
        let (mut open, mut progress) = (0, Instant::now());
        while open < until as u64 {
            let before = std::mem::replace(&mut open, server.sessions());
            if open > before {
                progress = Instant::now();
            } else if progress.elapsed() > PATIENCE || thread.is_finished() {
                return Err(format!("{open} of {until} sessions are open"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { leave, thread })
    }

    fn leave(self) {
        self.leave.store(true, Ordering::Relaxed);
        // A panic of theirs has been printed.
        let _ = self.thread.join();
    }
}

/// What one place holds.
#[derive(Default)]
struct Held {
    bytes: usize,
    pieces: usize,
}

fn print(entries: &[Entry], connections: usize) {
    let mut names = Names::default();
    let mut threads: BTreeMap<&str, BTreeMap<String, Held>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.thread != "clients" && entry.thread != "main") {
        let held = threads.entry(&entry.thread).or_default().entry(names.of(&entry.place)).or_default();
        held.bytes += entry.bytes;
        held.pieces += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let per_connection = |count: usize| count as f64 / connections as f64;
    let mut all_bytes = 0;
    println!("bytes and pieces per connection, of {connections} connections");
    for (thread, places) in threads {
        let bytes: usize = places.values().map(|held| held.bytes).sum();
        all_bytes += bytes;
        println!("{thread:<72} {:>8.1}", per_connection(bytes));
        let mut places: Vec<_> = places.into_iter().collect();
        places.sort_by_key(|(_, held)| std::cmp::Reverse(held.bytes));
        let (shown, rest): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(_, held)| per_connection(held.bytes) >= SHOWN_BYTES_MIN);
        for (name, held) in shown {
            println!("  {name:<70} {:>8.1} {:>6.2}", per_connection(held.bytes), per_connection(held.pieces));
        }
        let rest: usize = rest.iter().map(|(_, held)| held.bytes).sum();
        println!("  {:<70} {:>8.1}", "everything else", per_connection(rest));
    }
    println!("{:<72} {:>8.1}", "gateway: places and timers, reserved at the start", CONNECTION_BYTES as f64);
    println!("{:<72} {:>8.1}", "together", per_connection(all_bytes) + CONNECTION_BYTES as f64);
}

//! How long a start takes, by the size of the journal: after a clean stop, and after a kill with the same amount written
//! since the last snapshots. Neither may grow with history.
//!
//! The bench starts itself as the server that writes, stops, is killed and starts again, so that every start is one of a
//! fresh process; the data's pages are dropped from the system's cache before each. Sizes in `SWITCHYARD_BENCH_JOURNAL_GB`
//! (default `1,10`), bytes of a message in `SWITCHYARD_BENCH_BODY_BYTES` (8,192), megabytes written before each kill in
//! `SWITCHYARD_BENCH_TAIL_MB` (256), the folder in `SWITCHYARD_BENCH_DATA` (under the target folder). It needs as much
//! space as the largest journal and leaves nothing behind. Many minutes, so it runs only when it is named:
//! `cargo xtask bench recovery`, or `cargo bench -- recovery`.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "../../router/server/tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Rig;
use rustix::fs::{Advice, fadvise, statvfs};
use serde::{Deserialize, Serialize};
use switchyard_bench::settings::setting;
use switchyard_bench::{program, table};
use switchyard_router_server::RouterConfig;
use switchyard_schema::link::{Origin, ToGateway};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set for the process that serves: what it is to do, as JSON.
const ORDER: &str = "SWITCHYARD_BENCH_RECOVERY_ORDER";
/// Pairs of users that write. Each remembers all the client message ids it may, whatever the size of the journal.
const PAIRS: u64 = 256;
/// Sends that wait for an answer.
const DEPTH: usize = 512;
const CLEAN_STARTS: usize = 5;
const KILLED_STARTS: usize = 3;
/// From when a snapshot is due until it is surely on disk: writing one of all pairs takes a fraction of this.
const SNAPSHOT_SLACK_MS: u64 = 3_000;
/// What a start may take longer when the journal is ten times as large.
const FACTOR_MAX: f64 = 1.5;

/// What a server process does before it ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    folder: PathBuf,
    body_bytes: usize,
    write_bytes: u64,
    /// Waits until its snapshots hold everything before it says that it is ready.
    settle: bool,
    /// Bytes written after that.
    tail_bytes: u64,
    /// Stops by itself; otherwise it waits for its end.
    stop: bool,
}

/// What a server process says when it has started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Start {
    /// Until the router serves.
    ms: f64,
    /// Of these, to recover.
    recovery_ms: f64,
    /// Of these, to open the state store.
    store_ms: f64,
    records: u64,
    segments_read: u64,
    segments_skipped: u64,
    mb_read: u64,
}

/// All starts on a journal of one size.
#[derive(Debug, Default, Serialize)]
struct Starts {
    journal_gb: f64,
    after_stop: Vec<Start>,
    after_kill: Vec<Start>,
}

fn main() -> ExitCode {
    if let Ok(order) = std::env::var(ORDER) {
        serve(&serde_json::from_str(&order).expect("an order of this bench"));
        return ExitCode::SUCCESS;
    }
    program::run_when_named("recovery", "many minutes and twelve gigabytes of the disk", compare)
}

fn compare() -> Result<(), String> {
    let sizes = std::env::var("SWITCHYARD_BENCH_JOURNAL_GB").unwrap_or_else(|_| "1,10".into());
    let sizes: Result<Vec<f64>, _> = sizes.split(',').map(|size| size.trim().parse()).collect();
    let sizes = sizes.map_err(|error| format!("SWITCHYARD_BENCH_JOURNAL_GB: {error}"))?;
    let folder = std::env::var_os("SWITCHYARD_BENCH_DATA")
        .map_or_else(|| table::target().join("bench").join("recovery"), PathBuf::from);
    let mut all = Vec::new();
    for size in sizes {
        let starts = measure(&folder, size);
        let _ = fs::remove_dir_all(&folder);
        all.push(starts.map_err(|error| format!("{}: {error}", folder.display()))?);
    }
    print(&all);
    let path = table::write_json("recovery", &all).map_err(|error| error.to_string())?;
    println!("written to {}", path.display());
    Ok(())
}

fn measure(folder: &Path, journal_gb: f64) -> io::Result<Starts> {
    fs::create_dir_all(folder)?;
    let tail_bytes = setting("SWITCHYARD_BENCH_TAIL_MB", 256_u64).map_err(io::Error::other)? << 20;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below both ends")]
    let write_bytes = (journal_gb * f64::from(1 << 30)) as u64;
    let needed = write_bytes + 4 * tail_bytes + (1 << 30);
    let disk = statvfs(folder)?;
    if disk.f_bavail * disk.f_frsize < needed {
        return Err(io::Error::other(format!("{} MB of free space are needed", needed >> 20)));
    }
    let folder = folder.join("data");
    let _ = fs::remove_dir_all(&folder);
    let body_bytes = setting("SWITCHYARD_BENCH_BODY_BYTES", 8192).map_err(io::Error::other)?;
    let order = Order { folder, body_bytes, write_bytes: 0, settle: false, tail_bytes: 0, stop: true };
    let (_, writer) = Server::start(&Order { write_bytes, ..order.clone() })?;
    writer.end()?;
    let mut starts = Starts { journal_gb, ..Starts::default() };
    for _ in 0..CLEAN_STARTS {
        let (start, server) = Server::start(&order)?;
        server.end()?;
        starts.after_stop.push(start);
    }
    let killed = Order { settle: true, tail_bytes, stop: false, ..order };
    for round in 0..=KILLED_STARTS {
        let (start, server) = Server::start(&killed)?;
        server.kill()?;
        // The first one followed a clean stop.
        if round > 0 {
            starts.after_kill.push(start);
        }
    }
    Ok(starts)
}

fn print(all: &[Starts]) {
    println!(
        "{:<34} {:>9} {:>11} {:>9} {:>9} {:>10} {:>9}",
        "start", "median ms", "recovery ms", "store ms", "segments", "MB read", "records"
    );
    for starts in all {
        for (name, runs) in [("clean stop", &starts.after_stop), ("kill", &starts.after_kill)] {
            let Some(Start { ms, recovery_ms, store_ms, records, segments_read, mb_read, .. }) = median(runs) else {
                continue;
            };
            let name = format!("{} GB, after a {name}", starts.journal_gb);
            println!(
                "{name:<34} {ms:>9.1} {recovery_ms:>11.1} {store_ms:>9.1} {segments_read:>9} {mb_read:>10} {records:>9}"
            );
        }
    }
    let [first, .., last] = all else { return };
    for (name, runs, of) in
        [("clean stop", &first.after_stop, &last.after_stop), ("kill", &first.after_kill, &last.after_kill)]
    {
        let (Some(first_run), Some(last_run)) = (median(runs), median(of)) else { continue };
        let factor = last_run.ms / first_run.ms;
        let verdict = if factor <= FACTOR_MAX { "holds" } else { "missed" };
        println!(
            "after a {name}: {} GB takes {factor:.2} times as long as {} GB, at most {FACTOR_MAX}: {verdict}",
            last.journal_gb, first.journal_gb
        );
    }
}

fn median(runs: &[Start]) -> Option<Start> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|one, other| one.ms.total_cmp(&other.ms));
    sorted.get(sorted.len() / 2).cloned()
}

/// A server process; killed when dropped.
struct Server {
    child: Child,
    lines: io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Server {
    /// Starts one on a folder that is not in memory, and gives what it said of its start.
    fn start(order: &Order) -> io::Result<(Start, Self)> {
        forget_pages(&order.folder);
        let mut command = Command::new(std::env::current_exe()?);
        let mut child =
            command.env(ORDER, serde_json::to_string(order)?).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut server = Self { child, lines };
        let start = serde_json::from_str(&server.line()?)?;
        Ok((start, server))
    }

    fn line(&mut self) -> io::Result<String> {
        self.lines.next().unwrap_or_else(|| Err(io::Error::other("the server ended early")))
    }

    /// Waits until it has done what it was told.
    fn end(mut self) -> io::Result<()> {
        self.line()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("the server ended with {status}"))) }
    }

    /// Kills it once it has written what it was told.
    fn kill(mut self) -> io::Result<()> {
        self.line()?;
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Drops the files under `path` from the system's cache, as after a reboot.
fn forget_pages(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            forget_pages(&path);
        } else if let Ok(file) = File::open(&path) {
            let _ = file.sync_data();
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}

/// The server: starts, says how long that took, does what the order says.
fn serve(order: &Order) {
    let config = RouterConfig::new(1, 1);
    let snapshot_ms = config.snapshot_ms;
    fs::create_dir_all(&order.folder).expect("the folder of the bench");
    let begun = Instant::now();
    let mut rig = Rig::start(&order.folder, &config);
    let served = begun.elapsed();
    let report = rig.handle.report();
    let statistics = report.recovered.statistics;
    let start = Start {
        ms: served.as_secs_f64() * 1000.0,
        recovery_ms: report.took.as_secs_f64() * 1000.0,
        store_ms: report.store_took.as_secs_f64() * 1000.0,
        records: statistics.records,
        segments_read: statistics.segments_read,
        segments_skipped: statistics.segments_skipped,
        mb_read: statistics.bytes_read >> 20,
    };
    say(&serde_json::to_string(&start).expect("plain numbers"));
    if order.write_bytes > 0 {
        write(&mut rig, order.body_bytes, order.write_bytes);
    }
    if order.settle {
        thread::sleep(Duration::from_millis(snapshot_ms + SNAPSHOT_SLACK_MS));
    }
    if order.tail_bytes > 0 {
        write(&mut rig, order.body_bytes, order.tail_bytes);
    }
    if order.stop {
        rig.stop();
        say("stopped");
    } else {
        say("written");
        loop {
            thread::park();
        }
    }
}

fn say(line: &str) {
    println!("{line}");
    io::stdout().flush().expect("the bench reads");
}

/// Sends until the journal holds so many bytes more.
fn write(rig: &mut Rig, body_bytes: usize, bytes: u64) {
    let written = |rig: &Rig| rig.handle.counters()[0].batch_bytes.get();
    let until = written(rig) + bytes;
    let body = vec![0x5a; body_bytes];
    let senders: Vec<Origin> = (0..PAIRS).map(|pair| rig.attach(1 + pair, 1)).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let mut next = 0_u64;
    let mut outstanding = 0;
    while written(rig) < until || outstanding > 0 {
        while outstanding < DEPTH && written(rig) < until {
            let pair = next % PAIRS;
            let sender = senders[usize::try_from(pair).expect("few")];
            rig.begin_send(sender, 100_000 + pair, now + u128::from(next), &body);
            next += 1;
            outstanding += 1;
        }
        rig.wait("an answer", Instant::now() + Duration::from_secs(60));
        for message in rig.inbox.drain(..) {
            match message {
                ToGateway::Accepted { .. } => outstanding -= 1,
                ToGateway::Refused { code, .. } => panic!("a send was refused: {code:?}"),
                _ => {}
            }
        }
    }
    for sender in senders {
        rig.detach(sender);
    }
}

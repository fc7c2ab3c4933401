//! `sim`: runs seeds, or one seed with its story.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use switchyard_sim::canary::Canary;
use switchyard_sim::fault::FaultCounts;
use switchyard_sim::{Options, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the whole system without IO, under virtual time and faults, from seeds.
#[derive(Parser, Debug)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run this one seed, and tell its story when it fails.
    #[arg(long)]
    seed: Option<u64>,
    /// Tell the story of --seed whatever becomes of it.
    #[arg(long)]
    tell: bool,
    /// Lines of a story, the last ones; 0 for all.
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// Seed a defect, by its number from 0: what the simulator then says of it.
    #[arg(long)]
    canary: Option<usize>,
    /// Threads that run seeds.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic of the code under test is told with the story.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => many(&arguments),
    }
}

fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    let outcome = run(seed, &Options { told: true, canary: canary(arguments) });
    if outcome.failure.is_some() || arguments.tell {
        let story = &outcome.story;
        let first = if arguments.lines == 0 { 1 } else { story.len().saturating_sub(arguments.lines).max(1) };
        println!("{}", story[0]);
        story[first..].iter().for_each(|line| println!("{line}"));
    }
    println!("seed {seed}: {:016x}, {} virtual ms, {} messages", outcome.hash, outcome.virtual_ms, outcome.messages);
    match outcome.failure {
        Some(failure) => {
            println!("FAILED: {failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn canary(arguments: &Arguments) -> Option<Canary> {
    arguments.canary.and_then(|number| Canary::ALL.get(number).copied())
}

#[derive(Default)]
struct Sum {
    faults: FaultCounts,
    virtual_ms: u64,
    messages: usize,
    failures: Vec<(u64, String)>,
}

fn many(arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = run(seed, &Options { told: false, canary: canary(arguments) });
                    let mut sum = sum.lock().expect("no thread panics with the lock");
                    sum.faults.add(&outcome.faults);
                    sum.virtual_ms += outcome.virtual_ms;
                    sum.messages += outcome.messages;
                    if let Some(failure) = outcome.failure {
                        println!("seed {seed} FAILED: {failure}");
                        sum.failures.push((seed, failure));
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("no thread panics with the lock");
    report(arguments, &sum, begun.elapsed().as_secs_f64());
    sum.failures.sort();
    match sum.failures.first() {
        Some((seed, _)) => {
            println!("look at the first with `cargo xtask sim --seed {seed}`");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn report(arguments: &Arguments, sum: &Sum, seconds: f64) {
    println!("faults injected:");
    for (fault, count) in sum.faults.iter() {
        println!("{count:>10}  {}", fault.name());
    }
    let hours = sum.virtual_ms as f64 / 3_600_000.0;
    println!(
        "{} seeds, {} failed; {} messages, {hours:.1} virtual hours, {seconds:.1} s ({:.1} seeds/s)",
        arguments.seeds,
        sum.failures.len(),
        sum.messages,
        arguments.seeds as f64 / seconds.max(0.001)
    );
}

//! What is fuzzed: every parser and state machine that meets the bytes of a stranger or of a disk.
//!
//! A target is a plain function over bytes that panics when something that must hold does not. Three things run it: the
//! libFuzzer binaries in `runner/` (`cargo xtask fuzz`), and in `cargo test` the committed corpus with a bounded number of
//! mutations of it (`tests/replay.rs`). What a long run finds is fixed, and its input joins `corpus/`.
#![forbid(unsafe_code)]

mod checksums;
mod folder;
mod frames;
mod framing;
mod handshake;
mod journal;
mod manifest;
pub mod mutate;
mod session;
mod source;
mod websocket;

/// One thing that is fuzzed.
#[derive(Copy, Clone, Debug)]
pub struct Target {
    /// Its name: of the binary, and of the folder of its corpus.
    pub name: &'static str,
    /// Panics when something that must hold does not.
    pub run: fn(&[u8]),
    /// Inputs to begin with: small, and each going another way.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "websocket", run: websocket::run, seeds: websocket::seeds },
    Target { name: "framing", run: framing::run, seeds: framing::seeds },
    Target { name: "handshake", run: handshake::run, seeds: handshake::seeds },
    Target { name: "binary_frames", run: frames::binary, seeds: frames::binary_seeds },
    Target { name: "json_frames", run: frames::json, seeds: frames::json_seeds },
    Target { name: "session", run: session::run, seeds: session::seeds },
    Target { name: "journal", run: journal::run, seeds: journal::seeds },
    Target { name: "manifest", run: manifest::run, seeds: manifest::seeds },
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none of this name, and when what the target checks does not hold.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(data);
}

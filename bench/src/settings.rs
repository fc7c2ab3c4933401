//! What benches of the whole server have in common: which binary they measure, and their settings.

use std::env::VarError;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use switchyard_swarm::time;

use crate::table;

/// The server to measure: `$SWITCHYARD_BIN`, else the release build.
///
/// # Errors
/// When it is not there; says what makes it.
pub fn binary() -> Result<PathBuf, String> {
    let path =
        std::env::var_os("SWITCHYARD_BIN").map_or_else(|| table::target().join("release/switchyard"), PathBuf::from);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not there; `cargo build --release` makes it", path.display()))
    }
}

/// `SWITCHYARD_BENCH_CORES=1,1`: gateway and router threads, instead of the server's own choice.
///
/// # Errors
/// When it is set to something else than two numbers.
pub fn cores() -> Result<Option<(u16, u16)>, String> {
    const NAME: &str = "SWITCHYARD_BENCH_CORES";
    let Some(text) = variable(NAME)? else { return Ok(None) };
    let numbers =
        text.split_once(',').and_then(|(gateway, router)| Some((gateway.parse().ok()?, router.parse().ok()?)));
    numbers.map(Some).ok_or_else(|| format!("{NAME}={text}: it should be two numbers, such as 1,1"))
}

/// A setting of the environment, or what it is without.
///
/// # Errors
/// When it is set to something that it cannot be.
pub fn setting<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T, String> {
    let Some(text) = variable(name)? else { return Ok(default) };
    text.parse().map_err(|error| format!("{name}={text}: {error}"))
}

/// How long each run is measured: `SWITCHYARD_BENCH_SECONDS`, or `default` without.
///
/// # Errors
/// When it is set to something in which nothing can be measured.
pub fn measured(default: Duration) -> Result<Duration, String> {
    const NAME: &str = "SWITCHYARD_BENCH_SECONDS";
    let Some(text) = variable(NAME)? else { return Ok(default) };
    time::parse_some(&text).map_err(|error| format!("{NAME}={text}: {error}"))
}

/// A variable of the environment, if it is set.
fn variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(text)) => Err(format!("{name}={}: it is not text", text.display())),
    }
}

//! What benches of the whole server have in common: whether they are asked for, which binary they measure, and their settings.

use std::path::PathBuf;
use std::str::FromStr;

use crate::table;

/// Whether cargo means the bench of this name. Criterion's arguments mean nothing to it: `--test` and a filter that names
/// another bench skip it.
#[must_use]
pub fn is_asked_for(bench: &str) -> bool {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    !std::env::args().any(|argument| argument == "--test") && filter.is_none_or(|name| bench.contains(&name))
}

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
        Err(format!("{} is not there; `cargo build --release --package switchyard` makes it", path.display()))
    }
}

/// `SWITCHYARD_BENCH_CORES=1,1`: gateway and router threads, instead of the server's own choice.
#[must_use]
pub fn cores() -> Option<(u16, u16)> {
    let text = std::env::var("SWITCHYARD_BENCH_CORES").ok()?;
    let (gateway, router) = text.split_once(',')?;
    Some((gateway.parse().ok()?, router.parse().ok()?))
}

/// A setting of the environment, or what it is without.
#[must_use]
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

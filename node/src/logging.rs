//! Structured logs on standard error; standard output belongs to what a command prints.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Libraries whose own progress is no news to an operator.
const QUIET: &str = "fjall=warn,lsm_tree=warn";

/// Installs the process's logger.
///
/// # Errors
/// When `log.level` is not a filter; says what is.
pub(crate) fn install(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log_level))
        .map_err(|error| format!("log.level = {:?} is not a level or filter: {error}", config.log_level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Flags, LogFormat};
use crate::top;

/// A messaging core: WebSocket gateway and durable router in one process.
#[derive(Parser, Debug)]
#[command(name = "switchyard", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the server.
    Serve(Serve),
    /// Say whether this host can carry the server, and what to do where it cannot.
    Doctor(Doctor),
    /// Print a token signed with the development key.
    Token(Token),
    /// Show a running server live; piped, a line per interval.
    Top(Top),
    /// Check or print the configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Make a development key in the data folder (with --listen-wss or --listen-quic a certificate too), serve /echo, and have no rate limits
    /// but those that are configured.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address of the WebSocket listener.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_ws: Option<SocketAddr>,
    /// Address of the WebSocket listener that speaks TLS (wss://).
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_wss: Option<SocketAddr>,
    /// Address of the QUIC listener (UDP).
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_quic: Option<SocketAddr>,
    /// Address of health, stats and metrics.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_admin: Option<SocketAddr>,
    /// Gateway threads; 0 chooses.
    #[arg(long, value_name = "N")]
    pub(crate) gateway_cores: Option<u16>,
    /// Router threads; 0 chooses.
    #[arg(long, value_name = "N")]
    pub(crate) router_cores: Option<u16>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl Serve {
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            dev: self.dev,
            data: self.data.clone(),
            listen_ws: self.listen_ws,
            listen_wss: self.listen_wss,
            listen_quic: self.listen_quic,
            listen_admin: self.listen_admin,
            gateway_cores: self.gateway_cores,
            router_cores: self.router_cores,
            log_format: self.log_format,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Exit code: 0 when no line is FAIL, 1 otherwise. Run it as the user of the server.")]
pub(crate) struct Doctor {
    /// Connections to examine the host for; those of the configuration (gateway.max_connections) when not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: Option<u32>,
    /// Data folder; its disk is measured for a second, in a file without a name.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// The user: any number but 0.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) user: u64,
    /// Good for this device only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) device: Option<u64>,
    /// How long it is good, for example 30s, 1h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder of the server.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Top {
    /// The server's admin address, as it prints it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub(crate) admin: SocketAddr,
    /// Time between two pictures, 100ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// End after so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

impl Top {
    pub(crate) const fn options(&self) -> top::Options {
        top::Options { admin: self.admin, interval: self.interval, count: self.count }
    }
}

/// Shorter ones would show the ticks of the kernel's clock, longer ones nobody waits for.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let may_be = Duration::from_millis(100)..=Duration::from_secs(3600);
    if may_be.contains(&interval) { Ok(interval) } else { Err("it must lie between 100ms and 1h".to_owned()) }
}

#[derive(Subcommand, Debug)]
pub(crate) enum ConfigAction {
    /// Say whether the configuration is valid.
    Check {
        /// Configuration file (TOML).
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the configuration in force as TOML, every key documented.
    Print {
        /// Configuration file (TOML).
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

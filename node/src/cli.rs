//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Flags, LogFormat};

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
    /// Print a token signed with the development key.
    Token(Token),
    /// Check or print the configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Make a development key in the data folder, serve /echo, and have no rate limits but those that are configured.
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
            listen_admin: self.listen_admin,
            gateway_cores: self.gateway_cores,
            router_cores: self.router_cores,
            log_format: self.log_format,
        }
    }
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

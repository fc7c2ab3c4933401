//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use switchyard_client::{DeviceId, UserId};

/// Talk to a user: lines typed are sent, what arrives is printed.
#[derive(Parser, Debug)]
#[command(name = "chat", version)]
pub(crate) struct Options {
    /// The server: ws://, wss:// with TLS, or quic://.
    #[arg(long, default_value = "ws://127.0.0.1:7400")]
    pub(crate) url: String,
    /// The server speaks QUIC here too: tried first, the URL where it does not get through.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) quic: Option<String>,
    /// Trust the certificate authorities in this PEM file for wss:// and QUIC, instead of those that browsers trust.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Who you are: a token for this user is signed with the development key. Not needed with --token.
    #[arg(long, value_parser = user, required_unless_present = "token")]
    pub(crate) user: Option<UserId>,
    /// Whom you talk to.
    #[arg(long, value_parser = user)]
    pub(crate) to: UserId,
    /// The server's data folder, with the development key that `switchyard serve --dev` made.
    #[arg(long, value_name = "DIR", default_value = "switchyard-data")]
    pub(crate) data: PathBuf,
    /// A token, instead of one signed here.
    #[arg(long, conflicts_with = "data")]
    pub(crate) token: Option<String>,
    /// Which of your devices this is.
    #[arg(long, value_parser = device, default_value = "1")]
    pub(crate) device: DeviceId,
    /// Keep unsent messages and what has arrived in this file. Without it they end with the program.
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// How far every line sent must get before the program ends, when standard input is not a terminal.
    #[arg(long, value_enum, default_value = "accepted")]
    pub(crate) wait: Wait,
    /// How many messages must arrive before the program ends, when standard input is not a terminal.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) expect: u64,
    /// Give up after so many seconds, when standard input is not a terminal.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
}

/// How far a message must get.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Wait {
    /// Durable on the server.
    Accepted,
    /// On a device of the other user.
    Delivered,
    /// Read by the other user.
    Read,
}

fn user(text: &str) -> Result<UserId, String> {
    text.parse().ok().and_then(UserId::new).ok_or_else(|| "a user is a number from 1".to_owned())
}

fn device(text: &str) -> Result<DeviceId, String> {
    text.parse().ok().and_then(DeviceId::new).ok_or_else(|| "a device is a number from 1".to_owned())
}

//! `logview`: what is in the journal of a data folder, whether it is whole, and what to do when it is not.
//!
//! `verify`, `dump` and `trace` only read, and may run beside a live server. `repair` needs the folder for itself.
//! Exit codes: 0 clean, 1 damage found, 2 the command could not be carried out.

mod dump;
mod folder;
mod rebuild;
mod repair;
mod text;
mod trace;
mod verify;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchyard_schema::ids::MessageId;

use crate::folder::OpenError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, about, after_help = "Exit codes: 0 clean, 1 damage found, 2 could not be carried out.")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read the whole journal and say what is wrong with it
    Verify {
        /// The data folder
        dir: PathBuf,
    },
    /// Print batches and records
    Dump {
        /// The data folder
        dir: PathBuf,
        /// Only this segment
        #[arg(long)]
        segment: Option<u32>,
        /// One JSON object per line; 64-bit numbers are strings
        #[arg(long)]
        json: bool,
        /// With the bodies of messages, in base64
        #[arg(long)]
        bodies: bool,
    },
    /// Follow a message: accepted, durable, delivered, read
    Trace {
        /// The data folder
        dir: PathBuf,
        /// The message's id
        #[arg(value_parser = message_id)]
        message: MessageId,
    },
    /// Set torn and damaged regions aside, so that every good record is served again (stop the server first)
    Repair {
        /// The data folder
        dir: PathBuf,
        /// Instead, set a damaged state store aside; the next start makes it again from the journal
        #[arg(long)]
        rebuild_state: bool,
    },
}

/// How a command that was carried out ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Clean,
    Damaged,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Journal(#[from] switchyard_log::recovery::RecoveryError<io::Error>),
    #[error("{0}")]
    Refused(String),
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run(options.command, &mut out).and_then(|verdict| out.flush().map(|()| verdict).map_err(Failure::Io));
    match result {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Damaged) => ExitCode::from(1),
        // The reader has seen enough, as `head` does.
        Err(Failure::Io(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = out.flush();
            let mut source = std::error::Error::source(&failure);
            eprint!("logview: {failure}");
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::from(2)
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<Verdict, Failure> {
    match command {
        Command::Verify { dir } => verify::verify(&dir, out),
        Command::Dump { dir, segment, json, bodies } => {
            let format = if json { dump::Format::Json } else { dump::Format::Text };
            dump::dump(&dir, segment, format, bodies, out)
        }
        Command::Trace { dir, message } => trace::trace(&dir, message, out),
        Command::Repair { dir, rebuild_state: true } => rebuild::rebuild_state(&dir, out),
        Command::Repair { dir, rebuild_state: false } => repair::repair(&dir, out),
    }
}

fn message_id(text: &str) -> Result<MessageId, String> {
    text.parse().ok().and_then(MessageId::new).ok_or_else(|| "a message id is a number from 1".to_owned())
}

//! The `switchyard` binary: configuration, keys, wiring of gateway and router, admin listener, shutdown.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "standard output is this program's interface; logs go to standard error")]

mod admin;
mod cli;
mod config;
mod doctor;
mod keys;
mod logging;
mod serve;
mod threads;
mod tls;
mod token;
mod top;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, ConfigAction};
use crate::config::Flags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("switchyard: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match cli.command {
        Command::Serve(arguments) => {
            let config = config::load(arguments.config.as_deref(), std::env::vars(), &arguments.flags())?;
            logging::install(&config)?;
            serve::run(&config)?;
        }
        Command::Doctor(arguments) => {
            let flags = Flags { data: arguments.data, ..Flags::default() };
            let config = config::load(arguments.config.as_deref(), std::env::vars(), &flags)?;
            return doctor::run(&config, arguments.connections, arguments.json);
        }
        Command::Token(arguments) => {
            let flags = Flags { data: arguments.data.clone(), dev: true, ..Flags::default() };
            let config = config::load(arguments.config.as_deref(), std::env::vars(), &flags)?;
            println!("{}", token::sign(&config, &arguments)?);
        }
        Command::Top(arguments) => top::run(arguments.options())?,
        Command::Config { action: ConfigAction::Check { config } } => {
            config::load(config.as_deref(), std::env::vars(), &Flags::default())?;
            println!("the configuration is valid");
        }
        Command::Config { action: ConfigAction::Print { config } } => {
            print!("{}", config::print(&config::raw(config.as_deref(), std::env::vars(), &Flags::default())?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

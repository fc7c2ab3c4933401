//! `chat`: talk to a user from a terminal, or from a script.
//!
//! Lines typed are sent; `✓` says accepted (durable on the server), `✓✓` delivered, then who has read them. When standard
//! input is not a terminal every line is sent, what arrives is printed as plain lines, and the program exits once
//! everything got as far as `--wait` says.

mod options;
mod talk;
mod token;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = options::Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(talk::talk(options)),
        Err(error) => Err(talk::ChatError::Io(error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The command `swarm`: load, very many connections and kill -9, with the result on standard output.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the report of a command goes to standard output")]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchyard_swarm::SwarmError;

use commands::abuse::{self, AbuseArguments};
use commands::chat::{self, ChatArguments};
use commands::conclude;
use commands::connect::{self, ConnectArguments};
use commands::crash::{self, CrashArguments};
use commands::echo::{self, EchoArguments};
use commands::relay::{self, RelayArguments};
use commands::storm::{self, StormArguments};
use commands::worker::{self, WorkerArguments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for arguments that make no sense, as `clap` has it.
const USAGE: u8 = 2;

/// Loads a Switchyard server and checks what it does.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pairs of users that talk; checks loss, order and duplicates. Exit code 1 when anything went wrong or an expectation
    /// was missed.
    Chat(ChatArguments),
    /// What pairs that talk notice while others abuse the server. Exit code 1 when they met more than delay.
    Abuse(AbuseArguments),
    /// Very many connections, held alive while messages flow between random pairs; what one costs. Exit code 1 when one
    /// was dropped, a message was lost or an expectation was missed.
    Connect(ConnectArguments),
    /// Very many connections that are cut off at once and come back, again and again. Exit code 1 when one did not or an
    /// expectation was missed.
    Storm(StormArguments),
    /// Plain WebSocket echo against any server. Exit code 1 when anything went wrong or an expectation was missed.
    Echo(EchoArguments),
    /// Takes shares of the runs of other machines: `swarm connect|storm|chat|echo --workers HOST:PORT,HOST:PORT` leads them.
    Worker(WorkerArguments),
    /// A bad network in front of QUIC: loses, delays and reorders datagrams, and changes the addresses of clients.
    Relay(RelayArguments),
    /// kill -9 of a server in the middle of many sends, again and again, judged by what the clients saw.
    Crash(CrashArguments),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Chat(arguments) => chat::run(&arguments).and_then(conclude),
        Command::Abuse(arguments) => abuse::run(arguments),
        Command::Connect(arguments) => connect::run(&arguments).and_then(conclude),
        Command::Storm(arguments) => storm::run(&arguments).and_then(conclude),
        Command::Echo(arguments) => echo::run(&arguments).and_then(conclude),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::Relay(arguments) => relay::run(&arguments),
        Command::Crash(arguments) => crash::run(arguments),
    };
    match result {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(error) => {
            eprintln!("swarm: {error}");
            let is_usage = matches!(error, SwarmError::Expectation(_) | SwarmError::Arguments(_));
            ExitCode::from(if is_usage { USAGE } else { 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const CHAT: &str = "swarm chat --url 127.0.0.1:1 --data D";
    const CONNECT: &str = "swarm connect --url 127.0.0.1:1 --data D --count 9";
    const STORM: &str = "swarm storm --url 127.0.0.1:1 --data D --count 9";
    const CRASH: &str = "swarm crash --server S --data D";

    fn is_taken(command: &str, arguments: &str) -> bool {
        Cli::try_parse_from(format!("{command} {arguments}").split_whitespace()).is_ok()
    }

    #[test]
    fn given_numbers_with_which_a_run_would_hang_or_do_nothing_when_parsed_then_they_are_refused() {
        Cli::command().debug_assert();
        for (command, good, nonsense) in [
            (CHAT, "--depth 1 --count 5", "--depth 0 --count 5"),
            (CHAT, "--count 1", "--count 0"),
            (CHAT, "--pairs 1", "--pairs 0"),
            (CHAT, "--ack-every 8", "--ack-every 0"),
            (CHAT, "--duration 5 --warm-up 1s", "--duration=-5"),
            (CHAT, "--warm-up 0", "--warm-up nan"),
            (CHAT, "--duration 1ms", "--duration 0"),
            (CHAT, "--threads 2", "--threads 5000"),
            (CONNECT, "--message-rate 5000/s", "--message-rate 1e12"),
            (CHAT, "--rate 5", "--rate 5 --until receipt"),
            (CONNECT, "--destinations 1024", "--destinations 5000"),
            (STORM, "--destinations 1", "--destinations 0"),
            (STORM, "--rounds 1", "--rounds 0"),
            (STORM, "--rounds 200", "--rounds 201"),
            (CRASH, "--clients 2", "--clients 0"),
            (CRASH, "--clients 4", "--clients 3"),
        ] {
            assert!(is_taken(command, good), "{command} {good}");
            assert!(!is_taken(command, nonsense), "{command} {nonsense}");
        }
    }

    #[test]
    fn given_senders_that_wait_for_receipts_when_nobody_is_there_to_send_one_then_the_run_is_refused() {
        let arguments = format!("{CHAT} --until receipt --recipients offline");
        let Command::Chat(arguments) = Cli::parse_from(arguments.split_whitespace()).command else { unreachable!() };
        assert!(matches!(chat::run(&arguments), Err(SwarmError::Arguments(_))));
    }
}

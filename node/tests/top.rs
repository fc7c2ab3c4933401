//! `switchyard top`, piped, against the real server.

mod common;

use std::net::TcpListener;
use std::process::{Command, Output};

use common::{BINARY, Server};

fn top(admin: &str, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(["top", "--admin", admin]).args(arguments).output().expect("the binary starts")
}

#[test]
fn given_a_server_when_piped_then_there_is_a_line_for_each_interval_and_no_more_than_asked_for() {
    let server = Server::start("top", &[BINARY], &[]);
    let output = top(server.told("listening admin "), &["--interval", "100ms", "--count", "3"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 3, "{text}");
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        assert!(words[0].ends_with('Z') && words.len() % 2 == 1, "a time, then names and values: {line}");
        let value_of = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        assert_eq!((value_of("connections"), value_of("faults")), (Some("0"), Some("0")), "{line}");
        let resident = value_of("rss_mib").and_then(|value| value.parse::<u64>().ok());
        assert!(resident.is_some_and(|mib| mib > 0), "{line}");
    }
}

#[test]
fn given_nobody_or_somebody_else_at_the_address_then_the_error_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = taken.local_addr().expect("an address").to_string();
    let stranger = std::thread::spawn(move || drop(taken.accept()));
    for _ in 0..2 {
        // The first finds a listener that hangs up, the second finds none.
        let output = top(&admin, &["--count", "1"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(&admin) && text.contains("--admin"), "{text}");
    }
    stranger.join().expect("it hung up");
}

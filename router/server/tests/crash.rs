//! A server that is killed: what it accepted is there afterwards, whatever the number of cores, and nothing else is.
//!
//! The test starts itself a second time as the server that dies: dropping a router in the same process would be kinder
//! than a crash.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use common::{Rig, folder, small, user};
use switchyard_schema::ids::{ConversationId, Sequence};
use switchyard_schema::link::ToGateway;

const FOLDER: &str = "SWITCHYARD_CRASH_TEST_FOLDER";
const PAIRS: u64 = 8;

/// The part of the child: pairs of users send until the parent kills it; every acceptance is reported before the next.
#[test]
fn child_that_is_killed_while_it_sends() {
    let Ok(path) = std::env::var(FOLDER) else { return };
    let mut config = small(2);
    config.snapshot_records = 200;
    config.snapshot_ms = 300;
    let mut rig = Rig::start(path.as_ref(), &config);
    let senders: Vec<_> = (0..PAIRS).map(|pair| rig.attach(100 + pair, 1)).collect();
    let mut out = std::io::stdout().lock();
    for round in 1_u64.. {
        for (pair, sender) in (0..).zip(&senders) {
            rig.begin_send(*sender, 200 + pair, u128::from(round), &round.to_le_bytes());
        }
        for pair in 0..PAIRS {
            let conversation = ConversationId::direct(user(100 + pair), user(200 + pair));
            rig.expect("Accepted", |message| {
                matches!(message, ToGateway::Accepted { conversation: of, sequence, .. }
                    if *of == conversation && *sequence == Sequence(round))
            });
            writeln!(out, "accepted {pair} {round}").expect("the parent reads");
        }
        out.flush().expect("the parent reads");
    }
}

fn spawn(path: &std::path::Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a test has a path"));
    command.args(["--exact", "child_that_is_killed_while_it_sends", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a child")
}

/// Lets the child run until it has reported `rounds` rounds, kills it, and gives the last round accepted per pair.
fn run_and_kill(path: &std::path::Path, rounds: u64) -> Vec<u64> {
    let mut child = spawn(path);
    let mut accepted = vec![0; usize::try_from(PAIRS).expect("few")];
    let mut note = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "accepted").skip(1);
        let (Some(pair), Some(round)) = (words.next(), words.next()) else { return 0 };
        let (pair, round): (usize, u64) = (pair.parse().expect("a pair"), round.parse().expect("a round"));
        accepted[pair] = round;
        round
    };
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for line in &mut lines {
        if note(&line.expect("text")) >= rounds {
            break;
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    // What was still in the pipe was accepted too; the last line may be cut.
    for line in lines.map_while(Result::ok).filter(|line| line.split_whitespace().count() >= 3) {
        note(&line);
    }
    accepted
}

#[test]
fn given_a_kill_while_sending_when_started_again_then_what_was_accepted_is_there_in_order() {
    for (rounds, cores) in [(40, 1), (400, 3)] {
        let path = folder(&format!("crash-{cores}"));
        let accepted = run_and_kill(&path, rounds);
        let mut rig = Rig::start(&path, &small(cores));
        assert_eq!(rig.handle.report().recovered.damages, []);
        for (pair, accepted) in (0_u64..).zip(accepted) {
            let reader = rig.attach(200 + pair, 9);
            let mut round = 0;
            loop {
                let page = rig.fetch(reader, 100 + pair, round, 100);
                assert_eq!(page.void, []);
                assert!(!page.more || !page.messages.is_empty(), "pair {pair}, after {round}: {page:?}");
                for message in &page.messages {
                    round += 1;
                    assert_eq!(message.sequence, Sequence(round));
                    assert_eq!(*message.body, round.to_le_bytes(), "pair {pair}");
                }
                if !page.more {
                    break;
                }
            }
            assert!((accepted..=accepted + 1).contains(&round), "pair {pair}: {accepted} accepted, {round} found");
            let sender = rig.attach(100 + pair, 1);
            let repeated = rig.send(sender, 200 + pair, u128::from(accepted), b"a repeat");
            assert_eq!(repeated, Sequence(accepted), "a repeat gets the first result");
        }
        rig.stop();
    }
}

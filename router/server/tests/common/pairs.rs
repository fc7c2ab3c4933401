//! Pairs of users that write to each other without end, in a process that may die, and the proof by what the clients know.
//!
//! The test starts itself a second time as the server: dropping a router in the same process would be kinder than a crash.
//! Every acceptance is printed before the next; the parent keeps them as the clients' journal.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use switchyard_schema::ids::{ConversationId, Sequence};
use switchyard_schema::link::ToGateway;

use super::{Rig, small, user};

const FOLDER: &str = "SWITCHYARD_CRASH_TEST_FOLDER";
/// Set for a child that looks what is there: what the clients know of, pair by pair.
const ACCEPTED: &str = "SWITCHYARD_CRASH_TEST_ACCEPTED";
const PAIRS: u64 = 8;

/// The part of the child: pairs of users send round after round until it dies. Nothing without its environment.
pub(crate) fn write_until_killed() {
    write_after(|_| ());
}

/// The same, when something has been done to the data folder of the server that has just started and has no user yet.
pub(crate) fn write_after(prepare: impl FnOnce(&Path)) {
    let Ok(path) = std::env::var(FOLDER) else { return };
    if let Ok(accepted) = std::env::var(ACCEPTED) {
        return look(path.as_ref(), &accepted);
    }
    let mut config = small(2);
    config.snapshot_records = 200;
    config.snapshot_ms = 300;
    let mut rig = Rig::start(path.as_ref(), &config);
    prepare(path.as_ref());
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

/// What a child finds that starts on the folder: it prints how much there is of each pair.
fn look(path: &Path, accepted: &str) {
    let mut rig = Rig::start(path, &small(1));
    assert_eq!(rig.handle.report().recovered.damages, []);
    let accepted: Vec<u64> = accepted.split(',').map(|count| count.parse().expect("a number")).collect();
    let found = found(&mut rig);
    if found.iter().zip(&accepted).all(|(found, accepted)| found >= accepted) {
        assert_kept(&mut rig, &accepted);
    }
    rig.stop();
    let mut out = std::io::stdout().lock();
    for (pair, found) in found.iter().enumerate() {
        writeln!(out, "accepted {pair} {found}").expect("the parent reads");
    }
}

/// How much of each pair a process of its own finds on the folder, after it has held it to `accepted`.
pub(crate) fn found_by_child(child: &str, path: &Path, accepted: &[u64]) -> Vec<u64> {
    let accepted: Vec<String> = accepted.iter().map(u64::to_string).collect();
    let output = command(child, path).env(ACCEPTED, accepted.join(",")).output().expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(report).map(|(_, found)| found).collect()
}

fn command(child: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test has a path"));
    command.args(["--exact", child, "--nocapture", "--test-threads=1"]).env(FOLDER, path);
    command
}

/// Pair and round of a line that a child printed; the test harness prints before it.
fn report(line: &str) -> Option<(usize, u64)> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "accepted").skip(1);
    let (pair, round) = (words.next()?, words.next()?);
    Some((pair.parse().expect("a pair"), round.parse().expect("a round")))
}

/// Runs the test `child`, which calls [`write_until_killed`], until it has reported `rounds` rounds; then `strike` hits, the
/// child is killed, and the last round accepted per pair is given.
pub(crate) fn run_and_kill(child: &str, path: &Path, rounds: u64, strike: impl FnOnce()) -> Vec<u64> {
    let mut child = command(child, path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a child");
    let mut accepted = vec![0; usize::try_from(PAIRS).expect("few")];
    let mut note = |line: &str| {
        let Some((pair, round)) = report(line) else { return 0 };
        accepted[pair] = round;
        round
    };
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for line in &mut lines {
        if note(&line.expect("text")) >= rounds {
            break;
        }
    }
    strike();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    // What was still in the pipe was accepted too; the last line may be cut.
    for line in lines.map_while(Result::ok).filter(|line| line.split_whitespace().count() >= 3) {
        note(&line);
    }
    assert!(accepted.iter().all(|round| *round > 0), "every pair has sent");
    accepted
}

/// How many messages of each pair are there: in order, without a gap, each with what was sent.
pub(crate) fn found(rig: &mut Rig) -> Vec<u64> {
    let count = |pair| {
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
                return round;
            }
        }
    };
    (0..PAIRS).map(count).collect()
}

/// Everything that was accepted is there, nothing is that was not sent, and a repeat gets the first result.
pub(crate) fn assert_kept(rig: &mut Rig, accepted: &[u64]) {
    for (pair, (found, accepted)) in (0..).zip(found(rig).into_iter().zip(accepted.iter().copied())) {
        assert!((accepted..=accepted + 1).contains(&found), "pair {pair}: {accepted} accepted, {found} found");
        let sender = rig.attach(100 + pair, 1);
        let repeated = rig.send(sender, 200 + pair, u128::from(accepted), b"a repeat");
        assert_eq!(repeated, Sequence(accepted), "a repeat gets the first result");
    }
}

//! A server that is killed: what it accepted is there afterwards, whatever the number of cores, and nothing else is.

mod common;

use common::pairs::{assert_kept, run_and_kill, write_until_killed};
use common::{Rig, folder, small};

#[test]
fn child_that_is_killed_while_it_sends() {
    write_until_killed();
}

#[test]
fn given_a_kill_while_sending_when_started_again_then_what_was_accepted_is_there_in_order() {
    for (rounds, cores) in [(40, 1), (400, 3)] {
        let path = folder(&format!("crash-{cores}"));
        let accepted = run_and_kill("child_that_is_killed_while_it_sends", &path, rounds, || {});
        let mut rig = Rig::start(&path, &small(cores));
        assert_eq!(rig.handle.report().recovered.damages, []);
        assert_kept(&mut rig, &accepted);
        rig.stop();
    }
}

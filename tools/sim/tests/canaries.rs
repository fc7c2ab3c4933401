//! Each seeded defect is caught within a bounded number of seeds, by a seed that is clean without it.

use switchyard_sim::canary::Canary;
use switchyard_sim::{Options, run};

/// Seeds that are tried for one defect.
const SEEDS: u64 = 400;

fn check(canary: Canary, caught_as: &[&str]) {
    let defective = Options { canary: Some(canary), ..Options::default() };
    for seed in 1..=SEEDS {
        let Some(failure) = run(seed, &defective).failure else { continue };
        assert!(caught_as.iter().any(|words| failure.contains(words)), "seed {seed} caught {canary:?} as: {failure}");
        assert_eq!(run(seed, &Options::default()).failure, None, "seed {seed} without {canary:?}");
        return;
    }
    panic!("{canary:?} was not caught within {SEEDS} seeds");
}

#[test]
fn given_an_answer_before_the_batch_is_durable_then_it_is_caught() {
    check(Canary::AckBeforeDurable, &["names two messages", "nobody ever saw", "damage on a sound disk"]);
}

#[test]
fn given_a_repeat_that_is_answered_early_then_it_is_caught() {
    check(Canary::RepeatAnsweredEarly, &["names two messages", "nobody ever saw"]);
}

#[test]
fn given_a_recovery_that_forgets_client_message_ids_then_it_is_caught() {
    check(Canary::DedupeForgotten, &["was accepted twice"]);
}

#[test]
fn given_a_cursor_that_is_moved_back_then_it_is_caught() {
    check(Canary::CursorBack, &["was delivered again"]);
}

#[test]
fn given_a_fact_that_is_not_told_again_then_it_is_caught() {
    check(Canary::FactNotRetold, &["does not come to rest"]);
}

#[test]
fn given_a_torn_batch_that_passes_for_a_sound_one_then_it_is_caught() {
    check(Canary::TornTailAccepted, &["a text that nobody sent"]);
}

#[test]
fn given_a_live_message_that_overtakes_a_catch_up_then_it_is_caught() {
    check(Canary::LiveOvertakes, &["was delivered after"]);
}

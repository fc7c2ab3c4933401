//! A seed is a run: the same every time. And a few of them, as a first look; `cargo xtask sim` runs many.

use switchyard_sim::{Options, run};

#[test]
fn given_a_seed_when_run_twice_then_both_runs_are_the_same_to_the_last_event() {
    for seed in [3, 5, 8, 13, 21] {
        let (first, second) = (run(seed, &Options::default()), run(seed, &Options::default()));
        assert_eq!((first.hash, first.virtual_ms), (second.hash, second.virtual_ms), "seed {seed}");
        let told = run(seed, &Options { told: true, ..Options::default() });
        assert_eq!(told.hash, first.hash, "seed {seed} goes the same way when its story is told");
    }
}

#[test]
fn given_different_seeds_then_different_runs() {
    assert_ne!(run(1, &Options::default()).hash, run(2, &Options::default()).hash);
}

#[test]
fn given_a_few_seeds_then_everything_holds() {
    for seed in 1..=20 {
        let outcome = run(seed, &Options::default());
        assert_eq!(outcome.failure, None, "seed {seed}");
    }
}

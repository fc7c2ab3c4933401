//! Every target over the committed corpus, its seeds and a bounded number of mutations of both.

use std::fs;
use std::path::Path;

use switchyard_fuzz::{TARGETS, Target, mutate};

/// Mutations of one input; `SWITCHYARD_FUZZ_MUTATIONS` asks for more.
const MUTATIONS: u64 = 30;
/// Inputs of a target and bytes of an input that are committed at most; `cargo xtask fuzz --minimise` chooses them.
const INPUTS_MAX: usize = 40;
const INPUT_BYTES_MAX: usize = 1024;

fn committed(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let read = |path: &Path| (path.display().to_string(), fs::read(path).expect("the corpus can be read"));
    let entries = fs::read_dir(&folder).expect("every target has a corpus");
    entries.map(|entry| read(&entry.expect("the corpus can be listed").path())).collect()
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let seeds = (target.seeds)().into_iter().enumerate().map(|(number, seed)| (format!("seed {number}"), seed));
    let mut inputs: Vec<_> = seeds.chain(committed(target)).collect();
    inputs.sort();
    inputs
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let mutations =
        std::env::var("SWITCHYARD_FUZZ_MUTATIONS").map_or(MUTATIONS, |count| count.parse().expect("a number"));
    let inputs = corpus(target);
    for (name, input) in &inputs {
        shown(target, input, name, None);
    }
    for (index, (name, input)) in inputs.iter().enumerate() {
        let (_, other) = &inputs[(index + 1) % inputs.len()];
        for number in 0..mutations {
            shown(target, &mutate::mutated(input, other, number), name, Some(number));
        }
    }
}

/// Runs one input, and says which one it was when it fails.
fn shown(target: &Target, input: &[u8], name: &str, mutation: Option<u64>) {
    if std::panic::catch_unwind(|| (target.run)(input)).is_err() {
        let shown: String = input.iter().take(400).map(|byte| format!("{byte:02x}")).collect();
        panic!("{} fails on {name}, mutation {mutation:?}, {} bytes: {shown}", target.name, input.len());
    }
}

#[test]
fn given_what_a_peer_may_send_when_decoded_then_every_target_holds() {
    replay("websocket");
}

#[test]
fn given_a_stream_of_frames_however_it_is_cut_then_each_comes_whole_or_the_rule_is_broken() {
    replay("framing");
}

#[test]
fn given_requests_and_responses_when_parsed_then_the_handshake_holds() {
    replay("handshake");
}

#[test]
fn given_binary_frames_when_walked_then_they_say_the_same_in_either_form() {
    replay("binary_frames");
}

#[test]
fn given_json_frames_when_parsed_then_they_say_the_same_in_either_form() {
    replay("json_frames");
}

#[test]
fn given_any_operations_when_a_session_lives_then_it_ends_in_order() {
    replay("session");
}

#[test]
fn given_a_damaged_journal_when_recovered_then_nothing_is_hidden() {
    replay("journal");
}

#[test]
fn given_any_manifest_when_read_then_it_is_refused_or_of_use() {
    replay("manifest");
}

#[test]
fn given_every_target_then_it_is_replayed_and_its_corpus_is_small() {
    assert_eq!(TARGETS.len(), 8, "a new target gets a test here");
    for target in TARGETS {
        let inputs = committed(target);
        assert!((1..=INPUTS_MAX).contains(&inputs.len()), "{} has {} inputs", target.name, inputs.len());
        let long = inputs.iter().find(|(_, input)| input.len() > INPUT_BYTES_MAX);
        assert_eq!(long.map(|(name, _)| name), None, "too long");
    }
}

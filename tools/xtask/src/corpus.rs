//! The committed corpus of a fuzz target: the few small inputs that reach most of what is known to be reached.
//!
//! libFuzzer measures what each input reaches; from that the inputs are chosen one after the other, always the one that adds
//! most. Those that tell of a defect have a name of their own, and stay; the others are named after their content. What the
//! seeds reach needs no input: `cargo test` runs them too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Inputs of one target at most, so that `cargo test` replays them and their mutations in a moment.
const INPUTS_MAX: usize = 40;
/// Bytes of an input, likewise: longer ones are measured and kept by their front.
pub(crate) const INPUT_BYTES_MAX: usize = 1024;

/// An input and what it reaches.
#[derive(Debug, PartialEq, Eq)]
struct Input {
    path: PathBuf,
    bytes: usize,
    reaches: BTreeSet<u32>,
}

/// What a corpus covers.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Inputs in it.
    pub(crate) inputs: usize,
    /// Features that they reach.
    pub(crate) reached: usize,
    /// Features that all inputs together reach.
    pub(crate) known: usize,
}

/// Replaces what is in `committed` by the best inputs that libFuzzer measured in `control`, the file of its
/// `-merge_control_file`. Inputs with a name of their own stay.
pub(crate) fn choose(control: &Path, committed: &Path) -> io::Result<Chosen> {
    let inputs = parse(&fs::read_to_string(control)?);
    let known: BTreeSet<u32> = inputs.iter().flat_map(|input| input.reaches.iter().copied()).collect();
    let (kept, found): (Vec<Input>, Vec<Input>) = inputs.into_iter().partition(|input| !is_hash(&input.path));
    let mut reached: BTreeSet<u32> = kept.iter().flat_map(|input| input.reaches.iter().copied()).collect();
    let named = kept.iter().filter(|input| input.path.starts_with(committed)).count();
    let best = best(found, &mut reached, INPUTS_MAX.saturating_sub(named));
    // All of them are read before any is removed: some lie in the same folder.
    let read = |input: &Input| Ok((input.path.file_name().expect("a file").to_owned(), front(&input.path)?));
    let contents = best.iter().map(read).collect::<io::Result<Vec<_>>>()?;
    fs::create_dir_all(committed)?;
    for entry in fs::read_dir(committed)? {
        let path = entry?.path();
        if is_hash(&path) {
            fs::remove_file(path)?;
        }
    }
    for (name, bytes) in &contents {
        fs::write(committed.join(name), bytes)?;
    }
    Ok(Chosen { inputs: named + best.len(), reached: reached.len(), known: known.len() })
}

/// Whether it is named by its SHA-1, as libFuzzer names what it finds.
fn is_hash(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn front(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    bytes.truncate(INPUT_BYTES_MAX);
    Ok(bytes)
}

/// At most `count` inputs, the one that adds most first, of equal ones the shorter; `reached` grows by what they reach.
fn best(mut inputs: Vec<Input>, reached: &mut BTreeSet<u32>, count: usize) -> Vec<Input> {
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let adds = |input: &Input| input.reaches.difference(reached).count();
        let rank = |input: &Input| (adds(input), std::cmp::Reverse(input.bytes));
        let Some(index) = (0..inputs.len()).max_by_key(|index| rank(&inputs[*index])) else { break };
        if adds(&inputs[index]) == 0 {
            break;
        }
        let input = inputs.swap_remove(index);
        reached.extend(&input.reaches);
        chosen.push(input);
    }
    chosen
}

/// The control file: a count of files and one that is not of use here, then their paths, then for each `STARTED index bytes`
/// and `FT index features…` (compiler-rt/lib/fuzzer/FuzzerMerge.h). Inputs that were not measured are left out.
fn parse(text: &str) -> Vec<Input> {
    let mut lines = text.lines();
    let count = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    lines.next();
    let paths: Vec<PathBuf> = lines.by_ref().take(count).map(PathBuf::from).collect();
    let mut bytes: BTreeMap<usize, usize> = BTreeMap::new();
    let mut inputs = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (Some(kind), Some(Ok(index))) = (words.next(), words.next().map(str::parse)) else { continue };
        let mut numbers = words.filter_map(|word| word.parse().ok());
        match kind {
            "STARTED" => _ = bytes.insert(index, numbers.next().unwrap_or(0) as usize),
            "FT" => inputs.extend(paths.get(index).map(|path| Input {
                path: path.clone(),
                bytes: bytes.get(&index).copied().unwrap_or(0),
                reaches: numbers.collect(),
            })),
            _ => {}
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "3\n0\n/found/a\n/found/b\n/found/c\nSTARTED 0 9\nFT 0 1 2 3\nCOV 0 1\nSTARTED 1 2\nFT 1 3 4\n\
                           STARTED 2 1\nFT 2 3 4\n";

    #[test]
    fn given_what_inputs_reach_when_chosen_then_each_adds_most_and_is_the_shortest_that_does() {
        let inputs = parse(CONTROL);
        assert_eq!((inputs.len(), inputs[0].bytes, inputs[0].reaches.len()), (3, 9, 3));
        let mut reached = BTreeSet::new();
        let chosen: Vec<PathBuf> = best(inputs, &mut reached, 40).into_iter().map(|input| input.path).collect();
        assert_eq!(chosen, [Path::new("/found/a"), Path::new("/found/c")]);
        assert_eq!(reached.len(), 4);
        assert_eq!(best(parse(CONTROL), &mut BTreeSet::new(), 1).len(), 1, "no more than are wanted");
    }

    #[test]
    fn given_the_name_of_an_input_then_it_says_whether_libfuzzer_gave_it() {
        assert!(is_hash(Path::new("corpus/e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98")));
        assert!(!is_hash(Path::new("corpus/pong-with-a-long-length")));
        assert!(!is_hash(Path::new("corpus/seed-3")));
    }
}

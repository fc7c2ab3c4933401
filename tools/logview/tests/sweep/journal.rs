//! Segments and manifest, damaged in memory: what recovery and `logview verify` make of it.

use switchyard_log::Position;
use switchyard_log::manifest::{Manifest, SegmentState};
use switchyard_log::recovery::{Mode, Recovered};

use crate::image::{Damaged, Image, Seen, images};
use crate::places::{Damage, of_segment, of_small_file};
use crate::sample;
use crate::tally::{Outcome, Tally};

const BLOCK: usize = 4096;

#[test]
fn given_any_part_of_a_segment_damaged_when_recovered_then_nothing_is_hidden() {
    let (stopped, cut) = images("sweep-segments");
    for (image, name) in [(&stopped, "segments after a clean stop"), (&cut, "segments after a crash")] {
        let mut tally = Tally::default();
        let every = sample(97);
        let mut number_of_case = 0;
        for number in image.segments.keys() {
            for damage in damages(image, *number) {
                number_of_case += 1;
                if number_of_case % every == 0 {
                    let outcome = segment_damaged(image, *number, &damage);
                    tally.note(outcome, &damage, &image.segments[number]);
                }
            }
        }
        tally.show(name);
    }
}

#[test]
fn given_any_part_of_the_manifest_damaged_when_recovered_then_refused_or_made_again() {
    let (_, cut) = images("sweep-manifest");
    let mut tally = Tally::default();
    for damage in of_small_file(cut.manifest.len(), sample(5)) {
        tally.note(manifest_damaged(&cut, &damage), &damage, &cut.manifest);
    }
    tally.show("the manifest");
}

/// Every damage of one segment.
pub(crate) fn damages(image: &Image, number: u32) -> Vec<Damage> {
    let batches: Vec<_> = image.batches.iter().filter(|(segment, ..)| *segment == number).collect();
    let batches: Vec<_> =
        batches.iter().map(|(_, at, padded, length)| (*at as usize, *padded as usize, *length as usize)).collect();
    of_segment(image.segments[&number].len(), &batches, 211)
}

fn segment_damaged(image: &Image, number: u32, damage: &Damage) -> Outcome {
    let bytes = damage.applied(&image.segments[&number]);
    let unchanged = bytes.as_ref() == Some(&image.segments[&number]);
    let damaged = Damaged::new(image, number, bytes.clone());
    let manifest = Manifest::decode(&image.manifest).expect("whole");
    let mut worst = Outcome::Unused;
    let covers = image.covers();
    for (mode, covered) in [(Mode::Verify, None), (Mode::Recover(&covers), Some(&image.covered))] {
        let what = format!("{damage:?} in segment {number}");
        let (found, seen) =
            damaged.recover(Some(manifest.clone()), &mode).unwrap_or_else(|error| panic!("{what}: {error}"));
        let outcome = judged(image, &found, &seen, covered, bytes.as_deref(), &what);
        if covered.is_none() {
            let noticed = outcome != Outcome::Unused;
            assert!(noticed || unchanged || is_unused(image, number, damage), "{what} is not noticed by verify");
        }
        let mut next = found.manifest.clone();
        next = Manifest::decode(&next.encode()).expect("what recovery writes can be read");
        let (again, seen_again) = damaged.recover(Some(next), &mode).expect("it was readable");
        assert_eq!(refusing(&again), refusing(&found), "{what}: the next start says the same");
        assert_eq!(seen_again, seen, "{what}: the next start serves the same");
        worst = worst.max(outcome);
    }
    worst
}

/// Whether a damage lies behind everything that was ever written to a segment, or in a spare that was not listed yet.
fn is_unused(image: &Image, number: u32, damage: &Damage) -> bool {
    let ends = image.batches.iter().filter(|(segment, ..)| *segment == number).map(|(_, at, padded, _)| at + padded);
    let end = match ends.max() {
        Some(end) => end as usize,
        None if Manifest::decode(&image.manifest).expect("whole").segment(number).is_none() => return true,
        None => 4096,
    };
    match *damage {
        Damage::Flip { at, .. } | Damage::Zeros { at, .. } | Damage::Stray { at, .. } => at >= end,
        Damage::Cut { keep } => keep >= end,
        Damage::Gone => false,
    }
}

/// Holds a start against what was written.
pub(crate) fn judged(
    image: &Image,
    found: &Recovered,
    seen: &[Seen],
    covered: Option<&Vec<u64>>,
    bytes: Option<&[u8]>,
    what: &str,
) -> Outcome {
    let mut at = seen.iter().peekable();
    let mut cut = false;
    for one in &image.written {
        if at.next_if(|next| *next == one).is_some() {
            continue;
        }
        let shard = usize::from(one.shard);
        let is_covered = covered.is_some_and(|covered| one.lsn <= covered[shard]);
        if is_covered || found.shards[shard].refuses.is_some() {
            continue;
        }
        if is_kept_for_history(image, one, found) {
            continue;
        }
        cut = true;
        assert!(is_cut_off(one, found, bytes, seen), "{what}: nothing says where {one:?} is: {found:?}");
    }
    assert!(at.next().is_none(), "{what}: served what was not written: {:?}", at.next());
    for tail in &found.shards {
        if let Some(index) = tail.refuses {
            let text = found.damages[index].to_string();
            assert!(text.contains(".seg, bytes ") && text.contains("refuse"), "{what}: {text}");
        }
    }
    if found.shards.iter().any(|tail| tail.refuses.is_some()) {
        Outcome::ShardsRefuse
    } else if cut || !found.torn.is_empty() {
        Outcome::Tail
    } else if !found.damages.is_empty() || !found.notes.is_empty() {
        Outcome::Told
    } else {
        Outcome::Unused
    }
}

/// Whether a record lies in a damaged part of a segment that the state store covers: its shard has what it changed, and
/// only who reads that old message is refused.
fn is_kept_for_history(image: &Image, one: &Seen, found: &Recovered) -> bool {
    let Position { segment, offset } = one.position;
    let manifest = Manifest::decode(&image.manifest).expect("whole");
    let covered = manifest.segment(segment).is_some_and(|entry| entry.state == SegmentState::Covered);
    let whole = |from, to| (from, to) == (0, 0) || (from..to).contains(&offset);
    covered && found.damages.iter().any(|damage| damage.segment == segment && whole(damage.from, damage.to))
}

/// Whether a record lies in a tail that is set aside, or where there are only zeros at the end of a journal, as if it had
/// never been written.
fn is_cut_off(one: &Seen, found: &Recovered, bytes: Option<&[u8]>, seen: &[Seen]) -> bool {
    let Position { segment, offset } = one.position;
    let torn = found.torn.iter().any(|torn| torn.segment == segment && (torn.from..torn.to).contains(&offset));
    let block = offset as usize / BLOCK * BLOCK;
    let blank = bytes.and_then(|bytes| bytes.get(block..block + BLOCK));
    let blank = blank.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    let later = seen.iter().any(|other| other.position.segment == segment && other.position > one.position);
    torn || (blank && !later)
}

fn refusing(found: &Recovered) -> Vec<(u16, u64, bool)> {
    found.shards.iter().map(|tail| (tail.shard.0, tail.last_lsn, tail.refuses.is_some())).collect()
}

fn manifest_damaged(image: &Image, damage: &Damage) -> Outcome {
    let decoded = damage.applied(&image.manifest).map(|bytes| Manifest::decode(&bytes));
    let manifest = match decoded {
        Some(Err(refused)) => {
            assert!(!refused.to_string().is_empty());
            return Outcome::StartRefused;
        }
        Some(Ok(manifest)) => panic!("{damage:?} is not noticed: {manifest:?}"),
        None => None,
    };
    let (found, seen) = Damaged::none(image).recover(manifest, &Mode::Recover(&|_| 0)).expect("readable");
    assert_eq!(seen, image.written, "the list is made again from the segments");
    judged(image, &found, &seen, None, None, "no manifest")
}

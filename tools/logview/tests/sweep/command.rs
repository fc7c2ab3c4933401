//! `logview verify` and `logview repair` on damaged folders: the first finds it, the second gives up no record of a batch
//! that is whole, and keeps a copy of what it gives up.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use switchyard_log::manifest::Manifest;
use switchyard_log::recovery::Mode;
use switchyard_log::segment::file_name;

use crate::common::folder;
use crate::image::{Damaged, Image, Seen, copy_all, images};
use crate::journal::damages;
use crate::places::Damage;
use crate::sample;
use crate::tally::{Outcome, Tally};

#[test]
fn given_any_part_of_a_segment_damaged_when_repaired_then_only_what_was_damaged_is_given_up_and_kept_aside() {
    let (stopped, cut) = images("sweep-repair");
    let place = folder("sweep-repair-cases");
    for (image, name) in [(&stopped, "repairs after a clean stop"), (&cut, "repairs after a crash")] {
        let mut tally = Tally::default();
        let mut number_of_case = 0;
        for (number, bytes) in &image.segments {
            for damage in damages(image, *number) {
                number_of_case += 1;
                if number_of_case % (sample(25) * 31) == 0 {
                    tally.note(repaired(image, &place, *number, &damage), &damage, bytes);
                }
            }
        }
        tally.show(name);
    }
}

/// Exit code and everything printed.
fn logview(command: &str, place: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_logview")).arg(command).arg(place).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

fn repaired(image: &Image, place: &Path, number: u32, damage: &Damage) -> Outcome {
    let what = format!("{damage:?} in segment {number}");
    let _ = fs::remove_dir_all(place);
    for name in ["VERSION", "LOCK", "journal/manifest"] {
        copy_all(&image.path.join(name), &place.join(name)).expect("copied");
    }
    for other in image.segments.keys().filter(|other| **other != number) {
        let name = Path::new("journal").join(file_name(*other));
        fs::hard_link(image.path.join(&name), place.join(&name)).expect("linked");
    }
    let segment = place.join("journal").join(file_name(number));
    let bytes = damage.applied(&image.segments[&number]);
    if let Some(bytes) = &bytes {
        fs::write(&segment, bytes).expect("written");
    }

    let damaged = Damaged::new(image, number, bytes.clone());
    let manifest = Manifest::decode(&image.manifest).expect("whole");
    let (found, _) = damaged.recover(Some(manifest), &Mode::Verify).expect("readable");
    let (code, said) = logview("verify", place);
    assert_eq!(code, Some(i32::from(!found.damages.is_empty())), "{what}: {said}");
    if code == Some(1) {
        assert!(said.contains(&file_name(number)), "{what}: verify names the file: {said}");
        assert!(said.contains(&format!("logview repair {}", place.display())), "{what}: {said}");
    }

    let (code, said) = logview("repair", place);
    assert_eq!(code, Some(0), "{what}: {said}");
    let (code, clean) = logview("verify", place);
    assert_eq!(code, Some(0), "{what}, after repair: {clean}");
    assert_eq!(bytes, fs::read(&segment).ok(), "{what}: repair changes no segment");

    let manifest = Manifest::decode(&fs::read(place.join("journal/manifest")).expect("written")).expect("whole");
    let covers = image.covers();
    let (after, _) = damaged.recover(Some(manifest.clone()), &Mode::Recover(&covers)).expect("readable");
    assert!(after.shards.iter().all(|tail| tail.refuses.is_none()), "{what}: every shard serves after a repair");
    let (_, seen) = damaged.recover(Some(manifest), &Mode::Verify).expect("readable");
    let lost = lost(image, &seen, &what);
    let aside = set_aside(image, place, number, bytes.as_deref(), &what);
    let touched = touched(image, number, damage);
    for one in &lost {
        let at = one.position;
        assert!(at.segment == number && touched.contains(&at.offset), "{what}: {one:?} was whole and is given up");
        let kept = aside.iter().any(|range| range.contains(&at.offset));
        let nothing_left = bytes.as_ref().is_none_or(|bytes| is_blank_from(bytes, at.offset));
        assert!(kept || nothing_left, "{what}: {one:?} is not in set-aside: {said}");
    }
    match (found.damages.is_empty(), lost.is_empty()) {
        (false, false) => Outcome::ShardsRefuse,
        (false, true) => Outcome::Told,
        (true, false) => Outcome::Tail,
        (true, true) => Outcome::Unused,
    }
}

/// What was written and is not read any more; what is read is what was written, in order.
fn lost<'a>(image: &'a Image, seen: &[Seen], what: &str) -> Vec<&'a Seen> {
    let mut next = seen.iter().peekable();
    let lost = image.written.iter().filter(|one| next.next_if(|seen| seen == one).is_none()).collect();
    assert!(next.next().is_none(), "{what}: served what was not written");
    lost
}

/// The regions that were set aside, after a look at their bytes.
fn set_aside(image: &Image, place: &Path, number: u32, bytes: Option<&[u8]>, what: &str) -> Vec<Range<u32>> {
    let mut ranges = Vec::new();
    for entry in fs::read_dir(place.join("set-aside")).into_iter().flatten() {
        let entry = entry.expect("listed");
        let name = entry.file_name().into_string().expect("a name of ours");
        let numbers: Vec<u32> = name.split(['-', '.']).filter_map(|part| part.parse().ok()).collect();
        let [segment, from, to] = numbers[..] else { panic!("{what}: {name}") };
        let kept = fs::read(entry.path()).expect("read");
        // Where a batch is missing between two segments, the unused end of the first is suspected too.
        let file = if segment == number { bytes.expect("there is a file") } else { &image.segments[&segment][..] };
        let end = (to as usize).min(file.len());
        assert!(kept == file[from as usize..end], "{what}: {name}");
        if segment == number {
            ranges.push(from..to);
        } else {
            assert!(kept.iter().all(|byte| *byte == 0), "{what}: {name} was whole");
        }
    }
    ranges
}

/// From the first to the last byte of the batches that a damage touches.
fn touched(image: &Image, number: u32, damage: &Damage) -> Range<u32> {
    let size = image.segments[&number].len();
    let damaged = match *damage {
        Damage::Flip { at, .. } => at..at + 1,
        Damage::Zeros { at, bytes } | Damage::Stray { at, bytes, .. } => at..at + bytes,
        Damage::Cut { keep } => keep..size,
        Damage::Gone => 0..size,
    };
    let batches = image.batches.iter().filter(|(segment, ..)| *segment == number);
    let hit =
        batches.filter(|(_, at, padded, _)| (*at as usize) < damaged.end && damaged.start < (at + padded) as usize);
    let ends: Vec<(u32, u32)> = hit.map(|(_, at, padded, _)| (*at, at + padded)).collect();
    ends.first().map_or(0, |first| first.0)..ends.last().map_or(0, |last| last.1)
}

/// Whether nothing but zeros is left of the block at `offset`.
fn is_blank_from(bytes: &[u8], offset: u32) -> bool {
    let block = offset as usize / 4096 * 4096;
    bytes.get(block..).is_none_or(|rest| rest.iter().take(4096).all(|byte| *byte == 0))
}

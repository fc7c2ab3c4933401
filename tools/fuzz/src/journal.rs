//! Recovery of a damaged journal: it serves what was written and nothing else, and what it leaves out it names.

use std::sync::Arc;

use switchyard_log::Position;
use switchyard_log::limits::BLOCK_BYTES;
use switchyard_log::manifest::{Manifest, SegmentState};
use switchyard_log::recovery::{Mode, Recovered};

use crate::checksums::{mend_manifest, mend_segment};
use crate::folder::{Files, Journal, Seen, crashed, ordinary, recovered, young};
use crate::source::Source;

const BLOCK: usize = BLOCK_BYTES as usize;
/// Places damaged at most.
const DAMAGES_MAX: usize = 12;

/// First byte: the journal, its manifest, and whether checksums are made right; then one damage after the other.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    if choice & 3 == 3 {
        return stranger(choice, source.rest());
    }
    let journal = [ordinary, crashed, young][usize::from(choice & 3)]();
    let mended = choice & 4 != 0;
    let mut manifest = match choice >> 3 & 3 {
        0 => None,
        _ => Some(journal.manifest.clone()),
    };
    let mut files = journal.files.clone();
    for _ in 0..DAMAGES_MAX {
        if source.is_empty() {
            break;
        }
        damage(&mut files, &mut source);
    }
    if mended {
        for (number, bytes) in &mut files.0 {
            // The others are as they were written.
            if journal.files.0.get(number).is_none_or(|written| !Arc::ptr_eq(written, bytes)) {
                let bytes: &mut Vec<u8> = Arc::make_mut(bytes);
                mend_segment(bytes);
            }
        }
        manifest = manifest.map(|manifest| reread(&manifest));
    }
    let covered = u64::from(choice >> 5) * 3;
    check(journal, &files, manifest, covered, mended);
}

/// The whole folder is bytes of a stranger: one segment, with or without a list that knows another.
fn stranger(choice: u8, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if choice & 4 != 0 {
        mend_segment(&mut bytes);
    }
    let files = Files([(u32::from(choice >> 4) + 1, Arc::new(bytes))].into());
    let manifest = (choice & 8 != 0).then(|| young().manifest.clone());
    for mode in [Mode::Verify, Mode::Recover(&|_| 0)] {
        if let Ok((found, seen)) = recovered(&files, manifest.clone(), &mode) {
            in_order(&seen);
            again(&files, &found, &mode, &seen);
        }
    }
}

fn damage(files: &mut Files, source: &mut Source<'_>) {
    let numbers: Vec<u32> = files.0.keys().copied().collect();
    if numbers.is_empty() {
        return;
    }
    let number = numbers[usize::from(source.byte()) % numbers.len()];
    let kind = source.below(8);
    let other = numbers[usize::from(source.byte()) % numbers.len()];
    let block = usize::from(source.byte()) * BLOCK;
    let from_start = usize::from(source.byte()) + usize::from(source.below(16)) * 256;
    let value = source.byte();
    let lent = files.0[&other].get(block..block + BLOCK).map(<[u8]>::to_vec);
    let file = Arc::make_mut(files.0.get_mut(&number).expect("listed"));
    let blocks = file.len() / BLOCK;
    let at = if blocks == 0 { 0 } else { block % (blocks * BLOCK) + from_start };
    match kind {
        0..=2 if at < file.len() => file[at] ^= 1 << (value % 8),
        3 if at < file.len() => file[at] = value,
        4 if at + BLOCK <= file.len() => file[at / BLOCK * BLOCK..][..BLOCK].fill(0),
        // A write that went to the wrong place.
        5 if at + BLOCK <= file.len() => {
            if let Some(lent) = lent {
                file[at / BLOCK * BLOCK..][..BLOCK].copy_from_slice(&lent);
            }
        }
        6 => file.truncate(at),
        7 if value < 32 => drop(files.0.remove(&number)),
        7 => {
            let copy = file.clone();
            files.0.insert(other, Arc::new(copy));
        }
        _ => {}
    }
}

fn check(journal: &Journal, files: &Files, manifest: Option<Manifest>, covered: u64, mended: bool) {
    let has_manifest = manifest.is_some();
    let covers = |_| covered;
    for mode in [Mode::Verify, Mode::Recover(&covers)] {
        let covered = if matches!(mode, Mode::Verify) { 0 } else { covered };
        let Ok((found, seen)) = recovered(files, manifest.clone(), &mode) else { continue };
        in_order(&seen);
        again(files, &found, &mode, &seen);
        if !mended {
            for one in &seen {
                assert!(journal.written.contains(one), "never wrote {one:?}");
            }
            if has_manifest {
                journal.written.iter().for_each(|one| accounted_for(one, files, &found, &seen, covered));
            }
        }
    }
}

/// A record that is not passed on is covered, cut off with a torn tail, or its shard refuses. Only the end of a journal
/// that nothing closes can vanish without a trace, when its blocks are zeros as if they had never been written.
fn accounted_for(one: &Seen, files: &Files, found: &Recovered, seen: &[Seen], covered: u64) {
    if one.lsn <= covered || seen.contains(one) || found.shards[usize::from(one.shard)].refuses.is_some() {
        return;
    }
    let Position { segment, offset } = one.position;
    if found.torn.iter().any(|torn| torn.segment == segment && (torn.from..torn.to).contains(&offset)) {
        assert!(!found.leftovers.contains(&segment), "a file with a torn tail is kept");
        return;
    }
    let block = offset as usize / BLOCK * BLOCK;
    let blank = files.0.get(&segment).and_then(|bytes| bytes.get(block..block + BLOCK));
    let blank = blank.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    let later = seen.iter().any(|other| other.position.segment == segment && other.position > one.position);
    assert!(blank && !later, "nothing says where {one:?} is: {found:?}");
}

/// What is passed on of a shard has no gap.
fn in_order(seen: &[Seen]) {
    for shard in 0..crate::folder::SHARDS {
        let lsns: Vec<u64> = seen.iter().filter(|one| one.shard == shard).map(|one| one.lsn).collect();
        assert!(lsns.is_sorted_by(|one, next| one.checked_add(1) == Some(*next)), "shard {shard}: {lsns:?}");
    }
}

/// The next start, which has only what this one wrote down, sees the same.
fn again(files: &Files, found: &Recovered, mode: &Mode<'_>, seen: &[Seen]) {
    let mut files = files.clone();
    found.leftovers.iter().for_each(|number| drop(files.0.remove(number)));
    let (next, seen_next) = recovered(&files, Some(reread(&found.manifest)), mode).expect("it was readable");
    let refusing = |found: &Recovered| -> Vec<_> {
        found.shards.iter().map(|tail| (tail.shard, tail.last_lsn, tail.refuses.is_some())).collect()
    };
    assert_eq!(refusing(&next), refusing(found), "the next start refuses the same shards");
    assert_eq!(seen_next, seen, "the next start sees the same records");
    let damaged = |number| found.manifest.segment(number).is_some_and(|entry| entry.state == SegmentState::Damaged);
    let cut = next.torn.iter().all(|torn| damaged(torn.segment));
    assert!(cut, "a torn tail is cut once, but for a segment that is looked at again: {:?}", next.torn);
}

fn reread(manifest: &Manifest) -> Manifest {
    let mut bytes = manifest.encode();
    mend_manifest(&mut bytes);
    Manifest::decode(&bytes).expect("our own manifest")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let segment = young().files.0.values().next().expect("it has one").clone();
    let stranger = [&[3 | 4][..], &segment[..4 * BLOCK]].concat();
    vec![
        vec![8],
        vec![9, 1, 0, 0, 1, 30, 0, 3],
        vec![10, 0, 0, 0, 2, 100, 0, 1],
        vec![8, 0, 6, 0, 3, 0, 0, 0, 1, 4, 0, 2, 0, 0, 0],
        vec![9, 2, 5, 1, 1, 0, 0, 0],
        vec![9, 2, 7, 1, 1, 0, 0, 1],
        vec![0, 1, 0, 0, 0, 16, 0, 2],
        vec![4 | 8, 0, 3, 0, 1, 16, 0, 9],
        stranger,
    ]
}

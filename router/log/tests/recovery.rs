//! What a start makes of a folder: everything that was durable, in order; a torn tail cut; damage named and left alone.

mod common;

use std::collections::BTreeMap;

use common::{Files, Folder, NOW, Seen, message, recover_files, shard_count, watermark};
use proptest::prelude::*;
use switchyard_log::batch::BatchKind;
use switchyard_log::manifest::{Manifest, SegmentState, VoidRegion};
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{DamageKind, Mode, Note, Recovered, RecoveryError, recover};
use switchyard_log::segment::{SegmentHeader, ShardSet};
use switchyard_schema::ids::{ShardCount, ShardId};

const BIG: usize = 60_000; // one such body fills a smallest segment

fn by_shard(seen: &[Seen]) -> BTreeMap<u16, Vec<Seen>> {
    let mut shards: BTreeMap<u16, Vec<Seen>> = BTreeMap::new();
    for seen in seen {
        shards.entry(seen.shard).or_default().push(seen.clone());
    }
    shards
}

fn refusing(recovered: &Recovered) -> Vec<u16> {
    recovered.shards.iter().filter(|tail| tail.refuses.is_some()).map(|tail| tail.shard.0).collect()
}

/// Everything written came back, nothing was remarkable.
fn assert_whole(folder: &Folder, recovered: &Recovered, seen: &[Seen]) {
    assert_eq!(by_shard(seen), by_shard(&folder.written));
    assert_eq!(recovered.damages, []);
    assert_eq!(recovered.torn, []);
    assert_eq!(refusing(recovered), Vec::<u16>::new());
    for tail in &recovered.shards {
        assert_eq!(tail.last_lsn, folder.lsns[usize::from(tail.shard.0)]);
    }
}

/// Two batches of shard 0, one of shard 1, all on one core, in segment 1.
fn small() -> Folder {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[message(1, b"one"), watermark(1)]);
    run.write(1, &[message(1, b"other")]);
    run.write(0, &[message(2, b"two")]);
    folder
}

fn flip(folder: &mut Folder, segment: u32, byte: usize) {
    folder.files.0.get_mut(&segment).unwrap()[byte] ^= 0x20;
}

#[test]
fn given_an_empty_folder_when_recovered_then_every_shard_is_at_its_beginning() {
    let folder = Folder::default();
    let (recovered, seen) = folder.recover();
    assert_whole(&folder, &recovered, &seen);
    assert_eq!(recovered.manifest.next_segment(), 1);
}

#[test]
fn given_other_numbers_of_cores_when_restarted_then_every_shard_continues_in_order() {
    let mut folder = Folder::default();
    for cores in [1, 3, 2, 4, 1] {
        let mut run = folder.start(cores);
        for round in 0..3 {
            for shard in 0..4 {
                run.write(shard, &[message(round, &vec![1; 20_000]), watermark(round)]);
            }
        }
        drop(run); // as kill -9 does: nothing is sealed
        let (recovered, seen) = folder.restart();
        assert_whole(&folder, &recovered, &seen);
    }
    assert!(folder.files.0.len() > 10);
}

#[test]
fn given_a_clean_stop_and_a_full_store_when_recovered_then_no_segment_is_read() {
    let mut folder = Folder::default();
    let mut run = folder.start(2);
    for shard in 0..4 {
        run.write(shard, &[message(1, &[1; BIG])]);
        run.mark(shard, BatchKind::Stop);
    }
    run.stop();
    let lsns = folder.lsns;
    let (recovered, seen) = folder.recover_from(&|shard| lsns[usize::from(shard.0)]);
    assert_eq!(seen, []);
    assert_eq!((recovered.statistics.segments_read, recovered.statistics.segments_skipped), (0, 4));
    assert!(recovered.shards.iter().all(|tail| tail.last_lsn == 1 && tail.refuses.is_none()));
}

#[test]
fn given_some_segments_covered_when_recovered_then_only_the_others_are_read() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for round in 1..=6 {
        run.write(0, &[message(round, &[1; BIG])]);
    }
    let (recovered, seen) = folder.recover_from(&|shard| if shard.0 == 0 { 4 } else { 0 });
    assert_eq!(seen, folder.written[4..]);
    assert_eq!((recovered.statistics.segments_read, recovered.statistics.segments_skipped), (2, 4));
    assert_eq!(recovered.damages, []);
}

#[test]
fn given_a_manifest_that_is_stale_or_gone_when_recovered_then_nothing_is_lost() {
    let mut folder = Folder::default();
    let mut run = folder.start(2);
    run.write(0, &[watermark(1)]);
    let mut stale = run.folder.manifest.clone();
    for round in 1..=3 {
        run.write(0, &[message(round, &[1; BIG])]);
        run.write(1, &[message(round, &[1; BIG])]);
    }
    for manifest in [Some(stale.clone()), None] {
        let (recovered, seen) = recover_files(&folder.files, manifest, &|_| 0);
        assert_whole(&folder, &recovered, &seen);
        assert_eq!(recovered.manifest.next_segment(), folder.manifest.next_segment());
        assert_eq!(recovered.manifest.run(), 1);
    }
    stale.begin_run();
    assert_eq!(stale.run(), 2);
}

#[test]
fn given_the_last_batch_cut_at_any_byte_when_recovered_then_it_is_cut_and_the_folder_goes_on() {
    let mut base = small();
    let whole = base.clone();
    let last = base.written.pop().unwrap();
    base.lsns[0] -= 1;
    let from = 4096 + 2 * 4096;
    let used = last.position.offset as usize - from + 28 + 72 + 3;
    for cut in 0..used {
        let mut folder = base.clone();
        let file = folder.files.0.get_mut(&1).unwrap();
        file[from + cut..].fill(0);
        if whole.files.0[&1] == *file {
            continue; // the bytes cut off were zeros: nothing is torn
        }
        let (recovered, seen) = folder.recover();
        assert_eq!(seen, folder.written, "cut at {cut}");
        assert_eq!(recovered.damages, [], "cut at {cut}");
        assert_eq!(recovered.torn.len(), usize::from(cut > 0), "cut at {cut}");
        assert!(recovered.torn.iter().all(|torn| (torn.segment, torn.from, torn.to) == (1, 0x3000, 0x4000)));
        if cut % 16 == 0 {
            folder.adopt(&recovered);
            folder.start(2).write(0, &[message(2, b"again")]);
            let (recovered, seen) = folder.restart();
            assert_whole(&folder, &recovered, &seen);
        }
    }
}

#[test]
fn given_any_byte_flipped_when_recovered_then_it_is_noticed_and_no_record_is_wrong() {
    let end = 4096 + 4 * 4096;
    let mut base = Folder::default();
    let mut run = base.start(1);
    run.write(0, &[message(1, b"one"), watermark(1)]);
    run.write(1, &[message(1, b"other")]);
    run.write(0, &[message(2, b"two")]);
    run.mark(0, BatchKind::Idle);
    let expected = by_shard(&base.written);
    for byte in 0..end {
        let mut folder = base.clone();
        flip(&mut folder, 1, byte);
        let (recovered, seen) = folder.recover();
        let found = by_shard(&seen);
        for (shard, seen) in &found {
            assert_eq!(seen[..], expected[shard][..seen.len()], "byte {byte}");
        }
        let noticed = recovered.damages.len() + recovered.torn.len() + recovered.notes.len();
        assert_eq!(noticed, 1, "byte {byte}: {recovered:?}");
        if found != expected {
            assert!(!refusing(&recovered).is_empty(), "byte {byte}");
        }
        match byte {
            0..4096 => assert!(matches!(recovered.notes[0], Note::HeaderDamaged { segment: 1, .. })),
            0x4000.. => assert_eq!((recovered.torn.len() + recovered.notes.len(), found), (1, expected.clone())),
            _ => assert!(recovered.torn.is_empty()),
        }
    }
}

#[test]
fn given_a_bad_last_batch_when_a_closing_mark_follows_then_it_is_damage_and_else_a_torn_tail() {
    let mut folder = Folder::default();
    let mut run = folder.start(2);
    run.write(0, &[message(1, b"one")]);
    run.write(1, &[message(1, b"other")]);
    let unmarked = run.folder.clone();
    run.mark(0, BatchKind::Stop);
    for (mut folder, refuse) in [(folder, vec![0, 2]), (unmarked, vec![])] {
        flip(&mut folder, 1, 4096 + 70);
        let (recovered, seen) = folder.recover();
        assert_eq!(refusing(&recovered), refuse, "the shards of the other core go on");
        assert_eq!(recovered.torn.is_empty(), !refuse.is_empty());
        assert_eq!(by_shard(&seen).keys().copied().collect::<Vec<_>>(), [1]);
        for damage in &recovered.damages {
            assert_eq!((damage.segment, damage.from, damage.to), (1, 4096, 8192));
            assert!(damage.to_string().contains("0000000001.seg, bytes 4096 to 8192"), "{damage}");
        }
    }
}

#[test]
fn given_damage_before_other_records_when_recovered_then_shards_that_continue_are_cleared() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[watermark(1)]);
    run.write(1, &[watermark(1)]);
    for shard in [0, 2, 3] {
        run.write(shard, &[watermark(2)]);
    }
    flip(&mut folder, 1, 2 * 4096 + 70);
    let (recovered, seen) = folder.recover();
    assert_eq!(refusing(&recovered), [1], "it has no later record to clear it");
    assert_eq!(recovered.damages[0].shards, [ShardId(1)]);
    assert_eq!(seen.len(), 4);
}

#[test]
fn given_damage_in_an_open_segment_when_all_behind_it_is_covered_then_it_is_told_how_far_was_read() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for sequence in 1..=4 {
        run.write(0, &[watermark(sequence)]);
    }
    flip(&mut folder, 1, 2 * 4096 + 70);
    for _ in 0..2 {
        let (recovered, seen) = folder.recover_from(&|shard| if shard.0 == 0 { 4 } else { 0 });
        assert_eq!((recovered.damages.len(), seen), (1, vec![]));
        assert_eq!(refusing(&recovered), [1, 2, 3], "shard 0 has lost nothing");
        assert_eq!(recovered.manifest.last_lsns()[0], 0, "the list does not know");
        assert_eq!(recovered.shards[0].read_lsn, 4);
        folder.adopt(&recovered);
    }
}

#[test]
fn given_damage_when_restarted_again_then_it_is_still_there_even_if_all_else_is_covered() {
    let mut folder = small();
    flip(&mut folder, 1, 4096 + 70);
    let (first, _) = folder.restart();
    assert_eq!(refusing(&first), [0, 2, 3]);
    assert_eq!(folder.manifest.segment(1).unwrap().state, SegmentState::Damaged);
    folder.manifest.cover(|_| u64::MAX);
    let (second, _) = folder.recover_from(&|shard| u64::from(shard.0 == 1));
    assert_eq!(refusing(&second), [0, 2, 3]);
    assert_eq!(first.damages[0].kind, second.damages[0].kind);
}

#[test]
fn given_damage_that_was_given_up_when_restarted_then_every_good_record_is_served_and_stays() {
    let mut folder = small();
    flip(&mut folder, 1, 4096 + 70);
    let (recovered, _) = folder.restart();
    for damage in &recovered.damages {
        assert!(folder.manifest.accept_void(VoidRegion { segment: 1, from: damage.from, to: damage.to }));
    }
    for hole in &recovered.holes {
        assert!(folder.manifest.accept_hole(*hole));
    }
    for _ in 0..2 {
        let (recovered, seen) = folder.restart();
        assert!(refusing(&recovered).is_empty());
        assert_eq!(recovered.damages, []);
        assert_eq!(seen, folder.written[2..]);
        assert_eq!(recovered.notes, [Note::GivenUp { segment: 1, from: 4096, to: 8192 }]);
    }
    assert_eq!(folder.manifest.segment(1).unwrap().state, SegmentState::Sealed);
}

#[test]
fn given_old_bytes_in_a_reused_file_when_recovered_then_none_of_them_is_accepted() {
    let old = small();
    let mut folder = Folder { salts: 77, ..Folder::default() };
    let mut run = folder.start(1);
    run.write(0, &[message(1, b"new")]);
    let header = SegmentHeader {
        number: 1,
        run: 1,
        core: 0,
        shard_count: shard_count(),
        salt: 99,
        created: NOW,
        bytes: old.segment_bytes,
        shards: ShardSet::all(shard_count()),
    };
    // Only the header is new: as if a file had been taken up again under its own number.
    let mut reused = old.files.0[&1].clone();
    reused[..4096].copy_from_slice(header.encode().as_slice());
    let files = Files([(1, reused.clone())].into());
    let (recovered, seen) = recover_files(&files, None, &|_| 0);
    assert_eq!((seen.len(), recovered.damages.len()), (0, 0));
    // Old batches right behind a new one.
    let fresh = folder.files.0.get_mut(&1).unwrap();
    fresh[8192..].copy_from_slice(&reused[8192..]);
    let (recovered, seen) = folder.recover();
    assert_eq!(seen, folder.written);
    assert_eq!(recovered.damages, []);
}

#[test]
fn given_a_missing_lsn_when_recovered_then_that_shard_alone_refuses() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[watermark(1)]);
    run.write(1, &[watermark(1)]);
    run.folder.lsns[0] += 2;
    run.write(0, &[watermark(2)]);
    run.write(1, &[watermark(2)]);
    let (recovered, seen) = folder.recover();
    assert_eq!(refusing(&recovered), [0]);
    let kind = DamageKind::LsnMissing { shard: ShardId(0), expected: 2, found: 4 };
    assert_eq!(recovered.damages[0].kind, kind);
    assert_eq!(recovered.damages[0].from, folder.written[2].position.offset);
    assert_eq!(seen.len(), 3);
    assert_eq!(recovered.statistics.records_withheld, 1);
}

#[test]
fn given_an_lsn_twice_when_recovered_then_that_shard_alone_refuses() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[watermark(1)]);
    run.folder.lsns[0] -= 1;
    run.write(0, &[watermark(1)]);
    run.write(1, &[watermark(1)]);
    let (recovered, seen) = folder.recover();
    assert_eq!(refusing(&recovered), [0]);
    assert_eq!(recovered.damages[0].kind, DamageKind::LsnRepeated { shard: ShardId(0), lsn: 1 });
    assert_eq!(seen.len(), 2);
}

#[test]
fn given_a_listed_segment_that_is_gone_when_recovered_then_its_shards_refuse() {
    let mut folder = Folder::default();
    let mut run = folder.start(2);
    run.write(0, &[message(1, &[1; BIG])]);
    run.write(1, &[message(1, &[1; BIG])]);
    run.write(0, &[watermark(2)]);
    folder.files.0.remove(&1);
    let (recovered, _) = folder.restart();
    assert_eq!(refusing(&recovered), [0], "the only shard with records in it");
    assert_eq!(recovered.damages[0].kind, DamageKind::SegmentMissing);
    assert_eq!(refusing(&folder.recover().0), [0], "and again");
}

#[test]
fn given_a_tail_that_a_later_segment_proves_durable_when_recovered_then_it_is_damage() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(1, &[watermark(1)]);
    let stale = run.folder.manifest.clone();
    run.write(0, &[message(1, &[1; BIG])]);
    run.write(1, &[watermark(2)]);
    assert_eq!(run.folder.written[2].position.segment, 2);
    folder.files.0.get_mut(&1).unwrap()[8192..].fill(0);
    folder.manifest = stale;
    for _ in 0..2 {
        let (recovered, _) = folder.restart();
        assert_eq!(refusing(&recovered), [0, 2, 3]);
        assert_eq!((recovered.damages.len(), recovered.torn.len()), (1, 0));
        assert_eq!((recovered.damages[0].segment, recovered.damages[0].from), (1, 8192));
        assert_eq!(folder.manifest.segment(1).unwrap().state, SegmentState::Damaged);
    }
    let (recovered, _) = folder.recover();
    let damage = &recovered.damages[0];
    folder.manifest.accept_void(VoidRegion { segment: 1, from: damage.from, to: damage.to });
    for _ in 0..2 {
        let (recovered, _) = folder.restart();
        assert_eq!((refusing(&recovered), recovered.damages.len()), (vec![], 0));
        assert_eq!(recovered.notes.len(), 1);
    }
}

#[test]
fn given_a_sealed_segment_when_its_last_batch_is_bad_then_it_is_damage() {
    let mut folder = small();
    let mut run = folder.start(1);
    run.write(0, &[watermark(3)]);
    run.stop();
    let at = folder.written.last().unwrap().position;
    flip(&mut folder, at.segment, at.offset as usize + 30);
    let (recovered, _) = folder.recover();
    assert_eq!((recovered.damages.len(), recovered.torn.len()), (1, 0));
    assert_eq!(refusing(&recovered), [0], "the manifest tells that no other shard is in it");
}

#[test]
fn given_a_sealed_segment_when_its_closing_mark_is_bad_then_every_shard_serves() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[watermark(1)]);
    run.write(1, &[watermark(1)]);
    run.mark(0, BatchKind::Stop);
    run.stop();
    flip(&mut folder, 1, 3 * 4096 + 20);
    let (recovered, seen) = folder.recover();
    assert_eq!((seen.len(), recovered.damages.len()), (2, 1));
    assert!(refusing(&recovered).is_empty());
    assert!(recovered.damages[0].to_string().ends_with("every shard can serve"));
}

#[test]
fn given_a_bad_header_and_no_manifest_when_recovered_then_the_batches_tell_what_the_segment_is() {
    let mut folder = small();
    flip(&mut folder, 1, 100);
    let (recovered, seen) = recover_files(&folder.files, None, &|_| 0);
    assert_whole(&folder, &recovered, &seen);
    assert!(recovered.notes.iter().any(|note| matches!(note, Note::HeaderDamaged { segment: 1, .. })));
}

#[test]
fn given_spares_and_dropped_files_when_recovered_then_they_are_leftovers() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[message(1, &[1; BIG])]);
    run.write(0, &[message(2, &[1; BIG])]);
    run.write(0, &[watermark(2)]);
    let spare = folder.manifest.allocate(0, &ShardSet::all(shard_count()), folder.segment_bytes, 5, NOW).unwrap();
    let mut file = vec![0; folder.segment_bytes as usize];
    file[..4096].copy_from_slice(spare.encode().as_slice());
    folder.files.0.insert(spare.number, file);
    folder.manifest.list(&spare);
    folder.manifest.cover(|_| 1);
    folder.manifest.forget(1);
    let (recovered, seen) = folder.recover_from(&|_| 1);
    assert_eq!(recovered.leftovers, [1, spare.number]);
    assert_eq!(seen, folder.written[1..]);
    assert_eq!(recovered.damages, []);
    assert_eq!(recovered.manifest.next_segment(), spare.number + 1, "numbers are never given twice");
    assert_eq!(recovered.manifest.oldest_segment(), 2);
}

#[test]
fn given_a_segment_that_was_never_listed_when_it_has_batches_then_they_count() {
    let mut folder = Folder::default();
    folder.start(1).write(0, &[watermark(1)]);
    let mut forgetful = Manifest::new(shard_count());
    forgetful.begin_run();
    while forgetful.next_segment() < 9 {
        let _ = forgetful.allocate(0, &ShardSet::EMPTY, folder.segment_bytes, 1, NOW);
    }
    let (recovered, seen) = recover_files(&folder.files, Some(forgetful), &|_| 0);
    assert_whole(&folder, &recovered, &seen);
    assert_eq!(recovered.leftovers, Vec::<u32>::new());
}

#[test]
fn given_a_store_older_than_what_it_covered_when_recovered_then_segments_are_read_again_or_the_shard_refuses() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for round in 1..=3 {
        run.write(0, &[message(round, &[1; BIG])]);
    }
    run.stop();
    folder.manifest.cover(|_| u64::MAX);
    let (recovered, seen) = folder.recover_from(&|_| 1);
    assert_eq!(seen, folder.written[1..]);
    assert!(refusing(&recovered).is_empty());
    for number in 1..=3 {
        folder.manifest.forget(number);
        folder.files.0.remove(&number);
    }
    let (recovered, _) = folder.recover_from(&|_| 1);
    assert_eq!(refusing(&recovered), [0]);
    let kind = DamageKind::StateStoreBehind { shard: ShardId(0), floor: 3 };
    assert_eq!(recovered.damages[0].kind, kind);
}

#[test]
fn given_a_segment_of_another_folder_when_recovered_then_refused_with_the_reason() {
    let folder = small();
    let other = ShardCount::new(8).unwrap();
    let mut visitor = |_: &RecordView<'_>| {};
    let result = recover(&folder.files, None, other, NOW, &Mode::Verify, &mut visitor);
    assert!(matches!(result, Err(RecoveryError::ShardCount { segment: 1, found: 4, expected: 8 })));
}

#[test]
fn given_dropped_history_when_verified_then_the_first_records_left_count_as_the_beginning() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for round in 1..=3 {
        run.write(0, &[message(round, &[1; BIG])]);
    }
    folder.manifest.cover(|_| 1);
    folder.manifest.forget(1);
    folder.files.0.remove(&1);
    let mut count = 0;
    let mut visitor = |_: &RecordView<'_>| count += 1;
    let manifest = Manifest::decode(&folder.manifest.encode()).unwrap();
    let result = recover(&folder.files, Some(manifest), shard_count(), NOW, &Mode::Verify, &mut visitor).unwrap();
    assert_eq!((result.damages.len(), count), (0, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn given_any_history_of_runs_and_crashes_when_restarted_then_every_durable_record_is_there(
        runs in prop::collection::vec(
            (1..5u16, prop::collection::vec((0..4u16, 0..3usize, any::<bool>()), 0..12), any::<Option<u16>>(), any::<bool>()),
            1..6,
        ),
    ) {
        let mut folder = Folder::default();
        for (cores, writes, tear, stale) in runs {
            let mut run = folder.start(cores);
            let mut last = None;
            for (shard, size, mark) in writes {
                let body = vec![5; [3, 5_000, 40_000][size]];
                last = Some((shard, run.write(shard, &[message(1, &body), watermark(2)])));
                if mark {
                    run.mark(shard, BatchKind::Idle);
                    last = None;
                }
            }
            let mut torn = 0;
            match (tear, last) {
                (Some(cut), Some((shard, sealed))) => {
                    let keep = usize::from(cut) % (sealed.header.length as usize - 1);
                    let (from, bytes) = (sealed.position.offset as usize, sealed.bytes as usize);
                    let file = folder.files.0.get_mut(&sealed.position.segment).unwrap();
                    file[from + keep..from + bytes].fill(0);
                    folder.lsns[usize::from(shard)] -= 2;
                    let kept = folder.written.len() - 2;
                    folder.written.truncate(kept);
                    torn = usize::from(keep > 0);
                }
                (Some(_), None) => run.stop(),
                _ => {}
            }
            let (recovered, seen) = folder.recover();
            prop_assert_eq!(by_shard(&seen), by_shard(&folder.written));
            prop_assert_eq!(&recovered.damages, &[]);
            prop_assert_eq!(recovered.torn.len(), torn);
            if stale {
                let again = recover_files(&folder.files, None, &|_| 0).1;
                prop_assert_eq!(by_shard(&again), by_shard(&folder.written));
            }
            folder.adopt(&recovered);
        }
    }
}

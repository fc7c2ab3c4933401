//! Files that lost a part: a journal that shrinks or loses its front is never taken for one that was always like that.

mod common;

use common::{Files, Folder, NOW, message, shard_count, watermark};
use switchyard_log::manifest::{Manifest, VoidRegion};
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{DamageKind, Mode, Recovered, RecoveryError, recover};
use switchyard_log::segment::SegmentHeader;
use switchyard_schema::ids::ShardCount;

/// A run that was cut off: three batches in segment 1, listed as open, and the spare that waits as segment 2.
fn cut_off() -> Folder {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for round in 1..=3 {
        run.write(0, &[message(round, b"text"), watermark(round)]);
    }
    folder
}

fn refusing(recovered: &Recovered) -> Vec<u16> {
    recovered.shards.iter().filter(|tail| tail.refuses.is_some()).map(|tail| tail.shard.0).collect()
}

#[test]
fn given_an_open_segment_cut_short_anywhere_when_recovered_then_it_is_damage_and_the_file_stays() {
    let whole = cut_off();
    let bytes = whole.files.0[&1].len();
    for keep in [0, 1, 100, 4095, 4096, 4097, 8192, 12_288, 16_384, 16_385, bytes - 4096, bytes - 1] {
        let mut folder = whole.clone();
        folder.files.0.get_mut(&1).unwrap().truncate(keep);
        let (recovered, seen) = folder.recover();
        assert_eq!(refusing(&recovered), [0, 1, 2, 3], "cut to {keep} bytes");
        let short = DamageKind::CutShort { bytes: u32::try_from(keep).unwrap() };
        assert!(recovered.damages.iter().any(|damage| damage.kind == short), "{:?}", recovered.damages);
        assert!(!recovered.leftovers.contains(&1), "cut to {keep} bytes");
        assert_eq!(seen, whole.written[..seen.len()], "what is left is what was written");

        folder.adopt(&recovered);
        let (again, seen_again) = folder.recover();
        assert_eq!((refusing(&again), seen_again), (refusing(&recovered), seen), "the next start says the same");
    }
}

/// A batch is only begun when the one before is durable, so of two unreadable ones at least the first is no torn tail.
#[test]
fn given_the_last_two_batches_damaged_when_recovered_then_it_is_no_torn_tail() {
    let mut folder = cut_off();
    let (second, third) = (2 * 4096, 3 * 4096);
    let file = folder.files.0.get_mut(&1).unwrap();
    file[second + 80] ^= 1; // a record
    file[third] ^= 1; // the header
    let (recovered, seen) = folder.recover();
    assert_eq!((refusing(&recovered), recovered.torn.len()), (vec![0, 1, 2, 3], 0));
    assert_eq!(seen, folder.written[..2]);

    folder.files.0.get_mut(&1).unwrap()[second] ^= 1;
    let (recovered, _) = folder.recover();
    let torn = recovered.torn[0];
    assert_eq!((torn.from, torn.to), (8192, 16_384), "without a header both may be one batch, and both are set aside");
}

#[test]
fn given_a_sealed_segment_when_only_unused_space_is_cut_then_every_shard_serves() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    let last = run.write(0, &[message(1, b"text")]);
    run.stop();
    let end = (last.position.offset + last.bytes) as usize;
    folder.files.0.get_mut(&1).unwrap().truncate(end);
    let (recovered, seen) = folder.recover();
    assert_eq!((refusing(&recovered), recovered.damages.len()), (vec![], 0));
    assert_eq!(seen, folder.written);

    folder.files.0.get_mut(&1).unwrap().truncate(end - 4096);
    assert_eq!(refusing(&folder.recover().0), [0], "less than that is damage");
}

#[test]
fn given_a_listed_segment_that_lost_its_header_and_its_batches_when_recovered_then_it_is_not_taken_for_a_spare() {
    let mut folder = cut_off();
    folder.files.0.get_mut(&1).unwrap().fill(0);
    let (recovered, seen) = folder.recover();
    assert_eq!(recovered.damages[0].kind, DamageKind::NothingLeft);
    assert_eq!((refusing(&recovered), seen.len()), (vec![0, 1, 2, 3], 0));
    assert!(!recovered.leftovers.contains(&1));
}

#[test]
fn given_a_segment_whose_every_batch_was_given_up_when_restarted_then_the_next_segment_is_not_blamed_for_it() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    for round in 1..=3 {
        run.write(0, &[message(round, &[1; 60_000])]); // one fills a segment
    }
    let maims: [fn(&mut Files); 3] = [
        |files| files.0.get_mut(&1).unwrap().truncate(4097),
        |files| files.0.get_mut(&1).unwrap().fill(0),
        |files| drop(files.0.remove(&1)),
    ];
    for maim in maims {
        let mut folder = folder.clone();
        folder.manifest = Manifest::new(shard_count());
        folder.manifest.begin_run();
        for file in folder.files.0.values() {
            folder.manifest.list(&SegmentHeader::decode(file).unwrap());
        }
        maim(&mut folder.files);
        let (recovered, _) = folder.recover();
        for damage in &recovered.damages {
            let (segment, from, to) = (damage.segment, damage.from, damage.to);
            assert!(folder.manifest.accept_void(VoidRegion { segment, from, to }));
        }
        recovered.holes.iter().for_each(|hole| assert!(folder.manifest.accept_hole(*hole)));
        for start in 1..=3 {
            let (recovered, seen) = folder.restart();
            assert_eq!((recovered.damages, seen), (vec![], folder.written[1..].to_vec()), "start {start}");
        }
    }
}

#[test]
fn given_no_manifest_when_a_segment_cannot_be_made_out_then_it_is_damage_and_the_file_stays() {
    let mut folder = cut_off();
    folder.files.0.get_mut(&1).unwrap().fill(0);
    let recovered = common::recover_files(&folder.files, None, &|_| 0).0;
    assert_eq!(refusing(&recovered), [0, 1, 2, 3]);
    assert!(!recovered.leftovers.contains(&1));
}

/// The first start reads on and sees that the shard got further; the second knows that from the list.
#[test]
fn given_damage_before_a_segment_that_is_covered_when_restarted_then_the_same_shards_serve() {
    let mut folder = Folder::default();
    for round in 1..=2 {
        let mut run = folder.start(1);
        run.write(0, &[message(round, b"text")]);
        run.stop();
    }
    folder.files.0.get_mut(&1).unwrap().clear();
    let covered = |_| 2;
    let (recovered, _) = common::recover_files(&folder.files, None, &covered);
    assert_eq!(refusing(&recovered), [1, 2, 3], "nothing says that these lost nothing");
    folder.adopt(&recovered);
    let (again, _) = folder.recover_from(&covered);
    assert_eq!(again.statistics.segments_skipped, 1);
    assert_eq!(refusing(&again), [1, 2, 3]);
}

#[test]
fn given_a_file_that_was_never_finished_when_recovered_then_it_is_a_leftover() {
    let mut folder = cut_off();
    let number = folder.manifest.next_segment();
    folder.files.0.insert(number, vec![0; 5000]);
    let (recovered, seen) = folder.recover();
    assert_eq!((refusing(&recovered), seen.len()), (vec![], folder.written.len()));
    assert!(recovered.leftovers.contains(&number));
}

#[test]
fn given_a_manifest_of_another_number_of_shards_when_recovered_then_refused_before_anything_is_read() {
    let folder = cut_off();
    let other = ShardCount::new(8).unwrap();
    let manifest = Some(folder.manifest.clone());
    let result =
        recover(&folder.files, manifest, other, NOW, &Mode::Recover(&|_| u64::MAX), &mut |_: &RecordView<'_>| {});
    assert!(matches!(result, Err(RecoveryError::ManifestShardCount { found: 4, expected: 8 })));
    assert!(result.unwrap_err().to_string().contains("make the second line of VERSION `shards 4`"));
}

/// A manifest whose fields were changed, its checksum made right.
fn changed(manifest: &Manifest, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = manifest.encode();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    let end = file.len() - 4;
    let crc = crc_fast::crc32_iscsi(&file[..end]);
    file[end..].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn given_a_manifest_with_an_impossible_field_when_read_then_it_is_refused() {
    let manifest = cut_off().manifest;
    // FORMAT.md: 32 bytes, a floor per shard, then the first segment: its end stands at 36, its first range at 44.
    let segment = 32 + 8 * usize::from(shard_count().get());
    assert!(Manifest::decode(&changed(&manifest, segment + 36, &8192_u32.to_le_bytes())).is_ok());
    for (at, bytes) in [
        (segment, &0_u32.to_le_bytes()[..]),
        (segment + 4, &9_u32.to_le_bytes()[..]),
        (segment + 36, &8193_u32.to_le_bytes()[..]),
        (segment + 36, &u32::MAX.to_le_bytes()[..]),
        (segment + 44 + 3 * 18, &4_u16.to_le_bytes()[..]),
        (segment + 44 + 3 * 18, &60_000_u16.to_le_bytes()[..]),
    ] {
        assert!(Manifest::decode(&changed(&manifest, at, bytes)).is_err(), "{bytes:?} at {at}");
    }
}

#[test]
fn given_a_segment_header_with_a_shard_that_the_folder_has_not_when_read_then_it_is_damage() {
    let mut folder = cut_off();
    let file = folder.files.0.get_mut(&1).unwrap();
    file[40 + 2] = 1; // shard 16, in a folder of four
    let crc = crc_fast::crc32_iscsi(&file[..4092]);
    file[4092..4096].copy_from_slice(&crc.to_le_bytes());
    let (recovered, seen) = folder.recover();
    assert_eq!(seen, folder.written, "its batches are read with what the manifest says");
    assert_eq!(Manifest::decode(&recovered.manifest.encode()).as_ref(), Ok(&recovered.manifest));
}

//! The commands on a folder of files: what they print, what they leave behind, how they exit.

#[path = "../../../router/log/tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use common::{Folder, NOW, Seen, message, recover_files, watermark};
use switchyard_log::batch::BatchKind;
use switchyard_log::manifest::Manifest;
use switchyard_log::recovery::Note;
use switchyard_log::segment::file_name;
use switchyard_schema::ids::{ConversationId, DeviceId, Sequence, UserId};
use switchyard_schema::record::{CursorRecord, InboxRecord, Record};

/// The data folder of a stopped server with four shards.
fn data(folder: &Folder) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("VERSION"), "switchyard 1\nshards 4\n").unwrap();
    fs::write(dir.path().join("LOCK"), "").unwrap();
    let journal = dir.path().join("journal");
    fs::create_dir(&journal).unwrap();
    fs::write(journal.join("manifest"), folder.manifest.encode()).unwrap();
    for (number, bytes) in &folder.files.0 {
        fs::write(journal.join(file_name(*number)), bytes).unwrap();
    }
    dir
}

/// Exit code, standard output, standard error.
fn logview(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logview"));
    let output = command.arg(arguments[0]).arg(dir).args(&arguments[1..]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A conversation of users 42 and 43: two messages; both delivered, the first read.
fn conversation() -> Folder {
    let (one, other) = (UserId::new(42).unwrap(), UserId::new(43).unwrap());
    let conversation = ConversationId::direct(one, other);
    let device = DeviceId::new(5).unwrap();
    let cursor = |delivered, read| {
        let (delivered, read) = (Sequence(delivered), Sequence(read));
        Record::Cursor(CursorRecord { user: other, device, conversation, delivered, read })
    };
    let told = Record::Inbox(InboxRecord {
        user: one,
        conversation,
        head: Sequence(2),
        peer_delivered: Sequence(2),
        peer_read: Sequence(0),
        peer_moved: NOW,
    });
    let mut folder = Folder::default();
    let mut run = folder.start(2);
    run.write(1, &[cursor(0, 0)]);
    run.write(0, &[message(1, b"one"), message(2, b"two")]);
    run.write(1, &[cursor(2, 0), cursor(2, 1)]);
    run.write(2, &[told]);
    run.mark(0, BatchKind::Stop);
    run.mark(1, BatchKind::Stop);
    run.stop();
    folder
}

/// What a start of the server would see.
fn recover(dir: &Path) -> (switchyard_log::recovery::Recovered, Vec<Seen>) {
    let journal = dir.join("journal");
    let mut files = common::Files::default();
    for entry in fs::read_dir(&journal).unwrap() {
        let entry = entry.unwrap();
        if let Some(number) = switchyard_log::segment::number_of_file(entry.file_name().to_str().unwrap()) {
            files.0.insert(number, fs::read(entry.path()).unwrap());
        }
    }
    let manifest = fs::read(journal.join("manifest")).ok().map(|bytes| Manifest::decode(&bytes).unwrap());
    recover_files(&files, manifest, &|_| 0)
}

#[test]
fn given_a_whole_folder_when_verified_then_clean_and_nothing_is_touched() {
    let dir = data(&conversation());
    let before = fs::read(dir.path().join("journal/manifest")).unwrap();
    let (code, out, err) = logview(&["verify"], dir.path());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("4 segments, 6 batches, 6 records, 2 closing marks"), "{out}");
    assert!(out.ends_with("clean\n"), "{out}");
    assert_eq!(fs::read(dir.path().join("journal/manifest")).unwrap(), before);
    assert!(!dir.path().join("set-aside").exists());
}

#[test]
fn given_a_damaged_folder_when_verified_then_it_says_where_and_what_to_do() {
    let mut folder = conversation();
    folder.files.0.get_mut(&2).unwrap()[8192 + 70] ^= 1;
    let dir = data(&folder);
    let (code, out, _) = logview(&["verify"], dir.path());
    assert_eq!(code, 1);
    assert!(out.contains("damage: 0000000002.seg, bytes 8192 to 12288"), "{out}");
    assert!(out.contains("shard 2 refuses to serve\n"), "{out}");
    assert!(out.contains(&format!("logview repair {}", dir.path().display())), "{out}");
}

#[test]
fn given_damage_that_the_state_store_covers_when_verified_then_it_says_that_shards_serve() {
    let mut folder = conversation();
    folder.manifest.cover(|_| u64::MAX);
    folder.files.0.get_mut(&2).unwrap()[8192 + 70] ^= 1;
    let dir = data(&folder);
    let (code, out, _) = logview(&["verify"], dir.path());
    assert_eq!(code, 1);
    assert!(out.contains("note: the state store has what 0000000002.seg changed"), "{out}");
    assert!(out.contains("places damaged: 1; 0 of 4 shards refuse to serve"), "{out}");
    let (found, _) = recover_files(&folder.files, Some(folder.manifest.clone()), &|_| u64::MAX);
    assert!(found.shards.iter().all(|tail| tail.refuses.is_none()), "which is what a start does");
}

#[test]
fn given_a_torn_tail_when_verified_then_it_is_told_and_clean() {
    let mut folder = Folder::default();
    let mut run = folder.start(1);
    run.write(0, &[watermark(1)]);
    run.write(0, &[watermark(2)]);
    folder.files.0.get_mut(&1).unwrap()[8192 + 70..].fill(0);
    let dir = data(&folder);
    let (code, out, _) = logview(&["verify"], dir.path());
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("torn tail: 0000000001.seg, bytes 8192 to 12288"), "{out}");
}

#[test]
fn given_records_when_dumped_then_each_is_a_line() {
    let dir = data(&conversation());
    let (code, out, _) = logview(&["dump"], dir.path());
    assert_eq!((code, out.lines().count()), (0, 12), "{out}");
    assert!(out.contains("message 1001 conversation direct:42-43 sequence 1 sender 42 device 1"), "{out}");
    assert!(!out.contains("b25l"), "bodies only when asked for");

    let (code, out, _) = logview(&["dump", "--segment", "2", "--json", "--bodies"], dir.path());
    assert_eq!(code, 0);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["batch", "message", "message", "batch", "inbox", "mark_stop"]);
    assert_eq!(lines[1]["body"], "b25l");
    assert_eq!((&lines[1]["lsn"], &lines[1]["message"]), (&"1".into(), &"1001".into()));

    let (code, _, err) = logview(&["dump", "--segment", "9"], dir.path());
    assert_eq!(code, 2);
    assert!(err.contains("there is no 0000000009.seg"), "{err}");
}

#[test]
fn given_a_message_when_traced_then_its_way_is_shown() {
    let dir = data(&conversation());
    let (code, out, _) = logview(&["trace", "1001"], dir.path());
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(code, 0);
    assert_eq!(lines[0], "message    1001 in direct:42-43, sequence 1");
    assert!(lines[1].starts_with("accepted   2024-01-01T00:00:00.000Z  from user 42 device 1"), "{out}");
    assert!(
        lines[2].starts_with("durable    shard 0 lsn 1 at 0000000002:4160, in batch 1 of core 0 in run 1"),
        "{out}"
    );
    assert!(lines[3].starts_with("delivered  user 43 device 5: cursor, shard 1 lsn 2 at 0000000001:"), "{out}");
    assert!(lines[4].starts_with("delivered  told to user 42, shard 2 lsn 1"), "{out}");
    assert!(lines[4].ends_with("2027-01-15T08:00:00.000Z"), "{out}");
    assert!(lines[5].starts_with("read       user 43 device 5: cursor, shard 1 lsn 3"), "{out}");

    let (_, out, _) = logview(&["trace", "1002"], dir.path());
    assert!(out.contains("read       not yet"), "{out}");
    let (code, _, err) = logview(&["trace", "77"], dir.path());
    assert_eq!(code, 2);
    assert!(err.contains("message 77 is not in the journal"), "{err}");
    assert_eq!(logview(&["trace", "0"], dir.path()).0, 2);
}

#[test]
fn given_damage_of_every_kind_when_repaired_then_all_good_records_are_served_and_the_bytes_kept() {
    let mut folder = conversation();
    let mut run = folder.start(1);
    for round in 1..=3 {
        run.write(0, &[message(round, b"later")]);
    }
    run.folder.lsns[3] = 4;
    run.write(3, &[watermark(1)]);
    run.write(0, &[watermark(9)]);
    let torn = run.folder.written.pop().unwrap();
    run.folder.lsns[0] -= 1;
    let bad = folder.written[7].position;
    folder.files.0.get_mut(&bad.segment).unwrap()[bad.offset as usize + 30] ^= 4;
    folder.files.0.get_mut(&torn.position.segment).unwrap()[torn.position.offset as usize + 30..].fill(0);
    let missing = folder.written[0].position.segment;
    folder.files.0.remove(&missing);
    let dir = data(&folder);

    let (code, out, err) = logview(&["repair"], dir.path());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("given up: shard 0 records 4 to 4"), "{out}");
    assert!(out.contains("given up: shard 3 records 1 to 4"), "{out}");
    let mut kept: Vec<String> = fs::read_dir(dir.path().join("set-aside"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert!(kept.iter().any(|name| name.ends_with(".damaged")) && kept.iter().any(|name| name.ends_with(".torn")));

    assert_eq!(logview(&["verify"], dir.path()).0, 0);
    let (recovered, seen) = recover(dir.path());
    assert!(recovered.shards.iter().all(|tail| tail.refuses.is_none()));
    assert_eq!(recovered.torn, []);
    let mut good: Vec<Seen> = folder.written.clone();
    good.retain(|seen| seen.position.segment != missing && seen.position != bad);
    assert_eq!(seen, good);
    assert!(recovered.notes.iter().any(|note| matches!(note, Note::GivenUp { .. })));
}

#[test]
fn given_a_damaged_manifest_when_repaired_then_it_is_kept_and_made_again() {
    let folder = conversation();
    let dir = data(&folder);
    let path = dir.path().join("journal/manifest");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, out, _) = logview(&["verify"], dir.path());
    assert_eq!(code, 1, "{out}");
    let (code, out, _) = logview(&["repair"], dir.path());
    assert_eq!(code, 0, "{out}");
    let kept = fs::read_dir(dir.path().join("set-aside")).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read(kept.path()).unwrap(), bytes);
    let (recovered, seen) = recover(dir.path());
    assert_eq!(seen.len(), folder.written.len());
    assert!(recovered.damages.is_empty());
}

#[test]
fn given_a_running_server_when_repaired_then_refused_and_verify_still_works() {
    let dir = data(&conversation());
    let lock = File::open(dir.path().join("LOCK")).unwrap();
    lock.lock().unwrap();
    let (code, _, err) = logview(&["repair"], dir.path());
    assert_eq!(code, 2);
    assert!(err.contains("a server is using"), "{err}");
    let (code, out, _) = logview(&["verify"], dir.path());
    assert_eq!(code, 0);
    assert!(out.starts_with("note: a server is using this folder"), "{out}");
}

#[test]
fn given_folders_that_are_not_ours_when_opened_then_it_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let (code, _, err) = logview(&["verify"], empty.path());
    assert_eq!(code, 2);
    assert!(err.contains("is not a data folder of switchyard"), "{err}");
    fs::write(empty.path().join("VERSION"), "switchyard 2\nshards 4\n").unwrap();
    let (code, _, err) = logview(&["verify"], empty.path());
    assert_eq!(code, 2);
    assert!(err.contains("has format 2, this version knows formats up to 1"), "{err}");
}

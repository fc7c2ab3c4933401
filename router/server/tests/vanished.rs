//! A data folder that has lost a part of itself: it refuses to start and says what is missing, instead of beginning anew.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use common::{Rig, folder, small};
use switchyard_log::manifest::{Manifest, VoidRegion};
use switchyard_log::segment::file_name;
use switchyard_router_server::StartError;
use switchyard_schema::frame::VoidRange;
use switchyard_schema::ids::Sequence;

/// A folder in which one user sent messages to another, stopped cleanly. Body `n` is 64 times `n`.
fn with_messages(name: &str, count: u8) -> std::path::PathBuf {
    let path = folder(name);
    let mut rig = Rig::start(&path, &small(1));
    let alice = rig.attach(1, 1);
    for name in 1..=count {
        assert_eq!(rig.send(alice, 2, u128::from(name), &[name; 64]), Sequence(u64::from(name)));
    }
    rig.stop();
    path
}

fn refusal(path: &Path) -> StartError {
    Rig::try_start(path, &small(1)).err().expect("the folder is not whole")
}

#[test]
fn given_a_state_store_when_the_journal_is_gone_then_the_start_says_so_and_changes_nothing() {
    let path = with_messages("vanished-journal", 3);
    fs::rename(path.join("journal"), path.join("journal-moved")).expect("moved");
    let refused = refusal(&path);
    assert!(matches!(refused, StartError::JournalGone { .. }), "{refused}");
    assert!(refused.to_string().contains(&path.join("journal").display().to_string()), "{refused}");
    let refused = refusal(&path);
    assert!(matches!(refused, StartError::JournalGone { .. }), "a second try is refused too: {refused}");

    fs::remove_dir_all(path.join("journal")).expect("removed");
    fs::rename(path.join("journal-moved"), path.join("journal")).expect("moved back");
    let mut rig = Rig::start(&path, &small(1));
    let bob = rig.attach(2, 1);
    assert_eq!(rig.fetch(bob, 1, 0, 10).messages.len(), 3);
    rig.stop();
}

#[test]
fn given_a_state_store_when_the_manifest_is_gone_then_the_start_names_the_command_that_makes_it_again() {
    let path = with_messages("vanished-manifest", 3);
    let manifest = path.join("journal").join("manifest");
    let kept = fs::read(&manifest).expect("the manifest");
    fs::remove_file(&manifest).expect("removed");
    let refused = refusal(&path);
    assert!(matches!(refused, StartError::ManifestGone { .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("logview repair {}", path.display())), "{refused}");
    fs::write(&manifest, kept).expect("put back");
    Rig::start(&path, &small(1)).stop();
}

#[test]
fn given_a_journal_of_an_older_copy_when_started_then_it_is_refused_and_the_right_one_is_taken() {
    let path = with_messages("vanished-older", 3);
    let (journal, older, newer) = (path.join("journal"), path.join("journal-older"), path.join("journal-newer"));
    copy(&journal, &older);
    say_more(&path, 4);
    fs::rename(&journal, &newer).expect("moved");
    copy(&older, &journal);
    let before = read_all(&journal);
    let refused = refusal(&path);
    let StartError::JournalBehind { behind, .. } = &refused else { panic!("{refused}") };
    assert!(behind.journal_lsn < behind.store_lsn && behind.shards >= 1, "{behind:?}");
    for named in [journal.display().to_string(), format!("logview repair --rebuild-state {}", path.display())] {
        assert!(refused.to_string().contains(&named), "{refused}");
    }
    assert_eq!(read_all(&journal), before, "nothing is changed");

    fs::remove_dir_all(&journal).expect("removed");
    fs::rename(&newer, &journal).expect("moved back");
    let mut rig = Rig::start(&path, &small(1));
    let bob = rig.attach(2, 1);
    assert_eq!(rig.fetch(bob, 1, 0, 10).messages.len(), 4);
    rig.stop();
}

#[test]
fn given_a_journal_of_an_older_copy_when_the_state_store_is_set_aside_then_what_the_journal_has_is_served() {
    let path = with_messages("vanished-rebuilt", 3);
    let (journal, older) = (path.join("journal"), path.join("journal-older"));
    copy(&journal, &older);
    say_more(&path, 4);
    fs::remove_dir_all(&journal).expect("removed");
    fs::rename(&older, &journal).expect("moved");
    assert!(matches!(refusal(&path), StartError::JournalBehind { .. }));
    // As `logview repair --rebuild-state` does.
    fs::rename(path.join("state"), path.join("set-aside").join("state")).expect("moved");
    let mut rig = Rig::start(&path, &small(1));
    let bob = rig.attach(2, 1);
    assert_eq!(rig.fetch(bob, 1, 0, 10).messages.len(), 3);
    rig.stop();
}

/// One more message, in a run of its own.
fn say_more(path: &Path, sequence: u64) {
    let mut rig = Rig::start(path, &small(1));
    let alice = rig.attach(1, 1);
    assert_eq!(rig.send(alice, 2, u128::from(sequence), b"more"), Sequence(sequence));
    rig.stop();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for (name, bytes) in read_all(from) {
        fs::write(to.join(name), bytes).expect("written");
    }
}

fn read_all(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).expect("a file"))).collect()
}

#[test]
fn given_a_first_run_that_stored_nothing_when_the_manifest_is_gone_then_it_is_made_again() {
    let path = folder("vanished-early");
    Rig::start(&path, &small(1)).stop();
    fs::remove_dir_all(path.join("state")).expect("removed");
    fs::remove_file(path.join("journal").join("manifest")).expect("removed");
    Rig::start(&path, &small(1)).stop();
}

/// A place that `logview repair` gave up is known after a start: history around it is served.
#[test]
fn given_a_place_that_was_given_up_when_started_then_a_fetch_tells_its_void() {
    let path = with_messages("vanished-given-up", 130);
    let journal = path.join("journal");
    let mut manifest = Manifest::decode(&fs::read(journal.join("manifest")).expect("a file")).expect("a manifest");
    let number = manifest.segments()[0].number;
    let mut bytes = fs::read(journal.join(file_name(number))).expect("the segment");
    let at = bytes.windows(64).position(|body| body == [100; 64]).expect("message 100 is there");
    bytes[at] ^= 1;
    fs::write(journal.join(file_name(number)), &bytes).expect("damaged");
    let from = u32::try_from(at).expect("small") / 4096 * 4096;
    assert!(manifest.accept_void(VoidRegion { segment: number, from, to: from + 4096 }));
    fs::write(journal.join("manifest"), manifest.encode()).expect("written");

    let mut rig = Rig::start(&path, &small(1));
    let bob = rig.attach(2, 1);
    let page = rig.fetch(bob, 1, 60, 100);
    assert_eq!(page.void, [VoidRange { from: Sequence(65), to: Sequence(100) }]);
    assert_eq!(page.messages.len(), 4 + 30);
    rig.stop();
}

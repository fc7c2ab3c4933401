//! The files of the state store: what the server makes of them when they are damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use switchyard_engine::recovery::StateRows;
use switchyard_log::segment::file_name;
use switchyard_router_core::effects::Row;
use switchyard_router_server::store::Store;

use crate::common::{Rig, folder};
use crate::image::{Image, config, copy_all, images};
use crate::places::{Damage, flips};
use crate::sample;
use crate::server::{lay_out, served, started};
use crate::tally::{Outcome, Tally};

#[test]
fn given_any_part_of_the_state_store_damaged_when_opened_then_its_rows_are_refused_or_as_they_were() {
    let (stopped, _) = images("sweep-state");
    let place = folder("sweep-state-cases");
    let whole = rows_of(&stopped.path.join("state"), &place).expect("the store is whole");
    let mut tally = Tally::default();
    for file in files(&stopped.path.join("state")) {
        let name = file.strip_prefix(&stopped.path).expect("in the folder").to_path_buf();
        let bytes = fs::read(&file).expect("read");
        for damage in of_store_file(bytes.len()) {
            let outcome = damaged(&stopped, &place, &name, &damage, &bytes, &whole);
            tally.note(outcome, &damage, &bytes);
        }
    }
    tally.show("the state store");
}

#[test]
fn given_a_damaged_state_store_when_rebuilt_then_everything_is_as_it_was() {
    let (stopped, _) = images("sweep-rebuild");
    let place = folder("sweep-rebuild-case");
    let file =
        files(&stopped.path.join("state")).into_iter().find(|file| file.ends_with("version")).expect("it has one");
    let name = file.strip_prefix(&stopped.path).expect("in the folder");
    lay_out(&stopped, &place, name, &Damage::Flip { at: 0, bit: 3 });
    let refused = Rig::try_start(&place, &config(2)).err().expect("its version is not one").to_string();
    assert!(refused.contains("logview repair --rebuild-state"), "{refused}");

    let rebuild = Command::new(env!("CARGO_BIN_EXE_logview")).args(["repair", "--rebuild-state"]).arg(&place).output();
    let said = String::from_utf8(rebuild.expect("it runs").stdout).expect("text");
    assert!(said.contains(&format!("{} records", stopped.written.len())), "{said}");
    let aside = fs::read_dir(place.join("set-aside")).expect("listed").next().expect("the old one").expect("listed");
    assert!(aside.path().join("version").exists(), "the damaged store is kept");

    assert_eq!(served(&stopped, &place, "rebuilt"), Outcome::Unused, "every message is there");
    let mut rig = Rig::start(&place, &config(1));
    let origin = rig.attach(1, 1);
    assert_eq!(rig.send(origin, 2, 1 << 64 | 2 << 32 | 24, b"again").0, 24, "a repeat gets the first result");
    rig.stop();
}

#[test]
fn given_a_journal_that_lost_something_when_a_rebuild_is_asked_for_then_nothing_is_touched() {
    let (stopped, _) = images("sweep-no-rebuild");
    let place = folder("sweep-no-rebuild-case");
    let (number, _) = stopped.segments.first_key_value().expect("it has some");
    lay_out(&stopped, &place, &Path::new("journal").join(file_name(*number)), &Damage::Gone);
    let rebuild = Command::new(env!("CARGO_BIN_EXE_logview")).args(["repair", "--rebuild-state"]).arg(&place).output();
    let rebuild = rebuild.expect("it runs");
    let said = String::from_utf8(rebuild.stderr).expect("text");
    assert_eq!(rebuild.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("run `logview repair {}` first; nothing was changed", place.display())), "{said}");
    assert!(place.join("state/version").exists());
}

/// Every file below a folder.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The front and the end of a file densely, the rest with a stride.
fn of_store_file(bytes: usize) -> Vec<Damage> {
    let edge = bytes.min(64);
    let stride = sample(12) * 61;
    let mut damages: Vec<Damage> = flips(0..edge, sample(12)).chain(flips(edge..bytes, stride)).collect();
    damages.extend(flips(bytes.saturating_sub(64).max(edge)..bytes, sample(12)));
    damages.extend((0..bytes).step_by(7 * stride).map(|keep| Damage::Cut { keep }));
    damages.extend([bytes.saturating_sub(1)].into_iter().filter(|keep| *keep < bytes).map(|keep| Damage::Cut { keep }));
    damages.push(Damage::Gone);
    damages
}

fn rows_of(state: &Path, place: &Path) -> Result<Vec<Row>, String> {
    let _ = fs::remove_dir_all(place);
    copy_all(state, place).map_err(|error| error.to_string())?;
    let store = Store::open(place).map_err(|error| error.to_string())?;
    store.scan(&[]).map_err(|error| error.to_string())
}

/// Opens a damaged copy and reads every row. Where that gives other rows without a word, the whole server is asked.
fn damaged(image: &Image, place: &Path, name: &Path, damage: &Damage, bytes: &[u8], whole: &[Row]) -> Outcome {
    let state = place.with_extension("damaged");
    let _ = fs::remove_dir_all(&state);
    copy_all(&image.path.join("state"), &state).expect("copied");
    let file = state.join(name.strip_prefix("state").expect("a file of the store"));
    match damage.applied(bytes) {
        Some(bytes) => fs::write(&file, bytes).expect("written"),
        None => fs::remove_file(&file).expect("removed"),
    }
    match std::panic::catch_unwind(|| rows_of(&state, place)) {
        Ok(Err(refused)) => {
            assert!(refused.contains("the state store could not"), "{damage:?} in {}: {refused}", name.display());
            Outcome::StartRefused
        }
        Ok(Ok(rows)) if rows == *whole => Outcome::Unused,
        Ok(Ok(_)) => started(image, place, name, damage),
        Err(_) => panic!("{damage:?} in {} makes the store panic", name.display()),
    }
}

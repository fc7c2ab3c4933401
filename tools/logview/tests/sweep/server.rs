//! The whole server on a damaged folder: what its clients get, held against what was accepted.

use std::fs;
use std::path::{Path, PathBuf};

use switchyard_log::segment::file_name;
use switchyard_router_server::DataFolder;
use switchyard_schema::error::ErrorCode;

use crate::common::{Rig, folder, shards};
use crate::image::{Image, PAIRS, config, copy_all, images};
use crate::journal::damages;
use crate::places::{Damage, of_small_file};
use crate::sample;
use crate::tally::{Outcome, Tally};

#[test]
fn given_any_part_of_the_journal_damaged_when_the_server_starts_then_it_serves_only_what_was_accepted() {
    let (stopped, cut) = images("sweep-server");
    let place = folder("sweep-server-cases");
    for (image, name) in [(&stopped, "a server after a clean stop"), (&cut, "a server after a crash")] {
        let mut tally = Tally::default();
        let mut number_of_case = 0;
        for (number, bytes) in &image.segments {
            for damage in damages(image, *number) {
                number_of_case += 1;
                if number_of_case % (sample(20) * 97) == 0 {
                    let file = Path::new("journal").join(file_name(*number));
                    tally.note(started(image, &place, &file, &damage), &damage, bytes);
                }
            }
        }
        tally.show(name);
    }
}

#[test]
fn given_the_small_files_damaged_when_the_server_starts_then_it_refuses_or_serves_everything() {
    let (stopped, _) = images("sweep-small");
    let place = folder("sweep-small-cases");
    let mut tally = Tally::default();
    for (name, stride) in [("VERSION", 1), ("LOCK", 1), ("journal/probe", 1024), ("journal/manifest", sample(6) * 60)] {
        let bytes = fs::read(stopped.path.join(name)).expect("read");
        for damage in of_small_file(bytes.len(), stride) {
            tally.note(started(&stopped, &place, Path::new(name), &damage), &damage, &bytes);
        }
    }
    tally.show("a server whose small files are damaged");
}

/// Copies the image to `place`, all but its segments, and damages one file.
pub(crate) fn lay_out(image: &Image, place: &Path, file: &Path, damage: &Damage) -> PathBuf {
    let _ = fs::remove_dir_all(place);
    for name in ["state", "VERSION", "LOCK", "set-aside", "journal/manifest"] {
        copy_all(&image.path.join(name), &place.join(name)).expect("copied");
    }
    // Nothing ever writes into a segment of an earlier run.
    for number in image.segments.keys() {
        let name = Path::new("journal").join(file_name(*number));
        fs::hard_link(image.path.join(&name), place.join(&name)).expect("linked");
    }
    let original = fs::read(image.path.join(file)).expect("read");
    let _ = fs::remove_file(place.join(file));
    if let Some(bytes) = damage.applied(&original) {
        fs::write(place.join(file), bytes).expect("written");
    }
    place.to_path_buf()
}

/// Starts the server on a damaged copy.
pub(crate) fn started(image: &Image, place: &Path, file: &Path, damage: &Damage) -> Outcome {
    let what = format!("{damage:?} in {}", file.display());
    let place = lay_out(image, place, file, damage);
    served(image, &place, &what)
}

/// Starts the server and asks for every conversation.
pub(crate) fn served(image: &Image, place: &Path, what: &str) -> Outcome {
    if let Err(refused) = DataFolder::open(place, shards()) {
        assert!(refused.to_string().contains(&place.display().to_string()), "{what}: {refused}");
        return Outcome::StartRefused;
    }
    let mut rig = match Rig::try_start(place, &config(2)) {
        Ok(rig) => rig,
        Err(refused) => {
            says_what_to_do(&refused.to_string(), what);
            return Outcome::StartRefused;
        }
    };
    let recovered = &rig.handle.report().recovered;
    let told = !recovered.damages.is_empty() || !recovered.notes.is_empty();
    let torn = !recovered.torn.is_empty();
    let (mut refused, mut cut) = (false, false);
    for (one, other) in PAIRS {
        let bodies = &image.accepted[&(one, other)];
        match conversation(&mut rig, one, other) {
            Err(ErrorCode::ShardDamaged | ErrorCode::StorageUnavailable) => refused = true,
            Err(code) => panic!("{what}: refused with {code:?}"),
            Ok(found) => {
                assert!(found.len() <= bodies.len(), "{what}: more messages than were accepted");
                assert!(found == bodies[..found.len()], "{what}: other messages than were accepted");
                assert!(found.len() == bodies.len() || torn, "{what}: {} of {} messages", found.len(), bodies.len());
                cut |= found.len() < bodies.len();
            }
        }
    }
    rig.stop();
    match (refused, cut || torn, told) {
        (true, ..) => Outcome::ShardsRefuse,
        (_, true, _) => Outcome::Tail,
        (.., true) => Outcome::Told,
        _ => Outcome::Unused,
    }
}

/// Every body of a conversation from its beginning, until something is refused.
fn conversation(rig: &mut Rig, one: u64, other: u64) -> Result<Vec<bytes::Bytes>, ErrorCode> {
    let origin = rig.try_attach(one, 2)?;
    let mut bodies = Vec::new();
    loop {
        let page = rig.try_fetch(origin, other, bodies.len() as u64, 100)?;
        assert!(page.void.is_empty(), "nothing was given up: {:?}", page.void);
        bodies.extend(page.messages.into_iter().map(|message| message.body));
        if !page.more {
            rig.detach(origin);
            return Ok(bodies);
        }
    }
}

/// A refusal names a command, or what to look for.
pub(crate) fn says_what_to_do(text: &str, what: &str) {
    let advice = ["logview", "restore", "check", "VERSION", "start again"];
    assert!(advice.iter().any(|word| text.contains(word)), "{what}: {text}");
}

//! `verify`: reads everything and says what is wrong.

use std::io::Write;
use std::path::Path;

use switchyard_log::manifest::{Manifest, SegmentState};
use switchyard_log::record::RecordView;
use switchyard_log::recovery::Recovered;

use crate::folder::Folder;
use crate::{Failure, Verdict};

/// How often to look again beside a live server: what was read while it moved on may look like damage.
const LIVE_ATTEMPTS: u32 = 3;

pub(crate) fn verify(dir: &Path, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let folder = Folder::open(dir)?;
    let live = folder.is_live();
    let mut attempt = 1;
    loop {
        let manifest = match folder.manifest()? {
            Ok(manifest) => manifest,
            Err(damage) => {
                writeln!(out, "damage: {}: {damage}", folder.manifest_path().display())?;
                advise(dir, out)?;
                return Ok(Verdict::Damaged);
            }
        };
        let covered = manifest.as_ref().map(covered).unwrap_or_default();
        let result = folder.read(manifest, None, &mut |_: &RecordView<'_>| {});
        let doubtful = result.as_ref().map_or(true, |found| !found.damages.is_empty());
        if live && doubtful && attempt < LIVE_ATTEMPTS {
            attempt += 1;
            continue;
        }
        return report(&folder, &result?, &covered, live, out);
    }
}

/// The segments whose records the state store has.
fn covered(manifest: &Manifest) -> Vec<u32> {
    let covered = manifest.segments().iter().filter(|entry| entry.state == SegmentState::Covered);
    covered.map(|entry| entry.number).collect()
}

fn report(
    folder: &Folder,
    found: &Recovered,
    covered: &[u32],
    live: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    if live {
        writeln!(out, "note: a server is using this folder; a batch that it is writing shows as a torn tail")?;
    }
    findings(found, out)?;
    let counts = &found.statistics;
    writeln!(
        out,
        "{} segments, {} batches, {} records, {} closing marks, {} bytes read; history begins at segment {}",
        counts.segments_read,
        counts.batches,
        counts.records + counts.records_withheld,
        counts.marks,
        counts.bytes_read,
        found.manifest.oldest_segment(),
    )?;
    if found.damages.is_empty() {
        writeln!(out, "clean")?;
        return Ok(Verdict::Clean);
    }
    for number in covered.iter().filter(|number| found.damages.iter().any(|damage| damage.segment == **number)) {
        writeln!(
            out,
            "note: the state store has what {} changed; as long as it does, only old messages there cannot be read",
            switchyard_log::segment::file_name(*number)
        )?;
    }
    let refusing = found.shards.iter().filter_map(|tail| Some(found.damages[tail.refuses?].segment));
    let refusing = refusing.filter(|segment| !covered.contains(segment)).count();
    writeln!(
        out,
        "places damaged: {}; {refusing} of {} shards refuse to serve",
        found.damages.len(),
        found.shards.len()
    )?;
    advise(&folder.path, out)?;
    Ok(Verdict::Damaged)
}

/// Damage, torn tails and notes, one a line.
pub(crate) fn findings(found: &Recovered, out: &mut dyn Write) -> Result<(), Failure> {
    for damage in &found.damages {
        writeln!(out, "damage: {damage}")?;
        if damage.shards.len() > 1 {
            let shards: Vec<String> = damage.shards.iter().map(|shard| shard.0.to_string()).collect();
            writeln!(out, "        shards {}", shards.join(", "))?;
        }
    }
    for torn in &found.torn {
        let name = switchyard_log::segment::file_name(torn.segment);
        writeln!(
            out,
            "torn tail: {name}, bytes {} to {}: never acknowledged; cut at the next start",
            torn.from, torn.to
        )?;
    }
    for note in &found.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn advise(dir: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "Restore the folder from a copy if there is one. Otherwise stop the server and run:")?;
    writeln!(out, "    logview repair {}", dir.display())?;
    writeln!(out, "It sets the damaged bytes aside in {}/set-aside and serves every good record.", dir.display())?;
    Ok(())
}

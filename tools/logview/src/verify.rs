//! `verify`: reads everything and says what is wrong.

use std::io::Write;
use std::path::Path;

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
        let result = folder.read(manifest, None, &mut |_: &RecordView<'_>| {});
        let doubtful = result.as_ref().map_or(true, |found| !found.damages.is_empty());
        if live && doubtful && attempt < LIVE_ATTEMPTS {
            attempt += 1;
            continue;
        }
        return report(&folder, &result?, live, out);
    }
}

fn report(folder: &Folder, found: &Recovered, live: bool, out: &mut dyn Write) -> Result<Verdict, Failure> {
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
    let refusing = found.shards.iter().filter(|tail| tail.refuses.is_some()).count();
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

//! `repair --rebuild-state`: sets the state store aside, so that the next start makes it again from the journal.
//!
//! What the store has is what the journal says, summed up. So nothing is lost by making it again, provided that the journal
//! still has all of it; where that is not so, nothing is touched.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use switchyard_log::record::RecordView;

use crate::folder::{Folder, now};
use crate::{Failure, Verdict};

pub(crate) fn rebuild_state(dir: &Path, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let folder = Folder::open(dir)?;
    let _lock = folder.lock()?;
    let records = whole_journal(&folder)?;
    let state = folder.path.join("state");
    let aside = folder.path.join("set-aside");
    let kept = aside.join(format!("state-{}", now().0));
    fs::create_dir_all(&aside)?;
    match fs::rename(&state, &kept) {
        Ok(()) => writeln!(out, "set aside: {}", kept.display())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => writeln!(out, "there was no state store")?,
        Err(error) => return Err(error.into()),
    }
    File::open(&aside)?.sync_all()?;
    File::open(&folder.path)?.sync_all()?;
    writeln!(out, "the next start reads the whole journal, {records} records, and makes the state store again")?;
    Ok(Verdict::Clean)
}

/// How many records the journal has, when it has all that there ever were.
fn whole_journal(folder: &Folder) -> Result<u64, Failure> {
    let dir = folder.path.display();
    let refused = |why: String| Failure::Refused(format!("{why}; nothing was changed"));
    let damaged = |what: String| refused(format!("{what}: run `logview repair {dir}` first"));
    let manifest = folder.manifest()?.map_err(|damage| damaged(format!("the manifest is damaged ({damage})")))?;
    let found = folder.read(manifest, None, &mut |_: &RecordView<'_>| {})?;
    if !found.damages.is_empty() {
        return Err(damaged(format!("the journal is damaged in {} places", found.damages.len())));
    }
    let oldest = found.manifest.oldest_segment();
    if oldest != 1 {
        return Err(refused(format!(
            "the journal begins at segment {oldest}, so the state store has what it no longer has; restore {dir} from a copy"
        )));
    }
    if let Some(tail) = found.shards.iter().find(|tail| tail.last_lsn < found.manifest.floor(tail.shard)) {
        return Err(refused(format!(
            "the journal has lost the last records of shard {}, which the state store has; restore {dir} from a copy",
            tail.shard.0
        )));
    }
    Ok(found.statistics.records + found.statistics.records_withheld)
}

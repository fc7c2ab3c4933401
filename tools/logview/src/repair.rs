//! `repair`: sets torn and damaged bytes aside and tells the manifest to pass over them.
//!
//! Segments are never changed, so a repair that was a mistake can be undone from the bytes that are still there, and no
//! good record is dropped. What is lost is printed, by shard and LSN.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use switchyard_log::manifest::{Manifest, TEMPORARY_FILE_NAME, VoidRegion};
use switchyard_log::record::RecordView;
use switchyard_log::recovery::{DamageKind, Recovered};
use switchyard_log::segment::file_name;

use crate::folder::{Folder, now};
use crate::{Failure, Verdict, verify};

/// Giving up one place may show another; more rounds than this is a folder that cannot be understood.
const ROUNDS: u32 = 16;

pub(crate) fn repair(dir: &Path, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let folder = Folder::open(dir)?;
    let _lock = folder.lock()?;
    let aside = Aside::new(&folder)?;
    let mut manifest = match folder.manifest()? {
        Ok(manifest) => manifest,
        Err(damage) => {
            let kept = aside.keep(&format!("manifest-{}.damaged", now().0), &fs::read(folder.manifest_path())?)?;
            writeln!(
                out,
                "the manifest is damaged ({damage}); kept as {}, made again from the segments",
                kept.display()
            )?;
            None
        }
    };
    let mut lost = false;
    for _ in 0..ROUNDS {
        let found = folder.read(manifest.clone(), None, &mut |_: &RecordView<'_>| {})?;
        if found.damages.is_empty() {
            return finish(&folder, &aside, &found, lost, out);
        }
        lost = true;
        verify::findings(&found, out)?;
        manifest = Some(give_up(&aside, manifest.unwrap_or_else(|| found.manifest.clone()), &found, out)?);
    }
    Err(Failure::Refused(format!(
        "after {ROUNDS} rounds there is still damage in {}; nothing was changed but copies in set-aside: restore the folder \
         from a copy",
        dir.display()
    )))
}

/// Copies what is damaged and lists it, and the LSNs that are missing, as given up.
fn give_up(aside: &Aside, mut manifest: Manifest, found: &Recovered, out: &mut dyn Write) -> Result<Manifest, Failure> {
    let full =
        || Failure::Refused("there is more damage than a manifest can list; restore the folder from a copy".into());
    for damage in &found.damages {
        let name = format!("{:010}-{}-{}.damaged", damage.segment, damage.from, damage.to);
        if matches!(damage.kind, DamageKind::LsnMissing { .. }) {
            continue; // the record there is whole; it only shows that others are missing
        }
        if let Some(kept) = aside.copy(&name, damage.segment, damage.from, damage.to)? {
            writeln!(out, "set aside: {}", kept.display())?;
        }
        let repeated = matches!(damage.kind, DamageKind::LsnRepeated { .. });
        let void = VoidRegion { segment: damage.segment, from: damage.from, to: damage.to };
        if !repeated && !manifest.accept_void(void) {
            return Err(full());
        }
    }
    for hole in &found.holes {
        writeln!(out, "given up: shard {} records {} to {}", hole.shard.0, hole.from, hole.to)?;
        if !manifest.accept_hole(*hole) {
            return Err(full());
        }
    }
    Ok(manifest)
}

/// Nothing is damaged any more: keeps torn tails and writes the list, which cuts them off.
fn finish(
    folder: &Folder,
    aside: &Aside,
    found: &Recovered,
    lost: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    for torn in &found.torn {
        let name = format!("{:010}-{}-{}.torn", torn.segment, torn.from, torn.to);
        if let Some(kept) = aside.copy(&name, torn.segment, torn.from, torn.to)? {
            writeln!(out, "torn tail, never acknowledged, set aside: {}", kept.display())?;
        }
    }
    replace(&folder.manifest_path(), &folder.journal().join(TEMPORARY_FILE_NAME), &found.manifest.encode())?;
    let served = found.statistics.records + found.statistics.records_withheld;
    if lost {
        writeln!(out, "repaired: {served} records are served; what was given up is lost, a user may miss messages")?;
    } else {
        writeln!(out, "nothing was damaged: {served} records are served")?;
    }
    Ok(Verdict::Clean)
}

/// The folder where copies go.
struct Aside {
    path: PathBuf,
    journal: PathBuf,
}

impl Aside {
    fn new(folder: &Folder) -> io::Result<Self> {
        let path = folder.path.join("set-aside");
        fs::create_dir_all(&path)?;
        Ok(Self { path, journal: folder.journal() })
    }

    /// Copies a region of a segment; `None` when there are no bytes to copy.
    fn copy(&self, name: &str, segment: u32, from: u32, to: u32) -> io::Result<Option<PathBuf>> {
        let file = match File::open(self.journal.join(file_name(segment))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = u64::from(to).min(file.metadata()?.len());
        let count = end.saturating_sub(u64::from(from));
        if count == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(count).expect("a segment fits in memory")];
        file.read_exact_at(&mut bytes, u64::from(from))?;
        self.keep(name, &bytes).map(Some)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        replace(&path, &self.path.join("new"), bytes)?;
        Ok(path)
    }
}

/// Writes a file as a whole, durably, by way of a temporary one in the same folder.
fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    let folder = path.parent().expect("a file lies in a folder");
    File::open(folder)?.sync_all()
}

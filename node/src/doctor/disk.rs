//! Whether the data folder lies where accepted messages are safe and quickly written.

use std::io;
use std::path::{Path, PathBuf};

use switchyard_router_server::limits::RESERVE_BYTES_DEFAULT;
use switchyard_tuning::Finding;
use switchyard_tuning::text::bytes;

use super::limits::{SEGMENTS_GOOD, SEGMENTS_NEEDED};
use super::mount::Mount;
use super::sync::OTHER_DISK;
use super::{Needs, host, sync};

pub(super) fn examine(needs: &Needs) -> Vec<Finding> {
    let folder = match nearest(&needs.data) {
        Ok(folder) => folder,
        Err(error) => return vec![unreachable_folder(&needs.data, &error)],
    };
    let mount = host::read("/proc/self/mountinfo").and_then(|text| Mount::of(&folder, &text));
    let in_memory = mount.as_ref().is_some_and(is_in_memory);
    let mut findings = vec![judge_file_system(&needs.data, mount.as_ref())];
    if let Ok(about) = rustix::fs::statvfs(&folder) {
        findings.push(judge_space(needs, about.f_bavail * about.f_frsize));
    }
    // What memory does says nothing about a disk.
    if !in_memory {
        findings.extend(sync::examine(&folder));
    }
    findings
}

/// The folder, or the one above it in which it will be made.
fn nearest(data: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(data)?;
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    existing.canonicalize()
}

fn unreachable_folder(data: &Path, error: &io::Error) -> Finding {
    Finding::fail(
        "data folder",
        format!("{}: {error}", data.display()),
        "the server cannot open it either",
        "choose another folder with --data, or give this user access",
    )
}

fn is_in_memory(mount: &Mount) -> bool {
    ["tmpfs", "ramfs"].contains(&mount.kind.as_str())
}

fn judge_file_system(data: &Path, mount: Option<&Mount>) -> Finding {
    const NAME: &str = "file system";
    let Some(mount) = mount else {
        return Finding::warn(
            NAME,
            "unknown",
            "it is in no list of mounts",
            "findmnt --target DIR, with the data folder",
        );
    };
    let found = format!("{} on {}", mount.kind, mount.source);
    if mount.has_option("ro") {
        let fix = format!("mount -o remount,rw the file system of {}", data.display());
        return Finding::fail(NAME, format!("{found}, read-only"), "nothing can be stored there", fix);
    }
    if mount.has_option("nobarrier") || mount.has_option("barrier=0") {
        return Finding::fail(
            NAME,
            format!("{found}, without barriers"),
            "a sync does not reach the disk: what was accepted is lost when the power fails",
            "mount it without nobarrier and barrier=0",
        );
    }
    match mount.kind.as_str() {
        "ext4" | "xfs" => Finding::pass(NAME, found, ""),
        _ if is_in_memory(mount) => Finding::fail(
            NAME,
            found,
            "it is memory: nothing can be made durable, and the server refuses it",
            OTHER_DISK,
        ),
        "btrfs" => Finding::warn(
            NAME,
            found,
            "it writes every block to another place, so that segments made in advance are of no use and every commit is slower",
            format!("mkdir -p {0} && chattr +C {0} before the first start, or {OTHER_DISK}", data.display()),
        ),
        "overlay" => Finding::warn(
            NAME,
            found,
            "it is the container's own layer, and is gone with the container",
            "mount a volume and name it with --data",
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "virtiofs" | "fuse" | "fuseblk" => Finding::warn(
            NAME,
            found,
            "what is synced is as safe as the other side of it makes it, and commits wait for the way there",
            OTHER_DISK,
        ),
        _ => Finding::warn(NAME, found, "nobody has tried the server on it", OTHER_DISK),
    }
}

fn judge_space(needs: &Needs, free: u64) -> Finding {
    const NAME: &str = "free space";
    let of_segments = |count: u64| needs.routers * needs.segment_bytes * count + RESERVE_BYTES_DEFAULT;
    let (needed, good) = (of_segments(SEGMENTS_NEEDED), of_segments(SEGMENTS_GOOD));
    let found = format!("{}; {} for a start", bytes(free), bytes(needed));
    let fix = "free space on it, or choose another folder with --data";
    if free < needed {
        Finding::fail(
            NAME,
            found,
            "two segments for each router core, and what is set aside for a full disk, do not fit",
            fix,
        )
    } else if free < good {
        Finding::warn(NAME, found, "it will be full soon; from then on messages are refused", fix)
    } else {
        Finding::pass(NAME, found, "")
    }
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::needs;
    use super::*;

    #[test]
    fn given_file_systems_then_only_durable_ones_pass() {
        let judge = |kind: &str, options: &str| {
            let mount = Mount { kind: kind.to_owned(), source: "/dev/sda1".to_owned(), options: options.to_owned() };
            judge_file_system(Path::new("data"), Some(&mount)).verdict
        };
        for (kind, options, expect) in [
            ("ext4", "rw,relatime,rw,discard", Verdict::Pass),
            ("xfs", "rw", Verdict::Pass),
            ("ext4", "rw,relatime,rw,nobarrier", Verdict::Fail),
            ("ext4", "rw,barrier=0", Verdict::Fail),
            ("xfs", "ro,relatime,rw", Verdict::Fail),
            ("tmpfs", "rw", Verdict::Fail),
            ("btrfs", "rw", Verdict::Warn),
            ("overlay", "rw", Verdict::Warn),
            ("nfs4", "rw", Verdict::Warn),
            ("bcachefs", "rw", Verdict::Warn),
        ] {
            assert_eq!(judge(kind, options), expect, "{kind} {options}");
        }
    }

    #[test]
    fn given_free_space_then_two_segments_for_each_core_and_the_reserve_must_fit() {
        for (routers, free, expect) in [
            (1, 190 << 20, Verdict::Fail),
            (1, 200 << 20, Verdict::Warn),
            (1, 2 << 30, Verdict::Pass),
            (8, 1 << 30, Verdict::Fail),
            (8, 2 << 30, Verdict::Warn),
        ] {
            assert_eq!(judge_space(&Needs { routers, ..needs() }, free).verdict, expect, "{routers} {free}");
        }
    }

    #[test]
    fn given_a_folder_that_does_not_exist_then_the_one_above_it_is_examined() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("it exists");
        assert_eq!(nearest(&path.join("not/there")).expect("something exists"), path);
    }
}

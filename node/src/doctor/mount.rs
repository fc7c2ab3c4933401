//! Which file system a folder lies on (`/proc/self/mountinfo`, proc(5)).

use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mount {
    pub(super) kind: String,
    pub(super) source: String,
    /// Options of the mount and of the file system, with commas between them.
    pub(super) options: String,
}

impl Mount {
    /// The one that `path`, which is canonical, lies on: of those that are mounted above it the longest, and of those the
    /// last, which hides the others.
    pub(super) fn of(path: &Path, mountinfo: &str) -> Option<Self> {
        let mounts = mountinfo.lines().filter_map(parse).filter(|(point, _)| path.starts_with(point));
        mounts.max_by_key(|(point, _)| point.components().count()).map(|(_, mount)| mount)
    }

    pub(super) fn has_option(&self, wanted: &str) -> bool {
        self.options.split(',').any(|option| option == wanted)
    }
}

/// `27 1 254:0 / /mount/point rw,relatime shared:1 - ext4 /dev/vda rw,discard`
fn parse(line: &str) -> Option<(PathBuf, Mount)> {
    let (place, about) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(4);
    let (point, options) = (place.next()?, place.next()?);
    let mut about = about.split(' ');
    let (kind, source, more) = (about.next()?, about.next()?, about.next().unwrap_or_default());
    let mount = Mount { kind: kind.to_owned(), source: unescaped(source), options: format!("{options},{more}") };
    Some((PathBuf::from(unescaped(point)), mount))
}

/// Spaces and their like stand there as octal numbers.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:25 / /var rw,relatime shared:5 master:1 - xfs /dev/vdb rw,logbufs=8
29 28 0:26 / /var/lib/my\\040data rw - btrfs /dev/vdc rw,ssd
30 27 0:27 / /var rw - tmpfs none rw
";

    #[test]
    fn given_mounts_then_a_path_lies_on_the_longest_and_of_those_on_the_last() {
        let kind = |path: &str| Mount::of(Path::new(path), MOUNTS).expect("everything lies somewhere").kind;
        assert_eq!(kind("/home/data"), "ext4");
        assert_eq!(kind("/variable"), "ext4", "not below /var");
        assert_eq!(kind("/var/lib/other"), "tmpfs", "it hides the one before");
        assert_eq!(kind("/var/lib/my data/switchyard"), "btrfs");
        let mount = Mount::of(Path::new("/"), MOUNTS).expect("the root");
        assert!(mount.has_option("discard") && mount.has_option("relatime") && !mount.has_option("rel"));
    }
}

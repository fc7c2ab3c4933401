//! The files that make settings last: for sysctl.d, limits.d and a drop-in of the systemd unit, from the same table.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::setting::{Limit, Place, Profile, Setting};
use crate::settings::SETTINGS;
use crate::text::wrapped;
use crate::value::Value;

/// How a generated file begins; only such a file is ever replaced.
const MARK: &str = "# Made by `tune generate";
/// Columns of a comment.
const COMMENT_COLUMNS: usize = 110;

/// A file to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GeneratedFile {
    /// Where it belongs, below `/etc`.
    pub path: &'static str,
    /// What is in it.
    pub text: String,
}

/// Why a file could not be written, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Somebody else's file.
    #[error("{} was not made by tune and is left alone; move it away, or choose another folder with --into", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("cannot write {}: {source}; check the folder given with --into", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The files of a profile.
#[must_use]
pub fn files(profile: Profile) -> [GeneratedFile; 3] {
    [sysctl_file(profile), limits_file(profile), unit_file(profile)]
}

/// Writes files below `folder`, laid out as below `/etc`. Nothing is written when any of them would replace a file of
/// somebody else.
///
/// # Errors
/// [`GenerateError`].
pub fn write_into(folder: &Path, files: &[GeneratedFile]) -> Result<(), GenerateError> {
    for file in files {
        let path = folder.join(file.path);
        match fs::read(&path) {
            Ok(bytes) if bytes.starts_with(MARK.as_bytes()) => {}
            Ok(_) => return Err(GenerateError::Foreign { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(GenerateError::Io { path, source }),
        }
    }
    for file in files {
        let path = folder.join(file.path);
        let parent = path.parent().expect("a file has a folder");
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, &file.text))
            .map_err(|source| GenerateError::Io { path: path.clone(), source })?;
    }
    Ok(())
}

/// A limit as `limits.conf(5)` counts it: locked memory in KiB.
#[must_use]
pub fn limits_value(limit: Limit, wanted: &Value) -> String {
    match limit {
        Limit::Nofile => wanted.to_string(),
        Limit::Memlock => (wanted.numbers()[0] / 1024).to_string(),
    }
}

fn sysctl_file(profile: Profile) -> GeneratedFile {
    let mut text = header(
        profile,
        "In /etc/sysctl.d it holds from the next boot, and after `sysctl --system`. It sets exactly these values, even where a \
         host has better ones: look at `tune check` first.",
    );
    for (setting, wanted) in wanted_by(profile) {
        let Some(key) = setting.place.sysctl() else { continue };
        comment(&mut text, setting.reason);
        // A dash lets the others be set where this one does not exist (sysctl.d(5)).
        let dash = if setting.place.may_be_absent() { "-" } else { "" };
        let _ = writeln!(text, "{dash}{key} = {wanted}");
    }
    GeneratedFile { path: "sysctl.d/90-switchyard.conf", text }
}

fn limits_file(profile: Profile) -> GeneratedFile {
    let mut text = header(
        profile,
        "In /etc/security/limits.d it holds for whoever logs in from now on and starts the server by hand; a systemd unit has \
         limits of its own.",
    );
    for (setting, wanted) in wanted_by(profile) {
        let Place::Limit(limit) = setting.place else { continue };
        comment(&mut text, setting.reason);
        let value = limits_value(limit, &wanted);
        let kinds = match limit {
            // The server raises its own limit to the hard one. A high soft limit would concern every program: those that
            // close every descriptor there may be, or use select(2), mind it.
            Limit::Nofile => &["hard"][..],
            Limit::Memlock => &["soft", "hard"],
        };
        // `*` does not include root (limits.conf(5)).
        for who in ["*", "root"] {
            for kind in kinds {
                let _ = writeln!(text, "{who:<4} {kind} {} {value}", limit.name());
            }
        }
    }
    GeneratedFile { path: "security/limits.d/90-switchyard.conf", text }
}

fn unit_file(profile: Profile) -> GeneratedFile {
    let mut text = header(
        profile,
        "In /etc/systemd/system/switchyard.service.d it holds after `systemctl daemon-reload` and a restart of the unit.",
    );
    text.push_str("\n[Service]\n");
    for (setting, wanted) in wanted_by(profile) {
        let name = match setting.place {
            Place::Limit(limit) => limit.directive(),
            Place::Directive(name) => name,
            Place::Sysctl(_) | Place::SysctlSince(_) | Place::SysctlInUse { .. } => continue,
        };
        comment(&mut text, setting.reason);
        let _ = writeln!(text, "{name}={wanted}");
    }
    GeneratedFile { path: "systemd/system/switchyard.service.d/90-tuning.conf", text }
}

fn wanted_by(profile: Profile) -> impl Iterator<Item = (&'static Setting, Value)> {
    SETTINGS.iter().filter_map(move |setting| Some((setting, setting.wanted(profile, Profile::CONNECTIONS)?)))
}

fn header(profile: Profile, how: &str) -> String {
    let mut text = format!("{MARK} --profile {}`: {}.\n", profile.name(), profile.about());
    for line in wrapped(how, COMMENT_COLUMNS) {
        let _ = writeln!(text, "# {line}");
    }
    text
}

fn comment(text: &mut String, reason: &str) {
    text.push('\n');
    let mut letters = reason.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    for line in wrapped(&format!("{first}{}.", letters.as_str()), COMMENT_COLUMNS) {
        let _ = writeln!(text, "# {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_file_of_somebody_else_when_writing_then_it_and_the_others_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(Profile::LowLatency);
        write_into(folder.path(), &files).expect("into an empty folder");
        write_into(folder.path(), &files).expect("over our own");
        let theirs = folder.path().join(files[1].path);
        fs::write(&theirs, "* hard nofile 4096\n").expect("written");
        fs::remove_file(folder.path().join(files[0].path)).expect("removed");
        assert!(matches!(write_into(folder.path(), &files), Err(GenerateError::Foreign { path }) if path == theirs));
        assert!(!folder.path().join(files[0].path).exists(), "nothing was written");
    }
}

//! Rules that are read off single files.

use std::fs;
use std::process::Command;

use crate::steps::root;

/// Lines of a file at most: past this it holds a second idea.
const FILE_LINES_MAX: usize = 600;

/// Files that may hold unsafe code: the drivers that talk to the kernel, and allocators that count in tests.
const UNSAFE_ALLOWED: &[&str] = &["/sys.rs", "/commit_ring.rs", "/poll_ring.rs", "/counting_allocator.rs"];

/// Crates without IO, clock or randomness (`ARCHITECTURE.md`, invariant 5).
const WITHOUT_IO: &[&str] = &[
    "schema/src/",
    "gateway/core/src/",
    "router/core/src/",
    "router/log/src/",
    "router/engine/src/",
    "client/core/src/",
];

/// What a crate without IO never names.
const IO: &[&str] = &["std::net", "std::fs", "std::thread", "Instant::now", "SystemTime::now", "async fn", "println!"];

/// What is finished before it lands.
const LEFTOVERS: &[&str] = &["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore"];

/// Every breach, as a sentence with file and line.
pub(super) fn check() -> Result<Vec<String>, String> {
    let mut breaches = Vec::new();
    for path in tracked()? {
        if path.contains("/generated/") {
            continue;
        }
        let is_rust = path.ends_with(".rs");
        if !(is_rust || path.ends_with(".py") || path.ends_with(".sh")) {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        check_length(&path, &text, &mut breaches);
        if is_rust {
            check_header(&path, &text, &mut breaches);
            check_lines(&path, &text, &mut breaches);
        }
    }
    for folder in WITHOUT_IO {
        let lib = format!("{folder}lib.rs");
        let text = fs::read_to_string(root().join(&lib)).map_err(|error| format!("{lib}: {error}"))?;
        // What is forbidden cannot be allowed again for the code that flatc generates, so `schema` denies.
        let rule = if *folder == "schema/src/" { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
        if !text.contains(rule) {
            breaches.push(format!("{lib}: a crate without IO forbids unsafe code"));
        }
    }
    Ok(breaches)
}

fn tracked() -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("git ls-files cannot be started: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn check_length(path: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches.push(format!("{path}: {lines} lines; past {FILE_LINES_MAX} a file holds a second idea"));
    }
}

fn check_header(path: &str, text: &str, breaches: &mut Vec<String>) {
    let first = text.lines().find(|line| !line.starts_with("#![") && !line.trim().is_empty());
    if !first.is_some_and(|line| line.starts_with("//!")) {
        breaches.push(format!("{path}: begins without a module doc"));
    }
}

fn check_lines(path: &str, text: &str, breaches: &mut Vec<String>) {
    let is_the_table = path.ends_with("tidy/files.rs");
    let without_io = WITHOUT_IO.iter().any(|folder| path.starts_with(folder));
    let may_be_unsafe = UNSAFE_ALLOWED.iter().any(|name| path.ends_with(name));
    let mut in_tests = false;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", number + 1);
        in_tests |= line.trim() == "#[cfg(test)]";
        if is_the_table {
            continue;
        }
        if let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
            breaches.push(format!("{place}: `{word}` is left over"));
        }
        let code = line.split("//").next().unwrap_or_default();
        if without_io
            && !in_tests
            && let Some(word) = IO.iter().find(|word| code.contains(**word))
        {
            breaches.push(format!("{place}: `{word}` in a crate without IO"));
        }
        if !may_be_unsafe && has_unsafe(code) {
            breaches.push(format!("{place}: unsafe outside a driver module ({})", UNSAFE_ALLOWED.join(", ")));
        }
    }
}

fn has_unsafe(code: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| code.contains(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(path: &str, text: &str) -> usize {
        let mut breaches = Vec::new();
        check_length(path, text, &mut breaches);
        check_header(path, text, &mut breaches);
        check_lines(path, text, &mut breaches);
        breaches.len()
    }

    #[test]
    fn given_one_breach_of_each_rule_when_checked_then_each_is_reported() {
        assert_eq!(breaches_of("node/src/a.rs", "//! Doc.\nfn a() {}\n"), 0);
        assert_eq!(breaches_of("node/src/a.rs", "fn a() {}\n"), 1, "no header");
        assert_eq!(breaches_of("node/src/a.rs", &format!("//! Doc.\n{}", "\n".repeat(600))), 1, "too long");
        assert_eq!(breaches_of("node/src/a.rs", "//! Doc.\n// TODO later\n"), 1, "left over");
        assert_eq!(breaches_of("node/src/a.rs", "//! Doc.\nfn a() { unsafe { b() } }\n"), 1, "unsafe");
        assert_eq!(breaches_of("node/src/sys.rs", "//! Doc.\nfn a() { unsafe { b() } }\n"), 0, "unsafe in a driver");
        assert_eq!(breaches_of("router/core/src/a.rs", "//! Doc.\nuse std::fs;\n"), 1, "IO in a core");
    }
}

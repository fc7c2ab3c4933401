//! Folders for tests: on the disk of the build folder, since the temporary folder of a system is often memory.

use std::fs;
use std::path::PathBuf;

/// An empty folder of this name, of this process.
pub(crate) fn folder(name: &str) -> PathBuf {
    let base =
        std::env::current_exe().expect("a test has a path").parent().expect("in a folder").join("switchyard-tests");
    let path = base.join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder for tests");
    path
}

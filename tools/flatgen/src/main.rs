//! Generates `schema/src/generated/` from `schema/fbs/` with a vendored flatc, so that nobody needs the right one
//! installed. `--check` changes nothing and fails when the committed code is not what flatc makes of the schema.
//!
//! Needs cmake and a C++ compiler (`apt-get install cmake g++`): flatc is built from source on the first run.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

const SCHEMA: &str = "schema/fbs/switchyard.fbs";
const GENERATED: &str = "schema/src/generated/switchyard_generated.rs";

fn main() -> ExitCode {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: flatgen [--check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("flatgen: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fresh = generate(&root.join(SCHEMA))?;
    let target = root.join(GENERATED);
    let committed = match fs::read(&target) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("cannot read {GENERATED}: {error}")),
    };
    if fresh == committed {
        return Ok(format!("{GENERATED} is up to date"));
    }
    if check {
        return Err(format!(
            "{GENERATED} is not what flatc makes of {SCHEMA}; \
             run `cargo run --manifest-path tools/flatgen/Cargo.toml` and commit the result"
        ));
    }
    fs::write(&target, fresh).map_err(|error| format!("cannot write {GENERATED}: {error}"))?;
    Ok(format!("wrote {GENERATED}"))
}

/// What flatc makes of `schema`, by way of a folder of its own that is removed again.
fn generate(schema: &Path) -> Result<Vec<u8>, String> {
    let folder = scratch_folder().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let generated = run_flatc(schema, &folder);
    // Leaving the folder behind costs a few kilobytes and breaks nothing.
    let _ = fs::remove_dir_all(&folder);
    generated
}

fn run_flatc(schema: &Path, folder: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new(flatc_fork::flatc())
        .arg("--rust")
        .arg("--warnings-as-errors")
        .arg("-o")
        .arg(folder)
        .arg(schema)
        .output()
        .map_err(|error| format!("cannot start flatc: {error}"))?;
    if !output.status.success() {
        let complaint = [output.stdout, output.stderr].concat();
        return Err(format!("flatc refuses {SCHEMA}:\n{}", String::from_utf8_lossy(&complaint)));
    }
    let made = folder.join("switchyard_generated.rs");
    fs::read(&made).map_err(|error| format!("flatc did not write {}: {error}", made.display()))
}

fn scratch_folder() -> io::Result<PathBuf> {
    let folder = env::temp_dir().join(format!("switchyard-flatgen-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

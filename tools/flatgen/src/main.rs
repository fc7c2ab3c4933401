//! Generates code from `schema/fbs/` with a vendored flatc, so that nobody needs the right one installed: that of the server
//! into `schema/src/generated/`, and that of the foreign clients into `tests/foreign/generated/`. `--check` changes nothing and
//! fails when the committed code is not what flatc makes of the schema.
//!
//! Needs cmake and a C++ compiler (`apt-get install cmake g++`): flatc is built from source on the first run.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

const SCHEMA: &str = "schema/fbs/switchyard.fbs";

/// Code of one language.
struct Language {
    /// What asks flatc for it.
    flags: &'static [&'static str],
    /// What it writes.
    file: &'static str,
    /// Where that is committed.
    folder: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language { flags: &["--rust"], file: "switchyard_generated.rs", folder: "schema/src/generated" },
    Language {
        flags: &["--python", "--gen-onefile"],
        file: "switchyard_generated.py",
        folder: "tests/foreign/generated",
    },
];

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
    let said: Result<Vec<String>, String> = LANGUAGES.iter().map(|language| run_for(language, check)).collect();
    said.map(|said| said.join("\n"))
}

fn run_for(language: &Language, check: bool) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fresh = generate(language, &root.join(SCHEMA))?;
    let generated = format!("{}/{}", language.folder, language.file);
    let target = root.join(&generated);
    let committed = match fs::read(&target) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("cannot read {generated}: {error}")),
    };
    if fresh == committed {
        return Ok(format!("{generated} is up to date"));
    }
    if check {
        return Err(format!(
            "{generated} is not what flatc makes of {SCHEMA}; \
             run `cargo run --manifest-path tools/flatgen/Cargo.toml` and commit the result"
        ));
    }
    fs::write(&target, fresh).map_err(|error| format!("cannot write {generated}: {error}"))?;
    Ok(format!("wrote {generated}"))
}

/// What flatc makes of `schema`, by way of a folder of its own that is removed again.
fn generate(language: &Language, schema: &Path) -> Result<Vec<u8>, String> {
    let folder = scratch_folder().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let generated = run_flatc(language, schema, &folder);
    // Leaving the folder behind costs a few kilobytes and breaks nothing.
    let _ = fs::remove_dir_all(&folder);
    generated
}

fn run_flatc(language: &Language, schema: &Path, folder: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new(flatc_fork::flatc())
        .args(language.flags)
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
    let made = folder.join(language.file);
    fs::read(&made).map_err(|error| format!("flatc did not write {}: {error}", made.display()))
}

fn scratch_folder() -> io::Result<PathBuf> {
    let folder = env::temp_dir().join(format!("switchyard-flatgen-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

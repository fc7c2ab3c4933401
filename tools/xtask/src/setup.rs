//! Installs what the tests need besides Rust: Debian packages, and environments of the project's own for Python and Node.

use std::path::Path;

use crate::steps::{Outcome, available, root, run, target};

/// Debian packages that the tests need, each with a program that shows whether it is there.
const DEBIAN: &[(&str, &str)] =
    &[("cmake", "cmake"), ("redis-server", "redis-server"), ("nodejs", "node"), ("npm", "npm")];

/// Runs the Autobahn Testsuite, which it installs by itself.
pub(crate) const AUTOBAHN: &str = "tests/conformance/autobahn.py";

/// Installs whatever is missing.
pub(crate) fn install() -> Outcome {
    debian(DEBIAN)?;
    if !available("cargo", &["deny", "--version"]) {
        // A debug build checks as well and installs in a third of the time.
        run("cargo", &["install", "--locked", "--debug", "cargo-deny"])?;
    }
    node_modules()?;
    promtool()?;
    python_environment()?;
    // Last, because it needs what no package has any more, and says so where that is missing.
    run(AUTOBAHN, &["--install"])
}

/// Installs those of these packages whose program is missing.
pub(crate) fn debian(packages: &[(&str, &str)]) -> Outcome {
    let missing = packages.iter().filter(|(_, program)| !available(program, &["--version"]));
    let packages: Vec<&str> = missing.map(|(package, _)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let mut line = vec!["install", "--yes", "--no-install-recommends"];
    line.extend_from_slice(&packages);
    run("apt-get", &["update", "--quiet"])?;
    run("apt-get", &line).map_err(|reason| format!("{reason}; install these packages yourself: {}", packages.join(" ")))
}

/// The Python of the tests' own environment, made on first use from `tests/requirements.txt`.
pub(crate) fn python_environment() -> Result<String, String> {
    let folder = target().join("python");
    let python = folder.join("bin/python");
    let requirements = root().join("tests/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements)
        .map_err(|error| format!("{} cannot be read: {error}", requirements.display()))?;
    let marker = folder.join("installed.txt");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(text(&python));
    }
    run("python3", &["-m", "venv", &text(&folder)])?;
    run(&text(&python), &["-m", "pip", "install", "--quiet", "--requirement", &text(&requirements)])?;
    std::fs::write(&marker, wanted).map_err(|error| format!("{} cannot be written: {error}", marker.display()))?;
    Ok(text(&python))
}

/// Prometheus' own checker: the one of this machine, else the one in Debian's package. That package is unpacked and not
/// installed, for installing it would start a server.
pub(crate) fn promtool() -> Result<String, String> {
    const NAME: &str = "promtool";
    if available(NAME, &["--version"]) {
        return Ok(NAME.to_owned());
    }
    let folder = target().join("prometheus");
    let folder = if folder.is_absolute() { folder } else { root().join(folder) };
    let program = text(&folder.join("usr/bin").join(NAME));
    if !available(&program, &["--version"]) {
        std::fs::create_dir_all(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        run("apt-get", &["update", "--quiet"])?;
        // `apt-get download` knows no other place than the folder that it runs in.
        let unpack = "cd \"$1\" && apt-get download --quiet prometheus && dpkg-deb --extract prometheus_*.deb .";
        run("sh", &["-e", "-c", unpack, "sh", &text(&folder)])
            .map_err(|reason| format!("{reason}; put promtool of Prometheus on the PATH yourself"))?;
    }
    Ok(program)
}

/// The folder of the JavaScript client's modules, made on first use from `tests/foreign/node/package-lock.json`.
pub(crate) fn node_modules() -> Result<String, String> {
    let (source, folder) = (root().join("tests/foreign/node"), target().join("node"));
    let marker = folder.join("installed.json");
    let failed = |path: &Path, error: std::io::Error| format!("{} cannot be used: {error}", path.display());
    let lock = source.join("package-lock.json");
    let wanted = std::fs::read_to_string(&lock).map_err(|error| failed(&lock, error))?;
    if !std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(source.join(name), folder.join(name)).map_err(|error| failed(&folder, error))?;
        }
        run("npm", &["ci", "--no-audit", "--no-fund", "--prefix", &text(&folder)])?;
        std::fs::write(&marker, wanted).map_err(|error| failed(&marker, error))?;
    }
    let modules = folder.join("node_modules");
    Ok(text(&if modules.is_absolute() { modules } else { root().join(modules) }))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

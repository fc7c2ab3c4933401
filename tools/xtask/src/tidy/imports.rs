//! Who may import whom. A crate that stands here may import only the crates of ours that are listed beside it; every
//! crate of the workspace must stand here. The runtimes of the threads may be imported by one crate each.

use std::collections::BTreeMap;
use std::process::Command;

use crate::steps::root;

const SCHEMA: &str = "switchyard-schema";
const GATEWAY_CORE: &str = "switchyard-gateway-core";
const GATEWAY_SERVER: &str = "switchyard-gateway-server";
const RING: &str = "switchyard-ring";
const LOG: &str = "switchyard-log";
const ROUTER_CORE: &str = "switchyard-router-core";
const ENGINE: &str = "switchyard-engine";
const ROUTER_SERVER: &str = "switchyard-router-server";
const CLIENT_CORE: &str = "switchyard-client-core";
const CLIENT: &str = "switchyard-client";
const SWARM: &str = "switchyard-swarm";
const BENCH: &str = "switchyard-bench";
const TUNING: &str = "switchyard-tuning";

/// Crate → what of ours it may import outside tests.
const ALLOWED: &[(&str, &[&str])] = &[
    (SCHEMA, &[]),
    (RING, &[]),
    (TUNING, &[]),
    (GATEWAY_CORE, &[SCHEMA]),
    (ROUTER_CORE, &[SCHEMA]),
    (LOG, &[SCHEMA]),
    (CLIENT_CORE, &[SCHEMA]),
    (ENGINE, &[SCHEMA, ROUTER_CORE, LOG]),
    (GATEWAY_SERVER, &[SCHEMA, RING, GATEWAY_CORE]),
    (ROUTER_SERVER, &[SCHEMA, RING, ROUTER_CORE, LOG, ENGINE]),
    (CLIENT, &[SCHEMA, CLIENT_CORE, GATEWAY_CORE]),
    ("switchyard", &[SCHEMA, RING, GATEWAY_CORE, GATEWAY_SERVER, ROUTER_SERVER, TUNING]),
    ("xtask", &[]),
    (SWARM, &[SCHEMA, GATEWAY_CORE, CLIENT_CORE]),
    ("chat", &[SCHEMA, GATEWAY_CORE, CLIENT]),
    ("logview", &[SCHEMA, LOG]),
    ("switchyard-fuzz", &[SCHEMA, GATEWAY_CORE, LOG]),
    ("switchyard-sim", &[SCHEMA, RING, GATEWAY_CORE, ROUTER_CORE, LOG, ENGINE, CLIENT_CORE]),
    (BENCH, &[SCHEMA, RING, GATEWAY_CORE, ROUTER_CORE, LOG, ENGINE, ROUTER_SERVER, SWARM]),
    ("switchyard-peers", &[BENCH]),
];

/// Runtime → the crate that alone may import it, in tests and builds too (`docs/adr/0014-two-runtimes-and-a-side-thread.md`).
const RUNTIMES: &[(&str, &str)] = &[("monoio", GATEWAY_SERVER), ("glommio", ROUTER_SERVER)];

/// Every import that is not allowed, as a sentence.
pub(super) fn check() -> Result<Vec<String>, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo metadata cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    Ok(breaches(&metadata))
}

fn breaches(metadata: &serde_json::Value) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(name) else {
            breaches
                .push(format!("{name}: not in the table of tools/xtask/src/tidy/imports.rs; say what it may import"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let ours = dependency["path"].is_string();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            let target = dependency["name"].as_str().unwrap_or_default();
            if ours && !for_tests && !may.contains(&target) {
                breaches.push(format!("{name} imports {target}, which ARCHITECTURE.md does not allow"));
            }
            if RUNTIMES.iter().any(|&(runtime, only)| runtime == target && only != name) {
                breaches.push(format!("{name} imports {target}, which docs/adr/0014 keeps in one crate"));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(name: &str, dependency: serde_json::Value, expect: usize) {
        let metadata = json!({"packages": [{"name": name, "dependencies": [dependency]}]});
        let breaches = breaches(&metadata);
        assert_eq!(breaches.len(), expect, "{breaches:?}");
    }

    #[test]
    fn given_one_breach_of_each_rule_when_checked_then_each_is_reported() {
        let of_crates_io = |name: &str, kind: Option<&str>| json!({"name": name, "kind": kind});
        let ours = |name: &str, kind: Option<&str>| json!({"name": name, "kind": kind, "path": "/checkout"});
        check(ROUTER_CORE, ours(SCHEMA, None), 0);
        check(ROUTER_CORE, ours(ENGINE, None), 1);
        check(ROUTER_CORE, ours(ENGINE, Some("dev")), 0);
        check("a-new-crate", of_crates_io("bytes", None), 1);
        check(GATEWAY_SERVER, of_crates_io("monoio", None), 0);
        check(ROUTER_SERVER, of_crates_io("glommio", None), 0);
        check(ROUTER_SERVER, of_crates_io("monoio", None), 1);
        check("switchyard", of_crates_io("glommio", None), 1);
        check(BENCH, of_crates_io("monoio", Some("dev")), 1);
        check("switchyard", of_crates_io("tokio", None), 0);
    }
}

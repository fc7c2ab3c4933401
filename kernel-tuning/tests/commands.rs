//! The real command over a tree of settings of its own: what it says, what it writes, what it refuses.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io, thread};

use switchyard_tuning::{Place, Profile, SETTINGS};

/// A folder that looks like `/proc/sys`, and a place for the state file.
struct Host {
    folder: tempfile::TempDir,
}

/// What every setting of the tree is at first: far from what any profile wants.
fn untuned(key: &str) -> &'static str {
    match key {
        "kernel.io_uring_disabled" => "2\n",
        "kernel.numa_balancing" | "net.ipv4.tcp_slow_start_after_idle" => "1\n",
        "net.ipv4.ip_local_port_range" => "32768\t60999\n",
        "net.ipv4.tcp_mem" => "190587\t254117\t381174\n",
        "net.ipv4.tcp_rmem" => "4096\t131072\t6291456\n",
        "net.ipv4.tcp_wmem" => "4096\t16384\t4194304\n",
        "net.ipv4.tcp_notsent_lowat" => "4294967295\n",
        "net.netfilter.nf_conntrack_count" => "7\n",
        _ => "128\n",
    }
}

impl Host {
    fn untuned() -> Self {
        let host = Self { folder: tempfile::tempdir().expect("a folder") };
        for setting in SETTINGS {
            if let Some(key) = setting.place.sysctl() {
                host.set(key, untuned(key));
            }
            if let Place::SysctlInUse { count, .. } = setting.place {
                host.set(count, untuned(count));
            }
        }
        host
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("sys").join(key.replace('.', "/"))
    }

    fn set(&self, key: &str, text: &str) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn get(&self, key: &str) -> String {
        let text = fs::read_to_string(self.path(key)).expect("it is there");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Every sysctl of the table, with its value.
    fn all(&self) -> Vec<(&'static str, String)> {
        SETTINGS.iter().filter_map(|setting| setting.place.sysctl()).map(|key| (key, self.get(key))).collect()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state/tuning.toml")
    }

    fn tune(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tune"));
        command.args(arguments).arg("--proc-sys").arg(self.folder.path().join("sys"));
        if arguments[0] != "check" {
            command.arg("--state").arg(self.state());
        }
        command.output().expect("the binary starts")
    }
}

#[track_caller]
fn ended(output: &Output, code: i32, expect: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in expect {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn given_an_untuned_host_when_applied_and_reverted_then_every_old_value_is_back() {
    for profile in Profile::ALL {
        let (host, name) = (Host::untuned(), profile.name());
        let before = host.all();
        ended(&host.tune(&["check", "--profile", name]), 1, &["FAIL", "kernel.io_uring_disabled", "fix: sysctl -w"]);
        ended(&host.tune(&["apply", "--profile", name]), 0, &["2 -> 0", "nothing was written"]);
        assert_eq!(host.all(), before, "without --yes nothing is written");
        assert!(!host.state().exists());

        ended(&host.tune(&["apply", "--profile", name, "--yes"]), 0, &["tune revert"]);
        ended(&host.tune(&["check", "--profile", name]), 0, &[" 0 failed"]);
        for setting in SETTINGS {
            let (Some(key), Some(wanted)) = (setting.place.sysctl(), setting.wanted(profile, Profile::CONNECTIONS))
            else {
                continue;
            };
            assert_eq!(host.get(key), wanted.to_string(), "{key}");
        }
        ended(&host.tune(&["apply", "--profile", name, "--yes"]), 0, &["nothing to change"]);

        ended(&host.tune(&["revert"]), 0, &["0 -> 2", "nothing was written"]);
        ended(&host.tune(&["revert", "--yes"]), 0, &["put back"]);
        assert_eq!(host.all(), before);
        assert!(!host.state().exists(), "what was put back is forgotten");
    }
}

#[test]
fn given_remembered_values_when_another_profile_is_applied_then_it_is_refused_and_nothing_changes() {
    let host = Host::untuned();
    ended(&host.tune(&["apply", "--profile", "low-latency", "--yes"]), 0, &[]);
    let (between, remembered) = (host.all(), fs::read(host.state()).expect("it is there"));
    for arguments in [&["apply", "--yes"][..], &["apply"]] {
        ended(&host.tune(arguments), 2, &["tuning.toml", "tune revert --yes", "--state"]);
    }
    assert_eq!(host.all(), between);
    assert_eq!(fs::read(host.state()).expect("it is there"), remembered);
}

#[test]
fn given_values_that_somebody_changed_after_us_when_reverted_then_they_stay() {
    let host = Host::untuned();
    ended(&host.tune(&["apply", "--yes"]), 0, &[]);
    host.set("net.core.somaxconn", "65535\n");
    host.set("fs.file-max", untuned("fs.file-max"));
    ended(&host.tune(&["revert", "--yes"]), 0, &["65535  (stays", "128  (stays)"]);
    assert_eq!(host.get("net.core.somaxconn"), "65535");
    assert_eq!(host.get("net.ipv4.tcp_wmem"), "4096 16384 4194304");
    assert!(!host.state().exists());
}

#[test]
fn given_nothing_remembered_or_values_of_another_tree_when_reverted_then_refused() {
    let host = Host::untuned();
    ended(&host.tune(&["revert", "--yes"]), 2, &["does not exist", "nothing was applied"]);
    ended(&host.tune(&["apply", "--yes"]), 0, &[]);
    let between = host.all();
    let state = fs::read_to_string(host.state()).expect("it is there");
    let elsewhere = state.replace(&host.folder.path().join("sys").display().to_string(), "/proc/sys");
    fs::write(host.state(), elsewhere).expect("written");
    ended(&host.tune(&["revert", "--yes"]), 2, &["values of /proc/sys", "--proc-sys /proc/sys"]);
    fs::write(host.state(), &state[..state.len() / 2]).expect("written");
    ended(&host.tune(&["revert", "--yes"]), 2, &["damaged", "sysctl -w"]);
    assert_eq!(host.all(), between);
}

#[test]
fn given_a_setting_that_this_kernel_lacks_when_applied_then_the_others_are_set_and_it_is_not_made() {
    let host = Host::untuned();
    for key in ["net.ipv4.tcp_mem", "kernel.io_uring_disabled"] {
        fs::remove_file(host.path(key)).expect("removed");
    }
    host.set("net.netfilter.nf_conntrack_count", "0\n");
    let lacking = ["WARN  net.ipv4.tcp_mem", "does not exist", "not in use", "PASS  kernel.io_uring_disabled"];
    ended(&host.tune(&["check"]), 1, &lacking);
    ended(&host.tune(&["apply", "--yes"]), 0, &["net.ipv4.tcp_mem does not exist"]);
    assert!(!host.path("net.ipv4.tcp_mem").exists() && !host.path("kernel.io_uring_disabled").exists());
    assert_eq!(host.get("net.core.somaxconn"), "4096");
    assert_eq!(host.get("net.netfilter.nf_conntrack_max"), "128", "nobody tracks connections");
}

#[test]
fn given_better_values_than_wanted_when_applied_then_they_are_not_made_worse() {
    let host = Host::untuned();
    host.set("net.core.somaxconn", "65535\n");
    host.set("net.ipv4.ip_local_port_range", "1024\t60999\n");
    ended(&host.tune(&["apply", "--yes"]), 0, &["1024 60999 -> 1024 65535"]);
    assert_eq!(host.get("net.core.somaxconn"), "65535");
}

/// A pipe stands for a sysctl, and its other end for a kernel that makes 1,024 of 4,096.
#[test]
fn given_a_value_that_the_kernel_adjusts_when_applied_then_the_old_one_is_put_back_at_once() {
    let host = Host::untuned();
    let path = host.path("net.core.somaxconn");
    fs::remove_file(&path).expect("removed");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo starts").success());
    let (told, written) = mpsc::channel();
    thread::spawn(move || -> io::Result<()> {
        fs::write(&path, "128\n")?;
        for is in ["1024\n", "128\n"] {
            let _ = told.send(fs::read_to_string(&path)?);
            fs::write(&path, is)?;
        }
        Ok(())
    });
    ended(&host.tune(&["apply", "--yes"]), 1, &["net.core.somaxconn cannot be 4096: the kernel makes 1024 of it"]);
    for expect in ["4096\n", "128\n"] {
        assert_eq!(written.recv_timeout(Duration::from_secs(10)).as_deref(), Ok(expect));
    }
}

/// The kernel's own settings of a network namespace, the rest a folder: nothing outside this test changes.
#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run here says so")]
fn given_a_network_namespace_when_applied_and_reverted_then_the_kernel_has_the_old_values_again() {
    if !Command::new("unshare").args(["--net", "true"]).output().expect("unshare starts").status.success() {
        eprintln!("skipped: this user may not have a network namespace");
        return;
    }
    let host = Host::untuned();
    let net = host.folder.path().join("sys/net");
    fs::remove_dir_all(&net).expect("removed");
    std::os::unix::fs::symlink("/proc/sys/net", &net).expect("linked");
    let show = "cat /proc/sys/net/ipv4/tcp_notsent_lowat /proc/sys/net/ipv4/tcp_slow_start_after_idle";
    let tune = |what: &str| {
        let (binary, sys, state) = (env!("CARGO_BIN_EXE_tune"), host.folder.path().join("sys"), host.state());
        format!("{binary} {what} --yes --proc-sys {} --state {}", sys.display(), state.display())
    };
    let script =
        format!("set -e; {show}; {} >&2; {show}; {} >&2; {show}", tune("apply --profile low-latency"), tune("revert"));
    let of_this_host = || fs::read_to_string("/proc/sys/net/ipv4/tcp_notsent_lowat").expect("readable");
    let before = of_this_host();
    let output = Command::new("unshare").args(["--net", "sh", "-c", &script]).output().expect("unshare starts");
    ended(&output, 0, &[]);
    assert_eq!(of_this_host(), before);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4294967295\n1\n131072\n0\n4294967295\n1\n");
}

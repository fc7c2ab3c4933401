//! Whether the kernel gives the rings that gateway threads and router cores need.

use std::io;

use switchyard_tuning::{Finding, SysctlTree};

use super::host;

/// Linux before this is not what the server is built and tested on (`README.md`).
const OLDEST: (u32, u32) = (6, 1);

pub(super) fn examine(tree: &SysctlTree) -> Vec<Finding> {
    let disabled = tree.read("kernel.io_uring_disabled").ok().map(|value| value.numbers()[0]);
    vec![
        judge_kernel(&host::kernel_release()),
        judge_ring("gateway ring", switchyard_gateway_server::missing_ring_operations(), disabled),
        judge_ring("router ring", switchyard_router_server::executor::missing_ring_operations(), disabled),
    ]
}

fn judge_kernel(release: &str) -> Finding {
    const NAME: &str = "kernel";
    let (major, minor) = OLDEST;
    match host::kernel_version(release) {
        Some(version) if version >= OLDEST => {
            Finding::pass(NAME, release, format!("{major}.{minor} or newer is needed"))
        }
        Some(_) => Finding::fail(
            NAME,
            release,
            format!(
                "gateway threads set their rings up in a way that came with 6.0, and nothing before {major}.{minor} is tested"
            ),
            format!("boot Linux {major}.{minor} or newer, for example your distribution's current kernel package"),
        ),
        None => Finding::warn(
            NAME,
            format!("`{release}` is no version"),
            "whether the kernel is new enough shows in the next lines",
            "uname -r",
        ),
    }
}

fn judge_ring(name: &str, missing: io::Result<Vec<&'static str>>, disabled: Option<u64>) -> Finding {
    const MEANING: &str = "without it the server does not start";
    match missing {
        Ok(missing) if missing.is_empty() => Finding::pass(name, "can be made, with every operation that is used", ""),
        Ok(missing) => Finding::fail(
            name,
            format!("can be made, without {}", missing.join(", ")),
            MEANING,
            "boot a newer kernel; in a container or sandbox, let it have the host's io_uring",
        ),
        Err(error) => {
            let fix = match (error.kind(), disabled) {
                (io::ErrorKind::OutOfMemory, _) => "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
                (_, Some(1)) => {
                    "sysctl -w kernel.io_uring_disabled=0, or put the user into the group kernel.io_uring_group"
                }
                (_, Some(2)) => "sysctl -w kernel.io_uring_disabled=0",
                (io::ErrorKind::PermissionDenied, _) => {
                    "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile: for Docker, \
                     --security-opt seccomp=<profile>; in a systemd unit, SystemCallFilter as in packaging/switchyard.service"
                }
                (io::ErrorKind::Unsupported, _) => "boot a kernel with CONFIG_IO_URING",
                _ => "boot Linux 6.1 or newer",
            };
            Finding::fail(name, format!("cannot be made: {error}"), MEANING, fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use switchyard_gateway_server::SpawnError;
    use switchyard_router_server::executor::ExecutorError;
    use switchyard_tuning::Verdict;

    use super::*;

    #[test]
    fn given_releases_then_those_before_6_1_fail() {
        for (release, expect) in [
            ("6.1.0-13-amd64", Verdict::Pass),
            ("6.18.44-fc-v657", Verdict::Pass),
            ("7.0", Verdict::Pass),
            ("5.15.0-91-generic", Verdict::Fail),
            ("6.0.19", Verdict::Fail),
            ("", Verdict::Warn),
        ] {
            assert_eq!(judge_kernel(release).verdict, expect, "{release}");
        }
    }

    #[test]
    fn given_a_kernel_that_is_too_old_then_every_message_names_the_same_release() {
        let (major, minor) = OLDEST;
        let einval = || io::Error::from_raw_os_error(22);
        for text in [
            judge_ring("ring", Err(einval()), None).fix.expect("a failure says what to do"),
            SpawnError::IoUring(einval()).to_string(),
            ExecutorError::NoIoUring(einval()).to_string(),
        ] {
            assert!(text.contains(&format!("{major}.{minor} or newer")), "{text}");
        }
    }

    #[test]
    fn given_a_ring_that_cannot_be_made_then_the_fix_names_what_is_in_the_way() {
        let refused = |number| Err(io::Error::from_raw_os_error(number));
        let (eperm, enomem, enosys, einval) = (1, 12, 38, 22);
        for (missing, disabled, expect) in [
            (refused(eperm), Some(2), "sysctl -w kernel.io_uring_disabled=0"),
            (refused(eperm), Some(1), "io_uring_group"),
            (refused(eperm), Some(0), "seccomp"),
            (refused(enomem), Some(0), "ulimit -l"),
            (refused(enosys), None, "CONFIG_IO_URING"),
            (refused(einval), None, "6.1"),
            (Ok(vec!["FALLOCATE"]), None, "newer kernel"),
        ] {
            let finding = judge_ring("ring", missing, disabled);
            assert_eq!(finding.verdict, Verdict::Fail);
            let fix = finding.fix.expect("a failure says what to do");
            assert!(fix.contains(expect), "{fix}");
        }
        assert_eq!(judge_ring("ring", Ok(Vec::new()), Some(0)).verdict, Verdict::Pass);
    }
}

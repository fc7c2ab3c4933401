//! Sysctls, judged by the table of `kernel-tuning/` for so many connections.

use switchyard_tuning::{Finding, Profile, SETTINGS, SysctlTree, Verdict};

use super::Needs;

const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

/// Open files of the whole host.
pub(super) fn files(needs: &Needs, tree: &SysctlTree) -> Vec<Finding> {
    judge(needs, tree, Profile::MillionWebsocket, "fs.").collect()
}

/// Backlog, buffers, ports; where QUIC is spoken also the buffers of its sockets, which are as large as the kernel lets them.
pub(super) fn examine(needs: &Needs, tree: &SysctlTree) -> Vec<Finding> {
    let of_websockets = judge(needs, tree, Profile::MillionWebsocket, "net.");
    let of_quic = needs.quic.then(|| judge(needs, tree, Profile::QuicMobile, "net.core.")).into_iter().flatten();
    of_websockets.map(|finding| relaxed(needs, tree, finding)).chain(of_quic).collect()
}

fn judge(needs: &Needs, tree: &SysctlTree, profile: Profile, prefix: &str) -> impl Iterator<Item = Finding> {
    let settings =
        SETTINGS.iter().filter(move |setting| setting.place.sysctl().is_some_and(|key| key.starts_with(prefix)));
    settings.filter_map(move |setting| setting.judge(profile, needs.connections, tree))
}

/// Whether its fix is to set a sysctl.
pub(super) fn is_to_set(finding: &Finding) -> bool {
    finding.fix.as_ref().is_some_and(|fix| fix.starts_with("sysctl -w "))
}

/// A load generator that connects less often than there are ports has enough of them, however small the range.
fn relaxed(needs: &Needs, tree: &SysctlTree, finding: Finding) -> Finding {
    if finding.name != PORT_RANGE || finding.verdict == Verdict::Pass {
        return finding;
    }
    let Ok(range) = tree.read(PORT_RANGE) else { return finding };
    let enough = range.numbers().last().zip(range.numbers().first()).is_some_and(|(last, first)| {
        let ports = last.saturating_sub(*first) + 1;
        needs.connections <= ports
    });
    if enough {
        return Finding::pass(PORT_RANGE, range.to_string(), "enough for a load generator on this host");
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::needs;
    use super::*;

    fn tree(folder: &Path, values: &[(&str, &str)]) -> SysctlTree {
        for (key, value) in values {
            let path = folder.join(key.replace('.', "/"));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, value).expect("written");
        }
        SysctlTree::at(folder)
    }

    fn verdict(findings: &[Finding], name: &str) -> Verdict {
        findings.iter().find(|finding| finding.name == name).expect("it was judged").verdict
    }

    #[test]
    fn given_the_values_of_a_small_host_then_they_are_judged_for_the_connections_that_are_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = tree(
            folder.path(),
            &[
                ("fs.file-max", "200000"),
                ("fs.nr_open", "1048576"),
                ("net.core.somaxconn", "128"),
                ("net.core.rmem_max", "212992"),
                ("net.core.wmem_max", "4194304"),
                ("net.ipv4.tcp_mem", "47646 63529 95292"),
                (PORT_RANGE, "32768 60999"),
                ("net.netfilter.nf_conntrack_count", "3"),
                ("net.netfilter.nf_conntrack_max", "65536"),
            ],
        );
        let few = Needs { connections: 1_000, ..needs() };
        assert_eq!(verdict(&files(&few, &tree), "fs.file-max"), Verdict::Pass);
        let findings = examine(&few, &tree);
        for (name, expect) in
            [(PORT_RANGE, Verdict::Pass), ("net.ipv4.tcp_mem", Verdict::Pass), ("net.core.somaxconn", Verdict::Warn)]
        {
            assert_eq!(verdict(&findings, name), expect, "{name}");
        }
        assert!(!findings.iter().any(|finding| finding.name == "net.core.rmem_max"), "WebSockets have other buffers");
        let findings = examine(&Needs { quic: true, ..few }, &tree);
        assert_eq!(verdict(&findings, "net.core.rmem_max"), Verdict::Warn);
        assert_eq!(verdict(&findings, "net.core.wmem_max"), Verdict::Pass);
        let many = Needs { connections: 200_000, ..needs() };
        assert_eq!(verdict(&files(&many, &tree), "fs.file-max"), Verdict::Fail);
        let findings = examine(&many, &tree);
        for (name, expect) in [
            (PORT_RANGE, Verdict::Warn),
            ("net.ipv4.tcp_mem", Verdict::Warn),
            ("net.netfilter.nf_conntrack_max", Verdict::Fail),
        ] {
            assert_eq!(verdict(&findings, name), expect, "{name}");
        }
    }
}

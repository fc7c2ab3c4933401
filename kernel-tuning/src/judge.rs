//! Whether a setting is as a profile wants it.

use crate::generate::limits_value;
use crate::report::{Finding, Verdict};
use crate::setting::{Limit, Place, Profile, Setting, Weight};
use crate::sysctl::{SysctlError, SysctlTree};
use crate::value::Value;

impl Setting {
    /// Compares what is with what `profile` wants for so many connections. `None` when the profile leaves it alone, or when
    /// it can only be seen once the server runs (a directive of its systemd unit).
    #[must_use]
    pub fn judge(&self, profile: Profile, connections: u64, tree: &SysctlTree) -> Option<Finding> {
        let wanted = self.wanted(profile, connections)?;
        match self.place {
            Place::Sysctl(key) => Some(self.judge_read(key, tree, &wanted)),
            Place::SysctlSince(key) => Some(match tree.read(key) {
                Err(SysctlError::Absent { .. }) => Finding::pass(key, "not there", "which is as wanted"),
                _ => self.judge_read(key, tree, &wanted),
            }),
            Place::SysctlInUse { key, count } => {
                let unused = || Finding::pass(key, format!("not in use ({count} is 0 or not there)"), "");
                Some(if tree.counts(count) { self.judge_read(key, tree, &wanted) } else { unused() })
            }
            Place::Limit(limit) => Some(self.judge_limit(limit, limit.of_this_process(), &wanted)),
            Place::Directive(_) => None,
        }
    }

    fn judge_read(&self, key: &str, tree: &SysctlTree, wanted: &Value) -> Finding {
        let is = match tree.read(key) {
            Ok(is) => is,
            Err(error @ SysctlError::Absent { .. }) => {
                let fix = format!("look at it on the host itself: sysctl {key}");
                return Finding::new(key, Verdict::Warn, error.to_string(), self.reason, fix);
            }
            Err(error) => {
                let fix = format!("ls -l {}", tree.path(key).display());
                return Finding::new(key, self.missed(), error.to_string(), self.reason, fix);
            }
        };
        if is.holds(self.rule, wanted) {
            return Finding::pass(key, is.to_string(), "");
        }
        let found = format!("{is}; wanted: {} {wanted}", self.rule.words());
        Finding::new(key, self.missed(), found, self.reason, command(key, &is.moved_to(self.rule, wanted)))
    }

    fn judge_limit(&self, limit: Limit, is: u64, wanted: &Value) -> Finding {
        let shown = if is == u64::MAX { "unlimited".to_owned() } else { is.to_string() };
        let found = format!("{shown} in this shell (ulimit {})", limit.flag());
        if Value::new(vec![is]).holds(self.rule, wanted) {
            return Finding::pass(limit.name(), found, "");
        }
        let found = format!("{found}; wanted: {} {wanted}", self.rule.words());
        let (flag, in_shell, unit) = (limit.flag(), limits_value(limit, wanted), limit.directive());
        let fix = format!("ulimit {flag} {in_shell} before a start by hand; {unit}={wanted} in the systemd unit");
        Finding::new(limit.name(), self.missed(), found, self.reason, fix)
    }

    const fn missed(&self) -> Verdict {
        match self.weight {
            Weight::Needed => Verdict::Fail,
            Weight::Helps => Verdict::Warn,
        }
    }
}

/// The command that sets a sysctl.
fn command(key: &str, value: &Value) -> String {
    if value.numbers().len() == 1 { format!("sysctl -w {key}={value}") } else { format!("sysctl -w {key}='{value}'") }
}

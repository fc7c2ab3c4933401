//! From what is to what a profile wants, and back.
//!
//! A plan is made first and can be shown; carrying it out remembers every old value before the first one is replaced.

use crate::remembered::{Remembered, StateError, StateFile};
use crate::setting::{Place, Profile};
use crate::settings::SETTINGS;
use crate::sysctl::{SysctlError, SysctlTree};
use crate::value::Value;

/// A sysctl that gets another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its name.
    pub key: String,
    /// What it is now.
    pub before: Value,
    /// What it is to be.
    pub after: Value,
}

/// What is to be done about one sysctl.
#[derive(Debug)]
pub enum Planned {
    /// It is as it should be.
    Holds {
        /// Its name.
        key: String,
        /// What it is.
        is: Value,
    },
    /// It gets another value.
    Change(Change),
    /// The part of the kernel that it belongs to is not in use, or the kernel does without it.
    NotInUse {
        /// Its name.
        key: String,
    },
    /// Somebody else has changed it since; it stays as it is.
    Foreign {
        /// What it is, and what it was before ours.
        was: Change,
        /// What we had written.
        written: Value,
    },
    /// It cannot be read.
    Impossible(SysctlError),
}

/// What it takes to bring `tree` to `profile`. Limits and directives stand in files, not here.
#[must_use]
pub fn plan(profile: Profile, tree: &SysctlTree) -> Vec<Planned> {
    let of_setting = |setting: &crate::setting::Setting| {
        let key = setting.place.sysctl()?;
        let wanted = setting.wanted(profile, Profile::CONNECTIONS)?;
        if let Place::SysctlInUse { count, .. } = setting.place
            && !tree.counts(count)
        {
            return Some(Planned::NotInUse { key: key.to_owned() });
        }
        Some(match tree.read(key) {
            Ok(is) if is.holds(setting.rule, &wanted) => Planned::Holds { key: key.to_owned(), is },
            Ok(is) => {
                let after = is.moved_to(setting.rule, &wanted);
                Planned::Change(Change { key: key.to_owned(), before: is, after })
            }
            Err(SysctlError::Absent { key }) if setting.place.may_be_absent() => Planned::NotInUse { key },
            Err(error) => Planned::Impossible(error),
        })
    };
    SETTINGS.iter().filter_map(of_setting).collect()
}

/// What it takes to bring `tree` back to what is remembered.
#[must_use]
pub fn plan_revert(remembered: &Remembered, tree: &SysctlTree) -> Vec<Planned> {
    let of_change = |Change { key, before, after }: &Change| match tree.read(key) {
        Ok(is) if is == *before => Planned::Holds { key: key.clone(), is },
        Ok(is) if is == *after => Planned::Change(Change { key: key.clone(), before: is, after: before.clone() }),
        Ok(is) => Planned::Foreign {
            was: Change { key: key.clone(), before: is, after: before.clone() },
            written: after.clone(),
        },
        Err(error) => Planned::Impossible(error),
    };
    remembered.changes.iter().map(of_change).collect()
}

/// Remembers what the planned changes replace, then makes them. What could not be set is returned, and is as it was;
/// everything else is set.
///
/// # Errors
/// When the old values cannot be remembered, above all because some are remembered already; nothing is changed then.
pub fn apply(
    profile: Profile,
    planned: &[Planned],
    tree: &SysctlTree,
    state: &StateFile,
) -> Result<Vec<SysctlError>, StateError> {
    let replaced: Vec<Change> = changes(planned).cloned().collect();
    if replaced.is_empty() {
        return Ok(Vec::new());
    }
    let remembered = Remembered { profile: profile.name().to_owned(), root: tree.root().to_owned(), changes: replaced };
    state.remember(&remembered)?;
    let set = |change| set_or_leave(change, tree).err();
    Ok(changes(planned).filter_map(set).collect())
}

/// What the kernel makes another value of is put back at once: [`plan_revert`] would take that value for somebody else's, and
/// the old one would be forgotten.
fn set_or_leave(Change { key, before, after }: &Change, tree: &SysctlTree) -> Result<(), SysctlError> {
    let written = tree.write(key, after);
    if matches!(written, Err(SysctlError::Changed { .. })) {
        tree.write(key, before)?;
    }
    written
}

/// Puts old values back, and forgets them when every one of them was. What could not be set is returned, and is then still
/// remembered.
///
/// # Errors
/// When the state file cannot be removed; everything is set back then.
pub fn revert(planned: &[Planned], tree: &SysctlTree, state: &StateFile) -> Result<Vec<SysctlError>, StateError> {
    let put_back = |change: &Change| tree.write(&change.key, &change.after).err();
    let failed: Vec<SysctlError> = changes(planned).filter_map(put_back).collect();
    let unreadable = planned.iter().any(|planned| matches!(planned, Planned::Impossible(_)));
    if failed.is_empty() && !unreadable {
        state.forget()?;
    }
    Ok(failed)
}

fn changes(planned: &[Planned]) -> impl Iterator<Item = &Change> {
    planned.iter().filter_map(|planned| if let Planned::Change(change) = planned { Some(change) } else { None })
}

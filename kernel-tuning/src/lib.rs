//! What a host's kernel should be set to for Switchyard, in one table: value, reason, source and measured effect.
//!
//! Everything else is made from that table: the checks of `tune check` and `switchyard doctor`, what `tune apply` writes,
//! the files of `tune generate`, and the table in `README.md`.
//!
//! ```
//! use switchyard_tuning::{Profile, SETTINGS, SysctlTree, Verdict};
//!
//! let tree = SysctlTree::of_this_host();
//! for setting in SETTINGS {
//!     let Some(finding) = setting.judge(Profile::MillionWebsocket, 50_000, &tree) else { continue };
//!     if finding.verdict != Verdict::Pass {
//!         println!("{}: {}", finding.name, finding.found);
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod change;
pub mod generate;
mod judge;
pub mod limits;
mod remembered;
mod report;
mod setting;
mod settings;
mod sysctl;
pub mod text;
mod value;

pub use change::{Change, Planned, apply, plan, plan_revert, revert};
pub use remembered::{Remembered, StateError, StateFile};
pub use report::{Finding, Section, Verdict, print, worst};
pub use setting::{Amount, Effect, Limit, Place, Profile, Rule, Setting, Weight};
pub use settings::SETTINGS;
pub use sysctl::{SysctlError, SysctlTree};
pub use value::Value;

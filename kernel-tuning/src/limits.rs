//! Bounds of what is read, each with its reason.

/// Bytes of a file below `/proc/sys` at most: the settings of the table are a few numbers each.
pub const SYSCTL_BYTES_MAX: u64 = 4_096;
/// Bytes of a state file at most: a few lines for each setting.
pub const STATE_BYTES_MAX: u64 = 64 * 1024;
/// Columns of a report: what fits a terminal of usual width, and is still pleasant to read in a wider one.
pub const REPORT_COLUMNS: usize = 118;
/// The narrowest that the text of a report gets, however long the names beside it are.
pub const TEXT_COLUMNS_MIN: usize = 40;

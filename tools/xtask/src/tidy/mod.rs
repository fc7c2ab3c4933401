//! The rules of the house that a compiler does not know: import direction, file length, headers, leftovers, unsafe.

mod files;
mod imports;

use crate::steps::Outcome;

/// Checks every rule and reports all breaches at once.
pub(crate) fn run() -> Outcome {
    let mut breaches = imports::check()?;
    breaches.extend(files::check()?);
    if breaches.is_empty() {
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("  {breach}");
    }
    Err(format!("{} rules broken", breaches.len()))
}

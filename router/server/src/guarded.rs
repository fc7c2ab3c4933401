//! Calls into the state store's library. On some damaged files it panics where it should say so; a start that meets such a
//! file must refuse like any other, and say what to do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::StoreError;

/// What `work` gives, or why the store could not `action`.
pub(crate) fn guarded<T>(action: &'static str, work: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
    // Whatever is half done inside is not used again: the caller gives the store up.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(StoreError::while_trying_to(action)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let detail = format!("its files are damaged ({})", text.unwrap_or_default().replace('\n', ";"));
            Err(StoreError { action, detail, is_full: false })
        }
    }
}

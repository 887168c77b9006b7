//! Panics of users' code.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls code of a user's, which may be called again after it has panicked.
///
/// # Errors
/// What its panic said. The hook of the panic has told it already, and it may be a secret.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let said = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let said = said.unwrap_or("it does not say why").to_owned();
        discard(payload);
        said
    })
}

/// Drops what a panic carried, which may panic in turn.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
}

//! The primitives by which threads meet: those of std, or loom's where the models of their meeting
//! are checked. Everything that can change under another thread's hands is one of these; an `Arc` or
//! a `OnceLock` that is set once is not.

pub(crate) mod answer;
mod once;
mod waker_slot;

use std::sync::PoisonError;

pub(crate) use self::once::Once;
pub(crate) use self::waker_slot::WakerSlot;

#[cfg(snowshoe_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(not(snowshoe_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

#[cfg(all(feature = "thread", snowshoe_loom))]
pub(crate) use loom::sync::atomic::AtomicU8;
#[cfg(all(feature = "thread", not(snowshoe_loom)))]
pub(crate) use std::sync::atomic::AtomicU8;

/// Locks, also after a panic: every state under these locks is whole between any two statements that
/// could panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(snowshoe_loom)))]
pub(crate) mod last;

//! The primitives by which threads meet: those of std, or loom's where the models of their meeting
//! are checked. Everything that can change under another thread's hands is one of these; an `Arc` or
//! a `OnceLock` that is set once is not.

#[cfg(all(test, snowshoe_loom))]
mod models;

#[cfg(snowshoe_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};
#[cfg(not(snowshoe_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

//! Where users' threads meet the driver: one small lock each, never held across I/O, user code or a
//! wake.
//!
//! ```text
//!   handles                  shared                              driver
//!   Client ─────────► CommandQueue ── Command ─────────────────► carries it out, answers
//!   Producer ───────► Outbox ──┐
//!   Consumer ───────► Inbox ───┴──► Doorbell ── Ready (keys) ──► looks into them
//!   Channel ────────► ChannelInbox ◄──────────────────────────── events
//!   Events ◄────────── Hub ◄──────────────────────────────────── events
//!   StateWatch ◄────── Board ◄────────────────────────────────── how connections are doing
//! ```
//!
//! Nothing in here knows a handle: those stand above it and keep [`Shared`](handle::Shared) alive by
//! their [`Handle`](handle::Handle).

pub(crate) mod board;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod declaring;
pub(crate) mod doorbell;
pub(crate) mod handle;
pub(crate) mod hook;
pub(crate) mod hub;
pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod place;

#[cfg(test)]
mod testing;

#[cfg(all(test, snowshoe_loom))]
mod models;

#[cfg(all(test, not(snowshoe_loom)))]
mod drops;

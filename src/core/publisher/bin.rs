//! What has left a publisher, until it may be dropped.

use std::any::Any;
use std::mem;

use bytes::Bytes;

use super::Overrides;
use crate::outcome::{Unconfirmed, UnconfirmedReason};

/// What has left a publisher. Whoever has a lock around the publisher [empties](Self::empty) it there, and
/// drops what was in it without the lock: a body may be the last of its kind and run code of its owner's,
/// and with the last waker of a task goes the task, with all that it owns. Either may come back to the
/// same publisher.
#[derive(Debug)]
pub struct Bin<W> {
    bodies: Vec<Bytes>,
    waiters: Vec<W>,
    rest: Rest,
}

/// What few messages have.
#[derive(Debug, Default)]
pub(super) struct Rest(Vec<Item>);

/// Held to be dropped, and never looked at.
#[derive(Debug)]
enum Item {
    Overrides { _dropped: Overrides },
    Other { _dropped: Box<dyn Any + Send> },
}

/// What was in a bin.
#[derive(Debug)]
#[must_use = "it is to be dropped where there is no lock"]
pub struct Gone<W> {
    _one_of_each: (Option<Bytes>, Option<W>, Option<Item>),
    _more: Bin<W>,
}

impl<W> Default for Bin<W> {
    fn default() -> Self {
        Self {
            bodies: Vec::new(),
            waiters: Vec::new(),
            rest: Rest::default(),
        }
    }
}

impl<W> Bin<W> {
    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty() && self.waiters.is_empty() && self.rest.0.is_empty()
    }

    /// Takes out what is in it. Where that is one of a kind, as it is where a user gives something up or
    /// waits anew, the bin keeps its memory for the next.
    pub(super) fn empty(&mut self) -> Gone<W> {
        let one_of_each = (self.bodies.pop(), self.waiters.pop(), self.rest.0.pop());
        let more = if self.is_empty() {
            Self::default()
        } else {
            mem::take(self)
        };
        Gone {
            _one_of_each: one_of_each,
            _more: more,
        }
    }

    /// Drops what is in it, and keeps some of its memory.
    pub fn clear(&mut self) {
        let Self {
            bodies,
            waiters,
            rest: Rest(rest),
        } = self;
        clear(bodies);
        clear(waiters);
        clear(rest);
    }

    #[inline]
    pub(super) fn put_body(&mut self, body: Bytes) {
        self.bodies.push(body);
    }

    pub(super) fn put_waiter(&mut self, waiter: Option<W>) {
        self.waiters.extend(waiter);
    }

    #[inline]
    pub(super) fn put_overrides(&mut self, overrides: Option<Overrides>) {
        if let Some(overrides) = overrides {
            let item = Item::Overrides {
                _dropped: overrides,
            };
            self.rest.0.push(item);
        }
    }

    pub(super) fn rest(&mut self) -> &mut Rest {
        &mut self.rest
    }
}

impl Rest {
    /// Something of any kind, in the box that it has anyway.
    pub(super) fn put<T: Any + Send>(&mut self, gone: impl Into<Option<Box<T>>>) {
        if let Some(gone) = gone.into() {
            self.0.push(Item::Other { _dropped: gone });
        }
    }

    /// An outcome that nobody asks for.
    pub(super) fn put_outcome(&mut self, outcome: Option<Unconfirmed>) {
        if let Some(Unconfirmed {
            reason: UnconfirmedReason::Returned(returned),
            ..
        }) = outcome
        {
            self.put(returned);
        }
    }
}

fn clear<T>(some: &mut Vec<T>) {
    // As a rule there are none of most kinds.
    if !some.is_empty() {
        some.clear();
        some.shrink_to(RETAINED);
    }
}

/// How many of a kind a bin has memory for that is to be used again.
const RETAINED: usize = 1024;

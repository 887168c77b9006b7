use std::fmt;

use crate::outcome::Undelivered;
use crate::panics::caught;

/// A closure of a user's that hears of messages that were not delivered.
pub(crate) struct OnUndelivered(Option<Box<Tell>>);

type Tell = dyn Fn(Undelivered) + Send + Sync;

impl OnUndelivered {
    pub(crate) fn new(tell: impl Fn(Undelivered) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells of each, in order. That it panics over one is for the hook of panics to tell, and no reason not to
    /// hear of the others.
    pub(super) fn tell(&self, undelivered: impl Iterator<Item = Undelivered>) {
        let Some(tell) = &self.0 else {
            return;
        };
        for it in undelivered {
            _ = caught(|| tell(it));
        }
    }
}

impl Drop for OnUndelivered {
    fn drop(&mut self) {
        let tell = self.0.take();
        // It may be the driver that drops it.
        _ = caught(|| drop(tell));
    }
}

impl fmt::Debug for OnUndelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnUndelivered")
    }
}

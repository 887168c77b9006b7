//! Where the driver has the time from.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

#[cfg(feature = "tokio")]
use crate::on_tokio;
use crate::reactor;
#[cfg(feature = "testing")]
use crate::testing;

/// Tells the time, and makes timers that go by it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    /// The system's, with the timers of a driver's own thread.
    Reactor(reactor::Handle),
    /// That of the runtime in which it is asked.
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "testing")]
    Virtual(testing::Clock),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::System | Self::Reactor(_) => Instant::now(),
            #[cfg(feature = "tokio")]
            Self::Tokio => on_tokio::now(),
            #[cfg(feature = "testing")]
            Self::Virtual(clock) => clock.now(),
        }
    }

    /// A timer that never goes off until it is set.
    pub(crate) fn timer(&self) -> Timer {
        match self {
            Self::System => Timer::System(async_io::Timer::never()),
            Self::Reactor(reactor) => Timer::Reactor(reactor.timer()),
            #[cfg(feature = "tokio")]
            Self::Tokio => Timer::Tokio(on_tokio::Timer::default()),
            #[cfg(feature = "testing")]
            Self::Virtual(clock) => Timer::Virtual(clock.timer()),
        }
    }
}

/// Goes off once each time that it is set.
#[derive(Debug)]
pub(crate) enum Timer {
    System(async_io::Timer),
    Reactor(reactor::Timer),
    #[cfg(feature = "tokio")]
    Tokio(on_tokio::Timer),
    #[cfg(feature = "testing")]
    Virtual(testing::Timer),
}

impl Timer {
    pub(crate) fn set_at(&mut self, at: Instant) {
        match self {
            Self::System(timer) => timer.set_at(at),
            Self::Reactor(timer) => timer.set_at(at),
            #[cfg(feature = "tokio")]
            Self::Tokio(timer) => timer.set_at(at),
            #[cfg(feature = "testing")]
            Self::Virtual(timer) => timer.set_at(at),
        }
    }

    /// Ready once it goes off; otherwise `cx` is woken when it does.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        match self {
            Self::System(timer) => Future::poll(Pin::new(timer), cx),
            Self::Reactor(timer) => timer.poll(cx),
            #[cfg(feature = "tokio")]
            Self::Tokio(timer) => timer.poll(cx),
            #[cfg(feature = "testing")]
            Self::Virtual(timer) => timer.poll(cx),
        }
    }
}

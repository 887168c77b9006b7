//! Code of users that the driver calls: a panic in it is an error of that code, and not the end of the
//! driver.
//!
//! Guarded are the closure that says where a stream begins, that which hears of messages that are not delivered
//! (in `shared::hook`), the provider of credentials, its future and the
//! login mechanisms that it gives, the connector, its future and the transport that comes of it, and the texts of errors of theirs. A runtime, a waker and
//! a logger are not: without time, without tasks to wake or where a log itself fails there is nobody
//! left to tell. Where panics abort, nothing can be guarded.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe_codec::sasl::{Mechanism, MechanismError};

use super::config::Provided;
use crate::credentials::{Credentials, CredentialsError};
use crate::panics::caught;
use crate::transport::{Connecting, Transport};

/// Code of a user's that has panicked. What it said was told by the hook of its panic, and may be a
/// secret here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has panicked")]
pub(super) struct Panicked(&'static str);

impl From<Panicked> for io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

/// Calls code of a user's, which may be called again after it has panicked.
pub(super) fn guard<T>(what: &'static str, call: impl FnOnce() -> T) -> Result<T, Panicked> {
    caught(call).map_err(|_| Panicked(what))
}

/// What an error says, where its text may come from code of a user's.
pub(super) fn text(error: &impl fmt::Display) -> String {
    guard("the text of the error", || error.to_string())
        .unwrap_or_else(|panicked| panicked.to_string())
}

/// A value of a user's, which is called until it panics, and never after that.
pub(super) struct Guarded<T> {
    what: &'static str,
    value: Option<T>,
}

impl<T> Guarded<T> {
    pub(super) fn new(what: &'static str, value: T) -> Self {
        Self {
            what,
            value: Some(value),
        }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut T) -> R) -> Result<R, Panicked> {
        let value = self.value.as_mut().ok_or(Panicked(self.what))?;
        let result = guard(self.what, || call(value));
        if result.is_err() {
            self.discard();
        }
        result
    }

    fn discard(&mut self) {
        let value = self.value.take();
        // Nothing more can come of it: that it panics while it is dropped changes nothing.
        _ = guard(self.what, || drop(value));
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.discard();
    }
}

impl Guarded<Connecting> {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Guarded<Box<dyn Transport>>>> {
        let polled = self.call(|connecting| connecting.as_mut().poll(cx));
        polled
            .unwrap_or_else(|panicked| Poll::Ready(Err(panicked.into())))
            .map_ok(|transport| Guarded::new("the transport", transport))
    }
}

impl Guarded<Provided> {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Credentials, CredentialsError>> {
        self.call(|provided| provided.as_mut().poll(cx))
            .unwrap_or_else(|panicked| Poll::Ready(Err(panicked.into())))
    }
}

impl Guarded<Box<dyn Transport>> {
    /// Reads or writes, of which at most `most` bytes can come.
    fn transfer(
        &mut self,
        most: usize,
        call: impl FnOnce(Pin<&mut Box<dyn Transport>>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match self.call(|transport| call(Pin::new(transport))) {
            Ok(Poll::Ready(Ok(len))) if len > most => {
                let text = format!("the transport says {len} bytes, where there were {most}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)))
            }
            Ok(polled) => polled,
            Err(panicked) => Poll::Ready(Err(panicked.into())),
        }
    }

    fn end(
        &mut self,
        call: impl FnOnce(Pin<&mut Box<dyn Transport>>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        self.call(|transport| call(Pin::new(transport)))
            .unwrap_or_else(|panicked| Poll::Ready(Err(panicked.into())))
    }
}

impl AsyncRead for Guarded<Box<dyn Transport>> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.transfer(into.len(), |transport| transport.poll_read(cx, into))
    }
}

impl AsyncWrite for Guarded<Box<dyn Transport>> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.transfer(bytes.len(), |transport| transport.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let most = slices.iter().map(|slice| slice.len()).sum();
        self.transfer(most, |transport| transport.poll_write_vectored(cx, slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end(|transport| transport.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end(|transport| transport.poll_close(cx))
    }
}

impl Transport for Guarded<Box<dyn Transport>> {
    fn prepare_abort(&mut self) {
        // One that has panicked is gone already.
        _ = self.call(Transport::prepare_abort);
    }
}

/// A login mechanism of a user's. Its name is asked for once, so that nothing is called for a log.
struct GuardedMechanism {
    name: String,
    mechanism: Guarded<Box<dyn Mechanism>>,
}

/// The same mechanism, in which a panic is an error.
pub(super) fn guarded_mechanism(
    mechanism: Box<dyn Mechanism>,
) -> Result<Box<dyn Mechanism>, Panicked> {
    let mut mechanism = Guarded::new("a login mechanism", mechanism);
    let name = mechanism.call(|mechanism| mechanism.name().to_owned())?;
    Ok(Box::new(GuardedMechanism { name, mechanism }))
}

impl GuardedMechanism {
    fn call(
        &mut self,
        call: impl FnOnce(&mut dyn Mechanism) -> Result<Vec<u8>, MechanismError>,
    ) -> Result<Vec<u8>, MechanismError> {
        let result = self.mechanism.call(|mechanism| call(&mut **mechanism));
        result.unwrap_or_else(|_| {
            let text = format!("the mechanism {} has panicked", self.name);
            Err(MechanismError::Other(text))
        })
    }
}

impl Mechanism for GuardedMechanism {
    fn name(&self) -> &str {
        &self.name
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        self.call(|mechanism| mechanism.initial_response())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        self.call(|mechanism| mechanism.respond(challenge))
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::future::poll_fn;
    use std::panic::panic_any;
    use std::task::Waker;

    use super::*;

    /// Panics when it is dropped, as its owner did before.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }

    // case A5
    #[test]
    fn a_future_that_has_panicked_is_an_error_and_not_polled_again() {
        let mut polls = 0;
        let connecting: Connecting = Box::pin(poll_fn(move |_| {
            polls += 1;
            assert_eq!(polls, 1, "it was polled after its panic");
            panic!("a panic that a test wants")
        }));
        let mut connecting = Guarded::new("the future of the connector", connecting);
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let Poll::Ready(Err(error)) = connecting.poll(cx) else {
                panic!("there is no transport")
            };
            assert_eq!(
                error.to_string(),
                "the future of the connector has panicked"
            );
        }
    }

    /// Panics at a challenge, and not before.
    struct Startled;

    impl Mechanism for Startled {
        fn name(&self) -> &str {
            "STARTLED"
        }

        fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
            Ok(Vec::new())
        }

        fn respond(&mut self, _: &[u8]) -> Result<Vec<u8>, MechanismError> {
            panic!("a panic that a test wants")
        }
    }

    // case A5
    #[test]
    fn a_mechanism_that_panics_at_a_challenge_is_an_error_that_names_it() {
        let mut mechanism = guarded_mechanism(Box::new(Startled)).expect("it has a name");
        assert_eq!(mechanism.initial_response(), Ok(Vec::new()));
        for _ in 0..2 {
            let error = mechanism.respond(b"who goes there?").unwrap_err();
            assert_eq!(error.to_string(), "the mechanism STARTLED has panicked");
        }
    }

    // case A5
    #[test]
    fn what_panics_while_it_is_dropped_and_what_a_panic_carries_change_nothing() {
        drop(Guarded::new("it", Bomb));
        let mut guarded = Guarded::new("it", Bomb);
        let panicked: Result<(), _> = guarded.call(|_| panic_any(Bomb));
        assert_eq!(panicked, Err(Panicked("it")));
    }
}

//! Attempts at several addresses, each with a head start (RFC 8305 §5).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use snowshoe_codec::time::after;

use crate::connector::{Layer, Progress};
use crate::runtime::{Runtime, TcpOptions};
use crate::transport::{Connecting, Transport};

/// How long an attempt has before the next address is tried beside it (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);

/// How long it has once TCP is connected and the layer above is not, which takes some round trips more; and
/// before an address that is known to let connect and then to fail, which would win again.
const LONG_HEAD_START: Duration = Duration::from_secs(1);

pub(super) struct Race<'a> {
    pub(super) runtime: &'a Arc<dyn Runtime>,
    pub(super) options: TcpOptions,
    /// How much of it there is for all addresses.
    pub(super) time: Duration,
    /// Those that are known to let connect and then to fail.
    pub(super) failed: &'a [SocketAddr],
    pub(super) progress: &'a Progress,
    /// What is to be put on top of TCP, and may not come about either.
    pub(super) layer: Option<&'a Layer>,
}

struct Attempt {
    address: SocketAddr,
    connecting: Connecting,
    /// Whether there is nothing to be put on top of it any more.
    is_whole: bool,
}

impl Race<'_> {
    /// Connects to the first address that answers. They are tried in their order, each a head start after
    /// the one before it, or as soon as that has failed; so one that swallows what is sent to it costs that
    /// long and no more.
    ///
    /// # Errors
    /// All have failed: each with its cause, in the order of their failing.
    pub(super) async fn first_to_answer(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<Box<dyn Transport>, Vec<(SocketAddr, io::Error)>> {
        let share = self.share(addresses.len());
        let long = share.min(LONG_HEAD_START);
        let mut waiting = addresses.into_iter();
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut failures = Vec::new();
        let mut next = self.runtime.timer();
        let mut is_over = true;
        poll_fn(|cx| {
            loop {
                if is_over && let Some(address) = waiting.next() {
                    attempts.push(self.begin(address));
                    let is_trap = self.is_trap(waiting.as_slice().first());
                    let head_start = if is_trap { long } else { share.min(HEAD_START) };
                    next.set_at(after(self.runtime.now(), head_start));
                    is_over = false;
                }
                let mut index = 0;
                while let Some(attempt) = attempts.get_mut(index) {
                    match (attempt.connecting.as_mut().poll(cx), self.layer) {
                        (Poll::Pending, _) => index += 1,
                        (Poll::Ready(Ok(transport)), Some(layer)) if !attempt.is_whole => {
                            attempt.connecting = layer(transport);
                            attempt.is_whole = true;
                            next.set_at(after(self.runtime.now(), long));
                        }
                        (Poll::Ready(Ok(transport)), _) => {
                            self.progress.reached(attempt.address);
                            return Poll::Ready(Ok(transport));
                        }
                        (Poll::Ready(Err(error)), _) => {
                            let address = attempt.address;
                            self.progress.failed(address, &error);
                            failures.push((address, error));
                            _ = attempts.remove(index);
                            is_over |=
                                attempts.is_empty() || !self.is_trap(waiting.as_slice().first());
                        }
                    }
                }
                if attempts.is_empty() && waiting.len() == 0 {
                    return Poll::Ready(Err(std::mem::take(&mut failures)));
                }
                is_over |= waiting.len() > 0 && next.poll(cx).is_ready();
                if !is_over || waiting.len() == 0 {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// How much of the time each of so many head starts may take: the last address is to have its turn as
    /// well, and as long as any other.
    fn share(&self, addresses: usize) -> Duration {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
        let head_starts = match self.layer {
            None => addresses,
            // One for TCP, and one for the layer.
            Some(_) => addresses.saturating_mul(2),
        };
        (self.time.checked_div(head_starts)).unwrap_or(self.time)
    }

    fn begin(&self, address: SocketAddr) -> Attempt {
        self.progress.tries(address);
        Attempt {
            address,
            connecting: self.runtime.connect(address, self.options),
            is_whole: self.layer.is_none(),
        }
    }

    fn is_trap(&self, address: Option<&SocketAddr>) -> bool {
        address.is_some_and(|address| self.failed.contains(address))
    }
}

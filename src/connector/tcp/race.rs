//! Attempts at several addresses, each with a head start (RFC 8305 §5).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use snowshoe_codec::time::after;

use crate::runtime::{Runtime, TcpOptions};
use crate::transport::{Connecting, Transport};

/// How long an attempt has before the next address is tried beside it (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);

/// The head start of each of so many addresses, where there is this time for all of them: the last one
/// is to have its turn as well, and as long as any other.
pub(super) fn head_start(time: Duration, addresses: usize) -> Duration {
    let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
    (time.checked_div(addresses)).map_or(HEAD_START, |share| share.min(HEAD_START))
}

/// Connects to the first address that answers. They are tried in their order, each a head start after
/// the one before it, or as soon as that has failed; so one that swallows what is sent to it costs that
/// long and no more.
///
/// # Errors
/// All have failed: each with its cause, in the order of their failing.
pub(super) async fn first_to_answer(
    runtime: &Arc<dyn Runtime>,
    addresses: Vec<SocketAddr>,
    options: TcpOptions,
    head_start: Duration,
) -> Result<Box<dyn Transport>, Vec<(SocketAddr, io::Error)>> {
    let mut waiting = addresses.into_iter();
    let mut attempts: Vec<(SocketAddr, Connecting)> = Vec::new();
    let mut failures = Vec::new();
    let mut next = runtime.timer();
    let mut is_over = true;
    poll_fn(|cx| {
        loop {
            if is_over && let Some(address) = waiting.next() {
                attempts.push((address, runtime.connect(address, options)));
                next.set_at(after(runtime.now(), head_start));
                is_over = false;
            }
            let mut index = 0;
            while let Some((address, attempt)) = attempts.get_mut(index) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(transport)) => return Poll::Ready(Ok(transport)),
                    Poll::Ready(Err(error)) => {
                        failures.push((*address, error));
                        _ = attempts.remove(index);
                        is_over = true;
                    }
                    Poll::Pending => index += 1,
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

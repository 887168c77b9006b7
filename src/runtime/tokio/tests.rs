use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};

use super::*;
use crate::runtime::Timer as _;

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3600);

async fn elapse(timer: &mut Timer) {
    poll_fn(|cx| timer.poll(cx)).await;
}

fn now() -> Instant {
    Tokio.now()
}

async fn set_and_elapse(timer: &mut Timer) {
    let at = now() + SHORT;
    timer.set_at(at);
    elapse(timer).await;
    assert!(now() >= at);
    assert!(poll_once(elapse(timer)).await.is_none());
}

#[tokio::test]
async fn a_timer_goes_off_once_each_time_that_it_is_set() {
    let mut timer = Timer::default();
    assert!(poll_once(elapse(&mut timer)).await.is_none());
    for _ in 0..2 {
        set_and_elapse(&mut timer).await;
    }
}

#[test]
fn a_timer_goes_off_outside_of_a_runtime() {
    block_on(set_and_elapse(&mut Timer::default()));
}

#[test]
fn a_timer_follows_its_driver_into_a_runtime() {
    let mut timer = Timer::default();
    block_on(set_and_elapse(&mut timer));
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().expect("a runtime");
    runtime.block_on(set_and_elapse(&mut timer));
    timer.set_at(now() + SHORT);
    assert!(matches!(timer, Timer::Outside(_)));
}

#[tokio::test(start_paused = true)]
async fn the_time_is_that_of_the_runtime() {
    let (began, mut timer) = (now(), Timer::default());
    timer.set_at(began + LONG);
    elapse(&mut timer).await;
    assert!(now() - began >= LONG);
}

#[test]
fn a_connection_outside_of_a_runtime_is_an_error() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let options = TcpOptions::new(Duration::from_secs(30));
    let connected = block_on(Tokio.connect(nowhere, options)).map(drop);
    let error = connected.expect_err("there is no runtime");
    assert!(error.to_string().contains("runtime"), "{error}");
}

/// Tokio polls up to 61 spawned tasks before the future of `block_on`.
#[tokio::test]
async fn a_task_that_gives_way_is_polled_after_the_future_that_the_runtime_blocks_on() {
    const OTHERS: usize = 8;
    let (tell, told) = async_channel::bounded(1);
    let polled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polled);
    tokio::spawn(poll_fn(move |cx| {
        // Whoever waits is woken, as by a delivery.
        _ = tell.try_send(());
        Tokio.give_way(cx);
        match counter.fetch_add(1, Ordering::Relaxed) {
            OTHERS => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }));
    told.recv().await.expect("it was told");
    assert_eq!(polled.load(Ordering::Relaxed), 1);
}

#[test]
fn a_task_that_gives_way_outside_of_a_runtime_is_polled_again() {
    let mut has_given_way = false;
    block_on(poll_fn(|cx| {
        match std::mem::replace(&mut has_given_way, true) {
            true => Poll::Ready(()),
            false => {
                Tokio.give_way(cx);
                Poll::Pending
            }
        }
    }));
}

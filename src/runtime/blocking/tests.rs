use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use async_io::block_on;
use futures_lite::future::{self, poll_once};

use super::*;
use crate::runtime::AsyncIo;
use crate::testing::Clock;

fn patience() -> Patience {
    Patience::of(&AsyncIo)
}

/// One that hangs until the sender is dropped; how many have begun is counted.
fn hanging(
    begun: &Arc<AtomicUsize>,
) -> (
    mpsc::Sender<()>,
    impl FnOnce(&Name) -> io::Result<Vec<SocketAddr>> + Send + use<>,
) {
    let (release, released) = mpsc::channel::<()>();
    let begun = Arc::clone(begun);
    let look_up = move |_: &Name| {
        begun.fetch_add(1, Ordering::Relaxed);
        _ = released.recv();
        Ok(vec![address()])
    };
    (release, look_up)
}

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5672))
}

fn name(text: &str) -> Name {
    (text.to_owned(), 5672)
}

#[test]
fn attempts_that_are_given_up_leave_one_look_up_which_the_last_of_them_joins() {
    let threads = Arc::new(Threads::new(2));
    let begun = Arc::default();
    let mut releases = Vec::new();
    let ask = |releases: &mut Vec<_>| {
        let (release, look_up) = hanging(&begun);
        releases.push(release);
        Arc::clone(&threads).resolve(name("broker"), patience(), look_up)
    };
    block_on(async {
        for _ in 0..100 {
            let given_up = ask(&mut releases);
            assert!(poll_once(given_up).await.is_none());
        }
        let mut one = pin!(ask(&mut releases));
        let mut other = pin!(ask(&mut releases));
        // Both have joined it before it ends.
        assert!(poll_once(&mut one).await.is_none());
        assert!(poll_once(&mut other).await.is_none());
        releases.clear();
        let (one, other) = future::zip(one, other).await;
        assert_eq!(one.unwrap(), [address()]);
        assert_eq!(other.unwrap(), [address()]);
    });
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    assert!(lock(&threads.look_ups).is_empty());
}

#[test]
fn there_are_no_more_threads_than_places_and_who_gets_none_is_told_after_a_while() {
    let threads = Arc::new(Threads::new(2));
    let begun = Arc::default();
    let clock = Clock::new();
    let impatient = || Patience::of::<dyn Runtime>(&clock);
    let (release, one) = hanging(&begun);
    let (_kept, other) = hanging(&begun);
    let resolve = |text| {
        let look_up = |_: &Name| Ok(Vec::new());
        Box::pin(Arc::clone(&threads).resolve(name(text), impatient(), look_up))
    };
    block_on(async {
        let mut one = pin!(Arc::clone(&threads).resolve(name("one"), impatient(), one));
        let mut other = pin!(Arc::clone(&threads).resolve(name("other"), impatient(), other));
        assert!(poll_once(&mut one).await.is_none());
        assert!(poll_once(&mut other).await.is_none());
        let mut third = resolve("third");
        assert!(poll_once(&mut third).await.is_none());
        clock.advance(PATIENCE);
        let error = third.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("16 threads"), "{error}");

        // A place that is free again goes to the next.
        let mut next = resolve("next");
        assert!(poll_once(&mut next).await.is_none());
        drop(release);
        assert_eq!(one.await.unwrap(), [address()]);
        assert_eq!(next.await.unwrap(), []);
    });
}

#[test]
fn everybody_is_told_of_a_failure_and_of_a_panic() {
    let threads = Arc::new(Threads::new(1));
    block_on(async {
        let fails = |_: &Name| Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
        let failed = Arc::clone(&threads).resolve(name("gone"), patience(), fails);
        let error = failed.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "no such name");

        let panics = |_: &Name| panic!("a panic that a test wants");
        let failed = Arc::clone(&threads).resolve(name("broker"), patience(), panics);
        let error = failed.await.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        let works = Arc::clone(&threads).resolve(name("broker"), patience(), |_| Ok(Vec::new()));
        assert_eq!(works.await.unwrap(), []);
    });
}

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread;

use async_executor::LocalExecutor;
use futures_lite::AsyncReadExt as _;

use super::*;

fn block_on<F: Future>(future: F) -> F::Output {
    let reactor = Reactor::new().expect("a reactor");
    reactor.block_on(future).expect("it can wait")
}

/// A socket of this thread's reactor, and its peer.
async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let reactor = Handle::current().expect("this thread has a reactor");
    let socket = reactor.connect(address).await.expect("a connection");
    let (peer, _) = listener.accept().expect("its peer");
    (socket, peer)
}

async fn elapse(duration: Duration) {
    let reactor = Handle::current().expect("this thread has a reactor");
    let mut timer = reactor.timer();
    timer.set_at(Instant::now() + duration);
    std::future::poll_fn(|cx| timer.poll(cx)).await;
}

#[test]
fn a_thread_without_a_reactor_knows_of_none() {
    thread::spawn(|| assert!(Handle::current().is_none()))
        .join()
        .expect("none");
}

#[test]
fn a_socket_that_is_gone_leaves_nothing_behind() {
    block_on(async {
        let sockets = || lock(&Handle::current().expect("a reactor").0.sources).len();
        let (socket, _peer) = pair().await;
        assert_eq!(sockets(), 1);
        drop(socket);
        assert_eq!(sockets(), 0);
    });
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let mut helper = None;
    block_on(std::future::poll_fn(|cx| {
        if helper.is_some() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        helper = Some(thread::spawn(move || waker.wake()));
        Poll::Pending
    }));
    helper.expect("it was started").join().expect("it woke");
}

#[test]
fn tasks_are_woken_by_what_they_wait_for() {
    block_on(async {
        // It polls nobody who was not woken.
        let executor = LocalExecutor::new();
        let (mut socket, mut peer) = pair().await;
        let work = async {
            let reading = executor.spawn(async move { socket.read(&mut [0; 8]).await });
            let waiting = executor.spawn(elapse(Duration::from_millis(5)));
            while executor.try_tick() {}
            peer.write_all(b"x").expect("room");
            assert_eq!(reading.await.expect("a byte"), 1);
            waiting.await;
        };
        executor.run(work).await;
    });
}

#[test]
fn a_future_that_wakes_itself_does_not_starve_its_sockets() {
    block_on(async {
        let (mut socket, mut peer) = pair().await;
        let mut into = [0; 8];
        let mut reading = std::pin::pin!(socket.read(&mut into));
        assert!(
            futures_lite::future::poll_once(&mut reading)
                .await
                .is_none()
        );
        peer.write_all(b"x").expect("room");
        let read = std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            reading.as_mut().poll(cx)
        });
        assert_eq!(read.await.expect("a byte"), 1);
    });
}

#[test]
fn timers_go_off_in_their_order_and_not_before_their_time() {
    let began = Instant::now();
    let order = block_on(async {
        let order = RefCell::new(Vec::new());
        let wait = async |ms| {
            elapse(Duration::from_millis(ms)).await;
            order.borrow_mut().push(ms);
        };
        futures_lite::future::zip(wait(20), futures_lite::future::zip(wait(10), wait(1))).await;
        order.into_inner()
    });
    assert_eq!(order, [1, 10, 20]);
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_timer_that_is_set_again_goes_off_at_the_later_time_alone() {
    let began = Instant::now();
    block_on(async {
        let reactor = Handle::current().expect("this thread has a reactor");
        let mut timer = reactor.timer();
        timer.set_at(began + Duration::from_millis(1));
        let waits = futures_lite::future::poll_once(std::future::poll_fn(|cx| timer.poll(cx)));
        assert!(waits.await.is_none());
        timer.set_at(began + Duration::from_millis(15));
        assert_eq!(lock(&reactor.0.timers).first(), None);
        std::future::poll_fn(|cx| timer.poll(cx)).await;
        assert!(std::future::poll_fn(|cx| Poll::Ready(timer.poll(cx).is_pending())).await);
    });
    assert!(began.elapsed() >= Duration::from_millis(15));
}

use std::cell::RefCell;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use async_executor::LocalExecutor;
use futures_lite::AsyncReadExt as _;

use super::*;

fn on_thread<T>(test: impl AsyncFnOnce(&Thread) -> T) -> T {
    let thread = Thread::new().expect("a reactor");
    thread.block_on(test(&thread))
}

/// A socket of this thread's reactor, and its peer.
async fn pair(runtime: &Thread) -> (Box<dyn Transport>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let options = TcpOptions::new(Duration::from_secs(30));
    let socket = runtime.connect(address, options).await;
    let (peer, _) = listener.accept().expect("its peer");
    (socket.expect("a connection"), peer)
}

async fn elapse(runtime: &Thread, duration: Duration) {
    let mut timer = runtime.timer();
    timer.set_at(Instant::now() + duration);
    std::future::poll_fn(|cx| timer.poll(cx)).await;
}

#[test]
fn each_thread_runs_one_driver() {
    let runtime = Thread::new().expect("a reactor");
    let (ran, has_run) = mpsc::channel();
    let driver = async move {
        let name = thread::current().name().map(str::to_owned);
        ran.send(name).expect("a test waits");
    };
    runtime.spawn(Box::pin(driver)).expect("the first");
    assert_eq!(
        has_run.recv().expect("it runs").as_deref(),
        Some("snowshoe")
    );
    let second = runtime.spawn(Box::pin(async {})).expect_err("the second");
    assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn nothing_connects_on_a_thread_that_was_not_started() {
    let runtime = Thread::new().expect("a reactor");
    let options = TcpOptions::new(Duration::from_secs(30));
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let connected = futures_lite::future::block_on(runtime.connect(nowhere, options));
    let error = connected.map(drop).expect_err("nobody waits for it");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_driver_that_is_polled_elsewhere_is_told_so_and_its_timers_go_off() {
    let runtime = Arc::new(Thread::new().expect("a reactor"));
    let (end, ended) = async_channel::bounded::<()>(1);
    let busy = async move { _ = ended.recv().await };
    runtime.spawn(Box::pin(busy)).expect("the first");
    futures_lite::future::block_on(async {
        let options = TcpOptions::default();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let error = runtime.connect(nowhere, options).await.map(drop);
        let kind = error.expect_err("nobody waits for it").kind();
        assert_eq!(kind, io::ErrorKind::Unsupported);
        for _ in 0..2 {
            elapse(&runtime, Duration::from_millis(2)).await;
        }
    });
    end.close();
}

#[test]
fn a_socket_that_is_gone_leaves_nothing_behind() {
    on_thread(async |runtime| {
        let (socket, _peer) = pair(runtime).await;
        assert_eq!(runtime.sources.len(), 1);
        drop(socket);
        assert_eq!(runtime.sources.len(), 0);
    });
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let mut helper = None;
    on_thread(async |_| {
        std::future::poll_fn(|cx| {
            if helper.is_some() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            helper = Some(thread::spawn(move || waker.wake()));
            Poll::Pending
        })
        .await;
    });
    helper.expect("it was started").join().expect("it woke");
}

#[test]
fn tasks_are_woken_by_what_they_wait_for() {
    on_thread(async |runtime| {
        // It polls nobody who was not woken.
        let executor = LocalExecutor::new();
        let (mut socket, mut peer) = pair(runtime).await;
        let work = async {
            let reading = executor.spawn(async move { socket.read(&mut [0; 8]).await });
            let waiting = executor.spawn(elapse(runtime, Duration::from_millis(5)));
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
    on_thread(async |runtime| {
        let (mut socket, mut peer) = pair(runtime).await;
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
    let order = on_thread(async |runtime| {
        let order = RefCell::new(Vec::new());
        let wait = async |ms| {
            elapse(runtime, Duration::from_millis(ms)).await;
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
    on_thread(async |runtime| {
        let mut timer = runtime.timer();
        timer.set_at(began + Duration::from_millis(1));
        let waits = futures_lite::future::poll_once(std::future::poll_fn(|cx| timer.poll(cx)));
        assert!(waits.await.is_none());
        timer.set_at(began + Duration::from_millis(15));
        assert_eq!(runtime.timers.wake_due(Instant::now()), None);
        std::future::poll_fn(|cx| timer.poll(cx)).await;
        assert!(std::future::poll_fn(|cx| Poll::Ready(timer.poll(cx).is_pending())).await);
    });
    assert!(began.elapsed() >= Duration::from_millis(15));
}

//! A runtime of your own: for a program that goes round in a loop anyway, such as a game, and wants
//! neither another thread nor an executor.
//!
//!     cargo run --example own_runtime
//!
//! Sixty times a second the loop polls the driver and whoever uses the client. Nothing tells it that a
//! socket has become ready: whoever had to wait in one frame is woken to try again in the next. That is
//! all that a `Runtime` has to see to, and a hundred lines over the sockets of the standard library are
//! enough.
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory. What runs is in
//! `greeting/mod.rs`, the same as for the executors.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;
mod greeting;

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe::runtime::{Runtime, TcpOptions, Timer, reset_when_closed};
use snowshoe::{Client, Connecting, Transport};

const FRAME: Duration = Duration::from_millis(16);

fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let frames = Frames::default();
    let (client, mut driver) = Client::builder(&url)?.runtime(frames.clone()).build();
    let mut player = pin!(play(client));
    // Whoever is woken is polled in the next frame, as everybody is.
    let cx = &mut Context::from_waker(Waker::noop());
    for frame in 1.. {
        frames.begin();
        _ = Pin::new(&mut driver).poll(cx);
        // … here a game would move its world, and draw it …
        if let Poll::Ready(played) = player.as_mut().poll(cx) {
            println!("that took {frame} frames");
            return played;
        }
        thread::sleep(FRAME);
    }
    Ok(())
}

async fn play(client: Client) -> Result<(), Box<dyn Error>> {
    // Completes with the reason, should the first connect fail.
    client.ready().await?;
    greeting::exchange(&client, "hello from a loop of my own").await?;
    client.close().await;
    Ok(())
}

/// The loop, as far as those know it who wait in it.
#[derive(Clone, Debug, Default)]
struct Frames {
    waiting: Arc<Mutex<Vec<Waker>>>,
}

impl Frames {
    /// A frame begins: whoever waits may try again.
    fn begin(&self) {
        // Taken out first, because a waker may do anything, and be it to wait again.
        let waiting = std::mem::take(&mut *self.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// There is nothing to be had in this frame.
    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        let mut waiting = self.lock();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver is polled by the loop, so there is nothing to `spawn`; names are resolved as they are by
/// default, on a thread; and the time is the system's.
impl Runtime for Frames {
    fn timer(&self) -> Box<dyn Timer> {
        let frames = self.clone();
        Box::new(Alarm { frames, at: None })
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        let frames = self.clone();
        Box::pin(async move {
            // Connecting blocks, and a frame must not.
            let (connected, connecting) = mpsc::channel();
            // Nobody listens any more where the client has lost patience.
            thread::spawn(move || _ = connected.send(TcpStream::connect(address)));
            let here = &frames;
            let stream = poll_fn(move |cx| match connecting.try_recv() {
                Ok(connected) => Poll::Ready(connected),
                Err(mpsc::TryRecvError::Empty) => here.wait(cx),
                Err(error) => Poll::Ready(Err(io::Error::other(error))),
            })
            .await?;
            options.apply(&stream)?;
            stream.set_nonblocking(true)?;
            let transport: Box<dyn Transport> = Box::new(Socket { frames, stream });
            Ok(transport)
        })
    }
}

/// Goes off in the first frame after its time has come.
struct Alarm {
    frames: Frames,
    at: Option<Instant>,
}

impl Timer for Alarm {
    fn set_at(&mut self, at: Instant) {
        self.at = Some(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.at {
            // Whoever sets it polls it again.
            None => Poll::Pending,
            Some(at) if Instant::now() < at => self.frames.wait(cx),
            Some(_) => {
                // Once each time that it is set.
                self.at = None;
                Poll::Ready(())
            }
        }
    }
}

/// A stream that is tried in each frame.
struct Socket {
    frames: Frames,
    stream: TcpStream,
}

impl Socket {
    /// What was tried now, or the next frame for another attempt.
    fn result<T>(&self, cx: &Context<'_>, tried: io::Result<T>) -> Poll<io::Result<T>> {
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.frames.wait(cx),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.frames.wait(cx),
            result => Poll::Ready(result),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let tried = self.stream.read(into);
        self.result(cx, tried)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = self.stream.write(bytes);
        self.result(cx, tried)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What the system has taken is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

impl Transport for Socket {
    fn prepare_abort(&mut self) {
        reset_when_closed(&self.stream);
    }
}

//! The door for clients that come over TCP.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_channel::Sender;
use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::io::{AsyncWriteExt as _, copy, sink, split};
use futures_lite::{FutureExt as _, future};

use super::core::Core;
use super::stream::Stream;
use crate::runtime::reset_when_closed;
use crate::testing::Dials;

/// A thread that accepts connections and carries their bytes to and fro. It stops, and is joined, when
/// this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// Closed to stop the thread.
    stop: Sender<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(core: Arc<Core>) -> io::Result<Self> {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.get_ref().local_addr()?;
        let (stop, stopped) = async_channel::bounded(1);
        let serve = move || {
            let executor = LocalExecutor::new();
            let accepting = accept(&listener, &executor, &core);
            let until_stopped = async { _ = stopped.recv().await };
            async_io::block_on(executor.run(accepting.or(until_stopped)));
        };
        let thread = thread::Builder::new().name("snowshoe-server".to_owned());
        Ok(Self {
            address,
            stop,
            thread: Some(thread.spawn(serve)?),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            // Had it panicked, that was printed, and its clients have noticed.
            _ = thread.join();
        }
    }
}

async fn accept<'a>(
    listener: &Async<TcpListener>,
    executor: &LocalExecutor<'a>,
    core: &'a Arc<Core>,
) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => executor.spawn(serve(core, tcp)).detach(),
            Err(error) => {
                // As a rule there are too many open files, and that takes a moment to pass.
                log::warn!("a connection could not be accepted: {error}");
                Timer::after(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn serve(core: &Arc<Core>, tcp: Async<TcpStream>) {
    match Stream::connect(core) {
        Ok(stream) => carry(core, stream, tcp).await,
        Err(Dials::Hang) => _ = copy(&tcp, sink()).await,
        Err(_) => reset_when_closed(&tcp),
    }
}

/// Carries bytes to and fro until either side has had enough.
async fn carry(core: &Core, stream: Stream, tcp: Async<TcpStream>) {
    // Where that fails, small answers come a little late.
    _ = tcp.get_ref().set_nodelay(true);
    let id = stream.id();
    let (from_broker, mut to_broker) = split(stream);
    let up = async {
        let read = copy(&tcp, &mut to_broker).await;
        if read.is_ok() {
            _ = to_broker.close().await;
            // The broker ends the connection, once it has done what it was told.
            pending::<()>().await;
        }
        End::Reset
    };
    let down = async {
        match copy(from_broker, &tcp).await {
            Ok(_) => End::InOrder,
            Err(_) => End::Reset,
        }
    };
    match future::or(up, down).await {
        End::InOrder => say_goodbye(&tcp).await,
        End::Reset => {
            core.with(|state, now| state.reset(now, id));
            reset_when_closed(&tcp);
        }
    }
}

enum End {
    InOrder,
    Reset,
}

/// Closes in order. What the client still sends is read, or the system would turn the end into a reset,
/// in front of what the client was told last.
async fn say_goodbye(tcp: &Async<TcpStream>) {
    _ = tcp.get_ref().shutdown(Shutdown::Write);
    let read = async { _ = copy(tcp, sink()).await };
    read.or(async { _ = Timer::after(GOODBYE).await }).await;
}

const GOODBYE: Duration = Duration::from_secs(5);

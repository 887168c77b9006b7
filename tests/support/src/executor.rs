//! Where the drivers of the tests' clients run.
//!
//! [`connect`] takes the executor that `SNOWSHOE_TEST_EXECUTOR` names: `thread` (a thread of the
//! driver's own, the default), `smol`, `async-std`, `tokio-current-thread` or `tokio-multi-thread`;
//! the last two with `-native` added where the client is to use the sockets and timers of tokio.
//!
//!     SNOWSHOE_TEST_EXECUTOR=smol tests/with-broker cargo test

use std::future::Future;
use std::sync::LazyLock;
use std::thread;

use snowshoe::runtime::Tokio;
use snowshoe::{Client, ClientBuilder, Driver, Error};
use tokio::runtime::{Builder, Runtime};

/// Something that runs a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// A thread of the driver's own.
    Thread,
    /// The executor of smol.
    Smol,
    /// The executor of async-std.
    AsyncStd,
    /// A runtime of tokio with one thread, without its sockets and timers.
    TokioCurrentThread,
    /// A runtime of tokio with several threads, without its sockets and timers.
    TokioMultiThread,
    /// A runtime of tokio with one thread, its sockets and timers.
    TokioCurrentThreadNative,
    /// A runtime of tokio with several threads, its sockets and timers.
    TokioMultiThreadNative,
}

/// Connects a client as [`ClientBuilder::connect`] does, with its driver on the chosen executor.
pub async fn connect(builder: ClientBuilder) -> Result<Client, Error> {
    Executor::chosen().connect(builder).await
}

/// Builds a client whose driver is to be [spawned](spawn).
pub fn build(builder: ClientBuilder) -> (Client, Driver) {
    Executor::chosen().build(builder)
}

/// Runs a driver, or what a test makes of one, on the chosen executor.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    Executor::chosen().spawn(task);
}

impl Executor {
    /// The one that `SNOWSHOE_TEST_EXECUTOR` names.
    pub fn chosen() -> Self {
        match std::env::var("SNOWSHOE_TEST_EXECUTOR").as_deref() {
            Ok("thread") | Err(_) => Self::Thread,
            Ok("smol") => Self::Smol,
            Ok("async-std") => Self::AsyncStd,
            Ok("tokio-current-thread") => Self::TokioCurrentThread,
            Ok("tokio-multi-thread") => Self::TokioMultiThread,
            Ok("tokio-current-thread-native") => Self::TokioCurrentThreadNative,
            Ok("tokio-multi-thread-native") => Self::TokioMultiThreadNative,
            Ok(other) => panic!("SNOWSHOE_TEST_EXECUTOR: there is no {other:?}"),
        }
    }

    /// [`connect`], with the driver on this executor.
    pub async fn connect(self, builder: ClientBuilder) -> Result<Client, Error> {
        let (client, driver) = self.build(builder);
        self.spawn(driver);
        client.ready().await?;
        Ok(client)
    }

    /// [`build`], for this executor.
    pub fn build(self, builder: ClientBuilder) -> (Client, Driver) {
        match self {
            Self::TokioCurrentThreadNative | Self::TokioMultiThreadNative => builder.runtime(Tokio),
            _ => builder,
        }
        .build()
    }

    /// [`spawn`], on this executor.
    pub fn spawn(self, task: impl Future<Output = ()> + Send + 'static) {
        static BARE: LazyLock<Runtime> =
            LazyLock::new(|| start(Builder::new_multi_thread().worker_threads(2)));
        static NATIVE: LazyLock<Runtime> =
            LazyLock::new(|| start(Builder::new_multi_thread().worker_threads(2).enable_all()));
        match self {
            Self::Thread => _ = thread::spawn(|| async_io::block_on(task)),
            Self::Smol => smol::spawn(task).detach(),
            Self::AsyncStd => _ = async_std::task::spawn(task),
            Self::TokioCurrentThread => {
                on_thread(|| start(&mut Builder::new_current_thread()), task);
            }
            Self::TokioMultiThread => _ = BARE.spawn(task),
            Self::TokioCurrentThreadNative => {
                on_thread(|| start(Builder::new_current_thread().enable_all()), task);
            }
            Self::TokioMultiThreadNative => _ = NATIVE.spawn(task),
        }
    }
}

fn start(runtime: &mut Builder) -> Runtime {
    runtime.build().expect("threads can be started")
}

/// Spawned, and not run by `block_on` itself, which is no executor.
fn on_thread(start: fn() -> Runtime, task: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(move || {
        let tokio = start();
        // The task's panic was printed, and ends nothing but the task.
        _ = tokio.block_on(tokio.spawn(task));
    });
}

//! Where the drivers of the tests' clients run.
//!
//! [`connect`] takes the executor that `SNOWSHOE_TEST_EXECUTOR` names: `thread` (a thread of the
//! driver's own, the default), `smol`, `async-std`, `tokio-current-thread` or `tokio-multi-thread`.
//!
//!     SNOWSHOE_TEST_EXECUTOR=smol tests/with-broker cargo test

#![allow(
    dead_code,
    reason = "every test file takes in this module and uses its own part of it"
)]

use std::future::Future;
use std::sync::LazyLock;
use std::thread;

use snowshoe::{Client, ClientBuilder, Error};
use tokio::runtime::{self, Runtime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executor {
    Thread,
    Smol,
    AsyncStd,
    TokioCurrentThread,
    TokioMultiThread,
}

/// Connects a client as [`ClientBuilder::connect`] does, with its driver on the chosen executor.
pub(crate) async fn connect(builder: ClientBuilder) -> Result<Client, Error> {
    Executor::chosen().connect(builder).await
}

/// Runs a driver, or what a test makes of one, on the chosen executor.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    Executor::chosen().spawn(task);
}

impl Executor {
    pub(crate) fn chosen() -> Self {
        match std::env::var("SNOWSHOE_TEST_EXECUTOR").as_deref() {
            Ok("thread") | Err(_) => Self::Thread,
            Ok("smol") => Self::Smol,
            Ok("async-std") => Self::AsyncStd,
            Ok("tokio-current-thread") => Self::TokioCurrentThread,
            Ok("tokio-multi-thread") => Self::TokioMultiThread,
            Ok(other) => panic!("SNOWSHOE_TEST_EXECUTOR: there is no {other:?}"),
        }
    }

    pub(crate) async fn connect(self, builder: ClientBuilder) -> Result<Client, Error> {
        let (client, driver) = builder.build();
        self.spawn(driver);
        client.ready().await?;
        Ok(client)
    }

    pub(crate) fn spawn(self, task: impl Future<Output = ()> + Send + 'static) {
        static TOKIO: LazyLock<Runtime> = LazyLock::new(|| {
            runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .expect("threads can be started")
        });
        match self {
            Self::Thread => _ = thread::spawn(|| async_io::block_on(task)),
            Self::Smol => smol::spawn(task).detach(),
            Self::AsyncStd => _ = async_std::task::spawn(task),
            Self::TokioCurrentThread => _ = thread::spawn(|| on_current_thread(task)),
            Self::TokioMultiThread => _ = TOKIO.spawn(task),
        }
    }
}

/// Spawned, and not run by `block_on` itself, which is no executor.
fn on_current_thread(task: impl Future<Output = ()> + Send + 'static) {
    let tokio = runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime needs no more than memory");
    // The task's panic was printed, and ends nothing but the task.
    _ = tokio.block_on(tokio.spawn(task));
}

//! The client's driver on tokio's executor, and its connections on tokio's sockets.
//!
//!     cargo run --example on_tokio
//!
//! Only the driver has to be spawned: the default connector works on tokio as well. A connector of
//! your own is for streams that the crate does not have, and to show one, this connects by tokio's
//! `TcpStream`, which a compat layer makes a stream of the `futures` traits.
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory. What runs is in
//! `greeting/mod.rs`, the same as for the other executors.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;
mod greeting;

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe::{Client, Connecting, Target, Transport};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let (client, driver) = Client::builder(&url)?.connector(connect).build();
    let driver = tokio::spawn(driver);

    // Completes with the reason, should the first connect fail.
    client.ready().await?;
    greeting::exchange(&client, "hello from tokio").await?;

    // The driver completes once the client is closed.
    client.close().await;
    driver.await?;
    Ok(())
}

/// A connector; any function of this shape is one.
fn connect(target: &Target) -> Connecting {
    let address = (target.host.clone(), target.port);
    Box::pin(async move {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(TokioStream(stream.compat())) as Box<dyn Transport>)
    })
}

/// A transport is any stream that says it is one, for which it has to be a type of yours.
struct TokioStream(Compat<TcpStream>);

impl Transport for TokioStream {}

impl AsyncRead for TokioStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

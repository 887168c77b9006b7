use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::client::TlsStream;

use super::advice::{self, OwnCertificates};
use crate::transport::Transport;

/// A stream through TLS, whose handshake is through.
pub(super) struct Encrypted {
    pub(super) stream: TlsStream<Box<dyn Transport>>,
    /// Until the broker has said something: until then, it may not like the client's certificate.
    pub(super) certificates: Option<Arc<OwnCertificates>>,
}

impl Encrypted {
    /// Adds what is suspected to an end that came before the broker's first word.
    fn explain<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        polled.map_err(|error| match &self.certificates {
            Some(certificates) => advice::not_a_word(error, certificates),
            None => error,
        })
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        let read = match (read, &self.certificates) {
            // The end, unless there was no room.
            (Poll::Ready(Ok(0)), Some(certificates)) if !into.is_empty() => {
                Poll::Ready(advice::end_without_a_word(certificates).map_or(Ok(0), Err))
            }
            (read, _) => self.explain(read),
        };
        if let Poll::Ready(Ok(1..)) = read {
            self.certificates = None;
        }
        read
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.explain(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Transport for Encrypted {
    fn prepare_abort(&mut self) {
        self.stream.get_mut().0.prepare_abort();
    }
}

//! The connection that the pool keeps.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::net::TcpStream;

/// To the first machine on the way: the host, or a proxy.
pub(super) type Near = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection to the host, plain or over TLS, possibly through a proxy.
pub(super) struct Socket {
    pub(super) io: MaybeHttpsStream<Near>,
    /// The far end is a proxy that reads requests, so they carry the whole URL.
    pub(super) forwarded: bool,
    /// HTTP/2 without asking.
    pub(super) http2: bool,
}

/// Whether a connection has served a request before. A request that was not written to such a
/// one met a connection that had been idle; to a new one, a broken server.
///
/// It reaches the response and the error through hyper-util's connection info.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<AtomicBool>);

// ===== impl Kept =====

impl Kept {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// ===== impl Socket =====

impl Connection for Socket {
    fn connected(&self) -> Connected {
        let connected = self
            .io
            .connected()
            .proxy(self.forwarded)
            .extra(Kept::default());
        if self.http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

//! The connection that the pool keeps.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{net::TcpStream, time::Instant};

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

/// Whether a connection was kept in the pool, rather than made for the request at hand. A request
/// that was not written to a kept one met a server that closes what is idle; to a new one, a
/// broken server.
///
/// It reaches the response and the error through hyper-util's connection info.
#[derive(Clone)]
pub(super) struct Kept(Arc<Life>);

struct Life {
    served: AtomicBool,
    since: Instant,
}

// ===== impl Kept =====

impl Kept {
    /// A new connection has its request at once. One that has lived this long without was made
    /// for a request that then took another, and went into the pool unused.
    const NEW: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self(Arc::new(Life {
            served: AtomicBool::new(false),
            since: Instant::now(),
        }))
    }

    /// It has served a request.
    pub(super) fn served(&self) {
        self.0.served.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_kept(&self) -> bool {
        self.0.served.load(Ordering::Relaxed) || self.0.since.elapsed() >= Self::NEW
    }
}

// ===== impl Socket =====

impl Connection for Socket {
    fn connected(&self) -> Connected {
        // Without the addresses that hyper-util would put into every response.
        let connected = Connected::new().proxy(self.forwarded).extra(Kept::new());
        if self.http2 || self.io.connected().is_negotiated_h2() {
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::Kept;

    #[tokio::test(start_paused = true)]
    async fn a_connection_was_kept_if_it_has_served_or_was_long_without_a_request() {
        let new = Kept::new();
        assert!(!new.was_kept());
        new.clone().served();
        assert!(new.was_kept());

        let unused = Kept::new();
        assert!(!unused.was_kept());
        advance(Kept::NEW).await;
        assert!(unused.was_kept());
    }
}

//! A caller's end of a connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::config::Limits;

/// A socket that can be closed on somebody who is still sending.
///
/// A system that closes a socket with bytes unread resets the connection, and the reset may destroy
/// the answer before it is read: so what a refused caller goes on to send is read and thrown away,
/// within bounds (RFC 9112, 9.6).
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// What was read to learn the version, and how much of it was handed on.
    begun: [u8; PREFACE.len()],
    read: usize,
    handed: usize,
    still_sending: StillSending,
    bounds: Bounds,
    linger: Option<Linger>,
}

/// Says that the caller may be sending when the connection closes.
#[derive(Clone, Debug, Default)]
pub(crate) struct StillSending(Arc<AtomicBool>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// How much is thrown away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

#[derive(Debug)]
struct Linger {
    bytes: usize,
    end: Instant,
    quiet: Pin<Box<Sleep>>,
}

/// The beginning of every HTTP/2 connection (RFC 9113, 3.4). No HTTP/1 request begins like it.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The least that is thrown away, whatever the limit of a body.
const LINGER_BYTES: usize = 64 << 20;

/// How long a caller who was told that the connection closes may say nothing, and not close it.
const QUIET: Duration = Duration::from_secs(2);

// ===== impl Socket =====

impl Socket {
    pub(crate) fn new(stream: TcpStream, limits: &Limits) -> Self {
        Self {
            stream,
            begun: PREFACE,
            read: 0,
            handed: 0,
            still_sending: StillSending::default(),
            bounds: Bounds::new(limits),
            linger: None,
        }
    }

    /// Waits until it is clear which HTTP the caller speaks.
    pub(crate) async fn version(&mut self) -> io::Result<Version> {
        while self.read < PREFACE.len() {
            let count = self.stream.read(&mut self.begun[self.read..]).await?;
            self.read += count;
            if count == 0 || self.begun[..self.read] != PREFACE[..self.read] {
                return Ok(Version::Http1);
            }
        }
        Ok(Version::Http2)
    }

    pub(crate) fn still_sending(&self) -> StillSending {
        self.still_sending.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begun = &self.begun[self.handed..self.read];
        if begun.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = begun.len().min(buf.remaining());
        buf.put_slice(&begun[..count]);
        self.handed += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let linger = match &mut this.linger {
            Some(linger) => linger,
            none => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                if !this.still_sending.is_set() {
                    return Poll::Ready(Ok(()));
                }
                none.insert(Linger::new(this.bounds))
            }
        };
        linger.poll(&mut this.stream, cx).map(Ok)
    }
}

// ===== impl Bounds =====

impl Bounds {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bytes: limits.body.max(LINGER_BYTES),
            time: limits.read,
        }
    }
}

// ===== impl Linger =====

impl Linger {
    fn new(bounds: Bounds) -> Self {
        Self {
            bytes: bounds.bytes,
            end: Instant::now() + bounds.time,
            quiet: Box::pin(sleep(QUIET.min(bounds.time))),
        }
    }

    /// Throws away what comes, until nothing more does.
    fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 16 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                // Closed by the other end as well, or broken.
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.quiet.as_mut().poll(cx),
            }
            let now = Instant::now();
            let Some(left) = self.bytes.checked_sub(buf.filled().len()) else {
                return Poll::Ready(());
            };
            if now >= self.end {
                return Poll::Ready(());
            }
            self.bytes = left;
            self.quiet.as_mut().reset(self.end.min(now + QUIET));
        }
    }
}

// ===== impl StillSending =====

impl StillSending {
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::{PREFACE, Socket, Version};
    use crate::config::Limits;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (stream, _) = listener.accept().await.unwrap();
        (caller.unwrap(), Socket::new(stream, &Limits::default()))
    }

    #[tokio::test]
    async fn the_version_is_known_by_the_first_bytes_and_they_are_handed_on() {
        for (text, version) in [
            (&PREFACE[..], Version::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand more", Version::Http2),
            (b"PRI * HTTP/1.1\r\n\r\n", Version::Http1),
            (b"POST / HTTP/1.1\r\n\r\n", Version::Http1),
            (b"G", Version::Http1),
            (b"PRI", Version::Http1),
            (b"", Version::Http1),
        ] {
            // In one piece, and byte by byte.
            for size in [text.len().max(1), 1] {
                let (mut caller, mut socket) = pair().await;
                let send = async move {
                    for part in text.chunks(size) {
                        caller.write_all(part).await.unwrap();
                    }
                };
                let receive = async {
                    assert_eq!(socket.version().await.unwrap(), version, "{text:?}");
                    let mut read = Vec::new();
                    socket.read_to_end(&mut read).await.unwrap();
                    assert_eq!(read, text);
                };
                tokio::join!(send, receive);
            }
        }
    }
}

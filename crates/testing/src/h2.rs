//! HTTP/2: framing by the `h2` crate, and the one frame that it would not send.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    task::JoinSet,
};

use crate::{
    Carrier, Request,
    engine::Engine,
    log::{Ending, Exchange},
    plan::{Head, Part, Plan},
};

/// The beginning of every HTTP/2 connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most streams of a connection at the same time.
const STREAMS: u32 = 1000;

/// How a stream ended, as far as it concerns its connection.
enum Ended {
    Itself,
    /// It is to be reset, once what it has sent is written.
    Reset(SendStream<Bytes>),
    /// With the connection: this stream was not begun. Dropped too early, it would be reset.
    GoAway(SendResponse<Bytes>),
}

/// The client went away, or reset the stream.
struct Gone;

/// A connection that is used by `h2`, and by us once it is to misbehave.
struct Shared<T>(Arc<Mutex<Rewound<T>>>);

/// A connection of which some was read already.
struct Rewound<T> {
    prefix: BytesMut,
    io: T,
}

/// Answers requests on all streams until one side closes.
pub(crate) async fn serve<T>(io: T, prefix: BytesMut, engine: Arc<Engine>, number: u64)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = Arc::new(Mutex::new(Rewound { prefix, io }));
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 22)
        .handshake::<_, Bytes>(Shared(Arc::clone(&io)));
    let Ok(mut connection) = handshake.await else {
        return;
    };
    let mut streams = JoinSet::new();
    let refused = loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    streams.spawn(stream(request, respond, Arc::clone(&engine), number));
                }
                Some(Err(_)) | None => return,
            },
            Some(ended) = streams.join_next() => match ended {
                Ok(Ended::GoAway(stream)) => break stream,
                Ok(Ended::Reset(mut stream)) => {
                    // A reset drops what is not written yet. Being polled until it has nothing to
                    // do, the connection writes.
                    while let Poll::Ready(accepted) =
                        poll_fn(|cx| Poll::Ready(connection.poll_accept(cx))).await
                    {
                        let Some(Ok((request, respond))) = accepted else {
                            return;
                        };
                        streams.spawn(self::stream(request, respond, Arc::clone(&engine), number));
                    }
                    stream.send_reset(Reason::INTERNAL_ERROR);
                }
                Ok(Ended::Itself) | Err(_) => {}
            },
        }
    };
    drop(connection);
    drop(streams);
    // A client's streams have odd numbers.
    let last = refused.stream_id().as_u32().saturating_sub(2);
    let _ = go_away(&mut Shared(io), last).await;
}

/// Says that no stream above `last` was begun, and closes. `h2` counts a stream as begun once it
/// has given it to us, and would say so.
async fn go_away<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Shared<T>,
    last: u32,
) -> io::Result<()> {
    // Length 8, type GOAWAY, no flags, stream 0; the last stream; NO_ERROR (RFC 9113, 6.8).
    let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame[9..13].copy_from_slice(&last.to_be_bytes());
    io.write_all(&frame).await?;
    io.shutdown().await
}

async fn stream(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    engine: Arc<Engine>,
    number: u64,
) -> Ended {
    let (parts, body) = request.into_parts();
    let head_only = parts.method == http::Method::HEAD;
    let body = match read(body, engine.max_body).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            let message = format!("the body is longer than {} bytes", engine.max_body);
            let plan = engine.refuse(StatusCode::PAYLOAD_TOO_LARGE, &message);
            // A client that does not wait for its refusal is gone.
            let _ = say(&plan, None, &mut respond, false).await;
            return Ended::Itself;
        }
        Err(_) => return Ended::Itself,
    };
    let request = Request::new(engine.dialect, parts, body);
    let (exchange, plan) = engine.answer(Carrier::Http2, number, request);
    match plan.head {
        Head::GoAway => {
            exchange.end(Ending::BrokenOff);
            return Ended::GoAway(respond);
        }
        Head::Fail(_) => {
            exchange.end(Ending::BrokenOff);
            respond.send_reset(Reason::REFUSED_STREAM);
        }
        _ => match say(&plan, Some(&exchange), &mut respond, head_only).await {
            Ok(None) => exchange.end(Ending::Replied),
            Ok(Some(broken)) => {
                exchange.end(Ending::BrokenOff);
                return Ended::Reset(broken);
            }
            Err(Gone) => drop(exchange),
        },
    }
    Ended::Itself
}

/// Answers a request. A stream that is given back is to be reset.
async fn say(
    plan: &Plan,
    exchange: Option<&Exchange>,
    respond: &mut SendResponse<Bytes>,
    head_only: bool,
) -> Result<Option<SendStream<Bytes>>, Gone> {
    if let Some(delay) = plan.before_head {
        let reset = poll_fn(|cx| respond.poll_reset(cx));
        wait(reset, Some(delay)).await?;
    }
    if let Head::Raw(_) = plan.head {
        wait(poll_fn(|cx| respond.poll_reset(cx)), None).await?;
    }
    let mut head = Response::new(());
    *head.status_mut() = plan.status;
    for (name, value) in &plan.headers {
        head.headers_mut().append(name, value.clone());
    }
    let nothing = head_only || plan.parts.is_empty();
    let mut out = respond.send_response(head, nothing).map_err(|_| Gone)?;
    if nothing {
        return Ok(None);
    }
    for part in &plan.parts {
        match part {
            Part::Data(data) => {
                if let (Some(output), Some(exchange)) = (data.billed, exchange) {
                    exchange.bill(plan.usage, output);
                }
                send(&mut out, data.bytes.clone()).await?;
            }
            Part::Repeat {
                bytes,
                times,
                every,
            } => {
                let mut left = *times;
                while left != Some(0) {
                    left = left.map(|left| left - 1);
                    send(&mut out, bytes.clone()).await?;
                    pause(&mut out, *every).await?;
                }
            }
            Part::Pause(delay) => pause(&mut out, *delay).await?,
            Part::Stall => wait(poll_fn(|cx| out.poll_reset(cx)), None).await?,
            Part::Reset | Part::Close | Part::Raw(_) => {
                return Ok(Some(out));
            }
        }
    }
    out.send_data(Bytes::new(), true).map_err(|_| Gone)?;
    Ok(None)
}

/// Sends data as the client's window allows.
async fn send(out: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Gone> {
    while !bytes.is_empty() {
        out.reserve_capacity(bytes.len());
        let capacity = poll_fn(|cx| out.poll_capacity(cx)).await;
        let capacity = capacity.ok_or(Gone)?.map_err(|_| Gone)?;
        let piece = bytes.split_to(capacity.min(bytes.len()));
        out.send_data(piece, false).map_err(|_| Gone)?;
    }
    Ok(())
}

async fn pause(out: &mut SendStream<Bytes>, delay: Duration) -> Result<(), Gone> {
    if delay.is_zero() {
        tokio::task::yield_now().await;
        return Ok(());
    }
    wait(poll_fn(|cx| out.poll_reset(cx)), Some(delay)).await
}

/// Waits, for ever if no delay is given, unless the client goes away.
async fn wait(
    reset: impl Future<Output = Result<Reason, h2::Error>>,
    delay: Option<Duration>,
) -> Result<(), Gone> {
    let delay = async {
        match delay {
            Some(delay) => tokio::time::sleep(delay).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = reset => Err(Gone),
        () = delay => Ok(()),
    }
}

/// The whole body; `None` if it is longer than `most`.
async fn read(mut body: RecvStream, most: usize) -> Result<Option<Bytes>, h2::Error> {
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        if data.len() > most - read.len() {
            return Ok(None);
        }
        body.flow_control().release_capacity(data.len())?;
        read.extend_from_slice(&data);
    }
    Ok(Some(read.freeze()))
}

// ===== impl Shared =====

impl<T> Shared<T> {
    fn io(&self) -> MutexGuard<'_, Rewound<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Shared<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut io = self.io();
        if !io.prefix.is_empty() {
            let length = io.prefix.len().min(buffer.remaining());
            buffer.put_slice(&io.prefix[..length]);
            io.prefix.advance(length);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut io.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Shared<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io().io).poll_shutdown(cx)
    }
}

//! HTTP/1.1, written by hand: a library that writes it correctly cannot write it wrongly.

mod parse;

use std::{
    future::{Future, poll_fn},
    io::{self, Write},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Request,
    engine::Engine,
    log::{Ending, Exchange},
    plan::{After, Framing, Head, Part, Plan},
};
use parse::Length;

/// A connection: what was read and not used yet, and what is not written yet.
pub(crate) struct Connection<T> {
    io: T,
    inbox: BytesMut,
    outbox: Vec<u8>,
}

/// What came next on a connection.
#[allow(clippy::large_enum_variant)] // It lives for a moment, on the stack.
pub(crate) enum Incoming {
    Request { request: Request, asked: Asked },
    Unreadable { status: StatusCode, why: String },
    End,
}

/// How a request wants its reply framed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The connection is to be used again.
    keep: bool,
    /// The head alone: the request was a HEAD.
    head_only: bool,
    /// Chunks are understood: the request was HTTP/1.1.
    chunks: bool,
}

/// How a plan was carried out.
enum Said {
    Whole { keep: bool },
    BrokenOff { reset: bool },
}

/// What a connection runs on.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Has the connection reset when it is dropped, instead of closed.
    fn reset_on_drop(&self);
}

/// The client went away: what was read says so, or a write failed.
struct Gone;

/// The longest head that is read, in bytes.
const HEAD: usize = 64 << 10;
/// The longest line of a chunk's size or of a trailer that is read, in bytes.
const LINE: usize = 4 << 10;
/// How much is written at once.
const WRITE: usize = 16 << 10;
/// How much of the next request is read while this one is answered.
const AHEAD: usize = 64 << 10;

// ===== impl Connection =====

impl<T: Transport> Connection<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            inbox: BytesMut::new(),
            outbox: Vec::new(),
        }
    }

    /// Reads until it is clear whether this connection begins with these bytes.
    pub(crate) async fn begins_with(&mut self, bytes: &[u8]) -> io::Result<bool> {
        loop {
            let length = self.inbox.len().min(bytes.len());
            if self.inbox[..length] != bytes[..length] {
                return Ok(false);
            }
            if length == bytes.len() {
                return Ok(true);
            }
            if self.io.read_buf(&mut self.inbox).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// The connection, and what was read from it.
    pub(crate) fn into_parts(self) -> (T, BytesMut) {
        (self.io, self.inbox)
    }

    /// Reads the next request, head and body.
    pub(crate) async fn receive(&mut self, engine: &Engine) -> io::Result<Incoming> {
        let (parts, asked) = loop {
            match parse::head(&self.inbox) {
                Ok(Some((length, parts, asked))) => {
                    self.inbox.advance(length);
                    break (parts, asked);
                }
                Ok(None) if self.inbox.len() > HEAD => {
                    return Ok(unreadable(
                        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                        "the head is longer than 64 KiB",
                    ));
                }
                Ok(None) => {}
                Err(why) => return Ok(unreadable(StatusCode::BAD_REQUEST, &why)),
            }
            if self.io.read_buf(&mut self.inbox).await? == 0 {
                // A client that leaves in the middle of a head has asked for nothing yet.
                return Ok(Incoming::End);
            }
        };
        if parse::expects_continue(&parts.headers) {
            self.io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = match parse::body(&parts.headers) {
            Ok(Length::Known(length)) if length > engine.max_body as u64 => Err(None),
            Ok(Length::Known(length)) => Ok(self.read_exact(length as usize).await?),
            Ok(Length::Chunked) => self.read_chunks(engine.max_body).await?,
            Err(why) => Err(Some(why)),
        };
        Ok(match body {
            Ok(body) => Incoming::Request {
                request: Request::new(engine.dialect, parts, body),
                asked,
            },
            Err(Some(why)) => unreadable(StatusCode::BAD_REQUEST, why),
            Err(None) => unreadable(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body is longer than {} bytes", engine.max_body),
            ),
        })
    }

    /// Answers a request; whether the connection can be used again.
    pub(crate) async fn carry_out(&mut self, plan: Plan, exchange: Exchange, asked: Asked) -> bool {
        let said = match self.say(&plan, &exchange, asked).await {
            Ok(said) => said,
            Err(Gone) => return false,
        };
        match said {
            Said::Whole { keep } => {
                exchange.end(Ending::Replied);
                self.afterwards(plan.after, keep).await
            }
            Said::BrokenOff { reset } => {
                // Before the client can see it, so that whoever saw it finds it in the log.
                exchange.end(Ending::BrokenOff);
                if reset {
                    self.io.reset_on_drop();
                }
                false
            }
        }
    }

    /// Answers what could not be read as a request, and closes.
    pub(crate) async fn refuse(&mut self, plan: &Plan) -> io::Result<()> {
        self.head(plan, Framing::Length, false);
        for part in &plan.parts {
            if let Part::Data(data) = part {
                self.outbox.extend_from_slice(&data.bytes);
            }
        }
        self.io.write_all(&self.outbox).await?;
        self.io.shutdown().await?;
        // Closing with something unread would reset the connection, and the answer with it.
        let mut rest = [0; 4096];
        let mut budget = 1 << 20;
        while budget > 0 {
            match self.io.read(&mut rest).await? {
                0 => break,
                read => budget -= read.min(budget),
            }
        }
        Ok(())
    }

    async fn say(&mut self, plan: &Plan, exchange: &Exchange, asked: Asked) -> Result<Said, Gone> {
        if let Some(delay) = plan.before_head {
            self.pause(delay).await?;
        }
        let framing = match (&plan.head, plan.framing) {
            (Head::Raw(_), _) => Framing::Close,
            (_, Framing::Chunked) if !asked.chunks => Framing::Close,
            (_, framing) => framing,
        };
        let chunked = framing == Framing::Chunked;
        let keep = asked.keep && framing != Framing::Close;
        self.head(plan, framing, keep);
        let mut billed = None;
        for part in &plan.parts {
            match part {
                Part::Data(data) => {
                    billed = data.billed.or(billed);
                    if !asked.head_only {
                        self.data(&data.bytes, chunked);
                    }
                    if self.outbox.len() >= WRITE {
                        self.flush(plan, exchange, &mut billed).await?;
                    }
                }
                Part::Repeat {
                    bytes,
                    times,
                    every,
                } => {
                    let mut left = *times;
                    while left != Some(0) {
                        left = left.map(|left| left - 1);
                        self.data(bytes, chunked);
                        if !every.is_zero() || self.outbox.len() >= WRITE {
                            self.flush(plan, exchange, &mut billed).await?;
                            self.pause(*every).await?;
                        }
                    }
                }
                Part::Raw(bytes) => self.outbox.extend_from_slice(bytes),
                Part::Pause(delay) => {
                    self.flush(plan, exchange, &mut billed).await?;
                    self.pause(*delay).await?;
                }
                Part::Stall => {
                    self.flush(plan, exchange, &mut billed).await?;
                    self.gone().await;
                    return Err(Gone);
                }
                Part::Reset | Part::Close => {
                    self.flush(plan, exchange, &mut billed).await?;
                    let reset = matches!(part, Part::Reset);
                    return Ok(Said::BrokenOff { reset });
                }
            }
        }
        if chunked && !asked.head_only {
            self.outbox.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush(plan, exchange, &mut billed).await?;
        Ok(match framing {
            Framing::Short(_) => Said::BrokenOff { reset: false },
            _ => Said::Whole { keep },
        })
    }

    /// Leaves a connection as the plan says; whether it can be used again.
    async fn afterwards(&mut self, after: After, keep: bool) -> bool {
        match after {
            After::Keep if keep => true,
            After::Keep => {
                // Over TLS, a connection that ends without a word looks cut.
                let _ = self.io.shutdown().await;
                false
            }
            After::CloseSilently => false,
            After::CloseAtNextByte => {
                if self.inbox.is_empty() {
                    // Whether bytes came or the client left: the connection is done.
                    let _ = self.io.read_buf(&mut self.inbox).await;
                }
                false
            }
            After::HalfClose => {
                if self.io.shutdown().await.is_ok() {
                    self.gone().await;
                }
                false
            }
        }
    }

    fn data(&mut self, bytes: &[u8], chunked: bool) {
        if !chunked {
            self.outbox.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            // An empty chunk would end the body.
            let _ = write!(self.outbox, "{:x}\r\n", bytes.len());
            self.outbox.extend_from_slice(bytes);
            self.outbox.extend_from_slice(b"\r\n");
        }
    }

    fn head(&mut self, plan: &Plan, framing: Framing, keep: bool) {
        let spoiled = match &plan.head {
            Head::Raw(bytes) => return self.outbox.extend_from_slice(bytes),
            Head::Spoiled(bytes) => bytes.clone(),
            Head::Proper | Head::Fail(_) | Head::GoAway => Bytes::new(),
        };
        let status = plan.status;
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let _ = write!(self.outbox, "HTTP/1.1 {} {reason}\r\n", status.as_str());
        for (name, value) in &plan.headers {
            self.outbox.extend_from_slice(name.as_str().as_bytes());
            self.outbox.extend_from_slice(b": ");
            self.outbox.extend_from_slice(value.as_bytes());
            self.outbox.extend_from_slice(b"\r\n");
        }
        if !keep {
            self.outbox.extend_from_slice(b"connection: close\r\n");
        }
        let _ = match framing {
            Framing::Length => write!(self.outbox, "content-length: {}\r\n", plan.length()),
            Framing::Short(by) => {
                write!(self.outbox, "content-length: {}\r\n", plan.length() + by)
            }
            Framing::Chunked => write!(self.outbox, "transfer-encoding: chunked\r\n"),
            Framing::Close => Ok(()),
        };
        self.outbox.extend_from_slice(&spoiled);
        self.outbox.extend_from_slice(b"\r\n");
    }

    /// Writes what is to be written, once it is on the bill.
    async fn flush(
        &mut self,
        plan: &Plan,
        exchange: &Exchange,
        billed: &mut Option<u64>,
    ) -> Result<(), Gone> {
        if let Some(output) = billed.take() {
            exchange.bill(plan.usage, output);
        }
        let written = self.io.write_all(&self.outbox).await;
        self.outbox.clear();
        written.map_err(|_| Gone)?;
        self.io.flush().await.map_err(|_| Gone)
    }

    /// Waits, unless the client goes away.
    async fn pause(&mut self, delay: Duration) -> Result<(), Gone> {
        if delay.is_zero() {
            tokio::task::yield_now().await;
            return match self.poll_gone_now().await {
                true => Err(Gone),
                false => Ok(()),
            };
        }
        tokio::select! {
            biased;
            () = self.gone() => Err(Gone),
            () = tokio::time::sleep(delay) => Ok(()),
        }
    }

    /// Ends when the client has closed its side. What it sends instead is kept.
    async fn gone(&mut self) {
        while self.inbox.len() < AHEAD {
            match self.io.read_buf(&mut self.inbox).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }

    async fn poll_gone_now(&mut self) -> bool {
        let mut gone = pin!(self.gone());
        poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_ready())).await
    }

    async fn read_exact(&mut self, length: usize) -> io::Result<Bytes> {
        while self.inbox.len() < length {
            self.inbox.reserve(length - self.inbox.len());
            if self.io.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.inbox.split_to(length).freeze())
    }

    /// Reads a chunked body. `Err(None)`: it is longer than `most`; `Err(Some)`: why it is no body.
    async fn read_chunks(
        &mut self,
        most: usize,
    ) -> io::Result<Result<Bytes, Option<&'static str>>> {
        let mut body = BytesMut::new();
        loop {
            let Some(line) = self.read_line().await? else {
                return Ok(Err(Some("the line of a chunk's size has no end")));
            };
            let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line)
            else {
                return Ok(Err(Some("a chunk's size could not be read")));
            };
            if size > (most - body.len()) as u64 {
                return Ok(Err(None));
            }
            if size == 0 {
                break;
            }
            let chunk = self.read_exact(size as usize + 2).await?;
            if !chunk.ends_with(b"\r\n") {
                return Ok(Err(Some("a chunk is not as long as it says")));
            }
            body.extend_from_slice(&chunk[..size as usize]);
        }
        let mut trailers = 0;
        loop {
            match self.read_line().await? {
                Some(line) if &line[..] == b"\r\n" => return Ok(Ok(body.freeze())),
                Some(line) if trailers + line.len() <= HEAD => trailers += line.len(),
                _ => return Ok(Err(Some("the trailers have no end"))),
            }
        }
    }

    /// A line with its end; `None` if it is too long.
    async fn read_line(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.inbox.iter().take(LINE).position(|byte| *byte == b'\n') {
                return Ok(Some(self.inbox.split_to(end + 1).freeze()));
            }
            if self.inbox.len() >= LINE {
                return Ok(None);
            }
            if self.io.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

// ===== impl Transport =====

impl Transport for TcpStream {
    fn reset_on_drop(&self) {
        // Where it cannot be set, the connection is gone already.
        let _ = self.set_zero_linger();
    }
}

fn unreadable(status: StatusCode, why: &str) -> Incoming {
    let why = why.to_owned();
    Incoming::Unreadable { status, why }
}

use std::{fmt, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// One end of a connection, read and written by hand.
struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A message as it stood on the wire, its body put together.
pub(crate) struct Answer {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Somebody who calls the gateway.
pub(crate) struct Caller {
    wire: Wire,
}

/// Somebody whom the gateway calls, and who answers byte by byte what a test says.
pub(crate) struct Upstream {
    listener: TcpListener,
    wire: Option<Wire>,
}

// ===== impl Wire =====

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Reads until these bytes have come, and returns everything up to and with them.
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|part| part == end) {
                let rest = self.read.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(
                self.stream.read_buf(&mut self.read).await.unwrap() > 0,
                "it ends in a body"
            );
        }
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    async fn head(&mut self) -> Option<String> {
        Some(String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap())
    }

    /// The next part of a chunked body; `None` after the last.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line =
            String::from_utf8(self.until(b"\r\n").await.expect("it ends in a body")).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = self.exactly(size + 2).await;
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    async fn message(&mut self) -> Option<Answer> {
        let head = self.head().await?;
        let mut message = Answer {
            head,
            body: Vec::new(),
        };
        if message.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                message.body.extend(chunk);
            }
        } else if let Some(length) = message.header("content-length") {
            message.body = self.exactly(length.parse().unwrap()).await;
        }
        Some(message)
    }

    /// Whether the other end closes or resets, and says nothing before.
    async fn closed(&mut self) -> bool {
        self.read.is_empty() && self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0
    }
}

// ===== impl Answer =====

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    /// The values of all headers of this name, joined by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let values: Vec<_> = lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

// ===== impl Caller =====

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            wire: Wire::new(TcpStream::connect(address).await.unwrap()),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn head(&mut self) -> String {
        self.wire.head().await.expect("no head came")
    }

    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.wire.chunk().await
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.wire.message().await.expect("no answer came")
    }

    /// The same, to a HEAD.
    pub(crate) async fn answer_without_body(&mut self) -> Answer {
        let head = self.wire.head().await.expect("no answer came");
        Answer {
            head,
            body: Vec::new(),
        }
    }

    pub(crate) async fn closed(&mut self) -> bool {
        self.wire.closed().await
    }

    /// Whether the other end closes in good order, and says nothing before.
    pub(crate) async fn ended(&mut self) -> bool {
        self.wire.read.is_empty()
            && self
                .wire
                .stream
                .read_buf(&mut self.wire.read)
                .await
                .unwrap()
                == 0
    }

    /// Waits for the other end to close, whatever it says before.
    pub(crate) async fn gone(&mut self) {
        while self
            .wire
            .stream
            .read_buf(&mut self.wire.read)
            .await
            .unwrap_or(0)
            > 0
        {}
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.stream.write_all(bytes).await
    }

    /// Posts this body, with these headers (each with its line's end), and waits for the answer.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        self.start(path, headers, body).await;
        self.answer().await
    }

    /// The same, without waiting.
    pub(crate) async fn start(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) {
        let (body, length) = (body.as_ref(), body.as_ref().len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
        );
        self.send([head.as_bytes(), body].concat()).await;
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n"
        ))
        .await;
        self.answer().await
    }
}

// ===== impl Upstream =====

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            wire: None,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next request, on the connection that there is or on a new one.
    pub(crate) async fn request(&mut self) -> Answer {
        loop {
            if let Some(wire) = &mut self.wire {
                let mut byte = [0];
                tokio::select! {
                    _ = wire.stream.peek(&mut byte) => match wire.message().await {
                        Some(request) => return request,
                        None => self.wire = None,
                    },
                    // The gateway need not wait for its connection to be free again.
                    accepted = self.listener.accept() => self.wire = Some(Wire::new(accepted.unwrap().0)),
                }
            } else {
                self.wire = Some(Wire::new(self.listener.accept().await.unwrap().0));
            }
        }
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let wire = self.wire.as_mut().expect("nobody has called");
        wire.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Says a whole reply with these headers (each with its line's end).
    pub(crate) async fn reply(&mut self, status: &str, headers: &str, body: impl AsRef<[u8]>) {
        let length = body.as_ref().len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
        self.say([head.as_bytes(), body.as_ref()].concat()).await;
    }

    /// Begins a stream.
    pub(crate) async fn stream(&mut self, headers: &str) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n";
        self.say(format!("{head}{headers}\r\n")).await;
    }

    /// Goes on with it; nothing ends it.
    pub(crate) async fn chunk(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        self.say([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
            .await;
    }

    /// Whether the gateway goes away, and says nothing before.
    pub(crate) async fn left(&mut self) -> bool {
        self.wire
            .as_mut()
            .expect("nobody has called")
            .closed()
            .await
    }

    /// Breaks the connection off.
    pub(crate) fn hang_up(&mut self) {
        self.wire = None;
    }
}

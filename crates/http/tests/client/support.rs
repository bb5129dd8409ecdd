//! Servers, and what every failing request must hold.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{Class, Fault, Sent};
use buttress_http::client::{Client, Error, Kind, ResponseBody};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tower_service::Service;

/// In every request that is expected to fail, in header, query and body.
pub(crate) const CANARY: &str = "sk-canary-0123456789abcdef";

/// A server on loopback that plays one script for each connection.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// `script` gets each connection, with the number of those before it.
    pub(crate) async fn new<F, R>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> R + Send + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                // A script may fail: most clients here go away in the middle of it.
                connections.spawn(script(number, stream));
            }
        });
        Self {
            addr,
            accepted,
            _tasks: tasks,
        }
    }

    /// A server that reads the head of one request per connection, and then plays `script`.
    pub(crate) async fn after_head<F, R>(script: F) -> Self
    where
        F: Fn(TcpStream) -> R + Clone + Send + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::new(move |_, mut stream| {
            let script = script.clone();
            async move {
                read_head(&mut stream).await?;
                script(stream).await
            }
        })
        .await
    }

    /// A server that answers every request with these bytes and then closes.
    pub(crate) async fn answering(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::after_head(move |mut stream| {
            let bytes = bytes.clone();
            async move { stream.write_all(&bytes).await }
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// A client of this server, with a prefix.
    pub(crate) fn client(&self) -> Client {
        Client::direct(&format!("http://{}/v1", self.addr)).unwrap()
    }
}

/// A port that nobody listens on, and that nobody else gets while the socket is there.
pub(crate) fn deaf() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// A request body of which nobody knows the length.
pub(crate) struct Frames(VecDeque<io::Result<&'static str>>);

impl Frames {
    pub(crate) fn new(frames: impl IntoIterator<Item = io::Result<&'static str>>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = self.0.pop_front();
        Poll::Ready(
            next.map(|next| next.map(|data| Frame::data(Bytes::from_static(data.as_bytes())))),
        )
    }
}

/// Has the close of a connection be a reset.
pub(crate) fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

/// Reads as far as the empty line that ends a head, and a body with a stated length.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(read).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await?;
    }
    Ok(head)
}

/// Waits until the other side is gone, by a close or a reset.
pub(crate) async fn gone<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut buf = [0; 1024];
    while stream.read(&mut buf).await.is_ok_and(|read| read > 0) {}
}

/// A request that holds the canary wherever one can be.
pub(crate) fn request() -> Request<Full<Bytes>> {
    Request::post(format!("/chat?key={CANARY}"))
        .header("authorization", format!("Bearer {CANARY}"))
        .header("x-api-key", CANARY)
        .body(Full::from(CANARY))
        .unwrap()
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

/// One attempt.
pub(crate) async fn call(
    client: &Client,
    request: Request<Full<Bytes>>,
) -> Result<Response<ResponseBody>, Error> {
    client.clone().call(request).await
}

/// The whole reply to one attempt that is expected to succeed.
pub(crate) async fn reply(client: &Client, request: Request<Full<Bytes>>) -> String {
    let response = call(client, request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// One attempt that is expected to fail. Whatever it fails with keeps the canary to itself, and
/// its kind is found below a box too.
pub(crate) async fn failure(client: &Client) -> Error {
    let error = call(client, request()).await.unwrap_err();
    assert_silent(&error);
    let boxed: Box<dyn StdError + Send + Sync> = error.into();
    assert_eq!(
        boxed.cause().map(Kind::of),
        Some(boxed.downcast_ref::<Error>().unwrap().kind()),
        "{boxed:#?}"
    );
    *boxed.downcast::<Error>().unwrap()
}

pub(crate) async fn fails(client: &Client, kind: Kind, class: Class, sent: Sent) -> Error {
    let error = failure(client).await;
    assert_eq!(error.kind(), kind, "{error:#?}");
    assert_eq!(error.outcome(), kind.outcome());
    assert_eq!((error.outcome().class, error.outcome().sent), (class, sent));
    error
}

/// A failure of this kind, after which nobody knows whether the request was served.
pub(crate) async fn may_have_been_served(client: &Client, kind: Kind) -> Error {
    fails(client, kind, Class::Unavailable, Sent::Maybe).await
}

/// An error's texts, to the bottom of its chain, have nothing of the canary.
pub(crate) fn assert_silent(error: &(dyn StdError + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        silent(&format!("{error} {error:?} {error:#?}"));
        next = error.source();
    }
}

/// S1: neither the canary, nor its first 8 characters, nor its base64.
pub(crate) fn silent(text: &str) {
    // base64 of "sk-canary" and of ":sk-canary" at each of the three alignments.
    for secret in [
        &CANARY[..8],
        "c2stY2FuY",
        "OnNrLWNhb",
        "pzay1jYW5",
        "6c2stY2Fu",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

//! A pooled HTTP client for one base URL.
//!
//! [`Client`] is a thin `Service` over hyper-util's client and rustls, made to stand innermost
//! in a stack of layers. Each call is one attempt: nothing is retried below the layers, and an
//! [`Error`] knows how far the attempt came.
//!
//! # When to use it
//!
//! For calls to a provider, or to any other HTTP API under one URL, where the layers outside
//! should know what went wrong.
//!
//! # When not
//!
//! If you already have a client, keep it. [`Kind::of`] reads the errors of every client that is
//! made of hyper, reqwest among them. And this one reaches one host: it is no browser, has no
//! cookies, decodes no `content-encoding`, and follows no redirect.
//!
//! # Examples
//!
//! ```no_run
//! use bytes::Bytes;
//! use buttress_http::client::Client;
//! use http::Request;
//! use http_body_util::{BodyExt, Full};
//! use tower_service::Service;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::new("https://api.openai.com/v1")?;
//! let request = Request::post("/chat/completions")
//!     .header("authorization", "Bearer …")
//!     .header("content-type", "application/json")
//!     .body(Full::new(Bytes::from_static(b"{}")))?;
//! let response = client.call(request).await?;
//! let reply = response.into_body().collect().await?.to_bytes();
//! # Ok(())
//! # }
//! ```
//!
//! For a server in the same network that speaks HTTP/2 without TLS, and whose connections are
//! watched:
//!
//! ```
//! use std::time::Duration;
//! use buttress_http::client::Client;
//!
//! let client = Client::direct("http://vllm.internal:8000/v1")?
//!     .http2_only()
//!     .http2_keep_alive(Duration::from_secs(20), Duration::from_secs(5))
//!     .connect_timeout(Duration::from_secs(1));
//! # Ok::<(), buttress_http::client::Error>(())
//! ```
//!
//! # What stays under the base URL
//!
//! A request carries a path and a query, `/chat/completions?x=1`, and goes to that path under the
//! base URL's. It never chooses its host: a URL with a scheme or host is refused, as is a path
//! that a server could read as one outside the base's: with an empty, `.` or `..` segment, a
//! backslash, a control character, or bytes that are not UTF-8, however they are
//! percent-encoded. A slash inside of a segment may be: `/models/org%2Fname`. The caller's `Host`
//! header is replaced.
//!
//! # What it does to a message
//!
//! It sets `host`, `user-agent` if there is none, and what frames the body: a `content-length`
//! that contradicts a body of known length, and `transfer-encoding`, are dropped. On HTTP/2,
//! hyper drops `connection` and what it names, `keep-alive`, `proxy-connection`, `upgrade`, and
//! any `te` but `trailers`. Everything else goes as it is, in both directions.
//!
//! The body of a response is a [`ResponseBody`]: it fails with an [`Error`] as well, and also where
//! it ends before its `content-length`.

mod base;
mod body;
mod chain;
mod connect;
mod dns;
mod error;
mod future;
mod kind;
mod outgoing;
mod proxy;
mod socket;
mod tls;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body::Body;
use hyper_util::{
    client::{
        legacy::{self, connect::HttpConnector},
        proxy::matcher::Intercept,
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::CertificateDer;
use tower_service::Service;

use self::{
    base::Base,
    connect::{Connector, Way},
    error::BoxError,
    outgoing::{Informational, Outgoing},
    tls::Tls,
};
pub use self::{
    body::ResponseBody, error::Error, future::ResponseFuture, kind::Kind, proxy::Proxies,
};

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("buttress/", env!("CARGO_PKG_VERSION")));

/// A pooled HTTP client for one base URL.
///
/// Clones share connections. A setter makes a client of its own, with a pool of its own, so that
/// settings belong where the client is made.
///
/// | setting | default |
/// |---|---|
/// | [`connect_timeout`](Client::connect_timeout) | 10 s |
/// | [`tcp_keepalive`](Client::tcp_keepalive) | 60 s |
/// | [`pool_idle_timeout`](Client::pool_idle_timeout) | 50 s |
/// | [`pool_max_idle`](Client::pool_max_idle) | 256 |
/// | [`http1_only`](Client::http1_only), [`http2_only`](Client::http2_only) | over TLS what both sides know, HTTP/2 first; else HTTP/1.1 |
/// | [`http2_keep_alive`](Client::http2_keep_alive) | off |
/// | [`user_agent`](Client::user_agent) | `buttress/` and the version |
/// | [`proxies`](Client::proxies) | those of the environment |
/// | [`extra_root_pem`](Client::extra_root_pem) | none |
///
/// `TCP_NODELAY` is set. The head of a response is bounded: 100 fields and some 400 KiB on
/// HTTP/1.1, 16 KiB on HTTP/2. On HTTP/1.1, the 129th informational (1xx) response to a request is
/// an error of [`Kind::Malformed`]; on HTTP/2 each is forgotten at once, but nobody is told of
/// them, and only time bounds their number. There is no timeout after the connection is made: that
/// is the timeout layer's. See the [module](self) for what is sent where, and [`ResponseBody`] for
/// how a response ends.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    /// What the pool is told of where requests go.
    base: Base,
    /// For a proxy that reads the requests themselves.
    proxy_authorization: Option<HeaderValue>,
    /// Where HTTP/1 is certain; elsewhere hyper-util makes it, for each request that needs one.
    host: Option<HeaderValue>,
    pool: legacy::Client<Connector, Outgoing>,
}

#[derive(Clone)]
struct Settings {
    base: Base,
    connect_timeout: Duration,
    tcp_keepalive: Option<Duration>,
    pool_idle_timeout: Option<Duration>,
    pool_max_idle: usize,
    versions: Versions,
    http2_keep_alive: Option<(Duration, Duration)>,
    user_agent: HeaderValue,
    proxy: Option<Intercept>,
    roots: Vec<CertificateDer<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versions {
    Negotiated,
    Http1,
    Http2,
}

// ===== impl Client =====

impl Client {
    /// A client for this base URL, through the proxies of the environment, which is read now.
    ///
    /// # Errors
    ///
    /// [`Kind::Setup`], saying what was found and what is expected: where the URL is not
    /// `http://` or `https://` with a host and perhaps a port and a plain path, without user
    /// info, query and fragment; or where the proxy for it is not one that can be used.
    pub fn new(base: &str) -> Result<Self, Error> {
        Self::direct(base)?.proxies(&Proxies::from_env())
    }

    /// A client for this base URL that does not look for proxies.
    ///
    /// # Errors
    ///
    /// As [`new`](Client::new), of the URL.
    pub fn direct(base: &str) -> Result<Self, Error> {
        Ok(Self::build(Settings {
            base: Base::parse(base)?,
            connect_timeout: Duration::from_secs(10),
            tcp_keepalive: Some(Duration::from_secs(60)),
            // Common load balancers close what was idle for 60 s.
            pool_idle_timeout: Some(Duration::from_secs(50)),
            pool_max_idle: 256,
            versions: Versions::Negotiated,
            http2_keep_alive: None,
            user_agent: USER_AGENT,
            proxy: None,
            roots: Vec::new(),
        }))
    }

    /// How long a connection may take to be made: name lookup, TCP, proxy and TLS together. The
    /// addresses of a name share it. Zero is no time at all.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.connect_timeout = timeout)
    }

    /// After how long without a byte the system begins to probe a connection, or never.
    #[must_use]
    pub fn tcp_keepalive(self, idle: impl Into<Option<Duration>>) -> Self {
        let idle = idle.into();
        self.with(|settings| settings.tcp_keepalive = idle)
    }

    /// How long a connection without a request is kept, or forever.
    #[must_use]
    pub fn pool_idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with(|settings| settings.pool_idle_timeout = timeout)
    }

    /// How many connections without a request are kept. With zero, each request has a connection
    /// of its own.
    #[must_use]
    pub fn pool_max_idle(self, connections: usize) -> Self {
        self.with(|settings| settings.pool_max_idle = connections)
    }

    /// Speaks HTTP/1.1 alone, also over TLS.
    #[must_use]
    pub fn http1_only(self) -> Self {
        self.with(|settings| settings.versions = Versions::Http1)
    }

    /// Speaks HTTP/2 without asking ("prior knowledge"), also without TLS.
    #[must_use]
    pub fn http2_only(self) -> Self {
        self.with(|settings| settings.versions = Versions::Http2)
    }

    /// Sends an HTTP/2 ping after each `interval` without a frame while there are requests, and
    /// gives the connection up if it is not answered within `timeout`. Some servers take pings
    /// within minutes of each other for an attack.
    #[must_use]
    pub fn http2_keep_alive(self, interval: Duration, timeout: Duration) -> Self {
        self.with(|settings| settings.http2_keep_alive = Some((interval, timeout)))
    }

    /// The `user-agent` of requests that have none.
    #[must_use]
    pub fn user_agent(self, name: HeaderValue) -> Self {
        self.with(|settings| settings.user_agent = name)
    }

    /// Takes the proxy on the way from here, in place of the environment.
    ///
    /// # Errors
    ///
    /// [`Kind::Setup`], naming the variable, where the proxy for the base URL is not one that can
    /// be used.
    pub fn proxies(self, proxies: &Proxies) -> Result<Self, Error> {
        let proxy = proxies.intercept(&self.shared.settings.base.uri())?;
        Ok(self.with(|settings| settings.proxy = proxy))
    }

    /// Trusts the certificates in this PEM text as well, beside the platform's and those given
    /// before. The platform's are read when the first TLS connection of the process is made; on
    /// a machine that has none, these suffice.
    ///
    /// # Errors
    ///
    /// [`Kind::Setup`], where there is no certificate in it, or one that cannot be read.
    pub fn extra_root_pem(self, pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        let roots = tls::certificates(pem.as_ref())?;
        Ok(self.with(|settings| settings.roots.extend(roots)))
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self::build(settings)
    }

    fn build(settings: Settings) -> Self {
        let alpn: &[&str] = match settings.versions {
            Versions::Negotiated => &["h2", "http/1.1"],
            Versions::Http1 => &["http/1.1"],
            Versions::Http2 => &["h2"],
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(settings.tcp_keepalive);
        // The whole of it is bounded by the connector; this divides it among the addresses.
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let way = Way {
            host: settings.base.uri(),
            tcp,
            tls: Tls::new(settings.roots.clone(), alpn),
            proxy: settings.proxy.clone(),
            timeout: settings.connect_timeout,
            prior_knowledge: settings.versions == Versions::Http2,
        };
        let proxy_authorization = settings
            .proxy
            .as_ref()
            .filter(|_| way.forwards())
            .and_then(|proxy| proxy.basic_auth().cloned());

        let mut pool = legacy::Client::builder(TokioExecutor::new());
        pool.retry_canceled_requests(false)
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new());
        if let Some((interval, timeout)) = settings.http2_keep_alive {
            pool.http2_keep_alive_interval(interval)
                .http2_keep_alive_timeout(timeout);
        }
        let http1 = settings.base.is_plain() && settings.versions != Versions::Http2;
        let host = http1.then(|| settings.base.host()).flatten();
        let mut base = settings.base.clone();
        if host.is_some() && !way.forwards() {
            base.abbreviate();
        }
        Self {
            shared: Arc::new(Shared {
                base,
                proxy_authorization,
                host,
                pool: pool.build(Connector::new(way)),
                settings,
            }),
        }
    }
}

impl<B> Service<Request<B>> for Client
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture;

    /// Always ready: a connection is looked for in the future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let shared = &*self.shared;
        let mut request = match shared.prepare(request) {
            Ok(request) => request,
            Err(error) => return ResponseFuture::refused(error),
        };
        // HTTP/2 has no such callback; there, each one is at least forgotten at once.
        let informational = (shared.settings.versions != Versions::Http2)
            .then(|| Informational::watch(&mut request));
        let authority = shared.settings.base.authority().clone();
        ResponseFuture::sent(shared.pool.request(request), informational, authority)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shared.settings;
        f.debug_struct("Client")
            .field("base", &format_args!("{}", settings.base.uri()))
            .field("connect_timeout", &settings.connect_timeout)
            .field("tcp_keepalive", &settings.tcp_keepalive)
            .field("pool_idle_timeout", &settings.pool_idle_timeout)
            .field("pool_max_idle", &settings.pool_max_idle)
            .field("versions", &settings.versions)
            .field("http2_keep_alive", &settings.http2_keep_alive)
            .field("proxy", &settings.proxy.as_ref().map(Intercept::uri))
            .field("extra_roots", &settings.roots.len())
            .finish_non_exhaustive()
    }
}

// ===== impl Shared =====

impl Shared {
    /// The request as it goes out, to this client's host alone.
    fn prepare<B>(&self, request: Request<B>) -> Result<Request<Outgoing>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(Error::request("method", "`CONNECT`", "one with a path"));
        }
        parts.uri = self.base.join(&parts.uri)?;
        // Which version is spoken is the connection's business.
        parts.version = Version::HTTP_11;
        let body = outgoing::outgoing(body);
        outgoing::frame(&mut parts.headers, &parts.method, &body);
        match &self.host {
            Some(host) => parts.headers.insert(header::HOST, host.clone()),
            None => parts.headers.remove(header::HOST),
        };
        parts
            .headers
            .entry(header::USER_AGENT)
            .or_insert_with(|| self.settings.user_agent.clone());
        if let Some(credentials) = &self.proxy_authorization {
            let credentials = credentials.clone();
            parts
                .headers
                .insert(header::PROXY_AUTHORIZATION, credentials);
        }
        Ok(Request::from_parts(parts, body))
    }
}

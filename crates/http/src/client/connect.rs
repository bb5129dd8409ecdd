//! From a URL to a connection: name, TCP, proxy, TLS.

use std::{
    error::Error as StdError,
    fmt, future, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::{
    legacy::connect::{
        HttpConnector,
        proxy::{SocksV5, Tunnel},
    },
    proxy::matcher::Intercept,
};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::{
    Kind, chain,
    error::BoxError,
    proxy::{self, Speaks},
    socket::{Near, Socket},
    tls::{NoRoots, Tls},
};

/// How far the clock of a timeout that is longer than the clock goes: tokio's own number.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// Makes the connections of one client. hyper-util clones it for each request, twice.
#[derive(Clone)]
pub(super) struct Connector {
    way: Arc<Way>,
}

/// What is on the way to the host.
pub(super) struct Way {
    /// The base URL: a client has one host, whatever its requests are called on their way here.
    pub(super) host: Uri,
    pub(super) tcp: HttpConnector,
    pub(super) tls: Tls,
    pub(super) proxy: Option<Intercept>,
    pub(super) timeout: Duration,
    pub(super) prior_knowledge: bool,
}

/// A connection that did not come about.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) kind: Kind,
    stage: Stage,
    source: BoxError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connect,
    Proxy,
    Tls,
}

/// A connector that has connected already: what lets the proxies' and the TLS connector begin
/// where the stage before them ended, so that every error is known by its stage.
pub(super) struct Ready<T>(Option<T>);

// ===== impl Connector =====

impl Connector {
    pub(super) fn new(way: Way) -> Self {
        Self { way: way.into() }
    }
}

impl Service<Uri> for Connector {
    type Response = Socket;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let way = self.way.clone();
        Box::pin(async move { way.connect().await })
    }
}

// ===== impl Way =====

impl Way {
    /// Whether requests to the host are read by a proxy on the way.
    pub(super) fn forwards(&self) -> bool {
        let http = self.proxy.as_ref().and_then(proxy::speaks) == Some(Speaks::Http);
        http && self.host.scheme() == Some(&Scheme::HTTP) && !self.prior_knowledge
    }

    async fn connect(&self) -> Result<Socket, Broken> {
        let host = &self.host;
        let now = Instant::now();
        let end = now.checked_add(self.timeout).unwrap_or_else(|| now + FAR);
        let first = self.proxy.as_ref().map_or(host, Intercept::uri).clone();
        let tcp = stage(
            Stage::Connect,
            end,
            self.tcp.clone().call(default_port(first)),
        )
        .await?;
        let near = match &self.proxy {
            Some(proxy) if proxy.uri().scheme() == Some(&Scheme::HTTPS) => {
                stage(Stage::Tls, end, async {
                    let config = self.tls.to_proxy().await?;
                    let mut tls = HttpsConnector::from((Ready(Some(tcp)), config));
                    tls.call(proxy.uri().clone()).await
                })
                .await?
            }
            _ => MaybeHttpsStream::Http(tcp),
        };
        let forwarded = self.forwards();
        let near = match &self.proxy {
            Some(proxy) if !forwarded => {
                stage(Stage::Proxy, end, tunnel(proxy, near, host)).await?
            }
            _ => near,
        };
        let io = if host.scheme() == Some(&Scheme::HTTPS) {
            stage(Stage::Tls, end, async {
                let config = self.tls.to_host().await?;
                let mut tls = HttpsConnector::from((Ready(Some(near)), config));
                tls.call(host.clone()).await
            })
            .await?
        } else {
            MaybeHttpsStream::Http(near)
        };
        Ok(Socket {
            io,
            forwarded,
            http2: self.prior_knowledge,
        })
    }
}

async fn stage<T, E: Into<BoxError>>(
    stage: Stage,
    end: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Broken> {
    match timeout_at(end, work).await {
        Ok(done) => done.map_err(|error| Broken::new(stage, error.into())),
        Err(elapsed) => Err(Broken::new(stage, elapsed.into())),
    }
}

/// Through a proxy that hands on bytes.
async fn tunnel(proxy: &Intercept, near: Near, host: &Uri) -> Result<Near, BoxError> {
    let near = Ready(Some(near));
    let to = proxy.uri().clone();
    // hyper-util takes 443 where there is no port.
    let host = with_port(host, port_of(host));
    if let Some(Speaks::Socks5 { resolves }) = proxy::speaks(proxy) {
        let mut socks = SocksV5::new(to, near);
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        let host = if resolves {
            host
        } else {
            resolve(&host).await?
        };
        return Ok(socks.call(host).await?);
    }
    let mut tunnel = Tunnel::new(to, near);
    if let Some(credentials) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(credentials.clone());
    }
    Ok(tunnel.call(host).await?)
}

/// The same URL with an address for its host. hyper-util would do it too, but on this thread.
async fn resolve(host: &Uri) -> Result<Uri, BoxError> {
    let name = host.host().unwrap_or_default();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let mut found = tokio::net::lookup_host((name, port_of(host))).await?;
    let address = found.next().ok_or("the name has no address")?;
    Ok(Uri::builder()
        .scheme("http")
        .authority(address.to_string())
        .path_and_query("/")
        .build()?)
}

/// A proxy's URL with the port that its scheme means, where that is not HTTP's.
fn default_port(proxy: Uri) -> Uri {
    match proxy.scheme_str() {
        Some("socks5" | "socks5h") if proxy.port().is_none() => with_port(&proxy, 1080),
        _ => proxy,
    }
}

fn port_of(uri: &Uri) -> u16 {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(default)
}

fn with_port(uri: &Uri, port: u16) -> Uri {
    let authority = format!("{}:{port}", uri.host().unwrap_or_default());
    let with_port = Uri::builder()
        .scheme(uri.scheme_str().unwrap_or("http"))
        .authority(authority)
        .path_and_query("/")
        .build();
    with_port.unwrap_or_else(|_| uri.clone())
}

// ===== impl Broken =====

impl Broken {
    fn new(stage: Stage, source: BoxError) -> Self {
        let kind = if source.is::<NoRoots>() {
            Kind::Setup
        } else {
            (stage == Stage::Proxy)
                .then(|| proxy::refusal(&source))
                .flatten()
                .unwrap_or_else(|| chain::connecting(&*source))
        };
        Self {
            kind,
            stage,
            source,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Connect => "name lookup or TCP connect",
            Stage::Proxy => "handshake with the proxy",
            Stage::Tls => "TLS handshake",
        })
    }
}

impl StdError for Broken {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

// ===== impl Ready =====

impl<T> Service<Uri> for Ready<T> {
    type Response = T;
    type Error = io::Error;
    type Future = future::Ready<io::Result<T>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let taken = || io::Error::other("the connection was taken already");
        future::ready(self.0.take().ok_or_else(taken))
    }
}

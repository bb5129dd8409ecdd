use std::{any::type_name, fmt, sync::Arc, time::Duration};

use buttress_http::Http;
use tower_layer::Layer;

use super::{
    CredentialsService, Event, Keys,
    ring::{Ring, Rules},
    service::{Observer, Shared},
};
use crate::Dialect;

/// Puts a credential into each request, and benches one that is denied: see the
/// [module](crate::keys).
///
/// [`Dialect::authorize`] puts it where it belongs, in place of every credential of the caller, and
/// [`strip_query_credentials`](crate::strip_query_credentials) takes out what the caller sent in the
/// URI.
///
/// | | default |
/// |---|---|
/// | [`bench`](CredentialsLayer::bench) | 60 s, doubled with each further denial |
/// | [`longest_bench`](CredentialsLayer::longest_bench) | 1 h |
/// | [`in_turn`](CredentialsLayer::in_turn) | off: the first key that is not benched |
/// | [`protocol`](CredentialsLayer::protocol) | [`Http`] |
/// | [`on_event`](CredentialsLayer::on_event) | nobody is told |
///
/// # When not
///
/// To have more of a rate limit: a [`Throttled`](buttress_core::Class::Throttled) key is not benched.
/// Keys with limits of their own are endpoints of their own.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use buttress_core::Class;
/// use buttress_http::{TrackLayer, Tracked};
/// use buttress_llm::{Dialect, OpenAi, Secret, keys::{CredentialsLayer, Keys}};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In place of a client. The first key is revoked:
/// let client = service_fn(|request: Request<Full<Bytes>>| async move {
///     let revoked = request.headers()["authorization"] == "Bearer sk-test-1";
///     let status = if revoked { 401 } else { 204 };
///     let response = Response::builder().status(status).body(Full::<Bytes>::default());
///     Ok::<_, Infallible>(response.expect("a status"))
/// });
/// let keys = Keys::new([Secret::new("sk-test-1")?, Secret::new("sk-test-2")?])?;
/// let mut endpoint = ServiceBuilder::new()
///     .layer(CredentialsLayer::new(Dialect::OpenAi, keys))
///     .layer(TrackLayer::new(OpenAi))
///     .service(client);
///
/// let denied = endpoint.ready().await?.call(Request::default()).await?;
/// assert_eq!(denied.body().seen().class, Class::Denied);
/// assert!(denied.body().seen().again(), "there is another key");
/// let response = endpoint.ready().await?.call(Request::default()).await?;
/// assert_eq!(response.status(), 204);
/// # Ok(())
/// # }
/// ```
///
/// Keys that take turns, and somebody who listens:
///
/// ```
/// use std::time::Duration;
/// use buttress_llm::{Dialect, Secret, keys::{CredentialsLayer, Event, Key, Keys}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = Keys::new([
///     Key::named("team-a", Secret::new("sk-ant-1")?)?,
///     Key::named("team-b", Secret::new("sk-ant-2")?)?,
/// ])?;
/// let layer = CredentialsLayer::new(Dialect::Anthropic, keys)
///     .in_turn()
///     .bench(Duration::from_secs(10))
///     .on_event(|event| {
///         if let Event::Benched { key, time, .. } = event {
///             eprintln!("{key} is denied, and not used for {time:?}");
///         }
///     });
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CredentialsLayer<P = Http> {
    dialect: Dialect,
    ring: Arc<Ring>,
    rules: Rules,
    observer: Option<Observer>,
    protocol: P,
}

// ===== impl CredentialsLayer =====

impl CredentialsLayer {
    /// Gives each request one of `keys`, as `dialect` has it. A single [`Secret`](crate::Secret) or
    /// [`Key`](super::Key) will do.
    #[must_use]
    pub fn new(dialect: Dialect, keys: impl Into<Keys>) -> Self {
        Self::over(dialect, Ring::new(keys.into()))
    }

    /// For an endpoint that asks for no credential, such as a model on this machine: takes out what
    /// the caller sent, and puts nothing in its place. There is no key that could be benched, so that
    /// a [`Denied`](buttress_core::Class::Denied) passes as it came, and nobody is told of anything.
    ///
    /// ```
    /// use buttress_llm::{Dialect, keys::CredentialsLayer};
    ///
    /// let layer = CredentialsLayer::without_keys(Dialect::OpenAi);
    /// assert_eq!(layer.ids().count(), 0);
    /// ```
    #[must_use]
    pub fn without_keys(dialect: Dialect) -> Self {
        Self::over(dialect, Ring::empty())
    }

    fn over(dialect: Dialect, ring: Ring) -> Self {
        Self {
            dialect,
            ring: Arc::new(ring),
            rules: Rules {
                in_turn: false,
                bench: Duration::from_secs(60),
                longest: Duration::from_secs(60 * 60),
            },
            observer: None,
            protocol: Http,
        }
    }
}

impl<P> CredentialsLayer<P> {
    /// Each call uses the next key that is not benched, so that all have an equal share. By default
    /// the first that is not benched is used.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.rules.in_turn = true;
        self
    }

    /// How long a key is benched after its first denial. The default is 60 seconds. It is doubled
    /// with each further denial in a row. Anything below a millisecond counts as one.
    #[must_use]
    pub fn bench(mut self, time: Duration) -> Self {
        self.rules.bench = time;
        self
    }

    /// The longest that a key is benched for its denials. The default is an hour. A hint of the
    /// provider may be longer, up to a day.
    #[must_use]
    pub fn longest_bench(mut self, time: Duration) -> Self {
        self.rules.longest = time;
        self
    }

    /// Reads and follows responses as `protocol` does. The default is [`Http`]; with
    /// [`classify_with`](buttress_core::ProtocolExt::classify_with), other replies are denials too.
    #[must_use]
    pub fn protocol<Q>(self, protocol: Q) -> CredentialsLayer<Q> {
        CredentialsLayer {
            dialect: self.dialect,
            ring: self.ring,
            rules: self.rules,
            observer: self.observer,
            protocol,
        }
    }

    /// Calls `observer` for each [`Event`]: in `call` before a request is sent, and where a response
    /// is found to be denied or accepted, at its head or in its body. It should not block.
    #[must_use]
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&Event<'_>) + Send + Sync + 'static,
    {
        self.observer = Some(Observer {
            observe: Arc::new(observer),
            name: type_name::<F>(),
        });
        self
    }

    /// The ids of the keys, in order: what tells another credential from the same.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ring.keys().map(|key| key.id())
    }
}

impl<S, P: Clone> Layer<S> for CredentialsLayer<P> {
    type Service = CredentialsService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let shared = Shared {
            dialect: self.dialect,
            ring: self.ring.clone(),
            rules: self.rules,
            observer: self.observer.clone(),
        };
        CredentialsService::new(inner, shared, self.protocol.clone())
    }
}

impl<P: fmt::Debug> fmt::Debug for CredentialsLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsLayer")
            .field("dialect", &self.dialect)
            .field("keys", &self.ids().collect::<Vec<_>>())
            .field("rules", &self.rules)
            .field("observer", &self.observer)
            .field("protocol", &self.protocol)
            .finish()
    }
}

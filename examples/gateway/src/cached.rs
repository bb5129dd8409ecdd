//! Replies that are given again: to what, to whom, and in which form.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_cache::{
    Cache, CacheKey, CacheLayer, CacheService, Cached, Directives, Flavours, Freshness, Keyed, Tag,
};
use buttress_http::{BodyError, Shared, sse::is_event_stream};
use buttress_llm::{
    Dialect,
    fold::{self, Fold, FoldError, IncludeUsage},
    key::{ChatKeys, Head, PerTenant},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, header};
use http_body::{Body, Frame};
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::{
    adapt::{Asked, Judged, judged},
    callers::Caller,
    config,
    endpoint::Reply,
};

/// What is behind the cache.
pub(crate) type Kept<S> = CacheService<Judged, Key, Recording, S, Freshness, Forms>;

type KeptLayer = CacheLayer<Judged, Key, Recording, Freshness, Forms>;

type Recording = Shared<buttress_http::client::ResponseBody>;

/// The cache of all routes. Its clones are one.
#[derive(Clone)]
pub(crate) struct Replies {
    /// `None`: nothing is kept, and nobody waits for another's call.
    keys: Option<Arc<Keys>>,
    freshness: Freshness,
    cache: Cache<Recording>,
}

/// The question that a request of one route asks.
#[derive(Clone)]
pub(crate) struct Key {
    keys: Option<Arc<Keys>>,
    route: Arc<str>,
}

/// A caller who wants a stream gets one, and one who does not, none; whichever was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms;

struct Keys {
    openai: ChatKeys<PerTenant<Tenant>>,
    anthropic: ChatKeys<PerTenant<Tenant>>,
    heed: bool,
}

type Tenant = for<'a> fn(Head<'a>) -> Option<Cow<'a, [u8]>>;

pin_project! {
    /// A recorded reply in its other form: read to its end, and then made.
    struct Remade<B> {
        #[pin]
        inner: B,
        making: Option<Making>,
    }
}

enum Making {
    Whole(Box<Fold>),
    Stream(Dialect, BytesMut),
}

// ===== impl Replies =====

impl Replies {
    pub(crate) fn new(cache: Option<&config::Cache>) -> Self {
        let Some(config) = cache else {
            return Self {
                keys: None,
                freshness: Freshness::default(),
                cache: Cache::new(0),
            };
        };
        let keys = |dialect| {
            ChatKeys::per_tenant(dialect, caller as Tenant)
                .sampled(config.sampled)
                .tools(config.tools)
        };
        Self {
            keys: Some(Arc::new(Keys {
                openai: keys(Dialect::OpenAi),
                anthropic: keys(Dialect::Anthropic),
                heed: config.heed,
            })),
            freshness: Freshness::new(config.fresh)
                .stale_while_revalidate(config.stale_while_revalidate)
                .stale_if_error(config.stale_if_error),
            cache: Cache::new(config.max_bytes),
        }
    }

    /// Whether anything is kept.
    pub(crate) const fn is_on(&self) -> bool {
        self.keys.is_some()
    }

    pub(crate) fn statistics(&self) -> buttress_cache::Statistics {
        self.cache.statistics()
    }

    /// For the route of this name.
    pub(crate) fn of_route(&self, route: &Arc<str>) -> KeptLayer {
        let key = Key {
            keys: self.keys.clone(),
            route: route.clone(),
        };
        CacheLayer::new(judged(), key)
            .cache(&self.cache)
            .lifetime(self.freshness)
            .flavours(Forms)
    }
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replies")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

/// Whose replies are whose: those of a caller, or of whoever may ask.
fn caller(head: Head<'_>) -> Option<Cow<'_, [u8]>> {
    let caller = head.extensions.get().map(Caller::name);
    Some(Cow::Borrowed(caller.unwrap_or_default().as_bytes()))
}

// ===== impl Key =====

impl CacheKey<Request<Full<Bytes>>> for Key {
    fn key(&self, request: &Request<Full<Bytes>>) -> Option<Keyed> {
        let keys = self.keys.as_ref()?;
        let Asked(asked) = request.extensions().get()?;
        let of_dialect = match asked.face.dialect {
            Dialect::OpenAi => &keys.openai,
            Dialect::Anthropic => &keys.anthropic,
            _ => return None,
        };
        let head = Head::of(request);
        let chat = of_dialect.read_parts(head, asked.body.body()).ok()?;
        chat.cacheable().ok()?;
        let keyed = Keyed::of(&(chat.key().to_bytes(), &*self.route));
        let caller = request.extensions().get().map_or("", Caller::name);
        let model = chat.model().unwrap_or_default();
        Some(keyed.tags([Tag::tenant(caller), Tag::model(model)]))
    }

    fn directives(&self, request: &Request<Full<Bytes>>) -> Directives {
        if !self.keys.as_ref().is_some_and(|keys| keys.heed) {
            return Directives::default();
        }
        let all = request.headers().get_all(header::CACHE_CONTROL);
        Directives::parse(all.iter().filter_map(|value| value.to_str().ok()))
    }
}

// ===== impl Forms =====

impl Flavours<Request<Full<Bytes>>, Reply> for Forms {
    type Wanted = Option<(Dialect, bool)>;

    fn wanted(&self, request: &Request<Full<Bytes>>) -> Self::Wanted {
        let Asked(asked) = request.extensions().get()?;
        Some((asked.face.dialect, asked.body.stream()))
    }

    fn deliver(&self, reply: Reply, wanted: Self::Wanted, _: Cached) -> Reply {
        let Some((dialect, stream)) = wanted.filter(|_| reply.status().is_success()) else {
            return reply;
        };
        let making = match (is_event_stream(reply.headers()), stream) {
            (true, false) => Making::Whole(Box::new(Fold::new(dialect))),
            (false, true) => Making::Stream(dialect, BytesMut::new()),
            _ => return reply,
        };
        let (mut head, body) = reply.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        let kind = HeaderValue::from_static(match stream {
            true => "text/event-stream; charset=utf-8",
            false => "application/json",
        });
        head.headers.insert(header::CONTENT_TYPE, kind);
        let body = body.convert(|inner, _| Remade {
            inner,
            making: Some(making),
        });
        Reply::from_parts(head, body)
    }
}

// ===== impl Making =====

impl Making {
    fn push(&mut self, data: Bytes) -> Result<(), FoldError> {
        match self {
            Self::Whole(fold) => fold.push(data),
            Self::Stream(_, whole) => {
                whole.extend_from_slice(&data);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Bytes, FoldError> {
        match self {
            Self::Whole(fold) => fold.finish(),
            // Who did not ask for the usage does not get it, further out.
            Self::Stream(dialect, whole) => fold::stream(dialect, &whole, IncludeUsage(true)),
        }
    }
}

// ===== impl Remade =====

impl<B, E> Body for Remade<B>
where
    B: Body<Data = Bytes, Error = BodyError<E>>,
{
    type Data = Bytes;
    type Error = BodyError<E>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<E>>>> {
        let mut this = self.project();
        let made = loop {
            let Some(making) = this.making else {
                return Poll::Ready(None);
            };
            let pushed = match ready!(this.inner.as_mut().poll_frame(cx)).transpose()? {
                Some(frame) => frame.into_data().map_or(Ok(()), |data| making.push(data)),
                None => break this.making.take().map(Making::finish),
            };
            if let Err(error) = pushed {
                *this.making = None;
                break Some(Err(error));
            }
        };
        Poll::Ready(made.map(|made| {
            let made = made.map(Frame::data);
            made.map_err(|error| BodyError::Layer(error.into()))
        }))
    }
}

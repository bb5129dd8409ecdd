//! Replies that are given again: to what, and to whom.

use std::{borrow::Cow, sync::Arc};

use buttress_cache::{
    Cache, CacheKey, CacheLayer, CacheService, Directives, Freshness, Keyed, Lifetime, Tag,
};
use buttress_core::Outcome;
use buttress_http::{Shared, sse::is_event_stream};
use buttress_llm::{
    Dialect,
    key::{ChatKeys, Head, PerTenant},
};
use bytes::Bytes;
use http::{Request, header};
use http_body::Body as _;
use http_body_util::Full;

use crate::{
    adapt::{Asked, Judged, judged},
    callers::Caller,
    config,
    endpoint::Reply,
    form::{Anew, Formed},
};

/// What is behind the cache.
pub(crate) type Kept<S> = Formed<CacheService<Judged, Key, Recording, S, Lasting>>;

type KeptLayer = CacheLayer<Judged, Key, Recording, Lasting>;

type Recording = Shared<buttress_http::client::ResponseBody>;

/// The cache of all routes. Its clones are one.
#[derive(Clone)]
pub(crate) struct Replies {
    /// `None`: nothing is kept, and nobody waits for another's call.
    keys: Option<Arc<Keys>>,
    lasting: Lasting,
    cache: Cache<Recording>,
}

/// The question that a request of one route asks.
#[derive(Clone)]
pub(crate) struct Key {
    keys: Option<Arc<Keys>>,
    route: Arc<str>,
}

/// For how long a reply is kept, if it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting(Freshness);

struct Keys {
    openai: ChatKeys<PerTenant<Tenant>>,
    anthropic: ChatKeys<PerTenant<Tenant>>,
    heed: bool,
}

type Tenant = for<'a> fn(Head<'a>) -> Option<Cow<'a, [u8]>>;

/// How much of a reply is read before anybody sees its head.
const PEEKED: u64 = 64 << 10;

// ===== impl Replies =====

impl Replies {
    pub(crate) fn new(cache: Option<&config::Cache>) -> Self {
        let Some(config) = cache else {
            return Self {
                keys: None,
                lasting: Lasting(Freshness::default()),
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
            lasting: Lasting(
                Freshness::new(config.fresh)
                    .stale_while_revalidate(config.stale_while_revalidate)
                    .stale_if_error(config.stale_if_error),
            ),
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
            .lifetime(self.lasting)
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

/// Whether it is no stream, and so short that it was read before anybody saw its head.
fn is_there(reply: &Reply) -> bool {
    let length = reply.body().size_hint().exact();
    !is_event_stream(reply.headers()) && length.is_some_and(|length| length < PEEKED)
}

// ===== impl Lasting =====

impl Lifetime<Reply> for Lasting {
    fn freshness(&self, reply: &Reply, seen: &Outcome) -> Freshness {
        match reply.headers().get(header::CONTENT_ENCODING) {
            // None was asked for, and nobody has looked whether all of it is there.
            Some(encoding) if encoding != "identity" => Freshness::NONE,
            // What is there whole, and does not say why the model stopped, is of no model.
            _ if seen.finish.is_none() && is_there(reply) => Freshness::NONE,
            _ => self.0.freshness(reply, seen),
        }
    }
}

// ===== impl Key =====

impl CacheKey<Request<Full<Bytes>>> for Key {
    fn key(&self, request: &Request<Full<Bytes>>) -> Option<Keyed> {
        let keys = self.keys.as_ref()?;
        if request.extensions().get::<Anew>().is_some() {
            return None;
        }
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

//! Replies that are given again: to what, and to whom.

use std::{borrow::Cow, sync::Arc};

use buttress_cache::{
    Cache, CacheKey, CacheLayer, CacheService, Directives, Freshness, Keyed, Tag,
};
use buttress_http::Shared;
use buttress_llm::{
    Dialect,
    key::{ChatKeys, Head, PerTenant},
};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;

use crate::{
    adapt::{Asked, Judged, judged},
    callers::Caller,
    config,
    form::{Anew, Formed},
};

/// What is behind the cache.
pub(crate) type Kept<S> = Formed<CacheService<Judged, Key, Recording, S, Freshness>>;

type KeptLayer = CacheLayer<Judged, Key, Recording, Freshness>;

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

struct Keys {
    openai: ChatKeys<PerTenant<Tenant>>,
    anthropic: ChatKeys<PerTenant<Tenant>>,
    heed: bool,
}

type Tenant = for<'a> fn(Head<'a>) -> Option<Cow<'a, [u8]>>;

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

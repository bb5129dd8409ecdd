//! The gateway put together: everything that requests share.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderValue, request::Parts};

use crate::{
    cached::Replies,
    callers::{Caller, Callers},
    config::{Config, Limits},
    endpoint::Endpoint,
    fault::{Fault, TurnedAway},
    journal::Journal,
    log::Log,
    models::Model,
    quota::{self, CallersLayer},
    route::{Outside, Routes},
    telemetry::Telemetry,
    wall,
    web::Web,
};

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) routes: Routes,
    pub(crate) models: Vec<Model>,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) journal: Journal,
    pub(crate) telemetry: Telemetry,
    pub(crate) replies: Replies,
    /// Whether the endpoints are simulated.
    pub(crate) simulated: bool,
    pub(crate) turned_away: TurnedAway,
    pub(crate) ids: Ids,
    pub(crate) web: Web,
    pub(crate) callers: Callers,
    pub(crate) caller_limits: CallersLayer,
    /// Some limit counts tokens, so that each request is estimated.
    pub(crate) counts_tokens: bool,
    /// Whether everybody may see the pages.
    pub(crate) public_pages: bool,
}

/// Makes the ids of requests that nobody else has given one.
#[derive(Debug)]
pub(crate) struct Ids {
    process: u64,
    next: AtomicU64,
}

/// Such an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id {
    process: u64,
    number: u64,
}

// ===== impl Gateway =====

impl Gateway {
    pub(crate) fn new(config: Config, log: Log, simulated: bool) -> Self {
        let journal = Journal::default();
        let models = config.routes.iter().flat_map(|route| {
            let exact = route.model.is_exact().then(|| route.model.as_str());
            exact.into_iter().chain(route.rename.as_deref())
        });
        let listed = config
            .endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.models);
        let models: Vec<Arc<str>> = models
            .chain(listed.map(|model| &**model))
            .map(Arc::from)
            .collect();
        let telemetry = Telemetry::new(config.prices, models);
        let endpoints: Vec<_> = config
            .endpoints
            .into_iter()
            .map(|endpoint| Arc::new(Endpoint::new(endpoint, &journal, &telemetry)))
            .collect();
        let counts_tokens = config.caller_limits.values().any(|limit| limit.tokens)
            || endpoints.iter().any(|endpoint| endpoint.counts_tokens);
        let replies = Replies::new(config.cache.as_ref());
        let callers = quota::of_callers(config.caller_limits, &journal, &telemetry.events);
        let outside = Outside {
            total: config.total,
            failover: &config.failover,
            callers: &callers,
            journal: &journal,
            telemetry: &telemetry,
            replies: &replies,
        };
        let routes = Routes::new(config.routes, &endpoints, &outside);
        Self {
            models: Model::all(&routes, &endpoints),
            routes,
            endpoints,
            limits: config.limits,
            log,
            journal,
            telemetry,
            replies,
            simulated,
            turned_away: TurnedAway::default(),
            ids: Ids::new(),
            web: config.web,
            callers: config.callers,
            caller_limits: callers,
            counts_tokens,
            public_pages: config.public_pages,
        }
    }

    /// Who calls, if that may be. Whoever has a key needs no other proof; where nobody is asked for
    /// one, it must not be a web page.
    pub(crate) fn admits(&self, head: &Parts) -> Result<Option<Caller>, Fault> {
        if self.callers.is_empty() {
            self.is_own(head)?;
        }
        let caller = self.callers.identify(&head.headers, wall::now);
        caller.map_err(Fault::Key)
    }

    /// Whether somebody may see what is at a path that is no call's.
    pub(crate) fn shows(&self, head: &Parts) -> Result<(), Fault> {
        match head.uri.path() {
            // It tells nothing, and those who ask may know no name.
            "/healthz" => Ok(()),
            "/" | "/status" | "/metrics" if self.public_pages => Ok(()),
            "/" | "/status" | "/metrics" => self.is_own(head),
            _ if self.callers.is_empty() => self.is_own(head),
            _ => Ok(()),
        }
    }

    fn is_own(&self, head: &Parts) -> Result<(), Fault> {
        let admitted = self.web.admits(&head.method, &head.uri, &head.headers);
        admitted.map_err(Fault::Foreign)
    }
}

// ===== impl Ids =====

impl Ids {
    pub(crate) fn new() -> Self {
        Self {
            // The seed of a hasher is the one random number that std hands out.
            process: RandomState::new().hash_one(0),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> Id {
        Id {
            process: self.process,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

// ===== impl Id =====

impl Id {
    pub(crate) fn header(self) -> HeaderValue {
        // Its letters and digits always are a header value.
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static("req"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{:016x}{:08x}", self.process, self.number)
    }
}

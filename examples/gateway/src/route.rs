//! From a model's name to the endpoints that serve it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use buttress_http::Http;
use buttress_llm::Dialect;
use buttress_timeout::{Timeout, TimeoutEvent, TimeoutLayer};
use tower::Layer;

use crate::{
    adapt::Adapt,
    config,
    endpoint::{Chat, Endpoint, Other},
    journal::Journal,
    pattern::Pattern,
    story::Story,
};

/// All routes. An exact name goes before the patterns; of those, the first that matches counts.
#[derive(Debug)]
pub(crate) struct Routes {
    exact: HashMap<Box<str>, Route>,
    // The keys of `exact`, as the file has them.
    names: Vec<Box<str>>,
    patterns: Vec<(Pattern, Route)>,
}

/// Where calls for a model go.
#[derive(Debug)]
pub(crate) struct Route {
    // In order of preference; never none. Until there is failover, the first serves, and the others
    // wait for it.
    endpoints: Vec<Arc<Endpoint>>,
    model: Model,
    rename: Option<Arc<str>>,
}

/// What answers calls for a model.
pub(crate) type Model = Timeout<Http, Adapt<Chat>>;

// ===== impl Routes =====

impl Routes {
    pub(crate) fn new(
        routes: Vec<config::Route>,
        endpoints: &[Arc<Endpoint>],
        total: Duration,
        journal: &Journal,
    ) -> Self {
        let (mut exact, mut names, mut patterns) = (HashMap::new(), Vec::new(), Vec::new());
        for config::Route {
            model,
            endpoints: places,
            rename,
        } in routes
        {
            let endpoints: Vec<_> = (places.iter())
                .map(|place| endpoints[*place].clone())
                .collect();
            let route = Route {
                model: stack(model.as_str(), &endpoints, total, journal),
                endpoints,
                rename: rename.map(Arc::from),
            };
            if model.is_exact() {
                names.push(model.as_str().into());
                exact.insert(model.as_str().into(), route);
            } else {
                patterns.push((model, route));
            }
        }
        Self {
            exact,
            names,
            patterns,
        }
    }

    /// The models that are routed by their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(crate) fn find(&self, model: &str) -> Option<&Route> {
        self.exact.get(model).or_else(|| {
            let mut patterns = self.patterns.iter();
            patterns
                .find(|(pattern, _)| pattern.matches(model))
                .map(|(_, route)| route)
        })
    }
}

// ===== impl Route =====

impl Route {
    /// The endpoint that is preferred.
    pub(crate) fn first(&self) -> &Arc<Endpoint> {
        &self.endpoints[0]
    }

    /// What replies as the model does.
    pub(crate) const fn model(&self) -> &Model {
        &self.model
    }

    /// What answers any other call in this dialect: the first endpoint that speaks it.
    pub(crate) fn speaking(&self, dialect: Dialect) -> Option<Adapt<Other>> {
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.dialect == dialect)?;
        Some(Adapt::new(endpoint.clone(), endpoint.other.clone()))
    }

    /// What the model is called upstream, if not as it is called here.
    pub(crate) const fn rename(&self) -> Option<&Arc<str>> {
        self.rename.as_ref()
    }
}

/// Puts together what stands outside of the endpoints, outermost layer first.
fn stack(name: &str, endpoints: &[Arc<Endpoint>], total: Duration, journal: &Journal) -> Model {
    let (name, journal) = (Arc::from(name), journal.clone());
    TimeoutLayer::new(Http)
        .total(total)
        .on_event(move |event| {
            if let TimeoutEvent::Elapsed { refused, .. } | TimeoutEvent::Expired { refused, .. } =
                event
            {
                Story::of_this_call(|steps| steps.timed_out = Some(refused.reason()));
            }
            journal.note(&name, event);
        })
        .layer(Adapt::new(endpoints[0].clone(), endpoints[0].chat.clone()))
}

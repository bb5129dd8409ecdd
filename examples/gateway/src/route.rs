//! From a model's name to the endpoints that serve it.

use std::{collections::HashMap, sync::Arc};

use buttress_llm::Dialect;

use crate::{config, endpoint::Endpoint, pattern::Pattern};

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
    rename: Option<String>,
}

// ===== impl Routes =====

impl Routes {
    pub(crate) fn new(routes: Vec<config::Route>, endpoints: &[Arc<Endpoint>]) -> Self {
        let (mut exact, mut names, mut patterns) = (HashMap::new(), Vec::new(), Vec::new());
        for config::Route {
            model,
            endpoints: places,
            rename,
        } in routes
        {
            let route = Route {
                endpoints: places
                    .iter()
                    .map(|place| endpoints[*place].clone())
                    .collect(),
                rename,
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

    /// The first endpoint that speaks this dialect.
    pub(crate) fn speaking(&self, dialect: Dialect) -> Option<&Arc<Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.dialect == dialect)
    }

    /// What the model is called upstream, if not as it is called here.
    pub(crate) fn rename(&self) -> Option<&str> {
        self.rename.as_deref()
    }
}

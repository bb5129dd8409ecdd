//! From a model's name to the endpoints that serve it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use buttress_core::{Class, Outcome, Sent};
use buttress_failover::{
    ByKey, Candidates, Endpoint as Choice, Failover, FailoverEvent, Handle, Info, LeastLoaded,
    Next, Ordered, State, Strategy, Weighted, hash,
};
use buttress_http::Http;
use buttress_llm::Dialect;
use buttress_metrics::MetricsService;
use buttress_timeout::{Timeout, TimeoutEvent, TimeoutLayer};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Layer;

use crate::{
    adapt::{self, Adapt, Judged, judged},
    cached::{Kept, Replies},
    callers::Caller,
    config,
    endpoint::{Chat, Endpoint, Other},
    form::Formed,
    journal::Journal,
    pattern::Pattern,
    quota::{CallersLayer, OfCallers},
    story::{Story, Told},
    telemetry::{Described, Requests, Telemetry},
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
    // In order of preference; never none.
    endpoints: Vec<Arc<Endpoint>>,
    model: Model,
    handle: Handle<Adapt<Chat, Judged>>,
    callers: CallersLayer,
    requests: Requests,
    rename: Option<Arc<str>>,
}

/// What stands outside of the endpoints, on all routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside<'a> {
    pub(crate) total: Duration,
    pub(crate) failover: &'a config::Failover,
    pub(crate) callers: &'a CallersLayer,
    pub(crate) journal: &'a Journal,
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) replies: &'a Replies,
}

/// What answers calls for a model.
pub(crate) type Model = MetricsService<
    Http,
    Described,
    Timeout<Http, Kept<Told<OfCallers<Failover<Judged, Adapt<Chat, Judged>, Spread, Decide>>>>>,
>;

/// What answers any other call.
pub(crate) type Elsewhere = MetricsService<Http, Described, OfCallers<Adapt<Other, Http>>>;

type Decide = fn(&Request<Full<Bytes>>, &Outcome, &Info) -> Option<Next>;

/// How one of the endpoints is chosen, as the configuration says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spread {
    Ordered(Ordered),
    Weighted(Weighted),
    LeastLoaded(LeastLoaded),
    ByCaller(ByKey<Key>),
}

type Key = fn(&Request<Full<Bytes>>) -> Option<u64>;

/// For how long an endpoint is left alone at most because it asked for it.
const LONGEST_HINT: Duration = Duration::from_secs(600);

// ===== impl Routes =====

impl Routes {
    pub(crate) fn new(
        routes: Vec<config::Route>,
        endpoints: &[Arc<Endpoint>],
        outside: &Outside<'_>,
    ) -> Self {
        let (mut exact, mut names, mut patterns) = (HashMap::new(), Vec::new(), Vec::new());
        for route in routes {
            let model = route.model.clone();
            let route = Route::new(route, endpoints, outside);
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

    /// Every route, with the name or pattern of its models.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Route)> {
        let exact = self
            .names
            .iter()
            .filter_map(|name| Some((&**name, self.exact.get(name)?)));
        let patterns = self.patterns.iter();
        exact.chain(patterns.map(|(pattern, route)| (pattern.as_str(), route)))
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
    /// Puts together what stands outside of the endpoints, outermost layer first: metrics, the total
    /// timeout, the cache, the limits of callers, and the choice among endpoints.
    fn new(route: config::Route, endpoints: &[Arc<Endpoint>], outside: &Outside<'_>) -> Self {
        let Outside {
            failover,
            callers,
            journal,
            telemetry,
            replies,
            ..
        } = *outside;
        let name: Arc<str> = route.model.as_str().into();
        let among = route.endpoints.iter().map(|(place, weight)| {
            let endpoint = &endpoints[*place];
            let adapt = Adapt::new(endpoint.clone(), endpoint.chat.clone(), judged());
            let choice = Choice::new(endpoint.name.clone(), adapt)
                .weight(*weight)
                .credential(endpoint.credential.clone());
            match endpoint.context {
                Some(tokens) => choice.context(tokens),
                None => choice,
            }
        });
        // Nobody answers in place of an only endpoint: whether it does, it says itself.
        let (cool_down, longest, longest_hint) = match &*route.endpoints {
            [_] => (Duration::ZERO, Duration::ZERO, Duration::ZERO),
            _ => (failover.cool_down, failover.longest_cool_down, LONGEST_HINT),
        };
        let chosen = Failover::over(judged(), among)
            .expect("the configuration was checked")
            .strategy(Spread::of(route.strategy))
            .decide_with(decide as Decide)
            .max_attempts(failover.attempts)
            .cool_down(cool_down, longest)
            .longest_hint(longest_hint)
            .on_unfit(route.unfit)
            .on_event({
                let (name, journal) = (name.clone(), journal.clone());
                let events = telemetry.events.clone();
                move |event| {
                    events.see(event);
                    follow(event, &name, &journal);
                }
            });
        let chosen = match route.check {
            Some((every, model)) => {
                chosen.health_check(every, move |_: &Info| adapt::question_of_one_token(&model))
            }
            None => chosen,
        };
        let handle = chosen.handle();
        let kept = replies.of_route(&name).on_event({
            let (is_on, events) = (replies.is_on(), telemetry.events.clone());
            move |event| {
                if is_on {
                    events.see(event);
                }
            }
        });
        let (journal, events) = (journal.clone(), telemetry.events.clone());
        let model = TimeoutLayer::new(Http)
            .total(outside.total)
            .on_event(move |event| {
                events.see(event);
                if let TimeoutEvent::Elapsed { refused, .. }
                | TimeoutEvent::Expired { refused, .. } = event
                {
                    Story::of_this_call(|steps| steps.timed_out = Some(refused.reason()));
                }
                journal.note(&name, event);
            })
            .layer(Formed::new(
                kept.layer(Told(callers.layer(chosen))),
                outside.replies.is_on(),
            ));
        let model = telemetry.requests.layer(model);
        Self {
            endpoints: (route.endpoints.iter())
                .map(|(place, _)| endpoints[*place].clone())
                .collect(),
            model,
            handle,
            callers: callers.clone(),
            requests: telemetry.requests.clone(),
            rename: route.rename.map(Arc::from),
        }
    }

    /// How each of its endpoints stands.
    pub(crate) fn states(&self) -> Vec<State> {
        self.handle.states()
    }

    /// The endpoint that is preferred.
    pub(crate) fn first(&self) -> &Arc<Endpoint> {
        &self.endpoints[0]
    }

    /// What replies as the model does.
    pub(crate) const fn model(&self) -> &Model {
        &self.model
    }

    /// What answers any other call in this dialect: the first endpoint that speaks it.
    pub(crate) fn speaking(&self, dialect: Dialect) -> Option<Elsewhere> {
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.dialect == dialect)?;
        let adapt = Adapt::new(endpoint.clone(), endpoint.other.clone(), Http);
        Some(self.requests.layer(self.callers.layer(adapt)))
    }

    /// What the model is called upstream, if not as it is called here.
    pub(crate) const fn rename(&self) -> Option<&Arc<str>> {
        self.rename.as_ref()
    }
}

// ===== impl Spread =====

impl Spread {
    fn of(strategy: config::Strategy) -> Self {
        match strategy {
            config::Strategy::Ordered => Self::Ordered(Ordered),
            config::Strategy::Weighted => Self::Weighted(Weighted),
            config::Strategy::LeastLoaded => Self::LeastLoaded(LeastLoaded),
            config::Strategy::ByCaller => Self::ByCaller(ByKey::new(caller as Key)),
        }
    }

    fn inner(&self) -> &dyn Strategy<Request<Full<Bytes>>> {
        match self {
            Self::Ordered(inner) => inner,
            Self::Weighted(inner) => inner,
            Self::LeastLoaded(inner) => inner,
            Self::ByCaller(inner) => inner,
        }
    }
}

impl Strategy<Request<Full<Bytes>>> for Spread {
    fn choose(
        &self,
        request: &Request<Full<Bytes>>,
        candidates: Candidates<'_>,
    ) -> Option<buttress_failover::Choice> {
        self.inner().choose(request, candidates)
    }

    fn follows(&self) -> bool {
        self.inner().follows()
    }
}

/// Who calls, as a key: the calls of one caller find their prompts in one endpoint's cache.
fn caller(request: &Request<Full<Bytes>>) -> Option<u64> {
    let caller: &Caller = request.extensions().get()?;
    Some(hash(caller.name().as_bytes()))
}

/// What one endpoint cannot even be asked, in its dialect, another one may be.
fn decide(_: &Request<Full<Bytes>>, outcome: &Outcome, _: &Info) -> Option<Next> {
    (outcome.class == Class::Unfit && outcome.sent == Sent::No).then_some(Next::Any)
}

fn follow(event: &FailoverEvent<'_>, route: &Arc<str>, journal: &Journal) {
    if let FailoverEvent::Done {
        endpoint: Some(endpoint),
        attempts,
        ..
    } = event
    {
        Story::of_this_call(|steps| {
            let mut asked = steps.endpoints.iter();
            steps.answered = asked.find(|asked| &***asked == *endpoint).cloned();
        });
        // Nothing to tell: the first one answered.
        if *attempts <= 1 {
            return;
        }
    }
    // A circuit that is open, or a limit, has told of itself.
    let refused = matches!(event, FailoverEvent::Failed { tried, .. } if tried.outcome.class == Class::Refused);
    if !refused {
        journal.note(route, event);
    }
}

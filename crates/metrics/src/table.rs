use std::{
    hash::{BuildHasher, Hasher},
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use metrics::{Gauge, Label};

use crate::{Labels, handles, series::Series, settings::Settings};

/// What stands for every name beyond the bound.
pub(crate) const OTHER: &str = "other";

/// The longest name that becomes a label, in bytes.
const MAX_NAME: usize = 128;

/// How many different names each of the labels takes that are no models.
const MAX_NAMES: usize = 64;

/// How many label sets there are at most, but for those that are `other`.
const MAX_SETS: usize = 1024;

/// Every label set that was seen, and no more than there may be.
#[derive(Debug, Default)]
pub(crate) struct Table {
    hasher: DefaultHashBuilder,
    sets: RwLock<Sets>,
}

/// One label set: what its calls share.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) settings: Arc<Settings>,
    hash: u64,
    // As it was described, within the bounds: what it is found by.
    key: Owned,
    // With what the layer knows.
    full: Owned,
    in_flight: OnceLock<Gauge>,
    series: Arc<Series>,
    // By the model that answered.
    responses: RwLock<Responses>,
    total: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Sets {
    recorder: usize,
    found: HashTable<Arc<Set>>,
    // With those of the models that answered.
    total: Arc<AtomicUsize>,
    operations: Known,
    providers: Known,
    models: Known,
    addresses: Known,
    endpoints: Known,
}

type Known = HashSet<Arc<str>>;

type Responses = Vec<(Arc<str>, Arc<Series>)>;

/// [`Labels`] that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    pub(crate) operation: Option<Arc<str>>,
    pub(crate) provider: Option<Arc<str>>,
    pub(crate) request_model: Option<Arc<str>>,
    pub(crate) server_address: Option<Arc<str>>,
    pub(crate) server_port: Option<u16>,
    pub(crate) endpoint: Option<Arc<str>>,
}

/// A name that is not known yet, and for which there is room.
struct New;

// ===== impl Table =====

impl Table {
    /// The set of a call that is so described.
    #[inline]
    pub(crate) fn set(&self, settings: &Arc<Settings>, labels: &Labels<'_>) -> Arc<Set> {
        let recorder = handles::recorder();
        let hash = self.hash(labels);
        {
            let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
            if sets.recorder == recorder
                && let Some(set) = sets.find(hash, labels)
            {
                return Arc::clone(set);
            }
        }
        self.seldom(settings, labels, recorder)
    }

    /// A name beyond a bound, or one that is new.
    #[cold]
    fn seldom(&self, settings: &Arc<Settings>, labels: &Labels<'_>, recorder: usize) -> Arc<Set> {
        {
            let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
            if sets.recorder == recorder
                && let Ok(bounded) = sets.bounded(settings, labels)
                && let Some(set) = sets.find(self.hash(&bounded), &bounded)
            {
                return Arc::clone(set);
            }
        }
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if sets.recorder != recorder {
            handles::describe();
            *sets = Sets {
                recorder,
                ..Sets::default()
            };
        }
        let mut bounded = sets.room(settings, labels);
        if let Some(set) = sets.find(self.hash(&bounded), &bounded) {
            return Arc::clone(set);
        }
        if sets.total.load(Ordering::Relaxed) >= MAX_SETS {
            bounded = others(labels);
            if let Some(set) = sets.find(self.hash(&bounded), &bounded) {
                return Arc::clone(set);
            }
        }
        let hash = self.hash(&bounded);
        sets.total.fetch_add(1, Ordering::Relaxed);
        let set = Arc::new(Set::new(settings, hash, &bounded, &sets.total));
        sets.found
            .insert_unique(hash, Arc::clone(&set), |set| set.hash);
        set
    }

    /// Of what is said: mostly one name, so that the others cost a look each.
    #[inline]
    fn hash(&self, labels: &Labels<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        let names = [
            labels.request_model,
            labels.provider,
            labels.endpoint,
            labels.server_address,
            labels.operation,
        ];
        for name in names.into_iter().flatten() {
            hasher.write(name.as_bytes());
        }
        hasher.finish()
    }
}

/// What is left of a label set when there are too many.
fn others<'a>(labels: &Labels<'_>) -> Labels<'a> {
    let other = |name: Option<&str>| name.map(|_| OTHER);
    Labels {
        operation: other(labels.operation),
        provider: other(labels.provider),
        request_model: other(labels.request_model),
        response_model: None,
        server_address: other(labels.server_address),
        server_port: None,
        endpoint: other(labels.endpoint),
        streamed: None,
    }
}

/// Whether a name is fit to be a label at all: it is short, and can be printed.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
}

// ===== impl Sets =====

impl Sets {
    #[inline]
    fn find(&self, hash: u64, labels: &Labels<'_>) -> Option<&Arc<Set>> {
        self.found.find(hash, |set| set.key.is(labels))
    }

    /// The labels within their bounds, if there is nothing to be learned.
    fn bounded<'a>(&self, settings: &Settings, labels: &Labels<'a>) -> Result<Labels<'a>, New> {
        let model = match (labels.request_model, &settings.models) {
            (Some(name), Some(models)) => Some(listed(models, name)),
            (name, None) => name_in(&self.models, settings.max_models.get(), name)?,
            (None, _) => None,
        };
        Ok(Labels {
            operation: name_in(&self.operations, MAX_NAMES, labels.operation)?,
            provider: name_in(&self.providers, MAX_NAMES, labels.provider)?,
            request_model: model,
            response_model: None,
            server_address: name_in(&self.addresses, MAX_NAMES, labels.server_address)?,
            server_port: labels.server_port,
            endpoint: name_in(&self.endpoints, MAX_NAMES, labels.endpoint)?,
            streamed: None,
        })
    }

    /// The same, with the names learned that there is room for.
    fn room<'a>(&mut self, settings: &Settings, labels: &Labels<'a>) -> Labels<'a> {
        if let Ok(bounded) = self.bounded(settings, labels) {
            return bounded;
        }
        learn(&mut self.operations, MAX_NAMES, labels.operation);
        learn(&mut self.providers, MAX_NAMES, labels.provider);
        if settings.models.is_none() {
            let most = settings.max_models.get();
            learn(&mut self.models, most, labels.request_model);
        }
        learn(&mut self.addresses, MAX_NAMES, labels.server_address);
        learn(&mut self.endpoints, MAX_NAMES, labels.endpoint);
        self.bounded(settings, labels)
            .unwrap_or_else(|New| others(labels))
    }
}

fn listed<'a>(models: &[Arc<str>], name: &'a str) -> &'a str {
    match models.iter().any(|model| **model == *name) {
        true => name,
        false => OTHER,
    }
}

fn name_in<'a>(known: &Known, most: usize, name: Option<&'a str>) -> Result<Option<&'a str>, New> {
    let Some(name) = name else { return Ok(None) };
    if !is_name(name) {
        return Ok(Some(OTHER));
    }
    match known.contains(name) {
        true => Ok(Some(name)),
        false if known.len() < most => Err(New),
        false => Ok(Some(OTHER)),
    }
}

fn learn(known: &mut Known, most: usize, name: Option<&str>) {
    if let Some(name) = name
        && is_name(name)
        && known.len() < most
    {
        known.insert(name.into());
    }
}

fn series_of<'a>(known: &'a Responses, model: &str) -> Option<&'a Arc<Series>> {
    let mut each = known.iter();
    each.find(|(name, _)| **name == *model)
        .map(|(_, series)| series)
}

// ===== impl Set =====

impl Set {
    fn new(
        settings: &Arc<Settings>,
        hash: u64,
        bounded: &Labels<'_>,
        total: &Arc<AtomicUsize>,
    ) -> Self {
        let key = Owned::of(bounded);
        let full = key.or(&settings.fixed);
        Self {
            settings: Arc::clone(settings),
            hash,
            series: Series::new(settings.place.names(), full.labels(None), None),
            key,
            full,
            in_flight: OnceLock::new(),
            responses: RwLock::default(),
            total: Arc::clone(total),
        }
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| {
            let name = self.settings.place.names().in_flight;
            handles::gauge(name, self.full.labels(None))
        })
    }

    pub(crate) const fn series(&self) -> &Arc<Series> {
        &self.series
    }

    /// Whether the model that was asked for is one of the others.
    #[inline]
    pub(crate) fn is_other(&self) -> bool {
        self.full.request_model.as_deref() == Some(OTHER)
    }

    /// The labels, with what the layer knows.
    pub(crate) fn labels(&self) -> Labels<'_> {
        self.full.borrowed()
    }

    /// Whether a cost was known before, whichever model answered: of a call that nobody answered,
    /// none is.
    pub(crate) fn has_cost(&self) -> bool {
        let answered = || {
            let responses = &self.responses;
            let known = responses.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().any(|(_, series)| series.has_cost())
        };
        self.series.has_cost() || answered()
    }

    /// The series of calls that this model answered.
    pub(crate) fn answered_by(&self, model: &str) -> Arc<Series> {
        {
            let responses = &self.responses;
            let known = responses.read().unwrap_or_else(PoisonError::into_inner);
            let found = series_of(&known, model)
                .or_else(|| series_of(&known, self.bounded_response(&known, model)));
            if let Some(series) = found {
                return Arc::clone(series);
            }
        }
        self.learn_response(model)
    }

    /// The name as it is labelled, if there is nothing to be learned.
    fn bounded_response<'a>(&self, known: &Responses, model: &'a str) -> &'a str {
        let is_listed = match &self.settings.models {
            Some(models) => listed(models, model) == model,
            None => known.len() < self.settings.max_models.get(),
        };
        let has_room = self.total.load(Ordering::Relaxed) < MAX_SETS;
        match is_listed && has_room && is_name(model) {
            true => model,
            false => OTHER,
        }
    }

    #[cold]
    fn learn_response(&self, model: &str) -> Arc<Series> {
        let responses = &self.responses;
        let mut known = responses.write().unwrap_or_else(PoisonError::into_inner);
        let settings = &self.settings;
        let model = self.bounded_response(&known, model);
        if let Some(series) = series_of(&known, model) {
            return Arc::clone(series);
        }
        self.total.fetch_add(1, Ordering::Relaxed);
        let (names, name) = (settings.place.names(), Arc::<str>::from(model));
        let labels = self.full.labels(Some(model));
        let series = Series::new(names, labels, Some(Arc::clone(&name)));
        known.push((name, Arc::clone(&series)));
        series
    }
}

// ===== impl Owned =====

impl Owned {
    fn of(labels: &Labels<'_>) -> Self {
        Self {
            operation: labels.operation.map(Into::into),
            provider: labels.provider.map(Into::into),
            request_model: labels.request_model.map(Into::into),
            server_address: labels.server_address.map(Into::into),
            server_port: labels.server_port,
            endpoint: labels.endpoint.map(Into::into),
        }
    }

    fn or(&self, other: &Self) -> Self {
        let first =
            |one: &Option<Arc<str>>, other: &Option<Arc<str>>| one.clone().or(other.clone());
        // An address goes with its own port.
        let server = match self.server_address {
            Some(_) => self,
            None => other,
        };
        Self {
            operation: first(&self.operation, &other.operation),
            provider: first(&self.provider, &other.provider),
            request_model: first(&self.request_model, &other.request_model),
            server_address: server.server_address.clone(),
            server_port: server.server_port,
            endpoint: first(&self.endpoint, &other.endpoint),
        }
    }

    #[inline]
    fn is(&self, labels: &Labels<'_>) -> bool {
        self.request_model.as_deref() == labels.request_model
            && self.operation.as_deref() == labels.operation
            && self.provider.as_deref() == labels.provider
            && self.server_address.as_deref() == labels.server_address
            && self.server_port == labels.server_port
            && self.endpoint.as_deref() == labels.endpoint
    }

    pub(crate) fn borrowed(&self) -> Labels<'_> {
        Labels {
            operation: self.operation.as_deref(),
            provider: self.provider.as_deref(),
            request_model: self.request_model.as_deref(),
            response_model: None,
            server_address: self.server_address.as_deref(),
            server_port: self.server_port,
            endpoint: self.endpoint.as_deref(),
            streamed: None,
        }
    }

    fn labels(&self, response_model: Option<&str>) -> Vec<Label> {
        let port = self.server_port.map(|port| Arc::from(port.to_string()));
        let each = [
            ("gen_ai.operation.name", self.operation.clone()),
            ("gen_ai.provider.name", self.provider.clone()),
            ("gen_ai.request.model", self.request_model.clone()),
            ("gen_ai.response.model", response_model.map(Arc::from)),
            ("server.address", self.server_address.clone()),
            ("server.port", port),
            ("endpoint", self.endpoint.clone()),
        ];
        let known = each.into_iter();
        known
            .filter_map(|(name, value)| Some(Label::new(name, value?)))
            .collect()
    }
}

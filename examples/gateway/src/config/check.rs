//! What keys and types do not say: whether it all fits together, and whether it can work.

use std::{collections::HashMap, net::SocketAddr, ops::Range, path::Path, sync::Arc};

use super::{
    Cache, Config, Endpoint, Environment, Faults, LISTEN, Limit, Limits, NOBODY_ASKED, Route,
    Timeouts,
    fields::{Text, Texts},
    file::{EndpointEntry, File, LimitsSection, RouteEntry, WebSection},
    prices::server,
};
use crate::{
    args,
    callers::{Callers, Digest, Entry},
    pattern::Pattern,
    web::Web,
};
use buttress_failover::{MAX_ENDPOINTS, Next};
use buttress_http::client::{Client, Proxies};
use buttress_llm::{
    Secret,
    keys::{Key, Keys},
};
use http::uri::Authority;

/// One check of one file.
pub(super) struct Check<'a> {
    faults: Faults,
    notes: Vec<String>,
    environment: Environment<'a>,
    proxies: Proxies,
    /// Where the file is.
    pub(super) folder: &'a Path,
}

// ===== impl Check =====

impl<'a> Check<'a> {
    pub(super) fn new(faults: Faults, environment: Environment<'a>, folder: &'a Path) -> Self {
        Self {
            faults,
            notes: Vec::new(),
            environment,
            proxies: Proxies::from_env(),
            folder,
        }
    }

    pub(super) fn config(
        mut self,
        file: &File,
        listen: Option<SocketAddr>,
    ) -> Result<Config, Faults> {
        let listen = listen.unwrap_or_else(|| self.listen(file));
        let callers = self.callers(file);
        let caller_limits = self.caller_limits(file);
        let limits = self.limits(&file.limits);
        let web = self.web(&file.web);
        let names = self.names(file);
        let endpoints: Option<Vec<_>> = {
            // All of them are looked at before the first that is wrong ends it.
            let checked: Vec<_> = file
                .endpoints
                .iter()
                .map(|entry| self.endpoint(entry, file))
                .collect();
            checked.into_iter().collect()
        };
        let routes = self.routes(file, &names);
        let prices = self.prices(&file.prices);
        let failover = self.failover(&file.failover);
        let total = (file.timeouts.total.as_ref())
            .map_or(Timeouts::default().total, |time| time.get_ref().0);
        if let Some(endpoints) = &endpoints {
            self.unused(endpoints, &routes);
        }
        let notes = self.notes;
        self.faults.or(endpoints.map(|endpoints| Config {
            listen,
            public_pages: file.pages.public.unwrap_or(false),
            web,
            callers: Callers::new(callers),
            caller_limits,
            limits,
            total,
            failover,
            prices,
            cache: file.cache.as_ref().map(Cache::of),
            endpoints,
            routes,
            notes,
        }))
    }

    fn limits(&mut self, section: &LimitsSection) -> Limits {
        const MOST_CONNECTIONS: usize = 1 << 20;
        let default = Limits::default();
        let connections = section.connections.as_ref().map(|connections| {
            let found = *connections.get_ref();
            if !(1..=MOST_CONNECTIONS).contains(&found) {
                let expected =
                    format!("found {found} connections, expected 1 to {MOST_CONNECTIONS}");
                self.faults.add(&connections.span(), expected);
            }
            found
        });
        Limits {
            body: section.body.map_or(default.body, |size| size.0),
            read: section.read.map_or(default.read, |time| time.0),
            drain: section.drain.map_or(default.drain, |time| time.0),
            connections: connections.unwrap_or(default.connections),
        }
    }

    /// Who asks nobody for a key is reached from this machine alone.
    fn listen(&mut self, file: &File) -> SocketAddr {
        let Some(listen) = &file.listen else {
            return LISTEN;
        };
        let address = *listen.get_ref();
        if file.callers.is_empty() && !address.ip().to_canonical().is_loopback() {
            let found = format!("found {address} and no callers, {NOBODY_ASKED}");
            self.faults.add(&listen.span(), found);
        }
        address
    }

    fn callers(&mut self, file: &File) -> Vec<(Digest, Entry)> {
        const MOST: usize = 4096;
        let mut callers: Vec<(Digest, Entry)> = Vec::with_capacity(file.callers.len().min(MOST));
        for entry in &file.callers {
            if let Some(name) = &entry.name {
                self.name(name);
            }
            let models = entry.models.as_ref().map(|models| {
                if models.get_ref().is_empty() {
                    let found = "found no model, expected at least one; or no `models`, for all";
                    self.faults.add(&models.span(), found);
                }
                for model in models.get_ref() {
                    self.model(model);
                }
                let texts = models.get_ref().iter();
                texts
                    .map(|text| Pattern::new(text.get_ref().as_str()))
                    .collect()
            });
            let (Some(name), Some(digest)) = (&entry.name, &entry.key_sha256) else {
                continue;
            };
            let key = *digest.get_ref();
            if let Some((_, before)) = callers.iter().find(|(known, _)| *known == key) {
                let found = format!(
                    "found the key of caller `{}` again, expected another",
                    before.name
                );
                self.faults.add(&digest.span(), found);
            } else if callers.len() == MOST {
                let found = format!("found more than {MOST} callers, expected at most as many");
                self.faults.add(&digest.span(), found);
                break;
            }
            callers.push((
                key,
                Entry {
                    name: name.get_ref().as_str().into(),
                    models,
                    expires: entry.expires,
                },
            ));
        }
        callers
    }

    /// What each caller may ask for, with whichever of its keys.
    fn caller_limits(&mut self, file: &File) -> HashMap<Arc<str>, Limit> {
        let mut limits: HashMap<Arc<str>, Limit> = HashMap::new();
        for entry in &file.callers {
            let limit = self.limit(&entry.limit, false);
            let (Some(name), Some(_)) = (&entry.name, &limit.quotas) else {
                continue;
            };
            let known = limits.insert(name.get_ref().as_str().into(), limit);
            if known.is_some() {
                let found = format!(
                    "found limits of caller `{}` again, expected them with one of its keys",
                    name.get_ref()
                );
                self.faults.add(&name.span(), found);
            }
        }
        limits
    }

    fn web(&mut self, section: &WebSection) -> Web {
        for host in &section.hosts {
            let text = host.get_ref();
            let authority = text.parse::<Authority>().ok();
            // Without user and port; and nothing stands for several.
            if authority.is_none_or(|authority| authority.host() != text) || text.contains('*') {
                let found =
                    format!("found host {text:?}, expected a name or address without a port");
                self.faults.add(&host.span(), found);
            }
        }
        for origin in &section.origins {
            let text = origin.get_ref();
            let rest = (text.strip_prefix("https://")).or_else(|| text.strip_prefix("http://"));
            let authority = rest.and_then(|rest| rest.parse::<Authority>().ok());
            if authority.is_none_or(|authority| authority.as_str().contains('@')) {
                let found = format!(
                    "found origin {text:?}, expected scheme and host alone, such as \"https://chat.example.com\""
                );
                self.faults.add(&origin.span(), found);
            }
        }
        let own = |texts: &[Text]| texts.iter().map(|text| text.get_ref().clone()).collect();
        Web {
            hosts: own(&section.hosts),
            origins: own(&section.origins),
        }
    }

    /// The endpoints by name.
    fn names<'f>(&mut self, file: &'f File) -> HashMap<&'f str, usize> {
        let mut names = HashMap::new();
        for (place, entry) in file.endpoints.iter().enumerate() {
            let Some(text) = &entry.name else { continue };
            self.name(text);
            let name = text.get_ref();
            if names.insert(name.as_str(), place).is_some() {
                let found = format!("found a second endpoint `{name}`, expected another name");
                self.faults.add(&text.span(), found);
            }
        }
        names
    }

    /// A name must be fit for a log and for a label.
    pub(super) fn name(&mut self, name: &Text) {
        let text = name.get_ref();
        if !args::is_name(text) {
            let found = format!("found name {text:?}, expected {}", args::NAME);
            self.faults.add(&name.span(), found);
        }
    }

    fn endpoint(&mut self, entry: &EndpointEntry, file: &File) -> Option<Endpoint> {
        let client = entry.base_url.as_ref().and_then(|url| self.client(url));
        let keys = entry
            .key_env
            .as_ref()
            .and_then(|variables| self.keys(variables));
        let retry = self.retry(&entry.retry, &file.retry);
        let breaker = self.breaker(&entry.breaker, &file.breaker);
        let limit = self.limit(&entry.limit, true);
        let timeouts = self.timeouts(&entry.timeouts, &file.timeouts);
        for model in &entry.models {
            self.model(model);
            if model.get_ref().contains('*') {
                let found = format!(
                    "found model {:?}, expected a name without `*`",
                    model.get_ref()
                );
                self.faults.add(&model.span(), found);
            }
        }
        let base_url = entry.base_url.as_ref().map_or("", |url| url.get_ref());
        let provider = self.provider(entry.provider.as_ref(), base_url);
        let (name, dialect) = (entry.name.as_ref()?.get_ref(), entry.dialect?);
        Some(Endpoint {
            name: name.clone(),
            dialect,
            // Endpoints without a key have nothing in common that could be refused.
            credential: keys.as_ref().map_or_else(
                || format!("none of {name}"),
                |keys| keys.ids().collect::<Vec<_>>().join(","),
            ),
            context: entry.context,
            provider,
            server: server(base_url),
            client: client?,
            base_url: base_url.to_owned(),
            keys,
            retry,
            breaker,
            limit,
            timeouts,
            models: entry
                .models
                .iter()
                .map(|model| model.get_ref().clone())
                .collect(),
        })
    }

    fn client(&mut self, base_url: &Text) -> Option<Client> {
        let client = Client::direct(base_url.get_ref());
        let client = client.and_then(|client| client.proxies(&self.proxies));
        client
            .map_err(|error| self.faults.add(&base_url.span(), error.to_string()))
            .ok()
    }

    /// The keys in these variables, the preferred one first.
    fn keys(&mut self, variables: &Texts) -> Option<Keys> {
        let (at, variables) = (&variables.span(), variables.get_ref());
        if variables.is_empty() {
            let what = "found no variable, expected at least one; or no `key_env`, for none";
            self.faults.add(at, what);
        }
        let read: Vec<_> = variables
            .iter()
            .filter_map(|variable| Some((variable, self.key(variable)?)))
            .collect();
        // Of those that cannot be read it was told.
        if read.is_empty() || read.len() < variables.len() {
            return None;
        }
        // What the log calls it: as its variable, unless that is a part of it.
        let keys = read.into_iter().map(|(variable, secret)| {
            Key::named(variable.get_ref(), secret.clone()).unwrap_or_else(|_| Key::new(secret))
        });
        match Keys::new(keys) {
            Ok(keys) => Some(keys),
            Err(error) => {
                self.faults.add(at, error.to_string());
                None
            }
        }
    }

    /// Something is wrong with what stands here.
    pub(super) fn fault(&mut self, at: &Range<usize>, what: String) {
        self.faults.add(at, what);
    }

    /// The key in this variable. Its value is never shown, and neither is a name that may be one.
    fn key(&mut self, variable: &Text) -> Option<Secret> {
        let name = variable.get_ref();
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let fault = if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            "found what is no variable's name, expected one such as `OPENAI_API_KEY`, and the key in that variable".to_owned()
        } else {
            match (self.environment)(name).map(|value| value.into_string().map(Secret::new)) {
                Some(Ok(Ok(key))) => return Some(key),
                Some(Ok(Err(error))) => {
                    format!("the environment variable `{name}` holds no key: {error}")
                }
                Some(Err(_)) => {
                    format!("the environment variable `{name}` holds no key: it is no text")
                }
                None => format!(
                    "the environment variable `{name}` is not set, expected it to hold the key"
                ),
            }
        };
        self.faults.add(&variable.span(), fault);
        None
    }

    /// A model's name or pattern must be fit for a log and for a JSON string.
    fn model(&mut self, model: &Text) {
        let text = model.get_ref();
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            let found =
                format!("found model {text:?}, expected 1 to 256 bytes without control characters");
            self.faults.add(&model.span(), found);
        }
    }

    fn routes(&mut self, file: &File, names: &HashMap<&str, usize>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::with_capacity(file.routes.len());
        for entry in &file.routes {
            let endpoints = self.targets(entry, file, names);
            let rename = entry.rename.as_ref().map(|rename| {
                self.model(rename);
                let text = rename.get_ref();
                if text.contains('*') {
                    let found = format!("found rename {text:?}, expected one model's name");
                    self.faults.add(&rename.span(), found);
                }
                text.clone()
            });
            let Some(text) = &entry.model else { continue };
            self.model(text);
            let model = Pattern::new(text.get_ref().as_str());
            // An exact name goes before all patterns, so that only its like can be in its way.
            let in_the_way = |before: &&Route| {
                before.model.is_exact() == model.is_exact() && before.model.covers(&model)
            };
            if let Some(before) = routes.iter().find(in_the_way) {
                let (narrow, before) = (model.as_str(), before.model.as_str());
                let found = format!(
                    "found route {narrow:?} behind {before:?}, which takes all of its models; expected the narrower one first"
                );
                self.faults.add(&text.span(), found);
            }
            let strategy = self.strategy(entry);
            let weights = self.weights(entry, strategy);
            routes.push(Route {
                check: self.health(entry, &model),
                model,
                endpoints: endpoints.into_iter().zip(weights).collect(),
                strategy,
                unfit: self.unfit(entry),
                rename,
            });
        }
        routes
    }

    fn targets(
        &mut self,
        entry: &RouteEntry,
        file: &File,
        names: &HashMap<&str, usize>,
    ) -> Vec<usize> {
        let mut targets = Vec::new();
        let Some(listed) = &entry.endpoints else {
            return targets;
        };
        for name in listed.get_ref() {
            let text = name.get_ref();
            match names.get(text.as_str()) {
                Some(place) if targets.contains(place) => {
                    self.faults.add(
                        &name.span(),
                        format!("found endpoint `{text}` twice, expected it once"),
                    );
                }
                Some(place) => targets.push(*place),
                // It may be one of those that could not be read.
                None if file.incomplete => {}
                None => {
                    let mut known: Vec<_> = names.keys().map(|name| format!("`{name}`")).collect();
                    known.sort();
                    let found = format!(
                        "found endpoint {text:?}, expected one of {}",
                        known.join(", ")
                    );
                    self.faults.add(&name.span(), found);
                }
            }
        }
        if listed.get_ref().is_empty() {
            self.faults
                .add(&listed.span(), "found no endpoint, expected at least one");
        }
        if targets.len() > MAX_ENDPOINTS {
            let found = format!(
                "found {} endpoints, expected at most {MAX_ENDPOINTS}",
                targets.len()
            );
            self.faults.add(&listed.span(), found);
        }
        targets
    }

    /// What is written and has no effect.
    fn unused(&mut self, endpoints: &[Endpoint], routes: &[Route]) {
        for route in routes {
            self.unused_context(endpoints, route);
        }
        for (place, endpoint) in endpoints.iter().enumerate() {
            let name = &endpoint.name;
            self.unused_layers(endpoint);
            let led: Vec<_> = routes
                .iter()
                .filter(|route| route.endpoints.iter().any(|(led, _)| *led == place))
                .collect();
            if led.is_empty() {
                self.notes
                    .push(format!("endpoint `{name}`: no route leads to it"));
                continue;
            }
            for model in &endpoint.models {
                if !led.iter().any(|route| route.model.matches(model)) {
                    self.notes.push(format!(
                        "endpoint `{name}`: no route leads to its model {model:?}"
                    ));
                }
            }
        }
    }

    /// Nowhere is a larger context where nobody says how large it is.
    fn unused_context(&mut self, endpoints: &[Endpoint], route: &Route) {
        let said = |(place, _): &(usize, u32)| endpoints[*place].context.is_some();
        if matches!(route.unfit, Next::LargerContext) && !route.endpoints.iter().any(said) {
            self.notes.push(format!(
                "route {:?}: none of its endpoints says `context`, and so none is a \"larger-context\"",
                route.model.as_str()
            ));
        }
    }

    /// What an endpoint's layers are told and never do.
    fn unused_layers(&mut self, endpoint: &Endpoint) {
        let Endpoint {
            name,
            retry,
            timeouts,
            ..
        } = endpoint;
        // It begins full.
        if retry.attempts.get() > 1 && retry.budget.balance() == 0 {
            self.notes.push(format!(
                "endpoint `{name}`: a `reserve` of 0 has room for no retry, and so none is made"
            ));
        }
        let default = Timeouts::default().idle;
        for (limit, time) in [
            ("attempt", timeouts.attempt),
            ("first_content", timeouts.first_content),
            ("idle", timeouts.idle.filter(|_| timeouts.idle != default)),
            ("silence", timeouts.silence),
        ] {
            if time.is_some_and(|time| time >= timeouts.total) {
                self.notes.push(format!(
                    "endpoint `{name}`: its `{limit}` is not shorter than the `total` of {:?}",
                    timeouts.total
                ));
            }
        }
    }
}

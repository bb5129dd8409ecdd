//! The configuration: a TOML file, checked as a whole before anything starts.

mod check;
mod date;
mod fault;
mod fields;
mod file;
mod layers;
mod prices;
mod units;

use std::{
    collections::HashMap,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::Duration,
};

use buttress_circuit_breaker::{Ratio, Window};
use buttress_failover::Next;
use buttress_http::client::Client;
use buttress_llm::{Dialect, keys::Keys, price::Prices};
use buttress_rate_limit::Quotas;
use buttress_retry::{Budget, Exponential};

pub(crate) use self::fault::Faults;
use self::{check::Check, file::File};
use crate::{callers::Callers, pattern::Pattern, web::Web};

/// What the file says, and nothing is wrong with it.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Whether others than loopback peers are shown the pages.
    pub(crate) public_pages: bool,
    pub(crate) web: Web,
    pub(crate) callers: Callers,
    /// What each of them may ask for, by name, if not as much as they like.
    pub(crate) caller_limits: HashMap<Arc<str>, Limit>,
    pub(crate) limits: Limits,
    /// For a call with all of its attempts and waits.
    pub(crate) total: Duration,
    /// What tokens cost.
    pub(crate) prices: Prices,
    /// Which replies are given again; `None`: none.
    pub(crate) cache: Option<Cache>,
    pub(crate) failover: Failover,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) routes: Vec<Route>,
    /// What is right, but perhaps not meant.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// The longest body of a request, in bytes.
    pub(crate) body: usize,
    /// How long the head of a request may take to arrive, and how long its body after that.
    pub(crate) read: Duration,
    /// How long requests may go on after the order to stop.
    pub(crate) drain: Duration,
    /// How many callers are connected at the same time; more wait to be accepted.
    pub(crate) connections: usize,
}

/// Where calls can go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) client: Client,
    pub(crate) base_url: String,
    pub(crate) keys: Option<Keys>,
    /// Which credential it uses, as far as it may be shown.
    pub(crate) credential: String,
    /// How many tokens its models take.
    pub(crate) context: Option<u64>,
    pub(crate) models: Vec<String>,
    /// Whose price list holds there.
    pub(crate) provider: Option<String>,
    /// Host and port of the base URL.
    pub(crate) server: (String, u16),
    pub(crate) retry: Retry,
    /// When it is left alone; `None`: never.
    pub(crate) breaker: Option<Breaker>,
    pub(crate) limit: Limit,
    pub(crate) timeouts: Timeouts,
}

/// How much may be asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limit {
    /// `None`: as much as anybody likes.
    pub(crate) quotas: Option<Quotas>,
    /// Some of them count tokens.
    pub(crate) tokens: bool,
    /// How long a call waits for its turn at most. `None`: it does not.
    pub(crate) wait: Option<Duration>,
}

/// When an endpoint is left alone because too many calls to it fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    pub(crate) failure_rate: Ratio,
    pub(crate) window: Window,
    pub(crate) minimum_calls: NonZeroU32,
    pub(crate) wait: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) probes: NonZeroU32,
}

/// How one of a route's endpoints is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Strategy {
    Ordered,
    Weighted,
    LeastLoaded,
    ByCaller,
}

/// How calls go on to another endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Failover {
    /// How many endpoints are asked for one call at most.
    pub(crate) attempts: NonZeroU32,
    /// How long one is left alone after a failure, and at most after several in a row.
    pub(crate) cool_down: Duration,
    pub(crate) longest_cool_down: Duration,
}

/// Which replies are given again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cache {
    pub(crate) max_bytes: u64,
    pub(crate) fresh: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    /// Those of chats at a temperature, too.
    pub(crate) sampled: bool,
    /// Those of chats that may call tools, too.
    pub(crate) tools: bool,
    /// Whether callers are heeded that say `cache-control`.
    pub(crate) heed: bool,
}

/// How often an endpoint is asked for one call, and when.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    /// The first counted.
    pub(crate) attempts: NonZeroU32,
    pub(crate) backoff: Exponential,
    pub(crate) budget: Budget,
}

/// How long an endpoint may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timeouts {
    /// For a call with all of its attempts and waits.
    pub(crate) total: Duration,
    /// For one attempt.
    pub(crate) attempt: Option<Duration>,
    /// Until its first content.
    pub(crate) first_content: Option<Duration>,
    /// Between two pieces of content.
    pub(crate) idle: Option<Duration>,
    /// Without any sign of life.
    pub(crate) silence: Option<Duration>,
}

/// Which calls go there.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) model: Pattern,
    /// Places in [`Config::endpoints`], the preferred one first, and their shares.
    pub(crate) endpoints: Vec<(usize, u32)>,
    pub(crate) strategy: Strategy,
    /// Where a call goes that an endpoint cannot serve.
    pub(crate) unfit: Next,
    /// What the model is called there, if not as it is called here.
    pub(crate) rename: Option<String>,
    /// How often an endpoint that cools down is asked, and for which model.
    pub(crate) check: Option<(Duration, String)>,
}

/// Where the variables of the environment are read.
type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

// ===== impl Config =====

impl Config {
    /// Reads and checks a file. An `Err` is everything that is wrong with it.
    ///
    /// Where to `listen`, if that is said elsewhere, goes before what the file says.
    pub(crate) fn read(path: &Path, listen: Option<SocketAddr>) -> Result<Self, Faults> {
        let bytes = std::fs::read(path).map_err(|error| Faults::unreadable(path, &error))?;
        let text =
            str::from_utf8(&bytes).map_err(|error| Faults::not_text(path, &bytes, &error))?;
        Self::parse(path, text, listen, &|name| std::env::var_os(name))
    }

    /// Checks the text of the file of this name.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        listen: Option<SocketAddr>,
        environment: Environment<'_>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::of(path, text);
        let file = File::parse(text, &mut faults);
        let folder = path.parent().unwrap_or(Path::new(""));
        Check::new(faults, environment, folder).config(&file, listen)
    }
}

// ===== impl Limits =====

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            read: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            connections: 8192,
        }
    }
}

// ===== impl Breaker =====

impl Default for Breaker {
    fn default() -> Self {
        const TWENTY: NonZeroU32 = NonZeroU32::new(20).unwrap();
        Self {
            failure_rate: Ratio::percent::<50>(),
            window: Window::calls::<100>(),
            minimum_calls: TWENTY,
            wait: Duration::from_secs(5),
            longest_wait: Duration::from_secs(60),
            probes: NonZeroU32::MIN,
        }
    }
}

// ===== impl Failover =====

impl Default for Failover {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
        Self {
            attempts: FIVE,
            cool_down: Duration::from_secs(5),
            longest_cool_down: Duration::from_secs(120),
        }
    }
}

// ===== impl Timeouts =====

impl Default for Timeouts {
    /// As long as the providers' own SDKs wait; and a stream that has begun is given up sooner.
    fn default() -> Self {
        Self {
            total: Duration::from_secs(600),
            attempt: None,
            first_content: None,
            idle: Some(Duration::from_secs(120)),
            silence: None,
        }
    }
}

/// Why it does not listen elsewhere than on loopback for everybody.
pub(crate) const NOBODY_ASKED: &str = "expected a loopback address, or `[[callers]]` in the configuration: without them, whoever reaches the address can use the endpoints' keys";

/// Where the gateway listens if nothing says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

#[cfg(test)]
mod tests;

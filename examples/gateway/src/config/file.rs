//! What the file says, as far as its keys and types are right.

use std::{net::SocketAddr, time::SystemTime};

use buttress_llm::Dialect;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    date::Moment,
    fault::Faults,
    fields::{Fields, Text, Texts},
    units::{Size, Time},
};
use crate::callers::Digest;

/// The file, with the places of what may yet turn out to be wrong.
///
/// What is missing in an entry, or could not be read, is `None`, and has been told.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) listen: Option<Spanned<SocketAddr>>,
    pub(super) limits: LimitsSection,
    pub(super) pages: PagesSection,
    pub(super) web: WebSection,
    pub(super) failover: FailoverSection,
    pub(super) retry: RetrySection,
    pub(super) breaker: BreakerSection,
    pub(super) timeouts: TimeoutsSection,
    pub(super) prices: PricesSection,
    pub(super) cache: Option<CacheSection>,
    pub(super) callers: Vec<CallerEntry>,
    pub(super) endpoints: Vec<EndpointEntry>,
    pub(super) routes: Vec<RouteEntry>,
    /// Some of it could not be read: what seems to be missing may be there.
    pub(super) incomplete: bool,
}

#[derive(Debug, Default)]
pub(super) struct LimitsSection {
    pub(super) body: Option<Size>,
    pub(super) read: Option<Time>,
    pub(super) drain: Option<Time>,
    pub(super) connections: Option<Spanned<usize>>,
}

#[derive(Debug, Default)]
pub(super) struct PagesSection {
    pub(super) public: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct PricesSection {
    pub(super) file: Option<Text>,
}

#[derive(Debug, Default)]
pub(super) struct CacheSection {
    pub(super) max: Option<Size>,
    pub(super) fresh: Option<Time>,
    pub(super) stale_while_revalidate: Option<Time>,
    pub(super) stale_if_error: Option<Time>,
    pub(super) sampled: Option<bool>,
    pub(super) tools: Option<bool>,
    pub(super) heed: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct WebSection {
    pub(super) hosts: Vec<Text>,
    pub(super) origins: Vec<Text>,
}

#[derive(Debug, Default)]
pub(super) struct FailoverSection {
    pub(super) attempts: Option<Spanned<u32>>,
    pub(super) cool_down: Option<Spanned<Time>>,
    pub(super) longest_cool_down: Option<Spanned<Time>>,
}

/// What is not said here is as the file says for all endpoints, or else the default.
#[derive(Debug, Default)]
pub(super) struct RetrySection {
    pub(super) attempts: Option<Spanned<u32>>,
    pub(super) base: Option<Spanned<Time>>,
    pub(super) cap: Option<Spanned<Time>>,
    pub(super) budget: Option<Spanned<f64>>,
    pub(super) reserve: Option<u32>,
}

/// The same for the circuit breaker.
#[derive(Debug, Default)]
pub(super) struct BreakerSection {
    pub(super) enabled: Option<bool>,
    pub(super) failure_rate: Option<Spanned<f64>>,
    pub(super) calls: Option<Spanned<u32>>,
    pub(super) time: Option<Spanned<Time>>,
    pub(super) minimum_calls: Option<Spanned<u32>>,
    pub(super) wait: Option<Spanned<Time>>,
    pub(super) longest_wait: Option<Spanned<Time>>,
    pub(super) probes: Option<Spanned<u32>>,
}

/// What may be asked for.
#[derive(Debug, Default)]
pub(super) struct LimitSection {
    pub(super) requests_per_minute: Option<Spanned<u64>>,
    pub(super) requests_per_day: Option<Spanned<u64>>,
    pub(super) tokens_per_minute: Option<Spanned<u64>>,
    pub(super) tokens_per_day: Option<Spanned<u64>>,
    pub(super) input_tokens_per_minute: Option<Spanned<u64>>,
    pub(super) output_tokens_per_minute: Option<Spanned<u64>>,
    pub(super) wait: Option<Spanned<Time>>,
}

/// The same for the timeouts. The total is that of a call, whichever endpoints it goes to.
#[derive(Debug, Default)]
pub(super) struct TimeoutsSection {
    pub(super) total: Option<Spanned<Time>>,
    pub(super) attempt: Option<Time>,
    pub(super) first_content: Option<Time>,
    pub(super) idle: Option<Time>,
    pub(super) silence: Option<Time>,
}

#[derive(Debug)]
pub(super) struct CallerEntry {
    pub(super) name: Option<Text>,
    pub(super) key_sha256: Option<Spanned<Digest>>,
    pub(super) models: Option<Texts>,
    pub(super) expires: Option<SystemTime>,
    pub(super) limit: LimitSection,
}

#[derive(Debug)]
pub(super) struct EndpointEntry {
    pub(super) name: Option<Text>,
    pub(super) dialect: Option<Dialect>,
    pub(super) base_url: Option<Text>,
    pub(super) key_env: Option<Texts>,
    pub(super) models: Vec<Text>,
    pub(super) context: Option<u64>,
    pub(super) provider: Option<Text>,
    pub(super) retry: RetrySection,
    pub(super) breaker: BreakerSection,
    pub(super) limit: LimitSection,
    pub(super) timeouts: TimeoutsSection,
}

#[derive(Debug)]
pub(super) struct RouteEntry {
    pub(super) model: Option<Text>,
    pub(super) endpoints: Option<Texts>,
    pub(super) weights: Option<Spanned<Vec<u32>>>,
    pub(super) strategy: Option<Text>,
    pub(super) unfit: Option<Text>,
    pub(super) rename: Option<Text>,
    pub(super) check: Option<Spanned<Time>>,
}

/// A table of the file.
trait Section: Sized {
    fn read(fields: &mut Fields<'_, '_>) -> Self;
}

// ===== impl File =====

impl File {
    /// Reads the whole text. What is wrong in one place does not hide what is wrong in another.
    pub(super) fn parse(text: &str, faults: &mut Faults) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let whole = table.span();
        for error in &errors {
            faults.parser(error, &whole, text);
        }
        let mut file = Self::default();
        // A file that is no TOML has no keys to speak of.
        if !errors.is_empty() {
            file.incomplete = true;
            return file;
        }
        for (key, value) in table.into_inner() {
            match key.get_ref().as_ref() {
                "listen" => file.listen = listen(value, faults),
                "limits" => file.limits = section("limits", &value, faults),
                "pages" => file.pages = section("pages", &value, faults),
                "web" => file.web = section("web", &value, faults),
                "failover" => file.failover = section("failover", &value, faults),
                "retry" => file.retry = section("retry", &value, faults),
                "breaker" => file.breaker = section("breaker", &value, faults),
                "timeouts" => file.timeouts = section("timeouts", &value, faults),
                "prices" => file.prices = section("prices", &value, faults),
                "cache" => file.cache = Some(section("cache", &value, faults)),
                "callers" => file.callers = file.entries("callers", &value, faults),
                "endpoint" => file.endpoints = file.entries("endpoint", &value, faults),
                "route" => file.routes = file.entries("route", &value, faults),
                other => faults.add(
                    &key.span(),
                    format!(
                        "found key `{}`, expected one of `listen`, `limits`, `pages`, `web`, `failover`, `retry`, `breaker`, `timeouts`, `prices`, `cache`, `callers`, `endpoint`, `route`",
                        other.escape_debug()
                    ),
                ),
            }
        }
        file.incomplete |= file.endpoints.iter().any(|entry| entry.name.is_none());
        for (name, none) in [
            ("endpoint", file.endpoints.is_empty()),
            ("route", file.routes.is_empty()),
        ] {
            if none && !file.incomplete {
                faults.add(
                    &(0..0),
                    format!("found no `[[{name}]]`, expected at least one"),
                );
            }
        }
        file
    }

    /// The entries of an array of tables.
    fn entries<T: Section>(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Faults,
    ) -> Vec<T> {
        let expected = format!("entries that begin with `[[{name}]]`");
        let DeValue::Array(entries) = value.get_ref() else {
            let found = value.get_ref().type_str();
            let what = format!("found {found} `{name}`, expected {expected}");
            faults.add(&value.span(), what);
            self.incomplete = true;
            return Vec::new();
        };
        let read: Vec<T> = entries
            .iter()
            .filter_map(|entry| table(entry, &expected, faults))
            .collect();
        self.incomplete |= read.len() < entries.len();
        read
    }
}

fn section<T: Section + Default>(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Faults,
) -> T {
    table(
        value,
        &format!("a table that begins with `[{name}]`"),
        faults,
    )
    .unwrap_or_default()
}

fn table<T: Section>(
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    faults: &mut Faults,
) -> Option<T> {
    let DeValue::Table(found) = value.get_ref() else {
        let found = value.get_ref().type_str();
        faults.add(&value.span(), format!("found {found}, expected {expected}"));
        return None;
    };
    let mut fields = Fields::new(found, value.span(), faults);
    let read = T::read(&mut fields);
    fields.end();
    Some(read)
}

fn listen(value: Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Spanned<SocketAddr>> {
    let text: Text = super::fields::take(value, faults)?;
    let address = text.get_ref().parse();
    let address = address
        .ok()
        .map(|address| Spanned::new(text.span(), address));
    if address.is_none() {
        faults.add(
            &text.span(),
            format!(
                "found \"{}\", expected an address and port, such as \"127.0.0.1:8080\"",
                text.get_ref().escape_debug()
            ),
        );
    }
    address
}

// ===== impl Section =====

impl Section for LimitsSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            body: fields.optional("body"),
            read: fields.optional("read"),
            drain: fields.optional("drain"),
            connections: fields.optional("connections"),
        }
    }
}

impl Section for PagesSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            public: fields.optional("public"),
        }
    }
}

impl Section for PricesSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            file: fields.optional("file"),
        }
    }
}

impl Section for CacheSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            max: fields.optional("max"),
            fresh: fields.optional("fresh"),
            stale_while_revalidate: fields.optional("stale_while_revalidate"),
            stale_if_error: fields.optional("stale_if_error"),
            sampled: fields.optional("sampled"),
            tools: fields.optional("tools"),
            heed: fields.optional("heed"),
        }
    }
}

impl Section for WebSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            hosts: fields.listed("hosts"),
            origins: fields.listed("origins"),
        }
    }
}

impl Section for FailoverSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            attempts: fields.optional("attempts"),
            cool_down: fields.optional("cool_down"),
            longest_cool_down: fields.optional("longest_cool_down"),
        }
    }
}

impl Section for RetrySection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            attempts: fields.optional("attempts"),
            base: fields.optional("base"),
            cap: fields.optional("cap"),
            budget: fields.optional("budget"),
            reserve: fields.optional("reserve"),
        }
    }
}

impl Section for BreakerSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            enabled: fields.optional("enabled"),
            failure_rate: fields.optional("failure_rate"),
            calls: fields.optional("calls"),
            time: fields.optional("time"),
            minimum_calls: fields.optional("minimum_calls"),
            wait: fields.optional("wait"),
            longest_wait: fields.optional("longest_wait"),
            probes: fields.optional("probes"),
        }
    }
}

impl Section for LimitSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            requests_per_minute: fields.optional("requests_per_minute"),
            requests_per_day: fields.optional("requests_per_day"),
            tokens_per_minute: fields.optional("tokens_per_minute"),
            tokens_per_day: fields.optional("tokens_per_day"),
            input_tokens_per_minute: fields.optional("input_tokens_per_minute"),
            output_tokens_per_minute: fields.optional("output_tokens_per_minute"),
            wait: fields.optional("wait"),
        }
    }
}

impl Section for TimeoutsSection {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            total: fields.optional("total"),
            attempt: fields.optional("attempt"),
            first_content: fields.optional("first_content"),
            idle: fields.optional("idle"),
            silence: fields.optional("silence"),
        }
    }
}

impl Section for CallerEntry {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            name: fields.required("name"),
            key_sha256: fields
                .required::<Text>("key_sha256")
                .and_then(|text| digest(&text, fields)),
            models: fields.texts("models"),
            expires: fields
                .optional::<Spanned<Moment>>("expires")
                .map(|moment| moment.into_inner().0),
            limit: within("limit", fields),
        }
    }
}

impl Section for EndpointEntry {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            name: fields.required("name"),
            dialect: fields
                .required::<Text>("dialect")
                .and_then(|text| dialect(&text, fields)),
            base_url: fields.required("base_url"),
            key_env: fields.text_or_texts("key_env"),
            models: fields.listed("models"),
            context: fields.optional("context"),
            provider: fields.optional("provider"),
            retry: within("retry", fields),
            breaker: within("breaker", fields),
            limit: within("limit", fields),
            timeouts: within("timeouts", fields),
        }
    }
}

/// A table of an entry.
fn within<T: Section + Default>(name: &'static str, fields: &mut Fields<'_, '_>) -> T {
    let table = fields.table(name);
    table.map_or_else(T::default, |(value, faults)| section(name, value, faults))
}

impl Section for RouteEntry {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            model: fields.required("model"),
            endpoints: fields.required_texts("endpoints"),
            weights: fields.optional("weights"),
            strategy: fields.optional("strategy"),
            unfit: fields.optional("unfit"),
            rename: fields.optional("rename"),
            check: fields.optional("check"),
        }
    }
}

/// What is no digest is not shown: it may be the key.
fn digest(text: &Text, fields: &mut Fields<'_, '_>) -> Option<Spanned<Digest>> {
    let digest = Digest::parse(text.get_ref());
    if digest.is_none() {
        fields.fault(
            &text.span(),
            "found what is no digest, expected the 64 hexadecimal digits that `gateway digest` makes of a key".to_owned(),
        );
    }
    digest.map(|digest| Spanned::new(text.span(), digest))
}

fn dialect(name: &Text, fields: &mut Fields<'_, '_>) -> Option<Dialect> {
    let dialect = name.get_ref().parse().ok();
    if dialect.is_none() {
        let known = Dialect::ALL
            .map(|dialect| format!("\"{dialect}\""))
            .join(", ");
        let found = name.get_ref().escape_debug();
        fields.fault(
            &name.span(),
            format!("found \"{found}\", expected one of {known}"),
        );
    }
    dialect
}

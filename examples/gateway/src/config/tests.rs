mod wrong;

use std::{num::NonZeroU32, path::Path, time::Duration};

use super::{Config, Failover, Faults, Limits, Strategy, Timeouts};
use buttress_failover::Next;
use buttress_llm::Dialect;

const GOOD: &str = r#"
listen = "[::1]:9000"

[limits]
body = "64 KiB"
read = "2 s"
drain = 5
connections = 16

[pages]
public = true

[web]
hosts = ["gateway.internal", "[2001:db8::1]"]
origins = ["https://chat.example", "http://localhost:3000"]

[[endpoint]]
name = "openai"
dialect = "openai"
base_url = "https://api.openai.com/v1"
key_env = "OPENAI_API_KEY"
models = ["gpt-4o", "gpt-4o-mini"]

[[endpoint]]
name = "anthropic"
dialect = "anthropic"
base_url = "https://api.anthropic.com"
key_env = "ANTHROPIC_API_KEY"
models = ["claude-x"]

[[route]]
model = "fast"
endpoints = ["openai"]
rename = "gpt-4o-mini"

[[route]]
model = "gpt-*"
endpoints = ["openai"]

[[route]]
model = "*"
endpoints = ["anthropic", "openai"]
"#;

/// The smallest file, to which a table of lines is added.
const BASE: &str = r#"[[endpoint]]
name = "a"
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
[[route]]
model = "m"
endpoints = ["a"]
"#;

/// The digest of `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(Path::new("gateway.toml"), text, None, &|name| {
        let value = match name {
            "OPENAI_API_KEY" => "sk-canary",
            "ANTHROPIC_API_KEY" => "sk-ant-canary",
            "EMPTY" => "",
            "BROKEN" => "sk-canary\n",
            _ => return None,
        };
        Some(value.into())
    })
}

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text)
        .err()
        .map(|faults| faults.to_string())
        .unwrap_or_default();
    faults.lines().map(str::to_owned).collect()
}

#[test]
fn a_file_says_everything_that_can_be_said() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.listen, "[::1]:9000".parse().unwrap());
    assert!(config.public_pages);
    let limits = Limits {
        body: 65536,
        read: Duration::from_secs(2),
        drain: Duration::from_secs(5),
        connections: 16,
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.web.hosts, ["gateway.internal", "[2001:db8::1]"]);
    let origins = ["https://chat.example", "http://localhost:3000"];
    assert_eq!(config.web.origins, origins);
    let endpoint = &config.endpoints[1];
    assert_eq!(
        (endpoint.name.as_str(), endpoint.dialect),
        ("anthropic", Dialect::Anthropic)
    );
    let keys = endpoint.keys.as_ref().unwrap();
    assert_eq!(keys.ids().collect::<Vec<_>>(), ["ANTHROPIC_API_KEY"]);
    let route = &config.routes[0];
    assert_eq!(
        (route.model.as_str(), route.rename.as_deref()),
        ("fast", Some("gpt-4o-mini"))
    );
    assert_eq!(config.routes[2].endpoints, [(1, 1), (0, 1)]);
    assert_eq!(config.notes, Vec::<String>::new());
}

#[test]
fn with_callers_it_may_listen_anywhere_and_without_where_it_is_told_elsewhere() {
    let open = format!("listen = \"0.0.0.0:80\"\n{BASE}");
    let callers = format!(
        "{open}[[callers]]\nname = \"c\"\nkey_sha256 = \"{ABC}\"\nmodels = [\"gpt-*\"]\nexpires = 2026-12-31T23:59:59Z\n\
         # While one replaces the other, a caller has two.\n\
         [[callers]]\nname = \"c\"\nkey_sha256 = \"{}\"\nexpires = \"2026-12-31T23:59:59+02:00\"\n",
        ABC.replace('b', "c")
    );
    let config = parse(&callers).unwrap();
    assert!(!config.callers.is_empty());
    assert_eq!(config.listen, "0.0.0.0:80".parse().unwrap());
    let loopback = "127.0.0.1:0".parse().unwrap();
    let told = Config::parse(Path::new("gateway.toml"), &open, Some(loopback), &|_| None);
    assert_eq!(told.unwrap().listen, loopback);
}

#[test]
fn what_is_not_said_has_a_default() {
    let config = parse(BASE).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.failover, Failover::default());
    assert_eq!(config.total, Timeouts::default().total);
    assert!(!config.public_pages && config.endpoints[0].keys.is_none());
}

#[test]
fn an_empty_file_lacks_endpoints_and_routes() {
    let said = ["endpoint", "route"]
        .map(|name| format!("gateway.toml:1: found no `[[{name}]]`, expected at least one"));
    assert_eq!(faults(""), said);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let faults = Config::read(Path::new("/nowhere/gateway.toml"), None)
        .unwrap_err()
        .to_string();
    assert!(
        faults.starts_with("/nowhere/gateway.toml: cannot be read: "),
        "{faults}"
    );
}

#[test]
fn what_has_no_effect_is_noted() {
    let text = format!(
        "{BASE}{}",
        r#"[[endpoint]]
name = "b"
dialect = "gemini"
base_url = "http://b"
[[endpoint]]
name = "c"
dialect = "anthropic"
base_url = "http://c"
models = ["m-2", "n-2"]
[[route]]
model = "m-*"
endpoints = ["c"]
"#
    );
    assert_eq!(
        parse(&text).unwrap().notes,
        [
            "endpoint `b`: no route leads to it",
            "endpoint `c`: no route leads to its model \"n-2\"",
        ]
    );
}

#[test]
fn limits_that_can_never_be_reached_are_noted() {
    let text = format!(
        "[retry]\nreserve = 0\n[timeouts]\ntotal = \"10 s\"\nattempt = \"10 s\"\nfirst_content = \"9 s\"\nsilence = \"1 min\"\n{BASE}"
    );
    assert_eq!(
        parse(&text).unwrap().notes,
        [
            "endpoint `a`: a `reserve` of 0 has room for no retry, and so none is made",
            "endpoint `a`: its `attempt` is not shorter than the `total` of 10s",
            "endpoint `a`: its `silence` is not shorter than the `total` of 10s",
        ]
    );
    let once = format!("[retry]\nreserve = 0\nattempts = 1\n{BASE}");
    assert_eq!(parse(&once).unwrap().notes, [] as [&str; 0]);
}

#[test]
fn a_larger_context_that_nobody_has_is_noted() {
    let text = format!(
        "{BASE}[[route]]\nmodel = \"n\"\nendpoints = [\"a\"]\nunfit = \"larger-context\"\n"
    );
    let note =
        "route \"n\": none of its endpoints says `context`, and so none is a \"larger-context\"";
    assert_eq!(parse(&text).unwrap().notes, [note]);
    let text = text.replacen("name = \"a\"\n", "name = \"a\"\ncontext = 1000\n", 1);
    assert_eq!(parse(&text).unwrap().notes, [] as [&str; 0]);
}

#[test]
fn a_route_says_how_it_chooses_and_where_it_goes_on() {
    let text = format!(
        "{BASE}{}",
        r#"[failover]
attempts = 2
cool_down = "1 s"
[[endpoint]]
name = "b"
dialect = "openai"
base_url = "http://b"
context = 200000
[[route]]
model = "n-*"
endpoints = ["a", "b"]
weights = [3, 0]
strategy = "weighted"
unfit = "larger-context"
[[route]]
model = "one"
endpoints = ["a", "b"]
check = "30 s"
"#
    );
    let config = parse(&text).unwrap();
    let check = Some((Duration::from_secs(30), "one".to_owned()));
    assert_eq!(config.routes[2].check, check);
    let route = &config.routes[1];
    assert_eq!(route.check, None);
    assert_eq!(route.endpoints, [(0, 3), (1, 0)]);
    assert_eq!(
        (route.strategy, route.unfit),
        (Strategy::Weighted, Next::LargerContext)
    );
    assert_eq!(config.endpoints[1].context, Some(200_000));
    let failover = Failover {
        attempts: NonZeroU32::new(2).unwrap(),
        cool_down: Duration::from_secs(1),
        ..Failover::default()
    };
    assert_eq!(config.failover, failover);
}

#[test]
fn prices_are_those_of_the_provider_that_is_said_or_known_by_its_host() {
    let endpoint = |name: &str, base_url: &str, more: &str| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\ndialect = \"openai\"\nbase_url = \"{base_url}\"\n{more}"
        )
    };
    let text = [
        BASE.to_owned(),
        endpoint("b", "https://api.openai.com/v1", ""),
        endpoint("c", "http://c:81/v1", "provider = \"mine\"\n"),
    ]
    .concat();
    let config = parse(&text).unwrap();
    let found: Vec<_> = (config.endpoints.iter())
        .map(|endpoint| {
            (
                endpoint.provider.as_deref(),
                &*endpoint.server.0,
                endpoint.server.1,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (None, "127.0.0.1", 1),
            (Some("openai"), "api.openai.com", 443),
            (Some("mine"), "c", 81)
        ]
    );
}

#[test]
fn the_sample_of_the_readme_is_right_and_says_the_defaults() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (sample, _) = rest.split_once("```").unwrap();
    let config = Config::parse(Path::new("README.md"), sample, None, &|_| {
        Some("key".into())
    })
    .unwrap();
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.failover, Failover::default());
    assert_eq!(config.total, Timeouts::default().total);
    assert_eq!(config.notes, [] as [&str; 0]);
    assert_eq!(config.routes.len(), 3);
}

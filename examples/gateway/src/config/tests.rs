use std::{path::Path, time::Duration};

use super::{Config, Faults, Limits};
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
    assert_eq!(
        endpoint.key.as_ref().map(|key| key.expose()),
        Some("sk-ant-canary")
    );
    let route = &config.routes[0];
    assert_eq!(
        (route.model.as_str(), route.rename.as_deref()),
        ("fast", Some("gpt-4o-mini"))
    );
    assert_eq!(config.routes[2].endpoints, [1, 0]);
    assert!(config.notes.is_empty(), "{:?}", config.notes);
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
    assert!(!config.public_pages && config.endpoints[0].key.is_none());
}

#[test]
fn what_is_wrong_is_told_with_file_and_line_found_and_expected() {
    let with = |more: &str| format!("{BASE}{more}\n");
    let first = |line: &str| format!("{line}\n{BASE}");
    let endpoint = |lines: &str| with(&format!("[[endpoint]]\n{lines}"));
    let route = |lines: &str| with(&format!("[[route]]\n{lines}"));
    let caller = |line: &str| {
        let name = if line.starts_with("name") {
            ""
        } else {
            "name = \"c\"\n"
        };
        with(&format!(
            "[[callers]]\nkey_sha256 = \"{ABC}\"\n{line}\n{name}"
        ))
    };
    for (text, said) in [
        (
            first("listen = 8080"),
            "1: found integer `8080`, expected a string",
        ),
        (
            first("listen = \"localhost\""),
            "1: found \"localhost\", expected an address and port, such as \"127.0.0.1:8080\"",
        ),
        (
            first("listne = \"127.0.0.1:1\""),
            "1: found key `listne`, expected one of `listen`, `limits`, `pages`, `web`, `callers`, `endpoint`, `route`",
        ),
        (
            first("listen = "),
            "1: string values must be quoted, expected literal string",
        ),
        (
            with("[limits]\nbody = \"1 stone\""),
            "9: found \"1 stone\", expected a size from 1 B to 1 TiB, such as 65536 or \"64 KiB\"",
        ),
        (
            with("[limits]\ndrain = -1"),
            "9: found -1, expected a time from 1 ms to 24 h, such as 30 (seconds) or \"250 ms\"",
        ),
        (
            with("[limits]\nbodies = 1"),
            "9: found key `bodies`, expected one of `body`, `read`, `drain`, `connections`",
        ),
        (
            with("[limits]\nconnections = 0"),
            "9: found 0 connections, expected 1 to 1048576",
        ),
        (
            with("[pages]\npublic = \"sk-canary\""),
            "9: found a string, expected a boolean",
        ),
        (
            first("listen = \"0.0.0.0:80\""),
            "1: found 0.0.0.0:80 and no callers, expected a loopback address, or `[[callers]]` in the configuration: ",
        ),
        (
            caller("name = \"a b\""),
            "10: found name \"a b\", expected 1 to 64 letters",
        ),
        (
            caller("models = []"),
            "10: found no model, expected at least one",
        ),
        (
            caller("models = [\"\"]"),
            "10: found model \"\", expected 1 to 256 bytes",
        ),
        (
            caller("expires = 2026-12-31"),
            "10: found 2026-12-31, expected a date, a time and an offset, such as 2026-12-31T23:59:59Z",
        ),
        (
            caller("expires = \"2026-12-31T23:59:60x\""),
            "10: found \"2026-12-31T23:59:60x\", expected a date, a time and an offset",
        ),
        (
            caller("expires = 7"),
            "10: found another value, expected a date, a time and an offset",
        ),
        (
            with("[[callers]]\nname = \"c\"\nkey_sha256 = \"sk-canary\""),
            "10: found what is no digest, expected the 64 hexadecimal digits that `gateway digest` makes of a key",
        ),
        (
            with("[[callers]]\nname = \"c\""),
            "8: found no `key_sha256`, expected one",
        ),
        (
            with(&format!(
                "[[callers]]\nname = \"c\"\nkey_sha256 = \"{ABC}\"\n[[callers]]\nname = \"d\"\nkey_sha256 = \"{ABC}\""
            )),
            "13: found the key of caller `c` again, expected another",
        ),
        (
            with("[web]\nhosts = [\"a\",\n\"a:80\"]"),
            "10: found host \"a:80\", expected a name or address without a port",
        ),
        (
            with("[web]\norigins = [\"a\"]"),
            "9: found origin \"a\", expected scheme and host alone, such as \"https://chat.example.com\"",
        ),
        (
            with("[web]\norigins = [\"https://a/\"]"),
            "9: found origin \"https://a/\", expected scheme and host alone",
        ),
        (
            with("[endpoint.x]"),
            "8: found key `x`, expected one of `name`, `dialect`, `base_url`, `key_env`, `models`",
        ),
        (
            with("[limits]\nbody = 1\nbody = 2"),
            "10: found key `body` a second time, expected it once",
        ),
        (
            with("[limits]\nbody = 1\n\"body\" = 2"),
            "10: found key `body` a second time, expected it once",
        ),
        (
            with("[pages]\npublic = true\n[pages]"),
            "10: found key `pages` a second time, expected it once",
        ),
        (
            first("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\""),
            "2: found key `listen` a second time, expected it once",
        ),
        (
            first("limits = 7"),
            "1: found integer, expected a table that begins with `[limits]`",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nmodels = [\"m\",\n7]",
            ),
            "13: found integer `7`, expected a string",
        ),
        (
            "endpoint = 1\nroute = []".to_owned(),
            "1: found integer `endpoint`, expected entries that begin with `[[endpoint]]`",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\""),
            "8: found no `base_url`, expected one",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"opnai\"\nbase_url = \"http://b\""),
            "10: found \"opnai\", expected one of \"openai\", \"anthropic\", \"gemini\"",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\"\nbase_url = \"api.example.com/v1\""),
            "11: unusable setting: base URL: found no scheme, expected `http://` or `https://`",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"https://me:sk-canary@b/v1\"",
            ),
            "11: unusable setting: base URL: found user info, expected a URL without `@`, and credentials in headers",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nmodel = \"m\""),
            "12: found key `model`, expected one of `name`, `dialect`, `base_url`, `key_env`, `models`",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nmodels = \"m\""),
            "12: found a string, expected an array of strings, such as [\"one\", \"two\"]",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nmodels = [\"m\",\n\"m-*\"]",
            ),
            "13: found model \"m-*\", expected a name without `*`",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = \"NOT_SET\"",
            ),
            "12: the environment variable `NOT_SET` is not set, expected it to hold the key",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = \"EMPTY\"",
            ),
            "12: the environment variable `EMPTY` holds no key: the credential is empty",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = \"BROKEN\"",
            ),
            "12: the environment variable `BROKEN` holds no key: the credential has a byte at 9 that is no visible ASCII character",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = \"sk-canary\"",
            ),
            "12: found what is no variable's name, expected one such as `OPENAI_API_KEY`, and the key in that variable",
        ),
        (
            endpoint("name = \"a\"\ndialect = \"openai\"\nbase_url = \"http://b\""),
            "9: found a second endpoint `a`, expected another name",
        ),
        (
            endpoint("name = \"a b\"\ndialect = \"openai\"\nbase_url = \"http://b\""),
            "9: found name \"a b\", expected 1 to 64 letters, digits, `-`, `_` or `.`",
        ),
        (
            route("model = \"n\"\nendpoints = [\"b\"]"),
            "10: found endpoint \"b\", expected one of `a`",
        ),
        (
            route("model = \"n\"\nendpoints = []"),
            "10: found no endpoint, expected at least one",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\", \"a\"]"),
            "10: found endpoint `a` twice, expected it once",
        ),
        (
            route("model = \"m\"\nendpoints = [\"a\"]"),
            "9: found route \"m\" behind \"m\", which takes all of its models; expected the narrower one first",
        ),
        (
            route(
                "model = \"*\"\nendpoints = [\"a\"]\n[[route]]\nmodel = \"n*\"\nendpoints = [\"a\"]",
            ),
            "12: found route \"n*\" behind \"*\", which takes all of its models; expected the narrower one first",
        ),
        (
            route("model = \"\"\nendpoints = [\"a\"]"),
            "9: found model \"\", expected 1 to 256 bytes without control characters",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nrename = \"x\\u0000\""),
            "11: found model \"x\\0\", expected 1 to 256 bytes without control characters",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nrename = \"x*\""),
            "11: found rename \"x*\", expected one model's name",
        ),
        (
            with(
                "[[endpoint]]\nname = \"g\"\ndialect = \"gemini\"\nbase_url = \"http://g\"\n[[route]]\nmodel = \"n\"\nendpoints = [\"g\"]",
            ),
            "14: found only Gemini endpoints, which no path of the gateway reaches yet; expected one of dialect `openai` or `anthropic`",
        ),
    ] {
        let faults = faults(&text);
        assert!(
            faults.len() == 1 && faults[0].starts_with(&format!("gateway.toml:{said}")),
            "{text}\n{faults:#?}"
        );
        assert!(!faults[0].contains("canary"), "{faults:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_lines() {
    let text = r#"[[route]]
model = "m"
endpoints = ["a", "c"]
[[endpoint]]
name = "a"
dialect = "openai"
base_url = "ftp://x"
[[endpoint]]
name = "b"
dialect = 7
base_url = "http://b"
[limits]
body = 0
"#;
    let faults = faults(text);
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["3", "7", "10", "13"], "{faults:#?}");
}

#[test]
fn everything_that_is_wrong_with_one_table_is_told() {
    let text = r#"[[endpoint]]
name = "b c"
dialect = "opnai"
base_url = "ftp://x"
key_env = "NOT_SET"
models = [1,
"m-*",
true]
model = "m"
[[route]]
model = 1
endpoints = ["a", "b c",
"b c"]
rename = "x*"
[[route]]
modle = "m"
[limits]
body = 0
read = "soon"
connections = "many"
bodies = 1
"#;
    let faults = faults(text);
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(':').nth(1).unwrap())
        .collect();
    let expected = "2 3 4 5 6 7 8 9 11 12 13 14 15 15 16 18 19 20 21";
    assert_eq!(lines.join(" "), expected, "{faults:#?}");
}

#[test]
fn a_file_that_is_no_text_is_told_with_line_and_column() {
    let path = std::env::temp_dir().join(format!("gateway-{}.toml", std::process::id()));
    std::fs::write(&path, b"# \xc3\xbc\n# \xc3\xbc \xff\n").unwrap();
    let faults = Config::read(&path, None).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    let said = ".toml:2: found byte 0xff at column 5, expected UTF-8 text";
    assert!(faults.ends_with(said), "{faults}");
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
            "endpoint `b`: no path of the gateway reaches a Gemini endpoint yet",
            "endpoint `b`: no route leads to it",
            "endpoint `c`: no route leads to its model \"n-2\"",
        ]
    );
}

#[test]
fn a_second_endpoint_of_the_same_dialect_is_noted() {
    let text = format!(
        "{BASE}{}",
        r#"[[endpoint]]
name = "b"
dialect = "openai"
base_url = "http://b"
[[route]]
model = "n-*"
endpoints = ["a", "b"]
"#
    );
    assert_eq!(
        parse(&text).unwrap().notes,
        ["route `n-*`: only `a` serves callers of openai, there is no failover yet"]
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
    assert_eq!(config.notes, [] as [&str; 0]);
    assert_eq!(config.routes.len(), 3);
}

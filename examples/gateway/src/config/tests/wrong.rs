//! What is said of files in which something is wrong.

use super::{ABC, BASE, Config, faults};

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
            "1: found key `listne`, expected one of `listen`, `limits`, `pages`, `web`, `failover`, `retry`, `breaker`, `timeouts`, `prices`, `cache`, `callers`, `endpoint`, `route`",
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
            "8: found key `x`, expected one of `name`, `dialect`, `base_url`, `key_env`, `models`, `context`, `provider`, `retry`, `breaker`, `limit`, `timeouts`",
        ),
        (
            with("[breaker]\nfailure_rate = 0"),
            "9: found the ratio 0, expected one above 0 and up to 1",
        ),
        (
            with("[breaker]\nfailure_rate = 1.5"),
            "9: found the ratio 1.5, expected one above 0 and up to 1",
        ),
        (with("[breaker]\ncalls = 0"), "9: found"),
        (
            with("[breaker]\ncalls = 10\ntime = 10"),
            "10: found `time` beside `calls`, expected one of them",
        ),
        (
            with("[breaker]\nprobes = 0"),
            "9: found probes of 0, expected at least 1",
        ),
        (
            with("[breaker]\nwait = \"2 min\""),
            "9: found a wait of 120s, expected at most longest_wait, which is 60s",
        ),
        (
            with("[endpoint.limit]\nrequests_per_minute = 0"),
            "9: found",
        ),
        (
            with("[endpoint.limit]\nwait = 1"),
            "9: found `wait` and no limit, expected one such as `tokens_per_minute`",
        ),
        (
            with(&format!(
                "[[callers]]\nname = \"c\"\nkey_sha256 = \"{ABC}\"\n[callers.limit]\nrequests_per_minute = 5\nwait = 1"
            )),
            "13: found `wait` of a caller, expected it of an endpoint alone",
        ),
        (
            with("[endpoint.limit]\ntokens_per_second = 1"),
            "9: found key `tokens_per_second`, expected one of `requests_per_minute`,",
        ),
        (
            with("[failover]\nattempts = 0"),
            "9: found 0 attempts, expected 1 to 128",
        ),
        (
            with("[failover]\ncool_down = \"3 min\""),
            "9: found a cool_down of 180s, expected at most longest_cool_down, which is 120s",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nstrategy = \"random\""),
            "11: found strategy \"random\", expected one of \"ordered\", \"weighted\", \"least-loaded\", \"by-caller\"",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nunfit = \"b\""),
            "11: found unfit \"b\", expected one of \"nowhere\", \"any\", \"larger-context\"",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nstrategy = \"weighted\""),
            "11: found strategy \"weighted\" and no weights, expected 1: one for each endpoint",
        ),
        (
            with("[web]\nhosts = [\"*.example.com\"]"),
            "9: found host \"*.example.com\", expected a name or address without a port",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nstrategy = \"weighted\"\nweights = [1, 2]"),
            "12: found 2 weights, expected 1: one for each endpoint",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nstrategy = \"weighted\"\nweights = [0]"),
            "12: found no weight above 0, expected at least one",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\nweights = [1]"),
            "11: found weights, expected none where endpoints are asked in their order",
        ),
        (
            route("model = \"n\"\nendpoints = [\"a\"]\ncheck = \"1 s\""),
            "11: found check for an only endpoint, which is never left alone; expected none",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\n[[route]]\nmodel = \"n-*\"\nendpoints = [\"a\", \"b\"]\ncheck = \"1 s\"",
            ),
            "15: found check for \"n-*\", expected the name of one model, here or as `rename`",
        ),
        (
            with("[prices]\nfile = \"nowhere.txt\""),
            "9: found nowhere.txt: No such file or directory (os error 2), expected a list of prices",
        ),
        (
            with("[retry]\nattempts = 0"),
            "9: found 0 attempts, expected 1 (each call is sent once) to 10",
        ),
        (
            with("[endpoint.retry]\nattempts = 11"),
            "9: found 11 attempts, expected 1",
        ),
        (
            with("[retry]\nbase = \"2 s\"\ncap = \"1 s\""),
            "10: found a base of 2s and a cap of 1s, expected",
        ),
        (
            with("[retry]\nbudget = 1.5"),
            "9: found the ratio 1.5, expected one above 0 and up to 1",
        ),
        (
            with("[retry]\ntimes = 3"),
            "9: found key `times`, expected one of `attempts`, `base`, `cap`, `budget`, `reserve`",
        ),
        (
            with("[timeouts]\nidle = 0"),
            "9: found 0, expected a time from 1 ms to 24 h",
        ),
        (
            with("[endpoint.timeouts]\ntotal = 1"),
            "9: found `total` of one endpoint, expected it below `[timeouts]`",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\ntimeouts = 5"),
            "12: found integer, expected a table that begins with `[timeouts]`",
        ),
        (
            endpoint(
                "name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = [\"OPENAI_API_KEY\", \"OPENAI_API_KEY\"]",
            ),
            "12: the keys OPENAI_API_KEY and OPENAI_API_KEY are the same credential",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = []"),
            "12: found no variable, expected at least one; or no `key_env`, for none",
        ),
        (
            endpoint("name = \"b\"\ndialect = \"openai\"\nbase_url = \"http://b\"\nkey_env = 3"),
            "12: found integer `3`, expected a string",
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
            "12: found key `model`, expected one of `name`, `dialect`, `base_url`, `key_env`, `models`, `context`, `provider`, `retry`, `breaker`, `limit`, `timeouts`",
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

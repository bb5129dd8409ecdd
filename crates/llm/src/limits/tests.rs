use std::time::{Duration, SystemTime};

use buttress_core::{Limit, Limits};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{date::rfc3339, duration::duration_or_seconds};
use crate::Dialect;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (name.parse::<HeaderName>().unwrap(), value)
    });
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    headers
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The tokens of an OpenAI reply with these three values.
fn openai(limit: &str, remaining: &str, reset: &str) -> Option<Limit> {
    let headers = headers(&[
        ("x-ratelimit-limit-tokens", limit),
        ("x-ratelimit-remaining-tokens", remaining),
        ("x-ratelimit-reset-tokens", reset),
    ]);
    let limits = Dialect::OpenAi.limits(&headers, at(0));
    assert_eq!(limits.requests, None);
    limits.tokens
}

#[test]
fn durations_are_read_as_go_writes_them() {
    const MS: Duration = Duration::from_millis(1);
    for (text, expected) in [
        ("12ms", 12 * MS),
        ("1s", 1_000 * MS),
        ("6m0s", 360_000 * MS),
        ("1h2m3.5s", 3_723_500 * MS),
        ("7.66s", 7_660 * MS),
        ("2m59.56s", 179_560 * MS),
        ("0s", Duration::ZERO),
        ("1.5h", 5_400_000 * MS),
        ("250µs", Duration::from_micros(250)),
        ("250\u{3bc}s", Duration::from_micros(250)),
        ("250us", Duration::from_micros(250)),
        ("1.001ms", Duration::from_micros(1001)),
        ("17ns", Duration::from_nanos(17)),
        ("0.0000000009s", Duration::ZERO),
        // Azure.
        ("20", 20_000 * MS),
        ("0", Duration::ZERO),
        ("0.25", 250 * MS),
    ] {
        assert_eq!(duration_or_seconds(text), Some(expected), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_none() {
    for text in [
        "",
        " ",
        "-1",
        "+1",
        "-1s",
        "s",
        "ms",
        ".",
        ".5s",
        "1.s",
        "1.",
        "1..5s",
        "1 s",
        "1s ",
        "1d",
        "1w",
        "1S",
        "1s1s",
        "1s1m",
        "1ms1s",
        "1s2",
        "1e3",
        "1e3s",
        "0x10",
        "nan",
        "inf",
        "1,5s",
        "1:30",
        "1h2m3.5.5s",
        "\u{661}s",
        "18446744073709551616",
        "18446744073709551616s",
        "5124095576030432h",
    ] {
        assert_eq!(duration_or_seconds(text), None, "{text}");
    }
}

#[test]
fn times_are_read_as_rfc_3339_has_them() {
    // `date -d … +%s`
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", at(0)),
        ("2000-02-29T23:59:59Z", at(951_868_799)),
        ("2024-12-31T23:59:60Z", at(1_735_689_600)),
        ("2025-01-24T18:30:00Z", at(1_737_743_400)),
        ("2025-01-24t18:30:00z", at(1_737_743_400)),
        ("2025-01-24 18:30:00Z", at(1_737_743_400)),
        ("2025-01-24T18:30:00+00:00", at(1_737_743_400)),
        ("2025-01-24T20:00:00+01:30", at(1_737_743_400)),
        ("2025-01-24T10:30:00-08:00", at(1_737_743_400)),
        (
            "2025-01-24T18:30:00.5Z",
            at(1_737_743_400) + Duration::from_millis(500),
        ),
        (
            "2025-01-24T18:30:00.1234567899Z",
            at(1_737_743_400) + Duration::from_nanos(123_456_789),
        ),
        ("2100-03-01T00:00:00Z", at(4_107_542_400)),
        ("9999-12-31T23:59:59Z", at(253_402_300_799)),
    ] {
        assert_eq!(rfc3339(text), Some(expected), "{text}");
    }
}

#[test]
fn what_is_no_time_is_none() {
    for text in [
        "",
        "2025-01-24",
        "2025-01-24T18:30:00",
        "2025-01-24T18:30Z",
        "2025-01-24T18:30:00.Z",
        "2025-01-24T18:30:00ZZ",
        "2025-01-24T18:30:00+0000",
        "2025-01-24T18:30:00+24:00",
        "2025-01-24T18:30:00+00:60",
        "2025-1-24T18:30:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2025-04-31T00:00:00Z",
        "2025-01-00T00:00:00Z",
        "2025-01-24T24:00:00Z",
        "2025-01-24T18:60:00Z",
        "2025-01-24T18:30:61Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "-025-01-24T18:30:00Z",
        "+025-01-24T18:30:00Z",
        "20250124T183000Z",
        "1737743400",
        "Fri, 24 Jan 2025 18:30:00 GMT",
        "\u{661}025-01-24T18:30:00Z",
    ] {
        assert_eq!(rfc3339(text), None, "{text}");
    }
}

#[test]
fn every_dimension_of_openai_is_read() {
    let headers = headers(&[
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1s"),
        ("x-ratelimit-limit-tokens", "150000"),
        ("x-ratelimit-remaining-tokens", " 149984\t"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        // Another dialect's do not count.
        ("anthropic-ratelimit-tokens-remaining", "1"),
        ("anthropic-ratelimit-tokens-reset", "2025-01-24T18:30:00Z"),
    ]);
    let mut expected = Limits::default();
    expected.requests = Some(Limit {
        limit: Some(60),
        remaining: 59,
        reset: Duration::from_secs(1),
    });
    expected.tokens = Some(Limit {
        limit: Some(150_000),
        remaining: 149_984,
        reset: Duration::from_secs(360),
    });
    assert_eq!(Dialect::OpenAi.limits(&headers, at(0)), expected);
    assert_eq!(Dialect::Gemini.limits(&headers, at(0)), Limits::default());
}

#[test]
fn every_dimension_of_anthropic_is_read() {
    let mut fields = Vec::new();
    for (n, dimension) in ["requests", "tokens", "input-tokens", "output-tokens"]
        .into_iter()
        .enumerate()
    {
        fields.push((
            format!("anthropic-ratelimit-{dimension}-limit"),
            "80000".to_owned(),
        ));
        fields.push((
            format!("anthropic-ratelimit-{dimension}-remaining"),
            n.to_string(),
        ));
        fields.push((
            format!("anthropic-ratelimit-{dimension}-reset"),
            format!("2025-01-24T18:30:0{n}Z"),
        ));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let limits = Dialect::Anthropic.limits(&headers(&fields), at(1_737_743_390));
    for (n, limit) in [
        limits.requests,
        limits.tokens,
        limits.input_tokens,
        limits.output_tokens,
    ]
    .into_iter()
    .enumerate()
    {
        let expected = Limit {
            limit: Some(80_000),
            remaining: n as u64,
            reset: Duration::from_secs(10 + n as u64),
        };
        assert_eq!(limit, Some(expected));
    }
}

#[test]
fn a_time_counts_from_the_servers_own_clock_where_it_tells() {
    let reset = |date: &[&str], now: u64| {
        let mut fields = vec![
            ("anthropic-ratelimit-requests-remaining", "5"),
            ("anthropic-ratelimit-requests-reset", "2025-01-24T18:30:00Z"),
        ];
        fields.extend(date.iter().map(|date| ("date", *date)));
        let limits = Dialect::Anthropic.limits(&headers(&fields), at(now));
        limits.requests.map(|limit| limit.reset.as_secs())
    };
    let reset_at = 1_737_743_400;
    let date = "Fri, 24 Jan 2025 18:29:30 GMT";
    assert_eq!(reset(&[date], 0), Some(30), "whatever our clock says");
    assert_eq!(reset(&[], reset_at - 7), Some(7));
    assert_eq!(reset(&["yesterday"], reset_at - 7), Some(7));
    assert_eq!(reset(&[date, date], reset_at - 7), Some(7));
    assert_eq!(reset(&[], reset_at + 7), Some(0), "it has passed");
    assert_eq!(reset(&[], 0), None, "55 years are no reset");
}

#[test]
fn the_limit_itself_need_not_be_told() {
    let headers = headers(&[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "20"),
    ]);
    let expected = Limit {
        limit: None,
        remaining: 0,
        reset: Duration::from_secs(20),
    };
    let limits = Dialect::OpenAi.limits(&headers, at(0));
    assert_eq!(limits.requests, Some(expected));
}

#[test]
fn what_makes_no_sense_is_absent() {
    assert!(openai("100", "99", "1s").is_some());
    assert!(openai("100", "100", "0").is_some());
    assert!(openai("1000000000000000", "99", "768h").is_some());
    for (limit, remaining, reset) in [
        // Azure, where it does not know.
        ("-1", "-1", "-1"),
        ("100", "-1", "1s"),
        ("-1", "99", "1s"),
        ("100", "99", "-1"),
        ("100", "", "1s"),
        ("", "99", "1s"),
        ("100", "99", ""),
        ("100", "+99", "1s"),
        ("100", "99.0", "1s"),
        ("100", "1e1", "1s"),
        ("100", "0x10", "1s"),
        ("100", "99, 98", "1s"),
        ("1,000", "99", "1s"),
        ("unlimited", "99", "1s"),
        ("100", "101", "1s"),
        ("1000000000000001", "99", "1s"),
        ("18446744073709551616", "99", "1s"),
        ("1000000000000000000000000", "99", "1s"),
        ("100", "99", "769h"),
        ("100", "99", "1000000000000000000s"),
        ("100", "99", "2025-01-24T18:30:00Z"),
        ("100", "99", "soon"),
        ("100", "99", "caf\u{e9}"),
        ("100", "\u{661}", "1s"),
        (
            "0000000000000000000000000000000000000000000000000000000000000000100",
            "99",
            "1s",
        ),
    ] {
        assert_eq!(
            openai(limit, remaining, reset),
            None,
            "{limit} {remaining} {reset}"
        );
    }
}

#[test]
fn what_comes_twice_is_absent_and_takes_no_other_dimension_with_it() {
    for name in ["limit", "remaining", "reset"] {
        for second in ["1", "2"] {
            let twice = format!("x-ratelimit-{name}-requests");
            let headers = headers(&[
                ("x-ratelimit-limit-requests", "1"),
                ("x-ratelimit-remaining-requests", "1"),
                ("x-ratelimit-reset-requests", "1"),
                (&twice, second),
                ("x-ratelimit-remaining-tokens", "1"),
                ("x-ratelimit-reset-tokens", "1"),
            ]);
            let limits = Dialect::OpenAi.limits(&headers, at(0));
            assert_eq!(limits.requests, None, "{name}");
            assert!(limits.tokens.is_some());
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_absent() {
    let mut headers = headers(&[("x-ratelimit-reset-tokens", "1s")]);
    let garbage = HeaderValue::from_bytes(b"\xff1").unwrap();
    headers.insert("x-ratelimit-remaining-tokens", garbage);
    assert_eq!(Dialect::OpenAi.limits(&headers, at(0)), Limits::default());
}

proptest! {
    #[test]
    fn what_go_writes_is_read_back(nanos in 0..2_764_800_000_000_000_u64) {
        let (hours, rest) = (nanos / 3_600_000_000_000, nanos % 3_600_000_000_000);
        let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
        let seconds = format!("{}.{:09}s", rest / 1_000_000_000, rest % 1_000_000_000);
        let text = match (hours, minutes) {
            (0, 0) => seconds,
            (0, _) => format!("{minutes}m{seconds}"),
            _ => format!("{hours}h{minutes}m{seconds}"),
        };
        prop_assert_eq!(duration_or_seconds(&text), Some(Duration::from_nanos(nanos)));
    }

    #[test]
    fn a_date_of_http_and_one_of_rfc_3339_are_the_same_time(seconds in 0..253_402_300_800_u64) {
        // httpdate's own words, put in another order.
        let http = httpdate::fmt_http_date(at(seconds));
        let parts: Vec<_> = http.split(' ').collect();
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = months.find(parts[2]).unwrap() / 3 + 1;
        let text = format!("{}-{month:02}-{}T{}Z", parts[3], parts[1], parts[4]);
        prop_assert_eq!(rfc3339(&text), Some(at(seconds)));
    }

    #[test]
    fn no_value_makes_it_panic(
        remaining in r"[0-9+\-.,e]{0,24}",
        reset in r"[0-9hmnuµs.\-+:TZ ]{0,40}",
        any in ".{0,70}",
    ) {
        let _ = openai("100", &remaining, &reset);
        let _ = (duration_or_seconds(&any), duration_or_seconds(&reset));
        let _ = (rfc3339(&any), rfc3339(&reset));
    }
}

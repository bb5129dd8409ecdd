//! The hints of a server, from outside.

use std::time::{Duration, SystemTime};

use buttress_http::{
    ByStatus, Judge,
    retry_after::{Hints, MAX, ReceivedAt},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;

/// 29 September 2023, 16:26:37.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_696_004_797)
}

fn hints(fields: &[(&'static str, &str)]) -> Hints {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).expect("a header value");
        headers.append(HeaderName::from_static(name), value);
    }
    Hints::from_headers(&headers, now)
}

fn retry_after(value: &str) -> Option<Duration> {
    hints(&[("retry-after", value)]).retry_after
}

fn retry_after_ms(value: &str) -> Option<Duration> {
    hints(&[("retry-after-ms", value)]).retry_after
}

const fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

const fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn every_case_of_the_vectors_gives_its_delay() {
    let file: Value =
        serde_json::from_str(include_str!("data/retry_after.json")).expect("valid JSON");
    assert_eq!(file["now_unix"], 1_696_004_797);
    let cases = |name| file[name].as_array().expect("a list of cases").iter();
    assert_eq!(cases("seconds_before_policy").len(), 12);
    for case in cases("seconds_before_policy") {
        let expected = match &case[1] {
            Value::String(text) if text == "invalid" => None,
            // Where the vectors leave the choice: capped, and a fraction counts.
            Value::String(text) if text.starts_with("saturate-or-invalid") => Some(MAX),
            Value::String(text) if text.contains("SDKs accept") => millis(1500),
            seconds => secs(seconds.as_u64().expect("seconds")),
        };
        let value = case[0].as_str().expect("a value");
        assert_eq!(retry_after(value), expected, "{value}");
    }
    assert_eq!(cases("retry_after_ms").len(), 1);
    for case in cases("retry_after_ms") {
        let value = case[0].as_str().expect("a value");
        let expected = secs(case[1].as_u64().expect("seconds"));
        assert_eq!(retry_after_ms(value), expected, "{value}");
    }
}

#[test]
fn a_response_without_hints_has_none() {
    assert_eq!(hints(&[]), Hints::default());
    assert_eq!(hints(&[("retry-after", "")]), Hints::default());
    let unasked = || panic!("there is no date");
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("3"));
    assert_eq!(Hints::from_headers(&headers, unasked).retry_after, secs(3));
}

#[test]
fn a_date_counts_in_each_of_its_three_forms() {
    for date in [
        "Fri, 29 Sep 2023 16:27:37 GMT",
        "Friday, 29-Sep-23 16:27:37 GMT",
        "Fri Sep 29 16:27:37 2023",
    ] {
        assert_eq!(retry_after(date), secs(60), "{date}");
    }
    assert_eq!(retry_after("Sun Oct  1 16:26:37 2023"), Some(MAX));
}

#[test]
fn a_date_that_has_passed_means_now() {
    for date in [
        "Fri, 29 Sep 2023 16:26:37 GMT",
        "Fri, 29 Sep 2023 16:26:36 GMT",
        "Thursday, 01-Jan-70 00:00:00 GMT",
    ] {
        assert_eq!(retry_after(date), secs(0), "{date}");
    }
}

#[test]
fn a_fraction_counts() {
    assert_eq!(retry_after("1.5"), millis(1500));
    assert_eq!(retry_after("0.001"), millis(1));
    assert_eq!(
        retry_after("2.0000000019999"),
        Some(Duration::new(2, 1)),
        "to the nanosecond"
    );
    assert_eq!(retry_after_ms("0.5"), Some(Duration::from_micros(500)));
    assert_eq!(retry_after_ms("1500"), millis(1500));
    assert_eq!(retry_after_ms("007"), millis(7));
}

#[test]
fn r8_milliseconds_count_before_seconds() {
    let fields = [("retry-after", "9"), ("retry-after-ms", "1200")];
    assert_eq!(hints(&fields).retry_after, millis(1200));
    let fields = [("retry-after", "9"), ("retry-after-ms", "0")];
    assert_eq!(hints(&fields).retry_after, millis(0));
}

#[test]
fn r8_a_malformed_hint_is_no_hint() {
    for value in [
        "-1", "+1", "1e3", "nan", "NaN", "inf", "Infinity", "0x10", ".5", "5.", "1.2.3", "1,5",
        "1, 30", "1s", "1 2", "soon", "--", ".", "\"1\"", "١",
    ] {
        assert_eq!(retry_after_ms(value), None, "{value}");
        assert_eq!(retry_after(value), None, "{value}");
        let fields = [("retry-after-ms", value), ("retry-after", "9")];
        assert_eq!(hints(&fields).retry_after, secs(9), "{value}");
    }
    for date in [
        "Thu, 29 Sep 2023 16:26:57 GMT",
        "Fri, 29 Sep 2023 16:26:57 UTC",
        "Fri, 29 Sep 2023 16:26:57 +0000",
        "Fri, 29 Sep 2023 16:26:60 GMT",
        "Fri, 31 Sep 2023 16:26:57 GMT",
        "Fri, 29 Sep 23 16:26:57 GMT",
        "2023-09-29T16:26:57Z",
    ] {
        assert_eq!(retry_after(date), None, "{date}");
    }
    let milliseconds_are_no_date = retry_after_ms("Fri, 29 Sep 2023 16:26:57 GMT");
    assert_eq!(milliseconds_are_no_date, None);
}

#[test]
fn of_several_delays_the_longest_valid_one_counts() {
    let fields = [
        ("retry-after", "5"),
        ("retry-after", "Fri, 29 Sep 2023 16:26:57 GMT"),
        ("retry-after", "nan"),
        ("retry-after", "1"),
    ];
    assert_eq!(hints(&fields).retry_after, secs(20));
    let fields = [("retry-after-ms", "1"), ("retry-after-ms", "30")];
    assert_eq!(hints(&fields).retry_after, millis(30));
}

#[test]
fn s8_a_hint_without_measure_is_capped_or_ignored() {
    let digits = "9".repeat(8000);
    for value in [
        "86400",
        "86400.000000001",
        "86401",
        "1000000000",
        "1000000000000000000",
        "18446744073709551615",
        "18446744073709551616.9999999999999999999999999",
        "340282366920938463463374607431768211456",
        &digits,
    ] {
        assert_eq!(retry_after(value), Some(MAX), "{value}");
    }
    assert_eq!(retry_after("86399.999"), millis(86_399_999));
    assert_eq!(retry_after_ms("86400001"), Some(MAX));
    assert_eq!(retry_after_ms("1000000000000000000"), Some(MAX));
    assert_eq!(retry_after_ms(&digits), Some(MAX));
    assert_eq!(retry_after("Fri, 31 Dec 9999 23:59:59 GMT"), Some(MAX));
    for value in ["1e18", "1E18", "-1", "-1e18", "-0", &format!("-{digits}")] {
        assert_eq!(retry_after(value), None, "{value}");
        assert_eq!(retry_after_ms(value), None, "{value}");
    }
}

#[test]
fn r8_the_server_can_say_yes_or_no() {
    let verdict = |value| hints(&[("x-should-retry", value)]).should_retry;
    assert_eq!(verdict("true"), Some(true));
    assert_eq!(verdict("FALSE"), Some(false));
    for value in ["", "1", "yes", "true, false", "truely"] {
        assert_eq!(verdict(value), None, "{value}");
    }
    let pair = |a, b| hints(&[("x-should-retry", a), ("x-should-retry", b)]).should_retry;
    assert_eq!(pair("true", "True"), Some(true));
    assert_eq!(pair("maybe", "false"), Some(false));
    assert_eq!(pair("true", "false"), None);
}

/// What a judge makes of a `retry-after` with this date.
fn judged(at: SystemTime, date: Option<SystemTime>, received: Option<SystemTime>) -> Duration {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    let value = |time| HeaderValue::from_str(&httpdate::fmt_http_date(time)).unwrap();
    response.headers_mut().insert("retry-after", value(at));
    if let Some(date) = date {
        response.headers_mut().insert("date", value(date));
    }
    if let Some(time) = received {
        response.extensions_mut().insert(ReceivedAt(time));
    }
    let (parts, ()) = response.into_parts();
    ByStatus.head(&parts).retry_after.expect("a hint")
}

#[test]
fn r8_a_date_counts_from_the_responses_own_date_and_else_from_when_it_came() {
    let secs = Duration::from_secs;
    let (at, skewed) = (now() + secs(20), now() + secs(5));
    assert_eq!(judged(at, Some(now()), None), secs(20));
    assert_eq!(judged(at, Some(now()), Some(skewed)), secs(20));
    assert_eq!(judged(at, None, Some(skewed)), secs(15));
}

#[test]
fn a_date_counts_by_the_wall_clock_now_whatever_other_clocks_were_before() {
    #[expect(
        clippy::disallowed_methods,
        reason = "what the machine says, to compare"
    )]
    let today = SystemTime::now();
    let at = today + Duration::from_secs(10 * 60 * 60);
    let hour = Duration::from_secs(60 * 60);
    // Each test has a clock of its own, which it moves as it likes.
    for moved in [5, 0, 1, 3] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::time::advance(hour * moved).await;
            let left = judged(at, None, None).as_secs_f64() / 3600.0;
            assert!(
                (left - f64::from(10 - moved)).abs() < 0.1,
                "{left}, moved by {moved}"
            );
        });
    }
    let left = judged(at, None, None).as_secs_f64() / 3600.0;
    assert!((left - 10.0).abs() < 0.1, "{left}");
}

proptest! {
    #[test]
    fn no_value_makes_it_panic_or_pass_the_cap(
        bytes in prop::collection::vec(prop_oneof![
            prop::sample::select(b"0123456789.,-:eE GMTFriSep".to_vec()),
            any::<u8>(),
        ], 0..40),
        name in prop::sample::select(vec!["retry-after", "retry-after-ms", "x-should-retry"]),
    ) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            let hints = Hints::from_headers(&headers, now);
            prop_assert!(hints.retry_after <= Some(MAX));
        }
    }

    #[test]
    fn a_number_is_what_it_says(whole in 0..86_400_u64, nanos in 0..1_000_000_000_u32) {
        let value = format!("{whole}.{nanos:09}");
        prop_assert_eq!(retry_after(&value), Some(Duration::new(whole, nanos)));
        prop_assert_eq!(retry_after_ms(&whole.to_string()), millis(whole));
    }

    #[test]
    fn a_date_is_the_time_left_to_it(ahead in 0..200_000_u64) {
        let date = httpdate::fmt_http_date(now() + Duration::from_secs(ahead));
        prop_assert_eq!(retry_after(&date), Some(Duration::from_secs(ahead).min(MAX)));
    }
}

use buttress_core::Outcome;
use buttress_http::retry_after::whole_seconds;
use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};

const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Tells the caller of an error in headers whether to call again, and when: `x-should-retry`, and
/// `retry-after` in whole seconds if a wait is known.
///
/// The SDKs would else go by the status alone, in which a quota that is spent looks like a rate
/// limit. What the headers say already stays: an endpoint knows best.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use buttress_core::{Class, Outcome};
/// use buttress_llm::tell_retry;
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// let outcome = Outcome::new(Class::Throttled).with_retry_after(Duration::from_millis(1500));
/// tell_retry(&mut headers, &outcome);
/// assert_eq!(headers["x-should-retry"], "true");
/// assert_eq!(headers["retry-after"], "2");
///
/// tell_retry(&mut headers, &Outcome::new(Class::Denied));
/// assert_eq!(headers["x-should-retry"], "true");
/// ```
pub fn tell_retry(headers: &mut HeaderMap, outcome: &Outcome) {
    if let Some(wait) = outcome.retry_after
        && !headers.contains_key(RETRY_AFTER)
    {
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
    if !headers.contains_key(X_SHOULD_RETRY) {
        let again = if outcome.again() { "true" } else { "false" };
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(again));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buttress_core::{Class, Outcome};
    use http::HeaderMap;

    use super::tell_retry;

    #[test]
    fn every_class_says_whether_to_call_again_and_a_wait_is_rounded_up() {
        for (class, again) in [
            (Class::Throttled, "true"),
            (Class::Unavailable, "true"),
            (Class::Denied, "false"),
            (Class::Unfit, "false"),
            (Class::Invalid, "false"),
        ] {
            let mut headers = HeaderMap::new();
            let mut outcome = Outcome::new(class);
            tell_retry(&mut headers, &outcome);
            assert_eq!(headers["x-should-retry"], again, "{class:?}");
            assert!(!headers.contains_key("retry-after"));
            outcome.retry_after = Some(Duration::from_millis(2001));
            tell_retry(&mut headers, &outcome);
            assert_eq!(headers["retry-after"], "3");
        }
    }

    #[test]
    fn what_the_endpoint_said_stays() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        headers.insert("x-should-retry", "false".parse().unwrap());
        let mut outcome = Outcome::new(Class::Throttled);
        outcome.retry_after = Some(Duration::from_secs(1));
        tell_retry(&mut headers, &outcome);
        assert_eq!(headers["retry-after"], "7");
        assert_eq!(headers["x-should-retry"], "false");
    }
}

//! Which requests a script answers.

use std::{fmt, sync::Arc};

use http::Method;
use serde_json::Value;

use crate::Request;

/// A condition on a request. Conditions are put together with [`and`](Self::and),
/// [`or`](Self::or) and [`not`](Self::not).
///
/// ```
/// use buttress_testing::Match;
/// let small_and_streamed = Match::model("gpt-test").and(Match::streamed(true));
/// assert_eq!(small_and_streamed.to_string(), "model \"gpt-test\" and streamed");
/// ```
#[derive(Clone)]
pub struct Match {
    test: Arc<dyn Fn(&Request) -> bool + Send + Sync>,
    says: Arc<str>,
}

impl Match {
    /// Every request.
    pub fn any() -> Self {
        Self::says("any request", |_| true)
    }

    /// Every call for text in the provider's dialect, and nothing else.
    pub fn call() -> Self {
        Self::says("a call", Request::is_call)
    }

    /// Requests for exactly this model.
    pub fn model(model: impl Into<String>) -> Self {
        let model = model.into();
        Self::says(format!("model {model:?}"), move |request| {
            request.model() == Some(&model)
        })
    }

    /// Requests for a model whose name begins so.
    pub fn model_prefix(prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        Self::says(format!("model {prefix:?}…"), move |request| {
            request
                .model()
                .is_some_and(|model| model.starts_with(&prefix))
        })
    }

    /// Requests that ask for a stream, or those that do not.
    pub fn streamed(streamed: bool) -> Self {
        let says = if streamed { "streamed" } else { "not streamed" };
        Self::says(says, move |request| request.streamed() == streamed)
    }

    /// Requests to exactly this path, the query aside.
    pub fn path(path: impl Into<String>) -> Self {
        let path = path.into();
        Self::says(format!("path {path:?}"), move |request| {
            request.path() == path
        })
    }

    /// Requests with this method.
    pub fn method(method: Method) -> Self {
        Self::says(format!("method {method}"), move |request| {
            *request.method() == method
        })
    }

    /// Requests in which one of the values of this header is exactly this. The value is not shown
    /// in reports: it may be a credential.
    pub fn header(name: &str, value: impl Into<String>) -> Self {
        let (name, value) = (name.to_owned(), value.into());
        Self::says(format!("header {name:?} with its value"), move |request| {
            let mut values = request.headers().get_all(name.as_str()).iter();
            values.any(|found| found.as_bytes() == value.as_bytes())
        })
    }

    /// Requests whose body contains this text, byte for byte. The text is not shown in reports:
    /// it may be a prompt.
    pub fn body_contains(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::says("body with its text", move |request| {
            contains(request.body(), text.as_bytes())
        })
    }

    /// Requests whose JSON body has this value at this pointer (RFC 6901, e.g.
    /// `/messages/0/role`).
    pub fn json(pointer: impl Into<String>, value: impl Into<Value>) -> Self {
        let (pointer, value) = (pointer.into(), value.into());
        Self::says(format!("JSON at {pointer:?} as given"), move |request| {
            request.json().and_then(|body| body.pointer(&pointer)) == Some(&value)
        })
    }

    /// Requests for which the closure answers yes. It runs once for every request that no earlier
    /// script can take, in the task that received it; `says` is how reports name the condition.
    pub fn when<F>(says: &str, test: F) -> Self
    where
        F: Fn(&Request) -> bool + Send + Sync + 'static,
    {
        Self::says(says, test)
    }

    /// Requests that meet both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let says = format!("{self} and {other}");
        Self::says(says, move |request| {
            self.matches(request) && other.matches(request)
        })
    }

    /// Requests that meet at least one of the conditions.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let says = format!("({self} or {other})");
        Self::says(says, move |request| {
            self.matches(request) || other.matches(request)
        })
    }

    /// Requests that do not meet the condition.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // `!Match::any()` reads worse than it does here.
    pub fn not(self) -> Self {
        let says = format!("not ({self})");
        Self::says(says, move |request| !self.matches(request))
    }

    /// Whether a request meets the condition.
    pub fn matches(&self, request: &Request) -> bool {
        (self.test)(request)
    }

    fn says<F>(says: impl Into<Arc<str>>, test: F) -> Self
    where
        F: Fn(&Request) -> bool + Send + Sync + 'static,
    {
        Self {
            test: Arc::new(test),
            says: says.into(),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({self})")
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|part| part == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, request::tests::request};

    #[test]
    fn conditions_say_what_they_test_and_combine() {
        let asked = request(
            Dialect::OpenAi,
            "/v1/chat/completions?x=1",
            r#"{"model":"gpt-test","stream":false,"messages":[{"role":"user"}]}"#,
        );
        for (condition, meets) in [
            (Match::any(), true),
            (Match::call(), true),
            (Match::model("gpt-test"), true),
            (Match::model("gpt"), false),
            (Match::model_prefix("gpt"), true),
            (Match::streamed(true), false),
            (Match::path("/v1/chat/completions"), true),
            (Match::method(Method::GET), false),
            (Match::header("x-none", "1"), false),
            (Match::body_contains("\"role\""), true),
            (Match::body_contains("system"), false),
            (Match::json("/messages/0/role", "user"), true),
            (Match::model("a").or(Match::model("gpt-test")), true),
            (Match::any().and(Match::streamed(true)), false),
            (Match::streamed(true).not(), true),
        ] {
            assert_eq!(condition.matches(&asked), meets, "{condition}");
        }
        assert_eq!(
            Match::model("a")
                .or(Match::streamed(true))
                .not()
                .to_string(),
            "not ((model \"a\" or streamed))"
        );
    }
}

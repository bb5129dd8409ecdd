//! What an error of a provider means, by the words it uses.

use std::time::Duration;

use buttress_core::Class;
use serde_json::Value;

use crate::limits::duration;

/// What an error says of itself, as it stands in the envelope.
#[derive(Debug, Default)]
pub(crate) struct Words<'a> {
    /// `type`, `code`, `status`, `reason` and the like.
    pub(crate) names: Vec<&'a str>,
    pub(crate) message: &'a str,
    pub(crate) details: Option<&'a [Value]>,
}

/// A quota whose end is further away is none to wait for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The names that stand for a class, in any dialect. The first class that has one is the error's.
const NAMES: [(Class, &[&str]); 5] = [
    (
        Class::Denied,
        &[
            // OpenAI
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "billing_hard_limit_reached",
            "billing_not_active",
            "account_deactivated",
            "invalid_api_key",
            // Anthropic
            "enforced_spend_limit_reached",
            "authentication_error",
            "billing_error",
            "permission_error",
            // Gemini
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
            "API_KEY_INVALID",
            "API_KEY_EXPIRED",
        ],
    ),
    (
        Class::Unfit,
        &[
            "context_length_exceeded",
            "model_not_found",
            "content_filter",
            "content_policy_violation",
            "unsupported_parameter",
            "unsupported_value",
            // Azure
            "DeploymentNotFound",
            // Anthropic
            "not_found_error",
            // Gemini
            "NOT_FOUND",
            "UNIMPLEMENTED",
        ],
    ),
    (
        Class::Throttled,
        &[
            "rate_limit_exceeded",
            "slow_down",
            "rate_limit_error",
            "RESOURCE_EXHAUSTED",
        ],
    ),
    (
        Class::Unavailable,
        &[
            "server_error",
            "overloaded_error",
            "api_error",
            "timeout_error",
            "UNAVAILABLE",
            "INTERNAL",
            "DEADLINE_EXCEEDED",
            "ABORTED",
        ],
    ),
    (
        Class::Invalid,
        &[
            "invalid_request_error",
            "request_too_large",
            "INVALID_ARGUMENT",
            "FAILED_PRECONDITION",
            "OUT_OF_RANGE",
        ],
    ),
];

/// What a message of an error in the request says where no name does. Each in lower case.
const PHRASES: [(Class, &[&str]); 2] = [
    (
        Class::Denied,
        &[
            "reached your specified api usage limits",
            "credit balance is too low",
            "api key not valid",
            "api key expired",
        ],
    ),
    (
        Class::Unfit,
        &[
            "maximum context length",
            "exceeds the context window",
            "exceed context limit",
            "prompt is too long",
            "exceeds the maximum number of tokens allowed",
            "content filtering policy",
            "user location is not supported",
        ],
    ),
];

/// Of those, what a content filter says.
const FILTERS: [&str; 2] = ["content_filter", "content_policy_violation"];
const FILTER_PHRASES: [&str; 1] = ["content filtering policy"];

// ===== impl Words =====

impl Words<'_> {
    /// The class that the names say, if one of them is known.
    pub(crate) fn class(&self) -> Option<Class> {
        if self.daily_quota() || self.wait().is_some_and(|wait| wait > LONGEST_WAIT) {
            return Some(Class::Denied);
        }
        find(&NAMES, |name| self.names.contains(name))
    }

    /// The class that the message says, where it is about the request.
    pub(crate) fn class_of_message(&self) -> Option<Class> {
        let message = self.message.to_ascii_lowercase();
        find(&PHRASES, |phrase| message.contains(phrase))
    }

    /// Whether a content filter refused the request.
    pub(crate) fn filtered(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.names.iter().any(|name| FILTERS.contains(name))
            || FILTER_PHRASES.iter().any(|phrase| message.contains(phrase))
    }

    /// How long to wait: `RetryInfo`, or else "Please retry in" in the message.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let told = self
            .details()
            .find_map(|detail| duration(detail.get("retryDelay")?.as_str()?));
        told.or_else(|| {
            let (_, after) = self.message.split_once("lease retry in ")?;
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            duration(after[..end].trim_end_matches(['.', ',', ';']))
        })
    }

    /// A quota per day is used up: whatever else it says, waiting a moment does not help.
    pub(crate) fn daily_quota(&self) -> bool {
        self.details()
            .filter_map(|detail| detail.get("violations")?.as_array())
            .flatten()
            .filter_map(|violation| violation.get("quotaId")?.as_str())
            .any(|quota| quota.contains("PerDay") || quota.contains("Daily"))
    }

    fn details(&self) -> impl Iterator<Item = &Value> {
        self.details.into_iter().flatten()
    }
}

fn find(table: &[(Class, &[&str])], mut found: impl FnMut(&&str) -> bool) -> Option<Class> {
    table
        .iter()
        .find(|(_, words)| words.iter().any(&mut found))
        .map(|(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::limits::duration;

    #[test]
    fn lengths_of_time_are_read_as_go_and_protobuf_write_them() {
        for (text, millis) in [
            ("34.07s", Some(34_070)),
            ("900ms", Some(900)),
            ("0s", Some(0)),
            ("1h2m3.5s", Some(3_723_500)),
            ("6m0s", Some(360_000)),
            ("-1s", None),
            ("12", None),
            ("s", None),
            ("", None),
            (".s", None),
            ("1.2.3s", None),
            ("1y", None),
            ("NaNs", None),
            ("99999999999999999999999999999999s", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}

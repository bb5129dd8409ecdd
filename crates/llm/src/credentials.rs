use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
    uri::PathAndQuery,
};

use crate::{Dialect, Secret};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The header fields in which callers of these dialects, and of the clouds that serve them, send
/// what lets them in.
pub(crate) static CREDENTIALS: [HeaderName; 11] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    X_API_KEY,
    X_GOOG_API_KEY,
    // Azure, and its API management.
    HeaderName::from_static("api-key"),
    HeaderName::from_static("ocp-apim-subscription-key"),
    // The session of a signed request to AWS.
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-goog-iam-authorization-token"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-access-token"),
];

/// The query parameters in which they do.
const PARAMETERS: [&str; 6] = [
    "key",
    "access_token",
    "oauth_token",
    "api_key",
    "api-key",
    "apikey",
];

// ===== impl Dialect =====

impl Dialect {
    /// Puts `secret` where this dialect has it, in place of any credential that is there, and marks
    /// it sensitive.
    ///
    /// | dialect | header |
    /// |---|---|
    /// | OpenAI | `Authorization: Bearer` |
    /// | Anthropic | `x-api-key`; a token that begins with `sk-ant-oat` as `Authorization: Bearer`; and `anthropic-version: 2023-06-01` if there is none |
    /// | Gemini | `x-goog-api-key` |
    ///
    /// ```
    /// use buttress_llm::{Dialect, Secret};
    ///
    /// # fn main() -> Result<(), buttress_llm::SecretError> {
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("authorization", "Bearer the-callers".parse().unwrap());
    /// Dialect::Anthropic.authorize(&mut headers, &Secret::new("sk-ant-1")?);
    /// assert!(!headers.contains_key("authorization"));
    /// assert_eq!(headers["x-api-key"], "sk-ant-1");
    /// assert!(headers["x-api-key"].is_sensitive());
    /// # Ok(())
    /// # }
    /// ```
    pub fn authorize(self, headers: &mut HeaderMap, secret: &Secret) {
        strip_credentials(headers);
        match self {
            Self::OpenAi => headers.insert(AUTHORIZATION, secret.bearer()),
            Self::Gemini => headers.insert(X_GOOG_API_KEY, secret.plain()),
            Self::Anthropic => {
                headers
                    .entry(ANTHROPIC_VERSION)
                    .or_insert(HeaderValue::from_static("2023-06-01"));
                if secret.expose().starts_with("sk-ant-oat") {
                    headers.insert(AUTHORIZATION, secret.bearer())
                } else {
                    headers.insert(X_API_KEY, secret.plain())
                }
            }
        };
    }
}

/// Takes out every header field that may hold a credential, of any dialect, and cookies.
///
/// `Authorization`, `Proxy-Authorization`, `Cookie`, `x-api-key`, `x-goog-api-key`, `api-key`,
/// `ocp-apim-subscription-key`, `x-amz-security-token`, `x-goog-iam-authorization-token`,
/// `x-auth-token` and `x-access-token`. What only says for whom a call is, such as
/// `openai-organization`, stays.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-api-key", "sk-ant-1".parse().unwrap());
/// headers.insert("accept", "*/*".parse().unwrap());
/// buttress_llm::strip_credentials(&mut headers);
/// assert_eq!(headers.len(), 1);
/// ```
pub fn strip_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    // To look at those that are there is cheaper than to look for each that may be.
    while let Some(name) = headers.keys().find(|name| CREDENTIALS.contains(name)) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// The same URI without the query parameters that may hold a credential, such as Gemini's `key`:
/// `key`, `access_token`, `oauth_token`, `api_key`, `api-key` and `apikey`, in any case and however
/// their names are encoded. Every other byte stays. User and password before the host go as well.
///
/// ```
/// use buttress_llm::strip_query_credentials;
///
/// let uri = "/v1beta/models/gemini:generateContent?alt=sse&key=AIza".parse().unwrap();
/// assert_eq!(strip_query_credentials(uri), "/v1beta/models/gemini:generateContent?alt=sse");
/// ```
#[must_use]
pub fn strip_query_credentials(uri: Uri) -> Uri {
    let kept = uri.query().and_then(without_credentials);
    let bare = uri.authority().and_then(|authority| {
        let (_, host) = authority.as_str().rsplit_once('@')?;
        host.parse().ok()
    });
    if kept.is_none() && bare.is_none() {
        return uri;
    }
    let mut parts = uri.into_parts();
    if let Some(bare) = bare {
        parts.authority = Some(bare);
    }
    if let (Some(kept), Some(target)) = (kept, &parts.path_and_query) {
        let text = if kept.is_empty() {
            Cow::Borrowed(target.path())
        } else {
            Cow::Owned(format!("{}?{kept}", target.path()))
        };
        // Parts of a query are a query. If they were not, the path alone is sent.
        let bare = || PathAndQuery::from_static("/");
        parts.path_and_query = Some(text.parse().unwrap_or_else(|_| bare()));
    }
    Uri::from_parts(parts).unwrap_or_default()
}

/// What is left of a query, if something goes.
fn without_credentials(query: &str) -> Option<String> {
    query.split('&').any(is_credential).then(|| {
        let kept: Vec<_> = query
            .split('&')
            .filter(|pair| !is_credential(pair))
            .collect();
        kept.join("&")
    })
}

/// Whether a parameter of a query may hold a credential.
pub(crate) fn is_credential(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    let name = decode(name);
    PARAMETERS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Percent-decoded.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri};

    use super::{CREDENTIALS, strip_credentials, strip_query_credentials};
    use crate::{Dialect, Secret};

    fn callers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in &CREDENTIALS {
            headers.append(name, HeaderValue::from_static("canary"));
            headers.append(name, HeaderValue::from_static("canary-2"));
        }
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers
    }

    #[test]
    fn s1_no_credential_of_the_caller_goes_on() {
        let mut headers = callers();
        strip_credentials(&mut headers);
        assert_eq!(headers.len(), 1);
        for dialect in Dialect::ALL {
            let mut headers = callers();
            dialect.authorize(&mut headers, &Secret::new("sk-ours").unwrap());
            assert!(
                headers
                    .values()
                    .all(|value| value != "canary" && value != "canary-2")
            );
        }
    }

    #[test]
    fn each_dialect_has_its_headers_and_marks_them() {
        for (dialect, secret, name, value) in [
            (Dialect::OpenAi, "sk-1", "authorization", "Bearer sk-1"),
            (
                Dialect::Anthropic,
                "sk-ant-api03-1",
                "x-api-key",
                "sk-ant-api03-1",
            ),
            (
                Dialect::Anthropic,
                "sk-ant-oat01-1",
                "authorization",
                "Bearer sk-ant-oat01-1",
            ),
            (Dialect::Gemini, "AIza1", "x-goog-api-key", "AIza1"),
        ] {
            let mut headers = HeaderMap::new();
            dialect.authorize(&mut headers, &Secret::new(secret).unwrap());
            assert_eq!(headers[name], value);
            assert!(headers[name].is_sensitive());
            assert!(!format!("{headers:?}").contains(secret));
            match dialect {
                Dialect::Anthropic => assert_eq!(headers["anthropic-version"], "2023-06-01"),
                _ => assert_eq!(headers.len(), 1),
            }
        }
    }

    #[test]
    fn the_callers_own_version_of_the_api_stays() {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2024-01-01"));
        Dialect::Anthropic.authorize(&mut headers, &Secret::new("sk-ant-1").unwrap());
        assert_eq!(headers["anthropic-version"], "2024-01-01");
    }

    #[test]
    fn s1_no_credential_stays_in_a_query() {
        for (uri, kept) in [
            ("/a?key=canary", "/a"),
            ("/a?alt=sse&key=canary", "/a?alt=sse"),
            ("/a?key=canary&alt=sse&KEY=canary&x", "/a?alt=sse&x"),
            ("/a?%6bey=canary&b=1", "/a?b=1"),
            ("/a?%6B%65%79=canary", "/a"),
            ("/a?key", "/a"),
            (
                "https://h:1/a?api-key=canary&api-version=2",
                "https://h:1/a?api-version=2",
            ),
            ("https://user:canary@h/a?b", "https://h/a?b"),
            ("/a?monkey=1&keys=2&%", "/a?monkey=1&keys=2&%"),
            ("/a", "/a"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(strip_query_credentials(uri.clone()), kept, "{uri}");
        }
    }
}

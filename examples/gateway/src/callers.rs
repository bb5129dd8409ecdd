//! Who calls: callers have keys of their own, of which the configuration knows the digests alone.

mod digest;

use std::{fmt, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use subtle::ConditionallySelectable;

pub(crate) use self::digest::{Digest, Key};
use crate::pattern::Pattern;

/// Everybody who may call.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    known: Vec<Known>,
}

/// One of them, as an extension of their request: whose limits, budget and cache it is about.
///
/// There is none if nobody is asked for a key.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    entry: Arc<Entry>,
}

/// What the configuration says of a caller.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    /// `None`: all.
    pub(crate) models: Option<Vec<Pattern>>,
    pub(crate) expires: Option<SystemTime>,
}

#[derive(Debug)]
struct Known {
    digest: Digest,
    caller: Caller,
}

/// Why somebody is nobody's caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum KeyFault {
    /// There is no key in the request.
    Missing,
    /// Nobody has this one.
    Unknown,
    /// Somebody had it.
    Expired,
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

// ===== impl Callers =====

impl Callers {
    pub(crate) fn new(entries: impl IntoIterator<Item = (Digest, Entry)>) -> Self {
        let known = entries.into_iter().map(|(digest, entry)| Known {
            digest,
            caller: Caller {
                entry: Arc::new(entry),
            },
        });
        Self {
            known: known.collect(),
        }
    }

    /// Whether everybody is served, and nobody asked for a key.
    pub(crate) const fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whose request this is, by the key that the SDK of either dialect sends. `None`: nobody asks.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        now: impl Fn() -> SystemTime,
    ) -> Result<Option<Caller>, KeyFault> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut fault = KeyFault::Missing;
        for key in presented(headers) {
            match self.find(key) {
                Some(caller) if caller.entry.has_expired(&now) => return Err(KeyFault::Expired),
                Some(caller) => return Ok(Some(caller.clone())),
                None => fault = KeyFault::Unknown,
            }
        }
        Err(fault)
    }

    /// Takes as long for the first as for the last, and for nobody.
    fn find(&self, key: &[u8]) -> Option<&Caller> {
        let digest = Digest::of(key);
        let mut place = 0_u64;
        for (known, behind) in self.known.iter().zip(1_u64..) {
            place.conditional_assign(&behind, known.digest.is(&digest));
        }
        let place = usize::try_from(place.checked_sub(1)?).ok()?;
        self.known.get(place).map(|known| &known.caller)
    }
}

/// The keys in a request: OpenAI's SDK sends the first, Anthropic's the second, or either.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let plain = headers.get(X_API_KEY).map(HeaderValue::as_bytes);
    let keys = bearer.into_iter().chain(plain).map(<[u8]>::trim_ascii);
    keys.filter(|key| !key.is_empty())
}

// ===== impl Caller =====

impl Caller {
    /// The same, to be kept.
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.entry.name
    }

    pub(crate) fn name(&self) -> &str {
        &self.entry.name
    }

    /// Whether the caller may ask for this model.
    pub(crate) fn may_use(&self, model: &str) -> bool {
        let models = self.entry.models.as_ref();
        models.is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

// ===== impl Entry =====

impl Entry {
    fn has_expired(&self, now: impl Fn() -> SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now())
    }
}

// ===== impl KeyFault =====

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "found no key, expected one in `authorization: Bearer` or `x-api-key`",
            Self::Unknown => "the key is not that of a caller of this gateway",
            Self::Expired => "the key has expired",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;

    use super::{Callers, Digest, Entry, KeyFault};
    use crate::pattern::Pattern;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn callers() -> Callers {
        let entry = |name: &str, models: Option<&str>, expires| Entry {
            name: name.into(),
            models: models.map(|model| vec![Pattern::new(model)]),
            expires,
        };
        let second = Duration::from_secs(1);
        Callers::new([
            (Digest::of(b"key-a"), entry("a", None, None)),
            (
                Digest::of(b"key-b"),
                entry("b", Some("gpt-*"), Some(NOW + second)),
            ),
            (Digest::of(b"key-c"), entry("c", None, Some(NOW))),
        ])
    }

    fn whose(headers: &[(&'static str, &str)]) -> Result<String, KeyFault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let caller = callers().identify(&map, || NOW)?;
        Ok(caller.unwrap().name().to_owned())
    }

    #[test]
    fn callers_are_known_by_the_key_that_their_sdk_sends() {
        for (headers, found) in [
            (&[][..], Err(KeyFault::Missing)),
            (&[("authorization", "Bearer key-a")], Ok("a")),
            (&[("authorization", "bearer  key-a ")], Ok("a")),
            (&[("x-api-key", "key-b")], Ok("b")),
            (
                &[("authorization", "Bearer other"), ("x-api-key", "key-b")],
                Ok("b"),
            ),
            (
                &[("authorization", "Bearer key-a"), ("x-api-key", "key-b")],
                Ok("a"),
            ),
            (&[("authorization", "Bearer key-c")], Err(KeyFault::Expired)),
            (&[("authorization", "Bearer key-")], Err(KeyFault::Unknown)),
            (
                &[("authorization", "Bearer key-aa")],
                Err(KeyFault::Unknown),
            ),
            (&[("authorization", "Bearer ")], Err(KeyFault::Missing)),
            (&[("authorization", "Basic key-a")], Err(KeyFault::Missing)),
            (&[("authorization", "key-a")], Err(KeyFault::Missing)),
            (&[("x-api-key", "")], Err(KeyFault::Missing)),
            (&[("cookie", "key-a")], Err(KeyFault::Missing)),
        ] {
            assert_eq!(whose(headers), found.map(str::to_owned), "{headers:?}");
        }
    }

    #[test]
    fn without_callers_nobody_is_asked() {
        let nobody = Callers::default();
        assert!(
            nobody
                .identify(&HeaderMap::new(), || NOW)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_key_expires_at_its_time_and_not_before() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "key-b".parse().unwrap());
        let at = |millis| {
            let now = NOW + Duration::from_millis(millis);
            callers().identify(&headers, || now).map(|_| ())
        };
        assert_eq!(at(999), Ok(()));
        assert_eq!(at(1000), Err(KeyFault::Expired));
    }

    #[test]
    fn a_caller_may_use_the_models_that_are_listed_or_all() {
        let caller = |key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-api-key", key.parse().unwrap());
            callers().identify(&headers, || NOW).unwrap().unwrap()
        };
        assert!(caller("key-a").may_use("anything"));
        assert!(caller("key-b").may_use("gpt-4o") && !caller("key-b").may_use("claude"));
    }

    #[test]
    fn what_is_shown_of_callers_holds_no_key() {
        let shown = format!("{:?}", callers());
        assert!(
            shown.contains("\"b\"") && !shown.contains("key-"),
            "{shown}"
        );
    }
}

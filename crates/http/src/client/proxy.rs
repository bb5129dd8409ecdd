//! Which proxy a client goes through.

use std::{env, fmt};

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::{Error, Kind, error::BoxError};

/// Proxies by the usual environment variables.
///
/// | variable | proxy for |
/// |---|---|
/// | `HTTP_PROXY`, `http_proxy` | `http://` base URLs |
/// | `HTTPS_PROXY`, `https_proxy` | `https://` base URLs |
/// | `ALL_PROXY`, `all_proxy` | base URLs that have none of these |
/// | `NO_PROXY`, `no_proxy` | hosts that are reached directly |
///
/// The first name that is set and not empty counts. A proxy is `http://`, `https://`, `socks5://`
/// (names are resolved here) or `socks5h://` (by the proxy), with `user:password@` if it wants
/// credentials; `http://` may be left out. `NO_PROXY` is a list of domains (with all below them),
/// addresses and networks (`10.0.0.0/8`), separated by commas, or `*`. Loopback is no exception:
/// it is reached directly only if `NO_PROXY` says so. In a CGI process (`REQUEST_METHOD` is set)
/// there are no proxies, since its caller chooses `HTTP_PROXY` there.
///
/// # Examples
///
/// ```
/// use buttress_http::client::{Client, Proxies};
///
/// let proxies = Proxies::from_vars(|name| match name {
///     "HTTPS_PROXY" => Some("http://proxy.internal:3128".into()),
///     "NO_PROXY" => Some("localhost,10.0.0.0/8".into()),
///     _ => None,
/// });
/// let client = Client::direct("https://api.example.com/v1")?.proxies(&proxies)?;
/// # Ok::<(), buttress_http::client::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Variable>,
    https: Option<Variable>,
    all: Option<Variable>,
    no: String,
}

/// A variable that is set. Its value holds credentials.
#[derive(Clone)]
struct Variable {
    name: &'static str,
    value: String,
}

// ===== impl Proxies =====

impl Proxies {
    /// Those of this process's environment, as it is now. What is not UTF-8 counts as not set.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_vars(|name| env::var(name).ok())
    }

    /// Those of other variables, by the names of the table.
    ///
    /// `lookup` runs here, and not later.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = lookup(name).filter(|value| !value.is_empty())?;
                Some(Variable { name, value })
            })
        };
        if lookup("REQUEST_METHOD").is_some() {
            return Self::default();
        }
        Self {
            http: first(["HTTP_PROXY", "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            all: first(["ALL_PROXY", "all_proxy"]),
            no: first(["NO_PROXY", "no_proxy"]).map_or_else(String::new, |no| no.value),
        }
    }

    /// The proxy on the way to this base URL.
    pub(super) fn intercept(&self, base: &Uri) -> Result<Option<Intercept>, Error> {
        let own = match base.scheme_str() {
            Some("https") => &self.https,
            _ => &self.http,
        };
        let Some(variable) = own.as_ref().or(self.all.as_ref()) else {
            return Ok(None);
        };
        let anywhere = Matcher::builder().all("http://proxy").no(&*self.no).build();
        if anywhere.intercept(base).is_none() {
            return Ok(None);
        }
        Matcher::builder()
            .all(&*variable.value)
            .build()
            .intercept(base)
            .filter(|proxy| speaks(proxy).is_some())
            .map(Some)
            .ok_or_else(|| {
                Error::setup(
                    variable.name,
                    "no proxy URL",
                    "`http://`, `https://`, `socks5://` or `socks5h://`, and a host",
                )
            })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |variable: &Option<Variable>| variable.as_ref().map(|variable| variable.name);
        f.debug_struct("Proxies")
            .field("http", &name(&self.http))
            .field("https", &name(&self.https))
            .field("all", &name(&self.all))
            .field("no", &self.no)
            .finish()
    }
}

/// What a proxy understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    Socks5 { resolves: bool },
}

/// What this proxy understands, if we do.
pub(super) fn speaks(proxy: &Intercept) -> Option<Speaks> {
    match proxy.uri().scheme_str()? {
        "http" | "https" => Some(Speaks::Http),
        "socks5" => Some(Speaks::Socks5 { resolves: false }),
        "socks5h" => Some(Speaks::Socks5 { resolves: true }),
        _ => None,
    }
}

/// Whether a proxy's handshake failed for our credentials. hyper-util names neither of these
/// errors, and gives no other way to tell.
pub(super) fn refusal(error: &BoxError) -> Option<Kind> {
    let text = error.to_string();
    [
        "tunnel error: proxy authorization required",
        "SOCKS error: credentials not accepted",
        "SOCKS error: server does not support user/pass authentication",
    ]
    .contains(&text.as_str())
    .then_some(Kind::Proxy)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::Proxies;

    fn vars(set: &'static [(&'static str, &'static str)]) -> Proxies {
        Proxies::from_vars(|name| {
            let (_, value) = set.iter().find(|(set, _)| *set == name)?;
            Some((*value).to_owned())
        })
    }

    fn through(set: &'static [(&'static str, &'static str)], base: &'static str) -> Option<String> {
        let proxy = vars(set).intercept(&Uri::from_static(base)).unwrap()?;
        Some(proxy.uri().authority()?.to_string())
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_is_for_both() {
        let set = &[("HTTP_PROXY", "http://a:1"), ("ALL_PROXY", "b:2")];
        assert_eq!(through(set, "http://x").as_deref(), Some("a:1"));
        assert_eq!(through(set, "https://x").as_deref(), Some("b:2"));
        let lower = &[("https_proxy", "c:3"), ("HTTPS_PROXY", "")];
        assert_eq!(through(lower, "https://x").as_deref(), Some("c:3"));
        assert_eq!(through(lower, "http://x"), None);
    }

    #[test]
    fn no_proxy_excludes_domains_addresses_and_networks() {
        const SET: &[(&str, &str)] = &[
            ("ALL_PROXY", "http://a:1"),
            ("NO_PROXY", "internal, .example.com,127.0.0.1,10.0.0.0/8"),
        ];
        let direct = [
            "http://internal",
            "https://api.internal:8443/v1",
            "http://api.example.com",
            "http://127.0.0.1:8080",
            "http://10.9.8.7",
        ];
        for base in direct {
            assert_eq!(through(SET, base), None, "{base}");
        }
        for base in ["http://notinternal", "http://127.0.0.2", "http://[::1]:80"] {
            assert_eq!(through(SET, base).as_deref(), Some("a:1"), "{base}");
        }
        let star = &[("ALL_PROXY", "http://a:1"), ("no_proxy", "*")];
        assert_eq!(through(star, "http://x"), None);
    }

    #[test]
    fn loopback_is_no_exception() {
        let set = &[("HTTP_PROXY", "http://a:1")];
        for base in ["http://localhost", "http://127.0.0.1", "http://[::1]"] {
            assert_eq!(through(set, base).as_deref(), Some("a:1"), "{base}");
        }
    }

    #[test]
    fn a_cgi_process_has_no_proxies() {
        let set = &[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil:1")];
        assert_eq!(through(set, "http://x"), None);
    }

    #[test]
    fn s1_an_unusable_proxy_is_named_by_its_variable_alone() {
        for value in [
            "quic://user:canary@a:1",
            "socks4://user:canary@a:1",
            "http://user:canary@",
            "canary canary",
        ] {
            let proxies = Proxies::from_vars(|name| (name == "ALL_PROXY").then(|| value.into()));
            let error = proxies
                .intercept(&Uri::from_static("http://x"))
                .unwrap_err();
            let text = format!("{error} {error:#?} {proxies:#?}");
            assert!(text.contains("ALL_PROXY: found no proxy URL"), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn an_unusable_proxy_that_is_not_needed_is_no_error() {
        let set = &[("HTTP_PROXY", "quic://a"), ("NO_PROXY", "x")];
        assert_eq!(through(set, "http://x"), None);
        assert_eq!(through(set, "https://y"), None);
    }
}

//! Which web pages may ask.
//!
//! A gateway that asks nobody for a key is meant for the programs of one machine. The pages in that
//! machine's browsers can reach it as well: directly, which `Origin` and `Sec-Fetch-Site` tell, or by
//! a name of their own that they let point here ("DNS rebinding"), which `Host` tells. Programs send
//! neither of the former, and as `Host` what they were told to call.

use std::{fmt, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
    },
};

/// The names under which the gateway is called, and the origins whose pages may call it, beside its
/// own.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Web {
    pub(crate) hosts: Vec<String>,
    pub(crate) origins: Vec<String>,
}

/// Who is not served.
#[derive(Debug, PartialEq)]
pub(crate) enum Foreign {
    /// Somebody who was led here under this name; `None`: under no name, or not one.
    Host(Option<String>),
    /// A page of this origin.
    Origin(String),
    /// A page of another site, which does not say of which.
    Site,
}

// ===== impl Web =====

impl Web {
    /// Whether somebody with this head is served.
    pub(crate) fn admits(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Foreign> {
        let named = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        let target = uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let mut host = None;
        for name in target.into_iter().chain(named) {
            if !host_of(name).is_some_and(|host| self.has_host(host)) {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(Foreign::Host(Some(name).filter(|name| !name.is_empty())));
            }
            host = Some(name);
        }
        let host = host.ok_or(Foreign::Host(None))?;
        match headers.get(ORIGIN).map(HeaderValue::as_bytes) {
            Some(origin) if is_at(origin, host) || self.has_origin(origin) => Ok(()),
            Some(origin) => Err(Foreign::Origin(
                String::from_utf8_lossy(origin).into_owned(),
            )),
            None if is(headers, &SITE, "cross-site") && !opens_page(method, uri, headers) => {
                Err(Foreign::Site)
            }
            None => Ok(()),
        }
    }

    /// The origin of a page of another site that may ask, to which [`open`] is answered.
    pub(crate) fn listed<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let origin = request.headers().get(ORIGIN)?;
        self.has_origin(origin.as_bytes()).then(|| origin.clone())
    }

    fn has_host(&self, host: &str) -> bool {
        if host == "127.0.0.1" {
            // As most call it.
            return true;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let literal = (host.strip_prefix('[')).and_then(|host| host.strip_suffix(']'));
        let address: Option<IpAddr> = literal.unwrap_or(host).parse().ok();
        address.is_some_and(|address| address.to_canonical().is_loopback())
            || host.eq_ignore_ascii_case("localhost")
            || (self.hosts.iter()).any(|known| known.eq_ignore_ascii_case(host))
    }

    fn has_origin(&self, origin: &[u8]) -> bool {
        let mut origins = self.origins.iter();
        origins.any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
    }
}

/// The host of a `Host`, without its port. It is compared with names, and so need not be one.
fn host_of(name: &[u8]) -> Option<&str> {
    let name = str::from_utf8(name).ok()?;
    let end = match name.strip_prefix('[') {
        Some(literal) => literal.find(']')? + 2,
        None => name.find(':').unwrap_or(name.len()),
    };
    let (host, port) = name.split_at(end);
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(host)
}

/// Whether a page of this origin was served under this host, and is the gateway's own.
fn is_at(origin: &[u8], host: &[u8]) -> bool {
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

/// Whether a person follows a link to the page, which the other site does not get to see.
fn opens_page(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && uri.path() == "/"
        && is(headers, &MODE, "navigate")
        && is(headers, &DEST, "document")
}

fn is(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
    headers.get(name).is_some_and(|found| found == value)
}

/// Lets the page of this origin read an answer.
pub(crate) fn open<B>(answer: &mut Response<B>, origin: HeaderValue) {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// Lets it ask what it asks for beforehand, if it does.
pub(crate) fn preflight(asked: &HeaderMap, answer: &mut HeaderMap) {
    if !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    let methods = HeaderValue::from_static("GET, POST");
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

// ===== impl Foreign =====

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOSTS: &str = "expected a loopback address, `localhost`, or one of `hosts` below `[web]` in the configuration";
        const ORIGINS: &str = "expected none, this gateway's own, or one of `origins` below `[web]` in the configuration (`hosts` are its names)";
        let short = |name: &str| -> String {
            name.chars()
                .take(100)
                .flat_map(char::escape_debug)
                .collect()
        };
        match self {
            Self::Host(Some(name)) => write!(f, "found host `{}`, {HOSTS}", short(name)),
            Self::Host(None) => write!(f, "found no host, {HOSTS}"),
            Self::Origin(name) => write!(f, "found origin `{}`, {ORIGINS}", short(name)),
            Self::Site => write!(f, "found a page of another site and no origin, {ORIGINS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn a_host_has_a_port_or_none() {
        for (name, host) in [
            ("localhost", Some("localhost")),
            ("localhost:80", Some("localhost")),
            ("localhost:", Some("localhost")),
            ("[::1]", Some("[::1]")),
            ("[::1]:80", Some("[::1]")),
            ("", Some("")),
            ("[::1]x", None),
            ("[::1", None),
            ("localhost:80@evil.example", None),
            ("localhost:x", None),
            ("::1", None),
        ] {
            assert_eq!(host_of(name.as_bytes()), host, "{name}");
        }
        assert_eq!(host_of(b"\xff"), None);
    }
}

//! The base URL, and what stays under it.

use std::{borrow::Cow, net::Ipv6Addr, sync::OnceLock};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use rustls::pki_types::ServerName;

use super::Error;

/// A base URL: the only host that requests reach, and the path that they stay under.
#[derive(Clone)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or `/v1`: no slash at the end.
    prefix: String,
    /// The first path that was asked for, below the base: most clients ask for one, again and again.
    first: OnceLock<Uri>,
}

// ===== impl Base =====

impl Base {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        const SCHEMES: &str = "`http://` or `https://`";
        let refuse = |found, expected| Error::setup("base URL", found, expected);
        if !url.is_ascii() {
            let expected = "ASCII: an `xn--` host, a percent-encoded path";
            return Err(refuse(Cow::Borrowed("characters outside ASCII"), expected));
        }
        if url.contains('#') {
            return Err(refuse("a fragment".into(), "a URL without `#`"));
        }
        if url.contains('?') {
            return Err(refuse("a query".into(), "a URL without `?`"));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(refuse("no scheme".into(), SCHEMES));
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            // What is longer may be anything, a key put here by mistake among them.
            other if other.len() <= 6 && other.bytes().all(|b| b.is_ascii_lowercase()) => {
                return Err(refuse(format!("the scheme `{other}`").into(), SCHEMES));
            }
            _ => return Err(refuse("another scheme".into(), SCHEMES)),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            let expected = "a URL without `@`, and credentials in headers";
            return Err(refuse("user info".into(), expected));
        }
        let host = "a host name or address, and a port if it is not the scheme's";
        let authority = match Authority::try_from(authority) {
            Ok(authority) if reachable(&authority, &scheme) => authority,
            _ if authority.is_empty() => return Err(refuse("no host".into(), host)),
            _ => return Err(refuse("a malformed host or port".into(), host)),
        };
        if !path.is_empty() {
            let expected = "a plain path, such as `/v1`";
            plain(path).map_err(|found| refuse(found.into(), expected))?;
            if PathAndQuery::try_from(path).is_err() {
                return Err(refuse("a malformed path".into(), expected));
            }
        }
        Ok(Self {
            scheme,
            authority,
            prefix: path.strip_suffix('/').unwrap_or(path).to_owned(),
            first: OnceLock::new(),
        })
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The `Host` header of requests to it.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        let host = self.authority.host();
        let default = match self.scheme == Scheme::HTTPS {
            true => 443,
            false => 80,
        };
        let named = match self.authority.port_u16() {
            Some(port) if port != default => HeaderValue::try_from(format!("{host}:{port}")),
            _ => HeaderValue::from_str(host),
        };
        named.ok()
    }

    /// Whether its connections are plain TCP, on which nobody negotiates a version.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    /// Gives the host a name of one letter, for requests that go out without their host: in HTTP/1
    /// it is in a header of its own. hyper-util's pool hashes it byte by byte, twice for each of them.
    pub(super) fn abbreviate(&mut self) {
        self.authority = Authority::from_static("h");
    }

    /// The base URL itself.
    pub(super) fn uri(&self) -> Uri {
        let path = PathAndQuery::try_from(self.prefix.as_str());
        self.with(path.unwrap_or_else(|_| PathAndQuery::from_static("/")))
    }

    /// The URL that a request goes to: its path and query, under this base.
    pub(super) fn join(&self, target: &Uri) -> Result<Uri, Error> {
        const EXPECTED: &str = "a path that stays under the base URL";
        let refuse = |found| Error::request("target", found, EXPECTED);
        if target.scheme().is_some() || target.authority().is_some() {
            return Err(refuse("a host"));
        }
        let Some(target) = target.path_and_query() else {
            return Err(refuse("no path"));
        };
        if let Some(first) = self.first.get()
            && first.path().strip_prefix(self.prefix.as_str()) == Some(target.as_str())
        {
            return Ok(first.clone());
        }
        plain(target.path()).map_err(refuse)?;
        let joined = self.with(self.below(target).map_err(refuse)?);
        if target.query().is_none() {
            self.first.get_or_init(|| joined.clone());
        }
        Ok(joined)
    }

    fn below(&self, target: &PathAndQuery) -> Result<PathAndQuery, &'static str> {
        let mut joined = BytesMut::with_capacity(self.prefix.len() + target.as_str().len());
        joined.extend_from_slice(self.prefix.as_bytes());
        joined.extend_from_slice(target.as_str().as_bytes());
        PathAndQuery::from_maybe_shared::<Bytes>(joined.freeze()).map_err(|_| "too long a path")
    }

    fn with(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // With all three parts there, no combination is invalid.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

/// Whether a connection can be made to this host and port at all.
fn reachable(authority: &Authority, scheme: &Scheme) -> bool {
    let host = authority.host();
    let port = authority.as_str() == host || authority.port_u16().is_some_and(|port| port != 0);
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let named = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None if *scheme == Scheme::HTTPS => ServerName::try_from(host).is_ok(),
        None => !host.is_empty(),
    };
    port && named
}

/// Checks that no server, however it decodes and normalises a path, can read this one as another
/// that is not below it: nothing empty, `.` or `..` between slashes, not under percent-encoding
/// either, however often, and no backslash, which some take for a slash.
fn plain(path: &str) -> Result<(), &'static str> {
    let decoded = decode(path.as_bytes()).ok_or("percent-encoding under percent-encoding")?;
    if std::str::from_utf8(&decoded).is_err() {
        return Err("bytes that are not UTF-8");
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Err("a control character");
    }
    if decoded.contains(&b'\\') {
        return Err("a backslash");
    }
    let Some(path) = decoded.strip_prefix(b"/") else {
        return Err("a path that does not begin with `/`");
    };
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        // Some servers drop what follows a semicolon before they look at the dots.
        let name = segment
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        match name {
            b"." | b".." => return Err("a dot segment"),
            b"" if !segment.is_empty() || segments.peek().is_some() => {
                return Err("an empty segment");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Decodes percent-encoding until there is none left, or gives up.
fn decode(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    /// A name with a percent sign is encoded twice on its way through an honest proxy.
    const ROUNDS: usize = 3;
    let mut decoded = Cow::Borrowed(path);
    for _ in 0..=ROUNDS {
        match decode_once(&decoded) {
            Some(once) => decoded = Cow::Owned(once),
            None => return Some(decoded),
        }
    }
    None
}

fn decode_once(path: &[u8]) -> Option<Vec<u8>> {
    let first = path.iter().position(|byte| *byte == b'%')?;
    let hex = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = path[..first].to_vec();
    let mut rest = &path[first..];
    let mut changed = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
                changed = true;
            }
            None => decoded.push(byte),
        }
    }
    changed.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::{Base, decode};

    const STAYS: Result<(), &str> = Ok(());

    /// What a request may ask for, and what keeps it from being sent.
    const TARGETS: [(&str, Result<(), &str>); 52] = [
        ("/chat/completions", STAYS),
        ("/", STAYS),
        ("/models/", STAYS),
        ("/models?limit=2&after=a/../b", STAYS),
        ("/models/gpt-4o:generateContent?alt=sse", STAYS),
        ("/models/meta-llama%2FLlama-3-8b", STAYS),
        ("/models/a%20b%25c", STAYS),
        ("/models/100%", STAYS),
        ("/models/%zz", STAYS),
        ("/models/%C3%A9", STAYS),
        ("/files/...", STAYS),
        ("/files/.hidden", STAYS),
        ("/files/a..b", STAYS),
        ("/files/a;v=1", STAYS),
        ("/@evil.example", STAYS),
        ("/user@evil.example:80/x", STAYS),
        ("/:80/x", STAYS),
        ("/http:x", STAYS),
        ("/x?u=http://evil.example/../..", STAYS),
        ("/x?%2e%2e%2f", STAYS),
        ("/.", Err("a dot segment")),
        ("/..", Err("a dot segment")),
        ("/./x", Err("a dot segment")),
        ("/../admin", Err("a dot segment")),
        ("/x/..", Err("a dot segment")),
        ("/x/../../admin", Err("a dot segment")),
        ("/%2e%2e/admin", Err("a dot segment")),
        ("/%2E%2E/admin", Err("a dot segment")),
        ("/.%2e/admin", Err("a dot segment")),
        ("/%2e./admin", Err("a dot segment")),
        ("/%2e/x", Err("a dot segment")),
        ("/..%2fadmin", Err("a dot segment")),
        ("/x%2f..%2f..%2fadmin", Err("a dot segment")),
        ("/%252e%252e/admin", Err("a dot segment")),
        ("/%25252e%25252e/admin", Err("a dot segment")),
        (
            "/%2525252525252e/admin",
            Err("percent-encoding under percent-encoding"),
        ),
        ("/..;/admin", Err("a dot segment")),
        ("/..;x=1/admin", Err("a dot segment")),
        ("/..%3b/admin", Err("a dot segment")),
        ("/;/admin", Err("an empty segment")),
        ("//evil.example/x", Err("an empty segment")),
        ("///x", Err("an empty segment")),
        ("/x//y", Err("an empty segment")),
        ("/x//", Err("an empty segment")),
        ("/%2fevil.example/x", Err("an empty segment")),
        ("/x%5c..%5cadmin", Err("a backslash")),
        ("/%5c%5cevil.example", Err("a backslash")),
        ("/x%0d%0ahost:%20evil", Err("a control character")),
        ("/x%00", Err("a control character")),
        ("/%c0%ae%c0%ae/admin", Err("bytes that are not UTF-8")),
        ("http://evil.example/x", Err("a host")),
        ("https://api.example.com/v1/x", Err("a host")),
    ];

    /// What is no path at all, or what the `http` crate does not take for a URL.
    const ODDITIES: [&str; 9] = [
        "*",
        "evil.example:80",
        "user:password@evil.example",
        "//",
        "\\\\evil.example\\x",
        "/\\evil.example",
        "x/../y",
        "/x y",
        "/x\r\nhost: evil",
    ];

    fn base(url: &str) -> Base {
        Base::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn s6_what_was_asked_for_first_is_no_other_target() {
        let base = base("http://h/v1");
        for target in [
            "/a?x=1", "/a", "/a", "/a?x=1", "/a?", "/b", "/a/", "/v1/a", "/a",
        ] {
            let uri: Uri = target.parse().unwrap();
            let whole = format!("http://h/v1{uri}");
            assert_eq!(base.join(&uri).unwrap().to_string(), whole);
        }
        assert_eq!(base.first.get().unwrap(), "http://h/v1/a");
        assert!(base.join(&Uri::from_static("http://h/a")).is_err());
    }

    #[test]
    fn the_host_header_has_a_port_if_it_is_not_the_schemes() {
        for (url, host) in [
            ("http://h", "h"),
            ("http://h:80/v1", "h"),
            ("http://h:8080", "h:8080"),
            ("http://h:443", "h:443"),
            ("https://h:443", "h"),
            ("https://h:80", "h:80"),
            ("http://[::1]:80", "[::1]"),
            ("http://[::1]:8000/v1", "[::1]:8000"),
            ("http://127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(base(url).host().unwrap(), host, "{url}");
        }
    }

    #[test]
    fn s6_a_target_stays_under_the_base_or_is_refused() {
        for prefix in ["", "/v1", "/openai/deployments/x"] {
            let base = base(&format!("https://api.example.com:8443{prefix}"));
            for (target, expected) in TARGETS {
                let uri: Uri = target.parse().unwrap_or_else(|_| panic!("{target}"));
                match (base.join(&uri), expected) {
                    (Ok(joined), Ok(())) => {
                        let whole = format!("https://api.example.com:8443{prefix}{target}");
                        assert_eq!(joined.to_string(), whole);
                        assert_eq!(joined.host(), Some("api.example.com"));
                        assert_eq!(joined.port_u16(), Some(8443));
                    }
                    (Err(error), Err(found)) => {
                        let found = format!("found {found}, expected a path");
                        assert!(error.to_string().contains(&found), "{target}: {error}");
                    }
                    (joined, _) => panic!("{prefix} {target}: {joined:?}"),
                }
            }
        }
    }

    #[test]
    fn s6_what_is_no_path_is_refused() {
        let base = base("http://api.example.com");
        for target in ODDITIES {
            if let Ok(uri) = target.parse::<Uri>() {
                let error = base.join(&uri).expect_err(target);
                assert_eq!(error.kind(), super::super::Kind::Request, "{target}");
            }
        }
    }

    #[test]
    fn s6_a_target_is_not_repeated_in_its_error() {
        let target = "/canary/..?key=canary".parse().unwrap();
        let error = base("http://x").join(&target).unwrap_err();
        let text = format!("{error} {error:#?}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_path_that_is_mostly_percent_signs_costs_no_more_than_its_length() {
        let path = format!("/%{}", "25".repeat(30_000));
        assert!(decode(path.as_bytes()).is_none());
    }

    #[test]
    fn a_base_url_is_taken_with_or_without_a_path_and_a_slash() {
        let rows = [
            ("http://localhost", "http://localhost/x"),
            ("http://localhost:8080/", "http://localhost:8080/x"),
            ("HTTPS://api.openai.com/v1", "https://api.openai.com/v1/x"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/x"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1/x"),
            ("https://[::1]:8443/a/b", "https://[::1]:8443/a/b/x"),
            ("http://my_host/%20a", "http://my_host/%20a/x"),
        ];
        for (url, joined) in rows {
            let target = Uri::from_static("/x");
            assert_eq!(base(url).join(&target).unwrap().to_string(), joined);
        }
    }

    #[test]
    fn s1_a_base_url_that_cannot_be_used_says_why_and_repeats_nothing() {
        let rows = [
            ("", "no scheme"),
            ("sk-canary", "no scheme"),
            ("api.openai.com/v1", "no scheme"),
            ("localhost:8080", "no scheme"),
            ("ftp://x", "the scheme `ftp`"),
            ("wss://x", "the scheme `wss`"),
            ("sk-canary://x", "another scheme"),
            ("canarycanary://x", "another scheme"),
            ("https://", "no host"),
            ("https:///v1", "no host"),
            ("https://user:canary@x/v1", "user info"),
            ("https://canary@x", "user info"),
            ("https://x/v1?key=canary", "a query"),
            ("https://x?canary", "a query"),
            ("https://x/v1#canary", "a fragment"),
            ("https://canary:port", "a malformed host or port"),
            ("https://canary:0", "a malformed host or port"),
            ("https://canary:65536", "a malformed host or port"),
            ("https://canary:", "a malformed host or port"),
            ("https://:443", "a malformed host or port"),
            ("https://can ary", "a malformed host or port"),
            ("https://x\\canary", "a malformed host or port"),
            ("https://[canary]", "a malformed host or port"),
            ("https://-canary.com", "a malformed host or port"),
            ("https://x/canary/../y", "a dot segment"),
            ("https://x/canary//y", "an empty segment"),
            ("https://x//", "an empty segment"),
            ("https://x/canary\\y", "a backslash"),
            ("https://x/can ary", "a malformed path"),
            ("https://\u{e4}.example/canary", "characters outside ASCII"),
        ];
        for (url, found) in rows {
            let error = Base::parse(url).map(|_| ()).expect_err(url);
            let text = format!("{error} {error:#?}");
            assert!(
                text.starts_with(&format!(
                    "unusable setting: base URL: found {found}, expected "
                )),
                "{url}: {text}"
            );
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

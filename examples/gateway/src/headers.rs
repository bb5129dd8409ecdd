//! Which headers a gateway does not pass on.

use http::{HeaderMap, HeaderName, header};

/// Set on a reply for which it took more than one attempt: how many.
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-gateway-attempts");

/// Set on a reply for which more than one endpoint was asked: which, in their order.
pub(crate) const ENDPOINTS: HeaderName = HeaderName::from_static("x-gateway-endpoints");
/// How the cache was used for a reply.
pub(crate) const CACHE: HeaderName = HeaderName::from_static("x-gateway-cache");

/// Takes out what concerns one connection alone (RFC 9110, 7.6.1), what `Connection` names beside
/// it, and what is unwanted besides.
pub(crate) fn take_out(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    // One pass over those that are there is cheaper than to look for each that may be.
    let mut out: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_hop_by_hop(name.as_str()) || unwanted(name.as_str()))
        .cloned()
        .collect();
    for value in headers.get_all(header::CONNECTION) {
        let named = value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii);
        // That it closes or stays open needs no header of that name.
        let named = named.filter(|name| {
            !name.eq_ignore_ascii_case(b"close") && !name.eq_ignore_ascii_case(b"keep-alive")
        });
        out.extend(named.filter_map(|name| HeaderName::from_bytes(name).ok()));
    }
    for name in out {
        headers.remove(name);
    }
}

/// Whether it is the caller's own business: where it comes from, on which way, and whose account
/// its own credential is of.
pub(crate) fn is_callers(name: &str) -> bool {
    matches!(
        name,
        // The body that was waited for is here.
        "expect"
            | "openai-organization"
            | "openai-project"
            | "forwarded"
            | "via"
            | "x-real-ip"
            | "x-client-ip"
            | "true-client-ip"
            | "cf-connecting-ip"
            | "origin"
            | "referer"
    ) || name.starts_with("x-forwarded-")
        // What a browser says of its page: `sec-fetch-site` and the like. Anthropic refuses those
        // who seem to be one.
        || name.starts_with("sec-")
        || name.starts_with("access-control-")
}

/// Whether only an endpoint of one dialect understands it: its version, and what is switched on.
pub(crate) fn is_of_a_dialect(name: &str) -> bool {
    name.starts_with("anthropic-") || name.starts_with("openai-") || name.starts_with("x-goog-")
}

/// Whether it tells of the account at an endpoint, or of the endpoint as a site, which the gateway is
/// not.
pub(crate) fn is_endpoints(name: &str) -> bool {
    matches!(
        name,
        "set-cookie"
            | "openai-organization"
            | "openai-project"
            | "anthropic-organization-id"
            | "via"
            | "alt-svc"
            | "strict-transport-security"
            | "clear-site-data"
            | "nel"
            | "report-to"
            | "reporting-endpoints"
            // Like `x-accel-redirect`, an order to whatever server stands before us.
            | "x-sendfile"
    ) || name.starts_with("x-accel-")
        // What we did, only we can tell.
        || name.starts_with("x-gateway-")
        || name.starts_with("access-control-")
}

/// Whether it tells how the account at an endpoint stood, or how long that took, when it answered: of a
/// reply that is given again, that is no news.
pub(crate) fn is_of_the_moment(name: &str) -> bool {
    matches!(
        name,
        "retry-after" | "retry-after-ms" | "x-should-retry" | "openai-processing-ms"
    ) || name.starts_with("x-ratelimit-")
        || name.starts_with("anthropic-ratelimit-")
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::take_out;

    #[test]
    fn what_concerns_one_connection_is_taken_out_with_what_connection_names_and_what_is_unwanted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Mine"),
            ("connection", " ,close,x-other ,not a name"),
            ("x-mine", "1"),
            ("x-mine", "2"),
            ("x-other", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic canary"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x-checksum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-unwanted", "5"),
            ("x-kept", "4"),
            ("content-length", "5"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        take_out(&mut headers, |name| name == "x-unwanted");
        let mut left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "x-kept"]);
    }
}

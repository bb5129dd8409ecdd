//! Which headers a gateway does not pass on.

use http::{HeaderMap, HeaderName, header};

/// What concerns one connection alone (RFC 9110, 7.6.1), whether `Connection` names it or not.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes out what concerns one connection alone, and what `Connection` names beside it.
pub(crate) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // Named are nearly always headers that go anyway, and so this is nearly always empty.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| {
            !name.eq_ignore_ascii_case(b"close") && !name.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::drop_hop_by_hop;

    #[test]
    fn what_concerns_one_connection_is_taken_out_and_what_connection_names() {
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
            ("x-kept", "4"),
            ("content-length", "5"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        drop_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(left, ["x-kept", "content-length"]);
    }
}

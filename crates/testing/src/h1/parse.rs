//! Reading requests: heads by `httparse`, the length of bodies by RFC 9112.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, request::Parts};

use super::Asked;

/// How the length of a request's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
}

/// The most headers of a request.
const HEADERS: usize = 100;

/// The head at the start of `bytes` and its length, once it is there as a whole.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(usize, Parts, Asked)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the head could not be read: {error}")),
    };
    let method = Method::from_bytes(head.method.unwrap_or_default().as_bytes());
    let uri = Uri::try_from(head.path.unwrap_or_default());
    let (Ok(method), Ok(uri)) = (method, uri) else {
        return Err("the request line could not be read".to_owned());
    };
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let http11 = head.version == Some(1);
    *request.version_mut() = match http11 {
        true => Version::HTTP_11,
        false => Version::HTTP_10,
    };
    for header in head.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err("a header could not be read".to_owned());
        };
        request.headers_mut().append(name, value);
    }
    let asked = Asked {
        keep: http11 && !says(request.headers(), "connection", "close"),
        head_only: request.method() == Method::HEAD,
        chunks: http11,
    };
    Ok(Some((length, request.into_parts().0, asked)))
}

/// Whether the client waits to be told that its body is wanted.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    says(headers, "expect", "100-continue")
}

/// How long the body after this head is.
pub(super) fn body(headers: &HeaderMap) -> Result<Length, &'static str> {
    if headers.contains_key("transfer-encoding") {
        return match says(headers, "transfer-encoding", "chunked")
            && !headers.contains_key("content-length")
        {
            true => Ok(Length::Chunked),
            false => Err("a transfer-encoding other than chunked alone"),
        };
    }
    let mut lengths = headers.get_all("content-length").iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(Length::Known(0)),
        (Some(length), None) => (length.to_str().ok())
            .filter(|length| length.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|length| length.parse().ok())
            .map(Length::Known)
            .ok_or("a content-length that is no number"),
        (Some(_), Some(_)) => Err("two content-lengths"),
    }
}

fn says(headers: &HeaderMap, name: &str, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Parts {
        head(text.as_bytes()).unwrap().unwrap().1
    }

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = "POST /v1/x?y=1 HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..text.len() - 3 {
            assert!(head(&text.as_bytes()[..end]).unwrap().is_none(), "{end}");
        }
        let (length, parts, asked) = head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len() - 3);
        assert_eq!(parts.uri.path(), "/v1/x");
        assert!(asked.keep && asked.chunks && !asked.head_only);
        assert_eq!(body(&parts.headers), Ok(Length::Known(3)));
    }

    #[test]
    fn a_connection_is_kept_unless_version_or_header_says_otherwise() {
        let asked = |text: &str| head(text.as_bytes()).unwrap().unwrap().2;
        assert!(!asked("GET / HTTP/1.0\r\n\r\n").keep);
        assert!(!asked("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n").keep);
        assert!(asked("HEAD / HTTP/1.1\r\n\r\n").head_only);
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let length =
            |headers: &str| body(&parts(&format!("POST / HTTP/1.1\r\n{headers}\r\n")).headers);
        assert_eq!(length(""), Ok(Length::Known(0)));
        assert_eq!(
            length("transfer-encoding: Chunked\r\n"),
            Ok(Length::Chunked)
        );
        assert!(length("transfer-encoding: gzip\r\n").is_err());
        assert!(length("transfer-encoding: chunked\r\ncontent-length: 1\r\n").is_err());
        assert!(length("content-length: 1\r\ncontent-length: 1\r\n").is_err());
        assert!(length("content-length: -1\r\n").is_err());
        assert!(length("content-length: +1\r\n").is_err());
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        assert!(head(b"\x16\x03\x01\x02\x00\x01\x00").is_err());
        assert!(head(b"POST\r\n\r\n").is_err());
    }
}

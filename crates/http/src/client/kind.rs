//! What can go wrong, and what it means.

use std::{error::Error as StdError, fmt};

use buttress_core::{Class, Outcome};

use super::chain;

/// What went wrong with a call over a connection, and when.
///
/// It decides the [`outcome`](Kind::outcome):
///
/// | kind | class | sent |
/// |---|---|---|
/// | [`Setup`](Kind::Setup) | [`Unfit`](Class::Unfit) | no |
/// | [`Request`](Kind::Request) | [`Invalid`](Class::Invalid) | no |
/// | [`RequestBody`](Kind::RequestBody) | [`Invalid`](Class::Invalid) | maybe |
/// | [`NoSuchName`](Kind::NoSuchName) | [`Unfit`](Class::Unfit) | no |
/// | [`NameLookup`](Kind::NameLookup) | [`Unavailable`](Class::Unavailable) | no |
/// | [`ConnectRefused`](Kind::ConnectRefused) | [`Unavailable`](Class::Unavailable) | no |
/// | [`Unreachable`](Kind::Unreachable) | [`Unavailable`](Class::Unavailable) | no |
/// | [`ConnectTimeout`](Kind::ConnectTimeout) | [`Unavailable`](Class::Unavailable) | no |
/// | [`Connect`](Kind::Connect) | [`Unavailable`](Class::Unavailable) | no |
/// | [`Certificate`](Kind::Certificate) | [`Unfit`](Class::Unfit) | no |
/// | [`Tls`](Kind::Tls) | [`Unfit`](Class::Unfit) | no |
/// | [`Proxy`](Kind::Proxy) | [`Unfit`](Class::Unfit) | no |
/// | [`Unstarted`](Kind::Unstarted) | [`Unstarted`](Class::Unstarted) | no |
/// | [`Closed`](Kind::Closed) | [`Unavailable`](Class::Unavailable) | maybe |
/// | [`Reset`](Kind::Reset) | [`Unavailable`](Class::Unavailable) | maybe |
/// | [`Malformed`](Kind::Malformed) | [`Unavailable`](Class::Unavailable) | maybe |
/// | [`Timeout`](Kind::Timeout) | [`Unavailable`](Class::Unavailable) | maybe |
/// | [`Refused`](Kind::Refused) | the refusal's, by itself [`Refused`](Class::Refused) | the refusal's, by itself no |
/// | [`Other`](Kind::Other) | [`Unavailable`](Class::Unavailable) | maybe |
///
/// # Examples
///
/// Of any error chain, whichever client made it:
///
/// ```
/// use std::io;
/// use buttress_core::{Class, Sent};
/// use buttress_http::client::Kind;
///
/// let kind = Kind::of(&io::Error::from(io::ErrorKind::ConnectionRefused));
/// assert_eq!(kind, Kind::ConnectRefused);
/// assert_eq!(kind.outcome().class, Class::Unavailable);
/// assert_eq!(kind.outcome().sent, Sent::No);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The client was given what it cannot use: a base URL, a root certificate, a proxy; or the
    /// machine has no root certificates at all.
    Setup,
    /// A request that the client does not send: its target would leave the base URL, or is not a
    /// path; or it is a `CONNECT`.
    Request,
    /// The request's own body failed while it was being sent.
    RequestBody,
    /// The resolver says that there is no such name, or that it has no address. `std` keeps only
    /// the resolver's text: known are those of glibc, musl, macOS and the BSDs, and the codes of
    /// Windows. macOS says this also without a network.
    NoSuchName,
    /// The name could not be looked up now, or the resolver did not say why in words that are
    /// known.
    NameLookup,
    /// Nothing listens there.
    ConnectRefused,
    /// No route there.
    Unreachable,
    /// No connection within the connect timeout: name, TCP, proxy and TLS handshake together.
    ConnectTimeout,
    /// No connection for another reason, such as a reset in the TLS handshake, a proxy that could
    /// not reach the host, or a new connection that closed before the request was written.
    Connect,
    /// The peer's certificate is not one to trust: unknown issuer, wrong host, expired.
    Certificate,
    /// The peer does not speak TLS, or none that both sides know, or refuses our side of it. One
    /// that closes or stays silent when it is greeted in TLS is [`Connect`](Kind::Connect) or
    /// [`ConnectTimeout`](Kind::ConnectTimeout).
    Tls,
    /// The proxy refuses our credentials, or wants some.
    Proxy,
    /// The request was certainly not begun: HTTP/2 `REFUSED_STREAM`, a `GOAWAY` below the
    /// request's stream, or a kept connection that closed before the request was written to it.
    Unstarted,
    /// The connection closed in the middle: before the head of the response, or in the body. On
    /// a connection that was kept, too, once the request was written. Or the body ended in good
    /// order, and before its `content-length`.
    Closed,
    /// The connection or the HTTP/2 stream was reset in the middle.
    Reset,
    /// What came is not HTTP, or not to be trusted: garbage, too large a head, contradicting
    /// lengths, a bad chunk, endless informational responses, an HTTP/2 protocol error.
    Malformed,
    /// The connection stopped answering: an HTTP/2 ping or TCP keep-alive probe.
    Timeout,
    /// A layer around the client said no.
    Refused,
    /// Nothing of the above is known.
    Other,
}

// ===== impl Kind =====

impl Kind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 19] = [
        Self::Setup,
        Self::Request,
        Self::RequestBody,
        Self::NoSuchName,
        Self::NameLookup,
        Self::ConnectRefused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Connect,
        Self::Certificate,
        Self::Tls,
        Self::Proxy,
        Self::Unstarted,
        Self::Closed,
        Self::Reset,
        Self::Malformed,
        Self::Timeout,
        Self::Refused,
        Self::Other,
    ];

    /// The kind of an error that came instead of a response.
    ///
    /// It looks at the error and everything below it for [`client::Error`](super::Error), hyper,
    /// hyper-util's client (reqwest's errors have these as their source), h2, rustls and
    /// [`io::Error`](std::io::Error); [`Other`](Kind::Other) if none of them is there. A refusal of a
    /// layer is looked for by [`outcome_of`].
    ///
    /// A foreign client that does not keep apart a new connection from one that was kept gives
    /// [`Unstarted`](Kind::Unstarted) for both, where a request was not written.
    ///
    /// [`outcome_of`]: buttress_core::outcome_of
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        chain::kind_of(error).unwrap_or(Self::Other)
    }

    /// The kind of an error that a response's body ended with. As [`of`](Kind::of), but never
    /// [`Unstarted`](Kind::Unstarted): the response had begun.
    #[must_use]
    pub fn of_body(error: &(dyn StdError + 'static)) -> Self {
        match Self::of(error) {
            Self::Unstarted => Self::Reset,
            kind => kind,
        }
    }

    /// Class, and whether it can have been sent: the table above. Of an error in a body, that is
    /// while nothing was delivered; after that it is [`Interrupted`](Class::Interrupted).
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Request => Outcome::new(Class::Invalid).not_sent(),
            Self::RequestBody => Outcome::new(Class::Invalid),
            Self::Setup | Self::NoSuchName | Self::Certificate | Self::Tls | Self::Proxy => {
                Outcome::new(Class::Unfit).not_sent()
            }
            Self::NameLookup
            | Self::ConnectRefused
            | Self::Unreachable
            | Self::ConnectTimeout
            | Self::Connect => Outcome::new(Class::Unavailable).not_sent(),
            Self::Unstarted => Outcome::new(Class::Unstarted),
            Self::Refused => Outcome::new(Class::Refused),
            Self::Closed | Self::Reset | Self::Malformed | Self::Timeout | Self::Other => {
                Outcome::new(Class::Unavailable)
            }
        }
    }

    /// The name, in lower case: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Request => "request",
            Self::RequestBody => "request_body",
            Self::NoSuchName => "no_such_name",
            Self::NameLookup => "name_lookup",
            Self::ConnectRefused => "connect_refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Connect => "connect",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Unstarted => "unstarted",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Setup => "unusable setting",
            Self::Request => "request not sent",
            Self::RequestBody => "the request's body failed",
            Self::NoSuchName => "no such host name",
            Self::NameLookup => "host name could not be looked up",
            Self::ConnectRefused => "connection refused",
            Self::Unreachable => "host unreachable",
            Self::ConnectTimeout => "connect timed out",
            Self::Connect => "could not connect",
            Self::Certificate => "certificate not trusted",
            Self::Tls => "no common TLS",
            Self::Proxy => "proxy refused our credentials",
            Self::Unstarted => "connection went away before the request began",
            Self::Closed => "connection closed too early",
            Self::Reset => "connection reset",
            Self::Malformed => "malformed response",
            Self::Timeout => "connection stopped answering",
            Self::Refused => "refused by a layer",
            Self::Other => "unknown failure",
        })
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::{Class, Sent};

    use super::Kind;

    /// The table of the docs, row by row.
    const TABLE: [(Kind, Class, Sent); 19] = [
        (Kind::Setup, Class::Unfit, Sent::No),
        (Kind::Request, Class::Invalid, Sent::No),
        (Kind::RequestBody, Class::Invalid, Sent::Maybe),
        (Kind::NoSuchName, Class::Unfit, Sent::No),
        (Kind::NameLookup, Class::Unavailable, Sent::No),
        (Kind::ConnectRefused, Class::Unavailable, Sent::No),
        (Kind::Unreachable, Class::Unavailable, Sent::No),
        (Kind::ConnectTimeout, Class::Unavailable, Sent::No),
        (Kind::Connect, Class::Unavailable, Sent::No),
        (Kind::Certificate, Class::Unfit, Sent::No),
        (Kind::Tls, Class::Unfit, Sent::No),
        (Kind::Proxy, Class::Unfit, Sent::No),
        (Kind::Unstarted, Class::Unstarted, Sent::No),
        (Kind::Closed, Class::Unavailable, Sent::Maybe),
        (Kind::Reset, Class::Unavailable, Sent::Maybe),
        (Kind::Malformed, Class::Unavailable, Sent::Maybe),
        (Kind::Timeout, Class::Unavailable, Sent::Maybe),
        (Kind::Refused, Class::Refused, Sent::No),
        (Kind::Other, Class::Unavailable, Sent::Maybe),
    ];

    #[test]
    fn every_kind_has_the_outcome_of_its_row() {
        assert_eq!(TABLE.map(|row| row.0), Kind::ALL);
        for (kind, class, sent) in TABLE {
            let outcome = kind.outcome();
            assert_eq!((outcome.class, outcome.sent), (class, sent), "{kind:?}");
        }
    }

    #[test]
    fn names_are_distinct_labels() {
        for (i, kind) in Kind::ALL.iter().enumerate() {
            let label = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(kind.as_str().bytes().all(label), "{kind:?}");
            for other in &Kind::ALL[..i] {
                assert_ne!(other.as_str(), kind.as_str());
                assert_ne!(other.to_string(), kind.to_string());
            }
        }
    }
}

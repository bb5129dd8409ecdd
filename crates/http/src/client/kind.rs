//! What went wrong, as far as an error chain says.

use std::{error::Error as StdError, fmt, io};

use buttress_core::{Class, Outcome};
use hyper_util::client::legacy;
use tokio::time::error::Elapsed;

use super::{connect::Broken, dns, error::Failure, tls};

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
    /// The resolver says that there is no such name.
    NoSuchName,
    /// The name could not be looked up now, or the resolver did not say why.
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
    /// The peer does not speak TLS, or no TLS that both sides know, or refuses our side of it.
    Tls,
    /// The proxy refuses our credentials, or wants some.
    Proxy,
    /// The request was certainly not begun: HTTP/2 `REFUSED_STREAM`, a `GOAWAY` below the
    /// request's stream, or a kept connection that closed before the request was written to it.
    Unstarted,
    /// The connection closed in the middle: before the head of the response, or in the body. On
    /// a connection that was kept, too, once the request was written.
    Closed,
    /// The connection or the HTTP/2 stream was reset in the middle.
    Reset,
    /// What came is not HTTP, or not to be trusted: garbage, too large a head, contradicting
    /// lengths, a bad chunk, endless informational responses, an HTTP/2 protocol error.
    Malformed,
    /// The connection stopped answering: an HTTP/2 ping or TCP keep-alive probe.
    Timeout,
    /// Nothing of the above is known.
    Other,
}

/// What is known from further out in the chain.
#[derive(Clone, Copy, Default)]
struct Context {
    /// No request was handed to a connection yet.
    connecting: bool,
    /// The head of a response was there.
    body: bool,
}

// ===== impl Kind =====

impl Kind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 18] = [
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
        Self::Other,
    ];

    /// The kind of an error that came instead of a response.
    ///
    /// It looks at the error and everything below it for [`client::Error`](super::Error), hyper,
    /// hyper-util's client (reqwest's errors have these as their source), h2, rustls and
    /// [`io::Error`]; [`Other`](Kind::Other) if none of them is there. A [`Refused`] is not
    /// looked for: that is the business of [`outcome_of`].
    ///
    /// A foreign client that does not keep apart a new connection from one that was kept gives
    /// [`Unstarted`](Kind::Unstarted) for both, where a request was not written.
    ///
    /// [`Refused`]: buttress_core::Refused
    /// [`outcome_of`]: buttress_core::outcome_of
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        walk(error, Context::default()).unwrap_or(Self::Other)
    }

    /// The kind of an error that a response's body ended with. As [`of`](Kind::of), but never
    /// [`Unstarted`](Kind::Unstarted): the response had begun.
    #[must_use]
    pub fn of_body(error: &(dyn StdError + 'static)) -> Self {
        let context = Context {
            body: true,
            ..Context::default()
        };
        match walk(error, context) {
            Some(Self::Unstarted) => Self::Reset,
            Some(kind) => kind,
            None => Self::Other,
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
            Self::Other => "other",
        }
    }

    /// The kind of an I/O error, of the kind that the system gives.
    const fn of_io(kind: io::ErrorKind, context: Context) -> Option<Self> {
        use io::ErrorKind as Io;
        Some(match kind {
            // Only `connect` gives this.
            Io::ConnectionRefused => Self::ConnectRefused,
            // `NotConnected` is hyper-util's word for a name without a usable address.
            Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown | Io::NotConnected
                if context.connecting =>
            {
                Self::Unreachable
            }
            Io::TimedOut if context.connecting => Self::ConnectTimeout,
            _ if context.connecting => Self::Connect,
            Io::UnexpectedEof | Io::BrokenPipe | Io::NotConnected => Self::Closed,
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown => Self::Reset,
            Io::TimedOut => Self::Timeout,
            Io::InvalidData | Io::InvalidInput => Self::Malformed,
            _ => return None,
        })
    }

    fn of_hyper(error: &hyper::Error, context: Context) -> Option<Self> {
        // hyper hands back a request that it did not write, and only then says `Canceled`.
        if error.is_canceled() {
            return Some(Self::Unstarted);
        }
        if error.is_timeout() {
            return Some(Self::Timeout);
        }
        if error.is_parse() {
            return Some(Self::Malformed);
        }
        if error.is_incomplete_message() || error.is_closed() {
            return Some(if context.connecting {
                Self::Connect
            } else {
                Self::Closed
            });
        }
        if let Some(kind) = below(error, context) {
            return Some(kind);
        }
        // No getter tells the rest apart.
        Some(match error.to_string().as_str() {
            "dispatch task is gone" => Self::Other,
            _ if error.is_user() => Self::RequestBody,
            // The connection of a body failed on its writing side.
            "error reading a body from connection" => Self::Reset,
            // Bytes before there was a request.
            "received unexpected message from connection" if context.connecting => Self::Connect,
            _ => return None,
        })
    }

    fn of_h2(error: &h2::Error, context: Context) -> Self {
        if let Some(kind) = error.get_io().and_then(|io| walk(io, context)) {
            return kind;
        }
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // h2 fails a stream with the peer's GOAWAY only if the stream is above its last id, or
        // was never opened.
        if error.is_remote() && (refused || error.is_go_away()) {
            return Self::Unstarted;
        }
        if error.is_remote() {
            return Self::Reset;
        }
        if error.is_library() {
            return Self::Malformed;
        }
        if error.is_reset() {
            // By us: hyper does it when the request's body fails.
            return Self::RequestBody;
        }
        Self::Other
    }

    fn of_pool(error: &legacy::Error) -> Option<Self> {
        let context = Context {
            connecting: error.is_connect() || error.connect_info().is_none(),
            ..Context::default()
        };
        match error.source() {
            // The methods and versions that hyper-util refuses have no source.
            None => Some(Self::Request),
            Some(source) => walk(source, context).or_else(|| {
                let pooled = matches!(
                    source.to_string().as_str(),
                    "request was canceled" | "checked out connection was closed"
                );
                // Another request was opening the connection that this one waited for, and gave
                // up. What happened to it is its own business.
                context.connecting.then_some(if pooled {
                    Self::Unstarted
                } else {
                    Self::Connect
                })
            }),
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
            Self::Other => "unknown failure",
        })
    }
}

/// The kind of an error on the way to a connection.
pub(super) fn connecting(error: &(dyn StdError + 'static)) -> Kind {
    let context = Context {
        connecting: true,
        ..Context::default()
    };
    walk(error, context).unwrap_or(Kind::Connect)
}

/// The first kind that the chain below an error knows.
fn below(error: &(dyn StdError + 'static), context: Context) -> Option<Kind> {
    error.source().and_then(|source| walk(source, context))
}

/// The first kind that an error or the chain below it knows.
fn walk(error: &(dyn StdError + 'static), context: Context) -> Option<Kind> {
    if let Some(failure) = error.downcast_ref::<super::Error>() {
        return Some(failure.kind());
    }
    // A box cannot be looked at itself, but its source can: that of an `Error` is its `Failure`.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.kind);
    }
    if let Some(broken) = error.downcast_ref::<Broken>() {
        return Some(broken.kind);
    }
    if let Some(error) = error.downcast_ref::<legacy::Error>() {
        return Kind::of_pool(error);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        let kind = Kind::of_hyper(error, context);
        let in_body = context.body || error.to_string() == "error reading a body from connection";
        return match kind {
            Some(Kind::Unstarted) if in_body => Some(Kind::Reset),
            kind => kind,
        };
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return Some(Kind::of_h2(error, context));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls::kind_of(error, context.connecting));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // `source` of an I/O error skips the error that it was made of.
        let inner = error.get_ref().and_then(|inner| walk(inner, context));
        return inner
            .or_else(|| dns::kind_of(error))
            .or_else(|| Kind::of_io(error.kind(), context));
    }
    if error.is::<Elapsed>() {
        return Some(if context.connecting {
            Kind::ConnectTimeout
        } else {
            Kind::Timeout
        });
    }
    below(error, context)
}

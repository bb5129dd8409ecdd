//! How a call fails that gets no reply, in process.

use std::{error::Error, fmt, io};

/// The error of the in-process service and of its bodies: what a client would have met on a
/// socket.
///
/// Its [`source`](Error::source) is an [`io::Error`] of the kind that a socket would have given,
/// where one would have, so that what reads client errors reads this one too.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    source: Option<io::Error>,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// Nobody listens there: nothing was sent.
    ConnectRefused,
    /// No connection came about in time: nothing was sent.
    ConnectTimeout,
    /// There is no way there: nothing was sent.
    NoRoute,
    /// The name does not exist: nothing was sent.
    NoSuchName,
    /// The TLS handshake broke: nothing was sent.
    Handshake,
    /// The certificate is not one to trust, or not TLS at all: nothing was sent.
    Untrusted,
    /// The provider says that it did not begin with the call.
    Unstarted,
    /// The connection was closed where a reply, or the rest of it, was expected.
    Closed,
    /// The connection was reset.
    Reset,
    /// What came is not HTTP.
    Malformed,
    /// The request's own body failed, or was longer than the provider reads.
    Request,
}

// ===== impl Failure =====

impl Failure {
    pub(crate) fn new(kind: FailureKind) -> Self {
        let source = kind.io().map(io::Error::from);
        Self { kind, source }
    }

    /// What failed.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FailureKind::ConnectRefused => "the connection was refused",
            FailureKind::ConnectTimeout => "no connection came about in time",
            FailureKind::NoRoute => "there is no route to the host",
            FailureKind::NoSuchName => "the host's name does not exist",
            FailureKind::Handshake => "the TLS handshake was broken off",
            FailureKind::Untrusted => "the host's certificate is not trusted",
            FailureKind::Unstarted => "the provider did not begin with the call",
            FailureKind::Closed => "the connection was closed before the reply was complete",
            FailureKind::Reset => "the connection was reset",
            FailureKind::Malformed => "what came is not HTTP",
            FailureKind::Request => "the request's body failed or is too long",
        })
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

// ===== impl FailureKind =====

impl FailureKind {
    /// Whether it is certain that nothing of the request was sent, or that none of it was begun.
    pub fn not_sent(self) -> bool {
        matches!(
            self,
            FailureKind::ConnectRefused
                | FailureKind::ConnectTimeout
                | FailureKind::NoRoute
                | FailureKind::NoSuchName
                | FailureKind::Handshake
                | FailureKind::Untrusted
                | FailureKind::Unstarted
        )
    }

    fn io(self) -> Option<io::ErrorKind> {
        match self {
            FailureKind::ConnectRefused => Some(io::ErrorKind::ConnectionRefused),
            FailureKind::ConnectTimeout => Some(io::ErrorKind::TimedOut),
            FailureKind::NoRoute => Some(io::ErrorKind::NetworkUnreachable),
            FailureKind::Handshake | FailureKind::Reset => Some(io::ErrorKind::ConnectionReset),
            FailureKind::Closed => Some(io::ErrorKind::UnexpectedEof),
            _ => None,
        }
    }
}

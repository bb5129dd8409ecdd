//! The client's error.

use std::{borrow::Cow, error::Error as StdError, fmt};

use buttress_core::{Fault, Outcome};
use http::uri::Authority;
use hyper_util::client::legacy;

use super::Kind;

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong with a client's call, or with a setting of it.
///
/// [`kind`](Error::kind) says what, [`outcome`](Error::outcome) what it means to the layers; the
/// chain of [`source`](StdError::source)s goes down to hyper, rustls and the system. It names the
/// host and port, and no other part of a URL; no header, no key, nothing that the peer wrote.
///
/// # Examples
///
/// ```
/// use buttress_http::client::{Client, Kind};
///
/// let error = Client::new("api.example.com/v1").unwrap_err();
/// assert_eq!(error.kind(), Kind::Setup);
/// assert_eq!(
///     error.to_string(),
///     "unusable setting: base URL: found no scheme, expected `http://` or `https://`",
/// );
/// ```
pub struct Error {
    failure: Box<Failure>,
}

/// The facts of an [`Error`], as its source, so that they are found below a boxed error.
pub(super) struct Failure {
    pub(super) kind: Kind,
    authority: Option<Authority>,
    detail: Option<Detail>,
    source: Option<BoxError>,
}

/// What was found, and what was expected instead.
struct Detail {
    subject: &'static str,
    found: Cow<'static, str>,
    expected: &'static str,
}

/// In place of [`h2::Error`]: a peer can put into a `GOAWAY` what it likes, our key too, and
/// [`h2::Error`] prints it.
#[derive(Debug)]
struct GoAway {
    reason: Option<h2::Reason>,
    from_peer: bool,
}

// ===== impl Error =====

impl Error {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.failure.kind
    }

    /// What it means: the row of its [`Kind`].
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.failure.kind.outcome()
    }

    /// A setting that cannot be used.
    pub(super) fn setup(
        subject: &'static str,
        found: impl Into<Cow<'static, str>>,
        expected: &'static str,
    ) -> Self {
        Self::detailed(Kind::Setup, subject, found, expected)
    }

    /// A request that is not sent.
    pub(super) fn request(
        subject: &'static str,
        found: impl Into<Cow<'static, str>>,
        expected: &'static str,
    ) -> Self {
        Self::detailed(Kind::Request, subject, found, expected)
    }

    /// A response that is not handed on.
    pub(super) fn response(
        found: impl Into<Cow<'static, str>>,
        expected: &'static str,
        authority: &Authority,
    ) -> Self {
        let mut error = Self::detailed(Kind::Malformed, "head", found, expected);
        error.failure.authority = Some(authority.clone());
        error
    }

    /// What hyper-util's client failed with; `kept` says whether its connection had served
    /// before.
    pub(super) fn transport(error: legacy::Error, kept: bool, authority: &Authority) -> Self {
        let kind = match Kind::of(&error) {
            // What closes before its first request is broken; only what was kept may be idle.
            Kind::Unstarted if !kept && canceled(&error) => Kind::Connect,
            kind => kind,
        };
        let source = match go_away(&error) {
            Some(go_away) => go_away.into(),
            None => error.into(),
        };
        Self {
            failure: Box::new(Failure {
                kind,
                authority: Some(authority.clone()),
                detail: None,
                source: Some(source),
            }),
        }
    }

    fn detailed(
        kind: Kind,
        subject: &'static str,
        found: impl Into<Cow<'static, str>>,
        expected: &'static str,
    ) -> Self {
        Self {
            failure: Box::new(Failure {
                kind,
                authority: None,
                detail: Some(Detail {
                    subject,
                    found: found.into(),
                    expected,
                }),
                source: None,
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(authority) = &self.failure.authority {
            write!(f, "{authority}: ")?;
        }
        write!(f, "{}", self.failure.kind)?;
        match &self.failure.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fields(f, "Error")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.failure)
    }
}

impl Fault for Error {
    fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

// ===== impl Failure =====

impl Failure {
    fn fields(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let mut fields = f.debug_struct(name);
        fields.field("kind", &self.kind);
        if let Some(authority) = &self.authority {
            fields.field("authority", authority);
        }
        if let Some(detail) = &self.detail {
            fields.field("detail", &format_args!("{detail}"));
        }
        if let Some(source) = &self.source {
            fields.field("source", source);
        }
        fields.finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kind {}", self.kind.as_str())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields(f, "Failure")
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

// ===== impl Detail =====

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            found,
            expected,
        } = self;
        write!(f, "{subject}: found {found}, expected {expected}")
    }
}

// ===== impl GoAway =====

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.from_peer { "received" } else { "sent" };
        match self.reason {
            Some(reason) => write!(f, "HTTP/2 GOAWAY {from}: {reason:?}"),
            None => write!(f, "HTTP/2 GOAWAY {from}"),
        }
    }
}

impl StdError for GoAway {}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn canceled(error: &legacy::Error) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_canceled)
}

fn go_away(error: &legacy::Error) -> Option<GoAway> {
    chain(error)
        .filter_map(|error| error.downcast_ref::<h2::Error>())
        .find(|error| error.is_go_away())
        .map(|error| GoAway {
            reason: error.reason(),
            from_peer: error.is_remote(),
        })
}

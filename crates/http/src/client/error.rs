//! The client's error.

use std::{borrow::Cow, error::Error as StdError, fmt};

use buttress_core::{Fault, Outcome, Refused};
use http::uri::Authority;
use hyper_util::client::legacy;

use super::{Kind, tls::NoRoots};

pub(super) use crate::BoxError;

/// What went wrong with a client's call, with the body of its response, or with a setting of it, or
/// why a layer around it refused.
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
    reason: Reason,
}

enum Reason {
    Failed(Box<Failure>),
    /// Not in a box, so that a layer refuses without an allocation.
    Refused(Refused),
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
        match &self.reason {
            Reason::Failed(failure) => failure.kind,
            Reason::Refused(_) => Kind::Refused,
        }
    }

    /// What it means: the row of its [`Kind`], or what the layer's refusal says.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.reason {
            Reason::Failed(failure) => failure.kind.outcome(),
            Reason::Refused(refused) => refused.outcome(),
        }
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
        Self::failed(Failure {
            kind: Kind::Malformed,
            authority: Some(authority.clone()),
            detail: Some(Detail {
                subject: "head",
                found: found.into(),
                expected,
            }),
            source: None,
        })
    }

    /// What hyper-util's client failed with; `kept` says whether its connection had served
    /// before.
    pub(super) fn transport(error: legacy::Error, kept: bool, authority: &Authority) -> Self {
        let kind = match Kind::of(&error) {
            // What closes before its first request is broken; only what was kept may be idle.
            Kind::Unstarted if !kept && canceled(&error) => Kind::Connect,
            kind => kind,
        };
        let detail = chain(&error)
            .any(|error| error.is::<NoRoots>())
            .then(|| Detail {
                subject: "TLS",
                found: NoRoots::FOUND.into(),
                expected: NoRoots::EXPECTED,
            });
        Self::failed(Failure {
            kind,
            authority: Some(authority.clone()),
            detail,
            source: Some(redacted(error)),
        })
    }

    /// What the body of a response failed with.
    pub(super) fn body(error: hyper::Error, authority: Option<Authority>) -> Self {
        Self::failed(Failure {
            kind: Kind::of_body(&error),
            authority,
            detail: None,
            source: Some(redacted(error)),
        })
    }

    /// The body of a response that ended with this many bytes still to come.
    pub(super) fn short(missing: u64, authority: Option<Authority>) -> Self {
        Self::failed(Failure {
            kind: Kind::Closed,
            authority,
            detail: Some(Detail {
                subject: "body",
                found: format!("its end with {missing} bytes missing").into(),
                expected: "all of its `content-length`",
            }),
            source: None,
        })
    }

    fn detailed(
        kind: Kind,
        subject: &'static str,
        found: impl Into<Cow<'static, str>>,
        expected: &'static str,
    ) -> Self {
        Self::failed(Failure {
            kind,
            authority: None,
            detail: Some(Detail {
                subject,
                found: found.into(),
                expected,
            }),
            source: None,
        })
    }

    fn failed(failure: Failure) -> Self {
        Self {
            reason: Reason::Failed(Box::new(failure)),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self {
            reason: Reason::Refused(refused),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = match &self.reason {
            Reason::Failed(failure) => failure,
            Reason::Refused(refused) => return refused.fmt(f),
        };
        if let Some(authority) = &failure.authority {
            write!(f, "{authority}: ")?;
        }
        write!(f, "{}", failure.kind)?;
        match &failure.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Failed(failure) => failure.fields(f, "Error"),
            Reason::Refused(refused) => f.debug_tuple("Error").field(refused).finish(),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.reason {
            Reason::Failed(failure) => Some(&**failure),
            Reason::Refused(refused) => Some(refused),
        }
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

/// The error as a source, without what a peer wrote.
fn redacted<E>(error: E) -> BoxError
where
    E: StdError + Send + Sync + 'static,
{
    match go_away(&error) {
        Some(go_away) => go_away.into(),
        None => error.into(),
    }
}

fn go_away(error: &(dyn StdError + 'static)) -> Option<GoAway> {
    chain(error)
        .filter_map(|error| error.downcast_ref::<h2::Error>())
        .find(|error| error.is_go_away())
        .map(|error| GoAway {
            reason: error.reason(),
            from_peer: error.is_remote(),
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buttress_core::{Class, Reason, Refused, outcome_of};

    use super::{BoxError, Error, Kind};

    #[test]
    fn a_refusal_of_a_layer_around_the_client_stays_what_it_is() {
        let refused = Refused::new(Reason::Limited).with_retry_after(Duration::from_secs(3));
        let error = Error::from(refused);
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(error.outcome(), refused.outcome());
        assert_eq!(outcome_of(&error), refused.outcome());
        assert_eq!(error.to_string(), refused.to_string());

        let timeout = Refused::new(Reason::AttemptTimeout);
        assert_eq!(Error::from(timeout).outcome().class, Class::Unavailable);

        let boxed = BoxError::from(error);
        assert_eq!(Refused::find(&*boxed), Some(refused));
        assert_eq!(outcome_of(&boxed), refused.outcome());
    }
}

use std::{error::Error, fmt, sync::Arc};

use crate::{MAX_ENDPOINTS, MAX_NAME};

/// Endpoints that nobody can choose among, or a change that would make them so.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Endpoint, EndpointsError, Failover};
///
/// let twice = [Endpoint::new("east", ()), Endpoint::new("east", ())];
/// let error = Failover::over(Plain, twice).unwrap_err();
/// assert_eq!(error, EndpointsError::Twice { name: "east".into() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointsError {
    /// There is none, or would be none any more.
    Empty,
    /// More than [`MAX_ENDPOINTS`].
    TooMany,
    /// Two of one name.
    Twice {
        /// The name.
        name: Arc<str>,
    },
    /// A name that is empty, longer than [`MAX_NAME`] bytes, or has control characters.
    Name {
        /// What was found, or its beginning.
        found: Box<str>,
    },
    /// No endpoint has this name.
    Unknown {
        /// The name.
        name: Box<str>,
    },
}

// ===== impl EndpointsError =====

impl fmt::Display for EndpointsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("found no endpoints, expected at least one"),
            Self::TooMany => write!(f, "found more than {MAX_ENDPOINTS} endpoints"),
            Self::Twice { name } => write!(f, "found two endpoints of the name {name:?}"),
            Self::Name { found } => write!(
                f,
                "found the name {found:?}, expected 1 to {MAX_NAME} bytes without control characters"
            ),
            Self::Unknown { name } => write!(f, "found no endpoint of the name {name:?}"),
        }
    }
}

impl Error for EndpointsError {}

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use crate::Outcome;

/// One endpoint that was tried for a call, and how that went.
///
/// Whoever chooses among endpoints writes one for each attempt that failed, and for the one that was
/// delivered after others had. They are in its events, in the [`Ledger`](crate::Ledger) that the
/// request carries, and on the response, where the protocol has a place for a [`Trail`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_core::{Class, Outcome, Tried};
///
/// let tried = Tried::new("east", Outcome::new(Class::Throttled), Duration::from_millis(80))
///     .with_error("429 Too Many Requests");
/// assert_eq!(tried.to_string(), "east: throttled after 80ms: 429 Too Many Requests");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// The name of the endpoint.
    pub endpoint: Arc<str>,
    /// What was known of the attempt when it was over, or its response began.
    pub outcome: Outcome,
    /// How long that took. `None`: it was not measured, as of one that ended when it was first polled,
    /// for which no clock is read.
    pub took: Option<Duration>,
    /// What it failed with, in few words: one line, at most [`Tried::MAX_ERROR`] bytes.
    pub error: Option<Cow<'static, str>>,
}

/// Where a call went, one entry for each endpoint that was tried, in their order.
///
/// ```
/// use std::time::Duration;
/// use buttress_core::{Class, Outcome, Trail, Tried};
///
/// let second = Duration::from_secs(1);
/// let trail = Trail::new([
///     Tried::new("east", Outcome::new(Class::Unavailable), second),
///     Tried::new("west", Outcome::SUCCESS, second),
/// ]);
/// assert_eq!(trail.to_string(), "east: unavailable after 1s, west: success after 1s");
/// assert!(!trail.is_fallback());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    tried: Arc<[Tried]>,
    fallback: bool,
}

// ===== impl Tried =====

impl Tried {
    /// The longest text of an [`error`](Tried::error), in bytes.
    pub const MAX_ERROR: usize = 120;

    /// An attempt at the endpoint of this name, which took so long, if that was measured.
    #[must_use]
    pub fn new(
        endpoint: impl Into<Arc<str>>,
        outcome: Outcome,
        took: impl Into<Option<Duration>>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            outcome,
            took: took.into(),
            error: None,
        }
    }

    /// The same, failed with this: what does not fit is cut off, and control characters become
    /// spaces. What it says is whoever's who calls: it must not quote a key, a prompt or a reply.
    #[must_use]
    pub fn with_error(mut self, error: impl Into<Cow<'static, str>>) -> Self {
        let mut error = error.into();
        if error.len() > Self::MAX_ERROR {
            let end = floor_boundary(&error, Self::MAX_ERROR);
            error.to_mut().truncate(end);
        }
        if error.chars().any(char::is_control) {
            error = error
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
        }
        self.error = Some(error);
        self
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.outcome.class)?;
        if let Some(took) = self.took {
            write!(f, " after {took:?}")?;
        }
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

/// The last boundary of a character up to `at`: `str::floor_char_boundary` is younger than the oldest
/// compiler that we support.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut each = (0..=at).rev();
    each.find(|at| text.is_char_boundary(*at))
        .unwrap_or_default()
}

// ===== impl Trail =====

impl Trail {
    /// These, in their order.
    #[must_use]
    pub fn new(tried: impl Into<Arc<[Tried]>>) -> Self {
        Self {
            tried: tried.into(),
            fallback: false,
        }
    }

    /// The same, of a call that no endpoint answered: its response is a fallback's.
    #[must_use]
    pub fn with_fallback(self) -> Self {
        Self {
            fallback: true,
            ..self
        }
    }

    /// The attempts, in their order. If one was a [`Success`](crate::Class::Success), it is the last.
    #[must_use]
    pub fn tried(&self) -> &[Tried] {
        &self.tried
    }

    /// Whether no endpoint answered, and what was delivered is a fallback's.
    #[must_use]
    pub const fn is_fallback(&self) -> bool {
        self.fallback
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, tried) in self.tried.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{tried}")?;
        }
        match self.fallback {
            true if self.tried.is_empty() => f.write_str("fallback"),
            true => f.write_str(", fallback"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tried;
    use crate::{Class, Outcome};

    #[test]
    fn a_time_that_was_not_measured_is_not_told() {
        let tried = Tried::new("a", Outcome::SUCCESS, None);
        assert_eq!((tried.took, tried.to_string()), (None, "a: success".into()));
        let tried = Tried::new("a", Outcome::SUCCESS, Duration::ZERO);
        assert_eq!(tried.to_string(), "a: success after 0ns");
    }

    #[test]
    fn the_text_of_an_error_is_one_line_and_bounded() {
        let tried = Tried::new("a", Outcome::new(Class::Unavailable), Duration::ZERO);
        let long = tried.clone().with_error("é".repeat(1000));
        let error = long.error.unwrap();
        assert_eq!((error.len(), error.chars().count()), (120, 60));
        let odd = tried.clone().with_error(format!("x{}", "é".repeat(1000)));
        assert_eq!(odd.error.unwrap().len(), 119);
        let lines = tried.with_error("one\r\ntwo\u{1b}");
        assert_eq!(lines.error.as_deref(), Some("one  two "));
    }
}

use std::{fmt, str::FromStr};

use tracing::Span;

/// The `traceparent` of [W3C Trace Context](https://www.w3.org/TR/trace-context/): which trace a
/// call belongs to, and which span of it is the parent.
///
/// For programs without an OpenTelemetry SDK, whose traces are still to hang together: each span
/// takes an id of its own, joins the trace of the header, and passes itself on as the parent of what
/// comes next. With `tracing-opentelemetry`, use that instead.
///
/// # Examples
///
/// In a [`Describe`](crate::Describe), for requests of any type that has headers:
///
/// ```
/// use buttress_metrics::Traceparent;
/// # use tracing::Span;
/// # struct Ask { traceparent: Option<String> }
///
/// fn propagate(ask: &mut Ask, span: &Span) {
///     let child = Traceparent::join(ask.traceparent.as_deref(), span);
///     ask.traceparent = Some(child.to_string());
/// }
/// # let mut ask = Ask { traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()) };
/// # propagate(&mut ask, &Span::none());
/// # assert!(ask.traceparent.unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traceparent {
    trace: u128,
    parent: u64,
    flags: u8,
}

/// A `traceparent` that is none.
///
/// ```
/// use buttress_metrics::Traceparent;
///
/// let error = "hello".parse::<Traceparent>().unwrap_err();
/// assert_eq!(error.to_string(), "found 5 bytes, expected a traceparent: 00-<32 hex>-<16 hex>-<2 hex>");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceparentError {
    found: usize,
}

const SAMPLED: u8 = 1;

// ===== impl Traceparent =====

impl Traceparent {
    /// A span joins the trace of this header, or begins one where there is no header, or none that
    /// can be read: what is to be sent on. The span records `trace_id`, `span_id` and, if there was
    /// one, `parent_span_id`.
    #[must_use]
    pub fn join(header: Option<&str>, span: &Span) -> Self {
        let parent: Option<Self> = header.and_then(|header| header.parse().ok());
        let child = parent.map_or_else(Self::root, Self::child);
        span.record("trace_id", format!("{:032x}", child.trace));
        span.record("span_id", format!("{:016x}", child.parent));
        if let Some(parent) = parent {
            span.record("parent_span_id", format!("{:016x}", parent.parent));
        }
        child
    }

    /// The beginning of a trace, sampled.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: fastrand::u128(1..),
            parent: fastrand::u64(1..),
            flags: SAMPLED,
        }
    }

    /// A span of the same trace, with an id of its own.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            parent: fastrand::u64(1..),
            ..self
        }
    }

    /// The id of the trace.
    #[must_use]
    pub const fn trace_id(self) -> u128 {
        self.trace
    }

    /// The id of the span.
    #[must_use]
    pub const fn span_id(self) -> u64 {
        self.parent
    }

    /// Whether whoever began the trace records it.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Of version 00, and of the later ones what they share with it.
impl FromStr for Traceparent {
    type Err = TraceparentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text.as_bytes()).ok_or(TraceparentError { found: text.len() })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            parent,
            flags,
        } = self;
        write!(f, "00-{trace:032x}-{parent:016x}-{flags:02x}")
    }
}

fn read(text: &[u8]) -> Option<Traceparent> {
    let (known, more) = text.split_at_checked(55)?;
    let (version, trace) = (hex(&known[..2])?, hex(&known[3..35])?);
    let (parent, flags) = (hex(&known[36..52])?, hex(&known[53..])?);
    let dashes = [known[2], known[35], known[52]] == *b"---";
    let whole = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.is_empty() || more[0] == b'-',
    };
    (dashes && whole && trace != 0 && parent != 0).then_some(Traceparent {
        trace,
        parent: parent as u64,
        // Later versions may give the other bits a meaning.
        flags: flags as u8 & SAMPLED,
    })
}

/// Lower case alone.
fn hex(digits: &[u8]) -> Option<u128> {
    let value = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    digits
        .iter()
        .try_fold(0, |sum, digit| Some(sum << 4 | u128::from(value(digit)?)))
}

// ===== impl TraceparentError =====

impl fmt::Display for TraceparentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found {} bytes, expected a traceparent: 00-<32 hex>-<16 hex>-<2 hex>",
            self.found
        )
    }
}

impl std::error::Error for TraceparentError {}

#[cfg(test)]
mod tests {
    use super::Traceparent;

    const KNOWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_and_written_as_it_was() {
        let read: Traceparent = KNOWN.parse().unwrap();
        assert_eq!(read.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(read.span_id(), 0xb7ad_6b71_6920_3331);
        assert!(read.is_sampled());
        assert_eq!(read.to_string(), KNOWN);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("01{}-and-more", &KNOWN[2..]);
        let read: Traceparent = later.parse().unwrap();
        assert_eq!(read.to_string(), KNOWN);
    }

    #[test]
    fn what_is_no_traceparent_is_an_error() {
        let cases = [
            String::new(),
            KNOWN[..54].into(),
            format!("{KNOWN}-"),
            format!("01{}x", &KNOWN[2..]),
            format!("ff{}", &KNOWN[2..]),
            KNOWN.to_uppercase(),
            KNOWN.replace("b7ad6b7169203331", "0000000000000000"),
            KNOWN.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            KNOWN.replace("c-b", "c_b"),
            KNOWN.replace("af", "ä"),
        ];
        for case in cases {
            assert!(case.parse::<Traceparent>().is_err(), "{case}");
        }
    }

    #[test]
    fn a_child_is_of_the_same_trace_and_has_an_id_of_its_own() {
        let parent: Traceparent = KNOWN.parse().unwrap();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        let joined = Traceparent::join(Some(KNOWN), &tracing::Span::none());
        assert_eq!(joined.trace_id(), parent.trace_id());
        let begun = Traceparent::join(Some("nonsense"), &tracing::Span::none());
        assert_ne!(begun.trace_id(), parent.trace_id());
    }
}

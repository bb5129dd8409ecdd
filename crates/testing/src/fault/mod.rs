//! Every way in which a provider fails.

mod api_error;
mod bend;
mod hint;
mod shape;

use std::{fmt, time::Duration, time::SystemTime};

pub use api_error::ApiError;
pub use hint::Hint;

use crate::{Dialect, Reply, Request};

/// A way in which a provider, or the way to it, fails.
///
/// A fault is a script by itself, and then spoils a short answer; [`Reply::fault`] spoils any
/// reply. `after` counts events with content: 0 fails before the first content. Of a whole reply,
/// nothing is sent for 0, and half of the body for more.
///
/// [`all`](Self::all) lists a row of each, [`class`](Self::class) tells what a call that meets it
/// has come to, [`carried_by`](Self::carried_by) what can carry it, [`fits`](Self::fits) which
/// dialects have it, and [`streamed`](Self::streamed) which calls it is for. The crate's front page
/// has the table.
///
/// ```
/// use buttress_testing::{Dialect, Fault, Carrier};
///
/// let rows = Fault::all();
/// let here = rows.iter().filter(|fault| fault.fits(Dialect::OpenAi) && fault.carried_by(Carrier::Socket));
/// for fault in here {
///     println!("{fault}: {}", fault.class());
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody listens at the provider's address.
    ConnectRefused,
    /// A connection never comes about.
    ConnectTimeout,
    /// There is no way to the provider's address.
    NoRoute,
    /// The connection is reset in the TLS handshake.
    HandshakeReset,
    /// The provider's name does not exist: its base URL ends in `.invalid`.
    NoSuchName,
    /// The provider's certificate is of an issuer that nobody knows.
    UnknownIssuer,
    /// The provider's certificate is for another host.
    WrongHost,
    /// The provider's certificate has expired.
    Expired,
    /// The base URL says `https`, and the port speaks no TLS.
    Plaintext,
    /// HTTP/2: the stream is reset with `REFUSED_STREAM`.
    RefusedStream,
    /// HTTP/2: the connection ends with a `GOAWAY` whose last stream is one before this.
    GoAway,
    /// The call is answered; the connection is closed when the next request on it begins to arrive.
    /// In process, the call itself fails.
    KeepAliveRace,
    /// The call is answered; then the connection is closed, though nobody announced it. In process,
    /// the call itself fails.
    IdleClose,
    /// The connection is closed with no byte of a reply.
    NoReply,
    /// The connection is reset in the middle of the headers.
    ResetInHeaders,
    /// One of the headers is garbage.
    GarbageHeader,
    /// One of the headers is so many bytes long.
    LongHeader {
        /// The length of its value.
        bytes: usize,
    },
    /// One of the headers never ends.
    EndlessHeader,
    /// Two `content-length`s that contradict each other.
    TwoLengths,
    /// A `content-length`, and chunks.
    LengthAndChunks,
    /// `103 Early Hints` without end.
    EndlessInterim,
    /// The headers never come.
    NoHeaders,
    /// The connection is reset.
    Reset {
        /// So many events with content come first.
        after: usize,
    },
    /// The connection is closed before the end of a chunked body.
    Close {
        /// So many events with content come first.
        after: usize,
    },
    /// The connection is closed before as many bytes have come as `content-length` says.
    ShortLength {
        /// So many events with content come first.
        after: usize,
    },
    /// A chunk's size is no number.
    BadChunk {
        /// So many events with content come first.
        after: usize,
    },
    /// Nothing more comes, and the connection stays open. 0: the first event never comes.
    Stall {
        /// So many events with content come first.
        after: usize,
    },
    /// Nothing more comes but the dialect's pings: Anthropic's event, or one without data.
    PingsOnly {
        /// So many events with content come first.
        after: usize,
        /// The time between two pings.
        every: Duration,
    },
    /// Nothing more comes but comments.
    CommentsOnly {
        /// So many events with content come first.
        after: usize,
        /// The time between two comments.
        every: Duration,
    },
    /// An error comes as an event, then the stream ends.
    ErrorEvent {
        /// So many events with content come first.
        after: usize,
        /// What the event says.
        error: ApiError,
    },
    /// A whole reply with status 200 whose body is an error's envelope.
    ErrorInOk(ApiError),
    /// The stream ends after its last content: no finish reason, no terminator.
    NoTerminator,
    /// An event's data is so many bytes long.
    LongEvent {
        /// So many events with content come first.
        after: usize,
        /// The length of its data.
        bytes: usize,
    },
    /// A line never ends.
    EndlessLine {
        /// So many events with content come first.
        after: usize,
    },
    /// A whole reply whose body never ends. Not in [`all`](Fault::all): what does not parse a body
    /// as it passes has no way to tell.
    EndlessBody,
    /// `content-encoding: gzip`, and junk.
    BadGzip,
    /// A whole reply whose JSON is cut in the middle.
    MalformedJson,
    /// A page of HTML.
    WrongContentType,
    /// The reply as it should be, without its `content-type`.
    NoContentType,
    /// A 200 with an empty body.
    Empty,
    /// Status 429 with, or without, a hint.
    Throttled(Hint),
    /// An error of the API.
    Error(ApiError),
    /// An error with `x-should-retry`.
    ShouldRetry {
        /// The error's status.
        status: u16,
        /// What the header says.
        again: bool,
    },
    /// A redirect (307) to another host, with the path of the request.
    Redirect,
    /// The reply comes in pieces of so many bytes, with pauses between.
    Drip {
        /// The length of a piece.
        bytes: usize,
        /// The pause between two.
        every: Duration,
    },
    /// The provider closes its sending side after the reply, and waits for the client to close the
    /// other.
    HalfClose,
    /// Every event with content comes twice.
    DuplicateEvents,
    /// The first content has bytes that are no UTF-8.
    InvalidUtf8,
    /// The stream begins with a byte order mark.
    ByteOrderMark,
    /// Lines end with CR LF, and every CR is in another write than its LF.
    SplitCrLf,
    /// An event has an `id` and a comment with a NUL.
    Nul,
    /// The stream is complete but for `data: [DONE]`, which some servers omit.
    NoDone,
    /// One event in an otherwise good stream is no JSON.
    MalformedEvent {
        /// So many events with content come first.
        after: usize,
    },
}

/// What carries a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// HTTP/1.1 on a socket.
    Socket,
    /// HTTP/2 on a socket.
    Http2,
    /// The in-process service.
    InProcess,
}

/// The call that a reply answers.
pub(crate) struct Call<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) request: &'a Request,
    pub(crate) id: u64,
    pub(crate) carrier: Carrier,
    pub(crate) now: SystemTime,
}

/// What a fault spoils where the script does not say.
const SAMPLE: &str = "The quick brown fox jumps over the lazy dog";

// ===== impl Fault =====

impl Fault {
    /// Every row of the fault table, with parameters that suit a test: before content and after
    /// two events of it, pings every 100 ms, an event of 16 MiB, a header of 1 MiB.
    pub fn all() -> Vec<Fault> {
        let mut rows = vec![
            Fault::ConnectRefused,
            Fault::ConnectTimeout,
            Fault::NoRoute,
            Fault::HandshakeReset,
            Fault::NoSuchName,
            Fault::UnknownIssuer,
            Fault::WrongHost,
            Fault::Expired,
            Fault::Plaintext,
            Fault::RefusedStream,
            Fault::GoAway,
            Fault::KeepAliveRace,
            Fault::IdleClose,
            Fault::NoReply,
            Fault::ResetInHeaders,
            Fault::GarbageHeader,
            Fault::LongHeader { bytes: 1 << 20 },
            Fault::EndlessHeader,
            Fault::TwoLengths,
            Fault::LengthAndChunks,
            Fault::EndlessInterim,
            Fault::NoHeaders,
        ];
        let every = Duration::from_millis(100);
        for after in [0, 2] {
            rows.extend([
                Fault::Reset { after },
                Fault::Close { after },
                Fault::ShortLength { after },
                Fault::BadChunk { after },
                Fault::Stall { after },
                Fault::PingsOnly { after, every },
                Fault::CommentsOnly { after, every },
            ]);
            let errors = [429, 500, 529].map(ApiError::Status);
            let errors = errors.into_iter().chain([
                ApiError::InsufficientQuota,
                ApiError::EnforcedSpendLimit,
                ApiError::DailyQuota,
                ApiError::ContextLength,
            ]);
            rows.extend(errors.map(|error| Fault::ErrorEvent { after, error }));
        }
        rows.extend([
            Fault::NoTerminator,
            Fault::LongEvent {
                after: 2,
                bytes: 16 << 20,
            },
            Fault::EndlessLine { after: 2 },
            Fault::BadGzip,
            Fault::MalformedJson,
            Fault::WrongContentType,
            Fault::NoContentType,
            Fault::Empty,
        ]);
        rows.extend(Hint::ALL.map(Fault::Throttled));
        let statuses = [
            400, 401, 402, 403, 408, 409, 413, 415, 422, 425, 500, 502, 503, 504, 529,
        ];
        rows.extend(statuses.map(|status| Fault::Error(ApiError::Status(status))));
        rows.extend(ApiError::NAMED.map(Fault::Error));
        for error in [ApiError::Status(429), ApiError::Status(500)] {
            rows.push(Fault::ErrorInOk(error));
        }
        rows.extend(ApiError::NAMED.map(Fault::ErrorInOk));
        for (status, again) in [(400, true), (401, true), (429, false), (503, false)] {
            rows.push(Fault::ShouldRetry { status, again });
        }
        rows.extend([
            Fault::Redirect,
            Fault::Drip {
                bytes: 64,
                every: Duration::from_millis(1),
            },
            Fault::HalfClose,
            Fault::DuplicateEvents,
            Fault::InvalidUtf8,
            Fault::ByteOrderMark,
            Fault::SplitCrLf,
            Fault::Nul,
            Fault::NoDone,
            Fault::MalformedEvent { after: 2 },
        ]);
        rows
    }

    /// The class of a call that meets it, by the name that the design gives it: `Success`,
    /// `Throttled`, `Unavailable`, `Unstarted`, `Interrupted`, `Denied`, `Unfit` or `Invalid`.
    ///
    /// Of a fault after content it is the class of a streamed call. [`Fault::MalformedEvent`]
    /// is `Success` here: the event is skipped. A reader that ends the stream instead has
    /// `Interrupted`; both are allowed.
    pub const fn class(&self) -> &'static str {
        match *self {
            Fault::NoSuchName
            | Fault::UnknownIssuer
            | Fault::WrongHost
            | Fault::Expired
            | Fault::Plaintext
            | Fault::Redirect => "Unfit",
            Fault::RefusedStream | Fault::GoAway | Fault::KeepAliveRace | Fault::IdleClose => {
                "Unstarted"
            }
            Fault::Reset { after }
            | Fault::Close { after }
            | Fault::ShortLength { after }
            | Fault::BadChunk { after }
            | Fault::Stall { after }
            | Fault::PingsOnly { after, .. }
            | Fault::CommentsOnly { after, .. }
            | Fault::LongEvent { after, .. }
            | Fault::EndlessLine { after } => match after {
                0 => "Unavailable",
                _ => "Interrupted",
            },
            Fault::ErrorEvent { after: 1.., .. }
            | Fault::NoTerminator
            | Fault::EndlessBody
            | Fault::BadGzip => "Interrupted",
            Fault::ErrorEvent { after: 0, error }
            | Fault::ErrorInOk(error)
            | Fault::Error(error) => error.class(),
            Fault::ShouldRetry { status, .. } => ApiError::Status(status).class(),
            Fault::Throttled(_) => "Throttled",
            Fault::Drip { .. }
            | Fault::HalfClose
            | Fault::DuplicateEvents
            | Fault::InvalidUtf8
            | Fault::ByteOrderMark
            | Fault::SplitCrLf
            | Fault::Nul
            | Fault::NoDone
            | Fault::MalformedEvent { .. } => "Success",
            _ => "Unavailable",
        }
    }

    /// The hint that the reply carries, if it carries a valid one: see [`Hint::delay`].
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Fault::Throttled(hint) => hint.delay(),
            _ => None,
        }
    }

    /// Whether it is certain that nothing of the request reached the provider.
    pub const fn not_sent(&self) -> bool {
        matches!(
            self,
            Fault::ConnectRefused
                | Fault::ConnectTimeout
                | Fault::NoRoute
                | Fault::HandshakeReset
                | Fault::NoSuchName
                | Fault::UnknownIssuer
                | Fault::WrongHost
                | Fault::Expired
                | Fault::Plaintext
                | Fault::RefusedStream
                | Fault::GoAway
        )
    }

    /// Whether it is a fault of the way to the provider, which then has it for every call and on
    /// a socket can have nothing else in its scripts.
    pub const fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Fault::ConnectRefused
                | Fault::ConnectTimeout
                | Fault::NoRoute
                | Fault::HandshakeReset
                | Fault::NoSuchName
                | Fault::UnknownIssuer
                | Fault::WrongHost
                | Fault::Expired
                | Fault::Plaintext
        )
    }

    /// Whether a call is answered as it should be before this fault shows, in the next call on the
    /// same connection.
    pub const fn shows_later(&self) -> bool {
        matches!(self, Fault::KeepAliveRace | Fault::IdleClose)
    }

    /// Whether this carrier can carry it. A call that meets a fault that its carrier cannot carry
    /// fails the test, and says so.
    pub const fn carried_by(&self, carrier: Carrier) -> bool {
        match self {
            Fault::NoRoute => matches!(carrier, Carrier::InProcess),
            Fault::RefusedStream | Fault::GoAway => !matches!(carrier, Carrier::Socket),
            Fault::HalfClose => matches!(carrier, Carrier::Socket),
            Fault::ConnectRefused
            | Fault::ConnectTimeout
            | Fault::HandshakeReset
            | Fault::NoSuchName
            | Fault::UnknownIssuer
            | Fault::WrongHost
            | Fault::Expired
            | Fault::Plaintext
            | Fault::KeepAliveRace
            | Fault::IdleClose
            | Fault::NoReply
            | Fault::ResetInHeaders
            | Fault::GarbageHeader
            | Fault::LongHeader { .. }
            | Fault::EndlessHeader
            | Fault::TwoLengths
            | Fault::LengthAndChunks
            | Fault::EndlessInterim
            | Fault::Close { .. }
            | Fault::ShortLength { .. }
            | Fault::BadChunk { .. } => !matches!(carrier, Carrier::Http2),
            _ => true,
        }
    }

    /// Whether a provider of this dialect can fail so.
    pub fn fits(&self, dialect: Dialect) -> bool {
        match self {
            Fault::Error(error) | Fault::ErrorInOk(error) | Fault::ErrorEvent { error, .. } => {
                // Gemini's content filter answers with a 200 of its own, and no error.
                let as_error = *error != ApiError::ContentFilter || dialect != Dialect::Gemini;
                error.fits(dialect) && (as_error || matches!(self, Fault::Error(_)))
            }
            Fault::Throttled(hint) => hint.fits(dialect),
            Fault::NoDone => dialect == Dialect::OpenAi,
            _ => true,
        }
    }

    /// Which calls it is for: streamed ones, or those that are not; `None` is both. Another call
    /// that meets it fails the test, and says so.
    pub const fn streamed(&self) -> Option<bool> {
        match self {
            Fault::MalformedJson | Fault::ErrorInOk(_) | Fault::EndlessBody => Some(false),
            Fault::PingsOnly { .. }
            | Fault::CommentsOnly { .. }
            | Fault::ErrorEvent { .. }
            | Fault::NoTerminator
            | Fault::LongEvent { .. }
            | Fault::EndlessLine { .. }
            | Fault::DuplicateEvents
            | Fault::ByteOrderMark
            | Fault::SplitCrLf
            | Fault::Nul
            | Fault::NoDone
            | Fault::MalformedEvent { .. } => Some(true),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault {self:?}")
    }
}

impl From<Fault> for Reply {
    /// A short answer, spoilt.
    fn from(fault: Fault) -> Self {
        Reply::text(SAMPLE).fault(fault)
    }
}

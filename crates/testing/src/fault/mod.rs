//! Every way in which a provider fails.

mod api_error;
mod bend;
mod hint;
mod shape;
mod table;

use std::{fmt, time::Duration, time::SystemTime};

pub use api_error::ApiError;
pub use hint::Hint;
pub(crate) use hint::{Date, go};

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

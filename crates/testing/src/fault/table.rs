//! The fault table: every row, and what is known of each.

use std::time::Duration;

use super::{ApiError, Carrier, Fault, Hint};
use crate::Dialect;

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
    /// `Interrupted`; both are allowed. A reader that does not decode gzip cannot know that of
    /// [`Fault::BadGzip`].
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

    /// Whether it ends only when the client does: nothing more comes, or what comes has no end.
    pub const fn never_ends(&self) -> bool {
        matches!(
            self,
            Fault::ConnectTimeout
                | Fault::EndlessHeader
                | Fault::EndlessInterim
                | Fault::NoHeaders
                | Fault::Stall { .. }
                | Fault::PingsOnly { .. }
                | Fault::CommentsOnly { .. }
                | Fault::EndlessLine { .. }
                | Fault::EndlessBody
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The front page's row of a fault: class and carriers.
    fn row(fault: Fault) -> Option<(String, String)> {
        let debug = format!("{fault:?}");
        let name = debug.split([' ', '(']).next()?;
        let start = format!("//! | [`{name}`](Fault::{name}) | ");
        let mut lines = include_str!("../lib.rs").lines();
        let (class, carriers) = lines
            .find_map(|line| line.strip_prefix(&start))?
            .split_once(" | ")?;
        Some((class.to_owned(), carriers.trim_end_matches(" |").to_owned()))
    }

    #[test]
    fn the_front_page_has_every_fault_with_its_class_and_carriers() {
        let mut all = Fault::all();
        all.push(Fault::EndlessBody);
        for fault in all {
            let (class, carriers) = row(fault).unwrap_or_else(|| panic!("no row for {fault}"));
            let later = match fault {
                Fault::Reset { after }
                | Fault::Close { after }
                | Fault::ShortLength { after }
                | Fault::BadChunk { after }
                | Fault::Stall { after }
                | Fault::PingsOnly { after, .. }
                | Fault::CommentsOnly { after, .. }
                | Fault::ErrorEvent { after, .. }
                | Fault::LongEvent { after, .. }
                | Fault::EndlessLine { after } => after > 0,
                _ => false,
            };
            let words: Vec<_> = class.split(", ").collect();
            let word = words[usize::from(later)];
            if !word.starts_with("by ") {
                assert_eq!(word.split(' ').next(), Some(fault.class()), "{fault}");
            }
            let carried = [
                (Carrier::Socket, "s"),
                (Carrier::Http2, "2"),
                (Carrier::InProcess, "p"),
            ]
            .into_iter()
            .filter(|(carrier, _)| fault.carried_by(*carrier))
            .map(|(_, letter)| letter);
            assert_eq!(carried.collect::<Vec<_>>().join(" "), carriers, "{fault}");
        }
    }

    #[test]
    fn every_fault_fits_a_dialect_and_every_dialect_has_most_faults() {
        for fault in Fault::all() {
            assert!(
                Dialect::ALL.iter().any(|dialect| fault.fits(*dialect)),
                "{fault}"
            );
        }
        for dialect in Dialect::ALL {
            let fits = Fault::all()
                .iter()
                .filter(|fault| fault.fits(dialect))
                .count();
            assert!(fits > 90, "{dialect:?}: {fits}");
        }
    }
}

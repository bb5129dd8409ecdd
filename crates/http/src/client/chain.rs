//! What an error chain says, link by link.
//!
//! hyper has getters for half of what it knows, and hyper-util for less. What neither tells is in
//! the types and texts below them; a test stands for each of those.

use std::{error::Error as StdError, io};

use h2::Reason;
use hyper_util::client::legacy;
use tokio::time::error::Elapsed;

use super::{Error, Kind, connect::Broken, dns, error::Failure, tls};

/// What is known from further out in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request was handed to a connection yet.
    Connecting,
    /// A request was, or may have been.
    Sending,
}

// Texts of hyper, where it has no getter.
const IN_BODY: &str = "error reading a body from connection";
const UNEXPECTED: &str = "received unexpected message from connection";
const DISPATCH_GONE: &str = "dispatch task is gone";

/// Texts of hyper-util, for a request that waited for a connection that another one was opening.
const POOL: [&str; 2] = ["request was canceled", "checked out connection was closed"];

/// Texts of hyper-util's connectors, whose types have no names. They tell the phase where a box
/// hides the error above them.
const CONNECTORS: [&str; 4] = ["dns error", "tcp ", "tunnel error: ", "SOCKS error: "];

/// The kind of an error, if there is a link in its chain that is known.
pub(super) fn kind_of(error: &(dyn StdError + 'static)) -> Option<Kind> {
    walk(error, Phase::Sending)
}

/// The kind of an error on the way to a connection.
pub(super) fn connecting(error: &(dyn StdError + 'static)) -> Kind {
    walk(error, Phase::Connecting).unwrap_or(Kind::Connect)
}

fn walk(error: &(dyn StdError + 'static), phase: Phase) -> Option<Kind> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(error.kind());
    }
    // A box cannot be looked at itself, but its source can: that of an `Error` is its `Failure`.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.kind);
    }
    if let Some(broken) = error.downcast_ref::<Broken>() {
        return Some(broken.kind);
    }
    if let Some(error) = error.downcast_ref::<legacy::Error>() {
        return of_pool(error);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return of_hyper(error, phase);
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return of_h2(error, phase);
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls::kind_of(error, phase == Phase::Connecting));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // `source` of an I/O error skips the error that it was made of.
        let inner = error.get_ref().and_then(|inner| walk(inner, phase));
        return inner
            .or_else(|| dns::kind_of(error))
            .or_else(|| of_io(error.kind(), phase));
    }
    if error.is::<Elapsed>() {
        return Some(match phase {
            Phase::Connecting => Kind::ConnectTimeout,
            Phase::Sending => Kind::Timeout,
        });
    }
    let text = error.to_string();
    if phase == Phase::Sending && CONNECTORS.iter().any(|known| text.starts_with(known)) {
        return Some(connecting(error));
    }
    below(error, phase)
}

fn below(error: &(dyn StdError + 'static), phase: Phase) -> Option<Kind> {
    error.source().and_then(|source| walk(source, phase))
}

fn of_pool(error: &legacy::Error) -> Option<Kind> {
    let phase = match error.connect_info() {
        Some(_) if !error.is_connect() => Phase::Sending,
        // What fails before the request is dispatched has no connection to tell of, the greeting
        // of a new connection too.
        _ => Phase::Connecting,
    };
    // The methods and versions that hyper-util refuses have no source.
    let Some(source) = error.source() else {
        return Some(Kind::Request);
    };
    let kind = walk(source, phase);
    if kind.is_some() || phase == Phase::Sending {
        return kind;
    }
    // What became of the request that was opening the connection is that one's business.
    Some(match POOL.contains(&source.to_string().as_str()) {
        true => Kind::Unstarted,
        false => Kind::Connect,
    })
}

fn of_hyper(error: &hyper::Error, phase: Phase) -> Option<Kind> {
    let text = error.to_string();
    // hyper hands back a request that it did not write, and says `Canceled` only then.
    if error.is_canceled() {
        return Some(Kind::Unstarted);
    }
    // Before what is below it: a caller's own connection may have been reset.
    if error.is_user() {
        return Some(match text.as_str() {
            DISPATCH_GONE => Kind::Other,
            _ => Kind::RequestBody,
        });
    }
    if error.is_timeout() {
        return Some(Kind::Timeout);
    }
    if error.is_parse() {
        return Some(Kind::Malformed);
    }
    if error.is_incomplete_message() || error.is_closed() {
        return Some(match phase {
            Phase::Connecting => Kind::Connect,
            Phase::Sending => Kind::Closed,
        });
    }
    match below(error, phase) {
        // Of a body that came here without `of_body`.
        Some(Kind::Unstarted) if text == IN_BODY => Some(Kind::Reset),
        Some(kind) => Some(kind),
        // The writing side of the connection failed under it.
        None if text == IN_BODY => Some(Kind::Reset),
        None if text == UNEXPECTED && phase == Phase::Connecting => Some(Kind::Connect),
        None if text == UNEXPECTED => Some(Kind::Malformed),
        None => None,
    }
}

fn of_h2(error: &h2::Error, phase: Phase) -> Option<Kind> {
    if let Some(io) = error.get_io() {
        return walk(io, phase);
    }
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() {
        // h2 fails a stream with the peer's GOAWAY only if the stream is above its last id, or
        // was never opened.
        return Some(match refused || error.is_go_away() {
            true => Kind::Unstarted,
            false => Kind::Reset,
        });
    }
    if error.is_library() {
        return Some(Kind::Malformed);
    }
    // A reset of our own: hyper makes one when the request's body fails.
    error.is_reset().then_some(Kind::RequestBody)
}

const fn of_io(kind: io::ErrorKind, phase: Phase) -> Option<Kind> {
    use io::ErrorKind as Io;
    // Only a connect gives this, so it is known without the phase.
    if matches!(kind, Io::ConnectionRefused) {
        return Some(Kind::ConnectRefused);
    }
    let kind = match phase {
        Phase::Connecting => match kind {
            // The last is hyper-util's word for a name without a usable address.
            Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown | Io::NotConnected => {
                Kind::Unreachable
            }
            Io::TimedOut => Kind::ConnectTimeout,
            _ => Kind::Connect,
        },
        Phase::Sending => match kind {
            Io::UnexpectedEof | Io::BrokenPipe | Io::NotConnected => Kind::Closed,
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown => Kind::Reset,
            Io::TimedOut => Kind::Timeout,
            Io::InvalidData | Io::InvalidInput => Kind::Malformed,
            _ => return None,
        },
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use std::{error::Error as StdError, fmt, io, time::Duration};

    use buttress_core::{Fault, Sent};
    use bytes::Bytes;
    use http::Uri;
    use http_body_util::Full;
    use hyper_util::{client::legacy, rt::TokioExecutor};

    use super::{super::Kind, connecting};

    #[derive(Debug)]
    struct Around(Box<dyn StdError + Send + Sync>);

    impl fmt::Display for Around {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an error of somebody's client")
        }
    }

    impl StdError for Around {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn an_io_error_means_less_after_a_connection_than_before() {
        use io::ErrorKind as Io;
        let rows = [
            (
                Io::ConnectionRefused,
                Kind::ConnectRefused,
                Kind::ConnectRefused,
            ),
            (Io::HostUnreachable, Kind::Unreachable, Kind::Reset),
            (Io::NetworkUnreachable, Kind::Unreachable, Kind::Reset),
            (Io::NetworkDown, Kind::Unreachable, Kind::Reset),
            (Io::NotConnected, Kind::Unreachable, Kind::Closed),
            (Io::TimedOut, Kind::ConnectTimeout, Kind::Timeout),
            (Io::ConnectionReset, Kind::Connect, Kind::Reset),
            (Io::ConnectionAborted, Kind::Connect, Kind::Reset),
            (Io::UnexpectedEof, Kind::Connect, Kind::Closed),
            (Io::BrokenPipe, Kind::Connect, Kind::Closed),
            (Io::InvalidData, Kind::Connect, Kind::Malformed),
            (Io::AddrNotAvailable, Kind::Connect, Kind::Other),
            (Io::Other, Kind::Connect, Kind::Other),
        ];
        for (io, before, after) in rows {
            let error = io::Error::from(io);
            assert_eq!(connecting(&error), before, "{io:?}");
            assert_eq!(Kind::of(&error), after, "{io:?}");
            assert_eq!(Kind::of_body(&error), after, "{io:?}");
            let nested = io::Error::other(Around(io::Error::new(io, "?").into()));
            assert_eq!(connecting(&nested), before, "{io:?}");
            assert_eq!(Kind::of(&nested), after, "{io:?}");
        }
    }

    #[test]
    fn a_name_is_known_below_other_errors() {
        let text = "failed to lookup address information: Name or service not known";
        let error = Around(Box::new(io::Error::other(text)));
        assert_eq!(connecting(&error), Kind::NoSuchName);
        assert_eq!(Kind::of(&error), Kind::NoSuchName);
    }

    #[test]
    fn what_nothing_is_known_of_is_unavailable_and_may_have_been_sent() {
        let error = Around("?".into());
        assert_eq!(Kind::of(&error), Kind::Other);
        assert_eq!(Kind::of_body(&error), Kind::Other);
        assert_eq!(connecting(&error), Kind::Connect);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_of_tokio_is_a_timeout() {
        let never = std::future::pending::<()>();
        let elapsed = tokio::time::timeout(Duration::from_secs(1), never).await;
        let elapsed = elapsed.unwrap_err();
        assert_eq!(Kind::of(&elapsed), Kind::Timeout);
        assert_eq!(connecting(&elapsed), Kind::ConnectTimeout);
    }

    #[tokio::test]
    async fn an_error_of_another_client_is_read_too() {
        let deaf = tokio::net::TcpSocket::new_v4().unwrap();
        deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", deaf.local_addr().unwrap());
        let client = legacy::Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let error = client.get(url.parse().unwrap()).await.unwrap_err();
        assert_eq!(Kind::of(&Around(error.into())), Kind::ConnectRefused);

        let name = format!("http://{}.invalid", "a".repeat(64));
        let error = client.get(name.parse().unwrap()).await.unwrap_err();
        // A box shows only what is below the error in it.
        let boxed: Box<dyn StdError + Send + Sync> = error.into();
        let kind = Kind::of(boxed.cause().unwrap());
        assert_eq!(kind.outcome().sent, Sent::No, "{kind:?} {boxed:?}");

        let error = client.get(Uri::from_static("/x")).await.unwrap_err();
        assert_eq!(Kind::of(&Around(error.into())), Kind::Request);
    }
}

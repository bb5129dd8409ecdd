use bytes::Bytes;
use http_body_util::{Either, Empty, Full};

/// A request body that can be sent more than once.
///
/// Bodies in memory are. A stream is not, unless it is kept while it is sent.
///
/// # Examples
///
/// A body of your own whose clones are cheap:
///
/// ```
/// use buttress_http::Replayable;
///
/// #[derive(Clone)]
/// struct Chat(std::sync::Arc<str>);
///
/// impl Replayable for Chat {
///     fn copy(&self) -> Option<Self> {
///         Some(self.clone())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the request body `{Self}` cannot be sent more than once",
    label = "this body is not `Replayable`",
    note = "read it into `Full<Bytes>` first, if it is small",
    note = "or say `.once()` on the protocol: `Http.once()` sends every request once"
)]
pub trait Replayable: Sized {
    /// A copy to send now, keeping the original. `None`: it cannot be copied.
    fn copy(&self) -> Option<Self>;

    /// Whether what was kept is still whole. `true` by default.
    fn whole(&self) -> bool {
        true
    }
}

macro_rules! by_clone {
    ($([$($g:tt)*] $body:ty;)*) => {$(
        impl<$($g)*> Replayable for $body {
            fn copy(&self) -> Option<Self> {
                Some(self.clone())
            }
        }
    )*};
}

by_clone! {
    [] ();
    [] Bytes;
    [] String;
    [] &'static str;
    [] &'static [u8];
    [D] Empty<D>;
    [D: Clone] Full<D>;
}

impl<L: Replayable, R: Replayable> Replayable for Either<L, R> {
    fn copy(&self) -> Option<Self> {
        match self {
            Self::Left(body) => body.copy().map(Self::Left),
            Self::Right(body) => body.copy().map(Self::Right),
        }
    }

    fn whole(&self) -> bool {
        match self {
            Self::Left(body) => body.whole(),
            Self::Right(body) => body.whole(),
        }
    }
}

use std::borrow::Cow;

use crate::{Cached, CallInfo, Completion, Outcome, Refused, Report, Trail};

/// How a layer reads a result.
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, Classify, Plain};
///
/// let ok: Result<&str, std::io::Error> = Ok("hello");
/// assert_eq!(Plain.classify(ok.as_ref()).class, Class::Success);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell what a result of `{Res}` or `{E}` means",
    label = "no class for this result",
    note = "with `Http`, the response must be tracked: put `TrackLayer` innermost, right around the client",
    note = "the error must be a `Fault`: implement it for an error type of your own crate, or put `BoxErrorLayer` of `buttress-http` innermost",
    note = "for a service whose work ends with its future, use `Plain`"
)]
pub trait Classify<Res, E> {
    /// What is known of the call now that its result is here. Of a response that goes on, such as
    /// a stream, [`Success`](crate::Class::Success) says: well so far.
    fn classify(&self, result: Result<&Res, &E>) -> Outcome;

    /// What a failed result says, in few words and free of secrets, for the evidence of attempts: a
    /// status, the reason of a refusal, the kind of an error. Never what somebody else wrote, such as
    /// the text of an unknown error or of a reply. `None` by default.
    fn describe(&self, result: Result<&Res, &E>) -> Option<Cow<'static, str>> {
        let _ = result;
        None
    }
}

/// How a layer follows a response to its end.
///
/// # Examples
///
/// With [`Plain`](crate::Plain), the end is now:
///
/// ```
/// use buttress_core::{Class, Completion, Outcome, Plain, Report, Track};
/// # struct Print;
/// # impl Report for Print {
/// #     fn report(&mut self, outcome: &Outcome) { assert_eq!(outcome.class, Class::Success); }
/// # }
/// Plain.track(&mut "hello", &Outcome::SUCCESS, Completion::new(Print));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot follow `{Res}` to its end",
    label = "the end of this response is not tracked",
    note = "with `Http`, put `TrackLayer` innermost, right around the client",
    note = "for a service whose work ends with its future, use `Plain`"
)]
pub trait Track<Res> {
    /// Sees to it that `completion` is done when the response has ended, failed or been dropped.
    /// `seen` is what [`Classify`] said of the response.
    fn track<R>(&self, response: &mut Res, seen: &Outcome, completion: Completion<R>)
    where
        R: Report + Send + 'static;

    /// Says on the response how many attempts it took, if there is a place for it. Does nothing by
    /// default.
    fn set_attempts(&self, response: &mut Res, attempts: u32) {
        let _ = (response, attempts);
    }

    /// Says on the response which endpoints were tried for it, if there is a place for it. Does
    /// nothing by default.
    fn set_trail(&self, response: &mut Res, trail: Trail) {
        let _ = (response, trail);
    }

    /// Says on the response how a cache was used for it, if there is a place for it. Does nothing by
    /// default.
    fn set_cached(&self, response: &mut Res, cached: Cached) {
        let _ = (response, cached);
    }

    /// A failed response is kept while another endpoint is tried, to be the answer if nothing else is:
    /// if all of it is there, its call is over, and whoever waits for that is told now. Does nothing by
    /// default.
    fn let_go(&self, response: &mut Res) {
        let _ = response;
    }
}

/// How a layer answers when it refuses.
///
/// # Examples
///
/// ```
/// use buttress_core::{Plain, Reason, Refuse, Refused};
///
/// let answer: Result<&str, Refused> = Plain.refuse(Refused::new(Reason::Limited));
/// assert_eq!(answer.unwrap_err().to_string(), "rate limited");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot refuse: the service's error `{E}` is not made from a `Refused`",
    label = "a refusal has no way to become `{E}`",
    note = "for an error type of your own crate: `impl From<Refused> for {E}`, and `impl Fault for {E}`",
    note = "for somebody else's error: put `BoxErrorLayer` of `buttress-http` innermost, under the layers (with `default-features = false`, that crate has no client)",
    note = "for a server whose error is `Infallible`: use `HttpServer`, which refuses with a response, and put `TrackLayer` innermost",
    note = "in axum, where each call of `Router::layer` boxes the body anew, put both into one: `.layer((this, TrackLayer::default()))`"
)]
pub trait Refuse<Res, E> {
    /// The refusal, as the caller of this service expects it.
    fn refuse(&self, refused: Refused) -> Result<Res, E>;
}

/// How a layer copies a request, to send it again.
///
/// # Examples
///
/// ```
/// use buttress_core::{Plain, ProtocolExt, Replay};
///
/// assert_eq!(Plain.copy(&"hello"), Some("hello"));
/// assert_eq!(Plain.once().copy(&"hello"), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot copy a `{Req}` to send it again",
    label = "this request cannot be sent twice",
    note = "`Plain` copies requests that are `Clone`; `Http` copies those whose body is `Replayable`",
    note = "to buffer a body up to a cap, put `ReplayLayer` outside",
    note = "to send such requests once and never again, say `.once()` on the protocol"
)]
pub trait Replay<Req> {
    /// A copy to send now, keeping the original. `None`: this one cannot be copied, send it once.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Whether what was kept is still whole: a body that is buffered while it is sent may have
    /// outgrown its cap. `true` by default.
    fn whole(&self, kept: &Req) -> bool {
        let _ = kept;
        true
    }

    /// Whether the request may be sent again though the first may have been acted on. `true` by
    /// default: the calls that this is for cost money twice, and change nothing.
    fn safe(&self, request: &Req) -> bool {
        let _ = request;
        true
    }
}

/// How a request carries its [`CallInfo`].
///
/// # Examples
///
/// [`Plain`](crate::Plain) carries nothing, unless it is told where:
///
/// ```
/// use buttress_core::{CallInfo, Carry, Plain, ProtocolExt};
///
/// struct Ask {
///     prompt: &'static str,
///     info: CallInfo,
/// }
///
/// let protocol = Plain.carry_with(|ask: &Ask| &ask.info, |ask: &mut Ask| &mut ask.info);
/// let mut ask = Ask { prompt: "hello", info: CallInfo::new() };
/// let mut second = protocol.info(&ask).clone();
/// second.attempt = 2;
/// protocol.set_info(&mut ask, second);
/// assert_eq!(ask.info.attempt, 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know where a `{Req}` carries its `CallInfo`",
    label = "no place for attempt, deadline and priority",
    note = "`Http` keeps it in the extensions of an `http::Request`; `Plain` keeps nothing, or asks `.carry_with(get, get_mut)`"
)]
pub trait Carry<Req> {
    /// What the request carries.
    fn info<'a>(&self, request: &'a Req) -> &'a CallInfo;

    /// Puts it there, if there is a place for it.
    fn set_info(&self, request: &mut Req, info: CallInfo);

    /// The request is now made for several callers: puts this there, and takes away what else says
    /// whose it was, such as the context of a trace. By default there is nothing else.
    fn set_common(&self, request: &mut Req, info: CallInfo) {
        self.set_info(request, info);
    }
}

/// How a response is shared among several callers: recorded as it passes, and read by each.
///
/// # Examples
///
/// ```
/// use buttress_core::{Outcome, Plain, Share};
///
/// let shared = Plain.share(String::from("hello"), &Outcome::SUCCESS);
/// let (one, other): (String, String) = (Plain.open(&shared), Plain.open(&shared));
/// assert_eq!(one, other);
/// assert_eq!(Share::<String>::ended(&Plain, &shared), Some(Outcome::SUCCESS));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot share a `{Res}` among several callers",
    label = "this response cannot be shared",
    note = "`Plain` shares responses that are `Clone`; `Http` shares tracked bodies: put `TrackLayer` innermost"
)]
pub trait Share<Res> {
    /// A response that several callers read.
    type Shared: Clone;

    /// Makes it so. `seen` is what [`Classify`] said of the response.
    fn share(&self, response: Res, seen: &Outcome) -> Self::Shared;

    /// One caller's copy, from the beginning.
    fn open(&self, shared: &Self::Shared) -> Res;

    /// How the response ended, if it has. Only a [`Success`](crate::Class::Success) may be kept.
    fn ended(&self, shared: &Self::Shared) -> Option<Outcome>;

    /// Whether another caller can still read it from the beginning: a recording may have outgrown
    /// its bound. `true` by default.
    fn reopens(&self, shared: &Self::Shared) -> bool {
        let _ = shared;
        true
    }

    /// Reads all of it for nobody, so that it ends, as far as it will without being cancelled. By
    /// default there is nothing to read.
    fn drain(&self, shared: &Self::Shared) -> impl Future<Output = ()> + Send + use<Self, Res> {
        let _ = shared;
        std::future::ready(())
    }

    /// About how many bytes of memory it takes. By default the size of its type, without what it
    /// points to.
    fn weight(&self, shared: &Self::Shared) -> usize {
        size_of_val(shared)
    }
}

/// Every tracking future's last line: classifies the result, and leaves the completion to the
/// response, or does it at once where there is none.
///
/// ```
/// use buttress_core::{Class, Completion, Outcome, Plain, Report, settle};
///
/// struct Expect(Class);
///
/// impl Report for Expect {
///     fn report(&mut self, outcome: &Outcome) {
///         assert_eq!(outcome.class, self.0);
///     }
/// }
///
/// let mut result: Result<&str, std::io::Error> = Ok("hello");
/// settle(&Plain, &mut result, Completion::new(Expect(Class::Success)));
/// ```
pub fn settle<P, Res, E, R>(
    protocol: &P,
    result: &mut Result<Res, E>,
    mut completion: Completion<R>,
) where
    P: Classify<Res, E> + Track<Res>,
    R: Report + Send + 'static,
{
    let outcome = protocol.classify(result.as_ref());
    match result {
        Ok(response) => protocol.track(response, &outcome, completion),
        Err(_) => completion.complete(&outcome),
    }
}

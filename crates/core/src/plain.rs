use std::{any::type_name, borrow::Cow, fmt};

use crate::{
    Cached, CallInfo, Carry, Classify, Completion, Fault, Outcome, Refuse, Refused, Replay, Report,
    Share, Track, Trail, outcome_of,
};

/// The protocol of services whose work ends with their future.
///
/// A response is a success, an error is what the [`Refused`] below it says or else
/// [`Unavailable`](crate::Class::Unavailable); calls end when their future does; refusals are
/// errors; requests and responses are copied by `Clone`; requests carry nothing.
///
/// # Examples
///
/// Some responses are failures, and some errors are worth another look:
///
/// ```
/// use buttress_core::{Class, Classify, Outcome, Plain, ProtocolExt};
///
/// let protocol = Plain.classify_with(|result: Result<&u16, &std::io::Error>| match result {
///     Ok(503) => Some(Outcome::new(Class::Unavailable)),
///     _ => None, // as Plain says
/// });
/// assert_eq!(protocol.classify(Ok(&503)).class, Class::Unavailable);
/// assert_eq!(protocol.classify(Ok(&200)).class, Class::Success);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

/// Changes of a protocol in one respect.
///
/// ```
/// use buttress_core::{Plain, ProtocolExt, Replay};
///
/// // Requests that cannot be copied are sent once:
/// struct Unique;
/// assert!(Plain.once().copy(&Unique).is_none());
/// ```
pub trait ProtocolExt: Sized {
    /// Asks `classify` first, for every result; where it answers `None`, this protocol decides.
    ///
    /// Where the error is a `BoxError` and the call is awaited in a task that is spawned, a closure that
    /// names it is not general enough for today's compiler ([rust-lang/rust#110338]): it knows
    /// `'static` alone. A function of `Result<&Res, &Box<dyn Error + Send + Sync + '_>>` is.
    ///
    /// [rust-lang/rust#110338]: https://github.com/rust-lang/rust/issues/110338
    fn classify_with<F>(self, classify: F) -> ClassifyWith<Self, F> {
        ClassifyWith {
            inner: self,
            classify,
        }
    }

    /// Never copies a request: each is sent once.
    fn once(self) -> Once<Self> {
        Once { inner: self }
    }

    /// Keeps the [`CallInfo`] of a request where these two say.
    fn carry_with<Req, F, M>(self, get: F, get_mut: M) -> CarryWith<Self, F, M>
    where
        F: Fn(&Req) -> &CallInfo,
        M: Fn(&mut Req) -> &mut CallInfo,
    {
        CarryWith {
            inner: self,
            get,
            get_mut,
        }
    }
}

/// A protocol that asks a function first: see [`ProtocolExt::classify_with`].
///
/// ```
/// use buttress_core::{Class, Classify, Outcome, Plain, ProtocolExt};
///
/// let empty = |result: Result<&String, &std::io::Error>| {
///     result.is_ok_and(|text| text.is_empty()).then(|| Outcome::new(Class::Unavailable))
/// };
/// let protocol = Plain.classify_with(empty);
/// assert!(protocol.classify(Ok(&String::new())).again());
/// ```
#[derive(Clone, Copy)]
pub struct ClassifyWith<P, F> {
    inner: P,
    classify: F,
}

/// A protocol that never copies a request: see [`ProtocolExt::once`].
///
/// ```
/// use buttress_core::{Plain, ProtocolExt, Replay};
///
/// assert!(Plain.once().copy(&"hello").is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Once<P> {
    inner: P,
}

/// A protocol that knows where a request keeps its [`CallInfo`]: see
/// [`ProtocolExt::carry_with`].
///
/// ```
/// use buttress_core::{CallInfo, Carry, Plain, ProtocolExt};
///
/// let protocol = Plain.carry_with(|info: &CallInfo| info, |info: &mut CallInfo| info);
/// assert_eq!(protocol.info(&CallInfo::new()).attempt, 1);
/// ```
#[derive(Clone, Copy)]
pub struct CarryWith<P, F, M> {
    inner: P,
    get: F,
    get_mut: M,
}

// ===== impl Plain =====

impl<Res, E: Fault> Classify<Res, E> for Plain {
    fn classify(&self, result: Result<&Res, &E>) -> Outcome {
        match result {
            Ok(_) => Outcome::SUCCESS,
            Err(error) => outcome_of(error),
        }
    }

    fn describe(&self, result: Result<&Res, &E>) -> Option<Cow<'static, str>> {
        let refused = result
            .err()
            .and_then(Fault::cause)
            .and_then(Refused::find)?;
        Some(refused.reason().as_str().into())
    }
}

impl<Res> Track<Res> for Plain {
    fn track<R>(&self, _: &mut Res, seen: &Outcome, mut completion: Completion<R>)
    where
        R: Report + Send + 'static,
    {
        completion.complete(seen);
    }
}

// So that the compiler names this word, and not `From`.
#[diagnostic::do_not_recommend]
impl<Res, E: From<Refused>> Refuse<Res, E> for Plain {
    fn refuse(&self, refused: Refused) -> Result<Res, E> {
        Err(E::from(refused))
    }
}

#[diagnostic::do_not_recommend]
impl<Req: Clone> Replay<Req> for Plain {
    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

impl<Req> Carry<Req> for Plain {
    fn info<'a>(&self, _: &'a Req) -> &'a CallInfo {
        CallInfo::absent()
    }

    fn set_info(&self, _: &mut Req, _: CallInfo) {}
}

#[diagnostic::do_not_recommend]
impl<Res: Clone> Share<Res> for Plain {
    type Shared = (Res, Outcome);

    fn share(&self, response: Res, seen: &Outcome) -> Self::Shared {
        (response, *seen)
    }

    fn open(&self, shared: &Self::Shared) -> Res {
        shared.0.clone()
    }

    fn ended(&self, shared: &Self::Shared) -> Option<Outcome> {
        Some(shared.1)
    }
}

// ===== impl ProtocolExt =====

impl<P> ProtocolExt for P {}

// Each change passes on every word but its own. A word's impl is the same for all of them.
macro_rules! pass_on {
    (classify: $([$($g:ident),*] $t:ty;)*) => {$(
        impl<$($g,)* Res, E> Classify<Res, E> for $t where P: Classify<Res, E> {
            fn classify(&self, result: Result<&Res, &E>) -> Outcome {
                self.inner.classify(result)
            }

            fn describe(&self, result: Result<&Res, &E>) -> Option<Cow<'static, str>> {
                self.inner.describe(result)
            }
        }
    )*};
    (replay: $([$($g:ident),*] $t:ty;)*) => {$(
        impl<$($g,)* Req> Replay<Req> for $t where P: Replay<Req> {
            fn copy(&self, request: &Req) -> Option<Req> {
                self.inner.copy(request)
            }

            fn whole(&self, kept: &Req) -> bool {
                self.inner.whole(kept)
            }

            fn safe(&self, request: &Req) -> bool {
                self.inner.safe(request)
            }
        }
    )*};
    (carry: $([$($g:ident),*] $t:ty;)*) => {$(
        impl<$($g,)* Req> Carry<Req> for $t where P: Carry<Req> {
            fn info<'a>(&self, request: &'a Req) -> &'a CallInfo {
                self.inner.info(request)
            }

            fn set_info(&self, request: &mut Req, info: CallInfo) {
                self.inner.set_info(request, info);
            }

            fn set_common(&self, request: &mut Req, info: CallInfo) {
                self.inner.set_common(request, info);
            }
        }
    )*};
    (rest: $([$($g:ident),*] $t:ty;)*) => {$(
        impl<$($g,)* Res> Track<Res> for $t where P: Track<Res> {
            fn track<R>(&self, response: &mut Res, seen: &Outcome, completion: Completion<R>)
            where
                R: Report + Send + 'static,
            {
                self.inner.track(response, seen, completion);
            }

            fn set_attempts(&self, response: &mut Res, attempts: u32) {
                self.inner.set_attempts(response, attempts);
            }

            fn set_trail(&self, response: &mut Res, trail: Trail) {
                self.inner.set_trail(response, trail);
            }

            fn set_cached(&self, response: &mut Res, cached: Cached) {
                self.inner.set_cached(response, cached);
            }

            fn let_go(&self, response: &mut Res) {
                self.inner.let_go(response);
            }
        }

        impl<$($g,)* Res, E> Refuse<Res, E> for $t where P: Refuse<Res, E> {
            fn refuse(&self, refused: Refused) -> Result<Res, E> {
                self.inner.refuse(refused)
            }
        }

        impl<$($g,)* Res> Share<Res> for $t where P: Share<Res> {
            type Shared = P::Shared;

            fn share(&self, response: Res, seen: &Outcome) -> Self::Shared {
                self.inner.share(response, seen)
            }

            fn open(&self, shared: &Self::Shared) -> Res {
                self.inner.open(shared)
            }

            fn ended(&self, shared: &Self::Shared) -> Option<Outcome> {
                self.inner.ended(shared)
            }

            fn reopens(&self, shared: &Self::Shared) -> bool {
                self.inner.reopens(shared)
            }

            fn drain(
                &self,
                shared: &Self::Shared,
            ) -> impl Future<Output = ()> + Send + use<$($g,)* Res> {
                self.inner.drain(shared)
            }

            fn weight(&self, shared: &Self::Shared) -> usize {
                self.inner.weight(shared)
            }
        }
    )*};
}

pass_on!(classify: [P] Once<P>; [P, F, M] CarryWith<P, F, M>;);
pass_on!(replay: [P, F] ClassifyWith<P, F>; [P, F, M] CarryWith<P, F, M>;);
pass_on!(carry: [P, F] ClassifyWith<P, F>; [P] Once<P>;);
pass_on!(rest: [P, F] ClassifyWith<P, F>; [P] Once<P>; [P, F, M] CarryWith<P, F, M>;);

// ===== impl ClassifyWith =====

impl<P, F, Res, E> Classify<Res, E> for ClassifyWith<P, F>
where
    P: Classify<Res, E>,
    F: Fn(Result<&Res, &E>) -> Option<Outcome>,
{
    fn classify(&self, result: Result<&Res, &E>) -> Outcome {
        (self.classify)(result).unwrap_or_else(|| self.inner.classify(result))
    }

    fn describe(&self, result: Result<&Res, &E>) -> Option<Cow<'static, str>> {
        self.inner.describe(result)
    }
}

impl<P: fmt::Debug, F> fmt::Debug for ClassifyWith<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classify = format_args!("{}", type_name::<F>());
        f.debug_struct("ClassifyWith")
            .field("inner", &self.inner)
            .field("classify", &classify)
            .finish()
    }
}

// ===== impl Once =====

impl<P, Req> Replay<Req> for Once<P> {
    fn copy(&self, _: &Req) -> Option<Req> {
        None
    }
}

// ===== impl CarryWith =====

impl<P, F, M, Req> Carry<Req> for CarryWith<P, F, M>
where
    F: Fn(&Req) -> &CallInfo,
    M: Fn(&mut Req) -> &mut CallInfo,
{
    fn info<'a>(&self, request: &'a Req) -> &'a CallInfo {
        (self.get)(request)
    }

    fn set_info(&self, request: &mut Req, info: CallInfo) {
        *(self.get_mut)(request) = info;
    }
}

impl<P: fmt::Debug, F, M> fmt::Debug for CarryWith<P, F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarryWith")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

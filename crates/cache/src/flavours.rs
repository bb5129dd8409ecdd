use buttress_core::Cached;

/// How each caller wants its reply delivered, where one recording serves several.
///
/// Callers who ask the same may want it differently: one as a stream, the other in one piece. If
/// the key is the same for both, the upstream is called once, for whichever came first, and each
/// gets what it wanted by this. If the replies cannot be made of each other, the keys have to
/// differ. It is also the place to slow the replay of a stream down.
///
/// The default, [`AsIs`], delivers what is there.
///
/// # Examples
///
/// ```
/// use buttress_cache::Flavours;
/// use buttress_core::Cached;
///
/// struct Ask { prompt: &'static str, loud: bool }
///
/// /// Some want it loud.
/// struct Loudness;
///
/// impl Flavours<Ask, String> for Loudness {
///     type Wanted = bool;
///
///     fn wanted(&self, ask: &Ask) -> bool {
///         ask.loud
///     }
///
///     fn deliver(&self, response: String, loud: bool, _: Cached) -> String {
///         if loud { response.to_uppercase() } else { response }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how a `{Req}` wants its `{Res}`",
    label = "not the flavours of this request and response"
)]
pub trait Flavours<Req, Res> {
    /// What one caller wanted.
    type Wanted;

    /// What this one wants. Asked once a call, before the cache is looked at.
    fn wanted(&self, request: &Req) -> Self::Wanted;

    /// Makes one caller's copy what that caller wanted. `cached` says where it comes from. Not asked
    /// where the cache was left out.
    fn deliver(&self, response: Res, wanted: Self::Wanted, cached: Cached) -> Res;
}

/// Everybody gets the reply as it is recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsIs;

// ===== impl AsIs =====

impl<Req, Res> Flavours<Req, Res> for AsIs {
    type Wanted = ();

    fn wanted(&self, _: &Req) {}

    fn deliver(&self, response: Res, (): (), _: Cached) -> Res {
        response
    }
}

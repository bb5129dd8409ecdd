use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Class, Completion, Fault, Outcome, Progress, Refused, Report};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    BoxError, Link, Meter,
    peek::Held,
    tail::{End, Tail},
};

pin_project! {
    /// The one body of every stack: it knows how its call went, and tells whoever asked to know.
    ///
    /// [`TrackLayer`](crate::TrackLayer) makes it of the client's body, once, innermost. Layers
    /// outside do not wrap it: they [attach](Tracked::attach) a completion, in place, and its type
    /// stays the same from one end of a stack to the other. It reports to them, inner ones first,
    /// when it has come to its end, failed or been dropped, and after the body inside is gone.
    ///
    /// A stream that breaks off after its terminator has come to its end: nothing of it is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// use buttress_core::Class;
    /// use buttress_http::{Body, Tracked};
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    ///
    /// let body: Body<Full<Bytes>> = Body::ready("hello");
    /// assert_eq!(body.seen().class, Class::Success);
    /// ```
    #[project = BodyProj]
    pub struct Body<B: http_body::Body> {
        // Declared first, so that it is gone when the tail reports.
        #[pin]
        content: Content<B>,
        tail: Tail,
    }
}

/// A response body that a completion can be attached to.
///
/// [`Body`] is one. Layers ask for it through [`Http`](crate::Http).
///
/// ```
/// use buttress_core::{Class, Completion, Outcome, Report};
/// use buttress_http::{Body, Tracked};
/// use bytes::Bytes;
/// use http_body_util::Full;
///
/// struct Print;
///
/// impl Report for Print {
///     fn report(&mut self, outcome: &Outcome) {
///         println!("{}", outcome.class);
///     }
/// }
///
/// let mut body: Body<Full<Bytes>> = Body::new(Full::from("hello"));
/// body.attach(Completion::new(Print));
/// drop(body); // prints "cancelled": nobody read it
/// ```
#[diagnostic::on_unimplemented(
    message = "the response body `{Self}` is not tracked",
    label = "nobody can tell when this body ends",
    note = "put `TrackLayer` innermost, right around the client: it makes every body a tracked `buttress_http::Body`",
    note = "in axum, where each call of `Router::layer` boxes the body anew, put both into one: `.layer((this, TrackLayer::default()))`"
)]
pub trait Tracked {
    /// Does `completion` when this body is over; at once, if it is over already.
    fn attach<R: Report + Send + 'static>(&mut self, completion: Completion<R>);

    /// What is known of the call so far. [`Success`](buttress_core::Class::Success) says: well so
    /// far.
    fn seen(&self) -> Outcome;

    /// If all of the body was read while the response was held back, the call is over, though nothing of
    /// it was delivered yet: what is attached is done now. Does nothing by default.
    fn let_go(&mut self) {}

    /// Says in the server's place that the same endpoint may be asked again, and at once: the next
    /// attempt will not be made with what this one failed for, such as its credential. It changes
    /// that answer and the hint alone, here and in what is reported in the end; class and health
    /// stay.
    fn retry_at_once(&mut self);
}

/// Why a [`Body`] broke off.
///
/// ```
/// use buttress_core::{Reason, Refused};
/// use buttress_http::BodyError;
///
/// let error: BodyError<std::io::Error> = Refused::new(Reason::IdleTimeout).into();
/// assert_eq!(Refused::find(&error).unwrap().reason(), Reason::IdleTimeout);
/// ```
///
/// It is an [`Error`] where the inner one is. A body whose error is a box should be given one
/// that is not, innermost: `body.map_err(BodyError::<Infallible>::Layer)`.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError<E> {
    /// The body inside failed.
    Inner(E),
    /// A layer cut it short.
    Refused(Refused),
    /// A layer that made another stream of it failed.
    Layer(BoxError),
    /// It ended cleanly, and without its terminator, where that is
    /// [no end](crate::TrackLayer::break_unfinished).
    Unfinished,
}

pin_project! {
    #[project = ContentProj]
    #[project_replace = ContentOwned]
    enum Content<B: http_body::Body> {
        Live { #[pin] body: B },
        // What peek has read, and how it goes on.
        Held { held: Pin<Box<Held<B>>> },
        Ready { data: Bytes },
        Boxed { body: BoxBody<B::Error> },
        // It has ended, and is still to break off.
        Unfinished,
        Gone,
    }
}

type BoxBody<E> = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError<E>> + Send>>;

// ===== impl Body =====

impl<B> Body<B>
where
    B: http_body::Body<Data = Bytes>,
{
    /// Tracks `body`, of a call that went well so far, and whose clean end is its success.
    pub fn new(body: B) -> Self {
        Self::judged(body, Outcome::SUCCESS, None, false)
    }

    /// A body that is whole already, and a success.
    pub fn ready(data: impl Into<Bytes>) -> Self {
        Self::ended(data, Outcome::SUCCESS)
    }

    /// A body that is whole already, of a call that ended with `outcome`. What is attached to it
    /// is done at once.
    pub fn ended(data: impl Into<Bytes>, outcome: Outcome) -> Self {
        let data = data.into();
        let content = if data.is_empty() {
            Content::Gone
        } else {
            Content::Ready { data }
        };
        Self {
            content,
            tail: Tail::over(outcome),
        }
    }

    /// Makes another stream of this one, such as another dialect's, without changing its type.
    ///
    /// What was attached so far stays inside, with this body. What is attached later follows the
    /// new stream, and is told the outcome and the progress of the one inside, unless the new one
    /// fails by itself. Of a body that was read to its end before, the content comes with the first frame
    /// of the new one.
    ///
    /// A stream that goes on with a second body where this one broke off has the [`Link`] follow
    /// that one: what is attached later is told how the last body went.
    #[must_use]
    pub fn convert<T>(mut self, make: impl FnOnce(Self, Link) -> T) -> Self
    where
        T: http_body::Body<Data = Bytes, Error = BodyError<B::Error>> + Send + 'static,
    {
        let (seen, link) = (self.seen(), Link::default());
        link.follow(&mut self);
        // Whoever made it whole first has read what the new stream is still to deliver.
        if self.content.is_end_stream() && self.tail.had_content() {
            link.pass(Progress::Content);
        }
        let body = make(self, link.clone());
        Self::linked(seen, link, body)
    }

    /// Another stream, not made of a body of this type, that tells by the link what it knows.
    pub(crate) fn linked<T>(seen: Outcome, link: Link, stream: T) -> Self
    where
        T: http_body::Body<Data = Bytes, Error = BodyError<B::Error>> + Send + 'static,
    {
        Self {
            content: Content::Boxed {
                body: Box::pin(stream),
            },
            tail: Tail::linked(seen, link),
        }
        .settled()
    }

    /// How the call went, by the word of the reply itself, once that was delivered.
    pub(crate) fn told(&self) -> Option<Outcome> {
        match &self.content {
            Content::Held { held } if !held.is_drained() => None,
            _ => self.tail.told(),
        }
    }

    /// What would be reported if it was dropped now.
    pub(crate) fn if_dropped(&self) -> Outcome {
        self.tail.if_dropped()
    }

    pub(crate) fn judged(
        body: B,
        seen: Outcome,
        meter: Option<Box<dyn Meter>>,
        strict: bool,
    ) -> Self {
        let tail = Tail::new(seen, meter).of(&body.size_hint(), strict);
        Self {
            content: Content::Live { body },
            tail,
        }
        .settled()
    }

    /// After peek.
    pub(crate) fn held(held: Pin<Box<Held<B>>>, tail: Tail) -> Self {
        Self {
            content: Content::Held { held },
            tail,
        }
        .settled()
    }

    // A body without content is over before anybody polls it.
    fn settled(mut self) -> Self {
        if self.content.is_end_stream() {
            self.content = Content::Gone;
            self.tail.end(&End::Clean);
        }
        self
    }
}

impl<B> BodyProj<'_, B>
where
    B: http_body::Body<Data = Bytes>,
{
    // Many consumers ask this after a frame, and then never poll for the end.
    fn ends_here(&mut self) {
        if self.content.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.content.set(Content::Gone);
        self.tail.end(&End::Clean);
        if self.tail.take_unfinished() {
            self.content.set(Content::Unfinished);
        }
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        if let ContentProj::Held { held } = this.content.as_mut().project()
            && let Some((data, progress)) = held.as_mut().next()
        {
            this.tail.tell(progress);
            this.ends_here();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let cut = match this.content.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.tail.delivers(&frame);
                this.ends_here();
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                this.end();
                match *this.content {
                    Content::Unfinished => BodyError::Unfinished,
                    _ => return Poll::Ready(None),
                }
            }
            Poll::Ready(Some(Err(error))) => error,
            Poll::Pending => BodyError::Refused(ready!(this.tail.poll_cut(cx))),
        };
        this.content.set(Content::Gone);
        let outcome = match &cut {
            BodyError::Refused(refused) => refused.outcome(),
            _ => Outcome::new(Class::Unavailable),
        };
        this.tail.end(&End::Broken(outcome));
        if this.tail.is_whole() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Err(cut)))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<B> Tracked for Body<B>
where
    B: http_body::Body<Data = Bytes>,
{
    fn attach<R: Report + Send + 'static>(&mut self, completion: Completion<R>) {
        self.tail.attach(completion);
    }

    fn seen(&self) -> Outcome {
        self.tail.seen()
    }

    fn let_go(&mut self) {
        if let Content::Held { held } = &self.content
            && held.is_read()
        {
            // How it ended, peek has said.
            self.tail.end(&End::Clean);
        }
    }

    fn retry_at_once(&mut self) {
        self.tail.retry_at_once();
    }
}

impl<B: http_body::Body> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match self.content {
            Content::Live { .. } => "live",
            Content::Held { .. } => "held",
            Content::Ready { .. } => "ready",
            Content::Boxed { .. } => "boxed",
            Content::Unfinished => "unfinished",
            Content::Gone => "gone",
        };
        f.debug_struct("Body")
            .field("content", &format_args!("{content}"))
            .field("tail", &self.tail)
            .finish()
    }
}

// ===== impl Content =====

impl<B> http_body::Body for Content<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.as_mut().project() {
            ContentProj::Live { body } => body.poll_frame(cx).map_err(BodyError::Inner),
            ContentProj::Held { held } => held.as_mut().poll_frame(cx),
            ContentProj::Ready { data } => {
                let data = std::mem::take(data);
                self.set(Self::Gone);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            ContentProj::Boxed { body } => body.as_mut().poll_frame(cx),
            ContentProj::Unfinished => Poll::Ready(Some(Err(BodyError::Unfinished))),
            ContentProj::Gone => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Live { body } => body.is_end_stream(),
            Self::Held { held } => held.is_end_stream(),
            Self::Ready { .. } => false,
            Self::Boxed { body } => body.is_end_stream(),
            Self::Unfinished => false,
            Self::Gone => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Live { body } => body.size_hint(),
            Self::Held { held } => held.size_hint(),
            Self::Ready { data } => SizeHint::with_exact(data.len() as u64),
            Self::Boxed { body } => body.size_hint(),
            Self::Unfinished => SizeHint::new(),
            Self::Gone => SizeHint::with_exact(0),
        }
    }
}

// ===== impl BodyError =====

impl<E> fmt::Display for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner(_) => "the response body failed",
            Self::Refused(_) => "the response body was cut short",
            Self::Layer(_) => "the response body could not be made into another",
            Self::Unfinished => "the response body ended without its terminator",
        })
    }
}

impl<E: Error + 'static> Error for BodyError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Refused(refused) => Some(refused),
            Self::Layer(error) => Some(&**error),
            Self::Unfinished => None,
        }
    }
}

impl<E: Error + 'static> Fault for BodyError<E> {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        self.source()
    }
}

impl<E> From<Refused> for BodyError<E> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

mod bill;
mod codec;
mod reader;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use buttress_core::{Class, Outcome, Progress, Share};
use bytes::Bytes;
use http::{
    Response,
    header::{CONTENT_LENGTH, SET_COOKIE},
    response::Parts,
};
use http_body_util::BodyExt as _;

use self::{bill::Bill, codec::Reply, reader::Reader};
use crate::{Body, GrpcServer, Http, HttpServer, IdempotentHttp, Link, Tracked, tape::Tape};

/// A response that several callers read: what [`Http`] makes of one by [`Share`].
///
/// Its body is recorded as it passes, up to [`MAX_BYTES`](Shared::MAX_BYTES). Each
/// [`open`](Share::open) gives a response with the same head, whose body begins at the beginning
/// and then goes on live. No reader is in charge: whichever comes to the end of the recording
/// polls the body inside, and all are woken. One that reads slowly holds nobody back.
///
/// It has no `Set-Cookie`: a cookie is one client's, and a reader may be anybody. Nor has what broke
/// off, for those who begin after that, the `Content-Length` that did not come.
///
/// # How it ends
///
/// - Each reader's layers hear of the progress as *its* chunks are delivered, and of the outcome
///   when *it* has come to the end. The tokens are paid for once: the first reader to come to the
///   end reports usage and cost as they are, every other one the same usage
///   [unbilled](buttress_core::Usage::unbilled), at no cost.
/// - A reader that is dropped before the end reports [`Cancelled`](Class::Cancelled), unless the
///   reply's terminator had been delivered to it. If it was the only one left, it reports what
///   the call had used so far, and pays for that.
/// - When the body fails, the reader that polled it gets the error, and the others a
///   [refusal](buttress_core::Refused) for [`Coalesced`] with the failure's class and hint.
/// - When all readers and all handles are gone, so is the body, and the call is cancelled. Until
///   then a handle keeps it, so that another reader may begin.
///
/// # When it is larger than the cap
///
/// Nobody can begin any more: a later reader ends at once with a refusal for [`Coalesced`], and
/// [`ended`](Share::ended) never says that it may be kept. Those that read already go on; what all
/// of them have read is let go. A reader that falls further behind than the cap ends with a
/// refusal of class [`Interrupted`](Class::Interrupted). Since a handle is of no use any more, the
/// last reader that leaves closes it: the body is gone and the call cancelled, whatever handles
/// there are. The same goes for a body that says beforehand that it is larger.
///
/// [`Coalesced`]: buttress_core::Reason::Coalesced
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, Classify, Share};
/// use buttress_http::{Body, BodyError, Http};
/// use bytes::Bytes;
/// use http::Response;
/// use http_body_util::{BodyExt, Full};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BodyError<std::convert::Infallible>> {
/// let response = Response::new(Body::new(Full::<Bytes>::from("hello")));
/// let seen = Http.classify(Ok::<_, &std::io::Error>(&response));
/// let shared = Http.share(response, &seen);
///
/// let (one, other) = (Http.open(&shared), Http.open(&shared));
/// assert_eq!(one.into_body().collect().await?.to_bytes(), "hello");
/// assert_eq!(other.into_body().collect().await?.to_bytes(), "hello");
/// assert_eq!(Http.ended(&shared).unwrap().class, Class::Success);
/// # Ok(())
/// # }
/// ```
pub struct Shared<B>
where
    B: http_body::Body<Data = Bytes>,
{
    call: Arc<Call<B>>,
}

struct Call<B>
where
    B: http_body::Body<Data = Bytes>,
{
    head: Parts,
    // As the body saw it, and as the layer did that shares it.
    seen: Outcome,
    judged: Outcome,
    tape: Tape<Body<B>, Mark>,
    link: Link,
    // Content has passed.
    begun: AtomicBool,
    // How the call went, by the reply's own word, before its body was over.
    told: OnceLock<Outcome>,
    bill: Mutex<Bill>,
}

/// What is noted beside each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    progress: Option<Progress>,
    told: bool,
}

// ===== impl Shared =====

impl<B> Shared<B>
where
    B: http_body::Body<Data = Bytes>,
{
    /// How much of a body is recorded: 8 MiB. Chat streams take some 250 bytes a token, so that is
    /// a reply of 30 000 tokens.
    pub const MAX_BYTES: usize = 8 << 20;

    /// The whole reply as bytes, for a store that others read as well: see
    /// [`decode`](Shared::decode). `None` for what is not over, has not ended
    /// [well](Class::Success), or is more than what was recorded of it.
    ///
    /// It holds the status, the headers, each frame of the body as it came, with whether it is
    /// content and whether the reply has told its end by then, the trailers, and of the outcome the
    /// usage, the cost and why the model stopped. It holds neither the version of HTTP, nor
    /// [extensions](http::Extensions), which only this process understands, nor hints when to come
    /// again, nor headers that are one connection's alone
    /// ([RFC 9111, section 3.1](https://www.rfc-editor.org/rfc/rfc9111#section-3.1)), nor
    /// `Set-Cookie`, which is one client's. Headers or trailers beyond 256 KiB or 4096 lines: `None`.
    ///
    /// The format carries a version, and may change with that of this crate: what another version
    /// has written is not decoded. It carries no checksum.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let call = &self.call;
        let outcome = call
            .ended()
            .filter(|outcome| outcome.class == Class::Success && call.reopens())?;
        let (frames, sized) = call.tape.recorded()?;
        let reply = Reply {
            status: call.head.status,
            headers: call.head().headers,
            outcome,
            frames,
            sized,
        };
        reply.encode()
    }

    /// The reply that [`encode`](Shared::encode) made these bytes of. `None` if it cannot have:
    /// whatever they are, nothing panics, and nothing larger is made of them than a recording may
    /// be.
    ///
    /// It is over. A stream is read as a stream, frame by frame as it came. Whoever made the call
    /// has paid for it: every reader reports the usage [unbilled](buttress_core::Usage::unbilled),
    /// at no cost.
    ///
    /// ```
    /// use buttress_core::{Class, Share};
    /// use buttress_http::{Body, Http, Shared};
    /// use bytes::Bytes;
    /// use http::Response;
    /// use http_body_util::{BodyExt, Full};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let response = Response::new(Body::<Full<Bytes>>::ready("hello"));
    /// let shared = Http.share(response, &buttress_core::Outcome::SUCCESS);
    /// assert!(shared.encode().is_none(), "nobody has read it yet");
    /// Http.drain(&shared).await;
    /// let bytes = shared.encode().unwrap();
    ///
    /// let there = Shared::<Full<Bytes>>::decode(&bytes).unwrap();
    /// let body = Http.open(&there).into_body();
    /// assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    /// assert_eq!(Http.ended(&there).unwrap().class, Class::Success);
    /// assert!(Shared::<Full<Bytes>>::decode(&bytes[1..]).is_none());
    /// # }
    /// ```
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let reply = Reply::decode(bytes, Self::MAX_BYTES)?;
        let (mut head, ()) = Response::new(()).into_parts();
        (head.status, head.headers) = (reply.status, reply.headers);
        let told = reply.frames.iter().any(|(_, mark)| mark.told);
        let link = Link::default();
        link.tell(&reply.outcome);
        Some(Self {
            call: Arc::new(Call {
                head,
                seen: Outcome::SUCCESS,
                judged: Outcome::SUCCESS,
                tape: Tape::of(reply.frames, reply.sized, Self::MAX_BYTES)?,
                link,
                begun: AtomicBool::new(true),
                told: match told {
                    true => OnceLock::from(reply.outcome),
                    false => OnceLock::new(),
                },
                bill: Mutex::new(Bill::paid()),
            }),
        })
    }

    fn new(response: Response<Body<B>>, judged: Outcome) -> Self {
        let (mut head, mut body) = response.into_parts();
        head.headers.remove(SET_COOKIE);
        let (mut seen, link) = (body.seen(), Link::default());
        // What a peeked reply has told of by now is on the bill, and there once.
        (seen.usage, seen.cost) = (None, None);
        link.follow(&mut body);
        Self {
            call: Arc::new(Call {
                head,
                seen,
                judged,
                tape: Tape::new(body, Self::MAX_BYTES),
                link,
                begun: AtomicBool::new(false),
                told: OnceLock::new(),
                bill: Mutex::new(Bill::new()),
            }),
        }
    }

    fn open(&self) -> Response<Body<B>>
    where
        B: Send + 'static,
        B::Error: Send,
    {
        let (call, link) = (&self.call, Link::default());
        let reader = Reader::new(call, link.clone());
        Response::from_parts(call.head(), Body::linked(call.seen, link, reader))
    }
}

impl<B> Clone for Shared<B>
where
    B: http_body::Body<Data = Bytes>,
{
    fn clone(&self) -> Self {
        Self {
            call: self.call.clone(),
        }
    }
}

impl<B> fmt::Debug for Shared<B>
where
    B: http_body::Body<Data = Bytes>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("status", &self.call.head.status)
            .field("whole", &self.call.tape.is_whole())
            .field("over", &self.call.tape.is_over())
            .finish_non_exhaustive()
    }
}

macro_rules! shares {
    ($($protocol:ty),*) => {$(
        impl<B> Share<Response<Body<B>>> for $protocol
        where
            B: http_body::Body<Data = Bytes> + Send + 'static,
            B::Error: Send,
        {
            type Shared = Shared<B>;

            fn share(&self, response: Response<Body<B>>, seen: &Outcome) -> Shared<B> {
                Shared::new(response, *seen)
            }

            fn open(&self, shared: &Shared<B>) -> Response<Body<B>> {
                shared.open()
            }

            fn ended(&self, shared: &Shared<B>) -> Option<Outcome> {
                shared.call.ended()
            }

            fn reopens(&self, shared: &Shared<B>) -> bool {
                shared.call.reopens()
            }

            fn drain(
                &self,
                shared: &Shared<B>,
            ) -> impl Future<Output = ()> + Send + use<B> {
                let (call, mut body) = (shared.call.clone(), Box::pin(shared.open().into_body()));
                async move {
                    // What has outgrown the cap is of no use to anybody.
                    while call.tape.is_whole() && matches!(body.frame().await, Some(Ok(_))) {}
                }
            }

            fn weight(&self, shared: &Shared<B>) -> usize {
                shared.call.weight()
            }
        }
    )*};
}

shares!(Http, IdempotentHttp, HttpServer, GrpcServer);

// ===== impl Call =====

impl<B> Call<B>
where
    B: http_body::Body<Data = Bytes>,
{
    /// The head for whoever begins now.
    fn head(&self) -> Parts {
        let mut head = self.head.clone();
        if self.tape.has_failed() {
            // It promised more than came, and no more will come.
            head.headers.remove(CONTENT_LENGTH);
        }
        head
    }

    /// How the call ended, once the tape is over.
    fn outcome(&self) -> Outcome {
        match self.link.outcome() {
            // Nobody cancelled it: it panicked.
            Some(outcome) if outcome.class == Class::Cancelled && self.tape.has_failed() => outcome
                .with_class(match self.begun.load(Ordering::Relaxed) {
                    true => Class::Interrupted,
                    false => Class::Unavailable,
                }),
            Some(outcome) => outcome,
            None => Outcome::new(Class::Cancelled),
        }
    }

    /// The same, as the layer sees it that asks whether to keep it.
    fn ended(&self) -> Option<Outcome> {
        if !self.tape.is_over() {
            return None;
        }
        let outcome = self.outcome();
        let class = match (self.judged.failed(), outcome.class) {
            (true, _) => self.judged.class,
            // What cannot be read from the beginning is no reply.
            (false, Class::Success) if !self.tape.is_whole() => Class::Interrupted,
            (false, class) => class,
        };
        Some(outcome.with_class(class).or(&self.judged))
    }

    /// Whether somebody can still begin, and get all of it. What broke off after its terminator is
    /// whole; a failed response that broke off is not.
    fn reopens(&self) -> bool {
        self.tape.is_whole() && !(self.judged.failed() && self.tape.has_failed())
    }

    /// The recording: its body, its head, and what is noted beside each chunk.
    fn weight(&self) -> usize {
        let headers = &self.head.headers;
        let head: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        size_of::<Self>() + head + self.tape.weight()
    }

    fn bill(&self) -> MutexGuard<'_, Bill> {
        self.bill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source has delivered something.
    fn mark(&self, source: &Body<B>) -> Mark {
        let progress = self.link.take();
        if progress.is_some_and(Progress::is_content) {
            self.begun.store(true, Ordering::Relaxed);
        }
        if self.told.get().is_none()
            && let Some(outcome) = source.told()
        {
            // Only one reader polls at a time.
            let _ = self.told.set(outcome);
        }
        Mark {
            progress,
            told: self.told.get().is_some(),
        }
    }

    /// A reader goes before it has come to the end. What it has to report, if anything.
    fn left(&self, told: bool) -> Option<Outcome> {
        let told = self.told.get().filter(|_| told);
        let mut bill = self.bill();
        bill.readers -= 1;
        let (alone, paid) = (bill.readers == 0, bill.is_paid());
        let over = told.is_some_and(|told| !told.failed());
        // Nothing is missing, or nobody can ever read it again. It is closed before anybody else
        // can begin.
        let closed = (alone && (over || !self.tape.is_whole()))
            .then(|| self.tape.close())
            .flatten();
        drop(bill);
        drop(closed);
        if let Some(told) = told {
            let outcome = self.link.outcome().unwrap_or(*told);
            return Some(self.bill().pay(outcome));
        }
        if !alone || paid {
            return None;
        }
        let used = self.tape.source(Body::if_dropped);
        let used = used.or_else(|| self.link.outcome())?;
        let outcome = match used.class {
            Class::Success => used.with_class(Class::Cancelled),
            _ => used,
        };
        Some(self.bill().pay_part(outcome))
    }
}

//! The body of a request, read whole: bounded in bytes and in time.

use std::{future::poll_fn, pin::pin, task::Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::config::Limits;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BodyFault {
    /// It is longer than the limit.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// The connection broke, or it was not framed as HTTP frames a body.
    Broken,
}

/// Reads it. A body that came in one piece is not copied.
///
/// One that is too large is refused as soon as that is known, by its declared length or by what came
/// of it: the rest is not waited for.
pub(crate) async fn read<B>(mut body: B, limits: &Limits) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > limits.body {
        return Err(BodyFault::TooLarge);
    }
    let whole = async {
        let Some(first) = data(&mut body).await? else {
            return Ok(Bytes::new());
        };
        if body.is_end_stream() && first.len() <= limits.body {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(told.max(first.len()));
        let mut next = Some(first);
        while let Some(part) = next {
            if part.len() > limits.body - whole.len() {
                return Err(BodyFault::TooLarge);
            }
            whole.extend_from_slice(&part);
            next = data(&mut body).await?;
        }
        Ok(whole.freeze())
    };
    let mut whole = pin!(whole);
    // Most come with the head, and need no clock.
    if let Poll::Ready(here) = poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        return here;
    }
    timeout(limits.read, whole)
        .await
        .unwrap_or(Err(BodyFault::TooSlow))
}

/// The next part that holds data; trailers are of no interest.
async fn data<B>(body: &mut B) -> Result<Option<Bytes>, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyFault::Broken)?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use bytes::Bytes;
    use http_body::{Body, Frame};
    use http_body_util::{BodyExt, Full};

    use super::{BodyFault, read};
    use crate::config::Limits;

    /// Parts of a body without a known length; `None` is a part that never comes.
    struct Parts(Vec<Option<Result<Frame<Bytes>, ()>>>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            match self.0.first() {
                None => Poll::Ready(None),
                Some(None) => Poll::Pending,
                Some(Some(_)) => Poll::Ready(self.0.remove(0)),
            }
        }
    }

    fn part(text: &'static str) -> Option<Result<Frame<Bytes>, ()>> {
        Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
    }

    async fn read_within(
        limit: usize,
        body: impl Body<Data = Bytes> + Unpin,
    ) -> Result<Bytes, BodyFault> {
        let limits = Limits {
            body: limit,
            read: Duration::from_secs(5),
            ..Limits::default()
        };
        read(body, &limits).await
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"hello");
        let got = read_within(5, Full::new(sent.clone())).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn the_pieces_of_a_body_are_put_together() {
        let trailers = Some(Ok(Frame::trailers(http::HeaderMap::new())));
        let body = Parts(vec![part("he"), part(""), part("llo"), trailers]);
        assert_eq!(read_within(5, body).await.unwrap(), "hello");
        assert_eq!(read_within(5, Parts(vec![])).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_it_told_its_length_or_not() {
        assert_eq!(
            read_within(4, Full::from("hello")).await,
            Err(BodyFault::TooLarge)
        );
        assert_eq!(
            read_within(4, Parts(vec![part("hello")])).await,
            Err(BodyFault::TooLarge)
        );
        let body = Parts(vec![part("he"), part("llo"), part("!")]);
        assert_eq!(read_within(4, body).await, Err(BodyFault::TooLarge));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_read_no_further() {
        let endless =
            std::iter::repeat_with(|| Ok::<_, ()>(Frame::data(Bytes::from_static(b"hello"))));
        let mut taken = 0;
        let stream = Counted(endless, &mut taken);
        assert_eq!(read_within(100, stream).await, Err(BodyFault::TooLarge));
        assert_eq!(taken, 20 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for_without_end() {
        let start = tokio::time::Instant::now();
        assert_eq!(
            read_within(9, Parts(vec![part("he"), None])).await,
            Err(BodyFault::TooSlow)
        );
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_apart() {
        assert_eq!(
            read_within(9, Parts(vec![part("he"), Some(Err(()))])).await,
            Err(BodyFault::Broken)
        );
    }

    struct Counted<'a, I>(I, &'a mut usize);

    impl<I: Iterator<Item = Result<Frame<Bytes>, ()>> + Unpin> Body for Counted<'_, I> {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            *self.1 += 1;
            Poll::Ready(self.0.next())
        }
    }

    #[tokio::test]
    async fn the_body_of_a_hyper_like_caller_is_read() {
        let body = Full::from("hello")
            .map_err(|never| match never {})
            .boxed_unsync();
        let got: Result<Bytes, BodyFault> = read_within(9, axum::body::Body::new(body)).await;
        assert_eq!(got.unwrap(), "hello");
    }
}

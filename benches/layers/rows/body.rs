//! One chunk on its way through a tracked body.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_core::Completion;
use buttress_http::{Body, Tracked};
use bytes::Bytes;
use http_body::Frame;

use super::http::Listener;
use crate::row::{Group, Row};

/// The same chunk without end.
#[derive(Debug)]
pub(super) struct Endless(pub(super) Bytes);

pub(crate) fn group() -> Group {
    let rows = vec![
        row("bare", || Endless(CHUNK)),
        row("tracked", || tracked(0, 0)),
        row("tracked, one duty", || tracked(1, 0)),
        row("tracked, five duties", || tracked(5, 0)),
        row("tracked, one duty that watches", || tracked(0, 1)),
        row("tracked, five duties that watch", || tracked(0, 5)),
    ];
    Group {
        name: "one chunk",
        rows,
    }
}

pub(super) const CHUNK: Bytes = Bytes::from_static(b"hello");

fn tracked(duties: usize, watching: usize) -> Body<Endless> {
    let mut body = Body::new(Endless(CHUNK));
    for k in 0..duties + watching {
        let watches = k >= duties;
        body.attach(Completion::new(Listener { watches }));
    }
    body
}

pub(super) fn row<B>(name: &str, make: impl Fn() -> B + 'static) -> Row
where
    B: http_body::Body<Data = Bytes> + Unpin + 'static,
{
    Row::new(name, move || {
        let mut body = make();
        move || {
            let cx = &mut Context::from_waker(Waker::noop());
            let frame = black_box(Pin::new(&mut body).poll_frame(cx));
            assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
    })
    .at_most(0)
}

// ===== impl Endless =====

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;

/// All of a body that is in memory.
pub(crate) fn in_memory<B: Body<Data = Bytes> + Clone>(body: &B) -> Option<Bytes> {
    let mut body = pin!(body.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let mut whole = Bytes::new();
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if whole.is_empty() => whole = data,
                Ok(data) => {
                    let mut longer = BytesMut::from(whole);
                    longer.extend_from_slice(&data);
                    whole = longer.freeze();
                }
                Err(_trailers) => {}
            },
            Poll::Ready(None) => return Some(whole),
            Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
        }
    }
}

//! What is kept of a body.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// One frame.
#[derive(Clone)]
pub(crate) enum Content {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

/// Where small chunks are copied to. As they came, each might keep a whole network buffer alive.
pub(super) struct Shelf {
    room: BytesMut,
    filled: usize,
}

// ===== impl Content =====

impl Content {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(all) => all
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len())
                .sum(),
        }
    }

    pub(super) fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(all) => Frame::trailers(*all),
        }
    }
}

// ===== impl Shelf =====

impl Shelf {
    const SMALL: usize = 4 << 10;
    const ROOM: usize = 16 << 10;

    pub(super) fn new() -> Self {
        Self {
            room: BytesMut::new(),
            filled: 0,
        }
    }

    pub(super) fn keep(&mut self, frame: &Frame<Bytes>) -> Content {
        match frame.data_ref() {
            Some(data) if data.len() < Self::SMALL => Content::Data(self.copy(data)),
            Some(data) => Content::Data(data.clone()),
            None => Content::Trailers(Box::new(frame.trailers_ref().cloned().unwrap_or_default())),
        }
    }

    fn copy(&mut self, data: &Bytes) -> Bytes {
        if self.room.capacity() < data.len() {
            // Twice as much each time, so that at most half of it all stays empty.
            let room = self.filled.clamp(data.len(), Self::ROOM);
            self.room = BytesMut::with_capacity(room);
        }
        self.filled += data.len();
        self.room.extend_from_slice(data);
        self.room.split().freeze()
    }
}

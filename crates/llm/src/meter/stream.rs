use std::fmt;

use buttress_core::{Class, Outcome, Progress, Usage};
use buttress_http::{Meter, sse::Decoder};
use bytes::Bytes;

use crate::reader::Reader;

/// Reads a stream of server-sent events.
pub(crate) struct StreamMeter<R> {
    decoder: Decoder,
    reader: R,
    /// What ends cleanly is whole, also without a terminator.
    lenient: bool,
    over_bound: bool,
}

// ===== impl StreamMeter =====

impl<R: Reader> StreamMeter<R> {
    pub(crate) fn new(reader: R, lenient: bool) -> Self {
        Self {
            decoder: Decoder::new(),
            reader,
            lenient,
            over_bound: false,
        }
    }
}

impl<R: Reader> Meter for StreamMeter<R> {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        let mut rest = &data[..];
        let mut content = false;
        while let Some(event) = self.decoder.scan(&mut rest) {
            match event {
                // One malformed event is the caller's to judge, who sees it as it came.
                Ok(event) => content |= self.reader.read(event.data()).unwrap_or(false),
                Err(_) => self.over_bound = true,
            }
        }
        if content {
            Progress::Content
        } else {
            Progress::Ping
        }
    }

    fn verdict(&self, ended: bool) -> Option<Outcome> {
        if let Some(error) = self.reader.error() {
            return Some(error);
        }
        if self.reader.complete(false) {
            return Some(Outcome::SUCCESS);
        }
        if self.over_bound {
            return Some(Outcome::new(Class::Unavailable));
        }
        let whole = self.reader.complete(ended) || (self.lenient && ended);
        whole.then_some(Outcome::SUCCESS)
    }

    fn usage(&self) -> Option<Usage> {
        self.reader.usage()
    }
}

impl<R> fmt::Debug for StreamMeter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMeter")
            .field("decoder", &self.decoder)
            .finish_non_exhaustive()
    }
}

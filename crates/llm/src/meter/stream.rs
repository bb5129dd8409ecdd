use std::fmt;

use buttress_core::{Class, Outcome, Progress, Usage};
use buttress_http::{
    Meter,
    sse::{Decoder, EventRef},
};
use bytes::Bytes;

use crate::{
    reader::{Reader, Said},
    shape::{Shapes, Tokens},
};

/// Reads a stream of server-sent events.
pub(crate) struct StreamMeter<R> {
    decoder: Decoder,
    shapes: Shapes,
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
            shapes: Shapes::default(),
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
        if self.reader.complete(false) {
            return Progress::Ping;
        }
        loop {
            // The decoder need not see an event that is known before it is read. It is between two
            // events then, and none the wiser.
            if self.decoder.pending() == 0
                && let Some(found) = self.shapes.find(rest)
            {
                self.reader.repeat(self.shapes.counts());
                content |= found.content;
                rest = &rest[found.len..];
                continue;
            }
            match self.decoder.scan(&mut rest) {
                Some(Ok(event)) => content |= read(&mut self.reader, &mut self.shapes, &event),
                Some(Err(_)) => self.over_bound = true,
                None => break,
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

/// Reads an event, and says whether it has content. One that is malformed is the caller's to judge,
/// who sees it as it came.
fn read(reader: &mut impl Reader, shapes: &mut Shapes, event: &EventRef<'_>) -> bool {
    let (data, mut tokens) = (event.data(), Tokens::default());
    let Ok(said) = reader.read(data, &mut tokens) else {
        return false;
    };
    if let Said::Repeatable { counts, besides } = said {
        shapes.learn(event.frame(), data, tokens, counts, besides);
    }
    said.is_content()
}

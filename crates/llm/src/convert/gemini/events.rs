use bytes::BytesMut;

use crate::convert::{context::Context, model::Event, read::Reader};

/// Reads the events of a stream, one after the other.
#[derive(Debug, Default)]
pub(in crate::convert) struct EventReader {}

/// Writes the events of a stream.
#[derive(Debug)]
pub(in crate::convert) struct EventWriter {
    context: Context,
}

// ===== impl EventReader =====

impl EventReader {
    /// Reads the data of one event, and tells what it says in order.
    pub(in crate::convert) fn read<'a>(
        &mut self,
        json: &mut Reader<'a>,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let _ = (json, tell);
        todo!()
    }

    /// The body ended cleanly. Tells what is still to be told, with [`Event::End`] if the stream is
    /// complete.
    pub(in crate::convert) fn end(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        let _ = tell;
        todo!()
    }
}

// ===== impl EventWriter =====

impl EventWriter {
    pub(in crate::convert) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Writes what one event becomes: frames of the stream, or nothing yet.
    pub(in crate::convert) fn write(&mut self, event: Event<'_>, out: &mut BytesMut) {
        let _ = (event, out, self.context);
        todo!()
    }
}

//! The frames of a stream: the name of an event, and its data.

use bytes::BytesMut;

use crate::convert::write::Writer;

/// An event of this type.
pub(super) fn event(kind: &str, out: &mut BytesMut, members: impl FnOnce(&mut Writer<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut to = Writer::new(out);
    to.object(|to| {
        to.name("type").str(kind);
        members(to);
    });
    out.extend_from_slice(b"\n\n");
}

/// A block begins.
pub(super) fn start(index: u64, out: &mut BytesMut, block: impl FnOnce(&mut Writer<'_>)) {
    event("content_block_start", out, |to| {
        to.name("index").count(index);
        to.name("content_block").object(block);
    });
}

/// A piece of a block.
pub(super) fn delta(
    index: u64,
    kind: &str,
    member: &str,
    out: &mut BytesMut,
    value: impl FnOnce(&mut Writer<'_>),
) {
    event("content_block_delta", out, |to| {
        to.name("index").count(index);
        to.name("delta").object(|to| {
            to.name("type").str(kind);
            value(to.name(member));
        });
    });
}

/// A block ends.
pub(super) fn stop(index: u64, out: &mut BytesMut) {
    event("content_block_stop", out, |to| {
        to.name("index").count(index);
    });
}

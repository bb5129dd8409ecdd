//! Requests, replies and streams in the dialect of this module.

mod events;
mod reply;
mod request;

pub(super) use self::{
    events::{EventReader, EventWriter},
    reply::{read_reply, write_reply},
    request::{read_request, write_request},
};

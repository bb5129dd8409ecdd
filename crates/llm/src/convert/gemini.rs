//! Requests, replies and streams in the dialect of this module.

mod events;
mod media;
mod own;
mod part;
mod reply;
mod request;
mod schema;
mod signature;

pub(super) use self::{
    events::{EventReader, EventWriter},
    reply::{read_reply, write_reply},
    request::{read_request, write_request},
};

//! Messages: requests, replies and streams.

mod events;
mod id;
mod reply;
mod request;
mod signature;
mod stop;
mod usage;

pub(super) use self::{
    events::{EventReader, EventWriter},
    reply::{read_reply, write_reply},
    request::{read_request, write_request},
};

//! Requests, replies and streams in the dialect of this module.

mod chunk;
mod events;
mod finish;
mod logprobs;
mod media;
mod part;
mod reply;
mod request;
mod schema;
mod signature;
mod usage;

pub(super) use self::{
    events::{EventReader, EventWriter},
    reply::{read_reply, write_reply},
    request::{read_request, write_request},
};

#[cfg(test)]
mod odd;

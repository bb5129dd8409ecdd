//! OpenAI chat completions: requests, replies and streams.

mod events;
mod reply;
mod request;
mod said;

pub(super) use self::{
    events::{EventReader, EventWriter},
    reply::{read_reply, write_reply},
    request::{read_request, write_request},
};

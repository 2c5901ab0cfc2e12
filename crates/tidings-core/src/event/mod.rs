//! What happened: the event, its audience, and how both are read from JSON.

mod cloud_event;
mod decode;
mod encode;
mod read_whole;
#[cfg(test)]
mod tests;
mod types;

pub use decode::EventError;
pub use types::{
    Audience, Event, IncomingEvent, MAX_BODY_BYTES, MAX_DATA_BYTES, MAX_EVENT_BYTES,
    MAX_NAMED_USERS, MAX_TITLE_BYTES, MAX_TTL_SECS, MAX_URL_BYTES, ObjectRef, Priority,
};

//! A client of the Tidings HTTP and WebSocket API.
//!
//! [`Api`] speaks HTTP; a [`Subscription`] holds a live session that reconnects by itself, resumes
//! where it was, and hands over every notification once and in order.

mod api;
mod error;
mod frames;
mod subscription;

pub use api::{Api, Counters, EventsAnswer, Imported};
pub use error::ApiError;
pub use subscription::{
    Arrival, Subscription, SubscriptionConfig, SubscriptionError, SubscriptionEvent,
};

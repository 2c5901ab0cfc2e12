//! A client of the Tidings HTTP and WebSocket API.
//!
//! [`Api`] speaks HTTP; a [`Subscription`] holds a live session that reconnects by itself, resumes
//! where it was, and hands over every notification once and in order.

mod api;
mod error;
mod frames;
mod graph;
mod operate;
mod recommendations;
mod subscription;
mod tls;
mod token;

pub use api::{Api, Counters, EventResult, EventsAnswer, Imported, InboxPage};
pub use error::ApiError;
pub use graph::{ExportPart, GraphSize};
pub use operate::{
    DeadLetter, DeadLetterPage, DeliveryLogPage, DeliveryLogQuery, NotificationLogPage, Offset,
};
pub use subscription::{
    Arrival, Subscription, SubscriptionConfig, SubscriptionError, SubscriptionEvent,
};
pub use token::{TokenError, TokenSource};

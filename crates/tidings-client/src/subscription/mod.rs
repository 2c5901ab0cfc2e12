//! A live session that reconnects by itself and resumes where it was.

mod config;
mod event;
mod session;

pub use config::SubscriptionConfig;
pub use event::{Arrival, SubscriptionError, SubscriptionEvent};
pub use session::Subscription;

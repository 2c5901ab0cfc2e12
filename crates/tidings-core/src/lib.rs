//! The domain of Tidings: nouns, ports, and decisions as plain functions.
//!
//! Nothing here does I/O, knows HTTP or SQL, or needs an async runtime. An [`event::IncomingEvent`]
//! is read from JSON, [`plan::plan_event`] turns it and its audience into the rows of a
//! [`batch::NotificationBatch`], a [`ports::NotificationStore`] makes them durable, and
//! [`route::route_notification`] decides what happens to those that nobody looked at.
//!
//! ```
//! use tidings_core::{clock::Timestamp, event::{Audience, IncomingEvent}, ids::UserId};
//!
//! let json = br#"{"id": "e1", "source": "posts", "type": "like", "audience": {"users": ["u_7"]}}"#;
//! let incoming = IncomingEvent::from_json(json, Timestamp::from_millis(0))?;
//! assert_eq!(incoming.audience, Audience::Users(vec![UserId::new("u_7")?]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod batch;
pub mod checkpoint;
pub mod clock;
pub mod dead_letter;
pub mod delivery;
pub mod device;
pub mod error_chain;
pub mod event;
pub mod fan_out;
pub mod follow;
pub mod ids;
pub mod inbox;
pub mod notification;
pub mod plan;
pub mod ports;
pub mod recommendation;
pub mod retry;
pub mod route;

//! Events in: from decoded events to durable notifications.
//!
//! An event source asks the [`Planner`] who is told, and hands the rows to the [`pipeline`], where they
//! are gathered into batches and stored. [`Intake`] does both for requests,
//! [`kafka::KafkaNotificationConsumer`] for records. A [`FanOutWorker`] tells the followers that did
//! not fit into the transaction of their event.
//!
//! Planning happens in the source's own task, so that a slow graph slows that source only. Whoever
//! comes while a transaction runs shares the next one: small and fast when quiet, large when busy.
//! An event is answered, or its position moved, with the transaction that makes its rows durable. What
//! was not may come again: its identity makes that harmless.

mod fan_out;
mod follow_events;
mod intake;
pub mod kafka;
pub mod lines;
mod outcome;
pub mod pipeline;
mod planner;

pub use fan_out::{FanOutConfig, FanOutWorker};
pub use follow_events::{FollowEvents, FollowListener, GRAPH_SOURCE};
pub use intake::Intake;
pub use outcome::{Accepted, IntakeError};
pub use planner::{Planner, PlannerConfig};

//! Events in: from decoded events to durable notifications.
//!
//! [`Intake`] is what an event source talks to: it plans events in the caller's task (so that a slow
//! graph slows that caller only) and hands the rows to the [`pipeline`], where one task gathers the
//! rows of all callers into batches and stores them, one transaction at a time. Whoever comes while a
//! transaction runs shares the next one: small and fast when quiet, large when busy.
//!
//! An event is answered after its rows are durable. What was not answered may be sent again: its
//! identity makes that harmless.

mod intake;
pub mod lines;
mod outcome;
pub mod pipeline;

pub use intake::{Intake, IntakeConfig};
pub use outcome::{Accepted, IntakeError};

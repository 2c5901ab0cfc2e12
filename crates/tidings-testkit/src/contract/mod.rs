//! The rules of the ports, written once and run on every adapter.
//!
//! A suite is a module, a rule a public function in it that panics when the rule is broken.
//! [`contract_tests!`](crate::contract_tests) makes tests of them, each with a store of its own.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "panicking is how a rule says that it is broken"
)]

pub mod answer_store;
pub mod checkpoint_store;
pub mod dead_letter_store;
pub mod delivery_log;
pub mod delivery_store;
pub mod device_store;
pub mod fan_out_store;
mod model;
pub mod notification_store;
pub mod recommendation_feedback_store;
pub mod retention_store;
pub mod revocation_store;
mod sample;
pub mod several_nodes;

pub use tidings_core::ports::Store;

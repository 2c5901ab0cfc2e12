//! The consumer against the real broker and the embedded store, by breaking things.

mod broker;
mod formats;
mod node;
mod once;
mod pipeline;
mod poison;
mod pressure;
mod range;
mod store;
mod transactions;

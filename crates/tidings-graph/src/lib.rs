//! Who follows whom: the adapters of the social graph port.

pub mod edge_list;
pub mod embedded;

pub use embedded::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphMemory, GraphOpenError};

//! Who follows whom: the adapters of the social graph port.

mod cursor;
pub mod edge_list;
pub mod embedded;
mod hash;

pub use embedded::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphOpenError};

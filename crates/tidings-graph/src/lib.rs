//! Who follows whom: the adapters of the social graph port.

mod cursor;
pub mod edge_list;
pub mod embedded;
mod hash;
pub mod neo4j;

pub use embedded::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphOpenError};
pub use neo4j::{Neo4jGraphConfig, Neo4jGraphStore, Neo4jOpenError};

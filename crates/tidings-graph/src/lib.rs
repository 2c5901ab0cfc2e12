//! Who follows whom: the adapters of the social graph port.

pub mod cache;
pub mod edge_list;
pub mod embedded;

pub use cache::{GraphCache, GraphCacheConfig, GraphCacheWorker, RedisCacheConfig};
pub use embedded::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphOpenError};

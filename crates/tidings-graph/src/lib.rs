//! Who follows whom: the adapters of the social graph port.

pub mod cache;
mod cursor;
pub mod edge_list;
pub mod embedded;
mod hash;
pub mod neo4j;
pub mod recommend;

pub use cache::{GraphCache, GraphCacheConfig, GraphCacheWorker, RedisCacheConfig};
pub use embedded::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphMemory, GraphOpenError};
pub use neo4j::{Neo4jGraphConfig, Neo4jGraphStore, Neo4jOpenError};
pub use recommend::{RecommendRequest, RecommendationEngine, RecommendedGraph};

//! The follow graph on Neo4j, over Bolt: any number of nodes share one graph.
//!
//! **Driver.** The crate `neo4j`: of the drivers for Rust it alone routes in a cluster, limits a
//! transaction's time on the server, tells an unknown outcome of a commit from a failed one, tests
//! connections that were idle, and is run against the conformance suite of Neo4j's own drivers.
//! `neo4rs` 0.8 warns that it does not route, sets no time limits, and puts a connection back into
//! its pool with an answer unread when a future is dropped. The driver blocks, so it lives in
//! threads of its own, one for each connection: a call is a message to them, and a caller that gives up leaves no
//! connection half read.
//!
//! **Model.** A user is a node with the app's id and a number. Follows, blocks and mutes are
//! relationships that carry the numbers of their ends, an edge number, and their time. Indexes over
//! (source, number) and (target, number) make a page a seek of as many entries as it has, whatever
//! the user's degree; one over (source, target), which is a constraint as well, answers whether an
//! edge exists.
//!
//! **Order.** Every transaction that writes begins by locking the one node that holds the next edge
//! number, so edge numbers are in the order of commits on all nodes, and a cursor is "before edge
//! number n". The lock is held for a few round trips; what waits meanwhile is gathered into the
//! next transaction (group commit), in which the commands of a node have their order.
//!
//! **Faults.** A transaction leaves the number of its group on a node of its writer. When the
//! connection is lost over a commit, the next attempt, which gets the lock only when the first is
//! over, finds that number or does not, and so answers for the commit or does it again: never twice.
//! A call ends within the query timeout, whatever the server does; a thread whose server is silent
//! but connected waits for it up to the limit that the server itself has asked for (two minutes
//! unless configured otherwise there).
//!
//! All reads go to the leader of a cluster, as all writes do: what one node was told is done, every
//! node reads.

mod address;
mod bolt;
mod config;
mod cypher;
mod error;
mod export;
mod lists;
mod measure;
mod plan;
#[cfg(test)]
mod plans;
mod row;
mod schema;
mod store;
mod threads;
mod transaction;
mod writer;

pub use config::Neo4jGraphConfig;
pub use error::Neo4jOpenError;
pub use store::Neo4jGraphStore;

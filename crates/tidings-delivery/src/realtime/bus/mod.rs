//! What the nodes tell each other: new notifications, marks, who is online.
//!
//! The bus is a hint, the store is the truth. Each node numbers what it says on each shard and repeats
//! the numbers in a heartbeat, so that the others notice within a heartbeat what they did not get, and
//! have the sessions of that shard repaired from the store. Its own heartbeat comes back to a node too:
//! while it does not, the bus counts as down, and all sessions are repaired again and again.

mod codec;
mod health;
mod in_process;
mod items;
mod link;
mod outbox;
mod peers;
mod redis;
mod repair;
mod shard;

pub use health::{BusHealth, BusHealthHandle};
pub use in_process::InProcessBus;
pub use link::RedisBusError;
pub use redis::{BusConfig, RedisBus, RedisBusConfig, RedisBusWorker};
pub(super) use shard::{SHARDS, ShardIndex, UserHash};

//! A cache in front of a graph that is behind a network: in this process, and in Redis or Valkey for
//! all nodes.
//!
//! # What is promised
//!
//! The cache answers as the store would: once a write has been answered, no read that begins later, on
//! any node, sees the state before it. Redis that is slow, gone, emptied or started again makes answers
//! slower, never wrong and never failing.
//!
//! # How
//!
//! Each list of a user has a *version* in Redis, a random token: whom they follow, who follows them, and
//! who has turned away from whom around them. An answer is kept with the versions of the lists that it
//! depends on, read **before** the store was asked, and counts only while they are the current ones. So
//! an answer of this process costs one small read from Redis for its versions, and the store nothing.
//! Messages between nodes could not give the promise: they come after the write's answer.
//!
//! A writer marks the lists that it is about to change, which takes their versions away; then it writes;
//! then it gives them new ones; then it answers. While a list is marked, reads go to the store and
//! nothing is kept. The races, one by one:
//!
//! - *A reader misses, reads the old state, is slow, and keeps it after the write.* It is kept with the
//!   version from before the mark, which never comes back.
//! - *A reader sees the new state while another still finds the old.* The mark is there before the store
//!   is asked: all of them read from the store, until the write is answered.
//! - *Several writers of one list.* Each has a mark of its own. The list has a version when the last mark
//!   is gone.
//! - *A writer dies, is cancelled, or does not learn what became of its write.* Its mark stays, until it
//!   ends after [`GraphCacheConfig::write_lease`], which has to be longer than a write of the store can
//!   take. Until then this list is read from the store.
//! - *A thousand readers miss at once.* One asks the store; those who have seen the same versions share
//!   its answer, and if it is cancelled the next one asks. Where there are no versions, a reader joins a
//!   question only if it has not been asked yet: one under way may have been overtaken by a write.
//!
//! # When Redis fails
//!
//! All versions count under an *epoch*, a key in Redis that ends by itself, [`lease`] after the oldest
//! sign of life of any node. No epoch, no cache: readers who do not find it, or do not reach Redis, ask
//! the store. A node that cannot mark a list waits until every epoch that it has had a part in is over,
//! [`lease`] and an answer's time after its last sign of life at most, and writes then: nobody
//! anywhere holds an answer for valid. A new epoch begins when all nodes are there again, and what was
//! kept under the old one never counts again.
//!
//! - *Redis is paused* and goes on: its clock has gone on as well, and the epoch is over. A sign of life
//!   that had waited in its buffers says until when it counts, and is refused.
//! - *Redis starts again*, perhaps with old data, or another server takes its place: every server that
//!   starts has an id of its own (`run_id`), which is part of each key's name. There is no epoch for the
//!   first [`hold`], in which every node comes back. A node that has found another server waits until its
//!   epoch at the old one is over.
//! - *Redis is emptied*, or evicts a key: a version that is missing is unknown, and a new one is made. If
//!   the list of nodes is gone, there is no epoch for [`hold`].
//! - *A node dies without signing off*: there is no epoch until [`hold`] after its last sign of life.
//!
//! The limit of it: a node that cannot reach Redis for longer than [`hold`] **while other nodes can** is
//! held for dead. If it goes on to write, the others may give answers from before its writes, until it is
//! back or they end by age ([`GraphCacheConfig::ttl`]). The same holds for whoever writes to the store
//! without the cache. One server is meant: not Redis Cluster, and no proxy that hides which server
//! answers. Its clock may be slewed, not set back.
//!
//! Without Redis the versions are in this process: right for one node, and no other.
//!
//! [`lease`]: RedisCacheConfig::lease
//! [`hold`]: RedisCacheConfig::hold

mod answer;
mod ask;
mod config;
mod flights;
mod health;
mod question;
mod refresh;
mod resident;
mod scope;
mod store;
mod versions;
mod warm;
mod worker;
mod write;

pub use ask::GraphCache;
pub use config::{GraphCacheConfig, GraphCacheError, RedisCacheConfig};
pub use health::{GraphCacheHealth, GraphCacheHealthHandle};
pub use worker::GraphCacheWorker;

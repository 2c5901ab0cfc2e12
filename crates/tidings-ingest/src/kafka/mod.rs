//! Events from Kafka: each once, whatever happens to nodes, brokers and the store.
//!
//! # How
//!
//! One thread polls one client and never waits for the store, nor for an answer of a broker, which another
//! thread asks where logs begin and end, all partitions at a time; a third one wakes the client after a pause
//! (`waking`). The one that polls copies records into the
//! queue of their partition, which is counted in bytes, and pauses a partition whose share is full. A
//! worker per partition decodes and plans records while the batch before them is being
//! stored, and hands the pipeline batches that carry three things for one transaction: the rows, the
//! dead letters, and the move of the partition's position ([`Advance`]). The move is a compare-and-set
//! on (position, epoch). When a partition is assigned, the epoch is raised and the position is read
//! before anything of it is fetched. Kafka is told the positions afterwards, for lag tools only; they
//! are never read from there.
//!
//! # Why one notification per (user, source, event id)
//!
//! - **Redelivery.** A record is fetched again when a node dies, or a partition moves, after it was
//!   fetched and before its batch was committed. Then neither its rows nor the move of the position
//!   were: the next owner begins with that record. If the batch was committed, so was the position
//!   behind the record, and nobody fetches it again. There is no state in between, since it is one
//!   transaction. A commit whose answer was lost is tried again with the same move, which then finds
//!   the position where it ends, and its rows are duplicates by their identity.
//! - **Rebalance in mid-batch.** What is queued is dropped; the batch in the pipeline is left alone.
//!   Either it commits before the next owner raises the epoch, and the next owner reads the position
//!   behind it; or it comes after, its compare fails, and nothing of it is stored. The store decides,
//!   in one order; no node has to be fast, and nobody waits for a commit in the rebalance.
//! - **Two owners.** A node that does not know that it lost a partition (it was suspended, or cut off
//!   from the broker and not from the store) still has the old epoch: its batches are refused whole
//!   ([`StoreError::Fenced`](tidings_core::ports::StoreError::Fenced)). It drops what it has and claims
//!   anew only if the partition is still assigned to it, after a random wait. Should both believe so,
//!   they take turns, and each goes on exactly where the other stopped.
//! - **A replayed topic** (an older position set by hand, records copied to a new topic, the group
//!   renamed) brings events whose identity is known: each row is an insert that does nothing if (user,
//!   source, event id) exists.
//! - **A producer that sent twice** makes two records with one identity: the same. Twice in one batch
//!   is no different from twice in two.
//!
//! # What takes offsets and is no record
//!
//! The marks that end a producer's transactions, and what it has aborted, are handed to nobody. The
//! client's own position is behind them once it has met them; the thread that polls looks at it once a
//! second, and the position in the store follows when all records before it are stored. Else the lag of
//! an idle partition would never be 0, and once retention has emptied the log, the position would be
//! outside it.
//!
//! # What stops a partition, and what does not
//!
//! A record that is not an event, cannot be planned, or is refused by the store becomes a dead letter in
//! the transaction that moves past it, and holds nothing up. A store or a graph that is out of reach is
//! tried again for as long as it takes; the partition is paused meanwhile, and the poll loop goes on. A
//! partition is stopped, with an error in the log, in the health and in the metrics, when its position
//! is not in the log (records deleted, the topic made anew), when nearly nothing in it is an event, or
//! when the store refuses a record even as a dead letter. It never moves on silently.
//!
//! A topic that was deleted and made anew under the same name is recognised by a position beyond its
//! end. One that has grown beyond the position again before anyone looked cannot be told from the old
//! one: set the offsets after you remake a topic.
//!
//! [`Advance`]: tidings_core::checkpoint::Advance

mod account;
mod asking;
mod breaker;
mod chunk;
mod claim;
mod config;
mod consumer;
mod context;
mod deps;
mod entries;
mod hand_over;
mod health;
mod letter;
mod link;
mod measure;
mod options;
mod partition;
mod planning;
mod poll;
mod positions;
mod record;
mod status;
mod storing;
mod trouble;
mod unit;
mod waking;
mod worker;

pub use config::{BreakerConfig, KafkaConfig, KafkaStart, KafkaTopic, RecordFormat};
pub use consumer::KafkaNotificationConsumer;
pub use health::{
    KafkaHealth, KafkaHealthHandle, KafkaTrouble, PartitionHealth, PartitionState, TroubleKind,
};
pub use options::KafkaSetupError;
pub use record::{RecordError, decode_letter};

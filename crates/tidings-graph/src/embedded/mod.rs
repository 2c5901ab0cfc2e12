//! The embedded follow graph.
//!
//! All of it is in memory, for reading: users are numbered, and each has two lists of edges, those
//! followed and those following, in chunks of up to 512 entries in the order of edge numbers. An
//! edge takes 14 bytes in the one list (followee, number, time) and 8 in the other.
//!
//! Blocks and mutes are edges too, of which most users have none: they are kept in maps by user and
//! by pair, not in lists that every user has, and cost nothing while there are none; else 60 to 220
//! bytes each, the more the fewer a user has (a million mutes of 100 and of 1 per user).
//!
//! All of it is also on disk, for starting again. One thread writes: it gathers what waits into a
//! group, makes the group durable, then visible, then answers. Readers share a lock with it that
//! nobody holds for longer than a slice of work, and never over the disk.
//!
//! Three things say whether what is read at the start is what was acknowledged: the checksums of the
//! store, a digest over all users and edges that each commit carries, and the head file, which
//! knows the number of the last commit. A graph that opens is whole; otherwise it does not open.
//! After a power failure the head file may lag: a journal that is damaged as well may then lose the
//! commits of the last seconds unnoticed.
//!
//! Measured on two cores, release build, power-law graph of 1,000,000 users and 19.8 million follows
//! (a supernode of 450,000): 823 MiB resident after a start, that is about 28 bytes per follow and
//! 300 per user, against 22 bytes of entries; the rest is reserve, chunk heads and the allocator.
//! A start reads 0.8 to 1 million follows per second; an import adds 0.3 to 0.4.

mod aversions;
mod config;
mod cursor;
mod digest;
mod disk;
mod error;
mod group;
mod head;
mod identity;
mod index;
mod list;
mod lock;
mod rows;
mod store;
mod writer;

pub use config::EmbeddedGraphConfig;
pub use error::GraphOpenError;
pub use store::EmbeddedGraphStore;

//! The embedded follow graph.
//!
//! # In memory
//!
//! Users are numbered in the order in which they come. Each has two lists, those followed and those
//! following, in the order in which the follows came:
//!
//! ```text
//!  user numbers   0 … 4095        4096 … 8191      …
//!               ┌──────────┐    ┌──────────┐
//!  segments     │ following│    │          │           packed, never changed: replaced as a whole
//!               │ followers│    │          │
//!               └──────────┘    └──────────┘
//!                    ▲ takes in, segment by segment
//!  frozen layer   changes up to the commit that the next snapshot is of
//!  active layer   changes since
//! ```
//!
//! - A list in a segment is packed: each other end in as many bits as the largest user number in the list
//!   needs, and in the list of a follower the times, in blocks, in as few bits as their distances need.
//!   The list of followers has no times: the time of a follow is looked up in the follower's list.
//! - A layer holds the changes that the segments have not taken in. A list is read newest first: the
//!   active layer, the frozen one, the segment, without what a layer has removed.
//! - Every entry has a number within its list, which it keeps and which is never used again; a cursor says
//!   "before number n". See `packed`.
//! - An id is kept once, as text. Blocks and mutes are edges too, of which most users have none: they are
//!   kept in maps by user and by pair, and cost nothing while there are none.
//!
//! # On disk
//!
//! A commit is a few rows of the log, synced before it is answered. When many changes have come together, a
//! checkpoint freezes them and has the segments take them in, one after the other; the same bytes go into a
//! snapshot, a file with a checksum for each part. Then the log up to there is no longer needed. Two
//! snapshots are kept, and the log since the older one: a start loads the newest snapshot that is whole and
//! makes the commits behind it again.
//!
//! One thread writes: it gathers what waits into a group, makes the group durable, then visible, then
//! answers. Readers share a lock with it, and with the checkpoint, that nobody holds for longer than a
//! slice of work, and never over the disk.
//!
//! Three things say whether what is read at the start is what was acknowledged: the checksums of snapshots
//! and log, a digest over all users and edges that each commit carries, and the head file, which knows
//! the number of the last commit. A graph that opens is whole; otherwise it does not open. After a power
//! failure the head file may lag: a journal that is damaged as well may then lose the commits of the last
//! seconds unnoticed.

mod adjacency;
mod aversions;
mod bits;
mod checkpoint;
mod commit;
mod config;
mod cursor;
mod digest;
mod disk;
mod erase;
mod error;
mod find;
mod format_2;
mod group;
mod head;
mod identity;
mod index;
mod interner;
mod intersect;
mod layer;
mod list;
mod list_view;
mod lock;
mod log;
mod measure;
mod merge;
mod most_followed;
mod packed;
mod pages;
mod seek;
mod segment;
mod series;
mod snapshot;
mod store;
mod table;
mod writer;

pub use config::EmbeddedGraphConfig;
pub use error::GraphOpenError;
pub use index::GraphMemory;
pub use store::EmbeddedGraphStore;

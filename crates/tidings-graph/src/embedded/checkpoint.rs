//! Taking the changes into the packed lists, and writing them all as a snapshot, while readers read and
//! the writer writes.
//!
//! The changes up to one commit are frozen; then, segment by segment, the new lists are made from the
//! old ones and the frozen changes, written to the file, and put in the place of the old. A reader sees
//! either the old lists and the frozen changes above them, or the new lists; never both, because a
//! segment knows whether it has taken them in.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, RwLock},
    time::Instant,
};

use super::{
    aversions::Shard,
    bits::to_usize,
    commit::State,
    error::HalfChanged,
    index::{EdgeKind, Index},
    layer::Layer,
    merge::merge_segment,
    segment::SEGMENT_USERS,
    snapshot::{Snapshot, SnapshotWriter},
};

/// Why a checkpoint did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    /// The changes are taken in; the log goes on keeping them.
    #[error("the snapshot cannot be written")]
    Write(#[from] io::Error),
    #[error(transparent)]
    HalfChanged(#[from] HalfChanged),
}

/// A graph as of one commit.
pub(super) struct Frozen {
    layer: Arc<Layer>,
    state: State,
    generation: u64,
    aversions: Vec<(EdgeKind, Arc<Shard>)>,
    directory: PathBuf,
}

impl Frozen {
    /// Freezes what has changed up to `state`; the log goes on in this generation.
    pub(super) fn new(
        index: &mut Index,
        state: State,
        generation: u64,
        directory: PathBuf,
    ) -> Self {
        let mut aversions = Vec::new();
        for kind in [EdgeKind::Block, EdgeKind::Mute] {
            let shards = index.aversions(kind).map(|it| it.shards()).unwrap_or_default();
            aversions.extend(shards.into_iter().map(|it| (kind, it)));
        }
        index.begin_saving();
        Self { layer: index.freeze(), state, generation, aversions, directory }
    }

    /// Has the index take the changes in and let the frozen layer go, and writes the snapshot; gives its
    /// length too.
    pub(super) fn settle(self, index: &RwLock<Index>) -> Result<(Snapshot, u64), CheckpointError> {
        let started = Instant::now();
        let Self { layer, state, generation, aversions, directory } = self;
        let users = to_usize(state.users);
        let mut file = SnapshotWriter::create(&directory, state.commits, generation);
        for place in 0..Index::segments_of(users) {
            let old = index.read().map_err(|_| HalfChanged)?.segment(place);
            let merged = Arc::new(merge_segment(old.as_deref(), &layer, place, users));
            // An error ends the file, not the checkpoint: half of the lists have their changes already.
            write(&mut file, |file| file.segment(&merged));
            let replaced = index.write().map_err(|_| HalfChanged)?.put_merged(merged);
            drop((old, replaced));
        }
        let thawed = index.write().map_err(|_| HalfChanged)?.thaw();
        // Not under the lock: there may be millions of changes to let go of.
        drop((thawed, layer));
        for place in 0..Index::segments_of(users) {
            let page_users = users - place * SEGMENT_USERS;
            let page = index.read().map_err(|_| HalfChanged)?.ids().encode_page(place, page_users);
            write(&mut file, |file| file.ids(&page.unwrap_or_default()));
        }
        for (kind, shard) in aversions.iter().filter(|(_, shard)| !shard.is_empty()) {
            write(&mut file, |file| file.aversions(*kind, &shard.encode()));
        }
        let written = file?.finish(&state)?;
        metrics::histogram!("tidings_graph_checkpoint_duration_seconds").record(started.elapsed());
        Ok(written)
    }
}

fn write(
    file: &mut io::Result<SnapshotWriter>,
    content: impl FnOnce(&mut SnapshotWriter) -> io::Result<()>,
) {
    if let Ok(open) = file
        && let Err(error) = content(open)
    {
        *file = Err(error);
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::Timestamp;

    use super::*;
    use crate::embedded::{digest::Digest, index::Edge, snapshot};

    #[test]
    fn a_snapshot_is_whole_when_users_were_erased_while_it_was_made() {
        let directory = tempfile::tempdir().unwrap();
        let mut index = Index::default();
        (0..9).for_each(|user| index.add_user(&format!("u{user}")));
        let edge = |source, target| Edge {
            kind: EdgeKind::Follow,
            source,
            target,
            at: Timestamp::from_millis(1),
            numbers: [0; 2],
        };
        (1..8).for_each(|user| index.add(&edge(user, 0)));
        let state = State {
            commits: 3,
            next_number: 0,
            users: 9,
            forgotten: 0,
            follows: 7,
            blocks: 0,
            mutes: 0,
            digest: Digest(5),
        };
        let frozen = Frozen::new(&mut index, state, 2, directory.path().to_owned());
        // Commits after the one that the snapshot is of.
        index.forget_user(8);
        let index = RwLock::new(index);
        let (written, _) = frozen.settle(&index).unwrap();
        let loaded = snapshot::load(&written).unwrap();
        assert_eq!(loaded.state, state, "the log goes on from there");
        assert_eq!((loaded.index.ids().users(), loaded.index.ids().known()), (9, 8));
    }
}

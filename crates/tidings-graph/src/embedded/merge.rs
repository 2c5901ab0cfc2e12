//! Segments that take a layer in.

use std::sync::Arc;

use super::{
    bits::low_word,
    index::Index,
    layer::Layer,
    list_view::merge,
    packed::Entries,
    segment::{Direction, SEGMENT_USERS, Segment, SegmentBuilder},
};

/// Makes the segment at `place`, of a graph of so many users, from what it was and what a layer
/// changes. Lists that nothing changes are copied as they are.
pub(super) fn merge_segment(
    old: Option<&Segment>,
    layer: &Layer,
    place: usize,
    users: usize,
) -> Segment {
    let empty = Segment::default();
    let old = old.unwrap_or(&empty);
    let first = place * SEGMENT_USERS;
    let users = users.saturating_sub(first).min(SEGMENT_USERS);
    let mut builder = SegmentBuilder::new(users, old.bytes().len() + old.bytes().len() / 16);
    let mut entries = Entries::default();
    for within in 0..users {
        let user = low_word((first + within) as u64);
        for direction in Direction::BOTH {
            let changes = layer.changes_of(user, direction);
            if changes.is_empty() {
                builder.copy(old, within, direction);
                continue;
            }
            entries.clear();
            merge(&old.list(within, direction), &changes, direction, &mut entries);
            builder.push(&entries);
        }
    }
    builder.finish()
}

/// Has all segments take in all changes. Nobody else may see the index meanwhile.
pub(super) fn settle(index: &mut Index) {
    let layer = index.freeze();
    let users = index.users();
    for place in 0..Index::segments_of(users) {
        let merged = merge_segment(index.segment(place).as_deref(), &layer, place, users);
        index.put_merged(Arc::new(merged));
    }
    index.thaw();
}

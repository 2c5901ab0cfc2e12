//! The graph in memory.

use std::{hint::black_box, sync::Arc};

use tidings_core::{
    clock::Timestamp,
    follow::{self, FollowCounts, GraphStats},
    ids::UserId,
};

pub(super) use tidings_core::follow::EdgeKind;

use super::{
    aversions::Aversions,
    interner::Interner,
    layer::Layer,
    list_view::ListView,
    packed::PackedList,
    segment::{Direction, SEGMENT_USERS, Segment, segment_of},
};

const CACHE_LINE_BYTES: usize = 64;
/// Most lists take no more.
const TOUCHED_LINES: usize = 6;

/// The index's and the store's number for a user: 0, 1, 2 … in the order of arrival.
pub(super) type UserNumber = u32;

/// An edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) kind: EdgeKind,
    pub(super) source: UserNumber,
    pub(super) target: UserNumber,
    pub(super) at: Timestamp,
    /// Of a follow: its numbers in the lists of its source and of its target; zero while it has none.
    /// Of a block or mute: its number among all of them, which only grows, and zero.
    pub(super) numbers: [u64; 2],
}

/// All users and edges, in both directions.
#[derive(Debug, Default)]
pub(super) struct Index {
    ids: Interner,
    segments: Vec<Arc<Segment>>,
    /// What came since the frozen layer, or since the segments were made.
    pub(super) active: Layer,
    /// What the segments are about to take in.
    pub(super) frozen: Option<Arc<Layer>>,
    /// Segments, from the first on, that have taken the frozen layer in.
    merged: usize,
    /// Changes of any kind that no snapshot has, or is about to.
    unsaved: usize,
    /// Changes of the snapshot that was begun last.
    saving: usize,
    follows: u64,
    blocks: Aversions,
    mutes: Aversions,
}

/// Bytes of memory that the parts of an embedded graph take, as they are counted, not as the allocator
/// rounds them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphMemory {
    /// The packed lists of all users.
    pub lists_bytes: usize,
    /// Changes that the packed lists do not hold yet.
    pub changes_bytes: usize,
    /// The ids of the users.
    pub ids_bytes: usize,
    /// Blocks and mutes.
    pub aversions_bytes: usize,
}

impl Index {
    /// An index of these segments, ids, blocks and mutes.
    pub(super) fn new(
        segments: Vec<Arc<Segment>>,
        ids: Interner,
        follows: u64,
        [blocks, mutes]: [Aversions; 2],
    ) -> Self {
        Self { ids, segments, follows, blocks, mutes, ..Self::default() }
    }

    pub(super) fn user(&self, id: &UserId) -> Option<UserNumber> {
        self.ids.find(id.as_str())
    }

    /// Numbers of users, also of those who are forgotten.
    pub(super) fn users(&self) -> usize {
        self.ids.users()
    }

    pub(super) fn stats(&self) -> GraphStats {
        GraphStats {
            users: self.ids.known() as u64,
            follows: self.follows,
            blocks: self.blocks.len(),
            mutes: self.mutes.len(),
        }
    }

    pub(super) fn memory(&self) -> GraphMemory {
        let frozen = self.frozen.as_ref().map_or(0, |it| it.bytes());
        GraphMemory {
            lists_bytes: self.segments.iter().map(|it| it.bytes().len()).sum(),
            changes_bytes: self.active.bytes() + frozen,
            ids_bytes: self.ids.bytes(),
            aversions_bytes: self.blocks.bytes() + self.mutes.bytes(),
        }
    }

    pub(super) fn ids(&self) -> &Interner {
        &self.ids
    }

    pub(super) fn id(&self, user: UserNumber) -> UserId {
        self.ids.id(user)
    }

    /// The blocks, or the mutes.
    pub(super) fn aversions(&self, kind: EdgeKind) -> Option<&Aversions> {
        match kind {
            EdgeKind::Follow => None,
            EdgeKind::Block => Some(&self.blocks),
            EdgeKind::Mute => Some(&self.mutes),
        }
    }

    /// Gives `id`, which is new, the next number.
    pub(super) fn add_user(&mut self, id: &str) {
        self.ids.push(id);
    }

    /// Forgets the id of a user without edges.
    pub(super) fn forget_user(&mut self, user: UserNumber) {
        self.ids.forget(user);
        self.unsaved += 1;
    }

    /// Adds an edge between known users; of a block or mute the number is above all others.
    pub(super) fn add(&mut self, edge: &Edge) {
        match edge.kind {
            EdgeKind::Follow => {
                self.active.add(edge.source, edge.target, edge.at);
                self.follows += 1;
            }
            EdgeKind::Block => self.blocks.add(edge),
            EdgeKind::Mute => self.mutes.add(edge),
        }
        self.unsaved += 1;
    }

    /// Removes an edge that is there, with the numbers that [`Index::find`] gave.
    pub(super) fn remove(&mut self, edge: &Edge) {
        match edge.kind {
            EdgeKind::Follow => {
                self.active.remove([edge.source, edge.target], edge.numbers);
                self.follows -= 1;
            }
            EdgeKind::Block => self.blocks.remove(edge),
            EdgeKind::Mute => self.mutes.remove(edge),
        }
        self.unsaved += 1;
    }

    /// Changes of any kind, also those that have undone others, that are in the log and in no snapshot, nor
    /// in one that is being made.
    pub(super) fn unsaved(&self) -> usize {
        self.unsaved
    }

    /// Notes that a snapshot of all there is was begun.
    pub(super) fn begin_saving(&mut self) {
        self.saving = std::mem::take(&mut self.unsaved);
    }

    /// Notes that it was not written.
    pub(super) fn saving_failed(&mut self) {
        self.unsaved += std::mem::take(&mut self.saving);
    }

    /// Changes that the segments have not taken in, but for those that are frozen.
    pub(super) fn active_changes(&self) -> usize {
        self.active.changes()
    }

    /// Sets the changes apart that the segments are to take in, one by one. There is no frozen layer yet.
    pub(super) fn freeze(&mut self) -> Arc<Layer> {
        debug_assert!(self.frozen.is_none(), "one layer is taken in at a time");
        let layer = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(Arc::clone(&layer));
        self.merged = 0;
        layer
    }

    pub(super) fn segment(&self, place: usize) -> Option<Arc<Segment>> {
        self.segments.get(place).map(Arc::clone)
    }

    /// Puts the next segment in its place that has taken the frozen layer in; gives back what was there.
    pub(super) fn put_merged(&mut self, segment: Arc<Segment>) -> Option<Arc<Segment>> {
        let place = self.merged;
        self.merged += 1;
        if let Some(old) = self.segments.get_mut(place) {
            return Some(std::mem::replace(old, segment));
        }
        self.segments.push(segment);
        None
    }

    /// Lets the frozen layer go, which all segments have taken in.
    pub(super) fn thaw(&mut self) -> Option<Arc<Layer>> {
        self.frozen.take()
    }

    pub(super) fn packed(&self, user: UserNumber, direction: Direction) -> PackedList<'_> {
        let (segment, place) = segment_of(user);
        let segment = self.segments.get(segment);
        segment.map_or_else(PackedList::default, |it| it.list(place, direction))
    }

    /// Has lists come from memory together. Each is somewhere else, and so is what says where: asked for
    /// one after the other, each would be waited for. What is read depends on nothing that was read, but
    /// for the place of a list, so that the processor runs ahead.
    pub(super) fn touch(&self, lists: impl Iterator<Item = (UserNumber, Direction)>) {
        let bytes = lists.map(|(user, direction)| {
            let (segment, place) = segment_of(user);
            let segment = self.segments.get(segment);
            segment.map_or(&[][..], |it| it.bytes_from(place, direction))
        });
        let bytes: Vec<_> = bytes.collect();
        let lines = (0..TOUCHED_LINES).map(|line| line * CACHE_LINE_BYTES);
        for bytes in bytes {
            let read = lines.clone().fold(0, |all, at| all ^ bytes.get(at).copied().unwrap_or(0));
            black_box(read);
        }
    }

    /// Has the beginnings of lists come from memory together.
    pub(super) fn touch_heads(&self, lists: impl Iterator<Item = (UserNumber, Direction)>) {
        let bytes = lists.map(|(user, direction)| {
            let (segment, place) = segment_of(user);
            let segment = self.segments.get(segment);
            segment.map_or(&[][..], |it| it.bytes_from(place, direction))
        });
        for bytes in bytes {
            black_box(bytes.first().copied());
        }
    }

    /// The frozen layer, if the segment of the user has not taken it in.
    pub(super) fn frozen_for(&self, user: UserNumber) -> Option<&Layer> {
        self.frozen.as_deref().filter(|_| segment_of(user).0 >= self.merged)
    }

    pub(super) fn list(&self, user: UserNumber, direction: Direction) -> ListView<'_> {
        self.list_over(self.packed(user, direction), user, direction)
    }

    pub(super) fn list_over<'a>(
        &'a self,
        packed: PackedList<'a>,
        user: UserNumber,
        direction: Direction,
    ) -> ListView<'a> {
        let frozen = self.frozen_for(user).map(|it| it.changes_of(user, direction));
        let active = self.active.changes_of(user, direction);
        ListView { direction, packed, frozen, active }
    }

    /// The user of this id, if anyone may have to be kept from hearing of them: if they have blocked
    /// someone, or someone has blocked or muted them.
    pub(super) fn find_averted(&self, actor: &UserId) -> Option<UserNumber> {
        // Most graphs have neither: then not even the id is hashed.
        if self.blocks.is_empty() && self.mutes.is_empty() {
            return None;
        }
        let is_averted = |user: &UserNumber| {
            self.blocks.has_source(*user)
                || self.blocks.has_target(*user)
                || self.mutes.has_target(*user)
        };
        self.user(actor).filter(is_averted)
    }

    /// Whether `user` must not hear of `actor`.
    pub(super) fn is_hidden(&self, actor: UserNumber, user: UserNumber) -> bool {
        self.blocks.contains(actor, user)
            || self.blocks.contains(user, actor)
            || self.mutes.contains(user, actor)
    }

    pub(super) fn counts(&self, user: UserNumber) -> FollowCounts {
        FollowCounts {
            followers: self.list(user, Direction::Followers).len(),
            following: self.list(user, Direction::Following).len(),
        }
    }

    /// An edge with the ids of its ends.
    pub(super) fn named(&self, edge: &Edge) -> follow::Edge {
        let [source, target] = [edge.source, edge.target].map(|it| self.id(it));
        follow::Edge { kind: edge.kind, source, target, at: edge.at }
    }

    /// Segments that so many users take.
    pub(super) fn segments_of(users: usize) -> usize {
        users.div_ceil(SEGMENT_USERS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::embedded::{erase::follows_of, merge::merge_segment};

    const USERS: u32 = 9;

    #[derive(Debug, Clone)]
    enum Step {
        Change(u32, u32, i64),
        Freeze,
        MergeNext,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..USERS, 0..USERS, 0i64..9).prop_map(|(a, b, at)| Step::Change(a, b, at)),
            1 => Just(Step::Freeze),
            3 => Just(Step::MergeNext),
        ]
    }

    /// Users of three segments.
    fn user(number: u32) -> UserNumber {
        number % 3 * u32::try_from(SEGMENT_USERS).unwrap() + number
    }

    fn index() -> Index {
        let mut index = Index::default();
        for number in 0..=user(USERS - 1) {
            index.add_user(&number.to_string());
        }
        index
    }

    /// One list as it should be: by number, the other end and the time.
    type Model = BTreeMap<(UserNumber, bool), (u64, BTreeMap<u64, (UserNumber, i64)>)>;

    fn put(model: &mut Model, owner: UserNumber, is_followers: bool, other: UserNumber, at: i64) {
        let (next, entries) = model.entry((owner, is_followers)).or_default();
        entries.insert(*next, (other, at));
        *next += 1;
    }

    fn take(model: &mut Model, owner: UserNumber, is_followers: bool, other: UserNumber) -> u64 {
        let (_, entries) = model.get_mut(&(owner, is_followers)).unwrap();
        let (number, _) = entries.iter().find(|(_, it)| it.0 == other).unwrap();
        let number = *number;
        entries.remove(&number);
        number
    }

    fn merge_next(index: &mut Index) {
        let Some(layer) = index.frozen.clone() else { return };
        if index.merged == Index::segments_of(index.users()) {
            index.thaw();
            return;
        }
        let (place, users) = (index.merged, index.users());
        let merged = merge_segment(index.segment(place).as_deref(), &layer, place, users);
        index.put_merged(Arc::new(merged));
    }

    fn check_list(index: &Index, model: &Model, owner: UserNumber, direction: Direction) {
        let empty = (0, BTreeMap::new());
        let (_, expected) =
            model.get(&(owner, direction == Direction::Followers)).unwrap_or(&empty);
        let list = index.list(owner, direction);
        assert_eq!(list.len(), expected.len() as u64);
        let mut times = list.times();
        let mut seen = Vec::new();
        let mut before = u64::MAX;
        loop {
            let reached = list.walk(before, 3, |entry| {
                let at = match direction {
                    Direction::Following => times.get(&entry),
                    Direction::Followers => index.followed_at(entry.other, owner).unwrap(),
                };
                seen.push((entry.number, (entry.other, at.as_millis())));
                std::ops::ControlFlow::Continue(0)
            });
            before = reached.before;
            if reached.end {
                break;
            }
        }
        let newest_first: Vec<_> = expected.iter().rev().map(|(a, b)| (*a, *b)).collect();
        assert_eq!(seen, newest_first);
        for most in [0, 2, usize::MAX] {
            let mut others = Vec::new();
            list.append_newest(most, &mut others);
            assert!(others.iter().eq(newest_first.iter().take(most).map(|(_, (other, _))| other)));
        }
        let mut oldest_first = Vec::new();
        let mut from = Some(0);
        while let Some(number) = from {
            let (entries, next) = list.oldest_first(number, 4);
            oldest_first.extend(entries.iter().map(|it| it.number));
            from = next;
        }
        assert!(oldest_first.iter().eq(expected.keys()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn lists_agree_with_a_model_whatever_is_frozen_or_half_merged(
            steps in proptest::collection::vec(step(), 1..120),
        ) {
            let mut index = index();
            let mut model = Model::new();
            let mut pairs = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Freeze if index.frozen.is_none() => drop(index.freeze()),
                    Step::Freeze => {}
                    Step::MergeNext => merge_next(&mut index),
                    Step::Change(a, b, _) if a == b => {}
                    Step::Change(a, b, at) => {
                        let (a, b) = (user(a), user(b));
                        let found = index.find(EdgeKind::Follow, a, b);
                        prop_assert_eq!(found.is_some(), pairs.contains(&(a, b)));
                        if let Some(edge) = found {
                            let numbers =
                                [take(&mut model, a, false, b), take(&mut model, b, true, a)];
                            prop_assert_eq!(edge.numbers, numbers);
                            index.remove(&edge);
                            pairs.remove(&(a, b));
                            continue;
                        }
                        let time = Timestamp::from_millis(at);
                        let kind = EdgeKind::Follow;
                        index.add(&Edge { kind, source: a, target: b, at: time, numbers: [0; 2] });
                        pairs.insert((a, b));
                        put(&mut model, a, false, b, at);
                        put(&mut model, b, true, a, at);
                    }
                }
            }
            for owner in (0..USERS).map(user) {
                Direction::BOTH.into_iter().for_each(|it| check_list(&index, &model, owner, it));
                let of = follows_of(&index, owner);
                for edge in &of {
                    prop_assert_eq!(index.find(edge.kind, edge.source, edge.target), Some(*edge));
                }
                let expected = pairs.iter().filter(|(a, b)| *a == owner || *b == owner).count();
                prop_assert_eq!(of.len(), expected);
            }
            prop_assert_eq!(index.stats().follows, pairs.len() as u64);
        }
    }
}

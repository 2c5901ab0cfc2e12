//! Looking for single edges.

use tidings_core::clock::Timestamp;

use super::{
    index::{Edge, EdgeKind, Index, UserNumber},
    packed::PackedList,
    segment::Direction,
};

/// Where a follow was found.
enum Located {
    Active(u32),
    Frozen(u32),
    /// In the packed lists of its source and of its target.
    Packed,
}

impl Index {
    /// Finds the follow, looking through the shorter of the two lists that would hold it, so that
    /// following a celebrity costs what the follower's own list does.
    fn locate(&self, source: UserNumber, target: UserNumber) -> Option<Located> {
        // Before the packed lists, of which one may have taken the frozen layer in and the other not.
        if let Some(frozen) = self.frozen.as_deref()
            && let Some((record, _)) = frozen.find(source, target)
        {
            let number = self.frozen_number([source, target], Direction::Following, record)?;
            if !self.active.changes_of(source, Direction::Following).is_removed(number) {
                return Some(Located::Frozen(record));
            }
            return self.active.find(source, target).map(|(record, _)| Located::Active(record));
        }
        let following = self.packed(source, Direction::Following);
        let followers = self.packed(target, Direction::Followers);
        let by_source = following.is_ordered() || following.len() <= followers.len();
        let (list, owner, direction, other) = if by_source {
            (following, source, Direction::Following, target)
        } else {
            (followers, target, Direction::Followers, source)
        };
        if let Some(place) = list.find(other)
            && self.stands(list, owner, direction, place)
        {
            return Some(Located::Packed);
        }
        self.active.find(source, target).map(|(record, _)| Located::Active(record))
    }

    /// Whether the entry at this place of a packed list was not removed since.
    pub(super) fn stands(
        &self,
        list: PackedList<'_>,
        owner: UserNumber,
        direction: Direction,
        place: usize,
    ) -> bool {
        let is_settled =
            !self.active.removes() && self.frozen.as_ref().is_none_or(|it| !it.removes());
        is_settled || !self.list_over(list, owner, direction).is_gone(list.number(place))
    }

    /// The number that a record of the frozen layer has in one of its lists.
    fn frozen_number(
        &self,
        ends: [UserNumber; 2],
        direction: Direction,
        record: u32,
    ) -> Option<u64> {
        let owner = owner(ends, direction);
        let changes = self.frozen.as_deref()?.changes_of(owner, direction);
        let mut start = self.packed(owner, direction).next();
        if self.frozen_for(owner).is_none() {
            // The packed list has taken the layer in, with its numbers.
            start -= changes.numbers();
        }
        Some(start + u64::from(changes.place_of(record)?))
    }

    /// The number of a follow in one of its lists, and how many entries were looked through for it.
    fn number_in(
        &self,
        ends: [UserNumber; 2],
        direction: Direction,
        (located, at): (&Located, Timestamp),
    ) -> Option<(u64, usize)> {
        let owner = owner(ends, direction);
        let packed = self.packed(owner, direction);
        let number = match (located, direction) {
            (Located::Active(record), _) => {
                let list = self.list_over(packed, owner, direction);
                list.active_start() + u64::from(list.active.place_of(*record)?)
            }
            (Located::Frozen(record), _) => self.frozen_number(ends, direction, *record)?,
            (Located::Packed, Direction::Following) => packed.number(packed.find(ends[1])?),
            (Located::Packed, Direction::Followers) => {
                let sought = self.seek_follower(packed, ends, at);
                return Some((packed.number(sought.place?), sought.looked));
            }
        };
        Some((number, 0))
    }

    fn time_of(&self, [source, target]: [UserNumber; 2], located: &Located) -> Option<Timestamp> {
        match located {
            Located::Active(_) => Some(self.active.find(source, target)?.1.at()),
            Located::Frozen(_) => Some(self.frozen.as_deref()?.find(source, target)?.1.at()),
            Located::Packed => {
                let packed = self.packed(source, Direction::Following);
                let place = packed.find(target)?;
                Some(Timestamp::from_millis(packed.times().get(place)))
            }
        }
    }

    pub(super) fn is_following(&self, source: UserNumber, target: UserNumber) -> bool {
        self.locate(source, target).is_some()
    }

    /// When the follow was made, if it is there.
    pub(super) fn followed_at(&self, source: UserNumber, target: UserNumber) -> Option<Timestamp> {
        let packed = self.packed(source, Direction::Following);
        if let Some(place) = packed.find(target)
            && self.stands(packed, source, Direction::Following, place)
        {
            return Some(Timestamp::from_millis(packed.times().get(place)));
        }
        self.time_of([source, target], &self.locate(source, target)?)
    }

    /// The edge of this kind from `source` to `target`, with its numbers.
    pub(super) fn find(
        &self,
        kind: EdgeKind,
        source: UserNumber,
        target: UserNumber,
    ) -> Option<Edge> {
        if let Some(aversions) = self.aversions(kind) {
            let (number, at) = aversions.find(source, target)?;
            return Some(Edge { kind, source, target, at, numbers: [number, 0] });
        }
        let ends = [source, target];
        let located = self.locate(source, target)?;
        let at = self.time_of(ends, &located)?;
        let (following, _) = self.number_in(ends, Direction::Following, (&located, at))?;
        let (followers, _) = self.number_in(ends, Direction::Followers, (&located, at))?;
        Some(Edge { kind, source, target, at, numbers: [following, followers] })
    }

    /// Whether there is an edge of this kind from `source` to `target`.
    pub(super) fn has(&self, kind: EdgeKind, source: UserNumber, target: UserNumber) -> bool {
        match self.aversions(kind) {
            Some(aversions) => aversions.contains(source, target),
            None => self.is_following(source, target),
        }
    }

    /// A follow of which the number in one list, whose owner may have very many, is known; and how many
    /// entries were looked through for the other.
    pub(super) fn follow_of(
        &self,
        (user, direction): (UserNumber, Direction),
        (other, number): (UserNumber, u64),
    ) -> Option<(Edge, usize)> {
        let ends @ [source, target] = match direction {
            Direction::Following => [user, other],
            Direction::Followers => [other, user],
        };
        let located = self.locate(source, target)?;
        let at = self.time_of(ends, &located)?;
        let (second, looked) = self.number_in(ends, direction.reverse(), (&located, at))?;
        let numbers = match direction {
            Direction::Following => [number, second],
            Direction::Followers => [second, number],
        };
        Some((Edge { kind: EdgeKind::Follow, source, target, at, numbers }, looked))
    }
}

fn owner([source, target]: [UserNumber; 2], direction: Direction) -> UserNumber {
    match direction {
        Direction::Following => source,
        Direction::Followers => target,
    }
}

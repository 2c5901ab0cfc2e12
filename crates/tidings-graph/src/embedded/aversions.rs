//! Who has turned away from whom: all blocks, or all mutes.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

use tidings_core::clock::Timestamp;

use super::{
    bits::{put_varint, take_u32, take_varint, to_usize, unzigzag, zigzag},
    digest::mix,
    index::{Edge, EdgeKind, UserNumber},
    list::EdgeList,
};

/// A snapshot shares the shards; one that changes meanwhile is copied first, under the lock that
/// readers wait for: of a million edges that is a thousand.
const SHARDS: usize = 1_024;

static NONE: EdgeList = EdgeList::new();

/// Edges of one kind, of which most users have none: nothing is kept for those.
///
/// A pair is looked up in constant time, however many edges its ends have: that happens for every
/// recipient of an event whose actor somebody has turned away from.
#[derive(Debug, Default)]
pub(super) struct Aversions {
    /// By source. None until the first edge comes.
    shards: Vec<Arc<Shard>>,
    /// Target and source of each edge.
    by_target: BTreeSet<(UserNumber, UserNumber)>,
}

/// The edges of some of the sources.
#[derive(Debug, Default, Clone)]
pub(super) struct Shard {
    /// Each pair of source and target, and the number of its edge.
    pairs: HashMap<(UserNumber, UserNumber), u64>,
    /// The edges of each source in their order.
    by_source: HashMap<UserNumber, EdgeList>,
}

fn shard_of(source: UserNumber) -> usize {
    to_usize(mix(u64::from(source)) % SHARDS as u64)
}

impl Aversions {
    pub(super) fn len(&self) -> u64 {
        self.by_target.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// All edges as they are now, whatever becomes of them later.
    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.clone()
    }

    fn shard(&self, source: UserNumber) -> Option<&Shard> {
        self.shards.get(shard_of(source)).map(Arc::as_ref)
    }

    fn shard_mut(&mut self, source: UserNumber) -> &mut Shard {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, Arc::default);
        }
        Arc::make_mut(&mut self.shards[shard_of(source)])
    }

    /// Adds an edge that is not there yet, with a number above all others of its source.
    pub(super) fn add(&mut self, edge: &Edge) {
        let [number, _] = edge.numbers;
        let shard = self.shard_mut(edge.source);
        let known = shard.pairs.insert((edge.source, edge.target), number);
        debug_assert!(known.is_none(), "a pair has one edge of a kind");
        shard.by_source.entry(edge.source).or_default().push(number, edge.target, edge.at);
        self.by_target.insert((edge.target, edge.source));
    }

    /// Removes an edge that is there.
    pub(super) fn remove(&mut self, edge: &Edge) {
        let [number, _] = edge.numbers;
        let shard = self.shard_mut(edge.source);
        let known = shard.pairs.remove(&(edge.source, edge.target));
        debug_assert_eq!(known, Some(number), "an edge is kept once");
        if let Slot::Occupied(mut list) = shard.by_source.entry(edge.source) {
            list.get_mut().remove(number);
            if list.get().is_empty() {
                list.remove();
            }
        }
        self.by_target.remove(&(edge.target, edge.source));
    }

    pub(super) fn contains(&self, source: UserNumber, target: UserNumber) -> bool {
        self.shard(source).is_some_and(|it| it.pairs.contains_key(&(source, target)))
    }

    /// Number and time of the edge from `source` to `target`.
    pub(super) fn find(&self, source: UserNumber, target: UserNumber) -> Option<(u64, Timestamp)> {
        let shard = self.shard(source)?;
        let number = *shard.pairs.get(&(source, target))?;
        Some((number, shard.by_source.get(&source)?.get(number)?.at()))
    }

    /// Whether any edge begins at `user`.
    pub(super) fn has_source(&self, user: UserNumber) -> bool {
        self.shard(user).is_some_and(|it| it.by_source.contains_key(&user))
    }

    /// Whether any edge ends at `user`.
    pub(super) fn has_target(&self, user: UserNumber) -> bool {
        self.sources_of(user).next().is_some()
    }

    /// The edges that begin at `user`.
    pub(super) fn of(&self, user: UserNumber) -> &EdgeList {
        self.shard(user).and_then(|it| it.by_source.get(&user)).unwrap_or(&NONE)
    }

    fn sources_of(&self, target: UserNumber) -> impl Iterator<Item = UserNumber> + '_ {
        let range = (target, 0)..=(target, UserNumber::MAX);
        self.by_target.range(range).map(|(_, source)| *source)
    }

    /// All pairs that `user` is one of.
    pub(super) fn pairs_of(
        &self,
        user: UserNumber,
    ) -> impl Iterator<Item = (UserNumber, UserNumber)> + '_ {
        let targets = self.of(user).before(u64::MAX).map(move |(_, entry)| (user, entry.other()));
        targets.chain(self.sources_of(user).map(move |source| (source, user)))
    }

    /// Bytes that it takes, at about.
    pub(super) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|it| it.bytes()).sum::<usize>();
        // A node of the tree is three quarters full.
        shards + self.by_target.len() * size_of::<(UserNumber, UserNumber)>() * 4 / 3
    }
}

impl Shard {
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn bytes(&self) -> usize {
        let lists = self.by_source.values().map(EdgeList::bytes).sum::<usize>();
        let pairs = self.pairs.capacity() * (size_of::<((UserNumber, UserNumber), u64)>() + 1);
        let sources = self.by_source.capacity() * (size_of::<(UserNumber, EdgeList)>() + 1);
        size_of::<Self>() + lists + pairs + sources
    }

    /// The edges, as a snapshot holds them.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (source, list) in &self.by_source {
            let mut edges: Vec<_> = list.before(u64::MAX).collect();
            edges.reverse();
            put_varint(&mut bytes, u64::from(*source));
            put_varint(&mut bytes, edges.len() as u64);
            let mut last = 0;
            for (number, entry) in edges {
                put_varint(&mut bytes, number - last);
                put_varint(&mut bytes, u64::from(entry.other()));
                put_varint(&mut bytes, zigzag(entry.at().as_millis()));
                last = number;
            }
        }
        bytes
    }
}

/// Reads the edges of a shard.
pub(super) fn decode_shard(kind: EdgeKind, mut bytes: &[u8]) -> Option<Vec<Edge>> {
    let mut edges = Vec::new();
    while !bytes.is_empty() {
        let source = take_u32(&mut bytes)?;
        let mut number = 0u64;
        for _ in 0..take_varint(&mut bytes)? {
            number = number.checked_add(take_varint(&mut bytes)?)?;
            let target = take_u32(&mut bytes)?;
            let at = Timestamp::from_millis(unzigzag(take_varint(&mut bytes)?));
            edges.push(Edge { kind, source, target, at, numbers: [number, 0] });
        }
    }
    Some(edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(number: u64, source: UserNumber, target: UserNumber) -> Edge {
        let at = Timestamp::from_millis(7);
        Edge { kind: EdgeKind::Mute, source, target, at, numbers: [number, 0] }
    }

    #[test]
    fn nothing_is_kept_for_those_who_have_none() {
        let mut mutes = Aversions::default();
        assert!(!mutes.contains(1, 2) && !mutes.has_source(1) && mutes.of(1).is_empty());
        let edges = [edge(1, 1, 2), edge(2, 1, 3), edge(3, 4, 2)];
        edges.iter().for_each(|edge| mutes.add(edge));
        assert!(mutes.contains(1, 2) && !mutes.contains(2, 1));
        assert_eq!(mutes.find(4, 2), Some((3, Timestamp::from_millis(7))));
        assert!(mutes.has_source(1) && !mutes.has_source(2));
        assert!(mutes.has_target(2) && !mutes.has_target(1));
        mutes.remove(&edges[0]);
        assert!(mutes.has_target(2), "another edge still ends there");
        assert_eq!((mutes.len(), mutes.of(1).len(), mutes.of(9).len()), (2, 1, 0));
        edges[1..].iter().for_each(|edge| mutes.remove(edge));
        assert!(mutes.is_empty() && mutes.shards.iter().all(|it| it.by_source.is_empty()));
    }

    #[test]
    fn shards_that_were_taken_stay_as_they_were_and_are_read_again() {
        let mut mutes = Aversions::default();
        let edges: Vec<_> =
            (0..5_000u32).map(|n| edge(u64::from(n) * 3, n % 700, n / 700 + 1_000)).collect();
        edges.iter().for_each(|edge| mutes.add(edge));
        let shards = mutes.shards();
        edges[..4_000].iter().for_each(|edge| mutes.remove(edge));
        let mut read = Aversions::default();
        for shard in &shards {
            let edges = decode_shard(EdgeKind::Mute, &shard.encode()).unwrap();
            edges.iter().for_each(|edge| read.add(edge));
        }
        assert_eq!((read.len(), mutes.len()), (5_000, 1_000));
        for edge in &edges {
            assert_eq!(read.find(edge.source, edge.target), Some((edge.numbers[0], edge.at)));
        }
        let of: Vec<_> = read.pairs_of(5).collect();
        assert_eq!(of.len(), 8, "{of:?}");
        assert_eq!(read.pairs_of(1_000).count(), 700);
        assert!(decode_shard(EdgeKind::Mute, &[1, 9, 1]).is_none());
    }
}

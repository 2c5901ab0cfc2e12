//! What a group of commands will change, worked out before anything is written.

use std::collections::HashMap;

use hashbrown::HashTable;
use tidings_core::{clock::Timestamp, follow, ids::UserId, ports::GraphError};

use super::{
    bits::low_word,
    commit::{Commit, Forgotten},
    digest::mix,
    erase::{ERASED_EDGES, Erasure},
    index::{Edge, EdgeKind, Index, UserNumber},
    segment::Direction,
};

/// Something that the writer can be asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Add {
        kind: EdgeKind,
        source: UserId,
        target: UserId,
        at: Timestamp,
    },
    Remove {
        kind: EdgeKind,
        source: UserId,
        target: UserId,
    },
    Import(Vec<follow::Edge>),
    /// Goes on with the erasure of a user.
    Erase {
        user: UserId,
        erasure: Erasure,
    },
    Check,
}

impl Command {
    /// Its name in errors.
    pub(super) fn op(&self) -> &'static str {
        match self {
            Self::Add { kind: EdgeKind::Follow, .. } => "add_follow",
            Self::Add { kind: EdgeKind::Block, .. } => "add_block",
            Self::Add { kind: EdgeKind::Mute, .. } => "add_mute",
            Self::Remove { kind: EdgeKind::Follow, .. } => "remove_follow",
            Self::Remove { kind: EdgeKind::Block, .. } => "remove_block",
            Self::Remove { kind: EdgeKind::Mute, .. } => "remove_mute",
            Self::Import(_) => "import_edges",
            Self::Erase { .. } => "erase_user",
            Self::Check => "check",
        }
    }

    /// The most edges that it changes.
    pub(super) fn edges(&self) -> usize {
        match self {
            // The follows between the two go with it.
            Self::Add { kind: EdgeKind::Block, .. } => 3,
            Self::Add { .. } | Self::Remove { .. } => 1,
            Self::Import(edges) => edges.len(),
            Self::Erase { .. } => ERASED_EDGES,
            Self::Check => 0,
        }
    }
}

/// A kind and a pair that the group touched.
type Pair = (EdgeKind, UserNumber, UserNumber);

/// What the group did to a pair.
#[derive(Debug, Clone, Copy)]
enum Touch {
    /// It is at this place among those added.
    Added(usize),
    Removed,
}

/// The changes of one commit, on top of an index that stays as it is meanwhile.
#[derive(Debug)]
pub(super) struct Group {
    max_users: u32,
    next_number: u64,
    /// New edges in their order; `None` if the group removed it again.
    added: Vec<Option<Edge>>,
    removed: Vec<Edge>,
    new_users: Vec<UserId>,
    new_numbers: HashMap<UserId, UserNumber>,
    touched: HashTable<(Pair, Touch)>,
    forgotten: Vec<Forgotten>,
}

fn hash_pair(&(kind, source, target): &Pair) -> u64 {
    let pair = u64::from(source) << 32 | u64::from(target);
    mix(pair ^ (kind as u64) << 56)
}

impl Group {
    /// An empty group, whose first block or mute will get `next_number`.
    pub(super) fn new(next_number: u64, max_users: u32) -> Self {
        Self {
            max_users,
            next_number,
            added: Vec::new(),
            removed: Vec::new(),
            new_users: Vec::new(),
            new_numbers: HashMap::new(),
            touched: HashTable::new(),
            forgotten: Vec::new(),
        }
    }

    /// The changes, to be committed.
    pub(super) fn into_commit(self) -> Commit {
        Commit {
            new_users: self.new_users,
            removed: self.removed,
            added: self.added.into_iter().flatten().collect(),
            forgotten: self.forgotten,
            next_number: self.next_number,
        }
    }

    /// Takes `command` in, as if all before it had been done; gives the number of edges that it adds
    /// or removes, as it says. On an error an import may be in partly, anything else is not in. Of an
    /// erasure it is one step; see [`Group::erase`].
    pub(super) fn plan(&mut self, index: &Index, command: &Command) -> Result<u64, GraphError> {
        match command {
            Command::Add { kind, source, target, at } => {
                let known = [source, target].map(|id| index.user(id));
                self.add(index, *kind, [source, target], known, *at).map(u64::from)
            }
            Command::Remove { kind, source, target } => {
                let [source, target] = [source, target].map(|id| self.user(id, index.user(id)));
                let ends = source.zip(target);
                let removed =
                    ends.is_some_and(|(source, target)| self.remove(index, *kind, source, target));
                Ok(u64::from(removed))
            }
            Command::Import(edges) => self.import(index, edges),
            Command::Erase { user, erasure } => Ok(self.erase(index, user, *erasure).edges),
            Command::Check => Ok(0),
        }
    }

    /// Takes a part of an import in; see [`Group::plan`].
    pub(super) fn import(
        &mut self,
        index: &Index,
        edges: &[follow::Edge],
    ) -> Result<u64, GraphError> {
        let ids = edges.iter().flat_map(|it| [it.source.as_str(), it.target.as_str()]);
        let mut known = Vec::with_capacity(2 * edges.len());
        index.ids().find_all(&ids.collect::<Vec<_>>(), &mut known);
        let (ends, _) = known.as_chunks::<2>();
        // The lists that will be looked through.
        index.touch(known.iter().enumerate().filter_map(|(end, user)| {
            let direction = Direction::BOTH[end % 2];
            user.map(|user| (user, direction))
        }));
        let mut new = 0;
        for (edge, known) in edges.iter().zip(ends).filter(|(it, _)| it.source != it.target) {
            let ids = [&edge.source, &edge.target];
            match self.add(index, edge.kind, ids, *known, edge.at) {
                Ok(added) => new += u64::from(added),
                Err(GraphError::Blocked) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(new)
    }

    /// Removes an edge of the index that the group has not touched; says whether it had not.
    pub(super) fn take(&mut self, edge: Edge) -> bool {
        let is_new = !self.is_touched(edge.kind, edge.source, edge.target);
        if is_new {
            self.touch((edge.kind, edge.source, edge.target), Touch::Removed);
            self.removed.push(edge);
        }
        is_new
    }

    /// Forgets a user of the index who has no edges, neither there nor here.
    pub(super) fn forget(&mut self, user: Forgotten) {
        self.forgotten.push(user);
    }

    /// Whether the group adds an edge of a user of the index.
    pub(super) fn adds_edge_of(&self, user: UserNumber) -> bool {
        self.added.iter().flatten().any(|edge| edge.source == user || edge.target == user)
    }

    /// Whether the group numbers this user.
    pub(super) fn is_new(&self, id: &UserId) -> bool {
        self.new_numbers.contains_key(id)
    }

    pub(super) fn is_touched(
        &self,
        kind: EdgeKind,
        source: UserNumber,
        target: UserNumber,
    ) -> bool {
        self.touch_of(&(kind, source, target)).is_some()
    }

    pub(super) fn is_forgotten(&self, user: UserNumber) -> bool {
        self.forgotten.iter().any(|it| it.user == user)
    }

    fn add(
        &mut self,
        index: &Index,
        kind: EdgeKind,
        [source, target]: [&UserId; 2],
        known: [Option<UserNumber>; 2],
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let [known_source, known_target] = known;
        let ends = [self.user(source, known_source), self.user(target, known_target)];
        let new_users = ends.iter().filter(|end| end.is_none()).count();
        self.check_room(index, new_users)?;
        if let [Some(source), Some(target)] = ends {
            if self.has(index, kind, source, target) {
                return Ok(false);
            }
            self.make_way(index, kind, source, target)?;
        }
        let [source, target] = [(ends[0], source), (ends[1], target)]
            .map(|(end, id)| end.unwrap_or_else(|| self.number(index, id)));
        let mut numbers = [0; 2];
        if kind != EdgeKind::Follow {
            numbers[0] = self.next_number;
            self.next_number += 1;
        }
        self.touch((kind, source, target), Touch::Added(self.added.len()));
        self.added.push(Some(Edge { kind, source, target, at, numbers }));
        Ok(true)
    }

    /// Whether so many users may be new. Those who are forgotten leave room, but not their numbers.
    fn check_room(&self, index: &Index, new_users: usize) -> Result<(), GraphError> {
        if new_users == 0 {
            return Ok(());
        }
        let new_users = self.new_users.len() + new_users;
        let known = index.ids().known() - self.forgotten.len() + new_users;
        let numbers = index.users() + new_users;
        if known > self.max_users as usize || numbers > UserNumber::MAX as usize {
            return Err(GraphError::Full { limit: self.max_users.into() });
        }
        Ok(())
    }

    /// Sees to it that no block stands beside a follow, in whichever direction either is.
    fn make_way(
        &mut self,
        index: &Index,
        kind: EdgeKind,
        source: UserNumber,
        target: UserNumber,
    ) -> Result<(), GraphError> {
        let ways = [(source, target), (target, source)];
        match kind {
            EdgeKind::Follow => {
                let is_block = |(a, b)| self.has(index, EdgeKind::Block, a, b);
                if ways.into_iter().any(is_block) { Err(GraphError::Blocked) } else { Ok(()) }
            }
            EdgeKind::Block => {
                for (a, b) in ways {
                    self.remove(index, EdgeKind::Follow, a, b);
                }
                Ok(())
            }
            EdgeKind::Mute => Ok(()),
        }
    }

    fn remove(
        &mut self,
        index: &Index,
        kind: EdgeKind,
        source: UserNumber,
        target: UserNumber,
    ) -> bool {
        let pair = (kind, source, target);
        match self.touch_of(&pair) {
            Some(Touch::Removed) => return false,
            // Born in this group: it never was, but what it took the place of is gone.
            Some(Touch::Added(place)) => self.added[place] = None,
            None => {
                let edge =
                    if self.knows(index, &pair) { index.find(kind, source, target) } else { None };
                let Some(edge) = edge else { return false };
                self.removed.push(edge);
            }
        }
        self.touch(pair, Touch::Removed);
        true
    }

    fn touch_of(&self, pair: &Pair) -> Option<Touch> {
        self.touched.find(hash_pair(pair), |(it, _)| it == pair).map(|(_, touch)| *touch)
    }

    fn touch(&mut self, pair: Pair, touch: Touch) {
        let hash = hash_pair(&pair);
        match self.touched.find_mut(hash, |(it, _)| *it == pair) {
            Some(known) => known.1 = touch,
            None => _ = self.touched.insert_unique(hash, (pair, touch), |(it, _)| hash_pair(it)),
        }
    }

    /// The number of a user, of whom it is known what the index says.
    fn user(&self, id: &UserId, known: Option<UserNumber>) -> Option<UserNumber> {
        let known = known.filter(|it| !self.is_forgotten(*it));
        known.or_else(|| self.new_numbers.get(id).copied())
    }

    /// Numbers a user who is new, and for whom there is room.
    fn number(&mut self, index: &Index, id: &UserId) -> UserNumber {
        let users = index.users() + self.new_users.len();
        // `add` has seen to it that it is one.
        let number = UserNumber::try_from(users).unwrap_or(UserNumber::MAX);
        self.new_numbers.insert(id.clone(), number);
        self.new_users.push(id.clone());
        number
    }

    /// Whether the index has users of both numbers.
    fn knows(&self, index: &Index, &(_, source, target): &Pair) -> bool {
        source.max(target) < low_word(index.users() as u64)
    }

    fn has(&self, index: &Index, kind: EdgeKind, source: UserNumber, target: UserNumber) -> bool {
        let pair = (kind, source, target);
        match self.touch_of(&pair) {
            Some(Touch::Added(_)) => true,
            Some(Touch::Removed) => false,
            None => self.knows(index, &pair) && index.has(kind, source, target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(kind: EdgeKind, source: &str, target: &str) -> Command {
        let [source, target] = [source, target].map(|id| UserId::new(id).unwrap());
        Command::Add { kind, source, target, at: Timestamp::from_millis(1) }
    }

    fn follow(follower: &str, followee: &str) -> Command {
        add(EdgeKind::Follow, follower, followee)
    }

    fn remove(follower: &str, followee: &str) -> Command {
        let [source, target] = [follower, followee].map(|id| UserId::new(id).unwrap());
        Command::Remove { kind: EdgeKind::Follow, source, target }
    }

    fn index_with(commands: &[Command]) -> Index {
        let mut index = Index::default();
        let mut group = Group::new(1, 100);
        for command in commands {
            group.plan(&index, command).unwrap();
        }
        group.into_commit().apply(&mut index);
        index
    }

    #[test]
    fn an_edge_that_comes_and_goes_within_a_group_was_never_there() {
        let index = Index::default();
        let mut group = Group::new(5, 100);
        let add = follow("ann", "ben");
        assert_eq!(group.plan(&index, &add).unwrap(), 1);
        assert_eq!(group.plan(&index, &add).unwrap(), 0);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 0);
        let commit = group.into_commit();
        assert_eq!((commit.added, commit.removed), (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_edge_that_goes_and_comes_within_a_group_is_a_new_one() {
        let index = index_with(&[follow("ann", "ben"), follow("ann", "cem")]);
        let mut group = Group::new(9, 100);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &follow("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &follow("ann", "ben")).unwrap(), 1);
        let commit = group.into_commit();
        assert_eq!((commit.added.len(), commit.removed.len()), (1, 1));
        let mut index = index;
        commit.apply(&mut index);
        let ends = ["ann", "ben"].map(|it| index.user(&UserId::new(it).unwrap()).unwrap());
        let edge = index.find(EdgeKind::Follow, ends[0], ends[1]).unwrap();
        assert_eq!(edge.numbers, [2, 1], "it is the newest of both lists");
    }

    #[test]
    fn a_full_graph_takes_edges_between_those_it_knows_and_no_half_pair() {
        let index = index_with(&[follow("ann", "ben")]);
        let mut group = Group::new(9, 3);
        let strangers = follow("cem", "dot");
        assert!(matches!(group.plan(&index, &strangers), Err(GraphError::Full { limit: 3 })));
        assert_eq!(group.plan(&index, &follow("ann", "cem")).unwrap(), 1);
        assert!(group.plan(&index, &follow("ann", "dot")).is_err());
        assert_eq!(group.plan(&index, &follow("ben", "ann")).unwrap(), 1);
        assert_eq!(group.plan(&index, &remove("dot", "ann")).unwrap(), 0);
    }

    #[test]
    fn a_block_takes_both_follows_away_be_they_of_the_index_or_of_the_group() {
        let index = index_with(&[follow("ann", "ben")]);
        let mut group = Group::new(9, 100);
        group.plan(&index, &follow("ben", "ann")).unwrap();
        let block = add(EdgeKind::Block, "ben", "ann");
        assert_eq!(group.plan(&index, &block).unwrap(), 1);
        assert_eq!(group.plan(&index, &block).unwrap(), 0);
        assert!(matches!(group.plan(&index, &follow("ann", "ben")), Err(GraphError::Blocked)));
        assert!(matches!(group.plan(&index, &follow("ben", "ann")), Err(GraphError::Blocked)));
        let Commit { added, removed, next_number, .. } = group.into_commit();
        let added: Vec<_> = added.iter().map(|edge| (edge.kind, edge.numbers)).collect();
        assert_eq!((added, next_number), (vec![(EdgeKind::Block, [9, 0])], 10));
        let removed: Vec<_> = removed.iter().map(|edge| (edge.source, edge.target)).collect();
        assert_eq!(removed, [(0, 1)]);
    }

    #[test]
    fn a_user_is_forgotten_with_the_last_edge_and_comes_back_as_somebody_else() {
        let mut index = index_with(&[follow("ann", "ben"), add(EdgeKind::Mute, "cem", "ann")]);
        let ann = UserId::new("ann").unwrap();
        let erase = Command::Erase { user: ann.clone(), erasure: Erasure::Begun };
        let mut group = Group::new(9, 3);
        assert_eq!(group.plan(&index, &erase).unwrap(), 2);
        assert_eq!(group.plan(&index, &erase).unwrap(), 0, "the same edges are gone once");
        group.into_commit().apply(&mut index);
        assert_eq!(index.user(&ann), Some(0), "it may have had edges in that group");
        let mut group = Group::new(9, 3);
        assert_eq!(group.plan(&index, &erase).unwrap(), 0);
        assert_eq!(group.plan(&index, &follow("ben", "ann")).unwrap(), 1);
        group.into_commit().apply(&mut index);
        assert_eq!((index.user(&ann), index.users()), (Some(3), 4));
        let stats = index.stats();
        assert_eq!((stats.users, stats.follows, stats.mutes), (3, 1, 0));
        let mut group = Group::new(9, 3);
        assert_eq!(group.plan(&index, &follow("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &erase).unwrap(), 1);
        assert_eq!(group.plan(&index, &erase).unwrap(), 0);
        group.into_commit().apply(&mut index);
        assert_eq!(index.user(&ann), Some(3), "what came in the same group stays");
    }
}

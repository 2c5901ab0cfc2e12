//! What a group of commands will change, worked out before anything is written.

use std::collections::HashMap;

use tidings_core::{clock::Timestamp, follow, ids::UserId, ports::GraphError};

use super::index::{Edge, EdgeKind, Index, UserNumber};

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
    /// Removes so many of a user's edges.
    Erase {
        user: UserId,
        most: usize,
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
            Self::Erase { most, .. } => *most,
            Self::Check => 0,
        }
    }
}

/// The changes of one commit, on top of an index that stays as it is meanwhile.
#[derive(Debug)]
pub(super) struct Group {
    max_users: u32,
    first_number: u64,
    /// New edges by number, from `first_number` on; `None` if the group removed it again.
    added: Vec<Option<Edge>>,
    removed: Vec<Edge>,
    new_users: Vec<UserId>,
    new_numbers: HashMap<UserId, UserNumber>,
    /// Kinds and pairs that the group touched, and their edge as the group leaves it.
    touched: HashMap<(EdgeKind, UserNumber, UserNumber), Option<Edge>>,
}

impl Group {
    /// An empty group, whose first new edge will get `first_number`.
    pub(super) fn new(first_number: u64, max_users: u32) -> Self {
        Self {
            max_users,
            first_number,
            added: Vec::new(),
            removed: Vec::new(),
            new_users: Vec::new(),
            new_numbers: HashMap::new(),
            touched: HashMap::new(),
        }
    }

    /// Whether a commit of it would change nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.new_users.is_empty()
    }

    /// The number after the last one that the group has used.
    pub(super) fn next_number(&self) -> u64 {
        self.first_number + self.added.len() as u64
    }

    /// Users to number, in order, after those of the index.
    pub(super) fn new_users(&self) -> &[UserId] {
        &self.new_users
    }

    /// Edges to add, by ascending number.
    pub(super) fn added(&self) -> impl Iterator<Item = &Edge> {
        self.added.iter().flatten()
    }

    /// Edges of the index to remove.
    pub(super) fn removed(&self) -> &[Edge] {
        &self.removed
    }

    /// Takes `command` in, as if all before it had been done; gives the number of edges that it adds
    /// or removes, as it says. On an error an import may be in partly, anything else is not in.
    pub(super) fn plan(&mut self, index: &Index, command: &Command) -> Result<u64, GraphError> {
        match command {
            Command::Add { kind, source, target, at } => {
                self.add(index, *kind, [source, target], *at).map(u64::from)
            }
            Command::Remove { kind, source, target } => {
                let ends = self.user(index, source).zip(self.user(index, target));
                let removed =
                    ends.is_some_and(|(source, target)| self.remove(index, *kind, source, target));
                Ok(u64::from(removed))
            }
            Command::Import(edges) => self.import(index, edges),
            Command::Erase { user, most } => Ok(self.erase(index, user, *most)),
            Command::Check => Ok(0),
        }
    }

    fn import(&mut self, index: &Index, edges: &[follow::Edge]) -> Result<u64, GraphError> {
        let mut new = 0;
        for follow::Edge { kind, source, target, at } in edges {
            if source == target {
                continue;
            }
            match self.add(index, *kind, [source, target], *at) {
                Ok(added) => new += u64::from(added),
                Err(GraphError::Blocked) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(new)
    }

    /// Only edges of the index: what the same group adds is taken by the next command.
    fn erase(&mut self, index: &Index, user: &UserId, most: usize) -> u64 {
        let Some(user) = index.user(user) else { return 0 };
        let edges = index.edges_of(user, most).into_iter();
        let gone = edges.filter(|it| self.remove(index, it.kind, it.source, it.target));
        gone.count() as u64
    }

    fn add(
        &mut self,
        index: &Index,
        kind: EdgeKind,
        [source, target]: [&UserId; 2],
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let ends = [source, target].map(|id| self.user(index, id));
        let new_users = ends.iter().filter(|end| end.is_none()).count() as u64;
        let users = index.users() as u64 + self.new_users.len() as u64;
        if users + new_users > u64::from(self.max_users) {
            return Err(GraphError::Full { limit: self.max_users.into() });
        }
        if let [Some(source), Some(target)] = ends {
            if self.find(index, kind, source, target).is_some() {
                return Ok(false);
            }
            self.make_way(index, kind, source, target)?;
        }
        let [source, target] = [(ends[0], source), (ends[1], target)]
            .map(|(end, id)| end.unwrap_or_else(|| self.number(index, id)));
        let edge = Edge { kind, number: self.next_number(), source, target, at };
        self.added.push(Some(edge));
        self.touched.insert((kind, source, target), Some(edge));
        Ok(true)
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
                let is_block = |(a, b)| self.find(index, EdgeKind::Block, a, b).is_some();
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
        let Some(edge) = self.find(index, kind, source, target) else { return false };
        self.touched.insert((kind, source, target), None);
        let place = edge.number.checked_sub(self.first_number).map(usize::try_from);
        match place {
            // Born in this group: it never was.
            Some(Ok(place)) => self.added[place] = None,
            _ => self.removed.push(edge),
        }
        true
    }

    fn user(&self, index: &Index, id: &UserId) -> Option<UserNumber> {
        index.user(id).or_else(|| self.new_numbers.get(id).copied())
    }

    /// Numbers a user who is new, and for whom there is room.
    fn number(&mut self, index: &Index, id: &UserId) -> UserNumber {
        let users = index.users() + self.new_users.len();
        // `add` has held it to `max_users`, which is of this type.
        let number = UserNumber::try_from(users).unwrap_or(UserNumber::MAX);
        self.new_numbers.insert(id.clone(), number);
        self.new_users.push(id.clone());
        number
    }

    fn find(
        &self,
        index: &Index,
        kind: EdgeKind,
        source: UserNumber,
        target: UserNumber,
    ) -> Option<Edge> {
        if let Some(edge) = self.touched.get(&(kind, source, target)) {
            return *edge;
        }
        let known = |user: UserNumber| (user as usize) < index.users();
        if known(source) && known(target) { index.find(kind, source, target) } else { None }
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
        group.new_users().iter().for_each(|id| index.add_user(id.clone()));
        group.added().for_each(|edge| index.add(edge));
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
        assert_eq!((group.added().count(), group.removed().len()), (0, 0));
        assert_eq!(group.next_number(), 6, "a number is not used twice");
    }

    #[test]
    fn an_edge_that_goes_and_comes_within_a_group_is_a_new_one() {
        let index = index_with(&[follow("ann", "ben"), follow("ann", "cem")]);
        let mut group = Group::new(9, 100);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &follow("ann", "ben")).unwrap(), 1);
        let numbers: Vec<_> = group.added().map(|edge| edge.number).collect();
        assert_eq!((numbers, group.removed()[0].number), (vec![9], 1));
    }

    #[test]
    fn a_full_graph_takes_edges_between_those_it_knows_and_no_half_pair() {
        let index = index_with(&[follow("ann", "ben")]);
        let mut group = Group::new(9, 3);
        let strangers = follow("cem", "dot");
        assert!(matches!(group.plan(&index, &strangers), Err(GraphError::Full { limit: 3 })));
        assert!(group.is_empty());
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
        let added: Vec<_> = group.added().map(|edge| (edge.kind, edge.number)).collect();
        assert_eq!(added, [(EdgeKind::Block, 10)]);
        assert_eq!(group.removed().iter().map(|edge| edge.number).collect::<Vec<_>>(), [1]);
    }
}

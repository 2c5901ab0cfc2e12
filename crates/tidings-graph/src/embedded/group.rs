//! What a group of commands will change, worked out before anything is written.

use std::collections::HashMap;

use tidings_core::{clock::Timestamp, follow::Follow, ids::UserId, ports::GraphError};

use super::index::{Edge, Index, UserNumber};

/// Something that the writer can be asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Add(Follow),
    Remove { follower: UserId, followee: UserId },
    Import(Vec<Follow>),
    Check,
}

impl Command {
    /// Its name in errors.
    pub(super) fn op(&self) -> &'static str {
        match self {
            Self::Add(_) => "add_follow",
            Self::Remove { .. } => "remove_follow",
            Self::Import(_) => "import_follows",
            Self::Check => "check",
        }
    }

    /// The most edges that it changes.
    pub(super) fn edges(&self) -> usize {
        match self {
            Self::Add(_) | Self::Remove { .. } => 1,
            Self::Import(follows) => follows.len(),
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
    /// Pairs that the group touched, and their edge as the group leaves it.
    touched: HashMap<(UserNumber, UserNumber), Option<Edge>>,
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

    /// Takes `command` in, as if all before it had been done; gives the number of edges that it
    /// changes. On an error an import may be in partly, anything else is not in.
    pub(super) fn plan(&mut self, index: &Index, command: &Command) -> Result<u64, GraphError> {
        match command {
            Command::Add(follow) => self.add(index, follow).map(u64::from),
            Command::Remove { follower, followee } => {
                Ok(u64::from(self.remove(index, follower, followee)))
            }
            Command::Import(follows) => {
                let mut new = 0;
                for follow in follows {
                    if follow.follower != follow.followee {
                        new += u64::from(self.add(index, follow)?);
                    }
                }
                Ok(new)
            }
            Command::Check => Ok(0),
        }
    }

    fn add(&mut self, index: &Index, follow: &Follow) -> Result<bool, GraphError> {
        let [follower, followee] =
            [&follow.follower, &follow.followee].map(|id| self.user(index, id));
        let new_users = u64::from(follower.is_none()) + u64::from(followee.is_none());
        let users = index.users() as u64 + self.new_users.len() as u64;
        if users + new_users > u64::from(self.max_users) {
            return Err(GraphError::Full { limit: self.max_users.into() });
        }
        let follower = follower.unwrap_or_else(|| self.number(index, &follow.follower));
        let followee = followee.unwrap_or_else(|| self.number(index, &follow.followee));
        if self.find(index, follower, followee).is_some() {
            return Ok(false);
        }
        self.insert(follower, followee, follow.at);
        Ok(true)
    }

    fn insert(&mut self, follower: UserNumber, followee: UserNumber, at: Timestamp) {
        let edge = Edge { number: self.next_number(), follower, followee, at };
        self.added.push(Some(edge));
        self.touched.insert((follower, followee), Some(edge));
    }

    fn remove(&mut self, index: &Index, follower: &UserId, followee: &UserId) -> bool {
        let (Some(follower), Some(followee)) =
            (self.user(index, follower), self.user(index, followee))
        else {
            return false;
        };
        let Some(edge) = self.find(index, follower, followee) else { return false };
        self.touched.insert((follower, followee), None);
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

    fn find(&self, index: &Index, follower: UserNumber, followee: UserNumber) -> Option<Edge> {
        if let Some(edge) = self.touched.get(&(follower, followee)) {
            return *edge;
        }
        let known = |user: UserNumber| (user as usize) < index.users();
        if known(follower) && known(followee) { index.find(follower, followee) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(follower: &str, followee: &str) -> Follow {
        let [follower, followee] = [follower, followee].map(|id| UserId::new(id).unwrap());
        Follow { follower, followee, at: Timestamp::from_millis(1) }
    }

    fn remove(follower: &str, followee: &str) -> Command {
        let Follow { follower, followee, .. } = follow(follower, followee);
        Command::Remove { follower, followee }
    }

    fn index_with(follows: &[(&str, &str)]) -> Index {
        let mut index = Index::default();
        let mut group = Group::new(1, 100);
        for (follower, followee) in follows {
            group.plan(&index, &Command::Add(follow(follower, followee))).unwrap();
        }
        group.new_users().iter().for_each(|id| index.add_user(id.clone()));
        group.added().for_each(|edge| index.add(edge));
        index
    }

    #[test]
    fn an_edge_that_comes_and_goes_within_a_group_was_never_there() {
        let index = Index::default();
        let mut group = Group::new(5, 100);
        let add = Command::Add(follow("ann", "ben"));
        assert_eq!(group.plan(&index, &add).unwrap(), 1);
        assert_eq!(group.plan(&index, &add).unwrap(), 0);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 0);
        assert_eq!((group.added().count(), group.removed().len()), (0, 0));
        assert_eq!(group.next_number(), 6, "a number is not used twice");
    }

    #[test]
    fn an_edge_that_goes_and_comes_within_a_group_is_a_new_one() {
        let index = index_with(&[("ann", "ben"), ("ann", "cem")]);
        let mut group = Group::new(9, 100);
        assert_eq!(group.plan(&index, &remove("ann", "ben")).unwrap(), 1);
        assert_eq!(group.plan(&index, &Command::Add(follow("ann", "ben"))).unwrap(), 1);
        let numbers: Vec<_> = group.added().map(|edge| edge.number).collect();
        assert_eq!((numbers, group.removed()[0].number), (vec![9], 1));
    }

    #[test]
    fn a_full_graph_takes_edges_between_those_it_knows_and_no_half_pair() {
        let index = index_with(&[("ann", "ben")]);
        let mut group = Group::new(9, 3);
        let strangers = Command::Add(follow("cem", "dot"));
        assert!(matches!(group.plan(&index, &strangers), Err(GraphError::Full { limit: 3 })));
        assert!(group.is_empty());
        assert_eq!(group.plan(&index, &Command::Add(follow("ann", "cem"))).unwrap(), 1);
        assert!(group.plan(&index, &Command::Add(follow("ann", "dot"))).is_err());
        assert_eq!(group.plan(&index, &Command::Add(follow("ben", "ann"))).unwrap(), 1);
        assert_eq!(group.plan(&index, &remove("dot", "ann")).unwrap(), 0);
    }
}

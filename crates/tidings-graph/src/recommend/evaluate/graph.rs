//! The training graph: who follows whom, once what is hidden is gone.

/// Lists of users by user, each in ascending order.
#[derive(Debug)]
pub(super) struct Adjacency {
    starts: Vec<usize>,
    users: Vec<u32>,
}

impl Adjacency {
    /// The lists of `users` users that the edges make; no edge may be there twice.
    pub(super) fn new(users: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0; users + 1];
        for (source, _) in edges.clone() {
            starts[source as usize + 1] += 1;
        }
        for user in 0..users {
            starts[user + 1] += starts[user];
        }
        let mut ends = starts.clone();
        let mut targets = vec![0; starts[users]];
        for (source, target) in edges {
            let end = &mut ends[source as usize];
            targets[*end] = target;
            *end += 1;
        }
        for user in 0..users {
            targets[starts[user]..starts[user + 1]].sort_unstable();
        }
        Self { starts, users: targets }
    }

    /// The list of a user.
    pub(super) fn of(&self, user: u32) -> &[u32] {
        let user = user as usize;
        &self.users[self.starts[user]..self.starts[user + 1]]
    }

    /// How long the list of a user is.
    pub(super) fn degree(&self, user: u32) -> usize {
        let user = user as usize;
        self.starts[user + 1] - self.starts[user]
    }
}

/// The training graph in both directions and in none.
#[derive(Debug)]
pub(super) struct TrainingGraph {
    pub(super) users: usize,
    /// Whom each user follows.
    pub(super) following: Adjacency,
    /// Who follows each user.
    pub(super) followers: Adjacency,
    /// Who follows each user or is followed by them.
    pub(super) around: Adjacency,
    /// How popular each user is: 1 for who has the most followers.
    pub(super) popularity: Vec<f64>,
}

impl TrainingGraph {
    pub(super) fn new(users: usize, follows: &[(u32, u32)]) -> Self {
        let back = follows.iter().map(|(follower, followee)| (*followee, *follower));
        let following = Adjacency::new(users, follows.iter().copied());
        let followers = Adjacency::new(users, back.clone());
        // The other direction of a follow that is returned is there already.
        let one_way =
            back.filter(|(user, other)| following.of(*user).binary_search(other).is_err());
        let around = Adjacency::new(users, follows.iter().copied().chain(one_way));
        let degrees = followers.starts.windows(2).map(|ends| ends[1] - ends[0]);
        let most = degrees.clone().max().unwrap_or(0).max(1) as f64;
        let popularity = degrees.map(|degree| degree as f64 / most).collect();
        Self { users, following, followers, around, popularity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_hold_both_directions() {
        let graph = TrainingGraph::new(4, &[(0, 3), (0, 1), (1, 0), (2, 1)]);
        assert_eq!(graph.following.of(0), [1, 3]);
        assert_eq!(graph.following.of(3), [0; 0]);
        assert_eq!(graph.followers.of(1), [0, 2]);
        assert_eq!(graph.around.of(0), [1, 3]);
        assert_eq!(graph.around.of(1), [0, 2]);
        assert_eq!(graph.around.degree(3), 1);
        assert_eq!(graph.popularity, [0.5, 1.0, 0.0, 0.5]);
    }
}

//! The graph that is evaluated on, with its users numbered.

use std::collections::HashMap;

use tidings_core::ids::UserId;

/// Whether a line of the graph is one follow or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The first user follows the second.
    Directed,
    /// Each follows the other.
    Undirected,
}

/// The graph has more users than can be numbered.
#[derive(Debug, thiserror::Error)]
#[error("the graph has more than {} users", u32::MAX)]
pub struct TooManyUsers;

/// A follow graph in the order of its file, without self-follows and repeated lines.
///
/// Users have numbers from 0, and the protocol draws by these. Where the ids are the integers from 0 to
/// the number of users less one, an id is its number; otherwise users are numbered in the order in which
/// they first appear.
#[derive(Debug)]
pub struct Follows {
    pub(super) users: Vec<UserId>,
    /// Follower and followee; of an undirected graph each pair once, the lower number first.
    pub(super) edges: Vec<(u32, u32)>,
    /// When each edge was made, if all say so.
    pub(super) times: Option<Vec<i64>>,
    pub(super) direction: Direction,
}

/// Gathers the edges of [`Follows`].
#[derive(Debug)]
pub struct FollowsBuilder {
    numbers: HashMap<UserId, u32>,
    users: Vec<UserId>,
    edges: Vec<(u32, u32)>,
    times: Vec<i64>,
    direction: Direction,
}

impl FollowsBuilder {
    /// No edges yet.
    #[must_use]
    pub fn new(direction: Direction) -> Self {
        Self {
            numbers: HashMap::new(),
            users: Vec::new(),
            edges: Vec::new(),
            times: Vec::new(),
            direction,
        }
    }

    /// Adds an edge, with its time in any unit that grows. Of repeated edges the first counts.
    ///
    /// # Errors
    ///
    /// [`TooManyUsers`].
    pub fn add(
        &mut self,
        follower: UserId,
        followee: UserId,
        time: Option<i64>,
    ) -> Result<(), TooManyUsers> {
        let edge = (self.number(follower)?, self.number(followee)?);
        if edge.0 == edge.1 {
            return Ok(());
        }
        // As soon as one edge has no time, those of the others are of no use.
        if self.times.len() == self.edges.len() {
            self.times.extend(time);
        }
        self.edges.push(edge);
        Ok(())
    }

    fn number(&mut self, user: UserId) -> Result<u32, TooManyUsers> {
        if let Some(number) = self.numbers.get(&user) {
            return Ok(*number);
        }
        let number = u32::try_from(self.users.len()).map_err(|_| TooManyUsers)?;
        self.users.push(user.clone());
        self.numbers.insert(user, number);
        Ok(number)
    }

    /// The graph of what was added.
    #[must_use]
    pub fn finish(self) -> Follows {
        let Self { numbers, users, mut edges, times, direction } = self;
        drop(numbers);
        let mut times = Some(times).filter(|times| times.len() == edges.len());
        let users = match own_numbers(&users) {
            Some(own) => {
                for (follower, followee) in &mut edges {
                    *follower = own[*follower as usize];
                    *followee = own[*followee as usize];
                }
                let mut numbered: Vec<_> = own.into_iter().zip(users).collect();
                numbered.sort_unstable_by_key(|(number, _)| *number);
                numbered.into_iter().map(|(_, user)| user).collect()
            }
            None => users,
        };
        if direction == Direction::Undirected {
            for (low, high) in &mut edges {
                (*low, *high) = (*low.min(high), *low.max(high));
            }
        }
        let is_first = first_places(&edges);
        keep(&mut edges, &is_first);
        if let Some(times) = &mut times {
            keep(times, &is_first);
        }
        Follows { users, edges, times, direction }
    }
}

/// What the ids say of the numbers, if they are 0, 1, 2 and so on in any order.
fn own_numbers(users: &[UserId]) -> Option<Vec<u32>> {
    let mut is_taken = vec![false; users.len()];
    let mut numbers = Vec::with_capacity(users.len());
    for user in users {
        let text = user.as_str();
        let number: u32 = text.parse().ok()?;
        let is_taken = is_taken.get_mut(number as usize)?;
        // `007` and `7` are two users.
        if *is_taken || (text.starts_with('0') && text != "0") || text.starts_with('+') {
            return None;
        }
        *is_taken = true;
        numbers.push(number);
    }
    Some(numbers)
}

/// Which of the edges do not repeat one before them.
fn first_places(edges: &[(u32, u32)]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..edges.len()).collect();
    order.sort_unstable_by_key(|place| (edges[*place], *place));
    let mut is_first = vec![true; edges.len()];
    for pair in order.windows(2) {
        is_first[pair[1]] = edges[pair[0]] != edges[pair[1]];
    }
    is_first
}

fn keep<T>(items: &mut Vec<T>, is_kept: &[bool]) {
    let mut kept = is_kept.iter();
    items.retain(|_| kept.next().copied().unwrap_or(false));
}

impl Follows {
    /// All follows, those of an undirected graph in both directions: first as the file has them, then
    /// back.
    pub(super) fn directed(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let back: &[(u32, u32)] = match self.direction {
            Direction::Directed => &[],
            Direction::Undirected => &self.edges,
        };
        self.edges.iter().copied().chain(back.iter().map(|(low, high)| (*high, *low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows(direction: Direction, lines: &[(&str, &str, Option<i64>)]) -> Follows {
        let mut builder = FollowsBuilder::new(direction);
        for (follower, followee, time) in lines {
            let [follower, followee] = [follower, followee].map(|id| UserId::new(id).unwrap());
            builder.add(follower, followee, *time).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn dense_integers_are_their_own_numbers() {
        let graph = follows(Direction::Directed, &[("2", "0", None), ("0", "1", None)]);
        assert_eq!(graph.edges, [(2, 0), (0, 1)]);
        assert_eq!(graph.users[2].as_str(), "2");
    }

    #[test]
    fn other_ids_are_numbered_as_they_appear() {
        for (a, b, c) in [("b", "a", "c"), ("7", "0", "1"), ("01", "0", "1"), ("+2", "0", "1")] {
            let graph = follows(Direction::Directed, &[(a, b, None), (b, c, None)]);
            assert_eq!(graph.edges, [(0, 1), (1, 2)], "{a}");
            assert_eq!(graph.users[0].as_str(), a);
        }
    }

    #[test]
    fn self_follows_and_repeated_lines_do_not_count() {
        let lines = [("0", "1", None), ("1", "1", None), ("1", "0", None), ("0", "1", None)];
        assert_eq!(follows(Direction::Directed, &lines).edges, [(0, 1), (1, 0)]);
        let graph = follows(Direction::Undirected, &lines);
        assert_eq!(graph.edges, [(0, 1)]);
        assert_eq!(graph.directed().collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    }

    #[test]
    fn times_are_kept_where_every_edge_has_one() {
        let lines = [("0", "1", Some(5)), ("0", "1", Some(6)), ("1", "0", Some(4))];
        assert_eq!(follows(Direction::Directed, &lines).times, Some(vec![5, 4]));
        let lines = [("0", "1", Some(5)), ("1", "2", None), ("2", "0", Some(4))];
        assert_eq!(follows(Direction::Directed, &lines).times, None);
    }
}

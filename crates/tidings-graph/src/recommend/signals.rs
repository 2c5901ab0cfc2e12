//! What the graph around a user says of everyone near, gathered within [`limits`](super::limits).

use tidings_core::{follow::NeighbourSide, ports::GraphError};

use super::{
    adjacency::{Adjacency, Lists, Node},
    best::{Scored, keep_best},
    features::number,
    limits::{
        ALIKE_COMPARED, ALIKE_ENTRIES, ALIKE_FOLLOWERS, ALIKE_FOLLOWING_ENTRIES, ALIKE_USERS,
        LEFT_OUT_ENTRIES, LIST_ENTRIES, NEAR_ENTRIES, OWN_ENTRIES,
    },
    push,
    tally::Tally,
};

/// The sums of all signals. Kept from one request to the next for their memory.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Whom the user follows, newest first.
    pub(super) following: Vec<Node>,
    /// Who follows the user, newest first.
    pub(super) followers: Vec<Node>,
    /// The same as a set.
    fans: Tally<1>,
    pub(super) own: Own,
    /// Those who follow what the user follows: by the popularity of what is shared, to the power of a half,
    /// and plainly.
    pub(super) alike: Tally<2>,
    /// Whom those who are most alike follow: the same two weights, and how many they are.
    pub(super) collaborative: Tally<3>,
    /// Followees of followees, by resource allocation, and how many followees.
    pub(super) friends_of_friends: Tally<2>,
    /// Followees of followers, by resource allocation.
    pub(super) followers_following: Tally<1>,
    /// Followers of followers, by resource allocation.
    pub(super) followers_followers: Tally<1>,
    /// Personalised PageRank over follows in both directions, and what [`push`] needs besides.
    pub(super) walks: Tally<3>,
    work: Work,
}

/// How many follow the user, and the reverse.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Own {
    pub(super) following: u32,
    pub(super) followers: u32,
    /// Of the follows that were read, so many are returned.
    pub(super) friends: u32,
}

/// Buffers.
#[derive(Debug, Default)]
struct Work {
    totals: Vec<u32>,
    lists: Lists,
    order: Vec<(u32, Node)>,
    nodes: Vec<Node>,
    best: Vec<Scored>,
    weighed: Vec<Weighed>,
}

/// Somebody who is like the user, by either weight.
#[derive(Debug, Clone, Copy)]
struct Weighed {
    node: Node,
    weights: [f32; 2],
}

/// Lists that are read together, before it is known how long they are.
const LISTS: usize = 16;

impl Signals {
    /// Gathers the signals around `user`.
    pub(super) fn gather(&mut self, graph: &dyn Adjacency, user: Node) -> Result<(), GraphError> {
        self.clear();
        self.read_own(graph, user)?;
        self.find_alike(graph, user)?;
        self.follow_alike(graph)?;
        self.look_near(graph)?;
        let own = [&self.following[..], &self.followers[..]];
        push::walk(graph, user, own, &mut self.walks)?;
        self.leave_out_own(graph, user)
    }

    /// Leaves the user and those whom they follow out of what may be recommended.
    fn leave_out_own(&mut self, graph: &dyn Adjacency, user: Node) -> Result<(), GraphError> {
        self.leave_out(user);
        let mut lists = std::mem::take(&mut self.work.lists);
        lists.clear();
        graph.read(&[user], NeighbourSide::Following, LEFT_OUT_ENTRIES, &mut lists)?;
        lists.iter().flatten().for_each(|it| self.leave_out(*it));
        self.work.lists = lists;
        Ok(())
    }

    /// Leaves somebody out of what may be recommended.
    pub(super) fn leave_out(&mut self, node: Node) {
        self.alike.zero(node);
        self.collaborative.zero(node);
        self.friends_of_friends.zero(node);
        self.followers_following.zero(node);
        self.followers_followers.zero(node);
        self.walks.zero(node);
    }

    /// Whether the user has no follow at either end.
    pub(super) fn knows_nobody(&self) -> bool {
        self.following.is_empty() && self.followers.is_empty()
    }

    /// Whether this one follows the user; of very many followers the newest are known.
    pub(super) fn is_follower(&self, node: Node) -> bool {
        self.fans.get(node)[0] > 0.0
    }

    /// How many of the user's followees follow this one, as far as their lists were read.
    pub(super) fn known_followers(&self, node: Node) -> f32 {
        self.friends_of_friends.get(node)[1]
    }

    /// Forgets the last user.
    pub(super) fn clear(&mut self) {
        self.following.clear();
        self.followers.clear();
        self.fans.clear();
        self.own = Own::default();
        self.alike.clear();
        self.collaborative.clear();
        self.friends_of_friends.clear();
        self.followers_following.clear();
        self.followers_followers.clear();
        self.walks.clear();
    }

    fn read_own(&mut self, graph: &dyn Adjacency, user: Node) -> Result<(), GraphError> {
        let work = &mut self.work;
        for (side, nodes) in [
            (NeighbourSide::Following, &mut self.following),
            (NeighbourSide::Followers, &mut self.followers),
        ] {
            work.lists.clear();
            work.totals.clear();
            graph.totals(&[user], side, &mut work.totals)?;
            graph.read(&[user], side, OWN_ENTRIES, &mut work.lists)?;
            nodes.extend(work.lists.iter().flatten());
            let total = work.totals.first().copied().unwrap_or_default();
            match side {
                NeighbourSide::Following => self.own.following = total,
                NeighbourSide::Followers => self.own.followers = total,
            }
        }
        for follower in &self.followers {
            self.fans.of(*follower)[0] = 1.0;
        }
        let returned = self.following.iter().filter(|it| self.fans.get(**it)[0] > 0.0);
        self.own.friends = u32::try_from(returned.count()).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Second step: who follows what the user follows.
    fn find_alike(&mut self, graph: &dyn Adjacency, user: Node) -> Result<(), GraphError> {
        let work = &mut self.work;
        let limits = (ALIKE_FOLLOWERS, ALIKE_ENTRIES);
        choose(graph, &self.following, NeighbourSide::Followers, limits, work)?;
        graph.read(&work.nodes, NeighbourSide::Followers, usize::MAX, &mut work.lists)?;
        for ((total, _), list) in work.order.iter().zip(work.lists.iter()) {
            let popularity = number(*total);
            let weights = [popularity.max(1.0).sqrt().recip(), popularity.max(1.0).recip()];
            self.alike.visit(list, |_, sums| {
                sums[0] += weights[0];
                sums[1] += weights[1];
            });
        }
        self.alike.zero(user);
        Ok(())
    }

    /// Third step: whom those follow who are most alike, for how much they follow in all.
    fn follow_alike(&mut self, graph: &dyn Adjacency) -> Result<(), GraphError> {
        let work = &mut self.work;
        work.weighed.clear();
        work.best.clear();
        let alike = self.alike.iter().filter(|(_, sums)| sums[0] > 0.0);
        work.best.extend(alike.map(|(node, sums)| Scored::new(sums[0], node)));
        keep_best(&mut work.best, ALIKE_COMPARED);
        let compared = work.best.iter().map(|it| it.node());
        work.weighed.extend(compared.map(|node| Weighed { node, weights: self.alike.get(node) }));
        work.nodes.clear();
        work.nodes.extend(work.weighed.iter().map(|it| it.node));
        work.totals.clear();
        graph.totals(&work.nodes, NeighbourSide::Following, &mut work.totals)?;
        for (one, total) in work.weighed.iter_mut().zip(&work.totals) {
            let total = number(*total).max(1.0);
            let root = total.sqrt();
            // To the power of 0.75, and of 1.
            one.weights[0] /= root * root.sqrt();
            one.weights[1] /= total;
        }
        sort_best(&mut work.weighed, ALIKE_USERS);
        work.nodes.clear();
        work.nodes.extend(work.weighed.iter().map(|it| it.node));
        let mut left = ALIKE_FOLLOWING_ENTRIES;
        for (nodes, alike) in work.nodes.chunks(LISTS).zip(work.weighed.chunks(LISTS)) {
            work.lists.clear();
            graph.read(nodes, NeighbourSide::Following, LIST_ENTRIES, &mut work.lists)?;
            for (one, list) in alike.iter().zip(work.lists.iter()) {
                if list.len() > left {
                    return Ok(());
                }
                left -= list.len();
                self.collaborative.visit(list, |_, sums| {
                    sums[0] += one.weights[0];
                    sums[1] += one.weights[1];
                    sums[2] += 1.0;
                });
            }
        }
        Ok(())
    }

    /// The ways of two steps through somebody whom the user knows.
    fn look_near(&mut self, graph: &dyn Adjacency) -> Result<(), GraphError> {
        let work = &mut self.work;
        let limits = (u32::MAX, NEAR_ENTRIES);
        choose(graph, &self.following, NeighbourSide::Following, limits, work)?;
        let tally = &mut self.friends_of_friends;
        each_of(graph, NeighbourSide::Following, work, tally, |weight, sums| {
            sums[0] += weight;
            sums[1] += 1.0;
        })?;
        choose(graph, &self.followers, NeighbourSide::Following, limits, work)?;
        let (tally, add) =
            (&mut self.followers_following, |weight, sums: &mut [f32; 1]| sums[0] += weight);
        each_of(graph, NeighbourSide::Following, work, tally, add)?;
        choose(graph, &self.followers, NeighbourSide::Followers, limits, work)?;
        each_of(graph, NeighbourSide::Followers, work, &mut self.followers_followers, add)
    }
}

/// Chooses of `nodes` those whose lists are to be read: the shortest first, none that is longer than
/// `longest`, as many as come to so many entries. Puts them and their totals into the order and the nodes.
fn choose(
    graph: &dyn Adjacency,
    nodes: &[Node],
    side: NeighbourSide,
    (longest, entries): (u32, usize),
    work: &mut Work,
) -> Result<(), GraphError> {
    work.totals.clear();
    work.lists.clear();
    graph.totals(nodes, side, &mut work.totals)?;
    work.order.clear();
    let lengths = work.totals.iter().copied().zip(nodes.iter().copied());
    work.order.extend(lengths.filter(|it| it.0 <= longest && it.0 > 0));
    work.order.sort_unstable();
    let mut sum = 0;
    let fits = |(total, _): &&(u32, Node)| {
        sum += (*total as usize).min(LIST_ENTRIES.max(ALIKE_FOLLOWERS as usize));
        sum <= entries
    };
    let count = work.order.iter().take_while(fits).count();
    work.order.truncate(count);
    work.nodes.clear();
    work.nodes.extend(work.order.iter().map(|it| it.1));
    Ok(())
}

/// Adds to the sums of every entry of the chosen lists, by what it weighs by resource allocation.
fn each_of<const N: usize>(
    graph: &dyn Adjacency,
    side: NeighbourSide,
    work: &mut Work,
    tally: &mut Tally<N>,
    add: impl Fn(f32, &mut [f32; N]),
) -> Result<(), GraphError> {
    graph.read(&work.nodes, side, LIST_ENTRIES, &mut work.lists)?;
    for ((total, _), list) in work.order.iter().zip(work.lists.iter()) {
        let weight = number(*total).max(1.0).recip();
        tally.visit(list, |_, sums| add(weight, sums));
    }
    Ok(())
}

/// Keeps the `most` of the largest first weight, and puts them in order.
fn sort_best(weighed: &mut Vec<Weighed>, most: usize) {
    let order =
        |a: &Weighed, b: &Weighed| b.weights[0].total_cmp(&a.weights[0]).then(a.node.cmp(&b.node));
    if weighed.len() > most {
        weighed.select_nth_unstable_by(most, order);
        weighed.truncate(most);
    }
    weighed.sort_unstable_by(order);
}

//! Personalised PageRank by forward push, over follows in both directions.
//!
//! Andersen, Chung, Lang: Local Graph Partitioning using PageRank Vectors (FOCS 2006). What is left to be
//! pushed is settled where it lies, so that the edge of what was reached is ranked too. A follow that is
//! returned is two ways between two users, and is walked twice as often.

use tidings_core::{follow::NeighbourSide, ports::GraphError};

use super::{
    adjacency::{Adjacency, Lists, Node},
    features::{count, number},
    limits::WALK_ENTRIES,
    tally::Tally,
};

/// How often a walk ends at each step.
const END: f32 = 0.3;
/// What is left at a user is pushed on while it is more than this for each of their follows.
const LEAST: f32 = 1e-5;
/// Users with less than so many times that are not even asked for their follows: few of them have so few that
/// they would be pushed, and to learn how many each has is what takes longest.
const LEAST_TIMES: f32 = 10.0;
/// Lists that are read together.
const LISTS: usize = 128;

/// Walks from `user`. The sums of each: how often walks end there; what is still to be pushed; whether the
/// user waits to be asked for their follows.
///
/// The first step goes to the user's newest neighbours on both sides, `own`: of a user with very many the
/// others are as good as out of reach.
pub(super) fn walk(
    graph: &dyn Adjacency,
    user: Node,
    own: [&[Node]; 2],
    walks: &mut Tally<3>,
) -> Result<(), GraphError> {
    let (mut left, mut frontier) = (WALK_ENTRIES, Vec::new());
    walks.of(user)[0] = END;
    let part = (1.0 - END) / count(own[0].len() + own[1].len()).max(1.0);
    own.iter().for_each(|it| receive(walks, it, part, &mut frontier));
    let [mut following, mut followers] = [Vec::new(), Vec::new()];
    let mut waiting = Vec::new();
    let mut lists = [Lists::default(), Lists::default()];
    while !frontier.is_empty() {
        // Most have too many follows on one side already: the other is not asked for.
        following.clear();
        graph.totals(&frontier, NeighbourSide::Following, &mut following)?;
        waiting.clear();
        for (node, following) in frontier.drain(..).zip(&following) {
            let sums = walks.of(node);
            sums[2] = 0.0;
            if sums[1] > LEAST * number(*following) {
                waiting.push((node, *following));
            }
        }
        let nodes: Vec<_> = waiting.iter().map(|it| it.0).collect();
        followers.clear();
        graph.totals(&nodes, NeighbourSide::Followers, &mut followers)?;
        let mut pushed = Vec::new();
        for ((node, following), followers) in waiting.iter().zip(&followers) {
            let degree = following.saturating_add(*followers);
            let sums = walks.of(*node);
            let rest = sums[1];
            let entries = degree as usize;
            if degree > 0 && rest > LEAST * number(degree) && entries <= left {
                left -= entries;
                pushed.push((*node, (1.0 - END) * rest / number(degree)));
                *sums = [sums[0] + END * rest, 0.0, 0.0];
            }
        }
        for pushed in pushed.chunks(LISTS) {
            let nodes: Vec<_> = pushed.iter().map(|it| it.0).collect();
            lists.iter_mut().for_each(Lists::clear);
            graph.read(&nodes, NeighbourSide::Following, usize::MAX, &mut lists[0])?;
            graph.read(&nodes, NeighbourSide::Followers, usize::MAX, &mut lists[1])?;
            for ((_, part), (one, other)) in pushed.iter().zip(lists[0].iter().zip(lists[1].iter()))
            {
                receive(walks, one, *part, &mut frontier);
                receive(walks, other, *part, &mut frontier);
            }
        }
    }
    walks.each(|sums| *sums = [sums[0] + END * sums[1], 0.0, 0.0]);
    Ok(())
}

/// Leaves a part at each of `nodes`, who are asked for their follows once that is enough.
fn receive(walks: &mut Tally<3>, nodes: &[Node], part: f32, frontier: &mut Vec<Node>) {
    walks.visit(nodes, |node, [_, rest, is_waiting]| {
        *rest += part;
        if *is_waiting == 0.0 && *rest > LEAST_TIMES * LEAST {
            *is_waiting = 1.0;
            frontier.push(node);
        }
    });
}

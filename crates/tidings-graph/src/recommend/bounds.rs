//! That a request reads no more than its limits say, whoever is involved.

use std::cell::Cell;

use tidings_core::{follow::NeighbourSide, ids::UserId, ports::GraphError};

use super::{
    adjacency::{Adjacency, Lists, Node},
    limits::{
        ALIKE_ENTRIES, ALIKE_FOLLOWING_ENTRIES, LEFT_OUT_ENTRIES, LIST_ENTRIES, NEAR_ENTRIES,
        OWN_ENTRIES, WALK_ENTRIES,
    },
    model::Model,
    ranking::Ranking,
    request::RecommendRequest,
};

const STAR_FOLLOWERS: u32 = 1_000_000;
const PEOPLE: u32 = 6_000;
/// Follows of everyone but the star.
const FOLLOWS: u32 = 60;

/// A million follow the first user; some thousand people follow each other and the star; the last one
/// follows all of these.
struct Crowd {
    read: Cell<usize>,
    asked: Cell<usize>,
}

const STAR: Node = 0;
const COLLECTOR: Node = PEOPLE + 1;

impl Crowd {
    fn total(node: Node, side: NeighbourSide) -> u32 {
        match (node, side) {
            (STAR, NeighbourSide::Followers) => STAR_FOLLOWERS,
            (STAR, NeighbourSide::Following) => 3,
            (COLLECTOR, NeighbourSide::Following) => PEOPLE,
            (1..=PEOPLE, NeighbourSide::Following) => FOLLOWS + 1,
            (1..=PEOPLE, NeighbourSide::Followers) => FOLLOWS + 1,
            (_, NeighbourSide::Following) => 1,
            (_, NeighbourSide::Followers) => 0,
        }
    }

    fn neighbour(node: Node, side: NeighbourSide, place: u32) -> Node {
        let around = |step: u32| 1 + (node - 1 + step) % PEOPLE;
        match (node, side) {
            (STAR, NeighbourSide::Followers) => COLLECTOR + 1 + place,
            (COLLECTOR, NeighbourSide::Following) | (STAR, _) => 1 + place,
            (1..=PEOPLE, NeighbourSide::Following) if place < FOLLOWS => around(1 + 17 * place),
            (1..=PEOPLE, NeighbourSide::Followers) if place < FOLLOWS => {
                around(PEOPLE * 17 - 1 - 17 * place)
            }
            (_, NeighbourSide::Following) => STAR,
            (_, NeighbourSide::Followers) => COLLECTOR,
        }
    }
}

impl Adjacency for Crowd {
    fn node(&self, user: &UserId) -> Result<Option<Node>, GraphError> {
        Ok(user.as_str().parse().ok())
    }

    fn user(&self, node: Node) -> Result<Option<UserId>, GraphError> {
        Ok(UserId::new(&node.to_string()).ok())
    }

    fn totals(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        totals: &mut Vec<u32>,
    ) -> Result<(), GraphError> {
        self.asked.set(self.asked.get() + nodes.len());
        totals.extend(nodes.iter().map(|it| Self::total(*it, side)));
        Ok(())
    }

    fn read(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        most: usize,
        lists: &mut Lists,
    ) -> Result<(), GraphError> {
        for node in nodes {
            let total = u32::try_from(most).map_or(u32::MAX, |it| it).min(Self::total(*node, side));
            lists.nodes().extend((0..total).map(|place| Self::neighbour(*node, side, place)));
            lists.end();
            self.read.set(self.read.get() + total as usize);
        }
        Ok(())
    }

    fn ruled_out(
        &self,
        _: Node,
        others: &[Node],
        answers: &mut Vec<bool>,
    ) -> Result<(), GraphError> {
        answers.extend(others.iter().map(|_| false));
        Ok(())
    }
}

#[test]
fn a_star_of_a_million_followers_costs_no_more_than_the_limits_say() {
    let model = Model::built_in();
    let own = 2 * OWN_ENTRIES + LEFT_OUT_ENTRIES;
    let limit = own + ALIKE_ENTRIES + ALIKE_FOLLOWING_ENTRIES + 3 * NEAR_ENTRIES + WALK_ENTRIES;
    // A piece of lists is read before it is known that they are too long together.
    let slack = 16 * LIST_ENTRIES;
    let mut ranking = Ranking::default();
    for user in [STAR, 1, COLLECTOR, COLLECTOR + 7, COLLECTOR + 999_999] {
        let crowd = Crowd { read: Cell::new(0), asked: Cell::new(0) };
        let request = RecommendRequest {
            explain: true,
            ..RecommendRequest::new(UserId::new(&user.to_string()).unwrap(), 50)
        };
        ranking.find(&crowd, &request, &[]).unwrap();
        let found = ranking.rank(&crowd, &request, &model).unwrap();
        assert!(!found.is_empty(), "user {user}");
        let (read, asked) = (crowd.read.get(), crowd.asked.get());
        assert!(read <= limit + slack, "user {user}: {read} entries");
        assert!(asked <= 100_000, "user {user}: {asked} totals");
    }
}

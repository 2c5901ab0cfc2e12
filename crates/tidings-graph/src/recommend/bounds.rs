//! That a request reads no more than its limits say, whoever is involved.

use tidings_core::{follow::NeighbourSide, ids::UserId};

use super::{
    adjacency::Node,
    drawn::DrawnGraph,
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

const STAR: Node = 0;
const COLLECTOR: Node = PEOPLE + 1;

/// A million follow the first user; some thousand people follow each other and the star; the last one
/// follows all of these.
fn crowd() -> DrawnGraph {
    DrawnGraph::new(total, neighbour)
}

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
#[test]
fn a_star_of_a_million_followers_costs_no_more_than_the_limits_say() {
    let model = Model::built_in();
    let own = 2 * OWN_ENTRIES + LEFT_OUT_ENTRIES;
    let limit = own + ALIKE_ENTRIES + ALIKE_FOLLOWING_ENTRIES + 3 * NEAR_ENTRIES + WALK_ENTRIES;
    // A piece of lists is read before it is known that they are too long together.
    let slack = 16 * LIST_ENTRIES;
    let mut ranking = Ranking::default();
    for user in [STAR, 1, COLLECTOR, COLLECTOR + 7, COLLECTOR + 999_999] {
        let crowd = crowd();
        let request = RecommendRequest {
            explain: true,
            ..RecommendRequest::new(UserId::new(&user.to_string()).unwrap(), 50)
        };
        ranking.find(&crowd, &request, &[]).unwrap();
        let found = ranking.rank(&crowd, &request, &model).unwrap();
        assert!(!found.is_empty(), "user {user}");
        let [read, asked] = crowd.costs();
        assert!(read <= limit + slack, "user {user}: {read} entries");
        assert!(asked <= 100_000, "user {user}: {asked} totals");
    }
}

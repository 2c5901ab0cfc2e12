//! Which of the user's followees follow those who are recommended.

use tidings_core::{follow::NeighbourSide, ids::UserId, ports::GraphError, recommendation::Reason};

use super::{
    adjacency::{Adjacency, Lists, Node, Standing},
    limits::{LIST_ENTRIES, NEAR_ENTRIES},
    tally::Tally,
};

/// Followees that a reason names.
const NAMED: usize = 3;
/// Followees that are kept to be named, in case the user has muted some.
const NAMEABLE: usize = 8;
/// Lists that are read together.
const LISTS: usize = 16;

/// Finds reasons, for one list of recommendations after the other.
#[derive(Debug, Default)]
pub(super) struct Explainer {
    /// The place of each in the list of recommendations, counted from one.
    places: Tally<1>,
    lists: Lists,
    found: Vec<Found>,
    standings: Vec<Standing>,
}

#[derive(Debug, Clone, Default)]
struct Found {
    named: Vec<Node>,
    all: u64,
}

/// Notes that `followee` follows `other`, if that one is recommended.
fn note(places: &Tally<1>, other: Node, followee: Node, found: &mut [Found]) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = places.get(other)[0] as usize;
    let Some(found) = place.checked_sub(1).and_then(|it| found.get_mut(it)) else { return };
    found.all += 1;
    if found.named.len() < NAMEABLE {
        found.named.push(followee);
    }
}

impl Explainer {
    /// Looks through the lists of the user's followees, the newest first, for `recommended`.
    pub(super) fn find(
        &mut self,
        graph: &dyn Adjacency,
        following: &[Node],
        recommended: &[Node],
    ) -> Result<(), GraphError> {
        self.places.clear();
        for (place, node) in recommended.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a list has some hundred places")]
            let place = (place + 1) as f32;
            self.places.of(*node)[0] = place;
        }
        self.found.clear();
        self.found.resize(recommended.len(), Found::default());
        let mut left = NEAR_ENTRIES;
        for followees in following.chunks(LISTS) {
            self.lists.clear();
            graph.read(followees, NeighbourSide::Following, LIST_ENTRIES, &mut self.lists)?;
            for (followee, list) in followees.iter().zip(self.lists.iter()) {
                if list.len() > left {
                    return Ok(());
                }
                left -= list.len();
                list.iter()
                    .for_each(|other| note(&self.places, *other, *followee, &mut self.found));
            }
        }
        Ok(())
    }

    /// The reason why `user` is recommended whoever is at `place`, if it is one. It names nobody of whom
    /// either has muted the other; where that leaves nobody of those who were kept, there is none.
    pub(super) fn followed_by(
        &mut self,
        graph: &dyn Adjacency,
        user: Node,
        place: usize,
    ) -> Result<Option<Reason>, GraphError> {
        let Some(found) = self.found.get(place).filter(|it| it.all > 0) else { return Ok(None) };
        self.standings.clear();
        graph.standings(user, &found.named, &mut self.standings)?;
        let nameable = found.named.iter().zip(&self.standings);
        let nameable = nameable.filter(|(_, standing)| **standing != Standing::Averse);
        let mut known: Vec<UserId> = Vec::with_capacity(NAMED);
        for (node, _) in nameable.take(NAMED) {
            known.extend(graph.user(*node)?);
        }
        if known.is_empty() {
            return Ok(None);
        }
        let others = found.all.saturating_sub(known.len() as u64);
        Ok(Some(Reason::FollowedBy { known, others }))
    }
}

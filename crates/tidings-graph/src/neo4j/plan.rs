//! What a group of commands will change, worked out while the graph is locked.

use std::collections::{HashMap, HashSet};

use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind},
    ids::UserId,
    ports::GraphError,
};

use super::cypher::slot;

/// Something to be done in a group.
#[derive(Debug)]
pub(super) enum Change {
    Add(Edge),
    Remove {
        kind: EdgeKind,
        source: UserId,
        target: UserId,
    },
    /// Leaves out what cannot be added.
    Import(Vec<Edge>),
}

impl Change {
    /// Its name in errors.
    pub(super) fn op(&self) -> &'static str {
        match self {
            Self::Add(edge) => match edge.kind {
                EdgeKind::Follow => "add_follow",
                EdgeKind::Block => "add_block",
                EdgeKind::Mute => "add_mute",
            },
            Self::Remove { kind: EdgeKind::Follow, .. } => "remove_follow",
            Self::Remove { kind: EdgeKind::Block, .. } => "remove_block",
            Self::Remove { kind: EdgeKind::Mute, .. } => "remove_mute",
            Self::Import(_) => "import_edges",
        }
    }

    /// The most edges that it adds.
    pub(super) fn edges(&self) -> usize {
        match self {
            Self::Add(_) | Self::Remove { .. } => 1,
            Self::Import(edges) => edges.len(),
        }
    }
}

/// A user's place among those that a group names.
type Place = usize;

/// What has to be known before a group can be planned.
#[derive(Debug, Default)]
pub(super) struct Question {
    names: Vec<UserId>,
    places: HashMap<UserId, Place>,
    /// By kind, the pairs of which it has to be known whether there is an edge.
    pairs: [HashSet<(Place, Place)>; 3],
}

impl Question {
    pub(super) fn of<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut question = Self::default();
        for change in changes {
            match change {
                Change::Add(edge) => question.ask(edge),
                Change::Remove { kind, source, target } => {
                    let pair = (question.place(source), question.place(target));
                    question.pairs[slot(*kind)].insert(pair);
                }
                Change::Import(edges) => edges.iter().for_each(|edge| question.ask(edge)),
            }
        }
        question
    }

    fn ask(&mut self, edge: &Edge) {
        let (source, target) = (self.place(&edge.source), self.place(&edge.target));
        self.pairs[slot(edge.kind)].insert((source, target));
        // What would stand in the way, or have to go.
        let other = match edge.kind {
            EdgeKind::Follow => EdgeKind::Block,
            EdgeKind::Block => EdgeKind::Follow,
            EdgeKind::Mute => return,
        };
        self.pairs[slot(other)].extend([(source, target), (target, source)]);
    }

    fn place(&mut self, user: &UserId) -> Place {
        if let Some(place) = self.places.get(user) {
            return *place;
        }
        let place = self.names.len();
        self.names.push(user.clone());
        self.places.insert(user.clone(), place);
        place
    }

    /// Everyone whom the group names.
    pub(super) fn names(&self) -> &[UserId] {
        &self.names
    }

    /// The pairs of one kind.
    pub(super) fn pairs(&self, kind: EdgeKind) -> impl Iterator<Item = (Place, Place)> + '_ {
        self.pairs[slot(kind)].iter().copied()
    }
}

/// An edge to be written. The ends are places among the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewEdge {
    pub(super) kind: EdgeKind,
    pub(super) source: Place,
    pub(super) target: Place,
    pub(super) number: i64,
    pub(super) at: Timestamp,
}

/// The changes of one transaction.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    question: &'a Question,
    /// The number of each user that is named; `None` if there is no such user.
    numbers: Vec<Option<i64>>,
    next_user: i64,
    next_edge: i64,
    /// Edges that exist as the plan leaves them; with their place in `added` if it adds them.
    edges: HashMap<(EdgeKind, Place, Place), Option<usize>>,
    new_users: Vec<Place>,
    added: Vec<Option<NewEdge>>,
    removed: Vec<(EdgeKind, Place, Place)>,
}

impl<'a> Plan<'a> {
    /// A plan of nothing. New users and edges will be numbered from these on.
    pub(super) fn new(question: &'a Question, next_user: i64, next_edge: i64) -> Self {
        Self {
            question,
            numbers: vec![None; question.names.len()],
            next_user,
            next_edge,
            edges: HashMap::new(),
            new_users: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Takes in that there is such a user. `None` if nobody asked.
    pub(super) fn know_user(&mut self, place: Place, number: i64) -> Option<()> {
        *self.numbers.get_mut(place)? = Some(number);
        Some(())
    }

    /// Takes in that there is such an edge.
    pub(super) fn know_edge(&mut self, kind: EdgeKind, source: Place, target: Place) {
        self.edges.insert((kind, source, target), None);
    }

    /// Takes `change` in, as if all before it had been done; gives the number of edges that it adds
    /// or removes, as it says. On an error it is not in.
    pub(super) fn take(&mut self, change: &Change) -> Result<u64, GraphError> {
        match change {
            Change::Add(edge) => self.add(edge).map(u64::from),
            Change::Remove { kind, source, target } => {
                let pair = self.places(source, target);
                Ok(u64::from(self.remove(*kind, pair)))
            }
            Change::Import(edges) => {
                let mut new = 0;
                for edge in edges.iter().filter(|edge| edge.source != edge.target) {
                    match self.add(edge) {
                        Ok(added) => new += u64::from(added),
                        Err(GraphError::Blocked) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(new)
            }
        }
    }

    fn add(&mut self, edge: &Edge) -> Result<bool, GraphError> {
        let (source, target) = self.places(&edge.source, &edge.target);
        if self.edges.contains_key(&(edge.kind, source, target)) {
            return Ok(false);
        }
        let ways = [(source, target), (target, source)];
        match edge.kind {
            EdgeKind::Follow => {
                let is_block =
                    |(a, b): &(Place, Place)| self.edges.contains_key(&(EdgeKind::Block, *a, *b));
                if ways.iter().any(is_block) {
                    return Err(GraphError::Blocked);
                }
            }
            EdgeKind::Block => {
                for pair in ways {
                    self.remove(EdgeKind::Follow, pair);
                }
            }
            EdgeKind::Mute => {}
        }
        self.number(source);
        self.number(target);
        let number = self.next_edge;
        self.next_edge += 1;
        self.edges.insert((edge.kind, source, target), Some(self.added.len()));
        self.added.push(Some(NewEdge { kind: edge.kind, source, target, number, at: edge.at }));
        Ok(true)
    }

    fn remove(&mut self, kind: EdgeKind, (source, target): (Place, Place)) -> bool {
        match self.edges.remove(&(kind, source, target)) {
            None => false,
            // Born in this group: it never was.
            Some(Some(place)) => {
                self.added[place] = None;
                true
            }
            Some(None) => {
                self.removed.push((kind, source, target));
                true
            }
        }
    }

    /// Gives a user who is new a number.
    fn number(&mut self, place: Place) {
        if self.numbers[place].is_none() {
            self.numbers[place] = Some(self.next_user);
            self.next_user += 1;
            self.new_users.push(place);
        }
    }

    fn places(&self, source: &UserId, target: &UserId) -> (Place, Place) {
        // The question was made of these very changes.
        (self.question.places[source], self.question.places[target])
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.new_users.is_empty() && self.added().next().is_none()
    }

    /// Edges that it adds or removes.
    pub(super) fn len(&self) -> usize {
        self.added().count() + self.removed.len()
    }

    /// Users to add: their places and numbers.
    pub(super) fn new_users(&self) -> impl Iterator<Item = (Place, i64)> + '_ {
        self.new_users.iter().filter_map(|place| Some((*place, self.numbers[*place]?)))
    }

    /// Edges to add.
    pub(super) fn added(&self) -> impl Iterator<Item = &NewEdge> {
        self.added.iter().flatten()
    }

    /// Edges of one kind to remove: the numbers of their ends. To be done before any are added.
    pub(super) fn removed(&self, kind: EdgeKind) -> impl Iterator<Item = (i64, i64)> + '_ {
        let of_kind = self.removed.iter().filter(move |it| it.0 == kind);
        of_kind.filter_map(|(_, source, target)| {
            Some((self.numbers[*source]?, self.numbers[*target]?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(kind: EdgeKind, source: &str, target: &str) -> Edge {
        let [source, target] = [source, target].map(|id| UserId::new(id).unwrap());
        Edge { kind, source, target, at: Timestamp::from_millis(1) }
    }

    fn add(kind: EdgeKind, source: &str, target: &str) -> Change {
        Change::Add(edge(kind, source, target))
    }

    fn remove(source: &str, target: &str) -> Change {
        let Edge { kind, source, target, .. } = edge(EdgeKind::Follow, source, target);
        Change::Remove { kind, source, target }
    }

    /// Plans the changes on a graph where ann (7) follows ben (8).
    fn plan<'a>(question: &'a Question, changes: &[Change]) -> (Plan<'a>, Vec<Option<u64>>) {
        let mut plan = Plan::new(question, 100, 50);
        let mut places = HashMap::new();
        for (place, name) in question.names().iter().enumerate() {
            places.insert(name.as_str(), place);
            let number = match name.as_str() {
                "ann" => 7,
                "ben" => 8,
                _ => continue,
            };
            plan.know_user(place, number).unwrap();
        }
        if let (Some(ann), Some(ben)) = (places.get("ann"), places.get("ben")) {
            plan.know_edge(EdgeKind::Follow, *ann, *ben);
        }
        let answers = changes.iter().map(|change| plan.take(change).ok()).collect();
        (plan, answers)
    }

    #[test]
    fn what_comes_and_goes_within_a_group_was_never_there() {
        let follow = || add(EdgeKind::Follow, "cem", "ann");
        let changes = [follow(), follow(), remove("cem", "ann"), remove("cem", "ann")];
        let question = Question::of(&changes);
        let (plan, answers) = plan(&question, &changes);
        assert_eq!(answers, [Some(1), Some(0), Some(1), Some(0)]);
        assert_eq!(plan.len(), 0);
        assert_eq!(plan.new_users().map(|it| it.1).collect::<Vec<_>>(), [100], "cem was heard of");
    }

    #[test]
    fn what_goes_and_comes_within_a_group_is_a_new_edge() {
        let changes = [remove("ann", "ben"), add(EdgeKind::Follow, "ann", "ben")];
        let question = Question::of(&changes);
        let (plan, answers) = plan(&question, &changes);
        assert_eq!(answers, [Some(1), Some(1)]);
        assert_eq!(plan.removed(EdgeKind::Follow).collect::<Vec<_>>(), [(7, 8)]);
        assert_eq!(plan.added().map(|edge| edge.number).collect::<Vec<_>>(), [50]);
    }

    #[test]
    fn a_block_takes_both_follows_away_and_refuses_new_ones() {
        let changes = [
            add(EdgeKind::Follow, "ben", "ann"),
            add(EdgeKind::Block, "ben", "ann"),
            add(EdgeKind::Block, "ben", "ann"),
            add(EdgeKind::Follow, "ann", "ben"),
            Change::Import(vec![
                edge(EdgeKind::Follow, "ben", "ann"),
                edge(EdgeKind::Follow, "ben", "ben"),
                edge(EdgeKind::Follow, "ben", "cem"),
                edge(EdgeKind::Follow, "ben", "cem"),
            ]),
        ];
        let question = Question::of(&changes);
        let (plan, answers) = plan(&question, &changes);
        assert_eq!(answers, [Some(1), Some(1), Some(0), None, Some(1)]);
        assert_eq!(plan.removed(EdgeKind::Follow).collect::<Vec<_>>(), [(7, 8)]);
        let added: Vec<_> = plan.added().map(|edge| (edge.kind, edge.number)).collect();
        assert_eq!(added, [(EdgeKind::Block, 51), (EdgeKind::Follow, 52)]);
    }
}

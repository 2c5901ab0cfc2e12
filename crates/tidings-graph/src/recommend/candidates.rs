//! Who may be recommended at all: the best by each signal, so that none of them speaks alone.

use tidings_core::{follow::NeighbourSide, ports::GraphError};

use super::{
    adjacency::{Adjacency, Node},
    best::{Scored, keep_best},
    features::number,
    limits::{FOLLOWER_CANDIDATES, SIGNAL_CANDIDATES, SIGNAL_COMPARED},
    signals::Signals,
    tally::Tally,
};

/// Candidates, and what was found out on the way.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) nodes: Vec<Node>,
    seen: Tally<1>,
    best: Vec<Scored>,
    compared: Vec<Node>,
    totals: Vec<u32>,
}

impl Candidates {
    /// Gathers the candidates: some may be followed by the user already.
    pub(super) fn gather(
        &mut self,
        graph: &dyn Adjacency,
        signals: &Signals,
        popular: &[Node],
    ) -> Result<(), GraphError> {
        self.nodes.clear();
        self.seen.clear();
        // The powers of popularity that the two weights are divided by work best with them.
        let collaborative = &signals.collaborative;
        self.take_best_for_popularity(graph, collaborative.iter().map(|(n, it)| (it[0], n)), 0.35)?;
        self.take_best_for_popularity(graph, collaborative.iter().map(|(n, it)| (it[1], n)), 0.2)?;
        self.take_best(signals.walks.iter().map(|(n, it)| (it[0], n)), SIGNAL_CANDIDATES);
        let near = signals.friends_of_friends.iter().map(|(n, it)| (it[0], n));
        self.take_best(near, SIGNAL_CANDIDATES);
        let near = signals.followers_following.iter().map(|(n, it)| (it[0], n));
        self.take_best(near, SIGNAL_CANDIDATES);
        self.take_best(signals.alike.iter().map(|(n, it)| (it[1], n)), SIGNAL_CANDIDATES);
        let walked = |node: &Node| (signals.walks.get(*node)[0], *node);
        self.take_best(signals.followers.iter().map(walked), FOLLOWER_CANDIDATES);
        self.take(popular.iter().copied());
        Ok(())
    }

    /// Whether this one is a candidate.
    pub(super) fn has(&self, node: Node) -> bool {
        self.seen.get(node)[0] > 0.0
    }

    /// Takes the users of the highest scores, of whom there may be so many that were taken before.
    fn take_best(&mut self, scored: impl Iterator<Item = (f32, Node)>, most: usize) {
        self.find_best(scored, most);
        self.take_found();
    }

    /// The same for scores that are to be divided by a power of popularity.
    fn take_best_for_popularity(
        &mut self,
        graph: &dyn Adjacency,
        scored: impl Iterator<Item = (f32, Node)>,
        power: f32,
    ) -> Result<(), GraphError> {
        self.find_best(scored, SIGNAL_COMPARED);
        self.compared.clear();
        self.compared.extend(self.best.iter().map(|it| it.node()));
        self.totals.clear();
        graph.totals(&self.compared, NeighbourSide::Followers, &mut self.totals)?;
        for (scored, total) in self.best.iter_mut().zip(&self.totals) {
            let score = scored.score() / number(*total).max(1.0).powf(power);
            *scored = Scored::new(score, scored.node());
        }
        keep_best(&mut self.best, SIGNAL_CANDIDATES);
        self.take_found();
        Ok(())
    }

    fn find_best(&mut self, scored: impl Iterator<Item = (f32, Node)>, most: usize) {
        self.best.clear();
        let scored = scored.filter(|it| it.0 > 0.0);
        self.best.extend(scored.map(|(score, node)| Scored::new(score, node)));
        keep_best(&mut self.best, most);
    }

    fn take_found(&mut self) {
        let found = std::mem::take(&mut self.best);
        self.take(found.iter().map(|it| it.node()));
        self.best = found;
    }

    fn take(&mut self, nodes: impl Iterator<Item = Node>) {
        for node in nodes {
            let seen = self.seen.of(node);
            if seen[0] == 0.0 {
                seen[0] = 1.0;
                self.nodes.push(node);
            }
        }
    }
}

//! The way from a user to a ranked list, over any graph that can be read by number.

use std::collections::HashSet;

use rpds::HashTrieSetSync;
use tidings_core::{
    follow::NeighbourSide,
    ids::UserId,
    ports::GraphError,
    recommendation::{Reason, Recommendation},
};

use super::{
    adjacency::{Adjacency, Node, Standing},
    candidates::Candidates,
    explain::Explainer,
    features::{self, Facts, Row},
    hold_out::HeldOutFollows,
    learn::Choices,
    limits::POPULAR_CANDIDATES,
    model::{Model, Sum},
    request::{MAX_RECOMMENDATIONS, RecommendRequest},
    signals::Signals,
    tally::Tally,
};

/// The score of the most popular account for a user of whom nothing is known.
const UNKNOWN_SCORE: f32 = 0.1;

/// A request under way, with its buffers, which are kept for the next.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    signals: Signals,
    candidates: Candidates,
    /// The candidates, and behind them those of the request that are none.
    nodes: Vec<Node>,
    pool: usize,
    /// Those whom the request names and the graph does not know.
    unknown: Vec<UserId>,
    /// Popular ones among the candidates.
    popular: Tally<1>,
    /// Those whom the request admits, if it names them.
    admitted: Tally<1>,
    facts: Facts,
    /// How many follow the one whom the most follow.
    most_followed: u32,
    standings: Vec<Standing>,
    rows: Vec<Row>,
    scores: Vec<f32>,
    explainer: Explainer,
}

impl Ranking {
    /// Finds whom the graph speaks for, and those that the request names.
    pub(super) fn find(
        &mut self,
        graph: &dyn Adjacency,
        request: &RecommendRequest,
        popular: &[UserId],
    ) -> Result<(), GraphError> {
        let user = graph.node(&request.user)?;
        match user {
            Some(user) => self.signals.gather(graph, user)?,
            None => self.signals.clear(),
        }
        // Before the best are chosen: else those who may not be recommended would take their places.
        for one in &request.excluded {
            graph.node(one)?.into_iter().for_each(|it| self.signals.leave_out(it));
        }
        self.popular.clear();
        let admitted = popular.iter().filter(|it| request.admits(it)).take(POPULAR_CANDIDATES);
        let mut others = Vec::with_capacity(POPULAR_CANDIDATES);
        for one in admitted {
            let Some(node) = graph.node(one)? else { continue };
            self.popular.of(node)[0] = 1.0;
            others.push(node);
        }
        self.candidates.gather(graph, &self.signals, &others)?;
        self.nodes.clear();
        self.nodes.extend_from_slice(&self.candidates.nodes);
        self.pool = self.nodes.len();
        self.admitted.clear();
        self.unknown.clear();
        let Some(among) = &request.among else { return Ok(()) };
        let mut unknown = HashSet::new();
        for one in among.iter().filter(|it| **it != request.user) {
            let Some(node) = graph.node(one)? else {
                if unknown.insert(one) {
                    self.unknown.push(one.clone());
                }
                continue;
            };
            let admitted = self.admitted.of(node);
            if admitted[0] == 0.0 && !self.candidates.has(node) {
                self.nodes.push(node);
            }
            admitted[0] = 1.0;
        }
        Ok(())
    }

    /// Everyone of whom something is to be known before they are ranked: without those who are not known.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Writes the features of all that were found.
    pub(super) fn weigh(&mut self, graph: &dyn Adjacency) -> Result<(), GraphError> {
        let Facts { followers, following } = &mut self.facts;
        followers.clear();
        following.clear();
        graph.totals(&self.nodes, NeighbourSide::Followers, followers)?;
        graph.totals(&self.nodes, NeighbourSide::Following, following)?;
        self.most_followed = followers.iter().max().copied().unwrap_or_default();
        let counts = (self.pool, self.unknown.len());
        features::write(&self.signals, &self.nodes, &self.facts, counts, &mut self.rows);
        Ok(())
    }

    /// Adds what `user` has chosen: of the candidates, and of those whom the request names, without those
    /// who are `hidden`.
    pub(super) fn add_choices(
        &mut self,
        graph: &dyn Adjacency,
        user: Node,
        held_out: &HeldOutFollows,
        hidden: &HashTrieSetSync<UserId>,
        [candidates, anyone]: &mut [Choices; 2],
    ) -> Result<(), GraphError> {
        self.weigh(graph)?;
        self.standings.clear();
        graph.standings(user, &self.nodes, &mut self.standings)?;
        let mut places = Vec::with_capacity(self.nodes.len());
        for (place, node) in self.nodes.iter().enumerate() {
            let is_free = self.standings[place] == Standing::Free;
            if is_free && (hidden.is_empty() || !is_hidden(graph, *node, hidden)?) {
                places.push(place);
            }
        }
        let choice = |place: usize| (self.rows[place], held_out.has(self.nodes[place]));
        candidates.push(places.iter().copied().filter(|it| *it < self.pool).map(choice));
        // Of a user whom nobody else knows nothing can be learned but that nobody knows them: not to be
        // known would seem to speak for somebody.
        let is_known = |place: usize| self.facts.know(place);
        let is_named = |place: &usize| self.admitted.get(self.nodes[*place])[0] > 0.0;
        let named = places.iter().copied().filter(|it| is_named(it) && is_known(*it));
        anyone.push(named.map(choice));
        Ok(())
    }

    /// Ranks what was found and makes the answer.
    pub(super) fn rank(
        &mut self,
        graph: &dyn Adjacency,
        request: &RecommendRequest,
        model: &Model,
    ) -> Result<Vec<Recommendation>, GraphError> {
        self.weigh(graph)?;
        self.standings.clear();
        match graph.node(&request.user)? {
            Some(user) => graph.standings(user, &self.nodes, &mut self.standings)?,
            None => self.standings.resize(self.nodes.len(), Standing::Free),
        }
        let sum = if request.among.is_some() { &model.affinity } else { &model.order };
        model.score(sum, &self.rows, &mut self.scores);
        self.sink_unknown();
        let mut ranked = Vec::with_capacity(self.rows.len());
        for (place, node) in self.nodes.iter().enumerate() {
            let is_admitted = request.among.is_none() || self.admitted.get(*node)[0] > 0.0;
            let is_free = self.standings[place] == Standing::Free;
            if !is_free || !is_admitted || !self.has_support(place, request) {
                continue;
            }
            let Some(user) = graph.user(*node)?.filter(|it| request.admits(it)) else { continue };
            ranked.push(self.ranked(place, user, request, sum));
        }
        for (place, user) in (self.nodes.len()..).zip(&self.unknown) {
            if request.admits(user) {
                ranked.push(self.ranked(place, user.clone(), request, sum));
            }
        }
        ranked.sort_unstable_by(Ranked::order);
        ranked.truncate(request.limit.min(MAX_RECOMMENDATIONS));
        let mut recommendations: Vec<_> = ranked.iter().map(Ranked::recommendation).collect();
        if request.explain {
            self.explain(graph, &request.user, &ranked, &mut recommendations)?;
        }
        Ok(recommendations)
    }

    /// Puts those whom the graph does not know behind all whom it does.
    fn sink_unknown(&mut self) {
        let facts = &self.facts;
        let scores = || (0..).zip(&self.scores).filter(|it| facts.know(it.0));
        let least = scores().map(|it| *it.1).fold(f32::INFINITY, f32::min);
        for (place, score) in self.scores.iter_mut().enumerate() {
            if !facts.know(place) {
                *score = score.min(least);
            }
        }
    }

    /// The user at this place with their score.
    fn ranked(&self, place: usize, user: UserId, request: &RecommendRequest, sum: &Sum) -> Ranked {
        let factor = request.factors.get(&user).copied().unwrap_or(1.0);
        let (mut raw, mut score) = (self.scores[place], sum.probability(self.scores[place]));
        if self.signals.knows_nobody() {
            // The model has never seen anyone of whom nothing is known: the popular come first.
            raw = features::number(self.facts.followers.get(place).copied().unwrap_or_default());
            score = UNKNOWN_SCORE * raw / features::number(self.most_followed).max(1.0);
        }
        let is_known = self.facts.know(place);
        Ranked { score: score * factor, raw, is_known, node: self.nodes.get(place).copied(), user }
    }

    /// Whether enough speaks for them: whom a single stranger follows anyone can bring up, who makes an
    /// account or two.
    fn has_support(&self, place: usize, request: &RecommendRequest) -> bool {
        let node = self.nodes[place];
        let known = self.signals.known_followers(node);
        let is_known = known >= features::number(request.least_known);
        let is_followed = known > 0.0 || self.facts.followers[place] > 1;
        request.among.is_some() || self.signals.is_follower(node) || (is_known && is_followed)
    }

    fn explain(
        &mut self,
        graph: &dyn Adjacency,
        user: &UserId,
        ranked: &[Ranked],
        recommendations: &mut [Recommendation],
    ) -> Result<(), GraphError> {
        let nodes: Vec<_> = ranked.iter().filter_map(|it| it.node).collect();
        let user = graph.node(user)?;
        self.explainer.find(graph, &self.signals.following, &nodes)?;
        let mut followers = Vec::new();
        graph.totals(&nodes, NeighbourSide::Followers, &mut followers)?;
        // Nothing speaks for those who are not known.
        let known = ranked.iter().zip(recommendations).filter(|(it, _)| it.node.is_some());
        for ((place, node), (_, recommendation)) in nodes.iter().copied().enumerate().zip(known) {
            let reasons = &mut recommendation.reasons;
            if self.signals.is_follower(node) {
                reasons.push(Reason::FollowsYou);
            }
            if let Some(user) = user {
                reasons.extend(self.explainer.followed_by(graph, user, place)?);
            }
            let people = self.signals.collaborative.get(node)[2];
            if people > 0.0 {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count of at most some thousand"
                )]
                reasons.push(Reason::FollowedBySimilar { people: people as u64 });
            }
            let is_popular = self.popular.get(node)[0] > 0.0;
            if reasons.is_empty() && is_popular {
                reasons.push(Reason::Popular { followers: u64::from(followers[place]) });
            }
        }
        Ok(())
    }
}

/// Whether the user of this number is one of these.
fn is_hidden(
    graph: &dyn Adjacency,
    node: Node,
    hidden: &HashTrieSetSync<UserId>,
) -> Result<bool, GraphError> {
    Ok(graph.user(node)?.is_some_and(|it| hidden.contains(&it)))
}

/// A candidate with a score.
struct Ranked {
    /// From 0 to 1, times the factor of the request.
    score: f32,
    raw: f32,
    /// Somebody follows them, or they follow somebody.
    is_known: bool,
    /// None if the graph does not know them.
    node: Option<Node>,
    user: UserId,
}

impl Ranked {
    /// The better one first; of two that the app lifts as far as scores go, or that are as good, too, and the
    /// one whom the graph knows.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let scores = other.score.total_cmp(&self.score).then(other.raw.total_cmp(&self.raw));
        let known = || other.is_known.cmp(&self.is_known);
        scores.then_with(known).then_with(|| self.user.cmp(&other.user))
    }

    fn recommendation(&self) -> Recommendation {
        let score = self.score.clamp(0.0, 1.0);
        Recommendation { user: self.user.clone(), score, reasons: Vec::new() }
    }
}

impl RecommendRequest {
    /// Whether the app and the user let this one be recommended.
    fn admits(&self, user: &UserId) -> bool {
        *user != self.user && !self.excluded.contains(user) && !self.hidden.contains(user)
    }
}

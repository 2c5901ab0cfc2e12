//! Scores of all users for one.

use super::{
    super::graph::TrainingGraph,
    Method,
    pagerank::{Push, PushSpace},
    salsa::salsa,
    steps::{ThreeSteps, two_steps},
    sums::Sums,
    walks::random_walks,
};

/// Popularity decides between equals.
const TIE: f64 = 1e-9;
/// How much popularity is damped by [`Method::Rp3Beta`].
const RP3_BETA: f64 = -0.35;
const PAGE_RANK: Push = Push { stop: 0.15, epsilon: 1e-6, edges: 400_000 };

/// Scores by the simple methods, and the space for it: some numbers per user of the graph, for one user at
/// a time.
pub(in super::super) struct Scoring<'a> {
    graph: &'a TrainingGraph,
    scores: Vec<f64>,
    sums: Sums,
    others: Sums,
    push: PushSpace,
}

/// The weight of somebody with this many edges, by Adamic and Adar.
fn adamic_adar(degree: usize) -> f64 {
    1.0 / ((degree as f64).max(2.0) + 0.1).ln()
}

/// By resource allocation.
fn allocation(degree: usize) -> f64 {
    1.0 / (degree as f64).max(1.0)
}

fn root(degree: usize) -> f64 {
    1.0 / (degree as f64).max(1.0).sqrt()
}

impl<'a> Scoring<'a> {
    pub(in super::super) fn new(graph: &'a TrainingGraph) -> Self {
        Self {
            graph,
            scores: vec![0.0; graph.users],
            sums: Sums::new(graph.users),
            others: Sums::new(graph.users),
            push: PushSpace::new(graph.users),
        }
    }

    /// Scores all users for `user`. [`Method::Tidings`] is none of these methods and scores nobody.
    pub(in super::super) fn score(&mut self, method: Method, user: u32) -> &[f64] {
        let graph = self.graph;
        self.sum(method, user);
        let popularity = &graph.popularity;
        if method == Method::Popularity {
            self.scores.copy_from_slice(popularity);
            return &self.scores;
        }
        for (score, popularity) in self.scores.iter_mut().zip(popularity) {
            *score = TIE * popularity;
        }
        for (user, sum) in self.sums.drain() {
            self.scores[user as usize] += sum;
        }
        &self.scores
    }

    fn sum(&mut self, method: Method, user: u32) {
        let TrainingGraph { following, followers, around, popularity, .. } = self.graph;
        let in_degree = |user| followers.degree(user);
        let out_degree = |user| following.degree(user);
        let degree = |user| around.degree(user);
        let sums = &mut self.sums;
        let mut two = |lists, weight: &dyn Fn(u32) -> f64| two_steps(user, lists, weight, sums);
        match method {
            Method::Tidings | Method::Popularity => {}
            Method::FollowBack => {
                for follower in followers.of(user) {
                    sums.add(*follower, 1.0 + 1e-3 * popularity[*follower as usize]);
                }
            }
            Method::FriendsOfFriends => two([following, following], &|_| 1.0),
            Method::FriendsOfFriendsAdamicAdar => {
                two([following, following], &|it| adamic_adar(out_degree(it)));
            }
            Method::FriendsOfFriendsAllocation => {
                two([following, following], &|it| allocation(out_degree(it)));
            }
            Method::CommonFollows => two([following, followers], &|_| 1.0),
            Method::CommonFollowsJaccard => {
                two([following, followers], &|_| 1.0);
                jaccard(user, out_degree, sums);
            }
            Method::CommonFollowsCosine => {
                two([following, followers], &|_| 1.0);
                cosine(user, out_degree, sums);
            }
            Method::CommonFollowsAdamicAdar => {
                two([following, followers], &|it| adamic_adar(in_degree(it)));
            }
            Method::CommonFollowers => two([followers, following], &|_| 1.0),
            Method::CommonFollowersAdamicAdar => {
                two([followers, following], &|it| adamic_adar(out_degree(it)));
            }
            Method::FollowersOfFollowers => two([followers, followers], &|_| 1.0),
            Method::Neighbours => two([around, around], &|_| 1.0),
            Method::NeighboursJaccard => {
                two([around, around], &|_| 1.0);
                jaccard(user, degree, sums);
            }
            Method::NeighboursCosine => {
                two([around, around], &|_| 1.0);
                cosine(user, degree, sums);
            }
            Method::NeighboursAdamicAdar => two([around, around], &|it| adamic_adar(degree(it))),
            Method::NeighboursAllocation => two([around, around], &|it| allocation(degree(it))),
            _ => self.walk(method, user),
        }
    }

    fn walk(&mut self, method: Method, user: u32) {
        let TrainingGraph { following, followers, around, .. } = self.graph;
        let Self { sums, others, push, .. } = self;
        let lists = [following, followers];
        let in_root = |user| root(followers.degree(user));
        let by_root = |weight: f64, degree: f64| weight / degree.sqrt();
        let by_degree = |weight: f64, degree: f64| weight / degree;
        let alike = |neighbours| ThreeSteps {
            weight: |_| 1.0,
            similarity: by_root,
            neighbours,
            norm: |_| 1.0,
        };
        match method {
            Method::ThreeSteps => ThreeSteps {
                weight: |it| root(around.degree(it)),
                similarity: by_root,
                neighbours: None,
                norm: |_| 1.0,
            }
            .walk(user, [around, around], others, sums),
            Method::UserNeighbours => alike(None).walk(user, lists, others, sums),
            Method::UserNeighbours100 => alike(Some(100)).walk(user, lists, others, sums),
            Method::ItemNeighbours => ThreeSteps {
                weight: in_root,
                similarity: |weight, _| weight,
                neighbours: None,
                norm: in_root,
            }
            .walk(user, lists, others, sums),
            Method::GraphFilter => ThreeSteps {
                weight: in_root,
                similarity: by_degree,
                neighbours: None,
                norm: in_root,
            }
            .walk(user, lists, others, sums),
            Method::Rp3Beta => ThreeSteps {
                weight: |it| allocation(followers.degree(it)),
                similarity: by_degree,
                neighbours: None,
                norm: |it| (followers.degree(it) as f64).max(1.0).powf(RP3_BETA),
            }
            .walk(user, lists, others, sums),
            Method::PageRank => PAGE_RANK.run(user, following, push, sums),
            Method::PageRankUndirected => PAGE_RANK.run(user, around, push, sums),
            Method::Salsa => salsa(user, following, push, others, sums),
            Method::RandomWalks => random_walks(user, lists, others, sums),
            _ => {}
        }
    }
}

/// Makes what two users have in common a share of what either has.
fn jaccard(user: u32, degree: impl Fn(u32) -> usize, sums: &mut Sums) {
    let own = degree(user) as f64;
    sums.change(|other, common| common / (own + degree(other) as f64 - common));
}

fn cosine(user: u32, degree: impl Fn(u32) -> usize, sums: &mut Sums) {
    let own = degree(user) as f64;
    sums.change(|other, common| common / (own * degree(other) as f64).max(1.0).sqrt());
}
